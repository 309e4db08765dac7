"""The page in a real browser: it opens, its script runs without errors, its controls work."""

import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.answer_reasons import count_answers
from reflectioncoder.data.files import read_json, read_jsonl, write_atomic, write_json, write_jsonl
from reflectioncoder.data.render import RenderReport, TokenRenderer
from reflectioncoder.data.run_folders import RunFolder
from reflectioncoder.data.words import WordTokenizer
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.compare import compare_runs, read_run
from reflectioncoder.evaluate.results import summarize
from reflectioncoder.evaluate.score import Scorer, read_samples_to_score, score_samples
from reflectioncoder.report.collect import collect_run
from reflectioncoder.report.html import write_report
from reflectioncoder.train.data import RenderedData, preview
from tests.conftest import reflection_sample
from tests.tiers import examples

NASTY = "x = '</script><script>document.title = 1</script><!--'\n"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder with real scores, a real preview and a program that tries to break out of the page."""
    run = tmp_path_factory.mktemp("runs") / "nasty & <b>run"
    run.mkdir()
    (run / "config.yaml").write_text("name: x  # </pre><script>alert(1)</script>\n")
    write_json(run / "env.json", {"python": "3", "packages": {"torch": None}, "cpus": 2})
    benchmark = load_benchmark("bundled/seen:5")
    for which in ("base", "trained"):
        folder = run / "eval" / "bundled" / "seen" / which
        rows = [{"task_id": t.task_id, "completion": NASTY, "solution": NASTY, "extraction": "fenced"} for t in benchmark.tasks]
        path = write_jsonl(folder / "completions.jsonl", rows)
        scorer = Scorer(benchmark)
        scored = score_samples(read_samples_to_score(path, benchmark), folder / "samples.jsonl", scorer)
        answers = count_answers(["fenced", "other_name", "no_code", "refused", "empty"])
        write_json(folder / "results.json", {**summarize(scorer, scored), **({"answers": answers} if which == "trained" else {})})
    samples = [reflection_sample(n, steps=1 + n % 2) for n in range(3)]
    tokenizer = WordTokenizer()
    rendered = [TokenRenderer(tokenizer).render(sample) for sample in samples]
    data = RenderedData(rendered, [f"sample-{n}" for n in range(3)], [[]] * 3, RenderReport(3, (), 0))
    write_json(run / "train" / "preview.json", preview(tokenizer, data, TrainConfig()))
    history = [{"step": n, "loss": 2 / n, "ce": 1 / n, "kl": 0.1 * n, "mask_rate": n / 9, "tokens": 10} for n in range(1, 10)]
    write_json(run / "train" / "train.json", {
        "history": history, "num_tokens": 90, "total_steps": 9, "tokens_per_s": 5.0, "device": "cpu", "duration_s": 70.0,
        "reflection_visits": 9, "resumed_from_step": 0,
        "generation_visits": 0, "num_too_long": 1, "trained_parameters": 10, "parameters": 20,
    })  # fmt: skip
    return run


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
    assert embedded["runs"][0]["benchmarks"][0]["tasks"][0]["base"]["solution"] == NASTY
    assert "http://" not in page.replace("http://www.w3.org", "")


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
    (shown,) = collect_run(RunFolder(run, "run"))["benchmarks"]
    judged = [{row["task_id"] for _, row in read_jsonl(side / "samples.jsonl") if row["status"] != "sandbox_error"} for side in sides]
    if not judged[0] & judged[1]:
        assert shown["reason"].startswith("no task has a")
        assert (shown["p_value"], shown["counts"]) == (None, None)
        assert {task["change"] for task in shown["tasks"]} == {"unjudged"}
        return
    expected = compare_runs(*map(read_run, sides))["subsets"][-1]
    assert (shown["p_value"], shown["reason"]) == (expected["mcnemar"]["p_value"], expected["mcnemar"]["reason"])
    assert sum(shown["counts"].values()) == expected["num_tasks"]
    assert {t["task_id"] for t in shown["tasks"] if t["change"] == "unjudged"} == set(expected["left_out"])
    if expected["counts"] is not None:
        named = {"both": "both", "gained": "only_b", "lost": "only_a", "neither": "neither"}
        assert shown["counts"] == {ours: expected["counts"][theirs] for ours, theirs in named.items()}
        flipped = {"gained": expected["flipped"]["only_b"], "lost": expected["flipped"]["only_a"]}
        for change, tasks in flipped.items():
            assert {t["task_id"] for t in shown["tasks"] if t["change"] == change} == set(tasks)
    page = write_report([run], tmp_path / "report.html").read_text()
    assert ("Exact McNemar p" in page) == (expected["mcnemar"]["p_value"] is not None)
    assert ("No p-value: several samples per task" in page) == (expected["mcnemar"]["p_value"] is None)


CHECK = """
<script>
window.addEventListener("load", () => {
  const out = [];
  const viewer = document.querySelector(".viewer");
  const hidden = () => viewer.querySelectorAll(".tokens .hidden-token").length;
  const set = (name, value) => { const c = viewer.querySelector(name); c.value = value; c.dispatchEvent(new Event("input")); };
  set(".pick-rate", 0); out.push(hidden()); set(".pick-rate", 20); out.push(hidden());
  set(".pick-view", "teacher"); out.push(hidden());
  set(".pick-view", "loss"); out.push(viewer.querySelectorAll(".tokens .trained-token").length > 5);
  const tiles = document.querySelectorAll("button.tile"); out.push(tiles.length);
  tiles[0].click(); out.push(document.querySelector(".task-detail").textContent.includes("document.title = 1"));
  document.title = "CHECKED " + JSON.stringify(out);
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_works_in_a_browser_without_console_errors(run_dir, tmp_path):
    path = write_report([run_dir], tmp_path / "report.html")
    # The probe stands before the page's own script, so that it sees its errors too.
    errors = '<script>window.addEventListener("error", (e) => { document.documentElement.dataset.failed = e.message; });</script>'
    path.write_text(path.read_text().replace("<body>", f"<body>{errors}").replace("</body>", f"{CHECK}</body>"))
    browser = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--virtual-time-budget=4000",
    ]  # fmt: skip
    result = subprocess.run([*browser, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert "data-failed" not in result.stdout
    assert "CONSOLE" not in result.stderr
    title = re.search(r"<title>CHECKED (.*?)</title>", result.stdout)
    assert title, result.stdout[:500]
    at_zero, at_one, teacher, trained, tiles, detail = json.loads(title[1].replace("&quot;", '"'))
    assert 0 < at_zero < at_one
    assert teacher == 0
    assert trained
    assert tiles == 5
    assert detail
