"""LiveCodeBench (arXiv 2403.07974): programs that read and print, and methods that are called, from dated contests.

A program gets a test's input on stdin; its output is compared here line by line: equal as text, or as decimal numbers. A method's
answers are compared as values. Each test has the official 6 s, but of the program's own time. One more difference: a program runs as
a fresh script for each test, while the official evaluator wraps it in one function that it calls repeatedly. Reading
`sys.stdin.buffer` and global names therefore work here.
"""

from __future__ import annotations

import keyword
import marshal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.files import content_hash
from reflectioncoder.data.json_text import parse_json
from reflectioncoder.data.python_source import parse
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.judges.base import TAIL_CHARS, Conditions, Judge, Judging, Look, Row, Subset, Task, Verdict
from reflectioncoder.evaluate.judges.called import equals, judge_calls
from reflectioncoder.evaluate.judges.live_errata import erratum_of
from reflectioncoder.evaluate.judges.programs import part_subsets
from reflectioncoder.evaluate.user_files import StoredTests
from reflectioncoder.sandbox.functions import Calls
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_with_input
from reflectioncoder.terminal import in_line

MAX_TEST_S = 6.0
LIMITS = Limits(wall_s=MAX_TEST_S, cpu_s=4 * MAX_TEST_S, memory_bytes=4 * 2**30, processes=64)
_MIN_OUTPUT_BYTES = 2**20
_ENTRY_POINT = "answer_of_the_solution"
# Names that the official evaluator predefines: everything in these modules, later ones first, and the modules themselves.
_ALL_NAMES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json builtins typing"
)
_MODULES = "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json"
PRELUDE = "".join(
    (
        *(f"from {name} import *\n" for name in _ALL_NAMES.split()),
        *(f"import {name}\n" for name in _MODULES.split()),
        "sys.setrecursionlimit(50000)\n",
    )
)
# As in the official evaluator, an exit counts as a normal end whatever its code.
_SCRIPT = f"""{PRELUDE}
with open("solution.py", encoding="utf-8") as _handle:
    _code = compile(_handle.read(), "solution.py", "exec", dont_inherit=True)
try:
    exec(_code, globals())
except SystemExit:
    pass
"""


@dataclass(frozen=True)
class LiveTests:
    """Pairs of inputs and outputs, by their location.

    `method`: the method to call; "" for a program that reads and prints. `erratum`: the tests' known error, or "".
    """

    stored: StoredTests
    method: str = ""
    erratum: str = ""

    def key(self) -> str:
        return content_hash(self.stored.digest, self.method)


@dataclass(frozen=True)
class LiveJudge(Judge[LiveTests]):
    """Judges programs and methods by pairs of inputs and outputs."""

    def under(self, conditions: Conditions) -> Judging[LiveTests]:
        def judge(task: Task[LiveTests], solution: str, look: Look) -> Verdict:
            verdict = _verdict(task.tests, solution, conditions.isolation)
            return replace(verdict, fields={"erratum": task.tests.erratum}) if task.tests.erratum else verdict

        return judge

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        return {"max_test_s": MAX_TEST_S, "memory_bytes": LIMITS.memory_bytes, "processes": LIMITS.processes}

    def subsets(self, tasks: Sequence[Task[LiveTests]], rows: Sequence[Row]) -> list[Subset]:
        unsound = {task.task_id for task in tasks if task.tests.erratum}
        sound = [row for row in rows if row["task_id"] not in unsound]
        return [(None, rows), *part_subsets(tasks, rows), *([("without errata", sound)] if len(sound) < len(rows) else [])]

    def further_counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        errata = {row["task_id"]: row["erratum"] for row in rows if row.get("erratum")}
        return {"errata": errata} if errata else {}


def _verdict(tests: LiveTests, solution: str, isolation: Isolation) -> Verdict:
    if parse(solution) is None:
        return Verdict("compile_error", "compile_error", detail="no valid Python")
    cases = tests.stored.load()
    return _of_method(tests, solution, cases, isolation) if tests.method else _of_script(solution, cases, isolation)


def _of_method(tests: LiveTests, solution: str, cases: list[tuple[str, str]], isolation: Isolation) -> Verdict:
    try:
        where = tests.stored.place
        inputs = [[parse_json(line, where, allow_nan=True) for line in given.split("\n")] for given, _ in cases]
        expected = [parse_json(output, where, allow_nan=True) for _, output in cases]
    except UsageError as error:
        raise MachineError(f"the tests of {tests.method} are no values: {error}") from error
    found = f"Solution().{tests.method}" if "class Solution" in solution else tests.method
    source = f"{PRELUDE}\n{solution}\n\n\n{_ENTRY_POINT} = {found}\n"
    calls = Calls(source, _ENTRY_POINT, marshal.dumps(inputs, 2), in_full=True)
    whole_s = (MAX_TEST_S + 1) * len(cases) + 5
    limits = Limits(whole_s, whole_s, LIMITS.memory_bytes, processes=LIMITS.processes)
    return judge_calls(calls, expected, limits, isolation, MAX_TEST_S, _is_right_answer)


def _is_right_answer(answer: Any, expected: Any) -> bool:
    return equals(list(answer) if isinstance(answer, tuple) else answer, expected)


def _of_script(solution: str, cases: list[tuple[str, str]], isolation: Isolation) -> Verdict:
    duration_s = 0.0
    for number, (given, expected) in enumerate(cases):
        max_bytes = max(_MIN_OUTPUT_BYTES, 4 * len(expected))
        ran, printed = run_with_input(_SCRIPT, given, max_bytes, LIMITS, isolation, files={"solution.py": solution})
        duration_s += ran.duration_s
        if ran.status == "ok" and printed is not None and same_output(printed, expected):
            continue
        detail = f"test {number}: " + (
            ran.stderr.strip() or ran.reason or ("another output" if printed is not None else "prints too much")
        )
        status = "failed" if ran.status == "ok" else ran.status
        on_limit = status == "timeout"
        return Verdict(status, status, duration_s=duration_s, detail=detail[-TAIL_CHARS:], hit_time_limit=on_limit)
    return Verdict("passed", "passed", duration_s=duration_s)


def same_output(printed: str, expected: str) -> bool:
    """Tell whether two outputs have the same stripped lines, compared as text or as rows of decimal numbers."""
    lines, wanted = ([line.strip() for line in text.strip().split("\n")] for text in (printed, expected))
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _same_line(line: str, wanted: str) -> bool:
    if line == wanted:
        return True
    try:
        return [Decimal(part) for part in line.split()] == [Decimal(part) for part in wanted.split()]
    except InvalidOperation:
        return False


def live_tasks(rows: Sequence[Row], where: str) -> list[Task[LiveTests]]:
    """Make tasks from the files' rows, sorted by date.

    Raises:
        MachineError: a row does not have the hub's format.
    """
    tasks = [_task(row) for row in rows]
    return sorted(tasks, key=lambda task: (task.date, task.task_id))


def _task(row: Row) -> Task[LiveTests]:
    method = _method_of(row)
    starter = row["starter_code"] or ""
    entry_point = ("Solution" if "class Solution" in starter else method) if method else ""
    return Task(
        task_id=f"livecodebench/{row['question_id']}",
        prompt=row["question_content"],
        entry_point=entry_point,
        tests=LiveTests(row["tests"], method, erratum_of(row["question_id"], row.get("question_title") or "")),
        part=row.get("difficulty") or "",
        date=row["contest_date"][:10],
        instruction=_request(row["question_content"], starter),
    )


def _method_of(row: Row) -> str:
    """Return the name of the method that the tests call; "" if they run a script."""
    packed, place, name = row.get("metadata") or {}, row["tests"].place, in_line(row["question_id"])
    try:
        metadata = parse_json(packed, place, allow_nan=True) if isinstance(packed, str) else packed
    except UsageError as error:
        raise MachineError(f"the metadata of {name} is no JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise MachineError(f"{place}: the metadata of {name} is no JSON object, got {metadata!r:.60}")
    method = metadata.get("func_name") or ""
    if not isinstance(method, str) or (method and (not method.isidentifier() or keyword.iskeyword(method))):
        raise MachineError(f"{place}: the func_name of {name} is no name: {method!r:.60}")
    return method


def _request(question: str, starter: str) -> str:
    how = (
        f"Complete this beginning; write the whole program in a Python code block.\n\n```python\n{starter.strip()}\n```"
        if starter.strip()
        else "Write a whole Python program, in a code block, that reads the input from its standard input and prints the answer."
    )
    return f"{question.strip()}\n\n{how}\n"


def request_for(task: Task[LiveTests], sample: int) -> Request:
    """Ask with the problem's text and the required form of the program."""
    form = "definition" if task.tests.method else "script"
    return Request(task.task_id, sample, task.instruction, task.entry_point, form=form)
