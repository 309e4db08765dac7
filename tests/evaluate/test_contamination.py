"""Benchmark tasks are recognised by what a program does, and models that were trained on some are not scored in silence."""

import contextlib
import gzip
import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.pipeline import _logged
from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.contamination import records
from reflectioncoder.contamination.behaviour import Behaviour, BenchmarkTask, _alike
from reflectioncoder.contamination.overlap import KnownTasks, NgramIndex
from reflectioncoder.contamination.records import (
    known_behaviour,
    known_tasks,
    record_training_data,
    refuse_contaminated,
    refuse_contaminated_data,
)
from reflectioncoder.data.files import content_hash, read_json, write_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program, one_off_answer, one_off_request
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.evaluate.benchmarks import BIGCODEBENCH, EVALPLUS_FILES, load_benchmark
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import tasks_of
from reflectioncoder.pipeline import Run
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sharded.build import _work
from tests.conftest import make_model, make_tokenizer
from tests.tiers import part

ROW = {
    "task_id": "HumanEval/900",
    "entry_point": "double",
    "prompt": "def double(x):\n",
    "canonical_solution": "    return 2 * x\n",
    "base_input": [[1], [2.5], ["ab"], [[1, 2]]],
    "plus_input": [],
    "atol": 0,
}


@pytest.fixture(scope="module")
def behaviour():
    return Behaviour([BenchmarkTask("humaneval", ROW)], detect_isolation())


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("def twice(value):\n    return value + value\n", "HumanEval/900, by what twice does"),
        ("def helper(y):\n    return y\n\ndef add(y):\n    return helper(y) + y\n", "HumanEval/900, by what add does"),
        ("print('noise')\ndef f(x):\n    print('more')\n    return x * 2\n", "HumanEval/900, by what f does"),
        ("def f(x):\n    return x * 3\n", None),
        ("import time\ntime.sleep(0.3)\nf = lambda x: x + x\n", "HumanEval/900, by what f does"),  # loading takes its own time
        ("def double(y):\n    return 2 * y\n\ndef f(x):\n    return [double(x)]\n", None),  # a helper is not what it is for
        ("def f(x):\n    return x * 2 if x != [1, 2] else None\n", None),  # right on the first inputs only
        ("def f(x, y):\n    return x * 2\n", None),
        ("def f(x):\n    while True:\n        try:\n            pass\n        except BaseException:\n            pass\n", None),
        ("import os\ndef f(x):\n    os._exit(0)\n", None),
        ("def f(:\n", None),
        ("x = 3\n", None),
    ],
)
def test_a_task_is_recognised_by_what_a_program_does(behaviour, program, found):
    assert behaviour(program) == found


def test_answers_may_differ_as_the_tests_allow():
    assert _alike("0.1", "0.10000000001")
    assert _alike("[1, 2]", "(1, 2)")
    assert not _alike("", "")
    assert not _alike("1", "2")
    assert not _alike("<object at 0x1>", "[1]")


@pytest.mark.long
def test_every_sixth_task_is_found_under_another_name(data_dir):
    """N-grams cannot: every name is another one here, and the text is gone."""
    behaviour = known_behaviour()
    assert behaviour is not None
    missed = []
    tasks = part(behaviour._tasks[::6], 3)
    for task in tasks:
        program = task.row["prompt"] + task.row["canonical_solution"]
        renamed = re.sub(rf"\b{task.row['entry_point']}\b", "my_function", program)
        if behaviour(renamed) is None:
            missed.append(task.row["task_id"])
    assert len(tasks) > 28
    assert len(missed) <= len(tasks) / 40, missed


def test_no_bundled_reference_behaves_like_a_benchmark_task(data_dir):
    behaviour = known_behaviour()
    assert behaviour is not None
    assert [p.task_id for p in bundled_problems("train")[::8] if behaviour(answer_program(p))] == []


def one_off(request, program, task_id="x"):
    return Sample((user(request), assistant(Block("text", one_off_answer(program)))), "generation", {"metadata": {"task_id": task_id}})


def test_a_model_that_was_trained_on_a_task_is_refused_unless_told(data_dir, tmp_path, capsys):
    behaviour = known_behaviour()
    assert behaviour is not None
    task = behaviour._tasks[40].row
    clean = one_off("Write nothing.", "def f():\n    pass")
    record_training_data(tmp_path, [clean])
    assert refuse_contaminated(tmp_path, "humaneval+", allow=False) is None
    record_training_data(tmp_path, [clean, one_off(one_off_request(task["prompt"]), "pass")])
    for name in ("humaneval", "humaneval+"):
        with pytest.raises(CheckFailedError, match=f"holds 1 tasks of {re.escape(name)}"):
            refuse_contaminated(tmp_path, name, allow=False)
        told = refuse_contaminated(tmp_path, name, allow=True)
        assert told is not None
        assert "holds 1 of its tasks" in told
    assert refuse_contaminated(tmp_path, "mbpp", allow=False) is None
    trained_again = tmp_path / "again"
    trained_again.mkdir()
    record_training_data(trained_again, [clean], tmp_path)
    with pytest.raises(CheckFailedError):
        refuse_contaminated(trained_again, "humaneval", allow=False)
    assert refuse_contaminated(tmp_path, "bundled/seen", allow=False) is None
    assert json.loads((tmp_path / "training_data.json").read_text())["num_samples"] == 2


@pytest.mark.parametrize("name", ["cruxeval-o", "cruxeval-i", "leetcode", "bigcodebench-hard/complete", "bigcodebench-hard/instruct"])
def test_a_model_that_was_trained_on_a_function_or_a_description_is_refused(name, data_dir, tmp_path):
    task = load_benchmark(name, str(data_dir)).tasks[5]
    clean = one_off("Write nothing.", "def f():\n    pass")
    code = task.tests.code if name.startswith("cruxeval") else "class Solution:\n    pass"
    held = one_off(task.instruction or "What does it return?", code)
    record_training_data(tmp_path, [clean])
    assert refuse_contaminated(tmp_path, name, allow=False) is None
    record_training_data(tmp_path, [clean, held])
    with pytest.raises(CheckFailedError, match=f"holds 1 tasks of {name}"):
        refuse_contaminated(tmp_path, name, allow=False)
    with pytest.raises(CheckFailedError, match=re.escape(task.task_id)):
        refuse_contaminated_data([held], [f"{name}:10"], allow=False)
    assert refuse_contaminated(tmp_path, "humaneval", allow=False) is None


def test_a_program_that_calls_libraries_as_a_task_does_is_refused(data_dir):
    task = load_benchmark("bigcodebench-hard/instruct", str(data_dir)).tasks[5]
    body = task.canonical_solution.partition("):\n")[2]
    held = one_off("Write anything.", f"def another_name(given, more):\n{body}")
    with pytest.raises(CheckFailedError, match="by its code"):
        refuse_contaminated_data([held], ["bigcodebench-hard/complete"], allow=False)
    refuse_contaminated_data([held], ["humaneval"], allow=False)


SUITE_ROW = {
    "task_id": "BigCodeBench/9000",
    "entry_point": "task_func",
    "prompt": "",
    "code_prompt": "import json\nfrom collections import Counter\ndef task_func(text):\n",
    "canonical_solution": "    return json.dumps(Counter(text))\n",
    "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_1(self):\n"
    "        self.assertEqual(json.loads(task_func('aab')), {'a': 2, 'b': 1})\n",
}


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import json, collections\ndef count(word):\n    return json.dumps(collections.Counter(list(word)))\n", True),
        ("import collections, json\ndef helper(n):\n    return n + 1\ndef f(s):\n    helper(1)\n    "
         "return json.dumps({c: s.count(c) for c in s})\n", True),
        ("import json, collections\ndef count(word):\n    return json.dumps(collections.Counter(word + word))\n", False),
        ("import json, collections\ndef count(word, more):\n    return json.dumps(collections.Counter(word))\n", False),
        ("import json\ndef count(word):\n    return json.dumps({c: word.count(c) for c in word})\n", False),  # another task, in words
        ("import json, collections\ncount = lambda: 1\n", False),
        ("import json, collections\ndef count(:\n", False),
    ],
)  # fmt: skip
def test_a_task_with_a_suite_is_recognised_by_what_a_program_does(program, found, monkeypatch):
    monkeypatch.setattr(Behaviour, "_ask", None)  # there are no tasks with inputs
    behaviour = Behaviour([], detect_isolation(), tasks_of("complete")([SUITE_ROW], "here"))
    said = behaviour(program) or ""
    assert said.startswith("BigCodeBench/9000, by what ") if found else not said


def test_all_that_depends_on_behaviour_says_which_benchmarks_it_is_compared_with(tmp_path, monkeypatch):
    names, run, builds = ["bigcodebench-hard/complete"], Run(load_recipe("demo"), tmp_path), []
    for rows in ([], [SUITE_ROW]):
        files = {BIGCODEBENCH["complete"]: rows}
        monkeypatch.setattr(records, "_rows", lambda file, data_dir, files=files: files.get(file, []))
        builds.append((run.build_key, _work(run.recipe, 1, None, KnownTasks()).data))
    behaviour = known_behaviour.__wrapped__()
    assert behaviour is not None
    assert list(behaviour.names) == names
    assert builds[0][0] != builds[1][0]
    assert [data["tests of benchmarks"] for _, data in builds] == [[], names]
    with contextlib.closing(BuildLog(tmp_path / "log.sqlite")) as log:
        one, other = (Behaviour([], detect_isolation(), names=[name]) for name in ("a", "b"))
        one._known[content_hash("p")] = "a/1"
        said = [_logged(each, log)("p") for each in (one, other, other)]
    assert said == ["a/1", None, None]


def test_problems_of_the_same_site_are_no_tasks_of_leetcode(data_dir, tmp_path):
    with gzip.open(data_dir / "seeds/LeetCodeDataset-v0.2.0-train.jsonl.gz", "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle]
    samples = (one_off(row["query"], row["completion"], f"leetcode/{row['task_id']}") for row in rows)
    refuse_contaminated_data(samples, ["leetcode"], allow=False)


def test_a_task_in_an_earlier_answer_of_a_dialogue_is_found(data_dir, tmp_path):
    behaviour = known_behaviour()
    assert behaviour is not None
    task = behaviour._tasks[40].row
    held = one_off("Write it.", task["prompt"] + task["canonical_solution"])
    clean = one_off("And nothing.", "def f():\n    pass")
    record_training_data(tmp_path, [Sample((*held.messages, *clean.messages), "generation")])
    with pytest.raises(CheckFailedError, match=re.escape(task["task_id"])):
        refuse_contaminated(tmp_path, "humaneval", allow=False)


def test_evaluate_refuses_before_it_generates(data_dir, tmp_path, capsys):
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    record_training_data(tmp_path / "model", [one_off("Write it.", "pass", "HumanEval/7")])
    command = ["evaluate", str(tmp_path / "model"), "--benchmark", "humaneval", "--limit", "2", "--output", str(tmp_path / "out")]
    assert main([*command, "--max-new-tokens", "4"]) == 1
    assert "HumanEval/7, by its id" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, "--max-new-tokens", "4", "--allow-contaminated"]) == 0
    assert "holds 1 of its tasks" in capsys.readouterr().out
    assert "humaneval+" in known_tasks().names


ASKED = """
import sys
from pathlib import Path
from reflectioncoder import cli, pipeline
from reflectioncoder.data.files import content_hash, read_json
from reflectioncoder.data.samples import Sample, assistant, user, Block
from reflectioncoder.contamination.records import record_training_data, refuse_contaminated_data
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.config.loading import load_recipe

how, recipe, runs, data_dir = sys.argv[1:]
option = ["--data-dir", data_dir] if data_dir else []
if how == "build":
    assert cli.main(["build", recipe, "--runs-dir", runs, *option]) == 0
elif how == "run":
    pipeline.Run(load_recipe(recipe), Path(runs), data_dir or None).build()
else:
    request = read_json(Path(runs).parent / "request.json")
    sample = Sample((user(request), assistant(Block("text", "x"))), "generation")
    record_training_data(Path(runs), [sample], data_dir=data_dir or None)
    try:
        refuse_contaminated_data([sample], ["mbpp"], data_dir or None, allow=False)
    except CheckFailedError:
        assert data_dir
    else:
        assert not data_dir
"""


@pytest.mark.long
@pytest.mark.parametrize("how", ["build", "run", "record"])
def test_the_benchmarks_of_data_dir_are_known(data_dir, tmp_path, how):
    """In a process of its own whose environment names no data."""
    path = EVALPLUS_FILES["mbpp"].find(str(data_dir))
    assert path is not None
    task = EVALPLUS_FILES["mbpp"].read(path)[0]
    good = bundled_problems("train")[0]
    write_jsonl(tmp_path / "problems.jsonl", [good.to_json(), {**good.to_json(), "task_id": "x/1", "instruction": task["prompt"]}])
    write_json(tmp_path / "request.json", task["prompt"])
    build = f"{{problems: [{tmp_path}/problems.jsonl], samples_per_problem: 1}}"
    (tmp_path / "r.yaml").write_text(f"name: r\nmodel: {{name: none}}\nbuild: {build}\n")
    env = {name: value for name, value in os.environ.items() if name != "REFLECTIONCODER_DATA"}
    for place in (str(data_dir), ""):
        runs = tmp_path / f"runs{len(place)}"
        command = [sys.executable, "-c", ASKED, how, str(tmp_path / "r.yaml"), str(runs), place]
        subprocess.run(command, check=True, env={**env, "REFLECTIONCODER_CACHE": str(tmp_path / "cache")}, capture_output=True)
        if how == "record":
            matches = read_json(runs / "training_data.json")["matches"]
            assert len(matches.get("mbpp", ())) == bool(place)
            continue
        summary = read_json(runs / "r/build/build.json")
        assert ("mbpp+" in summary["decontamination"]["against"]) == bool(place)
        assert summary["rejected"].get("contaminated", 0) == (1 if place else 0)
        if place:
            assert summary["decontamination"]["behaviour"]


def test_samples_that_are_known_are_not_read_again(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    behaviour = known_behaviour()
    assert behaviour is not None
    task = behaviour._tasks[40].row
    samples = [one_off("Write something else.", "pass"), one_off(one_off_request(task["prompt"]), "pass")]
    record_training_data(tmp_path, samples, identity="these")
    said = (tmp_path / "training_data.json").read_text()
    record_training_data(tmp_path, iter(()), identity="these")
    assert (tmp_path / "training_data.json").read_text() == said
    [kept] = (tmp_path / "cache" / "contamination").iterdir()
    kept.write_text("{")
    record_training_data(tmp_path, samples, identity="these")
    assert (tmp_path / "training_data.json").read_text() == said
    record_training_data(tmp_path, samples[:1], identity="others")
    assert (tmp_path / "training_data.json").read_text() != said


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.lists(st.sampled_from("abcd"), min_size=4, max_size=12))
def test_n_grams_are_found_wherever_they_begin(text, document):
    """The index looks at some of the words first: it finds what looking at all of them finds."""
    index = NgramIndex(4)
    index.add("document", " ".join(document))
    known = {tuple(document[i : i + 4]) for i in range(len(document) - 3)}
    expected = [" ".join(text[i : i + 4]) for i in range(len(text) - 3) if tuple(text[i : i + 4]) in known]
    assert [words for _, words in index.matches(" ".join(text))] == expected
