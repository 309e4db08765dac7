"""Stage `head`: how many rows the output layer takes at a time, for three vocabularies, plain and compiled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from experiments import turns
from experiments.runner import Group, Measure, Rows, Settings
from experiments.training import SHAPES

CHUNKS = (64, 128, 256, 512, 1024, 2048)
_COMPILED = ", compiled"
_REPEATS = 5  # passes of a turn


def names(settings: Settings) -> tuple[str, ...]:
    if settings.tiny:
        return ("64", "128", f"128{_COMPILED}")
    plain = tuple(map(str, CHUNKS))
    return (*plain, *(f"{name}{_COMPILED}" for name in plain))


def groups(settings: Settings) -> list[Group]:
    models = ("SmolLM2-135M",) if settings.tiny else tuple(SHAPES)
    return [Group(f"head/{model}", turns.units(settings, names(settings)), start) for model in models]


def start(settings: Settings, directory: Path, group: str, rows: Rows) -> Measure:
    return turns.measuring(Passes(settings, group.removeprefix("head/")), names(settings), group, rows)


class Passes:
    """Passes over the vocabulary, forward and backward: half of the rows are pairs of the KL, as in a sample at mask rate 0.5."""

    def __init__(self, settings: Settings, model: str):
        import torch

        vocab_size, width, self.num_rows = SHAPES[model]["vocab_size"], SHAPES[model]["hidden_size"], 8192
        if settings.tiny:
            vocab_size, width, self.num_rows = 512, 32, 512
        device = torch.device(settings.device)
        torch.manual_seed(0)
        self.hidden = torch.randn(self.num_rows, width, device=device, requires_grad=True)
        self.weight = (torch.randn(vocab_size, width, device=device) * width**-0.5).requires_grad_()
        self.targets = torch.randint(vocab_size, (self.num_rows,), device=device)
        self.ce_weights = torch.full((self.num_rows,), 1 / self.num_rows, device=device)
        self.kl_weights = torch.full((self.num_rows // 4,), 4 / self.num_rows, device=device)

    def check(self, name: str) -> dict[str, Any]:
        import torch

        loss, peak = self._run(name), None
        if self.hidden.is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self._run(name)
            peak = torch.cuda.max_memory_allocated() - before
        return {"loss": loss, "rows": self.num_rows, "peak_bytes": peak}

    def seconds(self, name: str) -> float:
        """Return the seconds of one pass."""
        from benchmarks.steps.contest import synchronize

        synchronize(self.hidden.device)
        began = time.perf_counter()
        for _ in range(_REPEATS):
            self._run(name)
        synchronize(self.hidden.device)
        return (time.perf_counter() - began) / _REPEATS

    def _run(self, name: str) -> float:
        import torch

        from reflectioncoder.train.head import weighted_loss

        chunk = int(name.removesuffix(_COMPILED))
        with torch.autocast("cuda", torch.bfloat16, enabled=self.hidden.is_cuda):
            loss, _ = weighted_loss(
                self.hidden, self.weight, None, self.targets, self.ce_weights, self.kl_weights, chunk, name.endswith(_COMPILED)
            )
        loss.backward()
        self.hidden.grad = self.weight.grad = None
        return loss.item()
