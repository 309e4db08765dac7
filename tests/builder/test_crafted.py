"""Crafted tests: named cases that are true, inputs that the statement allows, results of the reference, few tests that notice most."""

import random
from dataclasses import replace

import pytest

from reflectioncoder.builder import executions
from reflectioncoder.builder.authors.attempts import AttemptsAuthor
from reflectioncoder.builder.claims import check_sample, count_claims
from reflectioncoder.builder.crafted import crafting
from reflectioncoder.builder.crafted.cases import name_cases
from reflectioncoder.builder.crafted.crafting import craft_tests, failing_tests
from reflectioncoder.builder.crafted.facts import Allowed
from reflectioncoder.builder.crafted.inputs import call_text, literal, read_known
from reflectioncoder.builder.crafted.oracle import Oracle
from reflectioncoder.builder.crafted.restrictions import restricts_inputs
from reflectioncoder.builder.crafted.search import arguments_strategy, find_input
from reflectioncoder.builder.crafted.selection import UNNAMED, CraftedTest, ShownTests, choose
from reflectioncoder.builder.crafted.variants import variants
from reflectioncoder.builder.crafted.words import why_tests
from reflectioncoder.builder.log import LOG_NAME, BuildLog
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.mutation.diagnosis import failing_test
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import read_samples
from reflectioncoder.sandbox.limits import Limits

CASES = [  # arguments, result, parameters, limits of the program → cases that hold, cases that do not
    (([],), 0, "numbers", (), ["an empty list"], ["a single item"]),
    (([7],), 7, "numbers", (), ["a single item"], ["equal items only"]),
    (([4, 4],), 8, "numbers", (), ["equal items only"], ["the largest number more than once"]),
    (([1, 5, 5],), 5, "numbers", (), ["the largest number more than once", "a repeated item"], ["items in rising order"]),
    (([2, 2, 5],), 2, "numbers", (), ["the smallest number more than once"], ["the largest number more than once"]),
    (([1, 2, 3],), 6, "numbers", (), ["items in rising order"], ["a repeated item"]),
    (([3, 2, 1],), 6, "numbers", (), ["items in falling order"], ["items in rising order"]),
    (([-1, 2],), 1, "numbers", (), ["negative and positive numbers"], ["negative numbers only"]),
    (([-1, -2],), -3, "numbers", (), ["negative numbers only"], ["negative and positive numbers"]),
    (([0, 2],), 2, "numbers", (), ["a zero among the items"], ["zero"]),
    (("",), 0, "text", (), ["an empty text"], ["a single character"]),
    (("aB",), 0, "text", (), ["upper and lower case"], ["upper case only"]),
    ((" a",), 0, "text", (), ["spaces at the ends"], ["two spaces in a row"]),
    (("a  b",), 0, "text", (), ["two spaces in a row"], ["spaces at the ends"]),
    (("aaa",), 0, "text", (), ["one character repeated"], ["a single character"]),
    (("ab",), 0, "text", (), ["an ordinary input"], ["one character repeated"]),
    ((0,), 1, "n", (), ["zero"], ["a negative number"]),
    ((-3,), 1, "n", (), ["a negative number"], ["zero"]),
    ((100,), 1, "n", (100,), ["`n` at the limit 100"], ["`n` just above the limit 100"]),
    ((101,), 1, "n", (100,), ["`n` just above the limit 100"], ["`n` at the limit 100"]),
    ((99,), 1, "n", (100,), ["`n` just below the limit 100"], ["`n` at the limit 100"]),
    ((4, 4), 8, "a b", (), ["equal values for `a` and `b`"], ["zero for `a`"]),
    (([1, 2], 2), 8, "items k", (), ["`k` equal to the length of `items`", "`k` among `items`"], ["`k` missing from `items`"]),
    (([1, 2], 7), 8, "items price", (), ["`price` missing from `items`"], ["`price` larger than the length of `items`"]),
    (([1, 2], 7), 8, "items k", (), ["`k` larger than the length of `items`", "`k` missing from `items`"], ["`k` among `items`"]),
    (({},), 0, "table", (), ["an empty dictionary"], ["a single entry"]),
    (({"a": 1, "b": 1},), 0, "table", (), ["equal values only"], ["an equal value for two keys"]),
    ((5,), None, "n", (), ["None as the answer"], ["an ordinary input"]),
    ((5,), 5, "n", (), ["an input that stays as it is"], ["None as the answer"]),
]


def problem(prompt, body, tests):
    name = prompt.split("def ")[1].split("(")[0]
    return Problem(f"t/{name}", prompt, name, body, tuple(tests))


LARGEST = problem(
    'def largest(numbers: list[int]) -> int:\n    """Return the largest number of a non-empty list.\n\n'
    '    >>> largest([1, 3])\n    3\n    """\n',
    "    best = numbers[0]\n    for number in numbers:\n        if number > best:\n            best = number\n    return best\n",
    ["assert largest([1, 3]) == 3", "assert largest([4]) == 4", "assert largest([2, 5, 5, 0]) == 5", "assert largest([9, 8]) == 9"],
)
GRADE = problem(
    'def grade(points: int) -> str:\n    """Return "pass" for at least 50 of 100 points, else "fail"."""\n',
    '    if points >= 50:\n        return "pass"\n    return "fail"\n',
    ['assert grade(0) == "fail"', 'assert grade(100) == "pass"', 'assert grade(70) == "pass"', 'assert grade(20) == "fail"'],
)


def slips_of(chosen):
    return [slip.code for slip in mutations(answer_program(chosen))]


def arguments_of(chosen, test):
    (found,) = read_known(replace(chosen, tests=(test.text,))).own
    assert found is not None
    return found


@pytest.fixture(scope="module")
def real():
    """A few problems of several kinds, with their slips and crafted tests."""
    found = []
    for chosen in bundled_problems("train")[3::57]:
        slips = slips_of(chosen)
        found.append((chosen, slips, craft_tests(chosen, slips, "seed")))
    return found


@pytest.mark.parametrize(("arguments", "result", "names", "limits", "holding", "others"), CASES)
def test_a_case_is_named_if_and_only_if_it_holds(arguments, result, names, limits, holding, others):
    found = name_cases(arguments, result, tuple(names.split()), frozenset(limits), False)
    assert set(holding) <= set(found)
    assert not set(others) & set(found)


def test_calls_are_read_from_tests_with_keywords_and_from_examples():
    prompt = 'def f(a: int, b: int = 2) -> int:\n    """Add.\n\n    >>> f(1, b=5)\n    6\n    """\n'
    known = read_known(problem(prompt, "    return a + b\n", ["assert f(1) == 3", "assert f(b=1, a=4) == 5", "assert f(f(1)) == 5"]))
    assert known.names == ("a", "b")
    assert known.own == ((1,), (4, 1), None)
    assert known.examples == ((1, 5),)


@pytest.mark.parametrize(
    ("known", "allowed", "against"),
    [
        ([([1, 2],), ([5],)], ([2],), ([],)),  # no list is empty
        ([([1, 2],), ([5],), ([],)], ([],), (["a"],)),  # numbers only
        ([(3,), (0,), (9,)], (8,), (-1,)),  # nothing below 0
        ([(3,), (0,), (9,)], (1,), (10,)),  # nor above what is known
        ([(1, 2), (3, 9), (0, 4)], (0, 9), (9, 0)),  # the first is the smaller one
        ([([1, 4], 1), ([2, 3, 9], 2)], ([2, 4, 9], 2), ([2, 4], 2)),  # an index within the list
        ([([1, 4],), ([2, 3, 9],), ([2],)], ([2, 4],), ([4, 2],)),  # rising
        ([([[1, 2], [3, 4]],), ([[5, 6, 7], [1, 2, 3]],)], ([[1, 2, 3], [5, 6, 7]],), ([[1, 2], [3]],)),  # rectangular
        ([("abc",), ("cab",)], ("bca",), ("abd",)),  # letters that are known
        ([("12:30",), ("9:05",)], ("9:05",), ("9:30",)),  # a form of its own
        ([(["buy"],), (["sell", "buy"],), (["buy", "buy"],)], (["sell", "buy", "buy"],), (["uy"],)),  # names within a list
        ([("up", 1), ("up", 2), ("down", 3), ("down", 1)], ("down", 2), ("dow", 2)),  # texts that recur
        ([("abc", "b"), ("ca", "a")], ("abc", "a"), ("abc", "abca")),  # the second is within the first
    ],
)
def test_an_input_is_allowed_only_if_known_inputs_share_its_facts(known, allowed, against):
    learned = Allowed(known)
    assert all(map(learned.allows, known))
    assert learned.allows(allowed)
    assert not learned.allows(against)


@pytest.mark.parametrize(
    "words", ["There are at most five letters.", "Assume that it is sorted.", "The dates are valid.", "It is never empty"]
)
def test_statements_that_restrict_inputs_in_words_are_recognised(words):
    assert restricts_inputs(words)
    assert not restricts_inputs("Return the largest number of the list, or 0 without numbers.")


def test_a_restricting_statement_leaves_the_known_inputs_alone():
    restricted = replace(LARGEST, prompt=LARGEST.prompt.replace("non-empty list", "list that is never empty"))
    assert {test.text for test in craft_tests(restricted, slips_of(restricted), "s")} == set(restricted.tests)


def test_no_crafted_input_is_empty_or_negative_where_no_known_one_is():
    tests = craft_tests(LARGEST, slips_of(LARGEST), "s")
    inputs = [arguments_of(LARGEST, test)[0] for test in tests]
    assert len(inputs) > 15
    assert all(numbers and min(numbers) >= 0 for numbers in inputs)


def test_limits_of_comparisons_are_tested_from_both_sides():
    cases = {case for test in craft_tests(GRADE, slips_of(GRADE), "s") for case in test.cases}
    assert {"`points` at the limit 50", "`points` just below the limit 50", "`points` just above the limit 50"} <= cases


def test_expectations_are_what_the_reference_returns_and_texts_are_short(real):
    for chosen, _, tests in real:
        assert failing_tests(chosen, [test.text for test in tests], answer_program(chosen)) == "0" * len(tests)
        crafted = [test for test in tests if not test.is_own]
        assert all(len(test.text) <= 110 for test in crafted)
        assert all(literal(eval(test.text.split(" == ")[-1])) for test in crafted if " == " in test.text)


def test_results_that_no_test_can_compare_are_left_out():
    program = "def f(n):\n    return [1 / n, {1, 2}, object(), 'a' * 90, float('nan'), (i for i in [1])][n]\n"
    with Oracle(program, "", 100) as oracle:
        assert oracle.values([f"f({n})" for n in range(7)]) == ["", "{1, 2}", "", "", "", "", ""]
        assert Oracle("def f(n):\n    return n + 1\n", "", 100).values(["f(1)"]) == ["2"]


def test_inexact_floats_are_expected_only_as_the_own_tests_compare_them():
    tests = [f"assert third({n}) == {n / 3}" for n in (0, 3, 9)]
    third = problem(
        'def third(n: int) -> float:\n    """Divide by 3."""\n',
        "    return n / 3\n",
        [f"assert third({n}) == {n / 3}" for n in (0, 3, 9)],
    )
    tests = craft_tests(third, slips_of(third), "s")
    assert all(arguments_of(third, test)[0] % 3 == 0 for test in tests)


def test_a_program_that_kills_the_process_or_never_ends_is_told_from_the_others():
    with Oracle("def f(n):\n    return n\n", "", 100) as oracle:
        assert oracle.use_tests(["assert f(1) == 1", "assert f(2) == 2"]) == [True, True]
        assert oracle.failing("def f(n):\n    while True:\n        pass\n") == "11"
        assert oracle.failing("import os\ndef f(n):\n    os._exit(1)\n") is None
        assert oracle.failing("def f(n):\n    return 1\n") == "01"
        assert oracle.failing("def f(n:\n") == "11"


def test_state_of_one_test_does_not_reach_the_next():
    with Oracle("def f(n):\n    return n\n", "", 100) as oracle:
        oracle.use_tests(["assert f(1) == 1", "assert f(1) == 1"])
        assert oracle.failing("calls = []\ndef f(n):\n    calls.append(n)\n    return len(calls)\n") == "00"


def test_a_search_shrinks_what_it_finds_and_finds_the_same_again():
    allowed = Allowed([([3, 9, 1],), ([],), ([5, 5],), ([40, 2, 7, 8],)])
    found = [find_input(allowed, lambda arguments: sum(arguments[0]) > 20 and len(arguments[0]) > 1, "seed") for _ in range(2)]
    assert found[0] == found[1]
    assert found[0] is not None
    assert len(found[0][0]) == 2
    assert find_input(allowed, lambda arguments: False, "seed") is None


@pytest.mark.parametrize("num_answers", [1, 2, 5, 20])
def test_a_program_that_has_no_answer_the_second_time_does_not_end_the_search(num_answers):
    """A slip may hang in one line; after some restarts of its process there are no answers any more."""
    allowed = Allowed([(3, 5), (0, 1), (40, 2)])
    answers = iter([True] * num_answers)
    found = find_input(allowed, lambda arguments: next(answers, False), "seed")
    assert found is not None
    assert allowed.allows(found)


def test_draws_are_allowed_inputs(real):
    for chosen, *_ in real:
        allowed = Allowed(read_known(chosen).all)
        drawn = []
        find_input(allowed, lambda arguments, drawn=drawn: bool(drawn.append(arguments)), "seed")
        assert all(map(allowed.allows, drawn))
        assert arguments_strategy(allowed).validate() is None


def test_variants_depend_on_the_seed_alone_and_are_new(real):
    for chosen, *_ in real:
        allowed = Allowed(read_known(chosen).all)
        first, second = (variants(allowed, answer_program(chosen), random.Random(7), 40) for _ in range(2))
        assert list(map(literal, first)) == list(map(literal, second))
        assert not {call_text("f", known) for known in allowed.known} & {call_text("f", arguments) for arguments in first}


def test_crafting_again_gives_the_same_tests(real):
    for chosen, slips, tests in real[::3]:
        assert craft_tests(chosen, slips, "seed") == tests


def test_three_shown_tests_notice_the_slip_and_nine_in_ten_of_the_others(real):
    shares = []
    for _, slips, tests in real:
        noticeable = {number for number in range(len(slips)) if any(test.failing[number] == "1" for test in tests)}
        for slip in noticeable:
            shown = choose(tests, ["".join(test.failing[slip] for test in tests)], 3, random.Random(slip))
            rows = [test.failing for test in tests if test.text in shown.tests]
            assert len(rows) <= 3
            assert any(row[slip] == "1" for row in rows)
            others = noticeable - {slip}
            shares.append(sum(any(row[other] == "1" for row in rows) for other in others) / max(len(others), 1))
    assert sum(shares) / len(shares) >= 0.95


def test_named_cases_are_preferred_and_told_apart():
    tests = [
        CraftedTest("assert f(2) == 2", ("an ordinary input",), "1", False),
        CraftedTest("assert f(0) == 0", ("zero", "an even number"), "1", False),
        CraftedTest("assert f(-2) == 2", ("a negative number", "an even number"), "0", False),
        CraftedTest("assert f([]) == True", ("an empty list", "an even number"), "0", False),
    ]
    shown = choose(tests, ["0100"], 2, random.Random(1))
    assert set(zip(shown.tests, shown.cases, strict=True)) >= {("assert f(0) == 0", "zero")}
    shown = choose(tests, ["0100"], 4, random.Random(1))
    assert shown.lines == ("assert f(2) == 2", "assert f(0) == 0  # zero", "assert f(-2) == 2", "assert f([])  # an empty list")


def test_a_case_is_named_where_it_decides_and_not_where_it_is_beside_the_point():
    inputs = ((-2, "a negative number"), (1, "one"), (-3, "a negative number"), (4, "an ordinary input"))
    tests = [CraftedTest(f"assert f({number}) == 0", (case,), "1") for number, case in inputs]
    assert "a negative number" in choose(tests, ["1010"], 4, random.Random(1)).cases
    assert "one" in choose(tests, ["0100"], 4, random.Random(1)).cases
    for failing in ("1111", "0111", "1000", "0011"):  # all fail, or others too, or not all of the case
        assert set(choose(tests, [failing], 4, random.Random(1)).cases) <= set(UNNAMED)


def test_a_traceback_through_a_comment_still_names_the_test():
    lines = ShownTests(("assert f([]) == 0", "assert f([]) == 01 - 1"), ("an empty `items`", "zero")).lines
    assert lines[0] == "assert f([]) == 0  # an empty items"
    output = (
        f'Traceback (most recent call last):\n  File "main.py", line 4, in <module>\n    {lines[0]}\n           ^^^^\nAssertionError\n'
    )
    assert failing_test(output, ("assert f([]) == 01 - 1", "assert f([]) == 0")) == "assert f([]) == 0"


def test_every_number_of_tests_is_said_in_a_sentence_and_a_limit_may_have_a_reason():
    for count in range(1, 7):
        cases = ["zero", "a negative `a`", "the empty list", "one for `b`", "two items", "three words"][:count]
        said = {why_tests(cases, random.Random(seed)) for seed in range(30)}
        assert all(text.count(". ") == 0 and text.endswith(".") and all(case in text.lower() for case in cases) for text in said)
    at_limit = [why_tests(["zero", "`n` at the limit 10"], random.Random(seed)) for seed in range(30)]
    assert 5 < sum(text.count(". ") == 1 for text in at_limit) < 25
    assert why_tests((), random.Random(1)) == ""


def recipe(folder, workers=2, **build):
    problems = [LARGEST, GRADE, *bundled_problems("train")[3::90]]
    write_jsonl(folder / "problems.jsonl", [chosen.to_json() for chosen in problems])
    config = BuildConfig(problems=(str(folder / "problems.jsonl"),), tests="crafted", **build)
    return Recipe("b", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=workers))


@pytest.fixture(scope="module", params=["traced", pytest.param("templates", marks=pytest.mark.slow)])
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crafted")
    build_reflections(recipe(folder, diagnoses=request.param, max_operator_share=1.0), folder)
    return folder, request.param, list(read_samples(folder / "reflections.jsonl"))


def test_samples_show_their_cases_and_say_so(built):
    _, diagnoses, samples = built
    assert len(samples) > 15
    for sample in samples:
        opening = sample.messages[1].content[0].content
        cell = sample.messages[1].content[-2].content  # of a wrong expectation only the last cell has the right tests
        cases, tests = sample.metadata["test_cases"], sample.metadata["shown_tests"]
        assert len(cases) == len(tests) <= 3
        for test, case in zip(tests, cases, strict=True):
            assert (f"{test}\n" if case in UNNAMED else f"{test}  # {case}\n") in cell
            if diagnoses == "templates" and case not in UNNAMED:
                assert case.lower() in opening.replace("`", "").lower()
    assert diagnoses == "templates" or any("The test with " in block.content for s in samples for block in s.messages[1].content)


def test_all_that_samples_state_is_supported_and_replayed(built):
    _, diagnoses, samples = built
    for sample in samples:
        # Templates state more than is shown: of them the opening counts.
        stated = [claim for claim in check_sample(sample) if diagnoses == "traced" or claim.block == 0]
        assert [claim.stated.text for claim in stated if claim.status == "unsupported"] == []
    assert [drift for result in replay(samples[::3], Limits(wall_s=3.0), 2) for drift in result.drifts] == []


def test_samples_do_not_depend_on_the_number_of_workers(built, tmp_path):
    folder, diagnoses, _ = built
    if diagnoses == "traced":
        build_reflections(recipe(tmp_path, workers=1, diagnoses=diagnoses, max_operator_share=1.0), tmp_path)
        assert (tmp_path / "reflections.jsonl").read_bytes() == (folder / "reflections.jsonl").read_bytes()


def test_attempts_of_a_file_get_tests_that_notice_them(tmp_path):
    attempt = LARGEST.reference.replace("number > best", "number < best")
    write_jsonl(tmp_path / "attempts.jsonl", [{"task_id": LARGEST.task_id, "solution": attempt, "sample": 0}])
    chosen = recipe(tmp_path, author="attempts", attempts=str(tmp_path / "attempts.jsonl"), diagnoses="traced")
    build_reflections(chosen, tmp_path)
    (sample,) = read_samples(tmp_path / "reflections.jsonl")
    assert len(sample.metadata["test_cases"]) == 3
    assert "crafted" in AttemptsAuthor().names_in_samples(chosen.build).source
    assert count_claims([sample]).num_supported_samples == 1


def test_tests_that_would_be_crafted_otherwise_now_are_not_taken_from_a_log(tmp_path, monkeypatch):
    monkeypatch.setattr(crafting, "craft_tests", lambda *_: [])
    problem = bundled_problems("train")[0]
    with BuildLog(tmp_path / LOG_NAME) as log:
        execute = executions.Executions(log, Limits())
        for _ in range(2):
            execute.craft(problem, [], 1)
        assert (log.num_new["execution"], log.num_replayed["execution"]) == (1, 1)
        monkeypatch.setattr(executions, "CASES_FORMAT", executions.CASES_FORMAT + 1)
        execute.craft(problem, [], 1)
        assert log.num_new["execution"] == 2
