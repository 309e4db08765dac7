"""bundled/repair: every program fails as its task says, the reference passes, and no slip is one that training could see."""

import ast
from itertools import islice

import pytest

from benchmarks.make_repair_tasks import tasks
from benchmarks.repair_slips import SLIPS
from reflectioncoder import Session
from reflectioncoder.builder.mutation import OPERATORS, mutations
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.problems import BUNDLED_DIR, bundled_problems
from reflectioncoder.data.prompts import one_off_answer
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.judges.base import ALONE, Conditions
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered
from tests.tiers import part

ROWS = [row for _, row in read_jsonl(BUNDLED_DIR / "repair.jsonl")]
BENCHMARK = load_benchmark("bundled/repair")


def statuses(solutions):
    judge = BENCHMARK.judge.under(Conditions(detect_isolation(), Limits(), "strict"))
    return [v.status for v in map_ordered(lambda pair: judge(*pair, ALONE), zip(BENCHMARK.tasks, solutions, strict=True), 2)]


def test_slips_are_of_kinds_that_training_does_not_have():
    assert not set(SLIPS) & set(OPERATORS)
    assert {row["operator"] for row in ROWS} <= set(SLIPS)
    for row in ROWS:
        reference = "".join((row["prompt"], row["canonical_solution"]))
        assert ast.dump(ast.parse(row["program"])) not in {ast.dump(ast.parse(reference))}


def test_no_training_slip_makes_one_of_the_programs():
    references = {task.task_id: task.canonical_solution for task in BENCHMARK.tasks}
    for row in ROWS:
        made = {mutation.code for mutation in mutations(references[f"repair/{row['task_id']}"])}
        assert row["program"] not in made, row["task_id"]


def test_no_task_is_a_problem_of_training():
    trained = {problem.task_id for problem in bundled_problems("train")}
    assert not trained & {row["task_id"] for row in ROWS}
    topics = {problem.topic for problem in bundled_problems("train")}
    for row, task in zip(ROWS, BENCHMARK.tasks, strict=True):
        assert (row["topic"] in topics) == row["seen_topic"] == (task.part == "topics of training")


def test_the_failure_is_what_the_interpreter_prints():
    for row in ROWS[::6]:
        with Session(Limits(wall_s=10.0), file_name="main.py") as session:
            result = session.run(f"{row['program']}\n{row['failing_test']}")
        assert result.status == "failed"
        assert result.output.strip().rsplit("\n", 1)[-1] == row["output"].rsplit("\n", 1)[-1]


@pytest.mark.long
def test_references_pass_and_programs_fail():
    assert set(statuses([task.canonical_solution for task in BENCHMARK.tasks])) == {"passed"}
    assert set(statuses([row["program"] for row in ROWS])) == {"failed"}


def test_the_request_shows_problem_program_and_failure_and_an_answer_is_read():
    for row, request in zip(ROWS, BENCHMARK.requests(1), strict=True):
        for shown in (row["prompt"].strip(), row["program"].strip(), row["output"].strip()):
            assert shown in request.instruction
        assert read_answer(one_off_answer(row["program"]), request.entry_point).solution.strip() == row["program"].strip()


def test_the_results_have_numbers_of_the_topics():
    rows = [{"task_id": task.task_id, "status": "passed"} for task in BENCHMARK.tasks]
    subsets = dict(BENCHMARK.judge.subsets(BENCHMARK.tasks, rows))
    assert len(subsets["topics of training"]) + len(subsets["unseen topics"]) == len(rows) == len(ROWS)
    assert len(subsets["unseen topics"]) >= 50


@pytest.mark.long
def test_the_file_is_what_the_script_makes():
    rows = ROWS[: len(part(ROWS, 4))]
    made = list(islice(tasks(), len(rows)))
    same = [{key: value for key, value in row.items() if key not in ("output", "failing_test")} for row in made]
    assert same == [{key: value for key, value in row.items() if key not in ("output", "failing_test")} for row in rows]
