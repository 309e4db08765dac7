"""bigcodebench-hard: suites of unittest, judged as officially; the solution's process cannot say that it passed."""

import json
import random

import pytest

from benchmarks.answer_benchmarks import mutants
from benchmarks.unit_tests import EDGES, official_unit_tests
from reflectioncoder.cli import main
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.base import ALONE, Conditions, Verdict
from reflectioncoder.evaluate.judges.bigcodebench.alterations import Suite
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import LIMITS, UnitTestsJudge, tasks_of
from reflectioncoder.evaluate.judges.bigcodebench.data import calibrated
from reflectioncoder.evaluate.judges.bigcodebench.suites import challenges, judge_suite, run_suite
from reflectioncoder.sandbox.limits import Limits
from tests.evaluate.bigcodebench_tasks import CODE_PROMPT, REFERENCE, TESTS, row


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


def test_the_tests_find_a_directory_of_their_own_without_files(isolation):
    tests = TESTS.replace(
        "    def check", "    def test_case_0(self):\n        self.assertEqual(os.listdir('.'), ['numbers.json'])\n    def check"
    )
    run = run_suite(calibrated(CODE_PROMPT, whole(REFERENCE)), tests, LIMITS, isolation)
    assert run.verdict(Suite(tests).tests).status == "passed"
