"""Compares two scoring runs, task by task: exact McNemar, paired bootstrap of the difference, the tasks that flipped.

In: `results.json` with `samples.jsonl` beside it, or EvalPlus's own `*eval_results.json`. Out: plain data for the command line.
The pairs are tasks: with one sample per task a task is solved or not; with several its pass@1 is the share of samples that pass.
The difference is always B - A. The comparison runs no programs and needs no benchmark data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from reflectioncoder.data.files import read_json, read_jsonl
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.metrics import bootstrap_interval, exact_mcnemar, paired_interval
from reflectioncoder.evaluate.references import failed_in
from reflectioncoder.evaluate.results import num_counted_rows
from reflectioncoder.evaluate.score import SAMPLES
from reflectioncoder.terminal import in_line

Subset = Literal["base", "plus"] | None
"""None stands for the whole benchmark, if neither run has plus tests."""

ROUNDS = 10_000
SEVERAL_SAMPLES = "several samples per task: a task is not just solved or unsolved"
_PASSED = ("passed", "pass")  # ours, EvalPlus's


class NothingInCommonError(UsageError):
    """No task has a verdict in both runs."""


@dataclass(frozen=True)
class JudgedSample:
    base_status: str
    plus_status: str | None

    def solves(self, subset: Subset) -> bool | None:
        """Tell whether the sample solves the subset; None without a verdict. A failed base fails plus too, even if that was not run."""
        if "sandbox_error" in (self.base_status, self.plus_status):
            return None
        base = self.base_status in _PASSED
        if subset != "plus" or not base:
            return base
        return None if self.plus_status is None else self.plus_status in _PASSED


@dataclass(frozen=True)
class ScoredRun:
    """One scoring run. Values missing from its files are None."""

    path: Path
    samples: dict[str, list[JudgedSample]]
    has_plus: bool
    benchmark: str | None = None
    sha256: str | None = None
    evalplus_hash: str | None = None
    tier: int | None = None
    status: str = "done"

    def describe(self) -> dict[str, Any]:
        num_samples = sum(map(len, self.samples.values()))
        return {"path": str(self.path), "num_tasks": len(self.samples), "num_samples": num_samples, "isolation_tier": self.tier}

    def rates(self, task_ids: Iterable[str], subset: Subset) -> dict[str, tuple[float, int]]:
        """Return (pass@1, number of samples with a verdict) for each task that has a verdict."""
        solved = {task: [s for sample in self.samples[task] if (s := sample.solves(subset)) is not None] for task in task_ids}
        return {task: (fmean(verdicts), len(verdicts)) for task, verdicts in solved.items() if verdicts}


def read_run(path: Path) -> ScoredRun:
    """Read a directory with `results.json` and `samples.jsonl`, the path of such a `results.json`, or an EvalPlus result file.

    Raises:
        UsageError: a file is missing, malformed or of another kind; the message names the file and, for samples, the line.
    """
    if path.is_dir():
        path = path / "results.json"
    allowed = "a directory with results.json and samples.jsonl, a results.json, an EvalPlus *eval_results.json"
    if path.suffix == ".jsonl":
        raise UsageError.for_value("not the results of a scoring run", "compare", str(path), allowed)
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("eval"), dict):
        return _read_evalplus(path, content)
    if isinstance(content, dict) and isinstance(content.get("benchmark"), dict):
        return _read_scored(path, content)
    raise UsageError.for_value("not the results of a scoring run", "compare", str(path), allowed)


def _read_scored(path: Path, results: dict[str, Any]) -> ScoredRun:
    rows = path.with_name(SAMPLES)
    if not rows.is_file():
        raise UsageError(
            f"file not found: {rows}\n  hint:    the verdicts of {path} are read from it; `reflectioncoder score` writes both"
        )
    judged: list[dict[str, Any]] = []
    seen: set[tuple[str, object]] = set()
    for number, row in read_jsonl(rows):
        where = f"{rows}:{number}"
        task_id, sample = row.get("task_id"), row.get("sample")
        if not isinstance(task_id, str) or not isinstance(sample, int):
            raise UsageError(f"{where}: needs task_id, a string, and sample, a number")
        if (task_id, sample) in seen:
            # Scoring appends, and leaves one row per sample when it ends.
            raise UsageError(f"{where}: sample {sample} of {in_line(task_id)} a second time: scoring has not finished; run score again")
        seen.add((task_id, sample))
        judged.append(row)
    samples: dict[str, list[JudgedSample]] = {}
    left_out = failed_in(results)
    for number, row in enumerate(judged[: num_counted_rows(results, judged, rows)], start=1):
        if row["task_id"] not in left_out:
            samples.setdefault(row["task_id"], []).append(_judged(row, f"{rows}:{number}"))
    benchmark, isolation = results["benchmark"], (results.get("sandbox") or {}).get("isolation") or {}
    return ScoredRun(
        path,
        samples,
        _has_plus(samples) or any(metric.get("subset") == "plus" for metric in results.get("metrics") or ()),
        benchmark.get("name"),
        benchmark.get("sha256"),
        tier=isolation.get("tier"),
        status=results.get("status", "done"),
    )


def _read_evalplus(path: Path, content: dict[str, Any]) -> ScoredRun:
    samples: dict[str, list[JudgedSample]] = {}
    for task_id, rows in content["eval"].items():
        where = f"{path}: eval.{in_line(task_id)}"
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UsageError(f"{where}: expected a list of samples with base_status and plus_status")
        samples[task_id] = [_judged(row, f"{where}[{i}]") for i, row in enumerate(rows)]
    return ScoredRun(path, samples, _has_plus(samples), evalplus_hash=content.get("hash"))


def _judged(row: dict[str, Any], where: str) -> JudgedSample:
    status, base, plus = row.get("status"), row.get("base_status"), row.get("plus_status")
    if status == "sandbox_error" or base is None:
        base = status
    if not isinstance(base, str) or not isinstance(plus, str | None):
        raise UsageError(f"{where}: needs base_status (or status), a string, and plus_status, a string or null")
    return JudgedSample(base, plus)


def _has_plus(samples: dict[str, list[JudgedSample]]) -> bool:
    return any(sample.plus_status is not None for task in samples.values() for sample in task)


def compare_runs(a: ScoredRun, b: ScoredRun, *, seed: int = 0, limit: int | None = None, only_headline: bool = False) -> dict[str, Any]:
    """Return paired statistics per subset, over the tasks that both runs have (the first `limit` of them, if given).

    `only_headline`: compare only the plus tests, if there are any; the bootstrap of a large benchmark takes seconds per subset.

    Swapping the runs swaps counts and lists, negates differences and mirrors intervals; p-values do not change.

    Raises:
        UsageError: different benchmarks or data; no common task; no task with a verdict in both runs.
    """
    _require_same_data(a, b)
    common = common_tasks(a, b)
    if not common:
        raise NothingInCommonError(f"no common task: nothing to compare\n{_sides(a, b, *(_some_tasks(run) for run in (a, b)))}")
    tasks = common[:limit]
    subsets: list[Subset] = ["base", "plus"] if a.has_plus and b.has_plus else ["base"] if a.has_plus or b.has_plus else [None]
    return {
        "schema_version": 1,
        "benchmark": a.benchmark or b.benchmark,
        "a": a.describe(),
        "b": b.describe(),
        "num_common_tasks": len(common),
        "num_compared_tasks": len(tasks),
        "bootstrap": {"rounds": ROUNDS, "seed": seed, "confidence": 0.95},
        "subsets": [_compare_subset(a, b, tasks, subset, seed) for subset in (subsets[-1:] if only_headline else subsets)],
        "warnings": _warnings(a, b, len(common), len(tasks)),
    }


def common_tasks(a: ScoredRun, b: ScoredRun) -> list[str]:
    """Return the tasks that both runs have, in the order in which `limit` counts them."""
    return sorted(a.samples.keys() & b.samples.keys(), key=_natural_order)


def compare_folders(directory: Path, a: str, b: str) -> dict[str, Any] | None:
    """Return the paired statistics of two scorings in one folder, for the plus tests if there are any.

    None if no task has a verdict in both, for instance because one is missing or could not be judged here.

    Raises:
        UsageError: a file is damaged, or the scorings used different data.
    """
    if not all((directory / name / "results.json").is_file() for name in (a, b)):
        return None
    if any(_is_skipped(directory / name / "results.json") for name in (a, b)):
        return None
    try:
        return compare_runs(read_run(directory / a), read_run(directory / b), only_headline=True)["subsets"][0]
    except NothingInCommonError:
        return None


def _is_skipped(results: Path) -> bool:
    content = read_json(results)
    return isinstance(content, dict) and content.get("status") == "skipped"


def _compare_subset(a: ScoredRun, b: ScoredRun, tasks: Sequence[str], subset: Subset, seed: int) -> dict[str, Any]:
    rates_a, rates_b = a.rates(tasks, subset), b.rates(tasks, subset)
    pairs = {task: (rates_a[task][0], rates_b[task][0]) for task in tasks if task in rates_a and task in rates_b}
    if not pairs:
        raise NothingInCommonError(f"no task has a {subset or 'pass or fail'} verdict in both runs: nothing to compare\n{_sides(a, b)}")
    single = all(rates[task][1] == 1 for rates in (rates_a, rates_b) for task in pairs)
    better_a, better_b = [task for task, (x, y) in pairs.items() if x > y], [task for task, (x, y) in pairs.items() if y > x]
    num_both = sum(x == y == 1 for x, y in pairs.values())
    counts = {
        "both": num_both,
        "only_a": len(better_a),
        "only_b": len(better_b),
        "neither": len(pairs) - num_both - len(better_a) - len(better_b),
    }
    difference = bootstrap_interval([y - x for x, y in pairs.values()], 0.95, seed, ROUNDS)
    difference = paired_interval(difference, len(pairs), single=single)
    left_out = [task for task in tasks if task not in pairs]
    return {
        "subset": subset,
        "num_tasks": len(pairs),
        "num_left_out": len(left_out),
        "left_out": left_out,
        "pass@1": {"a": fmean(x for x, _ in pairs.values()), "b": fmean(y for _, y in pairs.values())},
        "difference": asdict(difference),
        "counts": counts if single else None,
        "mcnemar": {
            "p_value": exact_mcnemar(len(better_a), len(better_b)) if single else None,
            "reason": None if single else SEVERAL_SAMPLES,
        },
        "flipped": {"only_a": better_a, "only_b": better_b} if single else None,
        "changed": None if single else [{"task_id": task, "a": x, "b": y} for task, (x, y) in pairs.items() if x != y],
    }


def _require_same_data(a: ScoredRun, b: ScoredRun) -> None:
    if a.benchmark and b.benchmark and a.benchmark != b.benchmark:
        raise UsageError(f"the runs are of different benchmarks\n{_sides(a, b, a.benchmark, b.benchmark)}")
    if a.sha256 and b.sha256 and a.sha256 != b.sha256:
        shown = [f"{run.benchmark}, sha256 {run.sha256}" for run in (a, b)]
        raise UsageError(f"the runs are of different data of the same benchmark\n{_sides(a, b, *shown)}")


def _warnings(a: ScoredRun, b: ScoredRun, num_common: int, num_compared: int) -> list[str]:
    warnings = []
    only_a, only_b = len(a.samples) - num_common, len(b.samples) - num_common
    if only_a or only_b:
        warnings.append(f"different tasks: the {num_common} common ones count, not the {only_a} only in A and the {only_b} only in B")
    if num_compared < num_common:
        warnings.append(f"only the first {num_compared} of {num_common} common tasks are compared")
    if a.has_plus != b.has_plus:
        warnings.append(f"only {'A' if a.has_plus else 'B'} has plus verdicts: base alone is compared")
    if a.evalplus_hash and b.evalplus_hash and a.evalplus_hash != b.evalplus_hash:
        # Only a warning: writers of this format hash different things (EvalPlus: the MD5 of its data file).
        warnings.append(f"the EvalPlus files name different data: hash {a.evalplus_hash} in A, {b.evalplus_hash} in B")
    for name, run in (("A", a), ("B", b)):
        if run.status != "done":
            warnings.append(f"{name} ended with status {in_line(str(run.status))}: its numbers are not valid")
        if run.tier == 0:
            warnings.append(f"{name} was scored at isolation tier 0: its programs could read files and use the network")
    if a.tier is not None and b.tier is not None and a.tier != b.tier:
        warnings.append(f"different isolation: tier {a.tier} in A, tier {b.tier} in B")
    return warnings


def _sides(a: ScoredRun, b: ScoredRun, *details: str) -> str:
    texts = details or ("", "")
    return "\n".join(f"  {name}: {run.path}  {in_line(text)}".rstrip() for name, run, text in zip("AB", (a, b), texts, strict=True))


def _some_tasks(run: ScoredRun) -> str:
    return f"{len(run.samples)} tasks" + "".join(f", e.g. {task}" for task in list(run.samples)[:1])


def _natural_order(task_id: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sort HumanEval/2 before HumanEval/10: an order of its own, so that the bootstrap does not depend on the order of rows."""
    parts: list[str | tuple[int, str]] = []
    for number, part in enumerate(re.split(r"([0-9]+)", task_id)):
        digits = part.lstrip("0")
        parts.append((len(digits), digits) if number % 2 else part)  # by value, whatever their length
    return parts, task_id
