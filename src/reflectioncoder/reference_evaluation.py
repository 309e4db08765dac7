"""Evaluates a model on a benchmark without generating: writes the loss of its canonical programs to `reference_loss.jsonl`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.files import content_hash, write_jsonl
from reflectioncoder.data.prompts import without_docstring
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.metrics import ratio_interval
from reflectioncoder.evaluate.versions import source_hash
from reflectioncoder.generate.reference_loss import MEASURED, Reference, reference_losses
from reflectioncoder.languages import PYTHON

REFERENCE_LOSSES = "reference_loss.jsonl"


def references_of(benchmark: Benchmark) -> list[Reference]:
    """Return the canonical solutions of a benchmark's Python tasks, formatted as a model's answers."""
    found = []
    for task in benchmark.tasks:
        request = benchmark.request(task, 0)
        if task.canonical_solution and request.language == PYTHON.name:
            found.append(Reference(task.task_id, request.instruction, without_docstring(task.canonical_solution).strip("\n") + "\n"))
    return found


def losses_key(benchmark: Benchmark, config: ModelConfig, model: str) -> str:
    """Return the cache key of the losses of a benchmark's programs; `model` identifies the model."""
    references = [asdict(reference) for reference in references_of(benchmark)]
    return content_hash(MEASURED, benchmark.whole.describe(), references, config.rendering, config.dtype, model)


def losses_version() -> str:
    """Return a hash of the code that makes requests and measures answers, on which losses depend besides model and packages."""
    return source_hash("data", "generate", "models")


def evaluate_references(config: ModelConfig, path: Path, benchmark: Benchmark, directory: Path, confidence: float) -> dict[str, Any]:
    """Write the loss of every canonical program to `directory`; return their mean per token, with an interval over tasks.

    Raises:
        UsageError: no task has a canonical solution in Python.
    """
    references = references_of(benchmark)
    if not references:
        raise UsageError(f"evaluate.measures: reference_loss: {benchmark.name} has no canonical solutions in Python")
    losses = reference_losses(config, path, references, f"reference loss {benchmark.name} {directory.name}")
    write_jsonl(directory / REFERENCE_LOSSES, [asdict(loss) for loss in losses])
    totals = [(loss.loss * loss.num_tokens, float(loss.num_tokens)) for loss in losses]
    return {
        **asdict(ratio_interval(totals, confidence)),
        "num_tasks": len(losses),
        "num_tokens": sum(loss.num_tokens for loss in losses),
    }
