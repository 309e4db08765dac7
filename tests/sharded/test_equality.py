"""Shards, one of them killed in the middle, and merge write what one machine writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reflectioncoder.cli import main
from reflectioncoder.contamination import records
from reflectioncoder.data.files import read_jsonl, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.shards import Shard
from tests.builder.server import Script, serving

PUBLISHED = Path(os.environ.get("REFLECTIONCODER_DATA", "absent"), "generations", "ReflectionCoder-DS-6.7B", "humaneval.jsonl")


def command(*argv):
    assert main([*argv, "-q"]) == 0


def killed(log, num_lines, *argv):
    """Start a command and kill it when its log has some lines; what is done decides, not the time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reflectioncoder", *argv, "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < num_lines):
        time.sleep(0.002)
    assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def without_times(path):
    return [{**row, "duration_s": 0} for _, row in read_jsonl(path)]


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no benchmark data: the published completions are not here")
def test_scores_of_shards_are_those_of_one_machine(tmp_path):
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(PUBLISHED.read_text().splitlines(keepends=True)[:16]))
    score = ("score", str(samples), "--benchmark", "humaneval:16", "--format", "evalplus", "--format", "eee", "--workers", "1")
    command(*score, "--output", str(tmp_path / "one"))
    sharded = tmp_path / "sharded"
    second = sharded / Shard(2, 2).folder
    killed(second / "samples.jsonl", 2, *score, "--output", str(sharded), "--shard", "2/2")
    torn = (second / "samples.jsonl").read_bytes()
    (second / "samples.jsonl").write_bytes(torn[:-20])
    assert not (second / "done.json").exists()
    for shard in ("1/2", "2/2"):
        command(*score, "--output", str(sharded), "--shard", shard)
    before = (second / "samples.jsonl").read_bytes()
    assert before.startswith(torn.splitlines(keepends=True)[0]), "what was judged before the kill was judged again"
    command(*score, "--output", str(sharded), "--shard", "2/2")
    assert (second / "samples.jsonl").read_bytes() == before
    for _ in range(2):
        command("merge", str(second), str(sharded / Shard(1, 2).folder), "--output", str(sharded))
    assert without_times(sharded / "samples.jsonl") == without_times(tmp_path / "one" / "samples.jsonl")
    assert (sharded / "results.json").read_bytes() == (tmp_path / "one" / "results.json").read_bytes()
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert {path.name for path in sharded.iterdir() if path.is_file()} == names
    assert (sharded / "samples.eval_results.json").is_file()


RECIPE = """
name: b
model: {name: none}
build:
  author: mutation
  problems: [problems.jsonl]
  samples_per_problem: 2
  two_slip_share: 0.4
  max_operator_share: 0.1
sandbox: {workers: 2}
"""
FILES = ("reflections.jsonl", "rejected.jsonl")
NUM_PROBLEMS = 7
OF_A_SESSION = ("duration_s", "num_executions", "num_replayed", "num_requests", "num_replayed_requests", "forecast", "session")


@pytest.fixture
def problems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFLECTIONCODER_DATA", raising=False)  # comparing with benchmarks takes most of the time
    _forget_benchmarks()
    chosen = [problem for problem in bundled_problems("train") if problem.grade == 1][::9]
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in chosen[:NUM_PROBLEMS]])
    (tmp_path / "b.yaml").write_text(RECIPE)
    yield
    _forget_benchmarks()


def _forget_benchmarks():
    """Let this process look for benchmark data anew, as the process of a shard does."""
    for known in vars(records).values():
        if hasattr(known, "cache_clear"):
            known.cache_clear()


def summary_of(folder):
    summary = json.loads((folder / "build.json").read_text())
    return {name: value for name, value in summary.items() if name not in OF_A_SESSION}


@pytest.mark.long
def test_samples_of_shards_are_those_of_one_machine(problems, tmp_path):
    """With an author whose choices depend on all problems: what shards have not foreseen is made by merge."""
    command("build", "b.yaml", "--runs-dir", "one")
    folder = tmp_path / "sharded" / "b" / "build"
    build = ("build", "b.yaml", "--runs-dir", "sharded", "--shard")
    log = folder / Shard(1, 2).folder / "log.sqlite-wal"
    killed(log, 10, *build, "1/2")
    for shard in ("1/2", "2/2"):
        command(*build, shard)
    shards = [str(folder / Shard(index, 2).folder) for index in (1, 2)]
    command("merge", *shards, "--output", str(folder))
    one = tmp_path / "one" / "b" / "build"
    assert [(folder / name).read_bytes() for name in FILES] == [(one / name).read_bytes() for name in FILES]
    assert summary_of(folder) == summary_of(one)
    made = json.loads((folder / "build.json").read_text())
    assert made["num_replayed"] > 2 * made["num_executions"], "merge made anew what the shards had made"
    assert made["rejected"]["operator_share"] > 0


def test_dialogues_of_shards_are_those_of_one_machine(problems, tmp_path):
    """What a model is asked is asked once, by the shard; samples that resemble those of other shards are left out by merge."""
    script = Script(bundled_problems("train"))
    settings = [
        "author=openai",
        "endpoint.model=scripted",
        "endpoint.extra_body={token: hunter2}",
        "rollouts=2",
        "near_duplicates=0.6",
        "min_samples=0",
        "min_killed_mutants=0",
    ]
    recipe = tmp_path / "d.yaml"
    recipe.write_text("name: d\nmodel: {name: none}\nbuild: {problems: [problems.jsonl]}\n")
    with serving(script) as url:
        given = [f"--set=build.{setting}" for setting in (*settings, f"endpoint.base_url={url}")]
        command("build", "d.yaml", *given, "--runs-dir", "one")
        num_requests = script.num_requests
        for shard in ("1/3", "2/3", "3/3"):
            command("build", "d.yaml", *given, "--runs-dir", "sharded", "--shard", shard)
    folder, one = (tmp_path / runs / "d" / "build" for runs in ("sharded", "one"))
    shards = [folder / Shard(index, 3).folder for index in (1, 2, 3)]
    assert not any("hunter2" in (shard / "shard.json").read_text() for shard in shards)
    command("merge", *map(str, shards), "--output", str(folder))
    assert [(folder / name).read_bytes() for name in FILES] == [(one / name).read_bytes() for name in FILES]
    assert summary_of(folder) == summary_of(one)
    assert summary_of(one)["rejected"]["near_duplicate"] > 0
    merged = [(folder / name).read_bytes() for name in FILES]
    command("build", "d.yaml", *given, "--runs-dir", "sharded")
    assert script.num_requests == 2 * num_requests, "the merged log does not hold the answers"
    assert [(folder / name).read_bytes() for name in FILES] == merged
