"""The registry: each benchmark is a complete row, each judge answers all that is asked of one and serves a benchmark."""

import importlib
import json
import pkgutil
from dataclasses import fields, replace

import pytest

from reflectioncoder.cli import main
from reflectioncoder.evaluate import judges
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, CRUXEVAL, BenchmarkRow, load_benchmark
from reflectioncoder.evaluate.catalogue import entries
from reflectioncoder.evaluate.facts import FACTS
from reflectioncoder.evaluate.judges.base import Conditions, Judge, Verdict
from reflectioncoder.evaluate.judges.programs import OwnProblemsJudge, ProgramsJudge
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.sandbox.limits import Limits

CONDITIONS = Conditions(ISOLATIONS["rlimits"], Limits(), "strict")
ROWS = [*BENCHMARKS.values(), *(row.otherwise for row in BENCHMARKS.values() if row.otherwise)]


def _implementations() -> set[type]:
    for module in pkgutil.walk_packages(judges.__path__, f"{judges.__name__}."):
        importlib.import_module(module.name)
    found = {Judge}
    while deeper := {sub for one in found for sub in one.__subclasses__()} - found:
        found |= deeper
    return {one for one in found - {Judge} if one.__module__.startswith(judges.__name__)}


@pytest.mark.parametrize("judge", dict.fromkeys(row.judge for row in ROWS), ids=repr)
def test_the_judge_of_a_benchmark_answers_all_that_is_asked(judge):
    assert all(hasattr(judge, name) for name in vars(Judge) if not name.startswith("_"))
    assert callable(judge.under(CONDITIONS))
    assert judge.limits(CONDITIONS)
    assert judge.no_code().status == "no_code"
    assert isinstance(judge.environment(), dict)
    assert isinstance(judge.further_counts([]), dict)
    row = {"task_id": "t", "status": "passed", "base_status": "passed", "plus_status": "passed", "harness_status": "OK"}
    subsets = judge.subsets([], [row])
    assert len({name for name, _ in subsets}) == len(subsets) >= 1
    assert all(counted["status"] == "passed" for _, rows in subsets for counted in rows)
    assert all(callable(written) for written in judge.result_files.values())


def test_every_judge_is_one_of_a_benchmark():
    assert {type(row.judge) for row in ROWS} | {OwnProblemsJudge} == _implementations()  # of files that no row names


@pytest.mark.parametrize("name", sorted(BENCHMARKS.keys() - {"livecodebench"}))  # its files are the user's own: test_livecodebench.py
def test_a_benchmark_is_loaded_and_asks_for_each_of_its_tasks(name, data_dir):
    benchmark = load_benchmark(f"{name}:2", str(data_dir))
    assert benchmark.judge == BENCHMARKS[name].judge
    requests = benchmark.requests(2)
    assert [request.key for request in requests] == [(task.task_id, sample) for task in benchmark.tasks for sample in (0, 1)]
    assert all(request.instruction.strip() for request in requests)
    assert len({task.tests.key() for task in benchmark.tasks}) == 2
    assert benchmark.sha256
    row = BENCHMARKS[name].on_this_machine(str(data_dir))
    assert len(benchmark.tasks) + len(benchmark.left_out) == row.file.num_tasks
    assert (benchmark.url, benchmark.facts) == (row.file.url, row.facts)


@pytest.mark.parametrize("row", ROWS, ids=[*BENCHMARKS, "otherwise"])
def test_the_facts_of_a_benchmark_are_complete(row):
    facts = row.facts
    assert all(text and "\n" not in text and text == text.strip() for text in (facts.measures, facts.license, facts.language))
    assert facts.language in {language.title for language in LANGUAGES.values()}
    assert facts in {known.in_language(name) for known in FACTS.values() for name in LANGUAGES}
    assert bool(row.file.url) == (row.file.origin == "published")


def test_the_list_names_every_benchmark_and_where_its_data_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REFLECTIONCODER_DATA", str(tmp_path))
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / CRUXEVAL.pattern).write_text("")
    assert main(["benchmarks", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["benchmarks"]
    assert list(listed) == list(BENCHMARKS)
    states = {name: entry["data"]["state"] for name, entry in listed.items()}
    assert states["bundled/repair"] == "packaged"
    assert states["cruxeval-o"] == states["cruxeval-i"] == "found"
    assert listed["cruxeval-o"]["data"]["path"] == str(tmp_path / CRUXEVAL.pattern)
    assert states["mbpp+"] == "downloadable"
    assert listed["mbpp+"]["data"]["url"].startswith("https://")
    assert (states["livecodebench"], listed["livecodebench"]["num_tasks"]) == ("missing", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert {entry.name: entry.data.state for entry in entries()}["mbpp+"] == "missing"
    assert main(["benchmarks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["benchmark", *BENCHMARKS]
    assert all(BENCHMARKS[line.split()[0]].facts.measures in line for line in lines[1:])


@pytest.mark.parametrize("missing", ["file", "tasks", "judge", "request", "facts"])
def test_a_row_that_lacks_something_is_refused_when_it_is_made(missing):
    row = BENCHMARKS["humaneval+"]
    given = {field.name: getattr(row, field.name) for field in fields(row) if field.name != missing}
    with pytest.raises(TypeError, match=missing):
        BenchmarkRow(**given)
    assert BenchmarkRow(**given, **{missing: getattr(row, missing)}) == replace(row)


@pytest.mark.parametrize("missing", ["under", "limits"])
def test_a_judge_that_lacks_something_is_refused_when_it_is_made(missing):
    members = {"under": lambda self, conditions: lambda *_: Verdict("passed", "passed"), "limits": lambda self, conditions: {}}
    whole = type("Whole", (Judge,), members)
    assert whole().prepare(CONDITIONS.isolation, 3) == 3
    lacking = type("Lacking", (Judge,), {name: member for name, member in members.items() if name != missing})
    with pytest.raises(TypeError, match=missing):
        lacking()


def test_grades_are_subsets_beside_the_whole():
    benchmark = load_benchmark("bundled/seen")
    rows = [{"task_id": task.task_id, "status": "passed"} for task in benchmark.tasks]
    (whole, all_rows), *grades = ProgramsJudge().subsets(benchmark.tasks, rows)
    assert (whole, all_rows) == (None, rows)
    assert [name for name, _ in grades] == [f"grade {grade}" for grade in sorted({task.grade for task in benchmark.tasks})]
    assert sorted(row["task_id"] for _, rows in grades for row in rows) == sorted(row["task_id"] for row in rows)


def test_the_help_names_every_benchmark(capsys):
    """It is written by hand: the registry would make it slow."""
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert [name for name in BENCHMARKS if name not in shown and name.partition("/")[0] + "/LANGUAGE" not in shown] == []
