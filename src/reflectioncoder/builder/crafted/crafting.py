"""Crafts a problem's tests: named cases and shrunk search results, with the reference's results and the slips that each detects."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.builder.crafted.cases import ORDINARY, name_cases
from reflectioncoder.builder.crafted.facts import Allowed
from reflectioncoder.builder.crafted.inputs import Arguments, call_text, literal, read_known
from reflectioncoder.builder.crafted.oracle import Oracle
from reflectioncoder.builder.crafted.restrictions import restricts_inputs
from reflectioncoder.builder.crafted.search import find_input
from reflectioncoder.builder.crafted.selection import CraftedTest
from reflectioncoder.builder.crafted.variants import variants
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program, statement

_MAX_VARIANTS = 60
_MAX_SEARCHES = 3  # for slips that no test detects yet; most of those remaining are equivalent to the reference
_MAX_TEST_CHARS = 110
_MAX_LINES = 600_000  # total over all slips and variants; sets the limit on lines per call
_MIN_LINES = 60  # minimum for that limit


def craft_tests(problem: Problem, slips: Sequence[str], seed: str) -> list[CraftedTest]:
    """Return the problem's own tests and the crafted ones, with their cases and the slips that they detect.

    Args:
        slips: programs that are the problem's reference with one slip each.
        seed: seed of the random draws.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    max_lines = max(_MAX_LINES // (max(len(slips), 1) * _MAX_VARIANTS), _MIN_LINES)
    with Oracle(answer_program(problem), problem.setup, max_lines) as oracle:
        return _Crafting(problem, slips, seed, oracle).tests()


def failing_tests(problem: Problem, tests: Sequence[str], program: str) -> str:
    """Return one digit per test, 1 if a program fails it; all 0 if there is no answer.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    with Oracle(answer_program(problem), problem.setup) as oracle:
        oracle.use_tests(list(tests))
        return oracle.failing(program) or "0" * len(tests)


class _Crafting:
    def __init__(self, problem: Problem, slips: Sequence[str], seed: str, oracle: Oracle):
        self._problem, self._slips, self._seed, self._oracle = problem, slips, seed, oracle
        self._program = answer_program(problem)
        self._statement = statement(problem.prompt, problem.instruction)
        self._known = read_known(problem)
        self._allowed = Allowed(self._known.all)
        self._floats = _Floats(problem.tests)

    def tests(self) -> list[CraftedTest]:
        texts = {test.strip(): arguments for test, arguments in zip(self._problem.tests, self._known.own, strict=True)}
        is_open = bool(self._known.all) and not restricts_inputs(self._statement)
        texts |= self._with_values(list(self._known.examples))
        made = self._with_values(self._variants()) if is_open else {}
        tests = self._told(texts | made)
        if made:  # else new inputs are not allowed, or too slow
            tests += self._told(self._with_values(self._searched(tests)))
        return tests

    def _told(self, texts: dict[str, Arguments | None]) -> list[CraftedTest]:
        """Return the usable tests with the slips that each detects."""
        usable = self._oracle.use_tests(list(texts)) if texts else []
        rows = [self._oracle.failing(slip) or "0" * len(texts) for slip in self._slips] if any(usable) else []
        own = {test.strip() for test in self._problem.tests}
        limits = _limits(self._program, self._statement)
        return [
            CraftedTest(text, self._cases(text, arguments, limits), "".join(row[number] for row in rows), text in own)
            for number, (text, arguments) in enumerate(texts.items())
            if usable[number]
        ]

    def _variants(self) -> list[Arguments]:
        return variants(self._allowed, self._program, random.Random(f"variants/{self._seed}"), _MAX_VARIANTS)

    def _with_values(self, inputs: list[Arguments]) -> dict[str, Arguments | None]:
        """Return assertions of the reference's results, except for inputs of the problem's own tests."""
        own = {literal(arguments) for arguments in self._known.own if arguments is not None}
        new = {literal(arguments): arguments for arguments in inputs if literal(arguments) not in own}
        calls = [call_text(self._problem.entry_point, arguments) for arguments in new.values()]
        found: dict[str, Arguments | None] = {}
        for call, arguments, value in zip(calls, new.values(), self._oracle.values(calls) if calls else (), strict=True):
            text = f"assert {call} {'is' if value == 'None' else '=='} {value}"
            if value and len(text) <= _MAX_TEST_CHARS and self._floats.allow(syntax.literal(value)):
                found[text] = arguments
        return found

    def _searched(self, tests: list[CraftedTest]) -> list[Arguments]:
        """Return inputs that expose slips that no test detects yet."""
        found: list[Arguments] = []
        num_searches = 0
        for number, slip in enumerate(self._slips):
            is_noticed = any(test.failing[number] == "1" for test in tests)
            if is_noticed or num_searches == _MAX_SEARCHES or any(self._differs(slip, arguments) for arguments in found):
                continue
            num_searches += 1
            arguments = find_input(self._allowed, lambda arguments, slip=slip: self._differs(slip, arguments), f"{self._seed}/{number}")
            found += [arguments] if arguments is not None else []
        return found

    def _differs(self, slip: str, arguments: Arguments) -> bool:
        return self._oracle.parts(slip, call_text(self._problem.entry_point, arguments))

    def _cases(self, text: str, arguments: Arguments | None, limits: frozenset[int]) -> tuple[str, ...]:
        if arguments is None:
            return (ORDINARY,)
        result = _expected(text)
        is_example = literal(arguments) in {literal(example) for example in self._known.examples}
        return name_cases(arguments, result, self._known.names, limits, is_example)


def _expected(text: str) -> Any:
    """Return the value that an assertion expects from a call; the type `object` for other forms of tests."""
    node = syntax.parse(text).body[0]
    test = node.test if isinstance(node, ast.Assert) else None
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Call):
        return syntax.literal_or(test.comparators[0], object)
    return object


def _limits(program: str, words: str) -> frozenset[int]:
    """Return the integers with which a program compares by `<`, `<=`, `>` or `>=`, and which its statement contains."""
    found = set()
    for node in ast.walk(syntax.parse(program)):
        if isinstance(node, ast.Compare) and all(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.Constant) and type(side.value) is int:
                    found.add(side.value)
    text, _, _ = words.partition(">>>")
    return frozenset(number for number in found if str(number) in text.replace(".", " ").replace(",", " ").split())


class _Floats:
    """The floats allowed in expected values: multiples of 1/64, and those with no more decimals than in the problem's own tests."""

    def __init__(self, tests: Sequence[str]):
        floats = [number for test in tests for number in _floats_of(_expected(test))]
        self._num_decimals = max((len(repr(number).partition(".")[2]) for number in floats if "e" not in repr(number)), default=0)

    def allow(self, value: Any) -> bool:
        return all(
            (number * 64).is_integer() or ("e" not in repr(number) and len(repr(number).partition(".")[2]) <= self._num_decimals)
            for number in _floats_of(value)
        )


def _floats_of(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _floats_of(item)
    elif isinstance(value, dict):
        yield from _floats_of([*value, *value.values()])
