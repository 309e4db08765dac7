"""Describes in sentences what a training would do: its data, steps, tokens, time and memory, and what ends it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import RenderReport
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.progress import format_duration
from reflectioncoder.train.forecast import MemoryForecast

_INDENT = " " * 10


def plan_lines(plan: RunPlan, report: RenderReport) -> list[str]:
    """Return readable lines about a plan's samples, visits, steps and tokens."""
    config = plan.config
    num_samples, num_reflections = len(plan.samples), int(plan.is_reflection.sum())
    visited = plan.is_reflection[plan.visited]
    in_reflections = int(plan.costs()[visited].sum()) / plan.num_tokens
    lines = [f"samples   {num_samples:,}: {num_reflections:,} reflections, {num_samples - num_reflections:,} one-off answers"]
    if report.too_long:
        lines.append(
            f"{_INDENT}{len(report.too_long):,} more are longer than train.max_length ({config.max_length:,}) and left out; "
            f"the longest has {report.longest:,} tokens"
        )
    else:
        lines.append(f"{_INDENT}the longest has {report.longest:,} tokens; all fit into train.max_length ({config.max_length:,})")
    return [
        *lines,
        f"steps     {plan.total_steps:,} optimizer steps of {config.global_batch_size:,} samples: {len(visited):,} visits, "
        f"{int(visited.sum()):,} of them of reflections",
        f"{_INDENT}{_visits_each(plan)}",
        f"tokens    {plan.num_tokens:,} through the model, {in_reflections:.0%} of them in reflections; {_what_ends_it(plan, config)}",
    ]


def _visits_each(plan: RunPlan) -> str:
    """Describe how often the samples of each kind are seen."""
    counts = np.bincount(plan.visited, minlength=len(plan.samples))
    kinds = (("reflection", counts[plan.is_reflection]), ("one-off answer", counts[~plan.is_reflection]))
    return ", ".join(f"each {kind} is seen {_times(of_kind)}" for kind, of_kind in kinds if len(of_kind))


def _times(counts: NDArray[np.int64]) -> str:
    low, high = int(counts.min()), int(counts.max())
    times = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return "once" if times == "1" else f"{times} times"


def _what_ends_it(plan: RunPlan, config: TrainConfig) -> str:
    if config.max_tokens is None:
        return f"train.epochs ({config.epochs:g}) ends the training"
    if plan.is_cut_short:
        return f"train.max_tokens ({config.max_tokens:,}) ends the training before train.epochs ({config.epochs:g}) does"
    return f"train.epochs ({config.epochs:g}) ends the training before train.max_tokens ({config.max_tokens:,}) does"


def time_line(seconds: float | None) -> str:
    """Return a line about the expected time; `seconds` is None if no earlier run tells."""
    if seconds is None:
        return "time      not known: no run beside this one has trained this model; a run prints its own estimate after the first step"
    return f"time      about {format_duration(seconds)}, by the newest run beside this one that trained this model"


def memory_lines(forecast: MemoryForecast, available: float, *, checkpointing: bool) -> list[str]:
    """Return lines about the memory of the training's tensors.

    Args:
        available: free bytes on the device.
        checkpointing: whether activations are recomputed in the backward pass.
    """
    parts = (
        ("parameters", forecast.parameters),
        ("gradients", forecast.gradients),
        ("optimizer", forecast.optimizer),
        ("activations", forecast.activations),
        ("output layer", forecast.output_layer),
    )
    again = "activations are computed again in the backward pass" if checkpointing else "activations are kept for the backward pass"
    return [
        f"memory    {forecast.total / 1e9:.2f} GB of tensors at most, {available / 1e9:.1f} GB are free; Python and torch take "
        "one to two GB more",
        f"{_INDENT}{', '.join(f'{name} {size / 1e9:.2f}' for name, size in parts)} GB",
        f"{_INDENT}{again} (train.gradient_checkpointing)",
    ]
