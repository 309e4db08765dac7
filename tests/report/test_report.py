"""The page about runs: it needs nothing else, escapes everything, says what `compare` says, and stays small."""

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reflectioncoder.data.files import read_json, read_jsonl, write_atomic, write_json, write_jsonl
from reflectioncoder.data.run_folders import RunFolder
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.compare import compare_runs, read_run
from reflectioncoder.evaluate.results import summarize
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.report.collect import collect_run
from reflectioncoder.report.html import write_report
from tests.report.conftest import NASTY
from tests.tiers import examples


class Resources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.external = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.external.append((tag, value))


def test_answers_without_a_program_are_counted_on_the_page(run_dir, tmp_path):
    page = " ".join(write_report([run_dir], tmp_path / "report.html").read_text().split())
    assert page.count("answers hold no program") == 1, "nothing is said where nothing is known"
    assert "3 of 5 answers hold no program (1 refused, 1 empty)" in page


def test_the_dates_of_tasks_and_the_references_that_pass_stand_beside_a_number(run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    path = run / "eval" / "bundled" / "seen" / "base" / "results.json"
    results = read_json(path)
    results["benchmark"]["dates"] = {"from": "2025-01-02", "to": "2025-03-04"}
    results["benchmark"]["references"] = {"num_tasks": 7, "num_passed": 5, "failed": {"t/1": "no package", "t/2": "no network"}}
    write_json(path, results)
    page = " ".join(write_report([run], tmp_path / "report.html").read_text().split())
    assert page.count("the references of 5 of 7 tasks pass here; left out: t/1, t/2") == 1
    assert page.count("tasks dated 2025-01-02 to 2025-03-04") == 1


def test_the_page_is_self_contained_and_escapes_everything(run_dir, tmp_path):
    page = write_report([run_dir], tmp_path / "report.html").read_text()
    parser = Resources()
    parser.feed(page)
    assert parser.external == []
    assert "<b>run" not in page
    assert "</script><script>" not in page
    assert "<script>alert" not in page
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    embedded = json.loads(data[1])
    base, trained = (embedded["programs"][side["program"]] for side in embedded["benchmarks"][0]["tasks"][0]["sides"])
    assert base == NASTY
    assert trained.startswith(NASTY + "def ")
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('description: "plain answers alone: 17 % & <b>more"', "<p>plain answers alone: 17 % &amp; &lt;b&gt;more</p>"),
        ("description: ''", None),
        ("description: [1]", None),
        ("", None),
    ],
)
def test_the_page_says_of_a_run_what_its_recipe_says(tmp_path, line, shown):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(f"name: run\n{line}\n")
    header = (
        write_report([tmp_path / "run"], tmp_path / "report.html").read_text().partition("<h1>run</h1>")[2].partition("</header>")[0]
    )
    assert (shown in header) if shown else header.strip().startswith('<p class="dim">')


def test_results_from_elsewhere_stand_beside_those_of_the_same_benchmark(run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    whose = "plain <i>answers</i>, alone, and nothing else"
    known = {whose: {"bundled/seen:5": 40, "bundled/unseen": 10.0}, "of other tasks": {"bundled/seen": 30.5}}
    config = {"name": "run", "evaluate": {"benchmarks": ["bundled/seen:5", "bundled/unseen"], "known": known}}
    write_atomic(run / "config.yaml", json.dumps(config))
    (benchmark,) = collect_run(RunFolder(run, "run"))["benchmarks"]
    trained = benchmark["sides"]["trained"]["headline"]
    assert trained["value"] == 0.4
    (shown,) = benchmark["known"].values()
    assert shown == {**{key: pytest.approx(trained[key]) for key in ("value", "ci_low", "ci_high")}, "as_for_tasks": 5}
    page = " ".join(write_report([run], tmp_path / "report.html").read_text().partition("</section>")[0].split())
    escaped = "plain &lt;i&gt;answers&lt;/i&gt;, alone, and nothing else"
    assert f'<span class="big">40.0 %</span> <span class="dim">{escaped} · from elsewhere' in page
    assert page.count('class="dot known"') == 1
    assert f"{escaped.removesuffix(' and nothing else')}…<title>{escaped}</title>" in page
    assert "of other tasks" not in page


def test_a_damaged_recipe_is_named(run_dir, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    for damaged in (
        "evaluate: [1]",
        "evaluate: {known: [a], benchmarks: [bundled/seen]}",
        "evaluate: {known: {a: 3}, benchmarks: [a]}",
    ):
        write_atomic(run / "config.yaml", damaged)
        with pytest.raises(UsageError, match=re.escape(str(run)) + r".*(config\.yaml|has no attribute)"):
            write_report([run], tmp_path / "report.html")


def test_a_run_that_has_only_begun_gets_a_page_too(tmp_path):
    (tmp_path / "config.yaml").write_text("name: begun\n")
    page = write_report([tmp_path], tmp_path / "report.html").read_text()
    assert "No benchmark has been scored yet" in page


def write_side(directory, rows, num_samples):
    """A scoring run of given statuses (task, base, plus), every task with as many samples."""
    base_value = sum(base == "passed" for _, base, _ in rows) / len(rows)
    plus_value = sum(plus == "passed" for _, _, plus in rows) / len(rows)
    metrics = [
        {"name": "pass@1", "subset": subset, "value": value, "ci_low": 0.0, "ci_high": 1.0, "num_tasks": 1, "num_samples": 1}
        for subset, value in (("base", base_value), ("plus", plus_value))
    ]
    scorer = Scorer(load_benchmark("bundled/seen:1"))
    results = {**summarize(scorer, []), "benchmark": {"name": "humaneval+", "sha256": "0"}, "metrics": metrics}
    write_json(directory / "results.json", results)
    seen = Counter()
    content = []
    for task_id, base, plus in rows:
        status = "sandbox_error" if "sandbox_error" in (base, plus) else base if base != "passed" else plus
        content.append(
            {"task_id": task_id, "sample": seen[task_id], "status": status, "base_status": base, "plus_status": plus}
            | {"solution": "", "tests": [], "stderr_tail": ""}
        )
        seen[task_id] += 1
    write_jsonl(directory / "samples.jsonl", content)
    assert set(seen.values()) == {num_samples}


P, F, E = "passed", "failed", "sandbox_error"
statuses = st.sampled_from([(P, P), (P, F), (F, F), (E, E), (P, E)])


@settings(
    max_examples=examples(15), phases=[Phase.generate], deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), st.sampled_from([1, 1, 3]), st.integers(1, 9))
def test_the_page_says_of_two_scorings_what_compare_says(tmp_path, data, num_samples, num_tasks):
    """Sandbox errors are no failures, all samples of a task count, and the tests are those of the headline."""
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    write_atomic(run / "config.yaml", "name: x\n")
    sides = [run / "eval" / "humaneval+" / which for which in ("base", "trained")]
    for side in sides:
        rows = [(f"HumanEval/{n}", *data.draw(statuses)) for n in range(num_tasks) for _ in range(num_samples)]
        write_side(side, rows, num_samples)
    (benchmark,) = collect_run(RunFolder(run, "run"))["benchmarks"]
    shown = benchmark["pair"]
    tasks = {task for side in benchmark["sides"].values() for task in side["side"].rows}
    judged = [{row["task_id"] for _, row in read_jsonl(side / "samples.jsonl") if row["status"] != "sandbox_error"} for side in sides]
    if not judged[0] & judged[1]:
        assert shown.reason.startswith("no task has a")
        assert (shown.p_value, shown.counts, shown.changes) == (None, None, {})
        return
    expected = compare_runs(*map(read_run, sides))["subsets"][-1]
    assert (shown.p_value, shown.reason) == (expected["mcnemar"]["p_value"], expected["mcnemar"]["reason"] or "")
    assert sum(shown.counts.values()) == expected["num_tasks"]
    assert tasks - shown.changes.keys() == set(expected["left_out"])
    if expected["counts"] is not None:
        named = {"both": "both", "gained": "only_b", "lost": "only_a", "neither": "neither"}
        assert shown.counts == {ours: expected["counts"][theirs] for ours, theirs in named.items()}
        flipped = {"gained": expected["flipped"]["only_b"], "lost": expected["flipped"]["only_a"]}
        for change, names in flipped.items():
            assert {task for task, found in shown.changes.items() if found == change} == set(names)
    page = write_report([run], tmp_path / "report.html").read_text()
    assert ("Exact McNemar p" in page) == (expected["mcnemar"]["p_value"] is not None)
    assert ("No p-value: several samples per task" in page) == (expected["mcnemar"]["p_value"] is None)


def test_runs_side_by_side_have_common_axes_and_the_settings_that_differ(run_dir, tmp_path):
    other = shutil.copytree(run_dir, tmp_path / "other")
    run_dir = shutil.copytree(run_dir, tmp_path / run_dir.name)
    origin = "  # [--set train.epochs=[2]] Passes."
    (run_dir / "config.yaml").write_text(f"name: x\ntrain:\n  epochs: 1  # [default] Passes.\n  seed: 3{origin}\n")
    (other / "config.yaml").write_text(f"name: y\ntrain:\n  epochs: [2]{origin}\n  seed: 3  # [r.yaml:4] Seed.\n")
    page = write_report([run_dir, other], tmp_path / "report.html").read_text()
    together = page[page.index('id="together"') : page.index('id="tasks"')]
    assert together.count('<polyline class="line s0"') == together.count('<polyline class="line s1"') == 4
    differing = together[together.index("Settings that differ") :]
    assert re.findall(r"<code>(.*?)</code>", differing) == ["train.epochs", "1", "[2]"]
    assert re.findall(r'origin">(.*?)<', differing) == ["default", "--set train.epochs=[2]"]
    pairs = re.findall(r'<th scope="row">(.*?)</th>', page[page.index('id="tasks"') :])[:3]
    name = "nasty &amp; &lt;b&gt;run"
    assert pairs == [f"{name}: base → trained", "other: base → trained", f"trained: {name} → other"]


def test_a_thousand_tasks_stay_below_five_megabytes_and_flipped_ones_keep_their_programs(tmp_path, monkeypatch):
    monkeypatch.setattr("reflectioncoder.evaluate.compare.ROUNDS", 50)  # the interval is not looked at
    program = "def f(x):\n" + "".join(f"    y{n} = 'é{n * 7919}'\n" for n in range(60))
    for run in ("a", "b"):
        write_atomic(tmp_path / run / "config.yaml", "name: x\n")
        for which in ("base", "trained"):
            directory = tmp_path / run / "eval" / "humaneval+" / which
            flips = 5 if which == "trained" else 0
            write_side(directory, [(f"HumanEval/{n}", P if n >= 995 and flips else F, F) for n in range(1000)], 1)
            rows = [row for _, row in read_jsonl(directory / "samples.jsonl")]
            tests = [{"passed": False, "detail": "AssertionError: " + "x" * 900}] * 3
            changed = [row | {"solution": f"{program}# {run} {which} {n}\n", "tests": tests} for n, row in enumerate(rows)]
            for row in changed[-flips:] if flips else []:
                row |= {"status": "passed", "base_status": "passed", "plus_status": "passed"}
            write_jsonl(directory / "samples.jsonl", changed)
    path = write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "report.html")
    assert path.stat().st_size < 5_000_000
    page = path.read_text()
    assert "To keep this page small, the programs of" in page
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    tasks = json.loads(data[1])["benchmarks"][0]["tasks"]
    assert len(tasks) == 1000
    assert all("program" in side for task in tasks[-5:] for side in task["sides"])


def test_the_rounds_of_improve_are_a_table_and_a_chart(tmp_path):
    write_atomic(tmp_path / "config.yaml", "name: x\n")
    rounds = [
        {"number": n, "num_problems": 40 * n, "num_samples": 9 * n, "score": score, "pass_at_1": {"mbpp": score}, "model": "m"}
        for n, score in enumerate((0.25, 0.5))
    ]
    write_json(tmp_path / "improve.json", {"schema_version": 1, "rounds": rounds, "best": 1})
    page = write_report([tmp_path], tmp_path / "report.html").read_text()
    best = page[page.index('<tr class="best">') :]
    assert re.findall(r"<t[hd].*?>(.*?)</t[hd]>", best[: best.index("</tr>")]) == ["1", "40", "9", "50.0 %", "50.0 %"]
    assert "mbpp: 25 → 50" in page


def test_the_arms_of_an_ablation_have_the_values_of_each_seed(tmp_path):
    write_atomic(tmp_path / "config.yaml", "name: x\n")
    settings = {"train.student_view": False, "train.mask_strategy": ["all"]}
    arm = {"settings": settings, "seeds": [5, 6], "tokens": [10, 30], "reflection_tokens": [5, 15]}
    interval = {"value": 0.1, "ci_low": 0.05, "ci_high": 0.15}
    rows = [
        {"arm": "control", "mean": 0.25, "by_seed": {"5": 0.25}},
        {"arm": "full", "mean": 0.35, "by_seed": {"5": 0.3, "6": 0.4}, "difference": interval},
    ]
    metric = {"kind": "pass@1", "benchmark": "mbpp", "higher_is_better": True, "base": 0.2, "arms": rows}
    content = {"control": "control", "seeds": [5, 6], "confidence": 0.95, "num_cells": 4, "num_finished": 3, "metrics": [metric]}
    write_json(tmp_path / "ablation.json", {**content, "arms": [{"name": row["arm"], **arm} for row in rows]})
    page = write_report([tmp_path], tmp_path / "report.html").read_text()
    table = page[page.index("<h3>pass@1, mbpp</h3>") :]
    cells = [re.findall(r"<t[hd](?: .*?)?>(.*?)</t[hd]>", row, re.DOTALL) for row in table[: table.index("</table>")].split("</tr>")]
    assert cells[:3] == [
        ["arm", "mean", "seed 5", "seed 6"],
        ["control", "25.0 %", "25.0 %", ""],
        ["full", "35.0 %", "30.0 %", "40.0 %"],
    ]
    assert "+10 [+5, +15] points" in page
    for text in ("train.student_view: false", "train.mask_strategy: [all]"):  # as they are written in a recipe
        assert f"<code>{text}</code>" in page
