"""How a program is confined: the seam behind which stronger means can be put.

An `Isolation` turns limits and a command into the arguments of a process. The strongest one that works here is found by trying it
out (`detect_isolation`), never by looking at versions. Every result names it.

What the two of this version give, on the scale of tiers that results report:
  namespaces  tier 0 plus own network (none), process ids and IPC: nothing survives the run, nothing is reachable.
  rlimits     tier 0: limits, process group, clean environment, private directory. No protection of files or network.
Neither hides the file system: run programs of a model that you do not trust on a machine that you can lose.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError

CONFINE = Path(__file__).with_name("confine.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class Isolation:
    """One way to confine a program."""

    name: str
    tier: int
    namespaces: bool
    network: str

    def command(self, argv: list[str], cwd: str, limits: Limits, status_fd: int, env: dict[str, str]) -> list[str]:
        """The command line that confines itself and then runs `argv` (absolute path first) in `cwd`."""
        config = {
            "namespaces": self.namespaces,
            "argv": argv,
            "cwd": cwd,
            "env": {**ENVIRONMENT, "HOME": cwd, "TMPDIR": cwd, **env},
            "limits": asdict(limits),
            "status_fd": status_fd,
        }
        return [sys.executable, "-I", "-S", str(CONFINE), json.dumps(config)]

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "tier": self.tier, "network": self.network}


NAMESPACES = Isolation("namespaces", tier=0, namespaces=True, network="none")
RLIMITS = Isolation("rlimits", tier=0, namespaces=False, network="open")
ISOLATIONS = {isolation.name: isolation for isolation in (NAMESPACES, RLIMITS)}

# Run inside the candidate: counts as confined only if a listening port of the parent cannot be reached from there.
_ATTACK = """
import os, socket
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2)
    print("reached")
except OSError:
    print("refused", os.getpid())
"""


def probe(isolation: Isolation) -> str | None:
    """Try the isolation with a small attack; None if it holds, else what went wrong."""
    import socket

    from reflectioncoder.sandbox.process import run_python

    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            result = run_python(_ATTACK.format(port=server.getsockname()[1]), Limits(wall_s=20), isolation)
        except SandboxUnavailableError as error:
            return str(error)
    if result.status != "ok":
        return f"the probe ended with {result.status}: {result.stderr[-200:]}"
    if isolation.network == "none" and not result.stdout.startswith("refused"):
        return "the probe reached the network"
    return None


@cache
def detect_isolation() -> Isolation:
    """The strongest isolation that holds on this machine.

    Raises:
        SandboxUnavailableError: not even the weakest one can run a program here.
    """
    if os.name != "posix":
        raise SandboxUnavailableError("programs are confined with POSIX means only; on Windows use WSL 2 or a container")
    reasons = []
    for isolation in (NAMESPACES, RLIMITS):
        if isolation.namespaces and sys.platform != "linux":
            continue
        reason = probe(isolation)
        if reason is None:
            return isolation
        reasons.append(f"{isolation.name}: {reason}")
    raise SandboxUnavailableError("no way to run programs here:\n  " + "\n  ".join(reasons))
