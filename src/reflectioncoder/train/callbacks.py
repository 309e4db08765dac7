"""Callbacks between optimizer steps: a progress line, `metrics.jsonl`, a checkpoint and a clean end when asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from reflectioncoder.data.files import JsonlAppender, read_jsonl, write_jsonl
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.stopping import StopFlag


class StepCallback(TrainerCallback):
    """Calls `report(step, total_steps, latest log entry)` after each optimizer step."""

    def __init__(self, report: Callable[[int, int, dict[str, float]], None]):
        self._report = report

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.log_history and "loss" in state.log_history[-1]:
            self._report(state.global_step, state.max_steps, state.log_history[-1])


class MetricsCallback(TrainerCallback):
    """Appends one JSON row per optimizer step to `path`: the Trainer's log entry, `tokens_per_s` and `peak_memory_bytes`.

    The peak memory is the GPU's if there is one. An evaluation gets a row of its own, with `eval_loss`. A resumed run drops the
    rows after its checkpoint's step and appends.
    """

    def __init__(self, path: Path):
        self._path = path
        self._appender: JsonlAppender | None = None
        self._since = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        if self._path.exists():
            with expected_form(self._path):
                rows = read_jsonl(self._path, tolerate_torn_tail=True, allow_nan=True)
                rows = [row for _, row in rows if row["step"] <= state.global_step]
            write_jsonl(self._path, rows)
        self._appender = JsonlAppender(self._path)
        self._since = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        entry = state.log_history[-1] if state.log_history else {}
        if self._appender is None or not {"loss", "eval_loss"} & entry.keys():
            return
        now = time.monotonic()
        if "eval_loss" in entry:
            self._appender.append({"step": state.global_step, **entry})
            self._since = now  # evaluation time does not count for the next step
            return
        speed = round(entry["tokens"] / (now - self._since), 1)
        self._appender.append({"step": state.global_step, **entry, "tokens_per_s": speed, "peak_memory_bytes": peak_memory_bytes()})
        self._since = now


def peak_memory_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


class StopCallback(TrainerCallback):
    """Saves a checkpoint after the optimizer step in which `flag` is set, and stops (`stopped`). All ranks stop if one is asked to."""

    def __init__(self, flag: StopFlag) -> None:
        self.stopped = False
        self._flag = flag

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        asked = self._flag.is_set()
        if args.world_size > 1:
            any_asked = torch.tensor(int(asked), device=args.device)
            torch.distributed.all_reduce(any_asked, torch.distributed.ReduceOp.MAX)
            asked = bool(any_asked)
        if asked and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True
            control.should_evaluate = False  # there may be no time for it
