"""Paired statistics of two runs against hand-computed tables; the two file formats; what is refused and what is warned of."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectioncoder.cli import main
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.compare import JudgedSample, ScoredRun, common_tasks, compare_folders, compare_runs, read_run
from reflectioncoder.evaluate.metrics import wilson_interval
from reflectioncoder.report.tasks import rows_of

P, F, E = "passed", "failed", "sandbox_error"


def row(task_id, base, plus=None, sample=0):
    status = E if E in (base, plus) else base if plus is None or base != P else plus
    return {"task_id": task_id, "sample": sample, "status": status, "base_status": base, "plus_status": plus}


def write_run(directory, rows, name="humaneval+", sha256="0" * 64, tier=2, **results):
    isolation = {"isolation": {"tier": tier}, "limits": {}}
    benchmark = {"name": name, "version": "1", "sha256": sha256, "num_tasks": len(rows)}
    write_json(directory / "results.json", {"status": "done", "benchmark": benchmark, "sandbox": isolation, "metrics": [], **results})
    write_jsonl(directory / "samples.jsonl", rows)
    return directory


def write_evalplus(path, verdicts, data_hash="x"):
    tasks = {task: [{"task_id": task, "solution": "", "base_status": b, "plus_status": p}] for task, (b, p) in verdicts.items()}
    return write_json(path, {"date": "", "hash": data_hash, "eval": tasks})


@pytest.fixture
def pair(tmp_path):
    """Both solve 0-3; A alone 4; B alone 5-13; none 14-15. In plus A loses all but 0 and 1."""
    tasks = [f"HumanEval/{i}" for i in range(16)]
    a = [row(t, P if i <= 4 else F, P if i <= 1 else F) for i, t in enumerate(tasks)]
    b = [row(t, P if i <= 3 or 5 <= i <= 13 else "timeout", P if i <= 3 else F) for i, t in enumerate(tasks)]
    return write_run(tmp_path / "a", a), write_run(tmp_path / "b", list(reversed(b)))


def compare(a, b, **kwargs):
    return compare_runs(read_run(a), read_run(b), **kwargs)


def test_a_table_computed_by_hand(pair):
    result = compare(*pair)
    base, plus = result["subsets"]
    assert (base["subset"], plus["subset"]) == ("base", "plus")
    assert base["counts"] == {"both": 4, "only_a": 1, "only_b": 9, "neither": 2}
    assert base["mcnemar"] == {"p_value": pytest.approx(2 * 11 / 1024), "reason": None}
    assert base["pass@1"] == {"a": 5 / 16, "b": 13 / 16}
    assert base["difference"]["value"] == 0.5
    # The normal approximation of the interval: 0.5 ± 1.96 · sqrt((10/16 - 0.25) / 16).
    assert (base["difference"]["ci_low"], base["difference"]["ci_high"]) == pytest.approx((0.2, 0.8), abs=0.07)
    assert base["flipped"] == {"only_a": ["HumanEval/4"], "only_b": [f"HumanEval/{i}" for i in range(5, 14)]}
    assert plus["counts"] == {"both": 2, "only_a": 0, "only_b": 2, "neither": 12}
    assert plus["mcnemar"]["p_value"] == 0.5
    assert result["warnings"] == []


def test_swapping_the_runs_mirrors_everything(pair):
    forward, backward = compare(*pair)["subsets"], compare(*reversed(pair))["subsets"]
    for one, other in zip(forward, backward, strict=True):
        assert one["mcnemar"] == other["mcnemar"]
        assert one["flipped"] == {"only_a": other["flipped"]["only_b"], "only_b": other["flipped"]["only_a"]}
        assert one["difference"]["value"] == -other["difference"]["value"]
        assert one["difference"]["ci_low"] == -other["difference"]["ci_high"]
        assert one["difference"]["ci_high"] == -other["difference"]["ci_low"]


def test_identical_runs_do_not_differ(pair):
    for subset in compare(pair[0], pair[0])["subsets"]:
        assert subset["mcnemar"]["p_value"] == 1.0
        reach = wilson_interval(0, subset["num_tasks"]).ci_high  # on other tasks they may differ
        assert subset["difference"] == {"value": 0.0, "ci_low": -reach, "ci_high": reach}
        assert subset["flipped"] == {"only_a": [], "only_b": []}


def test_the_same_seed_gives_the_same_interval(pair):
    assert compare(*pair, seed=3) == compare(*pair, seed=3)
    assert [s["difference"] for s in compare(*pair, seed=3)["subsets"]] != [s["difference"] for s in compare(*pair)["subsets"]]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([P, F, E]), st.sampled_from([P, F, E])), min_size=1, max_size=6))
def test_every_common_task_is_counted_once_or_left_out(verdicts):
    a, b = (ScoredRun(Path("run"), {f"t/{i}": [JudgedSample(v[side], None)] for i, v in enumerate(verdicts)}, False) for side in (0, 1))
    if all(E in pair for pair in verdicts):
        with pytest.raises(UsageError, match="verdict in both"):
            compare_runs(a, b)
        return
    (subset,) = compare_runs(a, b)["subsets"]
    assert sum(subset["counts"].values()) == subset["num_tasks"]
    assert subset["num_tasks"] + subset["num_left_out"] == len(verdicts)
    difference = subset["pass@1"]["b"] - subset["pass@1"]["a"]
    assert subset["difference"]["value"] == pytest.approx(difference)
    assert subset["difference"]["ci_low"] <= difference + 1e-9
    assert subset["difference"]["ci_high"] >= difference - 1e-9


def test_without_plus_tests_there_is_one_comparison(tmp_path):
    a = write_run(tmp_path / "a", [row("t/1", P), row("t/2", F)], "bundled/seen")
    (subset,) = compare(a, a / "results.json")["subsets"]
    assert subset["subset"] is None
    assert subset["counts"] == {"both": 1, "only_a": 0, "only_b": 0, "neither": 1}


def test_a_failed_base_fails_plus_even_if_plus_was_not_run(tmp_path):
    a = write_run(tmp_path / "a", [row("t/1", F), row("t/2", P, P)])
    b = write_run(tmp_path / "b", [row("t/1", F, P), row("t/2", P, F)])
    plus = compare(a, b)["subsets"][1]
    assert plus["counts"] == {"both": 0, "only_a": 1, "only_b": 0, "neither": 1}


def test_a_sandbox_error_is_no_verdict(tmp_path):
    a = write_run(tmp_path / "a", [row("t/1", P, P), row("t/2", E), row("t/3", P, P)])
    b = write_run(tmp_path / "b", [row("t/1", P, P), row("t/2", P, P), row("t/3", P, E)])
    for subset in compare(a, b)["subsets"]:
        assert (subset["num_tasks"], subset["left_out"]) == (1, ["t/2", "t/3"])
        assert subset["counts"]["both"] == 1


def test_several_samples_are_compared_by_their_pass_at_1(tmp_path):
    a = [row("t/1", v, sample=i) for i, v in enumerate([P, F, F, F])] + [row("t/2", v, sample=i) for i, v in enumerate([P, P, E, F])]
    b = [row("t/1", v, sample=i) for i, v in enumerate([P, P, P, F])] + [row("t/2", v, sample=i) for i, v in enumerate([P, F, P])]
    (subset,) = compare(write_run(tmp_path / "a", a), write_run(tmp_path / "b", b))["subsets"]
    assert subset["pass@1"] == {"a": pytest.approx((1 / 4 + 2 / 3) / 2), "b": pytest.approx((3 / 4 + 2 / 3) / 2)}
    assert subset["changed"] == [{"task_id": "t/1", "a": 0.25, "b": 0.75}]
    assert subset["difference"] == {"value": 0.25, "ci_low": 0.0, "ci_high": 0.5}
    assert (subset["counts"], subset["flipped"], subset["mcnemar"]["p_value"]) == (None, None, None)
    assert "several samples" in subset["mcnemar"]["reason"]


def test_evalplus_files_are_read_and_compared_with_ours(tmp_path):
    file = write_evalplus(
        tmp_path / "x_eval_results.json", {"t/1": ("pass", "pass"), "t/2": ("pass", "fail"), "t/3": ("timeout", "fail")}
    )
    ours = write_run(tmp_path / "a", [row("t/1", P, P), row("t/2", P, P), row("t/3", P, F)])
    base, plus = compare(file, ours)["subsets"]
    assert base["flipped"] == {"only_a": [], "only_b": ["t/3"]}
    assert plus["flipped"] == {"only_a": [], "only_b": ["t/2"]}
    base_only = write_evalplus(tmp_path / "y_eval_results.json", {"t/1": ("pass", None)}, "other data")
    result = compare(file, base_only)
    assert [s["subset"] for s in result["subsets"]] == ["base"]
    for part in ("2 only in A", "only A has plus", "hash x in A, other data in B"):
        assert any(part in warning for warning in result["warnings"])


def test_tasks_of_one_run_only_are_passed_over_with_a_warning(tmp_path):
    a = write_run(tmp_path / "a", [row(f"t/{i}", P) for i in range(12)])
    b = write_run(tmp_path / "b", [row(f"t/{i}", F) for i in range(2, 13)])
    result = compare(a, b)
    assert result["num_common_tasks"] == 10
    assert "the 10 common ones count, not the 2 only in A and the 1 only in B" in result["warnings"][0]
    limited = compare(a, b, limit=3)
    assert limited["subsets"][0]["flipped"]["only_a"] == ["t/2", "t/3", "t/4"]  # t/10 comes later
    assert "first 3 of 10" in limited["warnings"][1]


def test_weak_or_different_isolation_and_invalid_runs_are_told(tmp_path):
    a = write_run(tmp_path / "a", [row("t/1", P)], tier=0)
    b = write_run(tmp_path / "b", [row("t/1", P)], status="sandbox_error")
    warnings = "\n".join(compare(a, b)["warnings"])
    assert "A was scored at isolation tier 0" in warnings
    assert "tier 0 in A, tier 2 in B" in warnings
    assert "B ended with status sandbox_error" in warnings


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"name": "mbpp+"}, r"different benchmarks(.|\n)*humaneval\+(.|\n)*mbpp\+"),
        ({"sha256": "1" * 64}, r"different data(.|\n)*0{64}(.|\n)*1{64}"),
        ({"rows": [row("t/2", P)]}, r"no common task(.|\n)*t/1(.|\n)*t/2"),
        ({"rows": [row("t/1", E)]}, "verdict in both"),
        ({"rows": [row("t/1", P), row("t/1", F)]}, r"samples.jsonl:2: sample 0 of t/1 a second time"),
        ({"rows": [{"task_id": "t/1", "status": P}]}, r"samples.jsonl:1: needs task_id"),
        ({"rows": [{"task_id": "t/1", "sample": 0}]}, r"samples.jsonl:1: needs base_status"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, other, message):
    a = write_run(tmp_path / "a", [row("t/1", P)])
    b = write_run(tmp_path / "b", **{"rows": [row("t/1", P)], **other})
    with pytest.raises(UsageError, match=message):
        compare(a, b)


def test_missing_and_foreign_files_are_named(tmp_path):
    run = write_run(tmp_path / "a", [row("t/1", P)])
    (run / "samples.jsonl").unlink()
    with pytest.raises(UsageError, match=r"a/samples.jsonl"):
        read_run(run)
    with pytest.raises(UsageError, match=r"none/results.json"):
        read_run(tmp_path / "none" / "results.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty/results.json"):
        read_run(tmp_path / "empty")
    with pytest.raises(UsageError, match="not the results"):
        read_run(write_json(tmp_path / "config.json", {"a": 1}))
    with pytest.raises(UsageError, match="not the results"):
        read_run(tmp_path / "samples.jsonl")
    with pytest.raises(UsageError, match=r"eval.t/1: expected a list"):
        read_run(write_json(tmp_path / "old_eval_results.json", {"eval": {"t/1": {"base": []}}}))


def test_the_command_prints_lines_or_json(pair, capsys):
    assert main(["compare", *map(str, pair)]) == 0
    lines = capsys.readouterr().out
    for part in (
        "humaneval+, base: 16 tasks",
        "A 31.2 %   B 81.2 %",
        "+50.0 points",
        "both 4   only A 1   only B 9   neither 2",
        "p = 0.021",
    ):
        assert part in lines
    assert "HumanEval/5 HumanEval/6" in lines
    assert main(["compare", *map(str, pair), "--json", "--seed", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == {**compare(*pair, seed=3), "paths": []}
    assert main(["compare", str(pair[0]), str(pair[1] / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


def test_the_command_tells_why_several_samples_have_no_mcnemar(tmp_path, capsys):
    a = write_run(tmp_path / "a", [row("t/1", P), row("t/1", F, sample=1), row("t/2", E)])
    b = write_run(tmp_path / "b", [row("t/1", P), row("t/1", P, sample=1), row("t/2", P)])
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert "none (several samples per task" in out
    assert "A 0   B 1   equal 0" in out
    assert "1 left out (no verdict)" in out


def test_scorings_of_a_folder_without_a_common_verdict_are_not_compared(tmp_path):
    write_run(tmp_path / "a", [row("x", P)])
    assert compare_folders(tmp_path, "a", "b") is None
    write_run(tmp_path / "b", [row("x", E)])
    assert compare_folders(tmp_path, "a", "b") is None
    write_run(tmp_path / "b", [row("y", P)])
    assert compare_folders(tmp_path, "a", "b") is None
    write_run(tmp_path / "b", [row("x", F)])
    compared = compare_folders(tmp_path, "a", "b")
    assert compared is not None
    assert compared["difference"]["value"] == -1
    write_run(tmp_path / "b", [], status="skipped")
    (tmp_path / "b" / "samples.jsonl").unlink()
    assert compare_folders(tmp_path, "a", "b") is None


@pytest.mark.parametrize("name", ["samples.jsonl", "results.json"])
def test_damaged_scorings_of_a_folder_are_an_error(name, tmp_path):
    for which in "ab":
        write_run(tmp_path / which, [row("x", P)])
    (tmp_path / "b" / name).write_text("{")
    with pytest.raises(UsageError, match=name):
        compare_folders(tmp_path, "a", "b")


def test_tasks_are_in_the_order_of_the_numbers_in_their_names(tmp_path):
    names = ["a/0", "a/2", "a/10", "a/010", "a/" + "9" * 4999, "a/1" + "0" * 5000, "b", "t²3"]
    run = read_run(write_run(tmp_path / "a", [row(name, P) for name in reversed(names)]))
    assert common_tasks(run, run) == [*names[:2], "a/010", "a/10", *names[4:]]


def test_rows_of_an_earlier_larger_scoring_do_not_count(tmp_path):
    rows = [row("t/1", P), row("t/1", F, sample=1), row("t/2", F), row("t/3", F)]
    run = write_run(tmp_path / "a", rows, "own", counts={P: 1})
    assert read_run(run).describe()["num_samples"] == 1
    (subset,) = compare(run, run)["subsets"]
    assert (subset["num_tasks"], subset["pass@1"]) == (1, {"a": 1.0, "b": 1.0})
    assert list(rows_of(run)) == ["t/1"]
    for counts in ({P: 2}, {F: 1}, {P: 5}):
        write_run(tmp_path / "a", rows, "own", counts=counts)
        for reader in (read_run, rows_of):
            with pytest.raises(UsageError, match=r"a/samples.jsonl does not hold the verdicts that results.json beside it counts"):
                reader(run)


def test_compare_says_what_the_results_say_after_fewer_samples_were_scored_into_the_folder(tmp_path):
    problems = bundled_problems("test_seen")[:3]
    own, samples, out = (str(tmp_path / name) for name in ("own.jsonl", "s.jsonl", "out"))
    write_jsonl(own, [problem.to_json() for problem in problems])
    for number, spec in ((2, f"file:{own}"), (1, f"file:{own}"), (1, f"file:{own}:1")):
        programs = [problems[0].reference, *[""] * 2]
        rows = [{"task_id": p.task_id, "solution": s} for p, s in zip(problems, programs, strict=True) for s in (s, "")[:number]]
        write_jsonl(samples, rows)
        assert main(["score", samples, "--benchmark", spec, "--output", out, "-q"]) == 0
        metric = json.loads((tmp_path / "out" / "results.json").read_text())["metrics"][0]
        run = read_run(tmp_path / "out")
        assert (len(run.samples), run.describe()["num_samples"]) == (metric["num_tasks"], metric["num_samples"])
        assert compare(run.path, run.path)["subsets"][0]["pass@1"]["a"] == metric["value"]


def test_rows_of_tasks_that_are_left_out_now_do_not_count(tmp_path):
    """They are those of a scoring when their references still passed."""
    failed = {"references": {"num_tasks": 2, "num_passed": 1, "failed": {"y": "no network"}}}
    sides = [write_run(tmp_path / side, [row("x", verdict), row("y", P)]) for side, verdict in (("a", P), ("b", F))]
    for side in sides:
        results = json.loads((side / "results.json").read_text())
        write_json(side / "results.json", {**results, "benchmark": results["benchmark"] | failed})
    (subset,) = compare_runs(*map(read_run, sides))["subsets"][-1:]
    assert (subset["num_tasks"], subset["difference"]["value"]) == (1, -1)
    assert [list(rows_of(side)) for side in sides] == [["x"], ["x"]]
