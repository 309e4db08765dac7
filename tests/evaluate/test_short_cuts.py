"""The whole judge, with its short cuts and its sandbox, comes to the verdicts of the rules and of EvalPlus."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

import pytest

from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.data import Family, FunctionTests
from reflectioncoder.evaluate.judges.evalplus.oracles import NOT_NONE_ENTRY_POINTS, SET_ENTRY_POINTS
from tests.evaluate.answers_beside_evalplus import PAIRS, PRELUDE, WORLDS, World, ours, solution, theirs, value_of
from tests.evaluate.judge_in_process import TASK_IDS, judge_in_process, part_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def is_possible(world: World, expected: str) -> bool:
    """Not as a set what cannot be hashed; and a long value where only its presence counts is in a test of its own."""
    if world.entry_point in NOT_NONE_ENTRY_POINTS:
        return len(repr(value_of(expected))) < 2000
    with contextlib.suppress(TypeError):
        return world.entry_point not in SET_ENTRY_POINTS or isinstance(set(value_of(expected)), set)
    return False


@pytest.mark.parametrize("answer", dict.fromkeys(answer for answer, _ in PAIRS))
def test_the_judge_with_its_short_cuts_comes_to_the_verdict_of_the_rules(answer):
    """Equal bytes, digests, summaries: what is decided without a look at the values is decided as with one."""
    differences = []
    for number, pair in enumerate(PAIRS):
        if pair[0] != answer:
            continue
        for world in (WORLDS[2 * (number % 2)], WORLDS[number % len(WORLDS)]):
            if not is_possible(world, pair[1]):
                continue
            inputs = part_of([world.arguments])
            tests = FunctionTests(world.family, solution(world.entry_point, [pair[1]]), inputs, part_of([]), world.atol)
            verdict = judge_in_process(tests, world.entry_point, solution(world.entry_point, [answer]))
            if (verdict.status == "passed") != ours(world, *pair):
                differences.append((str(world), pair[1], verdict))
    assert differences == []


# Parts of several inputs: (family, atol, answers, expected). A float among the expected values makes later ones tolerant.
PARTS: list[tuple[Family, float, list[str], list[str]]] = [
    ("humaneval", 0.0, ["1.0", "100_000_001"], ["1.0", "100_000_000"]),
    ("humaneval", 0.0, ["100_000_001", "1.0"], ["100_000_000", "1.0"]),
    ("humaneval", 0.0, ["1", "100_000_001"], ["1", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "100_000_001"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "100_000_001.0"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "np.int64(100_000_001)"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1", "100_000_001"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0000001", "100_000_001"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["1.0", "100_000_011"], ["1.0", "100_000_000"]),
    ("mbpp", 0.0, ["[1.0, 2.0]", "[100_000_001]"], ["[1.0, 2.0]", "[100_000_000]"]),
    ("mbpp", 0.0, ["[1.0, 2]", "[100_000_001]"], ["[1.0, 2]", "[100_000_000]"]),
    ("mbpp", 0.0, ["()", "100_000_001"], ["()", "100_000_000"]),
    ("mbpp", 0.0, ["(1.0,)", "1", "[[1.0, 2.0000001]]"], ["(1.0,)", "1", "[[1.0, 2.0]]"]),
    ("mbpp", 0.0, ["[[1.0]]", "1", "[[1.0, 2.0000001]]"], ["[[1.0]]", "1", "[[1.0, 2.0]]"]),
    ("mbpp", 0.0, ["1", "0.5", "True"], ["1", "0.5", "True"]),
    ("mbpp", 0.0, ["0.5", "True"], ["0.5", "1"]),
    ("mbpp", 0.0, ["0.5", "0.9999999"], ["0.5", "1"]),
    ("mbpp", 0.0, ["0.5", "False"], ["0.5", "True"]),
    ("mbpp", 0.0, ["0.5", '"ab"'], ["0.5", '"ab"']),
    ("mbpp", 0.0, ["0.5", '"ac"'], ["0.5", '"ab"']),
    ("mbpp", 0.0, ["0.5", "None"], ["0.5", "None"]),
    ("mbpp", 0.0, ["0.5", "{1: 100_000_001}"], ["0.5", "{1: 100_000_000}"]),
    ("mbpp", 0.0, ["0.5", "(1, None)"], ["0.5", "(1, 2)"]),
    ("mbpp", 0.0, ["0.5", "[]"], ["0.5", "[1]"]),
    ("mbpp", 0.0, ["0.5", "[[]]"], ["0.5", "[1]"]),
    ("mbpp", 0.0, ["nan", "100_000_001"], ["nan", "100_000_000"]),
    ("mbpp", 0.0, ["inf", "100_000_001"], ["inf", "100_000_000"]),
    ("mbpp", 0.0, ["0.5", "list(range(10**8, 10**8 + 2000))"], ["0.5", "list(range(10**8 + 1, 10**8 + 2001))"]),
    ("mbpp", 0.0, ["1", "list(range(10**8, 10**8 + 2000))"], ["1", "list(range(10**8 + 1, 10**8 + 2001))"]),
    ("mbpp", 0.0, ["steps(3000, 1e-9)", "steps(2000, 1e-9)", "7"], ["steps(3000)", "steps(2000)", "7"]),
    ("mbpp", 0.0, ["steps(3000)", "steps(2000, 1e-9)", "list(np.array(steps(1000)))"], ["steps(3000)", "steps(2000)", "steps(1000)"]),
    ("mbpp", 0.0, ["steps(3000)", "100_000_001"], ["steps(3000)", "100_000_000"]),
    ("mbpp", 0.0, ["[1, *steps(3000)]", "100_000_001"], ["[1, *steps(3000)]", "100_000_000"]),
    ("mbpp", 1e-9, ["0.5", "0.5000001", "1"], ["0.5", "0.5", "1"]),
    ("mbpp", 1e-3, ["1", "0.5001", "10_000_001"], ["1", "0.5", "10_000_002"]),
    ("mbpp", 10.0, ["1"], ["9"]),
    ("humaneval", 0.0, ["np.float64(0.5)", "100_000_001"], ["0.5", "100_000_000"]),
    ("humaneval", 0.0, ["1", "2", "3", "fail(ValueError())"], ["1", "2", "3", "4"]),
    ("humaneval", 0.0, ["1", "2", "3"], ["1", "2", "3"]),
]


@pytest.mark.parametrize(("family", "atol", "answers", "expected"), PARTS)
def test_the_inputs_of_a_part_are_judged_together_as_by_evalplus(evalplus, scorer, family, atol, answers, expected):
    world = World(family, "f", atol)
    their_verdicts = theirs(evalplus, world, answers, [value_of(source) for source in expected], fast=True)
    inputs = [(number,) for number in range(len(answers))]
    tests = FunctionTests(family, table(expected), part_of(inputs), part_of(inputs[:1]), atol)
    verdict = scorer.judge(Task(next(TASK_IDS), "", "f", tests), solution("f", answers))
    assert (verdict.base_status == "passed") == (their_verdicts == [True] * len(answers)), (verdict, their_verdicts)
    if verdict.base_status == "failed":
        assert verdict.failed_inputs["base"] == len(their_verdicts) - 1
    assert judge_in_process(tests, "f", solution("f", answers)).status == verdict.base_status


def table(expected: Sequence[str]) -> str:
    """A canonical solution: the nth expected value for n."""
    rows = "".join(f"    lambda: {source},\n" for source in expected)
    return f"{PRELUDE}\n_expected = [\n{rows}]\ndef f(number):\n    return _expected[number]()\n"


SOME = [(pair, world) for pair, world in zip(PAIRS, itertools.cycle(WORLDS), strict=False) if is_possible(world, pair[1])][::29]


@pytest.mark.parametrize(("pair", "world"), SOME)
def test_in_the_sandbox_an_answer_is_judged_as_by_the_same_code_outside(scorer, pair, world):
    tests = FunctionTests(world.family, solution(world.entry_point, [pair[1]]), part_of([world.arguments]), part_of([]), world.atol)
    program = solution(world.entry_point, [pair[0]])
    verdict = scorer.judge(Task(next(TASK_IDS), "", world.entry_point, tests), program)
    assert verdict.base_status == judge_in_process(tests, world.entry_point, program).status, verdict


@pytest.mark.parametrize(("entry_point", "answer", "expected"), [("Diff", "generated(1)", "{1}"), ("check_str", "5", "6")])
def test_the_names_of_mbpp_tasks_mean_nothing_in_humaneval(evalplus, entry_point, answer, expected):
    world = World("humaneval", entry_point)
    tests = FunctionTests("humaneval", solution(entry_point, [expected]), part_of([()]), part_of([]), 0.0)
    assert theirs(evalplus, world, [answer], [value_of(expected)]) == [False]
    assert judge_in_process(tests, entry_point, solution(entry_point, [answer])).status == "failed"


def test_a_set_of_what_cannot_be_hashed_is_never_right_even_where_bytes_are_equal(evalplus):
    world = World("mbpp", "Diff")
    tests = FunctionTests("mbpp", solution("Diff", ["[[1]]"]), part_of([()]), part_of([]), 0.0)
    assert theirs(evalplus, world, ["[[1]]"], [[[1]]]) == [False]
    assert judge_in_process(tests, "Diff", solution("Diff", ["[[1]]"])).status == "failed"


def test_a_long_expected_value_is_there_where_only_its_presence_counts(evalplus):
    tests = FunctionTests("mbpp", solution("check_str", ["'x' * 5000"]), part_of([()]), part_of([]), 0.0)
    assert theirs(evalplus, World("mbpp", "check_str"), ["5"], [True]) == [True]
    assert judge_in_process(tests, "check_str", solution("check_str", ["5"])).status == "passed"
