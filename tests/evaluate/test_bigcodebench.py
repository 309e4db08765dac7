"""bigcodebench-hard: suites of unittest, judged as officially; the solution's process cannot say that it passed."""

import ast
import json
import random
import re
from dataclasses import replace

import pytest

from benchmarks.answer_benchmarks import mutants
from benchmarks.unit_tests import EDGES, official_unit_tests
from reflectioncoder.cli import main
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate import references as references_module
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, Benchmark, load_benchmark
from reflectioncoder.evaluate.catalogue import entries
from reflectioncoder.evaluate.judges.base import ALONE, Conditions, Verdict
from reflectioncoder.evaluate.judges.bigcodebench import benchmark as judge_module
from reflectioncoder.evaluate.judges.bigcodebench.alterations import Suite
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import LIMITS, UnitTestsJudge, reference_of, request_for, tasks_of
from reflectioncoder.evaluate.judges.bigcodebench.data import calibrated
from reflectioncoder.evaluate.judges.bigcodebench.suites import challenges, judge_suite, run_suite, unchanged
from reflectioncoder.evaluate.references import References, known_references, lines_of, with_references, without_failed
from reflectioncoder.evaluation import complete_and_judge, completions_key
from reflectioncoder.generate.base import RawCompletion
from reflectioncoder.sandbox.limits import Limits

CODE_PROMPT = "import json\nimport os\nimport random\ndef task_func(path, key):\n"
REFERENCE = """\
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not there")
    with open(path) as handle:
        numbers = json.load(handle)[key]
    return {"sum": sum(numbers), "largest": max(numbers), "mean": sum(numbers) / len(numbers)}
"""
TESTS = """\
import unittest
from unittest.mock import mock_open, patch
import tempfile
class TestCases(unittest.TestCase):
    def setUp(self):
        with open("numbers.json", "w") as handle:
            json.dump({"a": [1, 2, 3], "b": [7]}, handle)
    def tearDown(self):
        os.remove("numbers.json")
    def check(self, found, wanted):
        self.assertIsInstance(found, dict)
        self.assertEqual(found, wanted)
    def test_case_1(self):
        self.check(task_func("numbers.json", "a"), {"sum": 6, "largest": 3, "mean": 2.0})
    def test_case_2(self):
        found = task_func("numbers.json", "b")
        self.assertEqual(found["sum"], 7)
        self.assertAlmostEqual(found["mean"], 7.0)
    def test_case_3(self):
        with self.assertRaises(FileNotFoundError):
            task_func("nowhere.json", "a")
    @patch("os.path.exists", return_value=True)
    def test_case_4(self, exists):
        with patch("builtins.open", mock_open(read_data='{"c": [4, 5]}')) as opened:
            wanted = {"sum": 9, "largest": 5, "mean": 4.5}
            self.assertEqual(task_func("made.json", "c"), wanted)
        opened.assert_called_once_with("made.json")
        exists.assert_called_once()
    def test_case_5(self):
        self.assertTrue(task_func("numbers.json", "a")["largest"] > 2)
        self.assertIn("mean", task_func("numbers.json", "a"))
"""


def row(test=TESTS, code_prompt=CODE_PROMPT, solution=REFERENCE, number=1):
    texts = {"prompt": "Sum numbers.", "entry_point": "task_func", "doc_struct": "{}"}
    return {**texts, "task_id": f"BigCodeBench/{number}", "test": test, "code_prompt": code_prompt, "canonical_solution": solution}


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path_factory.getbasetemp() / "references"))


def verdict(solution, isolation, of_row=None) -> Verdict:
    (task,) = tasks_of("complete")([of_row or row()], "here")
    return UnitTestsJudge().under(Conditions(isolation, Limits(), "strict"))(task, solution, ALONE)


def whole(body: str) -> str:
    return f"def task_func(path, key):\n{body}"


def test_the_reference_passes_and_its_slips_as_officially(isolation):
    assert verdict(whole(REFERENCE), isolation).status == "passed"
    found = mutants(CODE_PROMPT + REFERENCE)
    assert len(found) == 5
    for kind, code in found:
        officially = official_unit_tests(CODE_PROMPT, TESTS, code, isolation)
        assert (verdict(code, isolation).status == "passed") == officially, kind


SORTED = REFERENCE.replace('"largest": max(numbers)', '"largest": sorted(numbers)[-1]')
MORE_PROGRAMS = {
    "a helper": ("import os.path\ndef helper(x):\n    return x\n" + whole(REFERENCE), "passed"),
    "another way": (whole(SORTED), "passed"),
    "prints": ("print('x')\n" + whole("    print(path)\n" + REFERENCE), "passed"),
    "a main": (whole(REFERENCE) + "if __name__ == '__main__':\n    raise SystemExit(3)\n", "passed"),
    "wrong": (whole(REFERENCE.replace("sum(numbers),", "max(numbers),")), "failed"),
    "asks": (whole("    input()\n" + REFERENCE), "failed"),
    "aborts": (whole("    os.abort()\n"), "crashed"),
}


@pytest.mark.parametrize("name", MORE_PROGRAMS)
def test_verdicts_are_those_of_the_official_rule(name, isolation):
    code, expected = MORE_PROGRAMS[name]
    assert verdict(code, isolation).status == expected
    assert official_unit_tests(CODE_PROMPT, TESTS, code, isolation) == (expected == "passed")


@pytest.mark.parametrize("name", EDGES)
def test_hand_made_programs_fail_as_officially(name, isolation):
    assert verdict(EDGES[name], isolation).status in ("failed", "compile_error")
    assert not official_unit_tests(CODE_PROMPT, TESTS, EDGES[name], isolation)


NOTHING = whole("    return None\n")
ANY = "class Any(dict):\n    __eq__ = __gt__ = __contains__ = lambda *a: True\n    __ne__ = lambda *a: False\n"
ANY += "    __getitem__ = lambda *a: Any()\n    __sub__ = __rsub__ = __abs__ = __round__ = lambda *a: 0\n"
NO_ASSERTIONS = """\
import contextlib, unittest
from unittest import mock
for kind in (unittest.TestCase, mock.NonCallableMock):
    for name in dir(kind):
        if name.startswith("assert"):
            setattr(kind, name, lambda *a, **k: contextlib.nullcontext())
def task_func(path, key):
    found = mock.MagicMock()
    found.__getitem__.return_value = 3
    return found
"""
FORGERIES = {
    "no assertions": NO_ASSERTIONS,
    "no failures": "import unittest\nunittest.TestResult.addFailure = unittest.TestResult.addError = lambda *a: None\n" + NOTHING,
    "only successes": "import unittest\nfor name in ('addFailure', 'addError'):\n"
    "    setattr(unittest.TestResult, name, lambda self, test, error: self.addSuccess(test))\n" + NOTHING,
    "a run of nothing": "import unittest\nunittest.TestSuite.run = lambda self, result, debug=False: result\n" + NOTHING,
    "a case that runs nothing": "import unittest\nunittest.TestCase.run = lambda self, result=None: result.addSuccess(self)\n"
    + NOTHING,
    "no tests are found": "import unittest\nunittest.TestLoader.testMethodPrefix = 'nothing'\n" + NOTHING,
    "skipped": "import unittest\n" + whole("    raise unittest.SkipTest('no')\n"),
    "expected to fail": "import unittest\nunittest.TestCase.__unittest_expecting_failure__ = True\n" + NOTHING,
    "equal to anything": ANY + whole("    return Any()\n"),
    "ends at once": "import os\nos._exit(0)\n",
    "ends when called": whole("    os._exit(0)\n"),
    "ends the interpreter": "import sys\nsys.exit(0)\n",
    "ends at the end": "import atexit, os\natexit.register(os._exit, 0)\n" + whole("    raise SystemExit(0)\n"),
    "deletes the tests": whole("    import sys\n    scope = sys._getframe(1).f_globals\n    scope.pop('TestCases', None)\n"),
    "another class of tests": "import unittest\nloader = unittest.TestLoader.loadTestsFromTestCase\nclass Other(unittest.TestCase):\n"
    "    def runTest(self): pass\nunittest.TestLoader.loadTestsFromTestCase = lambda self, cases: loader(self, Other)\n" + NOTHING,
    "no assertion error": "import builtins\nbuiltins.AssertionError = type('E', (Exception,), {})\n" + NOTHING,
    "says that all passed": "import gc, os, sys\ntag = next(f.f_locals['tag'] for f in iter_frames() if 'tag' in f.f_locals)\n"
    "for fd in range(3, 64):\n    for n in range(1, 6):\n        try: os.write(fd, f'{tag} success test_case_{n}\\n'.encode())\n"
    "        except OSError: pass\n    try: os.write(fd, f'{tag} done\\n'.encode())\n    except OSError: pass\nos._exit(0)\n",
    "gives the error that is expected": "class E(FileNotFoundError): pass\n" + whole("    raise E(path)\n"),
}
FRAMES = "import sys\ndef iter_frames():\n    f = sys._getframe()\n    while f: yield f; f = f.f_back\n"
NO_PASS_OFFICIALLY = (
    *("ends at once", "ends when called", "ends the interpreter", "ends at the end", "equal to anything", "deletes the tests"),
    *("no assertion error", "gives the error that is expected", "says that all passed"),
)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_does_not_pass(name, isolation):
    found = verdict(FRAMES + FORGERIES[name], isolation)
    assert found.status in ("failed", "crashed"), found
    if name not in NO_PASS_OFFICIALLY:  # an attack that would work
        assert official_unit_tests(CODE_PROMPT, TESTS, FRAMES + FORGERIES[name], isolation)


def test_a_forgery_that_the_tests_alone_would_pass_has_a_reason(isolation):
    found = verdict(FORGERIES["no assertions"], isolation)
    assert (found.status, dict(found.fields)) == ("failed", {"reason": "unchecked", "harness_status": "OK"})
    found = verdict(FRAMES + FORGERIES["says that all passed"], isolation)
    assert (found.status, found.fields["reason"]) == ("failed", "unchecked")


def test_an_endless_program_is_a_time_out(isolation):
    suite = Suite(TESTS)
    endless = calibrated(CODE_PROMPT, whole("    while True: pass\n"))
    for alterations in ({}, {test: suite.alterations(test) for test in suite.tests}):
        found = judge_suite(endless, suite, alterations, Limits(wall_s=0.5), isolation)
        assert (found.status, found.hit_time_limit) == ("timeout", True)


def test_every_assertion_can_be_made_wrong(isolation):
    suite = Suite(TESTS)
    (task,) = tasks_of("complete")([row()], "here")
    known = reference_of(task.tests, isolation, alone=False)
    assert known.failure == ""
    assert {test: len(suite.alterations(test)) for test in suite.tests} == {
        f"test_case_{n}": c for n, c in enumerate((2, 2, 1, 3, 2), 1)
    }
    assert {test: (len(own), suite.is_hidden(own[0])) for test, own in known.alterations.items()} == {
        "test_case_1": (1, False),  # its helper compares with a variable
        "test_case_2": (2, True),
        "test_case_3": (1, False),
        "test_case_4": (1, True),
        "test_case_5": (1, True),
    }


def test_challenges_are_drawn_anew_and_come_in_pairs():
    suite = Suite(TESTS)
    alterations = {test: suite.alterations(test) for test in suite.tests}
    first, second = challenges(suite, alterations, random.Random(1))
    assert first.wrong | second.wrong == set(suite.tests)
    assert not first.wrong & second.wrong
    assert {one.wrong for seed in range(50) for one in challenges(suite, alterations, random.Random(seed))} > {
        first.wrong,
        second.wrong,
    }
    assert len(list(challenges(suite, {"test_case_1": alterations["test_case_1"]}))) == 10  # guessing one is easy
    assert list(challenges(suite, {})) == []


def test_unchanged_tests_are_the_published_ones(data_dir):
    published = BENCHMARKS["bigcodebench-hard/complete"].file
    for one in published.read(published.obtain(str(data_dir)))[::4]:
        wanted, found = (_as_run(ast.parse(source)) for source in (one["test"], unchanged(Suite(one["test"]))))
        assert _without_hashes(found) == _without_hashes(wanted), one["task_id"]


def _as_run(module):
    """The methods of the class in an order of their own, and of those with one name the last: that is what Python sees."""
    cases = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "TestCases")
    methods = {node.name: node for node in cases.body if isinstance(node, ast.FunctionDef)}
    cases.body = [node for node in cases.body if not isinstance(node, ast.FunctionDef)] + [methods[name] for name in sorted(methods)]
    return module


def _without_hashes(module):
    """As text, each method once: of helpers every test has a copy, besides the original or in its place."""
    cases = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "TestCases")
    texts = [_HASH.sub("'", ast.dump(node)) for node in cases.body]
    cases.body = []
    return sorted(set(texts)), ast.dump(module)


_HASH = re.compile(r"_[0-9a-f]{10}'")
SHARED = TESTS.replace(
    "        self.assertEqual(found, wanted)\n",
    "        self.assertEqual(found, wanted)\n        self.assertEqual(sorted(found), ['largest', 'mean', 'sum'])\n"
    "        self.assertEqual(len(found), 3)\n    def never(self):\n        self.kept()\n    def kept(self):\n        pass\n",
).replace("    def test_case_2(self):\n", "    def test_case_2(self):\n        self.kept()\n")


def _methods(source, name):
    """The methods that are called so in a source, without what tells copies apart."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [_HASH.sub("'", ast.dump(node)) for node in found if re.sub(r"_[0-9a-f]{10}$", "", node.name) == name]


def test_a_wrong_helper_is_alike_in_all_tests_and_stands_beside_no_original():
    shared = SHARED.replace('self.assertAlmostEqual(found["mean"], 7.0)', 'self.check(found, {"sum": 7, "largest": 7, "mean": 7.0})')
    shared = shared.replace('        self.assertEqual(found["sum"], 7)\n', "")
    suite = Suite(shared)
    alterations = {
        test: [each for each in suite.alterations(test) if suite.is_hidden(each)][:2] for test in ("test_case_1", "test_case_2")
    }
    assert [each.owner for own in alterations.values() for each in own] == ["check"] * 4
    right = _methods(shared, "check")
    for seed in range(20):
        seen = [_methods(one.source, "check") for one in challenges(suite, alterations, random.Random(seed))]
        assert all(len(copies) == 2 for copies in seen)  # one of each test
        forms = {copy for copies in seen for copy in copies}
        assert len({copy for copy in forms if copy not in right}) <= len(seen)
        assert all(len(set(copies) - set(right)) <= 1 for copies in seen)
    assert len(_methods(unchanged(suite), "kept")) == 2  # the original is used by another method that is no test


def test_wrong_constants_look_like_right_ones():
    literals = [
        "12",
        "-3",
        "0",
        "2.5",
        "0.0",
        "1e-09",
        "'Total: 15 EUR'",
        "b'ab'",
        "[1, 2.5, 40]",
        "{'a': 'x', 'b': True}",
        "(x, 'y1')",
    ]
    tests = "".join(f"    def test_{n}(self):\n        self.assertEqual(f(), {text})\n" for n, text in enumerate(literals))
    source = f"import unittest\nclass TestCases(unittest.TestCase):\n{tests}"
    suite = Suite(source)
    for seed in range(10):
        chosen = [(test, test, suite.alterations(test)[0]) for test in suite.tests]
        assert all(suite.is_hidden(each) for _, _, each in chosen)
        wrong = suite.with_tests(chosen, random.Random(seed))
        right = suite.with_tests([(test, test, None) for test in suite.tests], random.Random(seed))
        assert _looks(wrong) == _looks(right)
        assert sum(a != b for a, b in zip(wrong.splitlines(), right.splitlines(), strict=True)) == len(literals)


def _looks(source):
    """Digits and letters of one kind alike; True and False too."""
    source = source.replace("True", "False")
    for kind, stands_for in (("[0-9]", "0"), ("[a-z]", "a"), ("[A-Z]", "A")):
        source = re.sub(kind, stands_for, source)
    return source


NEEDS_MORE = row(code_prompt="import no_such_package\n" + CODE_PROMPT, number=2)
NEEDS_NETWORK = row(
    TESTS.replace("    def check", "    def test_net(self):\n        import urllib.request\n"
                  "        urllib.request.urlopen('http://127.0.0.1:9')\n    def check"), number=3
)  # fmt: skip


VISIBLE = row("import unittest\nclass TestCases(unittest.TestCase):\n    def test_1(self):\n"
              "        with self.assertRaises(FileNotFoundError):\n            task_func('nowhere', 'a')\n", number=5)  # fmt: skip


def benchmark_of(*rows) -> Benchmark:
    tasks = tuple(tasks_of("complete")(rows, "here"))
    return Benchmark("bigcodebench-hard/complete", "1", "no hash", tasks, UnitTestsJudge(), request_for)


def test_tasks_whose_references_fail_here_are_left_out_by_name(isolation, monkeypatch):
    whole = benchmark_of(row(), NEEDS_MORE, NEEDS_NETWORK, VISIBLE)
    found = with_references(whole, 1, 2)
    assert [task.task_id for task in found.tasks] == ["BigCodeBench/1", "BigCodeBench/5"]
    assert found.whole == whole
    assert found.not_judged == ["BigCodeBench/2", "BigCodeBench/3"]
    assert found.left_out == {"BigCodeBench/2", "BigCodeBench/3"}
    assert found.references
    said = found.references.to_json()
    assert found.describe()["references"] == said
    assert (said["num_tasks"], said["num_passed"], said["not_challenged"]) == (4, 2, ["BigCodeBench/5"])
    assert said["failed"]["BigCodeBench/2"] == "ModuleNotFoundError: No module named 'no_such_package'"
    assert "test_net" in said["failed"]["BigCodeBench/3"]
    lines = lines_of({"benchmark": found.describe()})
    assert lines[0].endswith("the references of 2 of 4 tasks pass here; left out:")
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == ["BigCodeBench/2", "BigCodeBench/3"]
    assert lines[-1].endswith("1 tasks whose challenge can be seen through: BigCodeBench/5")
    assert known_references(found.name, found.sha256) == found.references
    assert known_references(found.name, "other data") is None
    with monkeypatch.context() as patch:
        patch.setattr(references_module, "detect_isolation", lambda: replace(isolation, name="another"))
        assert known_references(found.name, found.sha256) is None
    with pytest.raises(MachineError, match="no reference passes here"):
        with_references(benchmark_of(NEEDS_MORE), 1, 2)


def test_references_are_judged_once_for_each_environment(isolation, monkeypatch):
    (task,) = tasks_of("complete")([row(number=4)], "here")
    first = reference_of(task.tests, isolation, alone=False)
    with monkeypatch.context() as patch:
        patch.setattr(judge_module, "run_suite", None)
        assert reference_of(task.tests, isolation, alone=False) == first
        patch.setattr(judge_module, "package_versions", lambda: ("numpy==0",))
        with pytest.raises(TypeError):
            reference_of(task.tests, isolation, alone=False)


@pytest.mark.parametrize("status", ["timeout", "memory", "crashed"])
def test_a_reference_that_fails_beside_others_is_judged_again_alone(status, isolation, monkeypatch):
    run, num_runs = judge_module.run_suite, 0

    def unlucky(*args):
        nonlocal num_runs
        num_runs += 1
        found = run(*args)
        return replace(found, ran=replace(found.ran, status=status)) if num_runs <= how_often else found

    monkeypatch.setattr(judge_module, "run_suite", unlucky)
    number = 20 + len(status)
    (task,) = tasks_of("complete")([row(f"{TESTS}# {status}\n", number=number)], "here")
    how_often = 1
    assert reference_of(task.tests, isolation, alone=False).failure.startswith(status)
    found = with_references(benchmark_of(row(f"{TESTS}# {status}\n", number=number)), 1, 2)
    assert not found.not_judged
    num_runs, how_often = 0, 2
    with pytest.raises(MachineError, match="no reference passes here"):
        with_references(benchmark_of(row(f"{TESTS}# {status}, twice\n", number=number)), 1, 2)
    assert num_runs == 2


def test_a_challenge_that_goes_wrong_once_is_not_kept(isolation, monkeypatch):
    make, bad = judge_module.failing_alterations, [True]
    monkeypatch.setattr(judge_module, "failing_alterations", lambda *a, **k: {} if bad and bad.pop() else make(*a, **k))
    found = with_references(benchmark_of(row(f"{TESTS}# once\n", number=30)), 1, 1)
    assert found.references
    assert not found.references.not_challenged


def test_a_key_of_completions_does_not_depend_on_what_passes_here():
    whole = benchmark_of(row(), NEEDS_MORE, VISIBLE)
    recipe = Recipe("r", ModelConfig("none"))
    failed = [{}, {"BigCodeBench/2": "one word"}, {"BigCodeBench/2": "another"}, {"BigCodeBench/1": "x", "BigCodeBench/5": "y"}]
    keys = {completions_key(without_failed(whole, References(3, reasons)), recipe, "model") for reasons in failed}
    assert keys == {completions_key(whole, recipe, "model")}
    assert completions_key(benchmark_of(row(), VISIBLE), recipe, "model") not in keys


class _Asked:
    """A model that keeps what it is asked."""

    def __init__(self):
        self.batches, self.asked = [], []

    def complete(self, requests, done, config, seed):
        self.batches.append([request.task_id for request in requests])
        for request in requests:
            if request.key not in done:
                self.asked.append(request.task_id)
                yield request, RawCompletion("def task_func(path, key): pass\n```", "stop", 1)


def test_completions_of_tasks_that_are_left_out_later_stay(isolation, tmp_path):
    whole, model, recipe = benchmark_of(row(), NEEDS_MORE), _Asked(), Recipe("r", ModelConfig("none"))
    kept = []
    for failed in ({}, {"BigCodeBench/2": "x"}, {"BigCodeBench/1": "y"}, {}):
        benchmark = without_failed(whole, References(2, failed))
        judged = complete_and_judge(model, benchmark, benchmark.requests(1), recipe, Limits(), tmp_path, "label")
        assert [sample.task.task_id for sample in judged.samples] == [task.task_id for task in benchmark.tasks]
        assert judged.finish_reasons == {"stop": len(benchmark.tasks)}
        kept.append(sorted(read_jsonl_ids(tmp_path / "completions.jsonl")))
    assert kept == [["BigCodeBench/1", "BigCodeBench/2"]] * 4
    assert model.asked == ["BigCodeBench/1", "BigCodeBench/2"]
    assert model.batches == [["BigCodeBench/1", "BigCodeBench/2"]] * 4


def read_jsonl_ids(path):
    return [json.loads(line)["task_id"] for line in path.read_text().splitlines()]


def test_cheap_checks_of_evaluate_come_before_references(data_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(references_module, "map_ordered", None)
    command = ["evaluate", str(tmp_path / "none"), "--benchmark", "bigcodebench-hard/instruct:1", "--output", str(tmp_path / "out")]
    assert main([*command, "--format", "evalplus", "--data-dir", str(data_dir)]) == 2
    assert "no such file for this benchmark" in capsys.readouterr().err


def test_published_references_and_slips_are_judged_as_officially(data_dir, isolation):
    published = BENCHMARKS["bigcodebench-hard/complete"]
    rows = {one["task_id"]: one for one in published.file.read(published.file.obtain(str(data_dir)))}
    assert len(rows) == 148
    for number in (13, 15):
        one = rows[f"BigCodeBench/{number}"]
        reference = one["code_prompt"] + one["canonical_solution"]
        for code in (reference, *(code for _, code in mutants(reference, 2))):
            officially = official_unit_tests(one["code_prompt"], one["test"], code, isolation)
            assert (verdict(code, isolation, one).status == "passed") == officially
            assert officially or code != reference


@pytest.mark.parametrize("split", ["complete", "instruct"])
def test_a_model_is_asked_as_published(split, data_dir):
    benchmark = load_benchmark(f"bigcodebench-hard/{split}:1", str(data_dir))
    (request,) = benchmark.requests(1)
    first, _, rest = request.instruction.partition("\n")
    assert first.endswith("in a markdown code block:")
    assert rest.startswith("```\nimport subprocess\n") == (split == "complete")
    assert rest.startswith("Download all files") == (split == "instruct")
    assert rest.endswith("```\n")
    assert request.entry_point == "task_func"


def test_scores_are_written_with_references_beside_them_and_compared(data_dir, tmp_path, capsys):
    name = "bigcodebench-hard/instruct:2"
    tasks = load_benchmark(name, str(data_dir)).tasks
    for kind in ("right", "wrong"):
        programs = {task.task_id: task.canonical_solution if kind == "right" else EDGES["a stub"] for task in tasks}
        write_jsonl(tmp_path / f"{kind}.jsonl", [{"task_id": task, "solution": program} for task, program in programs.items()])
    for kind in ("right", "wrong"):
        command = ["score", str(tmp_path / f"{kind}.jsonl"), "--benchmark", name, "--output", str(tmp_path / kind)]
        assert main([*command, "--data-dir", str(data_dir)]) == 0
        shown = capsys.readouterr().out
        assert "the references of 2 of 2 tasks pass here" in shown
        results = json.loads((tmp_path / kind / "results.json").read_text())
        assert results["benchmark"]["references"] == {"num_tasks": 2, "num_passed": 2, "failed": {}, "not_challenged": []}
        assert {m["subset"]: m["value"] for m in results["metrics"]} == dict.fromkeys((None, "harness"), float(kind == "right"))
    assert main(["compare", str(tmp_path / "wrong"), str(tmp_path / "right"), "--json"]) == 0
    (subset,) = json.loads(capsys.readouterr().out)["subsets"]
    assert subset["counts"] == {"both": 0, "only_a": 0, "only_b": 2, "neither": 0}


def test_the_list_says_whether_references_were_judged_here(data_dir):
    listed = {entry.name: entry for entry in entries(str(data_dir))}
    assert "references have not been judged here" in listed["bigcodebench-hard/instruct"].line()
    assert listed["bigcodebench-hard/instruct"].to_json()["references"] is None
    assert "references" not in listed["humaneval"].to_json()
    known = replace(listed["bigcodebench-hard/instruct"], references=with_references(benchmark_of(row(), NEEDS_MORE), 1, 2).references)
    assert "the references of 1 of 2 tasks pass here" in known.line()
    assert known.to_json()["references"]["failed"].keys() == {"BigCodeBench/2"}


def test_the_tests_find_a_directory_of_their_own_without_files(isolation):
    tests = TESTS.replace(
        "    def check", "    def test_case_0(self):\n        self.assertEqual(os.listdir('.'), ['numbers.json'])\n    def check"
    )
    run = run_suite(calibrated(CODE_PROMPT, whole(REFERENCE)), tests, LIMITS, isolation)
    assert run.verdict(Suite(tests).tests).status == "passed"
