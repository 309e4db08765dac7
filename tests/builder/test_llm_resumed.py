"""A build that is stopped or killed and run again asks nothing twice and writes the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import yaml

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.errors import MachineError, UsageError
from tests.builder.scripted_recipe import PROBLEMS, make_recipe
from tests.builder.server import Script, serving
from tests.tiers import part


def test_a_build_that_is_run_again_asks_nothing_and_writes_the_same_bytes(tmp_path):
    script = Script(PROBLEMS)
    with serving(script) as url:
        build_reflections(make_recipe(url), tmp_path, limit=4)
        asked, first = script.num_requests, (tmp_path / "reflections.jsonl").read_bytes()
        summary = build_reflections(make_recipe(url), tmp_path, limit=4)
        assert script.num_requests == asked
        assert summary["num_requests"] == summary["num_executions"] == 0
        assert (tmp_path / "reflections.jsonl").read_bytes() == first


def test_other_settings_are_refused_unless_forked(tmp_path):
    script = Script(PROBLEMS)
    with serving(script) as url:
        build_reflections(make_recipe(url), tmp_path, limit=1)
        changed = make_recipe(url, max_executions=3)
        with pytest.raises(UsageError, match=r"setting: build.max_executions\n  before:  5\n  now:     3"):
            build_reflections(changed, tmp_path, limit=1)
        asked = script.num_requests
        build_reflections(changed, tmp_path, limit=1, fork=True)
        assert script.num_requests == asked  # the questions are the same
        build_reflections(replace(changed, build=replace(changed.build, rollouts=2)), tmp_path, limit=1, fork=True)
        assert script.num_requests > asked


@pytest.mark.long
@pytest.mark.timeout(280)
def test_a_build_killed_at_random_points_ends_with_the_same_bytes_and_asks_hardly_more(tmp_path):
    script = Script(PROBLEMS, latency_s=0.03)
    with serving(script) as url:
        recipe = tmp_path / "r.yaml"

        def write(name):
            build = {
                "author": "openai", "min_killed_mutants": 0.3,
                "endpoint": {"base_url": url, "model": "scripted", "max_in_flight": 4},
            }  # fmt: skip
            recipe.write_text(yaml.safe_dump({"name": name, "model": {"name": "none"}, "build": build}))
            return [sys.executable, "-m", "reflectioncoder", "build", str(recipe), "--limit", "40", "--runs-dir", str(tmp_path)]

        subprocess.run(write("whole"), check=True, capture_output=True)
        needed, script.num_requests = script.num_requests, 0
        command, rng, killed = write("cut"), random.Random(7), 0
        for _ in part(range(6), 2):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            before = script.num_requests
            wanted = before + rng.randrange(1, max(2, needed // 6))
            while process.poll() is None and script.num_requests < wanted:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.03)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.wait()
        subprocess.run(command, check=True, capture_output=True)
    assert killed >= len(part(range(6), 2)) - 1
    for name in ("reflections.jsonl", "rejected.jsonl"):
        assert (tmp_path / "cut/build" / name).read_bytes() == (tmp_path / "whole/build" / name).read_bytes()
    # Only what was in flight at a kill is asked again.
    assert needed <= script.num_requests <= needed + 4 * killed
    cut, whole = (json.loads((tmp_path / name / "build/build.json").read_text()) for name in ("cut", "whole"))
    for key in ("input_tokens", "output_tokens", "num_accepted", "rejected"):
        assert cut[key] == whole[key]


def test_two_builds_in_one_folder_are_one_too_many(tmp_path):
    with BuildLog(tmp_path / "log.sqlite"), pytest.raises(MachineError, match="another build"):
        BuildLog(tmp_path / "log.sqlite")


@pytest.mark.long
def test_ctrl_c_does_not_wait_for_the_dialogues(tmp_path):
    with serving(Script(PROBLEMS, latency_s=0.5)) as url:
        recipe = tmp_path / "r.yaml"
        endpoint = {"base_url": url, "model": "scripted", "max_in_flight": 4}
        recipe.write_text(yaml.safe_dump({"name": "r", "model": {"name": "none"}, "build": {"author": "openai", "endpoint": endpoint}}))
        command = [sys.executable, "-m", "reflectioncoder", "build", str(recipe), "--runs-dir", str(tmp_path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "to continue" in log
