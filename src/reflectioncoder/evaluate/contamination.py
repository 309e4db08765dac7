"""The benchmarks as far as they are on this machine, to keep them out of training data: by id, by words, by what programs do."""

from __future__ import annotations

from functools import cache
from typing import Any

from reflectioncoder.data.decontaminate import KnownTasks
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.behaviour import Behaviour, BenchmarkTask
from reflectioncoder.evaluate.benchmarks import EVALPLUS_FILES, HUMANEVAL, look_up, read_published
from reflectioncoder.evaluate.evalplus import Family
from reflectioncoder.sandbox.isolation import detect_isolation

_EVALPLUS: tuple[Family, ...] = ("humaneval", "mbpp")


@cache
def known_tasks() -> KnownTasks:
    """Of HumanEval(+) and MBPP+ where their files are found; nothing is downloaded, and a damaged file counts as not there."""
    known = KnownTasks()
    for name in ("humaneval+", "mbpp+", "humaneval"):
        for row in _rows(name):
            known.add(row["task_id"], row["prompt"], row["canonical_solution"])
        if _rows(name):
            known.names.append(name)
    return known


@cache
def known_behaviour() -> Behaviour | None:
    """Of the same sets; None if none of them is here.

    Raises:
        SandboxUnavailableError: programs cannot be confined here.
    """
    tasks = [BenchmarkTask(family, row) for family in _EVALPLUS for row in _rows(f"{family}+")]
    return Behaviour(tasks, detect_isolation()) if tasks else None


@cache
def _rows(name: str) -> list[dict[str, Any]]:
    """Without the plus inputs, which are a hundred times as long as the rest."""
    file = HUMANEVAL if name == "humaneval" else EVALPLUS_FILES[name.removesuffix("+")]  # pyright: ignore[reportArgumentType]
    path = look_up(file.pattern)
    if path is None:
        return []
    try:
        return [{**row, "plus_input": []} for row in read_published(file, path)]
    except MachineError:
        return []
