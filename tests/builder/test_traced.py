"""Traced diagnoses say what a run shows: a probe cell of the sample prints it, and the checker of claims finds nothing else."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from reflectioncoder.builder import grammar
from reflectioncoder.builder.authors.mutation_samples import MutationPlan
from reflectioncoder.builder.authors.mutation_stories import StoryWriter
from reflectioncoder.builder.claims import check_blocks, count_claims
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import say, traced_grammar
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation import OPERATORS, mutations
from reflectioncoder.builder.mutation.misreadings import misreadings
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.builder.stories import StorySettings, rounds
from reflectioncoder.builder.stories.probes import BY_THE_TEST, is_of_cell
from reflectioncoder.builder.tracing.divergence import Kind
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Block, Sample, read_samples
from reflectioncoder.sandbox.limits import Limits

FILES = ("reflections.jsonl", "rejected.jsonl")
FIELDS = {field for texts in traced_grammar().values() for text in texts for field in re.findall(r"\{(\w+)\}", text)}


def recipe(folder, **build):
    short = [problem for problem in bundled_problems("train") if 120 < len(problem.canonical_solution) < 350]  # few slips: fast
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in short[:: len(short) // 15]])
    config = BuildConfig(
        problems=(str(folder / "problems.jsonl"),), samples_per_problem=4, diagnoses="traced", round_kinds={"look": 1.0}, **build
    )
    return Recipe("b", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    chosen = recipe(folder, two_slip_share=0.3)
    summary = build_reflections(chosen, folder)
    return chosen, folder, summary, list(read_samples(folder / "reflections.jsonl"))


def test_no_claim_of_a_real_build_is_unsupported(built):
    *_, samples = built
    counts = count_claims(samples)
    assert counts.num_samples >= 50
    assert counts.num_supported_samples == counts.num_samples
    assert counts.statuses["unsupported"] == 0
    assert counts.statuses["shown"] > counts.num_samples


def test_most_failing_attempts_are_looked_at_before_they_are_explained(built):
    *_, samples = built
    num_attempts = num_probes = 0
    for sample in samples:
        kinds = [block.type for block in sample.messages[1].content]
        assert kinds == ["text", "code", "execution"] * (len(kinds) // 3)
        num_slips = len(sample.metadata["operators"])
        num_attempts += num_slips
        num_probes += len(kinds) // 3 - num_slips - 1
    assert num_attempts > num_probes > 0.7 * num_attempts


def test_a_replay_finds_every_execution_again(built):
    *_, samples = built
    results = list(replay(samples[::4], Limits(wall_s=3.0), 2))
    assert sum(result.num_executions for result in results) > 2 * len(results)
    assert [drift for result in results for drift in result.drifts] == []


def test_the_log_gives_the_same_bytes_without_running_anything(built, tmp_path):
    chosen, folder, *_ = built
    first = [(folder / name).read_bytes() for name in FILES]
    summary = build_reflections(replace(chosen, sandbox=SandboxConfig(workers=1)), folder)
    assert [(folder / name).read_bytes() for name in FILES] == first
    assert summary["num_executions"] == 0


def test_attempts_of_a_model_are_looked_at_too(tmp_path):
    problems = {problem.task_id: problem for problem in bundled_problems("train") if problem.grade == 2}
    chosen = list(problems.values())[:8]
    rows = [
        {
            "task_id": problem.task_id,
            "solution": next(m.code for m in mutations(answer_program(problem)) if m.operator != "syntax_slip"),
        }
        for problem in chosen
    ]
    write_jsonl(tmp_path / "attempts.jsonl", rows)
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in chosen])
    config = BuildConfig("attempts", attempts=str(tmp_path / "attempts.jsonl"), problems=(str(tmp_path / "problems.jsonl"),))
    recipe = Recipe("b", ModelConfig("none"), build=replace(config, diagnoses="traced"), sandbox=SandboxConfig(workers=2))
    build_reflections(recipe, tmp_path)
    samples = list(read_samples(tmp_path / "reflections.jsonl"))
    assert len(samples) >= 4
    assert all("@traced:" in str(sample.id) and sample.metadata["diagnoses"] == "traced" for sample in samples)
    assert count_claims(samples).statuses["unsupported"] == 0
    assert sum(len(sample.messages[1].content) == 9 for sample in samples) > len(samples) / 2


def test_samples_say_that_they_are_traced_and_have_ids_of_their_own(built):
    *_, samples = built
    assert all(sample.metadata["diagnoses"] == "traced" and str(sample.id).startswith("mutation:traced:") for sample in samples)


PROBLEM = Problem(
    "t/total",
    'def total(prices, limit):\n    """Add the prices that are not above the limit."""\n',
    "total",
    "    found = 0\n    for price in prices:\n        if price <= limit:\n            found += price\n    return found\n",
    ("assert total([2, 5, 9], 5) == 7",),
)


def write(operator, tmp_path, problem=PROBLEM):
    reference = answer_program(problem)
    slip = next(m for m in [*mutations(reference), *misreadings(problem)] if m.operator == operator)
    with BuildLog(tmp_path / "log.sqlite") as log:
        execute = Executions(log, Limits(wall_s=3.0))
        return StoryWriter(execute, StorySettings()).write(MutationPlan(problem, (slip.code, reference), (slip,), problem.tests, "1"))


def written(operator, tmp_path, problem=PROBLEM):
    sample = write(operator, tmp_path, problem)
    assert isinstance(sample, Sample)
    return [block.content for block in sample.messages[1].content]


def test_a_condition_is_printed_without_the_one_that_replaces_it(tmp_path):
    *_, probe, printed, diagnosis, _, _ = written("wrong_comparison", tmp_path)
    assert 'print(f"' in probe
    assert probe.endswith("print(total([2, 5, 9], 5))")
    assert "price=5, limit=5, price < limit=False" in printed.split("\n")
    assert "`price < limit`" in diagnosis
    assert "`price <= limit`" in diagnosis


def test_a_value_is_stated_only_if_it_was_printed(tmp_path):
    *_, printed, diagnosis, _, _ = written("wrong_initial_value", tmp_path)
    shown = re.search(r"found=(\S+?)(?:,|$)", printed, re.MULTILINE)
    assert shown is not None
    assert f"`{shown[1]}`" in diagnosis
    assert "`found`" in diagnosis


def test_a_wrong_value_that_nothing_can_be_seen_of_makes_no_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "is_shown", lambda probe, attempt: False)
    rejected = write("wrong_comparison", tmp_path)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "unexplained"
    assert "total([2, 5, 9], 5)" in rejected.detail
    crash = written("misspelt_name", tmp_path)  # its message says what is wrong
    assert len(crash) == 6


@pytest.mark.parametrize("operator", ["early_return", "stops_at_first"])
def test_a_loop_that_is_left_too_early_is_looked_into(operator, tmp_path):
    *_, probe, printed, diagnosis, _, _ = written(operator, tmp_path)
    assert 'print(f"{price=}")' in probe
    assert printed.split("\n")[0] == "price=2"
    assert "`price` is `2`" in diagnosis
    assert f"`{printed.rpartition(chr(10))[2]}`" in diagnosis


def test_a_text_with_an_unsupported_claim_is_no_sample(tmp_path, monkeypatch):
    invented = {**traced_grammar(), "opening": (said := ["I know that the answer is `424242`."]), "task": said}
    monkeypatch.setattr(grammar, "traced_grammar", lambda: invented)
    assert write("wrong_comparison", tmp_path) == Rejected("unsupported_claim", "424242")


def test_a_traceback_through_functions_of_another_cell_is_not_shown():
    cell = "def f(x):\n    return x\n\nprint(g(1))"
    frames = '  File "main.py", line 4, in <module>\n  File "main.py", line 9, in {name}\nValueError'
    assert is_of_cell(frames.format(name="f"), cell)
    assert not is_of_cell(frames.format(name="g"), cell)


def test_every_kind_of_divergence_and_every_slip_can_be_said_in_several_ways():
    table = traced_grammar()
    assert {f"seen.{kind}" for kind in set(get_args(Kind)) - set(BY_THE_TEST)} <= table.keys()
    for symbol in table:
        if symbol.partition(".")[0] in ("seen", "announce", "failure", "fix", "opening", "cause"):
            assert len(set(table[symbol])) >= 2, symbol
    assert {symbol.removeprefix("cause.") for symbol in table if symbol.startswith("cause.")} >= set(OPERATORS)


def test_every_part_of_a_sentence_is_used():
    table = traced_grammar()
    used = {name for texts in table.values() for text in texts for name in re.findall(r"<([\w.]+)>", text)}
    source = "".join(path.read_text(encoding="utf-8") for path in Path(grammar.__file__).parents[1].rglob("*.py"))
    for symbol in (name for name in table if "." not in name):
        assert symbol in used or f'"{symbol}"' in source, symbol


@pytest.mark.parametrize("operator", OPERATORS)
def test_sentences_are_whole_whatever_is_drawn(operator):
    facts = {
        **{field: f"`{field}` is `3`" if field in ("inputs", "gone", "right", "passing") else field for field in FIELDS},
        "operator": operator,
        "round": "third",
    }
    rng = random.Random(operator)
    for symbol in [name for name in traced_grammar() if name.partition(".")[0] in ("seen", "announce", "failure", "fix", "opening")]:
        for _ in range(4):
            text = say(symbol, facts, rng)
            assert re.fullmatch(r"[A-Z`].*[.?]", text), text
            assert not re.search(r"[<>{}]|  |\.\.|[.?] [a-z]| [,.;]", text), text


def test_openings_promise_no_edge_cases():
    for seed in range(200):
        text = say("opening", {"entry_point": "f", "operator": ""}, random.Random(seed))
        assert not any(claim.stated.kind == "tests" for claim in check_blocks("def f", [Block("text", text)]))


def test_a_sentence_whose_facts_are_not_known_is_not_said():
    assert say("seen.call", {"call": "f(1)"}, random.Random(1)) == ""
    assert "{" not in say("failure.equality", {"test": "assert f(1) == 2"}, random.Random(1))


def test_what_is_seen_of_a_session_that_has_gone_on_is_not_said(tmp_path):
    """A default that keeps values has changed when the probe runs, so that no call is made again."""
    body = "    found = []\n    for price in prices:\n        if price <= limit:\n            found.append(price)\n    return found\n"
    tests = ("assert total([2, 9], 5) == [2]", "assert total([3], 5) == [3]")
    *_, probe, printed, said, _, _ = written("mutable_default", tmp_path, replace(PROBLEM, canonical_solution=body, tests=tests))
    assert (probe, printed) == ("print(total.__defaults__)", "([2, 3],)")
    assert "`found = []`" in said
    assert "`[2, 3]`" in said  # of the default, which is what the cell prints
