"""Work on nodes gives what one machine gives, whatever becomes of nodes; and which nodes are refused. Without Ray."""

import argparse
import errno
import json
import sys
import threading
from collections import Counter
from dataclasses import replace

import pytest

from reflectioncoder.cli import main
from reflectioncoder.cluster import crew, judging, node
from reflectioncoder.commands import wanted_cluster
from reflectioncoder.data.files import read_jsonl, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import SandboxUnavailableError, UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.judges.base import ALONE, Look, Verdict
from reflectioncoder.evaluate.score import Scorer
from tests.builder.server import serving
from tests.cluster.nodes import Cluster, Thread
from tests.conftest import reflection_sample
from tests.sharded.test_commands import Solutions

NUM_TASKS = 6
SCORE = ("--benchmark", f"bundled/seen:{NUM_TASKS}", "--workers", "1", "-q")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    rows = []
    for number, problem in enumerate(bundled_problems("test_seen")[:NUM_TASKS]):
        rows.append({"task_id": problem.task_id, "solution": problem.reference})
        wrong = problem.prompt + ("    while True: pass\n" if number == 1 else "    return None\n")
        rows.append({"task_id": problem.task_id, "solution": wrong})
    write_jsonl(folder / "samples.jsonl", rows)
    assert main(["score", str(folder / "samples.jsonl"), *SCORE, "--wall-s", "0.5", "--output", str(folder / "one")]) == 0
    return folder


@pytest.fixture
def on(samples, tmp_path, monkeypatch):
    """Score the samples on a cluster; returns the exit code and the folder."""

    def score(cluster, *more):
        monkeypatch.setattr(crew, "connected", cluster.connected)
        argv = ["score", str(samples / "samples.jsonl"), *SCORE, "--wall-s", "0.5", "--output", str(tmp_path / "out"), "--ray", *more]
        return main(argv), tmp_path / "out"

    return score


def rows_of(folder):
    """The rows without what tells of time and place."""
    return [{n: v for n, v in row.items() if n not in ("duration_s", "node")} for _, row in read_jsonl(folder / "samples.jsonl")]


def require_equal(folder, samples):
    assert rows_of(folder) == rows_of(samples / "one")
    assert (folder / "results.json").read_bytes() == (samples / "one" / "results.json").read_bytes()


def test_two_nodes_give_the_verdicts_of_one_machine_and_say_where(samples, on):
    cluster = Cluster()
    code, folder = on(cluster)
    assert code == 0
    require_equal(folder, samples)
    assert all(process.num_jobs for process in cluster.started), "a node had nothing to do"
    nodes = [row["node"] for _, row in read_jsonl(folder / "samples.jsonl")]
    assert {node["host"] for node in nodes} == {"one", "two"}
    assert all(node["isolation"] and node["calibration_s"] > 0 for node in nodes)
    before = (folder / "samples.jsonl").read_bytes()
    again = Cluster()
    assert on(again)[0] == 0
    assert not any(process.num_jobs for process in again.started), "what was judged was judged again"
    assert (folder / "samples.jsonl").read_bytes() == before


def lose_in_the_middle(cluster, num_jobs):
    def spoil(process):
        if process.num_jobs >= num_jobs and not process.is_lost:
            cluster.hosts.remove(process.ray_node.address)
            process.lose()

    return spoil


def test_what_a_lost_node_had_is_done_elsewhere(samples, on):
    cluster = Cluster()
    cluster.spoil["two"] = lose_in_the_middle(cluster, 2)
    code, folder = on(cluster)
    assert code == 0
    require_equal(folder, samples)
    assert cluster.started[1].is_lost


def test_a_process_that_is_lost_alone_starts_anew_on_its_node(samples, on):
    cluster = Cluster(hosts=["one"])
    cluster.spoil["one"] = lambda process: len(cluster.started) > 1 or process.num_jobs < 2 or process.lose()
    code, folder = on(cluster)
    assert code == 0
    require_equal(folder, samples)
    assert len(cluster.started) == 2


def test_without_any_node_left_what_was_done_is_kept(samples, on, capsys):
    cluster = Cluster(hosts=["one"])
    cluster.spoil["one"] = lose_in_the_middle(cluster, 5)
    code, folder = on(cluster)
    assert code == 3
    assert "no node is left" in capsys.readouterr().err
    num_kept = len((folder / "samples.jsonl").read_bytes().splitlines())
    assert 0 < num_kept < 2 * NUM_TASKS
    again = Cluster()
    assert on(again)[0] == 0
    require_equal(folder, samples)


def test_work_that_takes_every_node_with_it_is_named_as_the_cause(on, capsys):
    cluster = Cluster(hosts=["one"], spoil={"one": Thread.lose})
    code, _ = on(cluster)
    assert code == 3
    assert "the same work was lost with 3 nodes, and may be the cause" in capsys.readouterr().err
    assert len(cluster.started) == 3


@pytest.fixture
def failing(monkeypatch):
    """Let nodes fail: host → what is raised for each job."""
    errors, opened = {}, judging.Judging.open

    def open_duty(duty, facts, workers):
        def do(job):
            if facts.host in errors:
                raise errors[facts.host]
            return there.do(job)

        there = opened(duty, facts, workers)
        return replace(there, do=do)

    monkeypatch.setattr(judging.Judging, "open", open_duty)
    return errors


def test_what_a_node_with_a_full_disk_cannot_do_is_done_elsewhere(samples, on, failing):
    failing["two"] = OSError(errno.ENOSPC, "No space left on device")
    cluster = Cluster()
    code, folder = on(cluster)
    assert code == 0
    require_equal(folder, samples)
    assert {row["node"]["host"] for _, row in read_jsonl(folder / "samples.jsonl")} == {"one"}
    assert cluster.started[1].num_jobs


def test_what_no_node_can_run_has_no_verdict_and_is_run_again_next_time(samples, on, failing, capsys):
    for host in ("one", "two"):
        failing[host] = SandboxUnavailableError("broken")
    code, folder = on(Cluster())
    assert code == 3
    assert "could not be run in the sandbox" in capsys.readouterr().err
    assert {row["status"] for _, row in read_jsonl(folder / "samples.jsonl")} == {"sandbox_error"}
    failing.clear()
    assert on(Cluster())[0] == 0
    require_equal(folder, samples)


def test_nodes_of_other_versions_are_refused(on, capsys):
    other = {**node.versions(), "python": "3.11.0"}
    code, folder = on(Cluster({"two": {"versions": other}}))
    assert code == 3
    error = capsys.readouterr().err
    assert "two (two, process" in error or "two has other versions" in error
    assert "3.11.0" in error
    assert not folder.exists() or not list(folder.iterdir())


def test_nodes_of_different_isolation_are_refused_unless_a_floor_is_given(samples, on, capsys):
    weaker = {"two": {"isolation": "landlock", "tier": 1}}
    code, _ = on(Cluster(weaker))
    assert code == 3
    assert "confine programs in different ways" in capsys.readouterr().err
    code, _ = on(Cluster(weaker), "--floor", "2")
    assert code == 3
    assert "tier 2 is demanded" in capsys.readouterr().err
    code, folder = on(Cluster(weaker), "--floor", "1")
    assert code == 0
    assert json.loads((folder / "results.json").read_text())["sandbox"]["isolation"]["name"] == "landlock"
    assert {row["node"]["tier"] for _, row in read_jsonl(folder / "samples.jsonl")} > {1}


def test_nodes_with_other_data_are_refused(on, monkeypatch, capsys):
    monkeypatch.setattr(judging.Judging, "open", lambda duty, facts, workers: node.OpenDuty(len, 1, {"benchmark": "other"}))
    code, _ = on(Cluster())
    assert code == 3
    assert "(first what is here, then what is there)\n  benchmark: " in (said := capsys.readouterr().err)
    assert "REFLECTIONCODER_DATA" in said


def test_a_setting_that_a_node_does_not_know_is_told_in_full(on, monkeypatch, capsys):
    def detect():
        raise UsageError.for_value("unknown isolation", "REFLECTIONCODER_ISOLATION", "strongest", ["auto", "landlock"])

    monkeypatch.setattr(node, "detect_isolation", detect)
    code, _ = on(Cluster())
    assert code == 3
    assert (
        "one: unknown isolation\n  where:   REFLECTIONCODER_ISOLATION\n  got:     'strongest'\n  allowed: auto"
        in capsys.readouterr().err
    )


def test_nodes_are_told_where_a_relative_data_directory_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = argparse.Namespace(ray="auto", shard=None, data_dir="data")
    assert wanted_cluster(args, 2) == crew.ClusterWanted("auto", 2, None)
    assert args.data_dir == str(tmp_path / "data")
    args = argparse.Namespace(ray=None, shard=None, data_dir="data")
    assert wanted_cluster(args, 2) is None
    assert args.data_dir == "data"


def test_a_node_without_a_toolchain_takes_no_part_and_without_any_all_tasks_are_skipped(samples, on, monkeypatch):
    opened = judging.Judging.open
    lacking = {"two"}

    def open_duty(duty, facts, workers):
        if facts.host in lacking:
            raise judging.CannotError("node is missing; apt install nodejs")
        return opened(duty, facts, workers)

    monkeypatch.setattr(judging.Judging, "open", open_duty)
    cluster = Cluster()
    code, folder = on(cluster)
    assert code == 0
    require_equal(folder, samples)
    assert not cluster.started[1].num_jobs
    lacking.add("one")
    code, folder = on(Cluster())
    assert code == 3
    results = json.loads((folder / "results.json").read_text())
    assert (results["status"], results["counts"]) == ("skipped", {"skipped": NUM_TASKS})


def test_only_the_sample_that_had_no_sandbox_in_a_second_look_goes_elsewhere(samples, on, monkeypatch):
    """All samples are taken a second time, in groups; the sandbox of a node fails with one of them."""
    judge, looks, failed = Scorer.judge, Counter(), []

    def judged(scorer, task, solution, look=ALONE):
        if look == Look(alone=False):
            return replace(judge(scorer, task, solution, look), hit_time_limit=True)
        looks[solution] += 1
        if not failed:
            failed.append(solution)
            return Verdict("sandbox_error", "sandbox_error")
        return judge(scorer, task, solution, look)

    monkeypatch.setattr(Scorer, "judge", judged)
    code, folder = on(Cluster())
    assert code == 0
    assert looks.pop(failed[0]) == 2
    assert set(looks.values()) == {1}
    assert len(looks) == 2 * NUM_TASKS - 1
    assert [row["status"] for row in rows_of(folder)] == [row["status"] for row in rows_of(samples / "one")]


def cannot_on_main_thread(self, workers):
    return "node is missing here" if threading.current_thread() is threading.main_thread() else None


def test_the_nodes_and_not_the_machine_of_the_command_say_whether_a_benchmark_can_be_judged(samples, on, monkeypatch):
    monkeypatch.setattr(judging_of_programs(), "why_skipped", cannot_on_main_thread)
    code, folder = on(Cluster())
    assert code == 0
    require_equal(folder, samples)


def test_where_no_node_can_judge_no_model_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "connected", Cluster().connected)
    monkeypatch.setattr(judging_of_programs(), "why_skipped", lambda self, workers: "node is missing")
    script = Solutions(bundled_problems("test_seen"))
    with serving(script) as url:
        argv = ["evaluate", "m", "--backend", "openai", "--base-url", url, "--benchmark", "bundled/seen:2", "-q"]
        for folder, more in (("one", []), ("ray", ["--ray"])):
            assert main([*argv, "--output", str(tmp_path / folder), *more]) == 3
    assert script.num_requests == 0
    one, two = (json.loads((tmp_path / folder / "bundled/seen/results.json").read_text()) for folder in ("one", "ray"))
    assert one == two
    assert one["status"] == "skipped"


def judging_of_programs():
    return type(load_benchmark("bundled/seen:1").judge)


def test_a_check_and_a_build_on_nodes_are_those_of_one_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "connected", Cluster().connected)
    monkeypatch.delenv("REFLECTIONCODER_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    chosen = [problem for problem in bundled_problems("train") if problem.grade == 1][:3]
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in chosen])
    (tmp_path / "b.yaml").write_text("name: b\nmodel: {name: none}\nbuild: {author: mutation, problems: [problems.jsonl]}\n")
    write_jsonl(tmp_path / "samples.jsonl", [reflection_sample(number).to_json() for number in range(3)])
    codes = {}
    for runs, more in (("one", []), ("ray", ["--ray"])):
        assert main(["build", "b.yaml", "--runs-dir", runs, "-q", *more]) == 0
        codes[runs] = main(["check", "samples.jsonl", "--output", f"{runs}/check", "-q", *more])
        assert main(["problems", "problems.jsonl", "--output", f"{runs}/p.jsonl", "-q", *more]) == 0
    assert codes["one"] == codes["ray"]
    for name in ("b/build/reflections.jsonl", "b/build/rejected.jsonl", "p.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes(), name
    rows = [[row for _, row in read_jsonl(tmp_path / runs / "check/check.jsonl")] for runs in ("one", "ray")]
    assert all(row.pop("node")["host"] in ("one", "two") for row in rows[1])
    assert rows[0] == rows[1]


def test_an_evaluation_on_nodes_is_that_of_one_machine(tmp_path, monkeypatch):
    """The model is asked by the command, whose completions the nodes judge."""
    monkeypatch.setattr(crew, "connected", Cluster().connected)
    script = Solutions([*bundled_problems("test_seen"), *bundled_problems("test_unseen")])
    with serving(script) as url:
        argv = ["evaluate", "m", "--backend", "openai", "--base-url", url, "--benchmark", "bundled/seen:3", "bundled/unseen:2", "-q"]
        for folder, more in (("one", []), ("ray", ["--ray"])):
            assert main([*argv, "--output", str(tmp_path / folder), *more]) == 0
    assert script.num_requests == 2 * 5
    for benchmark in ("bundled/seen", "bundled/unseen"):
        one, two = tmp_path / "one" / benchmark, tmp_path / "ray" / benchmark
        for name in ("completions.jsonl", "results.json"):
            assert (one / name).read_bytes() == (two / name).read_bytes()
        assert rows_of(one) == rows_of(two)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--ray", "a b"], 2, "this is no address of a cluster"),
        (["--ray", "--shard", "1/2"], 2, "leave one of them out"),
        (["--ray", "127.0.0.1:1"], 3, "there is no cluster at 127.0.0.1:1"),
    ],
)
def test_what_is_no_cluster_is_one_clear_error(more, code, said, samples, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("reflectioncoder.cluster.ray_cluster.require", lambda *names: sys)
    assert main(["score", str(samples / "samples.jsonl"), *SCORE, "--output", str(tmp_path / "out"), *more]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_what_answers_otherwise_is_no_cluster(samples, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("reflectioncoder.cluster.ray_cluster.require", lambda *names: sys)
    with serving(Solutions([])) as url:
        address = url.removeprefix("http://").removesuffix("/v1")
        assert main(["score", str(samples / "samples.jsonl"), *SCORE, "--output", str(tmp_path / "out"), "--ray", address]) == 3
    assert f"there is no cluster at {address}: something else than Ray answers there" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(samples, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["score", str(samples / "samples.jsonl"), *SCORE, "--output", str(tmp_path / "out"), "--ray"]) == 3
    assert "pip install 'reflectioncoder[ray]'" in capsys.readouterr().err
