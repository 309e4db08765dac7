"""The pages in a real browser: they open, their scripts run without errors, their controls work, and hostile texts stay texts."""

import shutil

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.report.html import write_report
from tests.conftest import reflection_sample
from tests.report.browser import CHROMIUM, ask

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
HOSTILE = "<img src=x onerror=\"document.title='out'\"><script>document.title = 'out'</script>"

TASKS = """
  answer.tiles = all("button.tile").length;
  set(".pick-change", "flipped"); answer.flipped = all(".explorer tbody tr").length;
  set(".pick-change", "l"); answer.lost = all(".explorer tbody tr").length;
  set(".pick-change", ""); set(".search", "DEF "); answer.searched = all(".explorer tbody tr").length;
  set(".search", ""); set(".pick-status", "passed"); answer.passed = all(".explorer tbody tr").length; set(".pick-status", "");
  one("button.task").click();
  answer.focused = document.activeElement === one(".task-detail");
  answer.text = one(".task-detail").textContent.includes("document.title = 1");
  answer.added = all(".diff .added").length; answer.string = all(".diff .h-string").length;
  const first = one(".task-detail h4").textContent;
  press(".task-detail", "ArrowRight"); answer.moved = one(".task-detail h4").textContent !== first;
  press(".task-detail", "Escape"); answer.closed = one(".task-detail").hidden;
  answer.wide = document.documentElement.scrollWidth <= window.innerWidth;
"""
SEQUENCES = """
  const hidden = () => [...one(".tokens").querySelectorAll(".hidden-token")].reduce((sum, node) => sum + node.textContent.length, 0);
  const rate = () => one(".rate").textContent;
  set(".pick-rate", 0); answer.at_zero = hidden(); set(".pick-rate", 20); answer.at_one = hidden();
  set(".pick-view", "teacher"); answer.teacher = hidden();
  set(".pick-view", "loss"); answer.trained = all(".tokens .trained-token").length;
  set(".pick-view", "student"); press(".tokens", "ArrowLeft"); answer.left = rate();
  press(".tokens", "ArrowDown"); answer.sample = one(".pick-sample").value;
  one(".play").click(); answer.playing = one(".play").getAttribute("aria-pressed"); one(".play").click();
  answer.stopped = one(".play").getAttribute("aria-pressed");
"""


def test_tasks_and_sequences_of_a_report_can_be_looked_at(run_dir, tmp_path):
    other = shutil.copytree(run_dir, tmp_path / "other")
    answer = ask(write_report([run_dir, other], tmp_path / "report.html"), TASKS + SEQUENCES, tmp_path / "profile")
    assert (answer["tiles"], answer["flipped"], answer["lost"], answer["searched"], answer["passed"]) == (5, 2, 0, 2, 2)
    assert answer["focused"]
    assert answer["text"]
    assert answer["added"] > 0
    assert answer["string"] > 0
    assert answer["moved"]
    assert answer["closed"]
    assert answer["wide"], "the page is wider than the window"
    assert 0 < answer["at_zero"] < answer["at_one"]
    assert (answer["teacher"], answer["left"], answer["sample"]) == (0, "0.95", "1")
    assert answer["trained"] > 0
    assert (answer["playing"], answer["stopped"]) == ("true", "false")


def test_the_viewer_of_any_data_file_keeps_hostile_texts_texts(tmp_path):
    sample = reflection_sample(1).to_json()
    sample["id"] = HOSTILE
    sample["messages"][0]["content"][0]["content"] += HOSTILE
    data = write_jsonl(tmp_path / "s.jsonl", [sample, reflection_sample(2).to_json()])
    page = tmp_path / "page.html"
    assert main(["inspect", str(data), "--html", str(page), "--mask-rate", "0.3", "--strategy", "random_token"]) == 0
    first = 'answer.first = [one(".rate").textContent, one(".pick-strategy").value, all(".pick-sample option").length];'
    shown = 'answer.shown = one(".tokens").textContent.includes("<img src=x"); answer.images = all("img").length;'
    answer = ask(page, f"{first}{shown}{SEQUENCES}", tmp_path / "profile")
    assert answer["first"] == ["0.30", "random_token", 2]
    assert (answer["shown"], answer["images"]) == (True, 0)
    assert 0 < answer["at_zero"] < answer["at_one"]


def test_two_evalplus_files_can_be_compared_on_a_page(tmp_path):
    def results(name, programs):
        rows = {
            f"HumanEval/{n}": [{"solution": code, "base_status": status, "plus_status": status}]
            for n, (code, status) in enumerate(programs)
        }
        return write_json(tmp_path / name, {"hash": "x", "eval": rows})

    a = results("a_eval_results.json", [("def f():\n    return 1\n", "fail"), ("same = 1\n", "pass")])
    b = results("b_eval_results.json", [(f"def f():\n    return 2\n# {HOSTILE}\n", "pass"), ("same = 1\n", "pass")])
    page = tmp_path / "page.html"
    assert main(["compare", str(a), str(b), "--html", str(page)]) == 0
    script = """
      set(".pick-change", "g"); one("button.task").click();
      answer.diff = all(".diff.split tr").map((row) => row.textContent);
      answer.mark = all(".diff mark").map((node) => node.textContent);
    """
    answer = ask(page, script, tmp_path / "profile")
    assert answer["diff"] == [" 1def f(): 1def f():", "−2    return 1+2    return 2", f"+3# {HOSTILE}"]
    assert answer["mark"] == ["1", "2"]
