"""Writes EvalPlus's own result file, for tools that read it (schema of evalplus 0.3.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from reflectioncoder.evaluate.judges.base import Row, Task
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests, PartName, serializable_inputs

_STATUS = {"passed": "pass", "timeout": "timeout"}


def evalplus_results(tasks: Sequence[Task[FunctionTests]], rows: Sequence[Row], md5: str) -> dict[str, Any]:
    """Return `{"date", "hash", "eval": {task_id: [{"base_status", "plus_status", "base_fail_tests", ...}]}}`.

    EvalPlus has only pass, fail and timeout; every other failure becomes "fail".
    """
    tests = {task.task_id: task.tests for task in tasks}
    evaluations: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        entry = {"task_id": row["task_id"], "solution": row["solution"]}
        for part in ("base", "plus"):
            status = row[f"{part}_status"]
            entry[f"{part}_status"] = None if status is None else _STATUS.get(status, "fail")
            entry[f"{part}_fail_tests"] = _failed(row, tests[row["task_id"]], part)
        evaluations[row["task_id"]].append(entry)
    return {"date": datetime.now().strftime("%Y-%m-%d %H:%M"), "hash": md5, "eval": dict(evaluations)}


def _failed(row: Row, tests: FunctionTests, part: PartName) -> list[Any]:
    number = row.get("failed_inputs", {}).get(part, -1)
    if number < 0:
        return []
    return serializable_inputs(row["task_id"], [tests.part(part).arguments()[number]])
