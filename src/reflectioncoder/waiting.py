"""Makes OpenMP threads sleep, instead of spinning, while they wait for each other.

torch's threads meet at a barrier many times a training step. By default each turns in a loop until the last is there; where other
processes want the cores, the last is not running, and the loops keep it from running (`benchmarks/waiting.py`).
"""

from __future__ import annotations

import os

# Each of them says how threads wait: OpenMP's own, LLVM's and Intel's, GNU's.
SETTINGS = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")


def wait_passively() -> None:
    """Tell OpenMP to wait asleep, here and in child processes, unless the user set it otherwise. Call it before torch is loaded."""
    if not any(name in os.environ for name in SETTINGS):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
