"""Parses the assertions of MultiPL-E's tests, and makes expectations that are wrong on purpose.

An assertion is a call of the function under test and a condition on its result. Its `shape` is the condition with a hole in place of
the call, so that one assertion's shape can be put around another's call. Two shapes surely differ if no result can satisfy both. Only
their literals decide this, conservatively: numbers within the tests' tolerance, maps in another order, `1` and `"1"`, `[]` and `None`
do not count as different.

A wrong shape must not look wrong. An expectation that several assertions share ("Yes", true, 0) is replaced by another assertion's. A
unique expectation gets a changed literal: replaced by another's, it would be recognised by a program that knows the other answers.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from reflectioncoder import syntax
from reflectioncoder.errors import MachineError
from reflectioncoder.languages.language import AssertionSyntax, Language

HOLE = "\0"
"""Placeholder for the call in a shape."""


@dataclass(frozen=True)
class Assertion:
    """An assertion. `start`, `end`: its span in the tests. `in_loop`: it may run several times, with varying values."""

    start: int
    end: int
    call: str
    shape: str
    in_loop: bool = False

    def condition(self, shape: str | None = None) -> str:
        return (self.shape if shape is None else shape).replace(HOLE, self.call)


def assertions_of(tests: str, language: Language) -> list[Assertion]:
    """Return all assertions of a task, in order.

    Raises:
        MachineError: there are none, or one does not have this language's form.
    """
    syntax = language.multipl_e.assertions
    found = list(_assertions(tests, syntax, language.name) if syntax else _python_assertions(tests))
    if not found:
        raise MachineError(f"no assertion as {language.name} writes them is in these tests: …{tests[-200:]!r}")
    return found


def _assertions(tests: str, syntax: AssertionSyntax, language: str) -> Iterator[Assertion]:
    at = 0
    opening = re.compile(syntax.opening, re.MULTILINE)
    while match := opening.search(tests, at):
        closing = closing_of(tests, match.end() - 1, syntax.quotes) or len(tests)
        tail = re.compile(syntax.tail).match(tests, closing)
        inner = tests[match.end() : closing - 1]
        call = re.search(syntax.call, inner)
        if tail is None or call is None:
            raise MachineError(f"this is not written as assertions of {language} are: {tests[match.start() : match.start() + 200]!r}")
        end_of_call = closing_of(inner, call.end() - 1, syntax.quotes) if call[0].endswith("(") else call.end()
        text = inner[call.start() : end_of_call]
        yield Assertion(match.start(), tail.end(), text, inner.replace(text, HOLE))
        at = tail.end()


def closing_of(text: str, opening: int, quotes: str) -> int | None:
    """Return the position after the bracket that closes the one at `opening`."""
    depth, quote, at = 0, "", opening
    while at < len(text):
        character = text[at]
        if quote:
            at += character == "\\"
            quote = "" if character == quote else quote
        elif character in quotes:
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None


def _python_assertions(tests: str) -> Iterator[Assertion]:
    """Yield the assertions in the function `check`, whose parameter is the function under test; some may be in loops."""
    check = next((node for node in syntax.parse(tests).body if isinstance(node, ast.FunctionDef) and node.name == "check"), None)
    if check is None:
        return
    candidate = check.args.args[0].arg
    variables = {node.id for node in ast.walk(check) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    starts = [0]
    for line in tests.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    lines = tests.split("\n")

    def span(node: ast.AST) -> tuple[int, int]:
        return tuple(
            starts[line - 1] + len(lines[line - 1].encode()[:column].decode())
            for line, column in ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))  # pyright: ignore
        )  # pyright: ignore

    for node in ast.walk(check):
        if not isinstance(node, ast.Assert):
            continue
        calls = [call for call in ast.walk(node.test) if isinstance(call, ast.Call) and getattr(call.func, "id", "") == candidate]
        in_loop = any(isinstance(name, ast.Name) and name.id in variables for name in ast.walk(node.test))
        (start, end), (first, last) = span(node), span(node.test)
        if in_loop:
            yield Assertion(start, end, "", tests[first:last], in_loop=True)
        elif calls:
            opening, closing = span(calls[0])
            yield Assertion(start, end, tests[opening:closing], f"{tests[first:opening]}{HOLE}{tests[closing:last]}")


_TOLERANCE = re.compile(r"<=?\s*[\d.e+-]+\s*$| 0\.001$")
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_IN_STRING = re.compile(r"[$@]\w+|\\.|(?P<plain>[A-Za-z0-9])")  # `$name` may be interpolated as an empty variable
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_TRUTH = re.compile(r"(?<![\w#])(?:#t|#f|true|false|True|False|TRUE|FALSE)\b")
_ATTEMPTS = 20
_OPPOSITES = {"#t": "#f", "true": "false", "True": "False", "TRUE": "FALSE"}
_OPPOSITES |= {false: true for true, false in _OPPOSITES.items()}


def surely_differ(one: str, other: str) -> bool:
    """Tell whether no result can satisfy both shapes."""
    (numbers, words), (other_numbers, other_words) = _literals(one), _literals(other)
    if words != other_words or len(numbers) != len(other_numbers):
        return True
    return any(abs(a - b) > 0.003 + 1e-6 * abs(a) for a, b in zip(numbers, other_numbers, strict=True))


@lru_cache(1024)
def _literals(shape: str) -> tuple[list[float], list[str]]:
    """Return a shape's numbers and the words in its strings, each sorted."""
    shape = _TOLERANCE.sub("", shape)
    if shape.strip() in (HOLE, f"not {HOLE}"):
        shape = str(shape.strip() == HOLE)
    parts = [part for text in _STRING.findall(shape) for part in re.sub(r"\\[ntr]|[$@]\w+", " ", text[1:-1]).split()]
    rest = _STRING.sub(" ", shape)
    parts += _NUMBER.findall(rest) + [match[0].strip("#") for match in _TRUTH.finditer(rest)]
    numbers, words = [], []
    for part in parts:
        if part.lower() in ("true", "t", "false", "f"):
            numbers.append(float(part.lower().startswith("t")))
        elif _NUMBER.fullmatch(part):
            numbers.append(float(part))
        else:
            words.append(part)
    return sorted(numbers), sorted(words)


def wrong_shape(row: int, assertions: Sequence[Assertion], random: Random) -> str:
    """Return a shape that a result cannot satisfy if it satisfies the assertion.

    Raises:
        MachineError: nothing in the assertion can be changed, and no other assertion expects something else.
    """
    own = assertions[row]
    if own.in_loop:  # the loop computes its expectation
        return _never_held(own.shape)
    shapes = [assertion.shape for assertion in assertions if not assertion.in_loop]
    others = [shape for shape in shapes if surely_differ(own.shape, shape)]
    repeated = [shape for shape in others if len(_alike(shape, shapes)) > 1]
    if len(_alike(own.shape, shapes)) > 1 and others:
        return random.choice(repeated or others)
    if changed := _altered(own.shape, shapes, random):
        return changed
    if not others:
        raise MachineError(f"nothing else could be expected than what this assertion expects: {own.condition()!r}")
    return random.choice(others)


def _alike(shape: str, shapes: Sequence[str]) -> list[str]:
    return [other for other in shapes if not surely_differ(shape, other)]


def _never_held(shape: str) -> str:
    left, operator, right = re.fullmatch(r"(.*?) (==|<) (.*)", shape, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return f"{left} == [{right}]" if operator == "==" else f"{left} < -({right})"


def _altered(shape: str, shapes: Sequence[str], random: Random) -> str | None:
    """Return the shape with a literal changed; None if there is none to change."""
    if shape.strip() in (HOLE, f"not {HOLE}"):
        return f"not {HOLE}" if shape.strip() == HOLE else HOLE
    letters = "".join(text for other in shapes for text in _STRING.findall(other))
    changes = (_opposite, lambda text, random: _other_letter(text, letters, random), _other_number)
    for change in (change for change in changes for _ in range(_ATTEMPTS)):
        changed = change(shape, random)
        if changed and surely_differ(changed, shape) and _num_values(changed) >= _num_values(shape):
            return changed
    return None


def _num_values(shape: str) -> int:
    """Count the distinct literals: a duplicate key in a map is an error in some languages."""
    numbers, words = _literals(shape)
    return len({*numbers}) + len({*words})


def _opposite(shape: str, random: Random) -> str | None:
    return _replaced(shape, list(_TRUTH.finditer(shape)), lambda truth: _OPPOSITES[truth], random)


def _other_number(shape: str, random: Random) -> str | None:
    expected = _TOLERANCE.sub("", shape)
    places = [match for match in re.finditer(r"(?<![\w.])\d+", expected) if _outside_of_strings(expected, match.start())]
    return _replaced(shape, places, lambda digits: str(abs(int(digits) + random.choice((-2, -1, 1, 2)))), random)


def _other_letter(shape: str, letters: str, random: Random) -> str | None:
    """Replace a letter or digit in a string, by one of `letters` if possible; put a letter into an empty string."""
    strings = list(_STRING.finditer(shape))
    usual = [text for text in strings if not re.search(r"\\[^ntr\"']", text[0])]
    places = [match for text in usual for match in _IN_STRING.finditer(shape, *text.span()) if match["plain"]]
    if places:
        return _replaced(shape, places, lambda letter: _other_of_its_kind(letter, letters, random), random)
    empty = next((text for text in strings if text[0] == '""'), None)
    letter = random.choice(re.findall("[a-z]", letters) or string.ascii_lowercase)
    return shape[: empty.start() + 1] + letter + shape[empty.end() - 1 :] if empty else None


def _other_of_its_kind(letter: str, letters: str, random: Random) -> str:
    kind = next(kind for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase) if letter in kind)
    return random.choice(sorted({*kind} & {*letters} - {letter} or {*kind} - {letter}))


def _outside_of_strings(text: str, place: int) -> bool:
    return not any(text.start() < place < text.end() for text in _STRING.finditer(text))


def _replaced(shape: str, places: Sequence[re.Match[str]], change: Callable[[str], str], random: Random) -> str | None:
    if not places:
        return None
    place = random.choice(places)
    return shape[: place.start()] + change(place[0]) + shape[place.end() :]
