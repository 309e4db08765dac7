"""What a build says of its texts: attempts, repairs, lengths, variety, and claims."""

import json
from dataclasses import replace

import pytest

from reflectioncoder.builder.claims import check_sample
from reflectioncoder.builder.text_measures import CommonPatterns, TextMeasures, attempts, describe, lines_changed, sentence_patterns
from reflectioncoder.cli import main
from reflectioncoder.data.samples import Block, Sample, assistant, read_samples, user
from tests.conftest import generation_sample

ATTEMPT = "def f(x):\n    return x + 1\n\nassert f(1) == 1"
REPAIR = ATTEMPT.replace("x + 1", "x")


def sample_of(*blocks, language="py"):
    answer = assistant(*(Block(kind, text) for kind, text in blocks))
    return Sample((user("Write f."), answer, user("Now."), assistant(Block("text", "def f(x): return x"))), extra={
        "id": "s", "metadata": {"language": language}
    })  # fmt: skip


def measured(*samples):
    measures = TextMeasures()
    for sample in samples:
        measures.add(sample)
    return measures.to_json()


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("`f(1)` gives `2`, but it should be 3.", ["… gives …, but it should be …."]),
        ("The bound is wrong. I write `range(n)`!\nDone", ["The bound is wrong.", "I write …!", "Done"]),
        ("It prints \"a. b\" and 'c. d' here.", ["It prints … and … here."]),
        ("It's the loop's start, isn't it?", ["It's the loop's start, isn't it?"]),
        ("The value -1.5 is in `a. B`.", ["The value … is in …."]),
        ("Like this:\n```python\nx = 1. \ny = 2\n```\nIt ends.", ["Like this:", "It ends."]),
        ("1. First.\n- Second", ["First.", "Second"]),
        ("`x`. 5", []),
    ],
)
def test_a_pattern_is_a_sentence_without_code_numbers_and_quotations(text, patterns):
    assert sentence_patterns(text) == patterns


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [("a\nb", "a\nb\n", 0), ("a\nb", "a\nc", 1), ("a", "a\nb\nc", 2), ("a\nb\nc", "c", 2), ("a\nb", "x\ny\nz", 3)],
)
def test_a_line_that_is_replaced_counts_once(before, after, number):
    assert lines_changed(before, after) == number


def test_a_cell_that_looks_into_a_program_is_no_attempt():
    cells = [("code", ATTEMPT), ("code", "print(f(3))"), ("code", REPAIR)]
    assert attempts(sample_of(*cells)) == [ATTEMPT, REPAIR]
    without = [(kind, text.replace("assert", "print")) for kind, text in cells]
    assert len(attempts(sample_of(*without))) == 3


def test_measures_are_those_of_the_samples_that_were_added():
    sample = sample_of(
        ("text", "I try it. I try it."), ("code", ATTEMPT), ("execution", "AssertionError"),
        ("text", "It gives `7`, not `1`."), ("code", REPAIR), ("execution", "ok"),
    )  # fmt: skip
    values = measured(sample, generation_sample())
    claims = values.pop("claims")
    num_chars = sum(len(block.content) for message in sample.messages for block in message.content)
    assert values == {
        "num_samples": 1,
        "executions": {"min": 2, "median": 2, "mean": 2, "max": 2},
        "lines_changed_per_repair": {"min": 1, "median": 1, "mean": 1, "max": 1},
        "chars": {"min": num_chars, "median": num_chars, "mean": num_chars, "max": num_chars},
        "num_words": 9,
        "num_distinct_words": 5,
        "num_sentences": 3,
        "share_of_10_commonest_patterns": 1.0,
    }
    assert claims["num_unsupported"] == 1
    assert claims["values"]["output"] == {"num": 1, "num_shown": 0, "num_unsupported": 1}


def test_claims_are_read_in_python_only_and_texts_in_every_language():
    blocks = [("text", "It gives `7`."), ("code", "let x = 1"), ("execution", "ok")]
    assert measured(sample_of(*blocks))["claims"]["num_claims"] == 1
    values = measured(sample_of(*blocks, language="js"))
    assert values["claims"]["num_samples"] == values["claims"]["num_claims"] == 0
    assert values["num_sentences"] == 1


def test_without_reflection_samples_there_is_nothing_to_say():
    assert measured(generation_sample())["executions"] is None
    assert list(describe(measured(generation_sample()))) == []
    bare = measured(sample_of(("code", ATTEMPT)))
    assert (bare["lines_changed_per_repair"], bare["share_of_10_commonest_patterns"]) == (None, None)
    assert "0 claims in the texts" in list(describe(bare))[1]


def test_common_patterns_are_found_among_many_in_bounded_memory():
    exact, bounded = CommonPatterns(100_000), CommonPatterns(200)
    for number in range(6000):
        patterns = [f"rare {number}", f"also rare {number}", f"common {number % 12}"]
        exact.add(patterns)
        bounded.add(patterns)
    assert exact.share_of_commonest() == pytest.approx(10 / 12 / 3, abs=1e-3)
    assert len(bounded._counts) <= 400
    found = bounded.share_of_commonest()
    assert found is not None
    assert 10 / 12 / 3 - 10 / 200 <= found <= 10 / 12 / 3


def test_a_build_says_what_its_samples_are_like_and_prints_it(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(json.dumps({"name": "r", "model": {"name": "none"}, "build": {"samples_per_problem": 1}}))
    assert main(["build", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path), "--limit", "2"]) == 0
    folder = tmp_path / "r" / "build"
    samples = list(read_samples(folder / "reflections.jsonl"))
    texts = json.loads((folder / "build.json").read_text())["texts"]
    assert texts == measured(*samples)
    assert texts["claims"]["num_claims"] == sum(len(check_sample(sample)) for sample in samples) > 0
    said = capsys.readouterr().out
    assert all(line in said for line in describe(texts))


@pytest.fixture
def checked(tmp_path):
    """Return a function that runs `check` on samples."""

    def check(samples, *options):
        path = tmp_path / "samples.jsonl"
        path.write_text("".join(json.dumps(sample.to_json()) + "\n" for sample in samples))
        return main(["check", str(path), *options])

    return check


RUN = [("code", "x = 3\nprint(x)"), ("execution", "3")]


def test_check_counts_unsupported_claims_and_shows_the_first(checked, capsys):
    samples = [
        replace(sample_of(*RUN, ("text", f"It gives `{number}`, as `helper` does.")), extra={"id": f"s{number}"})
        for number in range(3, 9)
    ]
    assert checked(samples) == 0
    said = capsys.readouterr().out
    assert "12 claims in the texts, 11 of them unsupported; executions show 17% of the stated values, and 1 of the 6" in said
    assert "  s3, block 2: 'helper': it stands neither in the problem, nor in a program, nor in an output before it" in said
    assert "  s4, block 2: '4': it is said to be an output, and no execution before it shows it" in said
    assert said.count(", block 2: ") == 5


def test_a_check_that_is_strict_about_claims_fails_because_of_one(checked, capsys):
    assert checked([sample_of(*RUN, ("text", "It gives `3`."))], "--strict-claims") == 0
    assert checked([sample_of(*RUN, ("text", "It gives `4`."))], "--strict-claims") == 1
    assert "s, block 2: '4'" in capsys.readouterr().err


def test_check_says_how_many_samples_have_claims_that_it_does_not_read(checked, capsys):
    assert checked([generation_sample(), sample_of(("text", "I test edge cases."), *RUN)]) == 0
    said = capsys.readouterr().out
    assert "block 0: 'edge cases': the program that follows asserts nothing about an edge case" in said
    assert "claims of 1 samples were not read" in said
    assert checked([generation_sample()], "--strict-claims", "--json") == 0
    assert json.loads(capsys.readouterr().out)["claims"]["num_samples"] == 0
