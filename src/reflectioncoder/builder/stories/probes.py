"""Looks: cells that print the values at the place where an attempt parts from its correction, and what their outputs show.

The place comes from traces of both programs (`tracing`), the values from the cell, which runs in the sample's own session.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Literal

from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.stories.story import Attempt, Story
from reflectioncoder.builder.tracing import Divergence, expression_probe, print_probe
from reflectioncoder.builder.tracing.divergence import is_whole

BY_THE_TEST = ("syntax", "endless", "outcome")  # kinds of which the failing test itself says all there is
_MAX_OUTPUT_CHARS = 1200
_MAX_CELL_CHARS = 2000
_MAX_INPUTS = 2
_MAX_INPUT_CHARS = 40
_FRAME = re.compile(r'File "main.py", line \d+, in (\S+)')


@dataclass(frozen=True)
class Probe:
    """A cell that is run after an attempt. `divergence`: None if it shows the value of the failing call alone."""

    cell: str
    form: Literal["print", "expression", "call"]
    divergence: Divergence | None = None
    output: str = ""


def probes(story: Story, attempt: Attempt, execute: Executions) -> list[Probe]:
    """Return the cells with which a person would look at an attempt, the best one first."""
    test, failure = attempt.test(story.tests), attempt.failure
    if not test or failure.kind in ("syntax", "timeout"):
        return []
    found = []
    divergence = execute.diverge(attempt.program, attempt.corrected, test, story.before(test))
    if divergence is not None and divergence.kind not in BY_THE_TEST:
        cells = [print_probe(divergence, attempt.program, test, reference=True, whole=whole) for whole in (False, True)]
        found += [Probe(cell, "print", divergence) for cell in dict.fromkeys(cells) if 0 < len(cell) <= _MAX_CELL_CHARS]
        cell = expression_probe(divergence, attempt.program)
        if cell and all(value in test for _, value in divergence.inputs):  # values that nobody has seen yet are not to be written down
            found.append(Probe(cell, "expression", divergence))
    if failure.kind == "wrong_value":
        found.append(Probe(f"print(repr({failure.call}))", "call"))
    return found


def is_shown(probe: Probe, attempt: Attempt) -> bool:
    """Tell whether a probe's output shows the value that the text is about."""
    output, d = probe.output, probe.divergence
    if not output or len(output) > _MAX_OUTPUT_CHARS or not is_of_cell(output, probe.cell):
        return False
    if d is None:
        return output == attempt.failure.actual
    if probe.form == "expression":
        return d.value_attempt is not None and is_whole(d.value_attempt) and output in (d.value_attempt, _text_of(d.value_attempt))
    if d.kind == "exception":
        return d.value_attempt == attempt.failure.error and bool(shown_inputs(probe))
    if d.kind in ("value", "branch", "argument", "return", "yield") and d.value_attempt is not None:
        last = output.rsplit("\n", 1)[-1]
        is_result = d.kind == "return" and last in (d.value_attempt, _text_of(d.value_attempt))
        label = d.variable if d.kind in ("value", "branch") else ""
        return is_whole(d.value_attempt) and (is_result or is_labelled(label, d.value_attempt, output))
    return bool(shown_inputs(probe))


def is_of_cell(output: str, cell: str) -> bool:
    """Tell whether a traceback passes through functions of the cell alone: of others it would show lines of this cell."""
    frames = set(_FRAME.findall(output)) - {"<module>"}
    return all(re.search(rf"\bdef {re.escape(name)}\(", cell) for name in frames) and "previous line" not in output.lower()


def _text_of(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def is_labelled(label: str, value: str, output: str) -> bool:
    """Tell whether a line shows `label=value`; of an empty label whatever has the value."""
    name = rf"(?<![\w.]){re.escape(label)}" if label else ""
    return re.search(rf"{name}={re.escape(value)}(?=$|, )", output, re.MULTILINE) is not None


def shown_inputs(probe: Probe) -> list[tuple[str, str]]:
    """Return the variables and their values at the place, as far as the cell shows them and they can be quoted."""
    d = probe.divergence
    assert d is not None
    found = []
    for name, value in d.inputs:
        is_seen = probe.form == "expression" or is_labelled(name, value, probe.output)
        if name != d.variable and is_seen and is_whole(value) and len(value) <= _MAX_INPUT_CHARS and not re.search(r"[`<…]", value):
            found.append((name, value))
    return found[:_MAX_INPUTS]
