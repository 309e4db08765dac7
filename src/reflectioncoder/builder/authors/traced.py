"""Diagnoses of what was seen: a cell prints the values at the place where an attempt parts from its correction, then a text explains.

The place comes from traces of both programs (`tracing`), the values from the cell, which runs in the sample's own session. What the
cell does not show is not stated: then the text says what the failing test shows, or there is no sample (`claims` has the last word).
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.claims import check_blocks
from reflectioncoder.builder.crafted.words import why_tests
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import say
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.mutation.diagnosis import Failure, failing_test
from reflectioncoder.builder.mutation.misreadings import FAMILIES, repair_of
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.tracing import Divergence, expression_probe, print_probe
from reflectioncoder.builder.tracing.divergence import is_whole
from reflectioncoder.builder.tracing.probes import corrected_expression
from reflectioncoder.data.samples import Block

_MAX_PROBE_CHARS = 1200  # of its output
_MAX_CELL_CHARS = 2000
_MAX_QUOTED_CHARS = 80
_MAX_INPUTS = 2
_MAX_INPUT_CHARS = 40
_ROUNDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_FAILURES = {"wrong_value": "equality"}
_CASES = ("missing_guard", "missing_base_case")  # of which `correct` is the condition
_BY_THE_TEST = ("syntax", "endless", "outcome")  # kinds of which the failing test itself says all there is
_FRAME = re.compile(r'File "main.py", line \d+, in (\S+)')
Facts = Mapping[str, str]


@dataclass(frozen=True)
class Attempt:
    """A failing attempt. `corrected`: the next program; `slip`: what it repairs, None if it is another program altogether."""

    program: str
    corrected: str
    cell: str
    ran: Execution
    failure: Failure
    slip: Mutation | None = None

    def test(self, tests: Sequence[str]) -> str:
        """Return the assertion that fails, or in which an exception arises; "" if none is to blame."""
        return self.failure.test or failing_test(self.ran.output, tuple(tests)) or ""


@dataclass(frozen=True)
class Probe:
    """A cell that is run after an attempt. `divergence`: None if it shows the value of the failing call alone."""

    cell: str
    form: Literal["print", "expression", "call"]
    divergence: Divergence | None = None
    output: str = ""


@dataclass(frozen=True)
class Story:
    """The attempts at a problem and the cell that passes.

    Attributes:
        setup: what the tests need beside the program.
        cases: what each test is there for, if that is known.
    """

    request: str
    entry_point: str
    setup: str
    tests: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    last_cell: str
    last_output: str
    cases: tuple[str, ...] = ()


def traced_blocks(story: Story, execute: Executions, seed: str) -> list[Block] | Rejected:
    """Return the blocks of the answer, or why there is none.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    none: list[Probe | None] = [None] * len(story.attempts)
    probes = _run([_candidates(story, attempt, execute) for attempt in story.attempts], story, execute)
    unsupported = ""
    for used in (probes, none) if any(probes) else (none,):
        blocks = _blocks(story, used, random.Random(f"words/{seed}"))
        claims = check_blocks(story.request, blocks)
        unsupported = ", ".join(claim.stated.text for claim in claims if claim.status == "unsupported")
        if not unsupported:
            return blocks
    return Rejected("unsupported_claim", unsupported)


def _candidates(story: Story, attempt: Attempt, execute: Executions) -> list[Probe]:
    """Return the cells with which a person would look at the attempt, the best one first."""
    test, failure = attempt.test(story.tests), attempt.failure
    if not test or failure.kind in ("syntax", "timeout"):
        return []
    found = []
    before = "\n".join([story.setup, *story.tests[: story.tests.index(test)]])
    divergence = execute.diverge(attempt.program, attempt.corrected, test, before)
    if divergence is not None and divergence.kind not in _BY_THE_TEST:
        cells = [print_probe(divergence, attempt.program, test, reference=True, whole=whole) for whole in (False, True)]
        found += [Probe(cell, "print", divergence) for cell in dict.fromkeys(cells) if 0 < len(cell) <= _MAX_CELL_CHARS]
        cell = expression_probe(divergence, attempt.program)
        if cell and all(value in test for _, value in divergence.inputs):  # values that nobody has seen yet are not to be written down
            found.append(Probe(cell, "expression", divergence))
    if failure.kind == "wrong_value":
        found.append(Probe(f"print(repr({failure.call}))", "call"))
    return found


def _run(candidates: list[list[Probe]], story: Story, execute: Executions) -> list[Probe | None]:
    """Run the sample's session with the first cells that show what they are for."""
    while any(candidates):
        probes = [left[0] if left else None for left in candidates]
        outputs = _outputs(probes, story, execute)
        if outputs is None:
            break
        ran = [probe and replace(probe, output=output) for probe, output in zip(probes, outputs, strict=True)]
        is_shown = [probe is None or _is_shown(probe, attempt) for probe, attempt in zip(ran, story.attempts, strict=True)]
        if all(is_shown):
            return ran
        candidates = [left if shown else left[1:] for left, shown in zip(candidates, is_shown, strict=True)]
    return [None] * len(story.attempts)


def _outputs(probes: list[Probe | None], story: Story, execute: Executions) -> list[str] | None:
    """Return what the probes print in the session; None if the other cells then print something else."""
    pairs = list(zip(story.attempts, probes, strict=True))
    cells = [cell for attempt, probe in pairs for cell in (attempt.cell, *([probe.cell] if probe else []))]
    ran = iter(execute([*cells, story.last_cell]))
    outputs = []
    for attempt, probe in pairs:
        if next(ran).output != attempt.ran.output:
            return None
        outputs.append(next(ran).output.rstrip("\n") if probe else "")
    return outputs if next(ran).output == story.last_output else None


def _is_shown(probe: Probe, attempt: Attempt) -> bool:
    """Tell whether a probe's output shows the value that the text is about."""
    output, d = probe.output, probe.divergence
    if not output or len(output) > _MAX_PROBE_CHARS or not _is_of_cell(output, probe.cell):
        return False
    if d is None:
        return output == attempt.failure.actual
    if probe.form == "expression":
        return d.value_attempt is not None and is_whole(d.value_attempt) and output in (d.value_attempt, _text_of(d.value_attempt))
    if d.kind == "exception":
        return d.value_attempt == attempt.failure.error and bool(_shown_inputs(probe))
    if d.kind in ("value", "branch", "argument", "return", "yield") and d.value_attempt is not None:
        last = output.rsplit("\n", 1)[-1]
        is_result = d.kind == "return" and last in (d.value_attempt, _text_of(d.value_attempt))
        label = d.variable if d.kind in ("value", "branch") else ""
        return is_whole(d.value_attempt) and (is_result or _is_labelled(label, d.value_attempt, output))
    return bool(_shown_inputs(probe))


def _is_of_cell(output: str, cell: str) -> bool:
    """Tell whether a traceback passes through functions of the cell alone: of others it would show lines of this cell."""
    frames = set(_FRAME.findall(output)) - {"<module>"}
    return all(re.search(rf"\bdef {re.escape(name)}\(", cell) for name in frames) and "previous line" not in output.lower()


def _text_of(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def _is_labelled(label: str, value: str, output: str) -> bool:
    """Tell whether a line shows `label=value`; of an empty label whatever has the value."""
    name = rf"(?<![\w.]){re.escape(label)}" if label else ""
    return re.search(rf"{name}={re.escape(value)}(?=$|, )", output, re.MULTILINE) is not None


def _shown_inputs(probe: Probe) -> list[tuple[str, str]]:
    """Return the variables and their values at the place, as far as the cell shows them and they can be quoted."""
    d = probe.divergence
    assert d is not None
    found = []
    for name, value in d.inputs:
        is_seen = probe.form == "expression" or _is_labelled(name, value, probe.output)
        if name != d.variable and is_seen and is_whole(value) and len(value) <= _MAX_INPUT_CHARS and not re.search(r"[`<…]", value):
            found.append((name, value))
    return found[:_MAX_INPUTS]


def _blocks(story: Story, probes: Sequence[Probe | None], rng: random.Random) -> list[Block]:
    blocks = [Block("text", _joined(say("opening", {"entry_point": story.entry_point}, rng), why_tests(story.cases, rng)))]
    for attempt, probe in zip(story.attempts, probes, strict=True):
        facts = _facts_of_failure(attempt, story)
        failure = say(f"failure.{_FAILURES.get(attempt.failure.kind, attempt.failure.kind)}", facts, rng)
        blocks += [Block("code", attempt.cell), Block("execution", attempt.ran.output.rstrip("\n"))]
        if probe is None:
            blocks.append(Block("text", _joined(failure, say(_fix(attempt.slip), facts, rng))))
            continue
        facts |= _facts_of_probe(probe, attempt)
        blocks += [
            Block("text", _joined(failure, say(_announcement(probe), facts, rng))),
            Block("code", probe.cell),
            Block("execution", probe.output),
            Block("text", _joined(*_explanation(probe, attempt, facts, rng), say(_fix(attempt.slip), facts, rng))),
        ]
    return [*blocks, Block("code", story.last_cell), Block("execution", story.last_output.rstrip("\n"))]


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _fix(slip: Mutation | None) -> str:
    if slip is None:
        return "fix.rewritten"
    if slip.operator in FAMILIES:
        return f"fix.{repair_of(slip)}"
    if slip.operator in _CASES and not slip.wrong and not slip.correct.startswith("if "):
        return "fix.case"
    if slip.operator == "mutable_default":
        return "fix.default"
    return "fix.moved" if slip.operator == "early_return" else "fix.replaced" if slip.wrong else "fix.removed"


def _announcement(probe: Probe) -> str:
    if probe.divergence is None or probe.form == "expression":
        return f"announce.{probe.form}"
    kind, variable = probe.divergence.kind, probe.divergence.variable
    is_printed = kind in ("value", "branch") and f"{{{variable}=}}" in probe.cell
    return f"announce.{kind if is_printed else 'other'}"


def _explanation(probe: Probe, attempt: Attempt, facts: Facts, rng: random.Random) -> tuple[str, ...]:
    """Return what the cell shows, and what it should be where that is known."""
    if probe.divergence is None:
        return (say("seen.call", facts, rng),)
    kind = probe.divergence.kind
    if kind in ("branch", "path") and not probe.divergence.statement:  # what the attempt lacks leads elsewhere
        kind = "guard" if attempt.slip is not None and attempt.slip.operator in _CASES else "path"
    known = "matched" if "wanted" in facts and facts.get("better") == facts["wanted"] else "wanted" if "wanted" in facts else "better"
    return say(f"seen.{kind}", facts, rng), say(known, facts, rng)


def _facts_of_failure(attempt: Attempt, story: Story) -> dict[str, str]:
    failure, slip = attempt.failure, attempt.slip
    facts = {
        "call": failure.call,
        "expected": failure.expected,
        "error": failure.error,
        "test": attempt.test(story.tests),
        "entry_point": story.entry_point,
    }
    if slip is not None:
        facts |= {"operator": slip.operator, "wrong": slip.wrong, "correct": slip.correct, "asked": slip.asked}
        if slip.operator in FAMILIES and len(slip.correct) > _MAX_QUOTED_CHARS:
            del facts["correct"]
    return {name: text for name, value in facts.items() if (text := _quotable(value))}


def _quotable(text: str) -> str:
    return "" if "`" in text else " ".join(text.split()) if "\n" in text else text  # spaces within a string count


def _facts_of_probe(probe: Probe, attempt: Attempt) -> dict[str, str]:
    """Return what the cell shows, as fields of the grammar."""
    d, failure = probe.divergence, attempt.failure
    if d is None:
        return {"actual": failure.actual}
    callee, _, parameter = d.variable.removesuffix(")").partition("(")
    is_to_blame = d.kind != "return" or d.statement.startswith("return")  # else it is what follows that returns nothing
    facts = {
        "function": d.function,
        "statement": d.statement if is_to_blame and len(d.statement) <= _MAX_QUOTED_CHARS else "",
        "variable": d.variable,
        "callee": callee if d.kind == "argument" else "",
        "parameter": parameter if d.kind == "argument" else "",
        "value": d.value_attempt if d.value_attempt and is_whole(d.value_attempt) else "",
        "inputs": " and ".join(f"`{name}` is `{value}`" for name, value in _shown_inputs(probe)),
        "round": _ROUNDS[d.iteration - 1] if 0 < d.iteration <= len(_ROUNDS) else "",
    }
    if d.kind == "return" and len(d.call_path) == 1 and failure.kind == "wrong_value" and d.value_reference == failure.expected:
        facts["wanted"] = failure.expected
    corrected = corrected_expression(d, attempt.program)
    if corrected and d.value_reference and is_whole(d.value_reference) and _is_labelled(corrected, d.value_reference, probe.output):
        facts |= {"corrected": corrected, "better": d.value_reference}
    return {name: value for name, value in facts.items() if value and (name == "inputs" or "`" not in value)}
