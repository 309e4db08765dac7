"""Makes OpenMP threads sleep, after a moment of spinning, while they wait for each other.

torch's threads meet at a barrier many times per training step. By default each spins for milliseconds until the last one arrives; when
other processes compete for the cores, the spinning threads keep the last one from being scheduled. Threads that sleep at once have to
be woken at every barrier, which costs as much as short steps take (`benchmarks/waiting.py`).
"""

from __future__ import annotations

import os

# The variables that set how threads wait: OpenMP's own, LLVM's and Intel's, GNU's.
SETTINGS = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
_SPINS = 3_000  # of GNU's library, about a tenth of a millisecond; the others take whole milliseconds and so sleep at once


def wait_briefly() -> None:
    """Make OpenMP threads sleep soon while waiting, here and in child processes, unless the user chose otherwise.

    Call it before torch is loaded.
    """
    if not any(name in os.environ for name in SETTINGS):
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(_SPINS)}
