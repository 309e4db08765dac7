"""Stage `matmul`: the machine, and the fastest product of two square matrices that it really computes: the base of the MFU."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from experiments.runner import Group, Measure, Rows, Settings
from experiments.turns import NUM_TURNS

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "trl")
_REPEATS = 20  # products of a turn: a single one is over before the clock can tell


def groups(settings: Settings) -> list[Group]:
    sizes = (128, 256) if settings.tiny else (4096, 8192, 16384)
    return [Group("matmul/square", ("machine", *map(str, sizes)), start)]


def start(settings: Settings, directory: Path, group: str, rows: Rows) -> Measure:
    import torch

    def measure(unit: str) -> dict[str, Any]:
        if unit == "machine":
            return machine(settings.device)
        return {"tflops": tflops(int(unit), torch.device(settings.device), torch.float32 if settings.tiny else torch.bfloat16)}

    return measure


def tflops(size: int, device: Any, dtype: Any) -> float:
    """Return 10¹² operations per second, the median of some turns."""
    import torch

    from benchmarks.steps.contest import synchronize

    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(NUM_TURNS + 1):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(_REPEATS):
            torch.mm(a, b)
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 * _REPEATS / statistics.median(seconds[1:]) / 1e12  # the first warms up


def machine(device: str) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    import torch

    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    found = {
        "python": platform.python_version(),
        "versions": versions,
        "cuda": torch.version.cuda,
        "device": platform.processor() or "CPU",
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"device": properties.name, "memory_bytes": properties.total_memory}
    return found


def peak_tflops(rows: Rows) -> float | None:
    """Return the best of all sizes; None: not measured."""
    found = [row["result"]["tflops"] for key, row in rows.items() if key.startswith("matmul/") and "tflops" in row.get("result", {})]
    return max(found, default=None)
