"""Oracles that look at the arguments of a call judge as EvalPlus's do."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests
from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.sandbox.answers import read_value
from reflectioncoder.sandbox.runtime.encoding import encode_answer
from tests.evaluate import answers_beside_evalplus
from tests.evaluate.answers_beside_evalplus import PRELUDE, SCOPE, World, solution, theirs
from tests.evaluate.judge_in_process import judge_in_process, part_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


# Tasks whose oracle looks at the arguments. Of a box (base, height) the expected value takes the height as slant.
BOXES = ((1, 1), (3, 4), (4, 5), (1, 2), (0, 0), (0, 5), (7, 0), (-3, 4), (3, -4), (2.5, 1.5), (5, 12), (8, 15), (99, 101), (10**9, 7))
BOXES += ((1e-200, 1.0), (2**53 + 1, 3), (10**154, 10**154), (10**200, 1), (1e154, 1e153), (float("inf"), 1.0), (float("nan"), 1.0))
SURFACES = (
    "b**2 + 2 * b * h",
    "true(b, h)",
    "true(b, h) + 1",
    "true(b, h) - 1",
    "true(b, h) + 0.4",
    "float(true(b, h))",
    "np.float64(true(b, h))",
    "np.array([float(true(b, h))])",
    "Fraction(true(b, h))",
    "Decimal(true(b, h))",
    "Int(true(b, h))",
    "complex(true(b, h))",
    "str(true(b, h))",
    "[true(b, h)]",
    "None",
    "nan",
    "b * b + 2 * b * math.sqrt((b / 2) ** 2 + h * h)",
)
NUMBERS = (
    (1, 2),
    (23, 56),
    (123, 256),
    (0, 0),
    (9, 10),
    (100, 7),
    (7, 100),
    (-5, 5),
    (5, -5),
    (1.5, 2),
    (10**30, 10**29 - 1),
    (True, 1),
)
DISTANCES = (
    "sum(map(int, str(abs(a - b))))",
    "padded(a, b)",
    "padded(a, b) + 1",
    "float(padded(a, b))",
    "padded(a, b) + 1e-7",
    "np.int64(padded(a, b))",
    "np.array(padded(a, b))",
    "np.array([padded(a, b), 0])",
    "str(padded(a, b))",
    "padded(a, b) == 1",
    "None",
)
HELPERS = """
def true(b, h):
    return round(b**2 + 4 * (b * math.sqrt((b / 2) ** 2 + h**2)) / 2)

def padded(a, b):
    a, b = str(a), str(b)
    length = max(len(a), len(b))
    return sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(length), b.zfill(length)))
"""
exec(HELPERS, SCOPE)


@pytest.mark.parametrize("atol", [0.0, 0.5])
@pytest.mark.parametrize(
    ("entry_point", "names", "inputs", "answers", "canonical"),
    [
        ("surface_Area", "b, h", BOXES, SURFACES, SURFACES[0]),
        ("digit_distance_nums", "a, b", NUMBERS, DISTANCES, DISTANCES[0]),
    ],
    ids=["surface_Area", "digit_distance_nums"],
)
def test_an_oracle_with_a_second_opinion_takes_it_for_the_same_inputs(evalplus, entry_point, names, inputs, answers, canonical, atol):
    def attempt(source: str, arguments: Sequence[Any]) -> Any:
        return eval(f"(lambda {names}: {source})", SCOPE)(*arguments)

    cases = []
    for arguments in inputs:
        with contextlib.suppress(ArithmeticError, ValueError):  # of the canonical solution
            cases += [(arguments, answer, attempt(canonical, arguments)) for answer in answers]
    cases.sort(key=lambda case: evalplus.is_floats(case[2]))
    world = World("mbpp", entry_point, atol)
    programs = [f"(lambda {names}: {answer})(*arguments)" for _, answer, _ in cases]
    with mock.patch.object(answers_beside_evalplus, "PRELUDE", PRELUDE + HELPERS):
        verdicts = theirs(evalplus, world, programs, [case[2] for case in cases], [case[0] for case in cases])
    differences = []
    for (arguments, answer, expected), their_verdict in zip(cases, verdicts, strict=True):
        try:
            letter, content = encode_answer(attempt(answer, arguments), False, True, False)
            read = read_value(letter.decode(), content)
        except (ArithmeticError, ValueError, TypeError):
            our_verdict = False
        else:
            wanted = (type(expected).__name__, expected)
            our_verdict = matches("mbpp", entry_point, arguments, read, wanted, atol, "evalplus-head")
        if our_verdict != their_verdict:
            differences.append((arguments, answer, expected, their_verdict, our_verdict))
    assert differences == []
    assert len(cases) > 100
    assert len(set(verdicts)) == 2


# Answers to find_zero of 1 + 2 x, atol 1e-4.
ROOTS = (
    *("-0.5", "-0.5 + 4e-5", "-0.5 + 6e-5", "-0.5 - 4.9e-5", "0", "nan", "inf", "-inf", "1e308", "10**400", "None", '"-0.5"', "[-0.5]"),
    *("np.float64(-0.5)", "np.float32(-0.5)", "np.array(-0.5)", "np.array([-0.5])", "np.array([-0.5, 1])", "Fraction(-1, 2)"),
    *(
        'Decimal("-0.5")',
        "Float(-0.5)",
        "-0.5 + 0j",
        "False",
        "Yes()",
        "generated(-0.5)",
        "fail(ValueError())",
        "arguments[0].clear() or 0",
    ),
)


@pytest.mark.parametrize("answer", ROOTS)
def test_a_root_is_right_where_the_polynomial_is_nearly_zero_but_never_by_the_rules_of_0_3_1(evalplus, answer):
    """0.3.1 records failures only: what its oracle lets through is in no list, and so the whole has failed."""
    world = World("humaneval", "find_zero", 1e-4, ([1.0, 2.0],))
    verdicts = theirs(evalplus, world, [answer], [-0.5])
    assert verdicts in ([], [False])
    tests = FunctionTests("humaneval", solution("find_zero", ["-0.5"]), part_of([([1.0, 2.0],)]), part_of([]), 1e-4)
    program = solution("find_zero", [answer])
    head = judge_in_process(tests, "find_zero", program, "evalplus-head")
    if answer == "arguments[0].clear() or 0":  # it deletes its argument, which EvalPlus's oracle then looks at
        assert verdicts == []
        assert head.status == "failed"
    else:
        assert (head.status == "passed") == (verdicts == [])
    assert judge_in_process(tests, "find_zero", program, "evalplus-0.3.1").status == "failed"
