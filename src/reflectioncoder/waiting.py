"""Makes OpenMP threads sleep, instead of spinning, while they wait for each other.

torch's threads meet at a barrier many times per training step. By default each spins until the last one arrives; when other processes
compete for the cores, the spinning threads keep the last one from being scheduled (`benchmarks/waiting.py`).
"""

from __future__ import annotations

import os

# The variables that set how threads wait: OpenMP's own, LLVM's and Intel's, GNU's.
SETTINGS = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")


def wait_passively() -> None:
    """Make OpenMP threads sleep while waiting, in child processes too, unless the user chose otherwise. Call before loading torch."""
    if not any(name in os.environ for name in SETTINGS):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
