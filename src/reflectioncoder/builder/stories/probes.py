"""Looks: cells that print the values where an attempt diverges from its correction, and checks of what their outputs show.

The place comes from traces of both programs (`tracing`); the values come from the cell, which runs in the sample's session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from reflectioncoder import syntax
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation.diagnosis import error_line
from reflectioncoder.builder.stories.crashes import Clue, clue_of, place_of_crash, positions_of, values_before
from reflectioncoder.builder.stories.exits import exit_of
from reflectioncoder.builder.stories.parts import Parts, parts_of
from reflectioncoder.builder.stories.programs import functions_of
from reflectioncoder.builder.stories.story import Attempt, Story
from reflectioncoder.builder.stories.worked import worked
from reflectioncoder.builder.tracing import Divergence, expression_probe, print_probe, value_cell
from reflectioncoder.builder.tracing.divergence import is_whole
from reflectioncoder.builder.tracing.probes import expression_text

BY_THE_TEST = ("syntax", "endless", "outcome")  # kinds that the failing test itself fully shows
_OF_PATHS = ("missing_guard", "missing_base_case", "early_return")  # slips that change the control flow
_MAX_OUTPUT_CHARS = 1200
_MAX_OUTPUT_LINES = 14  # including a traceback
_MAX_CELL_CHARS = 2000
_MAX_INPUTS = 2
_MAX_INPUT_CHARS = 40
_MAX_CHECKED_CHARS = 60
_FRAME = re.compile(r'File "main.py", line \d+, in (\S+)')


@dataclass(frozen=True)
class Probe:
    """A cell to run after an attempt.

    Attributes:
        divergence: None if the cell shows only the value of the failing call, or defaults.
        clue: values that the cell prints to explain an exception or a loop.
        parts: parts of an expression that the cell prints.
        worked: the expression that the failing call computes with its arguments substituted, if it is a single expression.
    """

    cell: str
    form: Literal["print", "expression", "call", "defaults"]
    divergence: Divergence | None = None
    output: str = ""
    clue: Clue | None = None
    parts: Parts | None = None
    worked: str = ""


def probes(story: Story, attempt: Attempt, execute: Executions, seen: str = "") -> list[Probe]:
    """Return the cells with which a person would inspect an attempt, best first.

    Args:
        seen: an expression whose value has already been printed.
    """
    test, failure = attempt.test(story.tests), attempt.failure
    if not test or failure.kind in ("syntax", "timeout"):
        return []
    divergence = divergence_of(story, attempt, execute)
    if failure.kind == "exception":
        found = _crash_probes(attempt, test)
        if found or divergence is None or divergence.kind == "exception" or failure.error.startswith("NameError"):
            return found
    if attempt.slip is not None and attempt.slip.operator == "mutable_default":
        return _default_probes(attempt)
    found = [] if story.short_looks else _loop_probes(attempt, test)
    by_hand = _worked_call(divergence, attempt, test)
    call = [Probe(printed_call(failure.call, failure.actual), "call", worked=by_hand)] if failure.kind == "wrong_value" else []
    if not found and (parts := parts_of(divergence, attempt.program, attempt.corrected)) is not None:
        assert divergence is not None
        parts = parts.without(seen)
        alone = value_cell(divergence, parts.shown) if divergence.kind != "value" and stands_in(divergence, test) else ""
        cell = alone or ("" if story.short_looks else print_probe(divergence, attempt.program, test, shown=parts.shown))
        is_news = parts.operands or not parts.is_all or divergence.kind != "return"
        found += [Probe(cell, "print", divergence, parts=parts)] if is_news and 0 < len(cell) <= _MAX_CELL_CHARS else []
    if not found and call and (_is_bare(divergence, attempt.failure.call) or _is_of_another_form(divergence, attempt)):
        return call
    if not found and divergence is not None and divergence.kind not in BY_THE_TEST:
        cells = [] if story.short_looks else [print_probe(divergence, attempt.program, test, whole=whole) for whole in (False, True)]
        found += [Probe(cell, "print", divergence) for cell in dict.fromkeys(cells) if 0 < len(cell) <= _MAX_CELL_CHARS]
        cell = expression_probe(divergence, attempt.program)
        if cell and stands_in(divergence, test):  # the cell must not contain values not yet seen
            found.append(Probe(cell, "expression", divergence))
    return [*found, *([] if story.short_looks else call)]


def _worked_call(divergence: Divergence | None, attempt: Attempt, test: str) -> str:
    """Return the expression that the failing call computes with its arguments substituted; "" if it is not a single expression."""
    d = divergence
    if d is None or d.kind != "return" or len(d.call_path) != 1 or not d.statement.startswith("return ") or not stands_in(d, test):
        return ""
    return worked(expression_text(d.statement), dict(d.inputs)) if d.value_attempt == attempt.failure.actual else ""


def printed_call(call: str, value: str) -> str:
    """Return the statement that prints a call's value; strings are printed with quotes."""
    return f"print(repr({call}))" if value[:1] in ("'", '"') else f"print({call})"


def _is_of_another_form(divergence: Divergence | None, attempt: Attempt) -> bool:
    """Tell whether the two programs have different statements at the place, so that no single value explains the failure."""
    if divergence is None:
        return False
    if divergence.kind == "path":
        return attempt.slip is not None and attempt.slip.operator not in _OF_PATHS
    return divergence.kind == "rounds" and not divergence.statement_reference.startswith("for ")


def _is_bare(divergence: Divergence | None, call: str) -> bool:
    """Tell whether a look at a `return` could print only values that the failing call already contains."""
    if divergence is None or divergence.kind != "return" or len(divergence.call_path) != 1:
        return False
    return stands_in(divergence, call)


def stands_in(divergence: Divergence, code: str) -> bool:
    """Tell whether a call or test contains all values read at the place, regardless of quote style."""
    return all(value in code or value.replace("'", '"') in code for _, value in divergence.inputs)


@dataclass(frozen=True)
class Check:
    """A cell that evaluates the corrected expression with the values of the failing test, and its value.

    Attributes:
        is_result: whether the value is the result of the failing call.
        facts: the present and the corrected expression.
    """

    cell: str
    value: str
    is_result: bool
    facts: dict[str, str]


def check(story: Story, attempt: Attempt, execute: Executions) -> Check | None:
    """Return a trial of the correction; None if it would be long or would need values not in the test."""
    d = divergence_of(story, attempt, execute)
    if d is None or d.kind not in ("value", "return") or not d.value_reference or not is_whole(d.value_reference):
        return None
    ours, corrected = expression_text(d.statement), expression_text(d.statement_reference)
    test = attempt.test(story.tests)
    if (
        not ours
        or not corrected
        or ours == corrected
        or "`" in ours + corrected + d.value_reference
        or max(map(len, (ours, corrected))) > _MAX_CHECKED_CHARS
    ):
        return None
    cell = expression_probe(replace(d, statement=d.statement_reference), attempt.program)
    if not cell or not all(value in test for name, value in d.inputs if re.search(rf"\b{re.escape(name)}\b", cell)):
        return None
    is_result = d.kind == "return" and len(d.call_path) == 1 and d.value_reference == attempt.failure.expected
    text = _text_of(d.value_reference)
    return Check(cell, text, is_result, {"present": ours, "corrected": corrected}) if text == d.value_reference else None


def place_of(story: Story, attempt: Attempt, execute: Executions) -> int | None:
    """Return the line where an attempt is seen to go wrong; None if it is not seen."""
    divergence = divergence_of(story, attempt, execute)
    return divergence and divergence.line_attempt


def divergence_of(story: Story, attempt: Attempt, execute: Executions) -> Divergence | None:
    """Return where an attempt diverges from its correction; None if no failing test shows it."""
    test = attempt.test(story.tests)
    if not test or attempt.failure.kind in ("syntax", "timeout"):
        return None
    return execute.diverge(attempt.program, attempt.corrected, test, story.before(test))


def _default_probes(attempt: Attempt) -> list[Probe]:
    """Return the cell that prints a mutable default after the calls: the attempt's session still holds it."""
    assert attempt.slip is not None
    owner = re.search(rf"^def (\w+)\(.*{re.escape(attempt.slip.wrong)}", attempt.program, re.MULTILINE)
    return [Probe(f"print({owner[1]}.__defaults__)", "defaults")] if owner else []


def _loop_probes(attempt: Attempt, test: str) -> list[Probe]:
    """Return the cells that print the positions of a loop that skips one, or the items at which a loop is left too early."""
    if attempt.failure.kind != "wrong_value":
        return []
    counted = positions_of(attempt.program, attempt.corrected) or exit_of(attempt.program, attempt.corrected)
    if counted is None:
        return []
    place, clue = counted
    cell = print_probe(place, attempt.program, test, shown=clue.shown)
    return [Probe(cell, "print", place, clue=clue)] if 0 < len(cell) <= _MAX_CELL_CHARS else []


def _crash_probes(attempt: Attempt, test: str) -> list[Probe]:
    """Return the cells that print values that explain an exception; none if its message suffices."""
    clue = clue_of(attempt.failure.error, attempt.ran.output, functions_of(attempt.program))
    place = place_of_crash(attempt.ran.output, attempt.program)
    if clue is None or place is None:
        return []
    cells = [print_probe(place, attempt.program, test, whole=whole, shown=clue.shown) for whole in (False, True)]
    return [Probe(cell, "print", place, clue=clue) for cell in dict.fromkeys(cells) if 0 < len(cell) <= _MAX_CELL_CHARS]


def is_shown(probe: Probe, attempt: Attempt) -> bool:
    """Tell whether a probe's output shows the value that the text will state."""
    output, d = probe.output, probe.divergence
    if not output or len(output) > _MAX_OUTPUT_CHARS or output.count("\n") > _MAX_OUTPUT_LINES or not is_of_cell(output, probe.cell):
        return False
    if probe.form == "defaults":
        return defaults_of(output) != ""
    if d is None:
        return output.rsplit("\n", 1)[-1] == attempt.failure.actual  # the attempt's own prints may precede it
    if probe.form == "expression":
        return d.value_attempt is not None and is_whole(d.value_attempt) and output in (d.value_attempt, _text_of(d.value_attempt))
    if probe.clue is not None:
        values = values_before(output, probe.clue.shown)
        is_same = attempt.failure.kind != "exception" or error_line(output) == attempt.failure.error
        return values is not None and is_same and probe.clue.read(values) is not None
    if probe.parts is not None:
        return values_before(output, probe.parts.shown) is not None
    if d.kind in ("value", "branch", "argument", "return", "yield") and d.value_attempt is not None:
        last = output.rsplit("\n", 1)[-1]
        is_result = d.kind == "return" and last in (d.value_attempt, _text_of(d.value_attempt))
        label = d.variable if d.kind in ("value", "branch") else ""
        return is_whole(d.value_attempt) and (is_result or is_labelled(label, d.value_attempt, output))
    return bool(shown_inputs(probe))


def defaults_of(output: str) -> str:
    """Return the last of the printed defaults if it is a nonempty list, dict or set; else ""."""
    try:
        *_, last = syntax.literal(output)
    except syntax.NOT_A_LITERAL:
        return ""
    return repr(last) if isinstance(last, list | dict | set) and last and len(repr(last)) <= _MAX_CHECKED_CHARS else ""


def is_of_cell(output: str, cell: str) -> bool:
    """Tell whether all functions in a traceback are defined in the cell: for others Python would quote unrelated lines of this cell."""
    frames = set(_FRAME.findall(output)) - {"<module>"}
    return all(re.search(rf"\bdef {re.escape(name)}\(", cell) for name in frames) and "previous line" not in output.lower()


def _text_of(value: str) -> str:
    return str(syntax.literal_or(value, value))


def is_labelled(label: str, value: str, output: str) -> bool:
    """Tell whether a line shows `label=value`; with an empty label, any label matches."""
    name = rf"(?<![\w.]){re.escape(label)}" if label else ""
    return re.search(rf"{name}={re.escape(value)}(?=$|, )", output, re.MULTILINE) is not None


def shown_inputs(probe: Probe) -> list[tuple[str, str]]:
    """Return the variables at the place, with values that the cell shows and that can be quoted."""
    d = probe.divergence
    assert d is not None
    found = []
    for name, value in d.inputs:
        is_seen = probe.form == "expression" or is_labelled(name, value, probe.output)
        if name != d.variable and is_seen and is_whole(value) and len(value) <= _MAX_INPUT_CHARS and not re.search(r"[`<…]", value):
            found.append((name, value))
    return found[:_MAX_INPUTS]
