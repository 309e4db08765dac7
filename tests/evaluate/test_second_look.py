"""Verdicts that rest on a limit are taken again, on as many cores as are idle, and come out as they do alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge, SolutionJudge
from reflectioncoder.evaluate.judges.evalplus.data import function_tests
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, request_for
from reflectioncoder.evaluate.score import SampleToScore, Scorer, score_samples
from reflectioncoder.sandbox import cores
from reflectioncoder.sandbox.cores import idle_cores
from reflectioncoder.sandbox.limits import Limits

ROW = {"task_id": "t/0", "prompt": "", "canonical_solution": "def f(x): return x\n", "atol": 0}
PLUS = {**ROW, "base_input": [[1], [2]], "plus_input": [[3], [4]]}
# By the rules of 0.3.1 an input has one second; a first run in company has 0.3 s.
SLEEPS = "import time\ndef f(x):\n    if x == {}: time.sleep({})\n    return {}\n"
PROGRAMS = {
    "def f(x): return x\n": "passed",
    "def f(x): return 5\n": "failed",
    SLEEPS.format(1, 0.5, "x"): "passed",
    SLEEPS.format(2, 0.5, "-x"): "failed",
    SLEEPS.format(4, 0.5, "x"): "passed",
    SLEEPS.format(4, 0.5, "7 if x == 4 else x"): "failed",
    SLEEPS.format(2, 4, "x"): "timeout",
    SLEEPS.format(3, 4, "x"): "timeout",
    SLEEPS.format(3, 90, "x"): "timeout",
    "def f(x):\n    while True: pass\n": "timeout",
    "def f(x):\n    while x > 3: pass\n    return x\n": "timeout",
}


@pytest.fixture
def steady(monkeypatch, tmp_path):
    """A machine that is always as fast as when the reference was timed."""
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    for module in ("judge", "reference"):
        monkeypatch.setattr(f"reflectioncoder.evaluate.judges.evalplus.{module}.slowness", lambda: 0.01)
    monkeypatch.setattr("reflectioncoder.evaluate.judges.evalplus.reference._slowness_now", lambda: 0.01)


def _samples(tests, programs, judge: Any = EvalPlusJudge(("base", "plus"))):  # noqa: B008 (frozen)
    task = Task("t/0", "", "f", tests)
    return Benchmark("t", "1", "", (task,), judge, request_for), [
        SampleToScore(task, number, program) for number, program in enumerate(programs)
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "idle",
    [[], pytest.param([0], marks=pytest.mark.slow), sorted(os.sched_getaffinity(0))[:2], [0, 1, 10**6]],
    ids=["none", "one", "two", "strange"],
)
def test_verdicts_are_the_same_on_any_number_of_idle_cores(idle, steady, monkeypatch, tmp_path):
    monkeypatch.setattr("reflectioncoder.evaluate.second_look.idle_cores", lambda: idle)
    benchmark, samples = _samples(function_tests("humaneval", PLUS), PROGRAMS)
    rows = score_samples(samples, tmp_path / "samples.jsonl", Scorer(benchmark, rules="evalplus-0.3.1"))
    assert {row["solution"]: row["status"] for row in rows} == PROGRAMS
    assert [row["on_limit"] for row in rows] == [status == "timeout" for status in PROGRAMS.values()]


def test_what_passes_only_within_longer_limits_is_judged_alone(steady, monkeypatch, tmp_path):
    monkeypatch.setattr("reflectioncoder.evaluate.second_look.idle_cores", lambda: [0, 1])
    monkeypatch.setattr(
        "reflectioncoder.evaluate.judges.evalplus.judge.SHARED_FACTOR", 20.0
    )  # so that the machine's load does not decide
    looks = []
    real = Scorer.judge

    def judge(self, task, solution, look):
        looks.append((solution, "shared" if look.core is not None else "alone" if look.alone else "first"))
        return real(self, task, solution, look)

    monkeypatch.setattr(Scorer, "judge", judge)
    programs = [SLEEPS.format(4, 1.2, "x"), SLEEPS.format(4, 0.4, "x"), "def f(x): return x\n"]
    benchmark, samples = _samples(function_tests("humaneval", PLUS), programs)
    rows = score_samples(samples, tmp_path / "samples.jsonl", Scorer(benchmark, rules="evalplus-0.3.1"))
    assert [row["status"] for row in rows] == ["timeout", "passed", "passed"]
    assert [how for solution, how in looks if solution == programs[0]] == ["first", "shared", "alone"]
    assert (programs[2], "first") in looks
    assert [how for solution, how in looks if solution == programs[2]] == ["first"]


def test_a_part_that_was_certain_is_not_judged_again(steady, monkeypatch, tmp_path):
    monkeypatch.setattr("reflectioncoder.evaluate.second_look.idle_cores", list)
    judged = []
    benchmark, samples = _samples(function_tests("humaneval", PLUS), [SLEEPS.format(4, 0.5, "x"), SLEEPS.format(1, 0.5, "x")])
    scorer = Scorer(benchmark, rules="evalplus-0.3.1")
    assert isinstance(scorer.judging, SolutionJudge)
    real = scorer.judging.functions.judge_part
    monkeypatch.setattr(
        scorer.judging.functions,
        "judge_part",
        lambda *a, alone, **k: judged.append((a[4], a[3], alone)) or real(*a, alone=alone, **k),
    )
    rows = score_samples(samples, tmp_path / "samples.jsonl", scorer)
    assert [row["status"] for row in rows] == ["passed", "passed"]
    assert [(solution, part) for solution, part, alone in judged if alone] == [
        (samples[0].solution, "plus"),
        (samples[1].solution, "base"),
    ]


@pytest.mark.long
def test_tests_that_are_programs_are_taken_again_too(monkeypatch, tmp_path):
    monkeypatch.setattr("reflectioncoder.evaluate.second_look.idle_cores", lambda: [0, 1])
    programs = {
        "import time\ntime.sleep(2.5)\ndef f(x): return x\n": "passed",
        "def f(x): return x\n": "passed",
        "while True: pass\n": "timeout",
        "import time\ntime.sleep(90)\n": "timeout",
    }
    benchmark, samples = _samples(ProgramTests(("assert f(1) == 1",)), programs, ProgramsJudge())
    rows = score_samples(samples, tmp_path / "samples.jsonl", Scorer(benchmark, Limits(wall_s=5, cpu_s=30)))
    assert {row["solution"]: row["status"] for row in rows} == programs


ticks = st.dictionaries(st.integers(0, 7), st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=8)


@given(ticks, st.sets(st.integers(0, 7)), st.sampled_from([1, 2, 4]))
def test_a_core_is_idle_if_all_its_processors_are(spent, usable, threads):
    looks = iter([dict.fromkeys(range(8), (1000, 1000)), {n: (1000 + busy, 1000 + idle) for n, (busy, idle) in spent.items()}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cores, "_busy_and_idle", lambda: next(looks))
        patch.setattr(cores, "_siblings", lambda number: {n for n in range(8) if n // threads == number // threads})
        patch.setattr(os, "sched_getaffinity", lambda _: usable)
        found = idle_cores(0)
    assert set(found) <= usable
    assert len({number // threads for number in found}) == len(found)
    for number in usable:
        siblings = [n for n in range(8) if n // threads == number // threads]
        free = all(n in spent and spent[n][1] > 0 and 9 * spent[n][0] <= spent[n][1] for n in siblings)
        assert free == any(n // threads == number // threads for n in found)


def _burn(core):
    os.sched_setaffinity(0, {core})
    while True:
        pass


def test_a_core_at_work_is_not_idle():
    number = min(os.sched_getaffinity(0))
    loop = multiprocessing.get_context("spawn").Process(target=_burn, args=(number,), daemon=True)
    loop.start()
    with contextlib.ExitStack() as stack:
        stack.callback(loop.kill)
        while number in (found := idle_cores()):
            assert loop.is_alive()
    assert len(found) < len(os.sched_getaffinity(0))


@pytest.mark.parametrize("missing", ["/proc/stat", "topology"])
def test_where_the_system_does_not_tell_no_core_is_idle(missing, monkeypatch, tmp_path):
    if missing == "topology":
        monkeypatch.setattr(cores, "_TOPOLOGY", str(tmp_path / "{}"))
    else:
        monkeypatch.setattr(cores, "_busy_and_idle", lambda: (_ for _ in ()).throw(OSError))
    assert idle_cores(0) == []
