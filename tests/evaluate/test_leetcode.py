"""leetcode: methods judged by the data set's assertions, as by its own rule; the solution's process holds none of them."""

import json
from dataclasses import replace

import pytest

from benchmarks.answer_benchmarks import mutants, official_methods
from reflectioncoder.cli import main
from reflectioncoder.config.declarations import EvaluateConfig, ModelConfig, Recipe
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, Benchmark, load_benchmark
from reflectioncoder.evaluate.dates import DateWindow
from reflectioncoder.evaluate.judges.base import ALONE, Conditions
from reflectioncoder.evaluate.judges.leetcode import MethodsJudge, leetcode_tasks, request_for
from reflectioncoder.evaluation import check_benchmarks, judged_benchmarks
from reflectioncoder.progress import logging_to
from reflectioncoder.sandbox.limits import Limits

IMPORTS = """
from collections import *
from math import *
from typing import *

inf = float('inf')

class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right

def tree_node(values):
    if not values:
        return None
    nodes = [None if value is None else TreeNode(value) for value in values]
    for number, node in enumerate(nodes[1:], start=1):
        parent = nodes[(number - 1) // 2]
        setattr(parent, "left" if number % 2 else "right", node)
    return nodes[0]

def list_node(values):
    return None
"""


def row(name, test, completion, **more):
    query = f"Write the method {name} of a class Solution."
    dated = {"task_id": name, "difficulty": "Easy", "estimated_date": "2025-01-05", "query": query, "starter_code": ""}
    return {**dated, "prompt": IMPORTS, "entry_point": f"Solution().{name}", "test": test, "completion": completion, **more}


DOUBLED = row(
    "doubled",
    "def check(candidate):\n    assert candidate(n = 2) == 4\n    assert candidate(n = -3) == -6\n"
    "    assert candidate(n = inf) == inf\n",
    "class Solution:\n    def doubled(self, n: int) -> int:\n        return 2 * n\n",
)
SUMMED = row(
    "summed",
    "def check(candidate):\n    assert candidate(root = tree_node([1, 2, 3])) == 6\n    assert candidate(root = tree_node([])) == 0\n",
    "class Solution:\n    def summed(self, root: Optional[TreeNode]) -> int:\n"
    "        return root.val + self.summed(root.left) + self.summed(root.right) if root else 0\n",
)


def method(body, name="doubled"):
    return f"class Solution:\n    def {name}(self, n):\n        {body}\n"


def verdict(of_row, solution, isolation, limits=None):
    (task,) = leetcode_tasks([of_row], "here")
    return MethodsJudge().under(Conditions(isolation, limits or Limits(), "strict"))(task, solution, ALONE)


@pytest.mark.parametrize("of_row", [DOUBLED, SUMMED], ids=["values", "trees"])
def test_the_reference_passes_and_its_mutants_as_officially(of_row, isolation):
    assert verdict(of_row, of_row["completion"], isolation).status == "passed"
    for kind, code in mutants(of_row["completion"]):
        officially = official_methods(of_row, code, isolation, Limits())
        assert (verdict(of_row, code, isolation).status == "passed") == officially, kind


PROGRAMS = [
    (method("return n + n"), "passed"),
    (method("return n * 3"), "failed"),
    (method("raise KeyError(n)"), "failed"),
    (method("print(n); return 2 * n"), "passed"),
    (method("return deque([n, n]) and 2 * n"), "passed"),
    (method("return 2 * n", "halved"), "failed"),
    ("def doubled(n):\n    return 2 * n\n", "failed"),
    ("", "failed"),
    ("class Solution\n    pass\n", "compile_error"),
    (method("import os; os.abort()"), "crashed"),
]


@pytest.mark.parametrize(("solution", "expected"), PROGRAMS)
def test_verdicts_are_those_of_the_official_rule(solution, expected, isolation):
    assert verdict(DOUBLED, solution, isolation).status == expected
    assert official_methods(DOUBLED, solution, isolation, Limits()) == (expected == "passed")


def test_an_endless_program_is_a_time_out(isolation):
    found = verdict(DOUBLED, method("while True: pass"), isolation, Limits(wall_s=0.5))
    assert (found.status, found.hit_time_limit) == ("timeout", True)


FORGERIES = [
    method("return type('', (), {'__eq__': lambda a, b: True})()"),
    "import os\nos._exit(0)\n",
    method("import os; os._exit(0)"),
    method("raise SystemExit(0)"),
    method("global check, candidate_of_the_tests; check = candidate_of_the_tests = lambda *a, **k: True; return 1"),
    "class Equal:\n    __call__ = lambda self, **k: self\n    __eq__ = lambda a, b: True\n\nclass Solution:\n    doubled = Equal()\n",
    "import builtins\nbuiltins.AssertionError = Warning\n" + method("return 0"),
]


@pytest.mark.parametrize("solution", FORGERIES)
def test_a_forgery_does_not_pass(solution, isolation):
    assert verdict(DOUBLED, solution, isolation).status in ("failed", "crashed")


def test_the_solutions_process_holds_no_expected_value(isolation):
    seen = "repr(gc.get_objects()) + repr(sys._getframe(1).f_globals)"
    looks = f"import gc, sys\n        return 2 * n if {{}} in {seen} else 0"
    secret = row("doubled", "def check(candidate):\n    assert candidate(n = 1) == 918273645\n", "")
    for _ in range(2):
        assert verdict(secret, method(looks.format("'918273645'")), isolation).status == "failed"
    assert verdict(DOUBLED, method(looks.format("'Solution'")), isolation).status == "passed"


def test_some_published_references_and_mutants_are_judged_as_officially(data_dir, isolation):
    published = BENCHMARKS["leetcode"]
    rows = published.file.read(published.file.obtain(str(data_dir)))
    assert len(rows) == 228
    wanted = ("final-array-state-after-k-multiplication-operations-i", "k-th-largest-perfect-subtree-size-in-binary-tree")
    for of_row in [one for one in rows if one["task_id"] in wanted]:
        assert verdict(of_row, of_row["completion"], isolation).status == "passed"
        for _, code in mutants(of_row["completion"]):
            limits = Limits(wall_s=2.0)
            assert (verdict(of_row, code, isolation, limits).status == "passed") == official_methods(of_row, code, isolation, limits)


def test_tasks_are_dated_and_have_parts(data_dir):
    benchmark = load_benchmark("leetcode", str(data_dir))
    assert benchmark.describe()["dates"] == {"from": "2024-08-04", "to": "2025-03-30"}
    assert {task.part for task in benchmark.tasks} == {"Easy", "Medium", "Hard"}
    names = dict(benchmark.judge.subsets(benchmark.tasks, [{"task_id": task.task_id} for task in benchmark.tasks]))
    assert {name: len(rows) for name, rows in names.items()} == {None: 228, "Medium": 101, "Easy": 48, "Hard": 79}


def test_the_window_of_a_recipe_is_for_dated_benchmarks(data_dir, tmp_path):
    recipe = Recipe(
        name="dated",
        model=ModelConfig("none"),
        evaluate=EvaluateConfig(benchmarks=("bundled/seen:3", "leetcode"), from_date="2025-01-01", to_date="2025-01-31"),
    )
    with logging_to(tmp_path / "said.log"):
        found = judged_benchmarks(recipe, str(data_dir))
    assert found["leetcode"].describe()["dates"]["from"] >= "2025-01-01"
    assert 0 < len(found["leetcode"].tasks) < 228
    assert len(found["bundled/seen:3"].tasks) == 3
    assert "tasks dated 2025-01-" in (tmp_path / "said.log").read_text()
    others = replace(recipe, evaluate=replace(recipe.evaluate, benchmarks=("bundled/seen",)))
    with pytest.raises(UsageError, match="none of these benchmarks is dated: bundled/seen; the window from 2025-01-01 to 2025-01-31"):
        check_benchmarks(others, str(data_dir))
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        EvaluateConfig(from_date="2025-13-01")
    with pytest.raises(UsageError, match="the window is empty"):
        check_benchmarks(replace(recipe, evaluate=replace(recipe.evaluate, from_date="2025-02-01")), str(data_dir))


def test_a_window_takes_the_tasks_of_its_days_and_then_the_first(data_dir):
    window = DateWindow("2025-01-01", "2025-01-31")
    whole = load_benchmark("leetcode", str(data_dir), window)
    assert all("2025-01-01" <= task.date <= "2025-01-31" for task in whole.tasks)
    assert len(whole.tasks) + len(whole.left_out) == 228
    assert load_benchmark("leetcode:3", str(data_dir), window).tasks == whole.tasks[:3]
    last = DateWindow(whole.tasks[-1].date, whole.tasks[-1].date)
    assert whole.tasks[-1] in load_benchmark("leetcode", str(data_dir), last).tasks


@pytest.mark.parametrize(
    ("benchmark", "options", "said"),
    [
        ("leetcode", ["--from", "2025-13-01"], "not a date"),
        ("leetcode", ["--from", "01.02.2025"], "not a date"),
        ("leetcode", ["--from", "2025-02-01", "--to", "2025-01-01"], "empty"),
        ("leetcode", ["--from", "2031-01-01"], "dated 2024-08-04 to 2025-03-30"),
        ("bundled/seen", ["--from", "2025-01-01"], "not dated"),
    ],
)
def test_a_window_that_cannot_be_is_refused(benchmark, options, said, data_dir, tmp_path, capsys):
    samples = tmp_path / "samples.jsonl"
    samples.write_text("{}\n")
    arguments = ["score", str(samples), "--benchmark", benchmark, "--output", str(tmp_path / "out"), "--data-dir", str(data_dir)]
    assert main([*arguments, *options]) == 2
    assert said in capsys.readouterr().err


def test_score_prints_the_window(data_dir, tmp_path, capsys):
    window = DateWindow("2025-03-30")
    tasks = load_benchmark("leetcode", str(data_dir), window).tasks
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps({"task_id": task.task_id, "solution": "class Solution: pass"}) + "\n" for task in tasks))
    arguments = ["score", str(samples), "--benchmark", "leetcode", "--from", "2025-03-30", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--data-dir", str(data_dir)]) == 0
    assert f"leetcode: {len(tasks)} tasks dated 2025-03-30 to 2025-03-30" in capsys.readouterr().out


def test_an_answer_is_asked_for_in_the_data_sets_words_and_its_class_is_read():
    (task,) = leetcode_tasks([DOUBLED], "here")
    request = request_for(task, 0)
    assert request.instruction == DOUBLED["query"]
    assert request.entry_point == "Solution"
    assert Benchmark("t", "1", "", (task,), MethodsJudge(), request_for).requests(1)[0].key == ("leetcode/doubled", 0)
