"""HumanEvalPack's benchmarks: makes tasks from rows, and judges Python by test programs, other languages like MultiPL-E's."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.completions import prompt_preamble
from reflectioncoder.data.files import content_hash
from reflectioncoder.evaluate.judges.base import Conditions, Judging, Row, Subset, Task, Verdict
from reflectioncoder.evaluate.judges.humanevalpack.assertions import assertions_of, wrong_condition
from reflectioncoder.evaluate.judges.humanevalpack.data import Variant, beginning_of, instruction_for, prefill
from reflectioncoder.evaluate.judges.humanevalpack.forms import FORMS, cut, python_program
from reflectioncoder.evaluate.judges.multipl_e.benchmark import MultiPLEJudge, verdict_of
from reflectioncoder.evaluate.judges.multipl_e.challenge import challenges_of
from reflectioncoder.evaluate.judges.multipl_e.programs import ProgramVerdict, judge_challenged, judging_key
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, part_subsets
from reflectioncoder.languages import PYTHON
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.toolchain import Toolchain

_VERSION = 1  # version of the judging by forms
# Stop strings of the harness for a continuation in Python.
_PYTHON_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\nassert")
_FUNCTION = re.compile(r"(\w+)\s*(?:=\s*)?\(")


@dataclass(frozen=True)
class PackTests:
    """Tests in the program's own file. `setup`: lines before the solution; `beginning`: the beginning of the program."""

    language: str
    tests: str
    function: str
    beginning: str
    setup: str = ""

    def key(self) -> str:
        form = FORMS[self.language]
        judged = (form.syntax, form.recorder, form.language.multipl_e, form.language.toolchain, _VERSION)
        return content_hash(repr(self), repr(judged), form.language.toolchain.version(), judging_key(self.language))


@dataclass(frozen=True)
class PackPythonJudge(ProgramsJudge):
    """Judges Python programs by tests that run in another process, with the imports that the harness adds."""

    def under(self, conditions: Conditions) -> Judging[ProgramTests]:
        judging = super().under(conditions)
        return lambda task, solution, look: judging(task, python_program(solution), look)


@dataclass(frozen=True)
class PackJudge(MultiPLEJudge):
    """Judges programs in one other language, once its known programs have got the right verdicts."""

    @property
    def _toolchain(self) -> Toolchain:
        return FORMS[self.language].language.toolchain

    def under(self, conditions: Conditions) -> Judging[Any]:
        return lambda task, solution, look: _verdict(solution, task.tests, conditions.isolation)

    def subsets(self, tasks: Sequence[Task[Any]], rows: Sequence[Row]) -> list[Subset]:
        return [*super().subsets(tasks, rows), *part_subsets(tasks, rows)]


def _verdict(solution: str, tests: PackTests, isolation: Isolation) -> Verdict:
    return verdict_of(judge_pack_program(solution, tests, isolation))


def judge_pack_program(solution: str, tests: PackTests, isolation: Isolation) -> ProgramVerdict:
    """Challenge a program, then compile and run it with its tests.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    form = FORMS[tests.language]
    head = joined_head(solution, tests)
    assertions = assertions_of(tests.tests, form.syntax, tests.function)
    given = challenges_of(head, tests.tests, assertions, form.recorder, wrong_condition)
    return judge_challenged(f"{head}\n{tests.tests}", given, form.language, isolation)


def joined_head(solution: str, tests: PackTests) -> str:
    """Return the part of the program's file before the tests."""
    form = FORMS[tests.language]
    return form.head(cut(solution, tests.beginning, form.closing), tests.setup)


def tasks_of(language: str, variant: Variant) -> Callable[[Sequence[Row], str], list[Task[Any]]]:
    """Return the function that makes tasks from a language's rows."""
    return lambda rows, where: [_task(row, language, variant) for row in rows]


def _task(row: Row, language: str, variant: Variant) -> Task[Any]:
    beginning = beginning_of(row, variant, language)
    return Task(
        task_id=row["task_id"],
        prompt=beginning,
        entry_point=row["entry_point"],
        tests=_python_tests(row) if language == PYTHON.name else _tests(row, language, beginning),
        part="" if variant == "synthesize" else row["bug_type"],
        canonical_solution=row["prompt"] + row["canonical_solution"],
        instruction=instruction_for(row, variant, language),
    )


def _python_tests(row: Row) -> ProgramTests:
    # Some tests call helpers that the declaration defines before the function to be written.
    return ProgramTests((row["test"].strip("\n") + "\n",), f"{row['declaration']}    pass\n")


def _tests(row: Row, language: str, beginning: str) -> PackTests:
    named = _FUNCTION.search(row["signature"])
    function = named[1] if named else row["entry_point"]
    return PackTests(language, row["test"], function, beginning, row.get("test_setup", ""))


def request_for(task: Task[Any], sample: int) -> Request:
    """Ask as OctoPack does; the answer is prefilled with the fence and, in languages other than Python, the declaration."""
    if isinstance(task.tests, PackTests):
        language = task.tests.language
        begun = prefill(language, task.prompt)
        return Request(task.task_id, sample, task.instruction, task.entry_point, task.prompt, begun, language)
    preamble = prompt_preamble(task.prompt, task.entry_point)
    return Request(task.task_id, sample, task.instruction, task.entry_point, preamble, stop_tokens=_PYTHON_STOPS)
