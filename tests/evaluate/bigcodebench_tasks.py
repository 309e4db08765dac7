"""Tasks as BigCodeBench has them, made for the tests."""

from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import UnitTestsJudge, request_for, tasks_of

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
