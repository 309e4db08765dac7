"""Keeps the tasks of benchmarks whose data is on this machine out of training data: by id, by words, by what programs do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reflectioncoder.contamination.behaviour import Behaviour, BenchmarkTask
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.files import content_hash, read_json, remember_json, write_json
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.data.prompts import program_of_answer
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import CheckFailedError, MachineError, UsageError
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, BIGCODEBENCH, CRUXEVAL, EVALPLUS_FILES, HUMANEVAL, LEETCODE, families_of
from reflectioncoder.evaluate.data_files import BenchmarkFile
from reflectioncoder.evaluate.judges.bigcodebench.benchmark import tasks_of
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import say
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.terminal import in_line

_RECORD = "training_data.json"
_FORMAT = 1  # version of the cached matches: increase it when other samples count as tasks
_SHOWN = 5
_FILES = {**{f"{family}+": file for family, file in EVALPLUS_FILES.items()}, "humaneval": HUMANEVAL}
_PACK_FILES = {name: row.file for name, row in BENCHMARKS.items() if name.startswith("humanevalfix/")}

_OTHER_FILES = {"cruxeval": CRUXEVAL, "leetcode": LEETCODE}  # named after their families
_SUITE_FILES = {f"bigcodebench-hard/{split}": file for split, file in BIGCODEBENCH.items()}  # family bigcodebench


@cache
def known_tasks(data_dir: str | None = None) -> KnownTasks:
    """Return the tasks of HumanEval(+) and MBPP+ whose files are found; downloads nothing, and ignores damaged files."""
    return _known_tasks(data_dir)


def _known_tasks(data_dir: str | None) -> KnownTasks:
    known = KnownTasks()
    for name, file in _FILES.items():
        rows = _rows(file, data_dir)
        for row in rows:
            known.add(row["task_id"], row["prompt"], row["canonical_solution"])
        if rows:
            known.names.append(name)
    return known


@cache
def _known_to_training(data_dir: str | None) -> KnownTasks:
    """Return these tasks, HumanEvalPack's versions of them (six languages, canonical and buggy), and the tasks of the other sets."""
    known = _known_tasks(data_dir)
    for name, file in _PACK_FILES.items():
        rows = _rows(file, data_dir)
        for row in rows:
            task_id = f"HumanEval/{row['task_id'].partition('/')[2]}"
            add = known.add if name.endswith("/python") else known.add_translation
            for solution in (row["canonical_solution"], row["buggy_solution"]):
                add(task_id, row["docstring"], solution)
        if rows:
            known.names.append(name)
    for row in _rows(CRUXEVAL, data_dir):
        known.add_function(f"cruxeval/{row['id']}", row["code"])
    for row in _rows(LEETCODE, data_dir):
        known.add_description(f"leetcode/{row['task_id']}", row["problem_description"])
    for row in _suite_rows(data_dir):
        known.add_library_task(row["task_id"], row["prompts"], row["canonical_solution"])
    known.names += [name for name, file in {**_OTHER_FILES, **_SUITE_FILES}.items() if _rows(file, data_dir)]
    return known


@cache
def known_behaviour(data_dir: str | None = None) -> Behaviour | None:
    """Return the `Behaviour` of HumanEval+, MBPP+ and BigCodeBench-Hard; None if none of them is on this machine.

    Raises:
        SandboxUnavailableError: programs cannot be confined here.
    """
    tasks = [BenchmarkTask(family, row) for family, file in EVALPLUS_FILES.items() for row in _rows(file, data_dir)]
    suites = tasks_of("complete")(_suite_rows(data_dir), "")
    return Behaviour(tasks, detect_isolation(), suites, behaviour_names(data_dir)) if tasks or suites else None


def behaviour_names(data_dir: str | None = None) -> list[str]:
    """Return the benchmarks whose behaviour is known here, on which the results of `known_behaviour` depend."""
    files = {**{f"{family}+": file for family, file in EVALPLUS_FILES.items()}, **_SUITE_FILES}
    return [name for name, file in files.items() if _rows(file, data_dir)]


def _suite_rows(data_dir: str | None) -> list[dict[str, Any]]:
    """Return BigCodeBench's rows, each once, with its prompts from all splits on this machine."""
    found: dict[str, dict[str, Any]] = {}
    for file in _SUITE_FILES.values():
        for row in _rows(file, data_dir):
            prompts = [*found.get(row["task_id"], {}).get("prompts", ()), row["prompt"]]
            found[row["task_id"]] = {**row, "prompts": prompts}
    return list(found.values())


@cache
def _rows(file: BenchmarkFile, data_dir: str | None) -> list[dict[str, Any]]:
    """Return the rows without the plus inputs, which are a hundred times as long as everything else."""
    path = file.find(data_dir)
    if path is None:
        return []
    try:
        return [{**row, "plus_input": []} for row in file.read(path)]
    except MachineError as error:
        say(f"contamination: {str(error).partition(chr(10))[0]}; its tasks will not be recognised")
        return []


@dataclass(frozen=True)
class Matches:
    """The samples that contain benchmark tasks, as (name for messages, task), and the number of samples searched."""

    num_samples: int
    found: list[tuple[str, str]]


def _read(kept: Path) -> Matches | None:
    """Return the matches in a cache file; None if it is absent or damaged."""
    with contextlib.suppress(UsageError), expected_form(kept):
        said = read_json(kept)
        return Matches(said["num_samples"], [(name, task) for name, task in said["found"]])
    return None


def _matches(samples: Iterable[Sample], known: KnownTasks, identity: str | None) -> Matches:
    """Find the tasks in samples; the result is cached for samples with an identity."""
    files = [{**_FILES, **_PACK_FILES, **_OTHER_FILES, **_SUITE_FILES}[name].sha256 for name in known.names]
    kept = None if identity is None else cache_dir() / "contamination" / f"{content_hash(_FORMAT, identity, files)}.json"
    if kept is not None and (before := _read(kept)) is not None:
        return before
    count, found = 0, list[tuple[str, str]]()
    for sample in samples:
        if (task := _task_in(sample, known)) is not None:
            found.append((sample.id or f"#{count}", task))
        count += 1
    if kept is not None:
        remember_json(kept, {"num_samples": count, "found": found})
    return Matches(count, found)


def record_training_data(
    model: Path,
    samples: Iterable[Sample],
    base: Path | None = None,
    data_dir: str | None = None,
    *,
    identity: str | None = None,
) -> None:
    """Record beside a model which benchmark tasks its training data contains: `training_data.json`, read by `refuse_contaminated`.

    Args:
        base: the base model of the training; its record is included.
        data_dir: the first place to look for benchmark files.
        identity: a key of the samples' content, for the cache.
    """
    known = _known_to_training(data_dir)
    compared = [family for family in EVALPLUS_FILES if f"{family}+" in known.names]
    compared += [family for family in _OTHER_FILES if family in known.names]
    compared += ["bigcodebench"] if any(name in known.names for name in _SUITE_FILES) else []
    matches: dict[str, set[str]] = {family: set() for family in compared}
    here = _matches(samples, known, identity)
    count = here.num_samples
    for _, task in here.found:
        matches.setdefault(task.partition("/")[0].lower(), set()).add(task)
    if base is not None and (base / _RECORD).is_file():
        with expected_form(base / _RECORD):
            before = read_json(base / _RECORD)
            count += before["num_samples"]
            for family in list(matches):
                if family not in before["matches"] and not matches[family]:
                    del matches[family]  # unknown for the base model; matches in this data are known
            for family, found in before["matches"].items():
                if found:
                    matches.setdefault(family, set()).update(found)
    value = {"schema_version": 1, "num_samples": count, "matches": {family: sorted(found) for family, found in matches.items()}}
    write_json(model / _RECORD, value)


def _task_in(sample: Sample, known: KnownTasks) -> str | None:
    """Return the benchmark task in a sample and how it was recognised; None if there is none."""
    request = "\n".join(message.text for message in sample.messages if message.role == "user")
    task_id = str(sample.metadata.get("task_id", ""))
    answers = sample.messages[-1:] if sample.type == "reflection" else sample.messages[1::2]
    return next((task for m in answers if (task := known.find(task_id, request, program_of_answer(m.text)))), None)


def refuse_contaminated_data(
    samples: Iterable[Sample],
    benchmarks: Iterable[str],
    data_dir: str | None = None,
    *,
    allow: bool,
    identity: str | None = None,
) -> None:
    """Refuse a training whose model `refuse_contaminated` would refuse later.

    Args:
        benchmarks: the benchmarks that the model will be scored on, as named in recipes.
        data_dir: the first place to look for benchmark files.
        identity: a key of the samples' content, for the cache.

    Raises:
        CheckFailedError: the samples contain tasks of these benchmarks.
    """
    families = families_of(benchmarks)
    if allow or not families:
        return
    matches = _matches(samples, _known_to_training(data_dir), identity)
    found = [f"  sample {name}: {task}" for name, task in matches.found if task.partition("/")[0].lower() in families]
    if found:
        more = [f"  and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise CheckFailedError(
            f"{len(found)} training samples hold tasks of benchmarks that the model is to be scored on\n"
            + "\n".join([*found[:_SHOWN], *more])
            + "\n  hint:    leave them out, or evaluate.allow_contaminated: true"
        )


def refuse_contaminated(model: Path | None, benchmark: str, *, allow: bool) -> str | None:
    """Refuse a benchmark that the model was trained on.

    Return None if the model is clean or was not trained here; otherwise a sentence for the user: the training data is unknown, or the
    benchmark is allowed although it is contaminated. `model`: its folder; None for a model behind a server.

    Raises:
        CheckFailedError: the model's training data contains tasks of the benchmark.
    """
    row = BENCHMARKS.get(benchmark)
    if row is None or row.family is None:
        return None
    family = row.family
    if model is None:
        return f"{benchmark}: what a model behind a server was trained on is not known"
    if not (model / _RECORD).is_file():
        ours = (model / "reflectioncoder.json").is_file()
        return f"{benchmark}: what this model was trained on is not known: it has no {_RECORD}" if ours else None
    with expected_form(model / _RECORD):
        matches = read_json(model / _RECORD)["matches"].get(family)
    if matches is None:
        return f"{benchmark}: this model's training data was not compared with it: the benchmark's data was not there"
    if not matches:
        return None
    shown = "\n".join(f"  {in_line(match)}" for match in matches[:_SHOWN])
    if not allow:
        raise CheckFailedError(
            f"the training data of {model} holds {len(matches)} tasks of {benchmark}; a number would mean nothing\n{shown}\n"
            "  hint:    --allow-contaminated (evaluate.allow_contaminated) prints it all the same"
        )
    return f"{benchmark}: the training data holds {len(matches)} of its tasks\n{shown}"
