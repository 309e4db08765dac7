"""The build stage on real problems and a real interpreter."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from reflectioncoder.builder.filters import over_share
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.samples import Sample, read_samples
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session

FILES = ("reflections.jsonl", "rejected.jsonl")


def recipe(tmp_path, problems, **build):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(p.to_json()) + "\n" for p in problems))
    config = BuildConfig(
        **{"problems": (str(path),), "samples_per_problem": 3, "two_slip_share": 0.4, "max_operator_share": 0.5, **build}
    )
    return Recipe("b", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("build")
    chosen = recipe(directory, bundled_problems("train")[::16])
    summary = build_reflections(chosen, directory)
    return chosen, directory, summary, list(read_samples(directory / "reflections.jsonl"))


def test_the_funnel_accounts_for_every_candidate(built):
    _, directory, summary, samples = built
    rejected = [json.loads(line) for line in (directory / "rejected.jsonl").read_text().splitlines()]
    assert summary["num_accepted"] == len(samples) >= 40
    assert sum(summary["rejected"].values()) == len(rejected)
    assert summary["num_candidates"] == len(samples) + len(rejected)
    assert 0 < summary["num_two_slip"] < len(samples)
    assert all(row["reason"] and row["task_id"] and row["operators"] for row in rejected)


def test_samples_have_the_form_of_the_method(built):
    *_, samples = built
    for sample in samples:
        kinds = [block.type for block in sample.messages[1].content]
        slips = len(sample.extra["metadata"]["operators"])
        assert kinds == ["text", "code", "execution"] * (slips + 1)
        assert sample.messages[1].content[-1].content == "All tests passed."
        assert sample.extra["metadata"]["author"] == "mutation"
        assert [m.role for m in sample.messages] == ["user", "assistant", "user", "assistant"]
        final = sample.messages[3].content
        assert len(final) == 1
        assert final[0].content.startswith("```python\n")
        assert final[0].content.endswith("\n```")
        assert "assert" not in final[0].content


def test_attempts_fail_and_every_recorded_execution_is_reproduced(built):
    *_, samples = built
    for sample in samples[::3]:
        blocks = sample.messages[1].content
        code = [b.content for b in blocks if b.type == "code"]
        recorded = [b.content for b in blocks if b.type == "execution"]
        with Session(Limits(wall_s=3.0), detect_isolation()) as session:
            results = [session.run(cell) for cell in code]
        assert [r.output.rstrip("\n") for r in results] == recorded
        assert [r.status == "ok" for r in results] == [False] * (len(code) - 1) + [True]


def test_diagnoses_quote_the_value_that_the_failing_assertion_saw():
    """Also where a call changes the result of the next one: a mutable default."""
    from reflectioncoder.builder.authors.mutation_samples import MutationPlan, write_sample
    from reflectioncoder.builder.cells import Execution
    from reflectioncoder.builder.mutation import mutations
    from reflectioncoder.data.problems import Problem
    from reflectioncoder.data.prompts import answer_program

    body = "    found = []\n    for value in values:\n        if value > 1:\n            found.append(value)\n    return found\n"
    tests = ("assert f([1, 2]) == [2]", "assert f([5]) == [5]")
    problem = Problem("t/f", 'def f(values):\n    """Keep."""\n', "f", body, tests)
    reference = answer_program(problem)
    slip = next(m for m in mutations(reference) if m.operator == "mutable_default")

    def execute(cells):
        with Session(Limits(wall_s=3.0), detect_isolation()) as session:
            return [Execution(r.status, r.output, r.error) for r in map(session.run, cells)]

    sample = write_sample(MutationPlan(problem, (slip.code, reference), (slip,), tests, "1"), execute)
    assert isinstance(sample, Sample)
    diagnosis = sample.messages[1].content[3].content
    assert "`[2, 5]`" in diagnosis
    assert "`f([5])`" in diagnosis


def test_the_final_program_passes_all_tests_of_its_problem(built):
    *_, samples = built
    problems = {p.task_id: p for p in bundled_problems("train")}
    for sample in samples[::5]:
        program = sample.messages[3].text.removeprefix("```python\n").removesuffix("\n```")
        namespace = {}
        exec(program + "\n" + problems[sample.extra["metadata"]["task_id"]].test_code, namespace)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers_and_another_seed_other_data(built, tmp_path):
    chosen, *_ = built
    again = replace(chosen, sandbox=replace(chosen.sandbox, workers=5))
    build_reflections(again, tmp_path / "again", limit=6)
    build_reflections(chosen, tmp_path / "first", limit=6)
    build_reflections(replace(chosen, seed=1), tmp_path / "other", limit=6)
    first, same, other = ([(tmp_path / d / f).read_bytes() for f in FILES] for d in ("first", "again", "other"))
    assert first == same
    assert first[0] != other[0]


def executions_in(log):
    """How many executions a build has logged so far."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT COUNT(*) FROM entries WHERE kind = 'execution'").fetchone()[0]
    except sqlite3.Error:  # not there yet, or not readable at this moment
        return 0


@pytest.mark.long
def test_a_build_killed_at_any_time_continues_and_gives_the_same_bytes(built, tmp_path):
    chosen, directory, *_ = built
    script = (
        "import sys, json\nfrom pathlib import Path\nfrom reflectioncoder.builder.pipeline import build_reflections\n"
        "from reflectioncoder.config.building import BuildConfig\n"
        "from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig\n"
        f"r = Recipe('b', ModelConfig('none'), build=BuildConfig(problems=({chosen.build.problems[0]!r},), samples_per_problem=3,"
        "two_slip_share=0.4, max_operator_share=0.5), sandbox=SandboxConfig(workers=2))\n"
        f"print(json.dumps(build_reflections(r, Path({str(tmp_path)!r}))))"
    )
    for num_logged in (1, 20, 60):  # what is done decides when it is killed, not the time, which a busy machine stretches
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and executions_in(tmp_path / "log.sqlite") < num_logged:
            time.sleep(0.002)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    final = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [(tmp_path / f).read_bytes() for f in FILES] == [(directory / f).read_bytes() for f in FILES]
    assert json.loads(final.stdout)["num_replayed"] > 0


def test_a_problem_whose_reference_fails_is_rejected_with_its_output(tmp_path):
    good = bundled_problems("train")[0]
    bad = replace(good, task_id="x/bad", tests=(*good.tests[:5], f"assert {good.entry_point} is None"))
    bare = replace(good, task_id="x/bare", canonical_solution="")
    summary = build_reflections(recipe(tmp_path, [good, bad, bare]), tmp_path / "out")
    assert summary["num_problems_with_samples"] == 1
    assert summary["rejected"]["reference_fails"] == summary["rejected"]["no_reference"] == 1
    rows = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]
    assert [(row["task_id"], row["reason"]) for row in rows[:2]] == [("x/bad", "reference_fails"), ("x/bare", "no_reference")]
    assert "AssertionError" in rows[0]["detail"]


def test_too_few_samples_are_an_error_with_the_reasons(tmp_path):
    with pytest.raises(CheckFailedError, match=r"build\.min_samples is 50"):
        build_reflections(recipe(tmp_path, bundled_problems("train")[:2], min_samples=50), tmp_path / "out")


def test_no_operator_exceeds_its_share_after_the_filter(built):
    *_, samples = built
    kept = [s for i, s in enumerate(samples) if i not in over_share([s.extra["metadata"]["operators"] for s in samples], 0.15)]
    counts = Counter(name for s in kept for name in s.extra["metadata"]["operators"])
    assert len(kept) > len(samples) / 2
    assert max(counts.values()) <= 0.15 * sum(counts.values()) + 1e-9
