"""A real cluster of Ray: two nodes of this machine, each with processes of its own. One is killed in the middle of each command.

The costs of a cluster are those of starting it: there is one for all tests, and each adds the node that it kills.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import read_jsonl, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.shards import Shard
from tests.builder.server import Script, serving

pytest.importorskip("ray", reason="ray is not installed: the extra brings it")
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
NUM_TASKS = 12
SERVER = "reflectioncoder.sandbox.runtime.server"


class Cluster:
    """Two nodes, with temporary folders of their own in `folder`."""

    def __init__(self, folder: Path):
        from ray.cluster_utils import Cluster as RayCluster  # pyright: ignore[reportMissingImports]

        self.folder = folder
        self._ray = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1, "temp_dir": str(folder / "ray")})
        self.address = self._ray.address
        self._second: Any = None

    def add_node(self):
        self._second = self._ray.add_node(num_cpus=1)

    def kill_node(self):
        """End all processes of the second node by SIGKILL; returns the fork servers that were on both nodes."""
        pids = [process.process.pid for kind in self._second.all_processes.values() for process in kind]
        servers = self.servers()
        below = [child for pid in pids for child in psutil.Process(pid).children(recursive=True)]
        for pid in [*pids, *(child.pid for child in below if "ray::" in "".join(cmdline(child)))]:
            os.kill(pid, signal.SIGKILL)
        return servers

    def servers(self):
        """The fork servers below nodes of this cluster."""
        raylets = [process for process in psutil.Process().children() if "raylet" in " ".join(cmdline(process)[:1])]
        below = [child for raylet in raylets for child in raylet.children(recursive=True)]
        return [process for process in below if SERVER in " ".join(cmdline(process))]

    def entrypoints(self):
        """What the cluster tells everybody of its jobs."""
        from ray._raylet import GcsClient  # pyright: ignore

        return {job.entrypoint for job in GcsClient(address=self.address).get_all_job_info().values()}

    def boxes(self):
        return [path.name for path in self.folder.glob("reflectioncoder-*")]

    def shutdown(self):
        self._ray.shutdown()


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="rc"))  # short: Ray's sockets lie in it
    before = {name: os.environ.get(name) for name in ("TMPDIR", "RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness")}
    os.environ.update(TMPDIR=str(folder), RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def command(*argv, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "reflectioncoder", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def wait_until(reached, process):
    while not reached():
        assert process.poll() is None, f"it ended before: {process.stderr.read()}"
        time.sleep(0.02)


def require_nothing_left(cluster, servers):
    assert servers, "no fork server was ever seen"
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert not alive
    assert not cluster.boxes()


def without_time_and_place(path):
    return [{n: v for n, v in row.items() if n not in ("duration_s", "node")} for _, row in read_jsonl(path)]


def test_verdicts_of_one_machine_of_shards_and_of_a_cluster_that_loses_a_node_are_equal(cluster, tmp_path):
    """One node is killed while the other, on the same cores as a busy process, is at work."""
    rows = []
    for number, problem in enumerate(bundled_problems("test_seen")[:NUM_TASKS]):
        wrong = problem.prompt + ("    while True: pass\n" if number == 3 else "    return None\n")
        rows += [{"task_id": problem.task_id, "solution": solution} for solution in (problem.reference, wrong, problem.reference)]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    score = ["score", str(tmp_path / "samples.jsonl"), "--benchmark", f"bundled/seen:{NUM_TASKS}", "--workers", "1", "--wall-s", "1"]
    one, shards, two = tmp_path / "one", tmp_path / "shards", tmp_path / "two"
    assert main([*score, "--output", str(one), "-q"]) == 0
    for index in range(1, 5):
        assert main([*score, "--output", str(shards), "--shard", f"{index}/4", "-q"]) == 0
    assert main(["merge", *(str(shards / Shard(index, 4).folder) for index in range(1, 5)), "--output", str(shards), "-q"]) == 0
    cluster.add_node()
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        process = command(*score, "--output", str(two), "--ray", cluster.address, "--json")
        log = two / "samples.jsonl"
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 4, process)
        servers = cluster.kill_node()
        result, said = process.communicate(timeout=600)
    finally:
        busy.kill()
        busy.wait()
    assert process.returncode == 0, said
    assert json.loads(result)["benchmark"]["name"] == "bundled/seen", "what Ray prints is among the results"
    assert "cluster: 2 nodes, 2 cores" in said
    assert "done again elsewhere" in said, said
    assert cluster.entrypoints() == {"reflectioncoder"}, "others see the command line"
    for other in (shards, two):
        assert without_time_and_place(other / "samples.jsonl") == without_time_and_place(one / "samples.jsonl")
        assert (other / "results.json").read_bytes() == (one / "results.json").read_bytes()
    assert all(row["node"]["host"] and row["node"]["tier"] >= 1 for _, row in read_jsonl(log))
    require_nothing_left(cluster, servers)


def test_a_build_that_loses_a_node_is_that_of_one_machine_and_asks_nothing_twice(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = [problem for problem in bundled_problems("train") if problem.grade == 1][:6]
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in chosen])
    (tmp_path / "d.yaml").write_text("name: d\nmodel: {name: none}\nbuild: {problems: [problems.jsonl]}\n")
    script = Script(chosen, latency_s=0.1)
    with serving(script) as url:
        settings = ["author=openai", "endpoint.model=scripted", f"endpoint.base_url={url}", "rollouts=3", "min_samples=0"]
        given = [f"--set=build.{setting}" for setting in (*settings, "min_killed_mutants=0", "budget_tokens=1000000")]
        assert main(["build", "d.yaml", *given, "--runs-dir", "one", "-q"]) == 0
        num_requests = script.num_requests
        cluster.add_node()
        process = command("build", "d.yaml", *given, "--runs-dir", "two", "--ray", cluster.address)
        wait_until(lambda: script.num_requests >= num_requests + num_requests // 3, process)
        servers = cluster.kill_node()
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert "done again elsewhere" in said or "lost" in said, said
    assert script.num_requests == 2 * num_requests, "something was asked twice"
    assert max(script.answered.values()) == 2
    one, two = (tmp_path / runs / "d" / "build" for runs in ("one", "two"))
    for name in ("reflections.jsonl", "rejected.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    spent = [json.loads((folder / "build.json").read_text()) for folder in (one, two)]
    assert [summary["input_tokens"] for summary in spent] == [100 * num_requests] * 2
    require_nothing_left(cluster, servers)


def test_ctrl_c_ends_everything_and_the_next_command_goes_on(cluster, tmp_path):
    problems = bundled_problems("test_seen")[:NUM_TASKS]
    slow = "\n".join(["    import time", "    time.sleep(0.2)", "    return None"])
    rows = [{"task_id": problem.task_id, "solution": f"{problem.prompt}{slow}\n"} for problem in problems]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    score = ["score", str(tmp_path / "samples.jsonl"), "--benchmark", f"bundled/seen:{NUM_TASKS}", "--output", str(tmp_path / "out")]
    process = command(*score, "--ray", HOME=str(tmp_path))  # a cluster of its own
    log = tmp_path / "out" / "samples.jsonl"
    wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 3, process)
    below = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "to continue: reflectioncoder score" in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not [cmdline(process) for process in alive]
    assert not cluster.boxes()
    assert not (tmp_path / ".ray").exists(), "Ray leaves a token, and refuses the next cluster without it"
    kept = log.read_bytes().splitlines()
    assert 3 <= len(kept) < NUM_TASKS
    assert main([*score, "-q"]) == 0
    assert set(kept) <= set(log.read_bytes().splitlines()), "what was judged was judged again"
