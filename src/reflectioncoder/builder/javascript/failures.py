"""Parses Node's output when a cell fails, and shows the value of the failing call."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.javascript.expressions import call_arguments
from reflectioncoder.builder.javascript.program import Program
from reflectioncoder.builder.looks import Look
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.languages.javascript import JAVASCRIPT

_MAX_VALUE_CHARS = 80
_MAX_LINE_CHARS = 100
_EQUALITIES = ("deepEqual", "deepStrictEqual", "equal", "strictEqual")
_FRAME = re.compile(r"^ +at (?:(?:new |async )?([\w$.<>]+) \()?main\.js:(\d+):\d+\)?$", re.MULTILINE)
_PLACE = re.compile(r"^main\.js:(\d+)\n(.*)\n\s*\^", re.MULTILINE)
_ERROR = re.compile(r"^(?:Uncaught )?(\w*(?:Error|Exception)(?: \[\w+\])?(?:: .*)?)$", re.MULTILINE)
_ACTUAL = re.compile(r"^  actual: (.*),\n  expected: ", re.MULTILINE)
_SHORTENED = re.compile(r"\[(?:Array|Object|Circular[^\]]*)\]|more items?|\.\.\.")
# Prints the value as JSON if that is lossless, else as `util.inspect` formats it.
_SHOW = """;((value) => {{
  const {{ inspect, isDeepStrictEqual }} = require('node:util');
  const text = JSON.stringify(value);
  const whole = text !== undefined && isDeepStrictEqual(JSON.parse(text), value);
  console.log(whole ? text : inspect(value));
  console.log(whole);
}})({call});
"""


@dataclass(frozen=True)
class NodeFailure(Failure):
    """A failing execution of Node, with the source line of the exception as Node shows it, and the enclosing function."""

    line: str = ""
    function: str = ""


def read_failure(cell: str, tests: tuple[str, ...], ran: Execution) -> NodeFailure:
    """Return the facts of a cell's failing run; for a failed equality also the actual value, if Node prints it on one line."""
    if ran.status == "timeout":
        return NodeFailure("timeout", "")
    output, error, place = ran.output, _error(ran.output), _PLACE.search(ran.output)
    line = place[2].strip() if place is not None and len(place[2].strip()) <= _MAX_LINE_CHARS else ""
    frames = _FRAME.findall(output)
    if error.startswith("SyntaxError") and not frames:  # with frames, JSON.parse raised it at runtime
        return NodeFailure("syntax", error, line=line)
    test = _failing_test(cell, tests, [int(number) for _, number in frames])
    if not error.startswith("AssertionError"):
        is_own = place is not None and test != f"{line.rstrip(';')}"
        return NodeFailure("exception", error, test, line=line if is_own else "", function=_function(frames) if is_own else "")
    parts = split_assertion(test) if test else None
    if parts is None:
        return NodeFailure("assertion" if test else "exception", error, test)
    found = _ACTUAL.search(output)
    actual = found[1] if found is not None and _is_whole(found[1]) else ""
    return NodeFailure("wrong_value" if actual else "equality", error, test, parts[0], parts[1], actual)


def _error(output: str) -> str:
    """Return the line that names the exception, or the thrown value if it is not an error."""
    if found := _ERROR.search(output):
        return found[1]
    thrown = re.search(r"^\s*\^\n(.+)\n", output, re.MULTILINE)
    return thrown[1].strip() if thrown else output.strip().split("\n")[0]


def _failing_test(cell: str, tests: tuple[str, ...], places: list[int]) -> str:
    """Return the test whose line is in the stack trace, without its semicolon; "" if there is none."""
    lines = cell.split("\n")
    named = [lines[place - 1].strip() for place in places if 0 < place <= len(lines)]
    return next((line.rstrip(";") for line in named if line in {test.strip() for test in tests}), "")


def _function(frames: list[tuple[str, str]]) -> str:
    """Return the name of the function that raised the exception; "" if it has none."""
    name = frames[0][0] if frames else ""
    return name if re.fullmatch(r"[\w$]+(?:\.[\w$]+)?", name) else ""


def split_assertion(test: str) -> tuple[str, str] | None:
    """Return (call, expected) of `assert.deepEqual(call, expected)` and similar assertions, else None."""
    program = Program(test)
    call = next(program.of_type("call_expression"), None)
    function = call.child_by_field_name("function") if call is not None else None
    if call is None or function is None or not re.fullmatch(rf"assert\.(?:{'|'.join(_EQUALITIES)})", program.text(function)):
        return None
    parts = call_arguments(call)
    if len(parts) < 2 or parts[0].type not in ("call_expression", "member_expression", "subscript_expression", "array"):
        return None
    call_text, expected = (" ".join(program.text(part).split()) for part in parts[:2])
    return (call_text, expected) if len(expected) <= _MAX_VALUE_CHARS and "`" not in call_text + expected else None


def _is_whole(value: str) -> bool:
    return len(value) <= _MAX_VALUE_CHARS and "`" not in value and _SHORTENED.search(value) is None


def look(program: str, setup: str, cell: str, failure: Failure, execute: Executions) -> Look | None:
    """Return a program that prints the value of the failing call, with its output.

    None if the value differs from the one in the test's failure, or is not a short line.
    """
    if not failure.call:
        return None
    before = cell[: cell.rindex(failure.test)]
    met, *_ = execute([before + _SHOW.format(call=failure.call)], JAVASCRIPT.name)
    *_, value, is_json = ("", "", *met.output.rstrip("\n").split("\n"))
    if not met.passed or not value or len(value) > _MAX_VALUE_CHARS or "`" in value:
        return None
    shown = f"JSON.stringify({failure.call})" if is_json == "true" else failure.call
    needed = f"{setup.strip()}\n\n" if setup.strip() else ""
    probe = f"{program.rstrip()}\n\n{needed}console.log({shown});"
    ran, *_ = execute([probe], JAVASCRIPT.name)
    output = ran.output.rstrip("\n")
    return Look(probe, output, value) if ran.passed and output.rsplit("\n", 1)[-1] == value else None
