"""Makes control runs: a reported pass of a cell counts only if the same cell with a false statement in it is reported as failing.

Code in an interpreter can change anything in it, including the code that reports how a cell ended. The same state therefore runs the
cell again with one statement that must fail: one of its assertions with another expected value, or negated if it names none; without
assertions, a failure at the end. The run must be reported as failing there, which exposes an interpreter that reports everything as
passed.
"""

from __future__ import annotations

import ast
import random
import re
import secrets
from dataclasses import dataclass

from reflectioncoder import syntax

_FAILURES = (
    ("AssertionError", "assert {left} == {right}, {token!r}\n"),
    ("AssertionError", "def _{token}(found):\n    assert found == {right}, {token!r}\n\n\n_{token}({left})\n"),
    ("ValueError", "raise ValueError({token!r})\n"),
    ("KeyError", "raise KeyError({token!r})\n"),
    ("ZeroDivisionError", "{left} / ({right} - {right})  # {token}\n"),
)
_DRAW = random.SystemRandom()


@dataclass(frozen=True)
class Control:
    """A control of a cell: `code` must fail with `error` at one of `lines`.

    `second`: a control with a more distant value, if a nearby one may be right too (`np.float32(2**24) == 2**24 + 1`); else None.
    """

    code: str
    error: str
    lines: range
    second: str | None = None

    def is_met_by(self, status: str, error: str | None, line: int | None) -> bool:
        return status == "failed" and error == self.error and line in self.lines


def control_of(code: str) -> Control:
    """Return a control for a cell, drawn anew in each call."""
    code = re.sub(r"\r\n?", "\n", code)  # Python's line ends
    try:
        body = syntax.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        body = []
    assertions = [node for node in body if isinstance(node, ast.Assert)]
    return _falsified(code, _DRAW.choice(assertions)) if assertions else _with_failing_end(code)


def changed_expectations(code: str) -> list[tuple[str, str, str]]:
    """Return, for each assertion with an expected value at any depth, the code with two other values and with the negation."""
    found = []
    for node in ast.walk(syntax.parse(code)):
        if isinstance(node, ast.Assert) and (constants := _expected_constants(node.test)):
            changed = _DRAW.choice(constants)
            values = (_another(changed.value), _far_from(changed.value))
            found.append((*(_replaced(code, changed, _literal(value)) for value in values), _replaced(code, node.test, None)))
    return found


def _with_failing_end(code: str) -> Control:
    error, end = _DRAW.choice(_FAILURES)
    left = _DRAW.randrange(10**6)
    before = f"{code}\n"
    added = end.format(left=left, right=left + 1 + _DRAW.randrange(10**3), token=f"t{secrets.token_hex(8)}")
    first = before.count("\n") + 1
    return Control(before + added, error, range(first, first + added.count("\n")))


def _falsified(code: str, node: ast.Assert) -> Control:
    test = node.test
    constants = _expected_constants(test)
    if constants:
        changed = _DRAW.choice(constants)
        text, second = (_replaced(code, changed, _literal(value)) for value in (_another(changed.value), _far_from(changed.value)))
    else:
        text, second = _replaced(code, test, None), None
    return Control(text, "AssertionError", range(node.lineno, (node.end_lineno or node.lineno) + 1), second)


def _expected_constants(test: ast.expr) -> list[ast.Constant]:
    """Return the constants in `… == expected` whose change makes the comparison false."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return []
    found: list[ast.Constant] = []
    waiting: list[ast.expr] = [test.comparators[0]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.List | ast.Tuple):
            waiting += node.elts
        elif isinstance(node, ast.Dict):
            waiting += node.values
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, str) and node.lineno == node.end_lineno:
            found.append(node)
        elif not isinstance(node, ast.Constant):
            return []
    return found


def _another(value: object) -> object:
    if isinstance(value, str):
        letter = _DRAW.choice("abcdefghijklmnopqrstuvwxyz")
        place = _DRAW.randrange(len(value) + 1)
        return value[:place] + letter + value[place:]
    assert isinstance(value, int | float)
    return value + _DRAW.randrange(1, 10) if isinstance(value, int) else _other_number(value)


def _far_from(value: object) -> object:
    return (
        _another(_another(value))
        if isinstance(value, str)
        else next(n for n in iter(lambda: _DRAW.randrange(10**9), None) if n != value)
    )


def _literal(value: object) -> str:
    """Write a value as a literal, including integers with more digits than Python prints."""
    return hex(value) if type(value) is int else repr(value)


def _other_number(value: float) -> float:
    """Return another number, even for an infinite value or one so large that adding 1 changes nothing."""
    return next(drawn for drawn in iter(_DRAW.random, None) if drawn != value)


def _replaced(code: str, node: ast.expr, text: str | None) -> str:
    """Return the code with `text` (None: its negation) in place of the expression. Line numbers do not change."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = code.encode("utf-8", "surrogatepass").split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    first = starts[node.lineno - 1] + node.col_offset
    last = starts[node.end_lineno - 1] + node.end_col_offset
    data = b"\n".join(lines)
    inside = data[first:last]
    new = b"not (" + inside + b")" if text is None else text.encode("utf-8", "surrogatepass")
    return (data[:first] + new + data[last:]).decode("utf-8", "surrogatepass")
