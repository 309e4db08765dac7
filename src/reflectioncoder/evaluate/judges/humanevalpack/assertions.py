"""Parses the assertions of HumanEvalPack's tests into calls and conditions, for challenges (`multipl_e.challenge`).

The tests were written by hand, so not all assertions compare the result of one call with a literal. Those that do get a wrong
expectation in a challenge (`multipl_e.assertions`); the others get a negated condition, which is as wrong, but recognisable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.judges.multipl_e.assertions import HOLE, Assertion, closing_of, wrong_shape


@dataclass(frozen=True, kw_only=True)
class TestSyntax:
    """The form of assertions in a language's tests.

    `opening` matches the beginning of an assertion up to the bracket around the condition, `tail` the text after that bracket. `pair`:
    format of the condition if the bracket holds two values that must be equal. `listed`: the bracket holds a list of conditions.
    `raised`: pattern of a statement whose group is a condition that must not hold. `truth`: format of a bare result as a comparison.
    """

    __test__ = False  # not a test case despite its name

    opening: str
    tail: str = ""
    pair: tuple[str, str] | None = None
    listed: bool = False
    raised: str = ""
    truth: str = "{} == {}"


_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`", re.DOTALL)
# Conditions that a changed literal might not make wrong: arithmetic, limits, alternatives, comma expressions, variables, casts.
_NOT_PLAIN = re.compile(
    r"&&|\|\||!=|[%*+?]|[<>]=?\s*-?\.?\d|\d\s*[<>]|-\s*\d*\.(?!\d)|\babs\b|any_cast|\0\.(?!equals\()|\[\d+\]|\((?:int|double|String)\)|[(\[]\s*\([^()]*,"
    r"|(?<![\w.\"'])(?!(?:true|false|null|nullptr|nil|undefined|int|double|float|char|string|bool|String|Object)\b)"
    r"[A-Za-z_]\w*(?![\w(.:!<>{\[\]])"
)
_QUOTES = "\"'`"


def assertions_of(tests: str, syntax: TestSyntax, function: str) -> list[Assertion]:
    """Return all assertions of a task, in order.

    Raises:
        MachineError: there are none.
    """
    found = [
        _assertion(start, end, condition, syntax, function)
        for start, end, condition in (_listed(tests, syntax) if syntax.listed else _conditions(tests, syntax))
    ]
    if not found:
        raise MachineError(f"no assertion is in these tests: …{tests[-200:]!r}")
    return found


def _conditions(tests: str, syntax: TestSyntax) -> Iterator[tuple[int, int, str]]:
    at, opening = 0, re.compile(syntax.opening)
    while match := opening.search(tests, at):
        closing = closing_of(tests, match.end() - 1, _QUOTES) or len(tests)
        parts = [part for _, _, part in _split(tests, match.end(), closing - 1)]
        is_pair = syntax.pair is not None and re.search(syntax.pair[0], match[0])
        condition = syntax.pair[1].format(*parts[:2]) if syntax.pair and is_pair else parts[0]
        tail = re.compile(syntax.tail).match(tests, closing)
        at = tail.end() if tail else closing
        yield match.start(), at, condition


def _listed(tests: str, syntax: TestSyntax) -> Iterator[tuple[int, int, str]]:
    """Yield the conditions of a list; without a list, those of statements that throw."""
    match = re.search(syntax.opening, tests)
    if match:
        closing = closing_of(tests, match.end() - 1, _QUOTES) or len(tests)
        yield from _split(tests, match.end(), closing - 1)
        return
    for statement in re.finditer(syntax.raised, tests):
        yield statement.start(), statement.end(), f"!({statement[1]})"


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Yield the spans between commas outside brackets and strings, without surrounding white space."""
    masked = _STRING.sub(lambda string: "s" * len(string[0]), text[:end])
    depth, begun = 0, start
    for place in (*range(start, end), end):
        character = "," if place == end else masked[place]
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            part = text[begun:place]
            if part.strip():
                lead = len(part) - len(part.lstrip())
                yield begun + lead, begun + len(part.rstrip()), part.strip()
            begun = place + 1


def _assertion(start: int, end: int, condition: str, syntax: TestSyntax, function: str) -> Assertion:
    call = re.search(rf"(?:\bs\.)?\b{re.escape(function)}\(", condition)
    stop = closing_of(condition, call.end() - 1, _QUOTES) if call else None
    if call is None or stop is None:
        return Assertion(start, end, "", condition, in_loop=True)
    text = condition[call.start() : stop]
    shape = condition.replace(text, HOLE)
    bare = re.fullmatch(rf"\(*(!?){HOLE}\)*", shape)
    if bare:
        shape = syntax.truth.format(HOLE, "false" if bare[1] else "true")
    compared = not _NOT_PLAIN.search(_STRING.sub("0", shape)) and shape.count(HOLE) == 1 and function not in shape
    return Assertion(start, end, text, shape, in_loop=not compared)


def wrong_condition(row: int, assertions: Sequence[Assertion], random: Random) -> str:
    """Return a shape that a result cannot satisfy if it satisfies the assertion."""
    own = assertions[row]
    if not own.in_loop:
        try:
            return wrong_shape(row, assertions, random)
        except MachineError:  # it has nothing to change
            pass
    return f"!({own.shape})"
