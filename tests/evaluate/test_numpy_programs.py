"""A program that uses numpy gets the same verdict at every tier, in both kinds of tests and from every thread."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
from reflectioncoder.evaluate.judges.evalplus.data import function_tests
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, request_for
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.isolation import ISOLATIONS

# The same verdict at every tier and by both kinds of tests

PROGRAMS = {
    "def f(x): return 2 * x": True,
    "import numpy as np\ndef f(x): return np.int64(2 * x)": True,
    "import numpy as np\ndef f(x): return np.float64(2 * x)": True,
    "import numpy as np\ndef f(x): return np.float32(2 * x)": False,
    "import numpy as np\ndef f(x): return np.float16('inf')": False,
    "import numpy as np\ndef f(x): return np.array(2 * x)": True,
    "import numpy as np\ndef f(x): return np.array([2 * x])": True,
    "import numpy as np\ndef f(x): return np.array([2 * x, 2 * x])": False,
    "import numpy as np\ndef f(x): return np.array([2 * x], dtype=object)": True,
    "import numpy as np\ndef f(x): return np.longdouble(2 * x)": True,
    "import pandas as pd\ndef f(x): return pd.Series([2 * x]).sum()": True,
    "import pandas as pd\ndef f(x): return pd.Series([2 * x])": False,
    "def f(x): return type('N', (int,), {})(2 * x)": True,
    "def f(x): return type('N', (int,), {})(2 * x + 1)": False,
    "from fractions import Fraction\ndef f(x): return Fraction(2 * x)": True,
    "from decimal import Decimal\ndef f(x): return Decimal(2 * x)": True,
    "def f(x): return object()": False,
}
JUDGE = EvalPlusJudge(("base",))
ANSWERS = {"task_id": "t/0", "prompt": "", "canonical_solution": "def f(x): return 2 * x\n", "atol": 0, "plus_input": []}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ISOLATIONS)
@pytest.mark.parametrize("source", PROGRAMS)
def test_a_program_gets_the_same_verdict_at_every_tier(source, name, monkeypatch, tmp_path):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path))
    if reason := probe(ISOLATIONS[name]):
        pytest.skip(reason)
    numbers = (2, 2**24 + 1)  # twice the second is no number of 32 bits
    answers = function_tests("humaneval", {**ANSWERS, "base_input": [[number] for number in numbers]})
    for tests, judge in (
        (ProgramTests(tuple(f"assert f({number}) == {2 * number}" for number in numbers)), ProgramsJudge()),
        (answers, JUDGE),
    ):
        task = Task("t/0", "", "f", tests)
        verdict = Scorer(Benchmark("t", "1", "", (task,), judge, request_for), isolation=ISOLATIONS[name], floor=0).judge(task, source)
        assert (verdict.status == "passed") == PROGRAMS[source], (judge, verdict)


FRESH = """
import threading
from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.sandbox.answers import rebuild
assert "numpy" not in __import__("sys").modules
start, failed = threading.Barrier(8), []

def compare(number):
    start.wait()
    try:
        for _ in range(20):
            if number % 2:
                answer = rebuild(("numpy", "float16", float("inf")))
                assert matches("humaneval", "f", [], answer, ("int", 70_000), 0.0, "evalplus-head")
                assert not matches("humaneval", "f", [], answer, ("int", 70_000), 0.0)
            else:
                assert not matches("humaneval", "f", [], ("list", [1e308]), ("list", [-1e308]), 0.0)
    except BaseException as error:
        failed.append(repr(error))

threads = [threading.Thread(target=compare, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failed)
"""


def test_threads_that_are_the_first_to_need_numpy_compare_rightly_and_without_warnings():
    done = subprocess.run([sys.executable, "-W", "always", "-c", FRESH], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# Not scikit-learn: it sets an environment variable when it is imported, which EvalPlus's guard forbids, so it fails there as here.
USERS_OF_NUMPY = {
    "from sympy import lambdify\nfrom sympy.abc import x as y\ndef f(x): return 2 * int(lambdify(y, y, 'numpy')(x))": "sympy",
    "import networkx as nx\ndef f(x): return 2 * x * int(nx.to_numpy_array(nx.path_graph(2))[0, 1])": "networkx",
    "from scipy import special\ndef f(x): return 2 * x * int(special.comb(3, 3))": "scipy",
    "import pandas as pd\ndef f(x): return int(pd.Series([x, x]).sum())": "pandas",
}


@pytest.mark.parametrize("source", USERS_OF_NUMPY)
def test_packages_that_use_numpy_find_it_after_the_guard(source):
    pytest.importorskip(USERS_OF_NUMPY[source])
    task = Task("t/0", "", "f", function_tests("humaneval", {**ANSWERS, "base_input": [[1], [2]]}))
    verdict = Scorer(Benchmark("t", "1", "", (task,), JUDGE, request_for)).judge(task, source)
    assert verdict.status == "passed", verdict


def test_numpys_warnings_do_not_reach_the_terminal(capfd):
    program = "import numpy as np\ndef f(x): return np.float16('inf') if x else [np.float32('inf')]"
    tests = function_tests("humaneval", {**ANSWERS, "canonical_solution": "def f(x): return 10**30", "base_input": [[1], [0]]})
    task = Task("t/0", "", "f", tests)
    for rules in ("strict", "evalplus-head", "evalplus-0.3.1"):
        Scorer(Benchmark("t", "1", "", (task,), JUDGE, request_for), rules=rules).judge(task, program)
    assert math.isinf(np.float16("inf"))
    assert capfd.readouterr() == ("", "")
