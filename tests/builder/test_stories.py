"""Stories of every kind: what they tell has happened in real runs, and what is refuted, partial or mistaken really is."""

import random
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.claims import count_claims
from reflectioncoder.builder.grammar import merged, say, traced_grammar
from reflectioncoder.builder.log import LOG_NAME
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.mutation.diagnosis import Failure, failing_test
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.builder.stories import Attempt, Story
from reflectioncoder.builder.stories.kinds.expectation import _is_plausible
from reflectioncoder.builder.stories.kinds.hypothesis import _can_be_wrong
from reflectioncoder.builder.stories.kinds.registry import KINDS
from reflectioncoder.builder.stories.programs import shape_of
from reflectioncoder.builder.stories.statement import read_statement
from reflectioncoder.builder.stories.values import difference
from reflectioncoder.builder.stories.wording import fix
from reflectioncoder.builder.stories.worked import worked
from reflectioncoder.choices import ROUND_KINDS
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import program_of_answer
from reflectioncoder.data.samples import read_samples
from reflectioncoder.errors import UsageError
from reflectioncoder.sandbox.limits import Limits

FILES = ("reflections.jsonl", "rejected.jsonl")
SHARES = {"look": 0.1, "hypothesis": 0.25, "partial": 0.25, "expectation": 0.2, "hidden": 0.2}


def recipe(folder, num_problems=10, **build):
    middling = [problem for problem in bundled_problems("train") if 150 < len(problem.canonical_solution) < 420]
    chosen = middling[:: len(middling) // num_problems][:num_problems]
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in chosen])
    settings = {"problems": (str(folder / "problems.jsonl"),), "samples_per_problem": 3, "diagnoses": "traced", **build}
    return Recipe("b", ModelConfig("none"), build=BuildConfig(**settings), sandbox=SandboxConfig(workers=2))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    chosen = recipe(folder, round_kinds=SHARES)
    summary = build_reflections(chosen, folder)
    return chosen, folder, summary, list(read_samples(folder / "reflections.jsonl"))


def of_kind(built, kind):
    return [sample for sample in built[3] if sample.metadata["kind"] == kind]


def cells(sample):
    """Return (kind of round, cell, output) of the rounds and of the last cell."""
    blocks = sample.messages[1].content
    codes = [block.content for block in blocks if block.type == "code"]
    outputs = [block.content for block in blocks if block.type == "execution"]
    return list(zip([*sample.metadata["rounds"], "last"], codes, outputs, strict=True))


def failed(sample, output, cell):
    """Return the number of the test of a cell that fails."""
    tests = re.findall(r"^assert .*$", cell, re.MULTILINE)
    return tests.index(failing_test(output, tuple(tests)))


@pytest.fixture(scope="module")
def suspected(tmp_path_factory):
    """Stories of problems whose programs have bounds that can be suspected."""
    folder = tmp_path_factory.mktemp("suspected")
    middling = [problem for problem in bundled_problems("train") if 150 < len(problem.canonical_solution) < 420]
    chosen = [
        problem for problem in middling if "range(" in problem.canonical_solution and re.search(" [<>]=? ", problem.canonical_solution)
    ]
    settings = recipe(folder, round_kinds={"hypothesis": 1.0})
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in chosen[:7]])
    build_reflections(settings, folder)
    return [sample for sample in read_samples(folder / "reflections.jsonl") if sample.metadata["kind"] == "hypothesis"]


@pytest.mark.parametrize("kind", SHARES)
def test_every_kind_is_told_of_real_problems_and_states_only_what_was_seen(built, suspected, kind):
    samples = suspected if kind == "hypothesis" else of_kind(built, kind)
    assert len(samples) >= 2
    assert count_claims(samples).statuses["unsupported"] == 0
    for sample in samples:
        kinds = [block.type for block in sample.messages[1].content]
        assert kinds == ["text", "code", "execution"] * (len(sample.metadata["rounds"]) + 1)
        assert cells(sample)[-1][2].endswith("All tests passed.")


def test_a_hypothesis_is_refuted_by_a_run(suspected):
    for sample in suspected:
        (_, first, failure), (kind, trial, output) = cells(sample)[:2]
        assert kind == "hypothesis"
        assert trial != first
        assert "All tests passed." not in output
        if "assert" in trial:
            tests = [re.findall(r"^assert .*$", cell, re.MULTILINE) for cell in (first, trial)]
            assert tests[0] == tests[1]
            assert failed(sample, output, trial) == failed(sample, failure, first)
            assert output.rsplit("\n", 1)[-1] == failure.rsplit("\n", 1)[-1]
        elif "=}" in trial:  # a value is printed, and it is right
            assert re.search(r"^.+=.+$", output, re.MULTILINE)
            assert "Traceback" not in output
        else:
            call = re.search(r"print\((.*)\)$", trial)
            assert call is not None
            assert failing_test(failure, tuple(sample.metadata["shown_tests"])) is not None
            expected = next(test for test in sample.metadata["shown_tests"] if failing_test(failure, (test,)))
            assert expected.rpartition(" == ")[2] != output
            assert "Traceback" not in output
        assert program_of_answer(sample.messages[-1].text).strip() in cells(sample)[-1][1]


@pytest.mark.parametrize(
    ("expression", "values", "said"),
    [
        ("abs(a) - b", {"abs(a)": "0", "b": "-9"}, "0 - (-9)"),
        ("abs(a) - b", {"a": "-3", "b": "2"}, "abs(-3) - 2"),
        ("sum(row) >= sum(rows[-1])", {"sum(row)": "3", "sum(rows[-1])": "4"}, "3 >= 4"),
        ("words[k + 1]", {"words": "['a', 'b']", "k": "0"}, "['a', 'b'][0 + 1]"),
        ("word.upper()", {"word": "'ab'"}, "'ab'.upper()"),
        ("a - b", {"a": "1"}, ""),
        ("[x for x in xs]", {"xs": "[1]"}, ""),
        ("a", {"a": "1"}, ""),
        ("a + b", {"a + b": "3", "a": "x"}, ""),
        ("a + b", {"a": str([*range(40)]), "b": "[]"}, ""),
    ],
)
def test_an_expression_is_worked_out_with_the_values_of_its_parts(expression, values, said):
    assert worked(expression, values) == said


SLIP = Mutation("wrong_operator", "", "a + b", "a - b")


def test_a_correction_that_leaves_another_slip_is_told_as_a_step():
    attempts = [
        Attempt(program, corrected, "", Execution("failed", "", "AssertionError"), Failure("assertion", ""), slip)
        for program, corrected, slip in (("c", "b", SLIP), ("b", "a", SLIP))
    ]
    story = Story("Add two numbers.", "f", "", (), tuple(attempts), "", "")
    symbols = [[saying.symbol for saying in fix(attempt, story)] for attempt in attempts]
    assert "step" in symbols[0]
    assert "step" not in symbols[1]
    final = re.compile(r"has_to_become|(?:has|have) to be|(?:must|should) be|the tests? should pass")
    for symbol in ("fix.replaced", "fix.removed", "fix.completed", "fix.case", "fix.moved", "crash.name", "half.place", "half.case"):
        assert not [text for text in traced_grammar()[symbol] if final.search(text)], symbol


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("4", "5", True), ("17", "5", False), ("[1, 2]", "[1, 2, 3]", True), ("' '", "'See'", False), ("'see'", "'See'", True),
        ("True", "False", True), ("None", "[1]", False), ("[3, 1]", "[1, 3]", True), ("5", "5", False),
    ],
)  # fmt: skip
def test_a_wrong_expectation_is_a_near_miss(wrong, right, said):
    assert _is_plausible(wrong, right) is said


def test_a_rival_cause_is_worked_out_and_not_a_step_that_nobody_doubts():
    assert not any(map(_can_be_wrong, ("abs(a)", "len(xs)", "xs[0]", "a + b")))
    assert all(map(_can_be_wrong, ("best", "sum(row) - 1", "len(set(xs))", "line.split()", "words[len(words) - 1]")))


def test_a_partial_repair_makes_the_failing_test_pass_and_a_later_one_fail(built):
    for sample in of_kind(built, "partial"):
        attempts = [(cell, output) for kind, cell, output in cells(sample) if kind == "attempt"]
        assert len(attempts) == 2
        numbers = [failed(sample, output, cell) for cell, output in attempts]
        assert numbers[0] < numbers[1]


def test_a_wrong_expectation_never_stays_and_the_test_gets_the_printed_value(built):
    for sample in of_kind(built, "expectation"):
        shown = sample.metadata["shown_tests"]
        *earlier, (_, last, _) = cells(sample)
        wrong = {test for _, cell, _ in earlier for test in re.findall(r"^assert .*$", cell, re.MULTILINE)} - set(shown)
        assert len(wrong) == 1
        assert re.findall(r"^assert .*$", last, re.MULTILINE) == shown
        (kind, doubtful, output), (question, _, printed) = earlier[-2:]
        assert (kind, question) == ("attempt", "question")
        assert failing_test(output, tuple(wrong)) is not None
        assert doubtful.partition("\nassert ")[0] == last.partition("\nassert ")[0]  # the program was right
        assert f"`{printed}`" in sample.messages[1].content[-3].content


def test_a_crash_hides_a_second_fault(built):
    for sample in of_kind(built, "hidden"):
        outputs = [output.rsplit("\n", 1)[-1] for kind, _, output in cells(sample) if kind == "attempt"]
        assert len(outputs) == len(sample.metadata["operators"]) == 2
        assert not outputs[0].startswith("AssertionError")
        assert outputs[1].startswith("AssertionError")


def test_the_summary_counts_kinds_and_rounds(built):
    *_, summary, samples = built
    stories = summary["stories"]
    assert stories["kinds"] == dict(Counter(sample.metadata["kind"] for sample in samples).most_common())
    assert sum(stories["num_rounds"].values()) == len(samples)
    assert {int(number) for number in stories["num_rounds"]} <= {1, 2, 3, 4, 5}
    assert max(stories["kinds"].values()) < 0.6 * len(samples)


def test_a_replay_finds_every_round_again(built):
    results = list(replay(built[3][::2], Limits(wall_s=3.0), 2))
    assert [drift for result in results for drift in result.drifts] == []


def test_the_log_gives_the_same_stories_with_another_number_of_workers(built):
    chosen, folder, *_ = built
    first = [(folder / name).read_bytes() for name in FILES]
    summary = build_reflections(replace(chosen, sandbox=SandboxConfig(workers=1)), folder)
    assert [(folder / name).read_bytes() for name in FILES] == first
    assert summary["num_executions"] == 0


def test_no_more_rounds_are_told_than_are_allowed(tmp_path):
    chosen = recipe(tmp_path, 3, round_kinds={"hypothesis": 0.5, "hidden": 0.5}, max_rounds=1, two_slip_share=0.0)
    summary = build_reflections(chosen, tmp_path)
    assert set(summary["stories"]["num_rounds"]) == {"1"}
    assert set(summary["stories"]["kinds"]) == {"direct"}


def word_tokenizer(path: Path) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(path))
    return str(path)


def test_samples_that_are_too_long_are_told_shorter(tmp_path):
    tokenizer = word_tokenizer(tmp_path / "tokenizer.json")
    few = recipe(tmp_path, 5, round_kinds=SHARES, tokenizer=tokenizer)
    free = build_reflections(few, tmp_path / "free")
    lengths = free["texts"]["tokens"]
    assert lengths["min"] <= lengths["median"] <= lengths["p90"] <= lengths["max"]
    limit = int(lengths["median"])
    (tmp_path / "short").mkdir()
    shutil.copyfile(tmp_path / "free" / LOG_NAME, tmp_path / "short" / LOG_NAME)  # so that only what is new is run
    short = build_reflections(replace(few, build=replace(few.build, max_tokens=limit)), tmp_path / "short", fork=True)
    assert short["texts"]["tokens"]["max"] <= limit
    assert short["num_accepted"] > 0.6 * free["num_accepted"]
    samples = list(read_samples(tmp_path / "short" / "reflections.jsonl"))
    assert count_claims(samples).statuses["unsupported"] == 0
    assert any(sample.metadata["kind"] == "direct" for sample in samples)


def test_a_limit_without_a_tokenizer_says_what_to_set(tmp_path):
    chosen = replace(recipe(tmp_path, 2, max_tokens=500), model=ModelConfig("./none"))
    with pytest.raises(UsageError, match=r"model\.name\n.*none'\n.*build\.tokenizer"):
        build_reflections(chosen, tmp_path)


@pytest.mark.parametrize("shares", [{"look": 0.5}, {"look": 1.2, "hidden": -0.2}, {"glance": 1.0}, {"look": "all"}, {"look": True}, {}])
def test_shares_are_of_known_kinds_and_add_up(shares):
    with pytest.raises(UsageError, match=r"round_kinds"):
        BuildConfig(round_kinds=shares)


def test_settings_of_stories_are_refused_where_none_are_told(tmp_path):
    with pytest.raises(UsageError, match=r"build\.max_rounds has no effect"):
        build_reflections(recipe(tmp_path, 2, diagnoses="templates", max_rounds=2), tmp_path)


def test_every_kind_has_a_row():
    assert tuple(KINDS) == ROUND_KINDS


def test_a_symbol_of_two_files_is_refused():
    with pytest.raises(ValueError, match=r"the symbol b is defined in one\.yaml and in two\.yaml"):
        merged({"one.yaml": "a: [x]\nb: [y]\n", "two.yaml": "b: [z]\n"})
    assert merged({"one.yaml": "a: [x]\n", "two.yaml": "b: [z]\n"}) == {"a": ["x"], "b": ["z"]}


def test_symbols_are_known_and_have_no_alternative_twice():
    table = traced_grammar()
    for symbol, alternatives in table.items():
        assert len(set(alternatives)) == len(alternatives), symbol
        for text in alternatives:
            assert all(name == "cause" or name in table for name in re.findall(r"<([\w.]+)>", text)), text


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("3", "4", "is exactly one too small"),
        ("-4", "4", "has the wrong sign"),
        ("8", "4", "is twice as large as it should be"),
        ("'ab'", "'abc'", "stops one character too early"),
        ("'AB'", "'ab'", "differs only in upper and lower case"),
        ("[1, 2]", "[1, 2, 3]", "has one item too few"),
        ("[3, 1, 2]", "[1, 2, 3]", "has the right items in the wrong order"),
        ("[1, 2, 4]", "[1, 2, 3]", "is wrong in its last item only"),
        ("{'a': 1}", "{'a': 1, 'b': 2, 'c': 3}", "lacks two keys"),
        ("None", "[1]", ""),
        ("'1'", "1", "is a string and not a number"),
        ("True", "False", ""),
        ("[]", "[0]", ""),
        ("<object>", "1", ""),
        ("1", "1.0", ""),
    ],
)
def test_differences_are_said_in_words(ours, theirs, said):
    assert difference(ours, theirs) == said


@pytest.mark.parametrize(
    ("statement", "task", "rules"),
    [
        ("Return the sum. No row is empty.", "return the sum", ("No row is empty",)),
        ("Customers come to a shop. Return when each one leaves.", "return when each one leaves", ("Customers come to a shop",)),
        ("Number the cells from one. Stop at the end.", "number the cells from one", ("Stop at the end",)),
        ('An empty text gives "none" as its answer.', "", ()),
        ("Write n as a sum of 1, 2, 3, ... Take the largest.", "", ("Take the largest",)),
        (
            "Count the steps up to n. steps[i] is the number i of them.",
            "count the steps up to n",
            ("steps[i] is the number i of them",),
        ),
    ],
)
def test_what_is_asked_for_is_told_from_rules_that_can_be_quoted(statement, task, rules):
    found = read_statement(f'Do it.\n```python\ndef f(x):\n    """{statement}"""\n```')
    assert (found.task, found.rules) == (task, rules)


def test_a_statement_is_read_sentence_by_sentence():
    docstring = '"""Return the sum\n    of x. An empty list has the sum 0.\n\n    >>> f([1])\n    1\n    """'
    request = f"Do it.\n```python\ndef f(x):\n    {docstring}\n```"
    found = read_statement(request)
    assert found.task == "return the sum of x"
    assert found.rules == ("An empty list has the sum 0",)


def test_the_shape_of_a_program_is_read_from_it():
    program = "def f(xs):\n    found = []\n    for x in xs:\n        found.append(x)\n    return found\n"
    shapes = dict(shape_of(program, "f"))
    assert shapes["shape.for"] == {"item": "x", "iterated": "xs"}
    assert shapes["shape.filled"] == {"variable": "found", "start": "[]"}
    assert "shape.for" not in dict(shape_of(program.replace("in xs", "in range(xs)"), "f"))


def test_sayings_are_whole_sentences_whatever_is_drawn():
    table, rng = dict(traced_grammar()), random.Random(3)
    facts = {name: "f" for text in (alt for alts in table.values() for alt in alts) for name in re.findall(r"\{(\w+)\}", text)}
    facts |= {"difference": "has one item too few", "task": "return it", "rule": "It is so", "gone": "`f`"}
    facts |= {"operator": "wrong_operator", "inputs": "`x` is `3`", "right": "`x` is `3`", "round": "third"}
    facts |= {"passing": "The test with zero passes"}
    families = ("task", "rule", "shape", "step", "difference", "suspect", "refuted", "reread", "printed", "ask", "tests", "reason")
    for symbol in (name for name in table if name.partition(".")[0] in (*families, "try_it", "put_back", "fix", "failure")):
        for _ in range(12):
            text = say(symbol, facts, rng)
            assert re.fullmatch(r"[A-Z`].*[.?]", text), (symbol, text)
            assert not re.search(r"[<>{}]|  |\.\.|[.?] [a-z]| [,.;]", text), (symbol, text)
