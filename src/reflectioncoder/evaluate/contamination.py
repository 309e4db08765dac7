"""The benchmarks' own texts and solutions, as far as they are on this machine, to keep them out of training data."""

from __future__ import annotations

from functools import cache

from reflectioncoder.data.decontaminate import KnownTasks
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.benchmarks import EVALPLUS_FILES, HUMANEVAL, look_up, read_published


@cache
def known_tasks() -> KnownTasks:
    """Of HumanEval(+) and MBPP+ where their files are found; nothing is downloaded, and a damaged file counts as not there."""
    known = KnownTasks()
    for name, file in (("humaneval+", EVALPLUS_FILES["humaneval"]), ("mbpp+", EVALPLUS_FILES["mbpp"]), ("humaneval", HUMANEVAL)):
        path = look_up(file.pattern)
        if path is None:
            continue
        try:
            rows = read_published(file, path)
        except MachineError:
            continue
        known.names.append(name)
        for row in rows:
            known.add(row["task_id"], row["prompt"], row["canonical_solution"])
    return known
