"""Tests that are wrong on purpose: they look like those that are right."""

import ast
import random
import re

import pytest

from reflectioncoder.evaluate.benchmarks import BENCHMARKS
from reflectioncoder.evaluate.judges.bigcodebench.alterations import Alteration, Suite
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import reference_of, tasks_of
from reflectioncoder.evaluate.judges.bigcodebench.suites import challenges, unchanged
from tests.evaluate.bigcodebench_tasks import TESTS, row


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path_factory.getbasetemp() / "references"))


def test_every_assertion_can_be_made_wrong(isolation):
    suite = Suite(TESTS)
    (task,) = tasks_of("complete")([row()], "here")
    known = reference_of(task.tests, isolation, alone=False)
    assert known.failure == ""
    assert {test: len(suite.alterations(test)) for test in suite.tests} == {
        f"test_case_{n}": c for n, c in enumerate((2, 2, 1, 3, 2), 1)
    }
    assert {test: (len(own), suite.is_hidden(own[0])) for test, own in known.alterations.items()} == {
        "test_case_1": (2, False),  # its helper compares with a variable
        "test_case_2": (2, True),
        "test_case_3": (1, False),
        "test_case_4": (1, True),
        "test_case_5": (1, True),
    }


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
        "{3, 4}",
        "False",
    ]
    tests = "".join(f"    def test_{n}(self):\n        self.assertEqual(f(), {text})\n" for n, text in enumerate(literals))
    source = f"import unittest\nclass TestCases(unittest.TestCase):\n{tests}"
    suite = Suite(source)
    for seed in range(10):
        altered = [(test, suite.alterations(test)[0]) for test in suite.tests]
        assert all(suite.is_hidden(each) for _, each in altered)
        chosen: list[tuple[str, str, Alteration | None]] = [(test, test, each) for test, each in altered]
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
