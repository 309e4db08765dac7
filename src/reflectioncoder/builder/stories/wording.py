"""Turns sayings into sentences, and observations into facts for the grammar."""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from reflectioncoder.builder.causes import cause_sayings
from reflectioncoder.builder.crafted.selection import UNNAMED
from reflectioncoder.builder.grammar import say
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.mutation.details import slip_details
from reflectioncoder.builder.mutation.misreadings import FAMILIES, repair_of
from reflectioncoder.builder.stories.crashes import names_of, values_before
from reflectioncoder.builder.stories.edits import Edit, edit_facts, edits, is_move
from reflectioncoder.builder.stories.parts import Parts
from reflectioncoder.builder.stories.probes import Probe, defaults_of, is_labelled, shown_inputs
from reflectioncoder.builder.stories.programs import shape_of
from reflectioncoder.builder.stories.statement import read_statement
from reflectioncoder.builder.stories.story import Attempt, Facts, Saying, Story
from reflectioncoder.builder.stories.values import difference, same_literal
from reflectioncoder.builder.stories.worked import worked
from reflectioncoder.builder.tracing.divergence import is_whole
from reflectioncoder.data.python_source import parse

CASES = ("missing_guard", "missing_base_case")  # slips of which `correct` is the condition
_FAILURES = {"wrong_value": "equality"}
_UNREADABLE = ("misspelt_name", "syntax_slip", "hard_coded_example")  # slips whose program shape is not a credible plan
_COMPLETED = ("syntax_slip_colon", "syntax_slip_parenthesis", "missing_return", "missing_return_value")  # the repair only adds code
_MAX_QUOTED_CHARS = 80
_TASK_SHARE = 0.4  # probability that an opening repeats the task
_TASK_CHARS = 30  # length of the prefix by which two sentences are compared
_MAX_LINES = 3  # removed lines that are quoted
_MAX_WORKED_CHARS = 30  # of a condition with substituted values
_ROUNDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@dataclass(frozen=True)
class Manner:
    """Controls verbosity. `extras`: probability of including an optional sentence."""

    extras: float = 0.65


def spoken(sayings: Sequence[Saying], rng: random.Random, manner: Manner) -> str:
    """Return the text of sayings, with each extra drawn by `manner.extras`."""
    texts = [say(saying.symbol, saying.facts, rng) for saying in sayings if not saying.is_extra or rng.random() < manner.extras]
    return " ".join(text for text in texts if text)


def quotable(text: str) -> str:
    """Return a text on one line for use between backticks; "" if it contains a backtick."""
    return "" if "`" in text else " ".join(text.split()) if "\n" in text else text  # keeps spaces within strings


def opening(story: Story, rng: random.Random) -> list[Saying]:
    """Return the sentences before the first cell: a rule, the shape of the program, and the task or a plain opening."""
    facts = {"entry_point": story.entry_point}
    statement = read_statement(story.request)
    said = []
    if statement.rules:
        said.append(Saying("rule", facts | {"rule": rng.choice(statement.rules)}, is_extra=True))
    slip = story.attempts[0].slip
    shapes = shape_of(story.attempts[0].program, story.entry_point)
    if shapes and (slip is None or slip.operator not in _UNREADABLE):
        symbol, shape = rng.choice(shapes)
        said.append(Saying(symbol, facts | shape, is_extra=True))
    if statement.task and rng.random() < _TASK_SHARE:
        return [Saying("task", facts | {"task": statement.task}), *said]
    return [*said, Saying("opening", facts)]


def failure_facts(attempt: Attempt, story: Story) -> dict[str, str]:
    """Return the facts of a failing run, and of the attempt's slip."""
    failure, slip = attempt.failure, attempt.slip
    facts = {
        "call": failure.call,
        "expected": failure.expected,
        "error": failure.error,
        "test": attempt.test(story.tests),
        "entry_point": story.entry_point,
    }
    if slip is not None:
        task = read_statement(story.request).task  # a misreading of the whole task is not stated
        asked = "" if slip.asked[:_TASK_CHARS].lower() == task[:_TASK_CHARS].lower() else slip.asked
        wrong, correct = _without_brackets(slip.wrong, slip.correct)
        facts |= {"operator": slip.operator, "wrong": wrong, "correct": correct, "asked": asked}
        if slip.operator in FAMILIES and len(slip.correct) > _MAX_QUOTED_CHARS:
            del facts["correct"]
    return {name: text for name, value in facts.items() if (text := quotable(value))} | _case_facts(attempt, story)


def _without_brackets(wrong: str, correct: str) -> tuple[str, str]:
    """Strip the outer parentheses from two expressions if both have them."""
    inner = (wrong[1:-1], correct[1:-1])
    is_bracketed = all(text.startswith("(") and text.endswith(")") for text in (wrong, correct))
    return inner if is_bracketed and all(parse(text) is not None and "," not in text for text in inner) else (wrong, correct)


def _case_facts(attempt: Attempt, story: Story) -> dict[str, str]:
    """Return the named cases of the failing test and of the passing tests before it."""
    test = attempt.test(story.tests)
    if len(story.cases) != len(story.tests) or test not in story.tests:
        return {}
    at = story.tests.index(test)
    passed = [case for case in story.cases[:at] if case not in UNNAMED]
    facts = {"case": story.cases[at]} if story.cases[at] not in UNNAMED else {}
    if not passed:
        return facts
    listed = " and ".join([", ".join(passed[:-1]), passed[-1]] if len(passed) > 1 else passed)
    return facts | {"passing": f"The test{'s' if len(passed) > 1 else ''} with {listed} pass{'' if len(passed) > 1 else 'es'}"}


def failure_sayings(attempt: Attempt, story: Story, symbol: str = "") -> list[Saying]:
    """Return the sentences about an attempt's failing run."""
    kind, facts = attempt.failure.kind, failure_facts(attempt, story)
    if not symbol and is_second(attempt, story):
        said = [Saying("second.crash" if kind == "exception" else "second.failure", facts)]
        return [*said, *([Saying("relation.hides")] if story.relation == "hides" else [])]
    if symbol == "failure.moved" and kind == "exception":
        symbol = "failure.moved_crash"
    if not symbol and kind == "wrong_value" and "passing" in facts:
        symbol = "failure.after"
    return [Saying(symbol or f"failure.{_FAILURES.get(kind, kind)}", facts)]


def is_second(attempt: Attempt, story: Story) -> bool:
    """Tell whether an attempt is the last of several, left by a first correction."""
    return len(story.attempts) > 1 and attempt.program == story.attempts[-1].program


def fix(attempt: Attempt, story: Story, line: int | None = None) -> list[Saying]:
    """Return sentences on why an attempt is wrong and on everything that changes.

    Args:
        line: line where the attempt was seen to go wrong; its change is described first.
    """
    facts = failure_facts(attempt, story)
    causes = [Saying(symbol, own) for symbol, own in cause_sayings(attempt.causes, facts)]
    if causes or attempt.slip is None:
        return causes or [Saying("fix.rewritten", facts)]
    facts |= _change_facts(attempt)
    changes = edits(attempt.program, attempt.corrected)
    said = _fix(attempt.slip, attempt, facts, changes, line)
    return [*said, Saying("step")] if attempt.program != story.attempts[-1].program else said


def _change_facts(attempt: Attempt) -> dict[str, str]:
    """Return the facts of the change to the corrected program."""
    slip = attempt.slip
    if slip is None:
        return {}
    matcher = difflib.SequenceMatcher(None, attempt.program.split("\n"), attempt.corrected.split("\n"), autojunk=False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    old, new = attempt.program.split("\n"), attempt.corrected.split("\n")
    gone = [line.strip() for _, start, end, _, _ in changes for line in old[start:end] if line.strip()]
    come = [line.strip() for *_, start, end in changes for line in new[start:end] if line.strip()]
    kind, facts = slip_details(slip, attempt.corrected, attempt.failure, "\n".join(gone))
    facts = {**facts, "operator": kind, "gone": _listed(gone if 0 < len(gone) <= _MAX_LINES else [slip.wrong])}
    if slip.wrong not in attempt.corrected:
        facts["unused"] = quotable(slip.wrong)
    if len(come) == 1 and len(come[0]) <= _MAX_QUOTED_CHARS:
        facts["line"] = quotable(come[0])
    elif len(slip.correct) > _MAX_QUOTED_CHARS:
        facts["lines"] = "these lines"
    return {name: value for name, value in facts.items() if value}


def _listed(lines: Sequence[str]) -> str:
    """Join lines of code for a sentence; "" if one cannot be quoted."""
    quoted = [f"`{line.rstrip(':')}`" for line in map(quotable, lines) if line]
    if len(quoted) < len(lines):
        return ""
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _fix(slip: Mutation, attempt: Attempt, facts: dict[str, str], changes: list[Edit], line: int | None) -> list[Saying]:
    names = names_of(attempt.failure.error, slip.wrong, slip.correct)
    if "defined" in names and "correct" in facts:
        return [Saying("crash.name", facts | names)]
    if "`" in slip.wrong + slip.correct:  # the cause cannot be quoted
        shape, told = edit_facts(changes, line)
        return [Saying(f"change.{shape}", facts | told)]
    if "\n" in slip.wrong + slip.correct:  # quote the changed lines instead
        shape, told = edit_facts(changes, line)
        return [Saying(f"edit.{shape}", facts | told)]
    if slip.operator == "recursion_without_end" and slip.correct.startswith("if "):
        return [Saying("fix.removed", facts)]
    if slip.operator in FAMILIES:
        is_unassigned = bool(names) and slip.operator == "reset_in_loop"
        if repair_of(slip) == "before" and is_move(changes):
            return [Saying("crash.unbound" if is_unassigned else "fix.before", facts | names)]
        shape, told = edit_facts(changes, line)
        if is_unassigned:
            return [Saying("crash.unassigned", facts | names), Saying(f"change.{shape}", facts | told)]
        return [Saying(f"edit.{shape}", facts | told)]
    return [Saying(_symbol_of(slip, attempt, facts), facts)]


def _symbol_of(slip: Mutation, attempt: Attempt, facts: Facts) -> str:
    if slip.operator in CASES and not slip.wrong and not slip.correct.startswith("if "):
        return "fix.case"
    if slip.operator == "mutable_default":
        return "edit.default"
    if facts["operator"] in _COMPLETED:
        return "fix.completed"
    if slip.operator == "early_return":
        return "edit.unreached" if attempt.failure.actual == "None" else "fix.moved"
    return "fix.replaced" if slip.wrong else "fix.removed"


def announcement(probe: Probe, attempt: Attempt, story: Story) -> list[Saying]:
    """Return the sentences before a look."""
    facts = failure_facts(attempt, story) | place_facts(probe)
    if probe.clue is not None:
        listed = " and ".join(f"`{shown}`" for shown in probe.clue.shown)
        if attempt.failure.kind != "exception":
            return [Saying("announce.loop", facts | {"listed": listed})]
        return [Saying("crash.announce" if len(probe.clue.shown) > 1 else "crash.announce_single", facts | {"listed": listed})]
    if probe.divergence is None or probe.form == "expression":  # shows the call, the defaults or an expression
        return [Saying(f"announce.{probe.form}", facts)]
    if probe.parts is not None:
        form = "alone" if "def " not in probe.cell else "part" if len(probe.parts.shown) == 1 else "parts"
        return [Saying(f"announce.{form}", facts | {"listed": _listed(probe.parts.shown)})]
    kind, variable = probe.divergence.kind, probe.divergence.variable
    is_printed = kind in ("value", "branch") and f"{{{variable}=}}" in probe.cell
    return [Saying(f"announce.{kind if is_printed else 'other'}", facts)]


def explanation(probe: Probe, attempt: Attempt, story: Story) -> list[Saying]:
    """Return sentences on what a look shows, and on the right value where it is known."""
    if probe.clue is not None:
        read = probe.clue.read(values_before(probe.output, probe.clue.shown) or {})
        actual = {"actual": attempt.failure.actual} if attempt.failure.actual and probe.output.endswith(attempt.failure.actual) else {}
        return [Saying(probe.clue.symbol, failure_facts(attempt, story) | (read or {}) | actual)]
    if probe.parts is not None:
        return _parts_sayings(probe, probe.parts, attempt, story)
    facts = failure_facts(attempt, story) | probe_facts(probe, attempt)
    ours, theirs = facts.get("value", facts.get("actual")), facts.get("wanted")
    if probe.form == "defaults":
        variable = attempt.slip.wrong.partition("=")[0].strip() if attempt.slip is not None else ""
        return [Saying("seen.defaults", facts | {"variable": variable, "content": defaults_of(probe.output)})]
    if probe.divergence is None:
        said, theirs = [Saying("seen.worked_call" if "worked" in facts else "seen.call", facts)], attempt.failure.expected
    else:
        kind = probe.divergence.kind
        if kind in ("branch", "path") and not probe.divergence.statement:  # the correction takes a branch that the attempt lacks
            kind = "guard" if attempt.slip is not None and attempt.slip.operator in CASES else "path"
            if is_labelled(probe.divergence.variable, "True", probe.output):
                facts["inputs"] = f"`{probe.divergence.variable}` is `True`"
        is_one_of_many = kind in ("branch", "value") and "inputs" in facts and probe.output.count(f"{probe.divergence.variable}=") > 1
        said = [Saying(f"place.{kind}" if is_one_of_many else f"seen.{kind}", facts), Saying("wanted", facts)]
    actual, last = attempt.failure.actual, probe.output.rpartition("\n")[2]
    if probe.form == "print" and actual and actual != ours and (last == actual or (last and repr(last) == actual)):
        said.append(Saying("seen.result", facts | {"actual": attempt.failure.actual}))
    is_result = probe.divergence is None or probe.divergence.kind in ("value", "return")
    if ours and theirs and is_result and (found := difference(ours, theirs)):
        said.insert(1, Saying("difference", facts | {"difference": found}, is_extra=True))
    return said


def _parts_sayings(probe: Probe, parts: Parts, attempt: Attempt, story: Story) -> list[Saying]:
    """Return sentences on the parts of an expression: which values are right, and the first wrong one."""
    values = values_before(probe.output, parts.shown) or {}
    right = " and ".join(f"`{name}` is `{values[name]}`" for name in parts.operands)
    d, failure = probe.divergence, attempt.failure
    facts = failure_facts(attempt, story) | {"whole": parts.whole, "value": values[parts.whole]} | ({"right": right} if right else {})
    inputs = {name: value for name, value in (d.inputs if d is not None else ()) if value in facts.get("test", "")}
    by_hand = worked(parts.whole, inputs | {name: values[name] for name in parts.operands})
    symbol = "seen.parts" if right else "seen.own" if parts.is_own else "seen.whole"
    is_worked = bool(by_hand) and not parts.is_own
    said = [Saying(f"{symbol}_worked" if is_worked else symbol, facts | ({"worked": by_hand} if is_worked else {}))]
    is_result = d is not None and d.kind == "return" and len(d.call_path) == 1 and failure.kind == "wrong_value"
    if is_result and parts.is_all:
        return [*said, Saying("wanted", facts | {"wanted": failure.expected})]
    if is_result and probe.output.rstrip("\n").rsplit("\n", 1)[-1] == failure.actual:
        said.append(Saying("seen.result", facts | {"actual": failure.actual}))
    return said


def place_facts(probe: Probe) -> dict[str, str]:
    """Return the facts about a look's place, which are known before it has run."""
    d = probe.divergence
    if d is None:
        return {}
    is_to_blame = d.kind != "return" or d.statement.startswith("return")  # else a missing statement after it returns nothing
    is_news = not same_literal(d.statement.removeprefix(f"{d.variable} = "), d.value_attempt or "")  # else the value is obvious
    facts = {
        "function": d.function.rpartition(".")[2],
        "statement": d.statement if is_to_blame and is_news and len(d.statement) <= _MAX_QUOTED_CHARS else "",
        "variable": d.variable,
    }
    return {name: value for name, value in facts.items() if value and "`" not in value}


def probe_facts(probe: Probe, attempt: Attempt) -> dict[str, str]:
    """Return the facts that a look shows."""
    d, failure = probe.divergence, attempt.failure
    if d is None:
        return {"actual": failure.actual} | ({"worked": probe.worked} if probe.worked else {})
    callee, _, parameter = d.variable.removesuffix(")").partition("(")
    facts = {
        "callee": callee if d.kind == "argument" else "",
        "parameter": parameter if d.kind == "argument" else "",
        "value": d.value_attempt if d.value_attempt and is_whole(d.value_attempt) else "",
        "missing": d.value_reference if d.kind == "rounds" and not d.value_attempt and is_whole(d.value_reference or "") else "",
        "inputs": " and ".join(f"`{name}` is `{value}`" for name, value in shown_inputs(probe) if name != "_"),
        "round": _ROUNDS[d.iteration - 1] if 0 < d.iteration <= len(_ROUNDS) else "",
    }
    if d.kind == "return" and len(d.call_path) == 1 and failure.kind == "wrong_value" and d.value_reference == failure.expected:
        facts["wanted"] = failure.expected
    if d.kind == "branch" and (by_hand := worked(d.variable, dict(shown_inputs(probe)))) and len(by_hand) <= _MAX_WORKED_CHARS:
        facts["worked"] = by_hand
    shown = {name: value for name, value in facts.items() if value and (name == "inputs" or "`" not in value)}
    return place_facts(probe) | shown
