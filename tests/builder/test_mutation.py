"""The slips: many kinds, each a valid single change; diagnoses in several phrasings that quote what really happened."""

import random
from collections import Counter, defaultdict, deque

import pytest

from reflectioncoder.builder.mutation import OPERATORS, mutations
from reflectioncoder.builder.mutation.diagnosis import (
    OBSERVATIONS,
    WHY,
    Failure,
    as_people_write,
    assertion_of,
    diagnose,
    error_line,
    failing_test,
    split_assertion,
)
from reflectioncoder.builder.mutation.expressions import _CONFUSED_METHODS
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program

PROGRAM = """import math


def score(values, limit=3):
    total = 0
    seen = []
    if not values:
        return 0
    for i in range(1, len(values)):
        if values[i] >= limit and values[i] != values[i - 1]:
            total += abs(values[i]) // 2
            seen.append(str(values[i]).lower())
    if limit == 0:
        return math.gcd(total, 6)
    return max(total, len(seen) - 1)


def total_of(values):
    total = ""
    for value in values:
        total += value
    return total


def power(base, n):
    if n == 0:
        return 1
    return base * power(base, n - 1)
"""


@pytest.fixture(scope="module")
def by_operator():
    found = defaultdict(list)
    for mutation in mutations(PROGRAM):
        found[mutation.operator].append(mutation)
    return found


def test_there_are_at_least_fifteen_operators_and_this_program_shows_them_all(by_operator):
    assert len(OPERATORS) >= 15
    assert set(by_operator) == set(OPERATORS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_slip_changes_the_program_and_only_syntax_slips_break_the_syntax(by_operator, operator):
    for mutation in by_operator[operator]:
        assert mutation.code != PROGRAM
        assert mutation.correct
        if operator == "syntax_slip":
            with pytest.raises(SyntaxError):
                compile(mutation.code, "x", "exec")
        else:
            compile(mutation.code, "x", "exec")


@pytest.mark.parametrize(
    ("operator", "fragment"),
    [
        ("wrong_comparison", "values[i] > limit"),
        ("off_by_one_range", "range(1, len(values) + 1)"),
        ("wrong_initial_value", "total = 1"),
        ("swapped_arguments", "max(len(seen) - 1, total)"),
        ("missing_conversion", "values[i] // 2"),
        ("wrong_division", "abs(values[i]) / 2"),
        ("mutable_default", "seen=[]"),
        ("printed_not_returned", "print(max(total, len(seen) - 1))"),
        ("negated_condition", "if values:"),
        ("wrong_update", "total = abs(values[i]) // 2"),
        ("wrong_operator", "n + 1"),
        ("early_return", "total += value\n        return total"),
    ],
)
def test_slips_look_like_what_models_get_wrong(by_operator, operator, fragment):
    assert any(fragment in mutation.code for mutation in by_operator[operator])


def test_removals_remove(by_operator):
    assert all("import math" not in m.code for m in by_operator["missing_import"])
    assert any("if not values" not in m.code for m in by_operator["missing_guard"])
    assert any("if n == 0" not in m.code for m in by_operator["missing_base_case"])
    assert all(m.wrong == "" for kind in ("missing_import", "missing_guard", "missing_base_case") for m in by_operator[kind])


def test_mutations_come_in_a_fixed_order_without_repeats():
    for problem in bundled_problems("train")[::40]:
        program = answer_program(problem)
        first, second = mutations(program), mutations(program)
        assert first == second
        assert len({m.code for m in first}) == len(first)


def test_every_operator_and_every_observation_has_five_phrasings():
    assert set(WHY) == set(OPERATORS)
    assert all(len(set(phrasings)) >= 5 for phrasings in [*WHY.values(), *OBSERVATIONS.values()])


def test_a_diagnosis_quotes_the_value_and_the_repair(by_operator):
    mutation = next(m for m in by_operator["wrong_initial_value"] if "total" in m.correct)
    failure = Failure("wrong_value", "AssertionError", "assert f(1) == 2", "f(1)", "2", "7")
    words = {diagnose(mutation, failure, random.Random(n)) for n in range(60)}
    assert len(words) > 20
    assert all("`f(1)`" in w and "`7`" in w and "`2`" in w and "`total = 0`" in w for w in words)


def test_reading_tracebacks():
    output = 'Traceback (most recent call last):\n  File "main.py", line 4\n    assert f(1) == 2\n    ^^^^\nAssertionError\n'
    assert failing_test(output, ("assert f(0) == 2", "assert f(1) == 2")) == "assert f(1) == 2"
    assert error_line(output) == "AssertionError"
    assert error_line("KeyError: 'a\\nb'\n") == "KeyError: 'a\\nb'"
    assert split_assertion("assert f(1, 'x') == [2]") == ("f(1, 'x')", "[2]")
    assert split_assertion("assert f(1)") == ("f(1)", "True")
    assert split_assertion("assert not f(1)") == ("f(1)", "False")
    assert split_assertion("assert f(1) < 3") is None


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("assert f(1) == True", "assert f(1)"),
        ("assert f([2], x=(3,)) is False", "assert not f([2], x=(3,))"),
        ("assert f(1) == None", "assert f(1) == None"),
        ("assert f(1) == [True]", "assert f(1) == [True]"),
        ("assert f(1) == f(2) == True", "assert f(1) == f(2) == True"),
        ("assert f(1) + g(2) == True", "assert f(1) + g(2) == True"),
    ],
)
def test_a_truth_value_is_asserted_as_people_write_it(test, said):
    assert as_people_write(test) == said
    assert split_assertion(said) == split_assertion(test)


def test_an_assertion_is_read_as_it_is_written():
    for expected in ("True", "False", "None", "[1]", "'a'"):
        assert split_assertion(assertion_of("f(1)", expected)) == ("f(1)", expected)


def test_operators_are_spread_over_the_bundled_problems():
    counts = Counter(m.operator for p in bundled_problems("train")[::10] for m in mutations(answer_program(p)))
    assert len(counts) >= 15


def test_integers_too_long_to_be_written_in_decimal_stay_as_they_are():
    huge = f"0x{'f' * 5000}"
    slips = mutations(f"def f(x):\n    y = x[{huge}]\n    return x[{huge}:] + g(y + 1, {huge}) + {huge}\n")
    assert slips
    assert all(slip.code.count(huge) >= 2 for slip in slips)


def test_every_confused_method_is_one():
    types = (str, list, dict, set, deque)
    for names in _CONFUSED_METHODS.items():
        assert all(any(hasattr(kind, name) for kind in types) for name in names), names
