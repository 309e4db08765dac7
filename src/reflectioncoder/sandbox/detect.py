"""Finds the strongest isolation that holds on this machine by a small attack, never by comparing versions.

It imports the tiers (`sandbox.isolation`) and the servers that apply them, because a tier is tried by running a program in it. Code
that runs programs calls `detect_isolation` once and passes the `Isolation` on.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from reflectioncoder.errors import UsageError
from reflectioncoder.paths import cache_dir
from reflectioncoder.sandbox.box import temporary_folder
from reflectioncoder.sandbox.isolation import AUTOMATIC, ISOLATIONS, Isolation
from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError
from reflectioncoder.sandbox.process import run_python
from reflectioncoder.sandbox.readable import secret_folders

FLOOR = 1

# Runs inside the candidate, which holds if none of these attempts succeeds.
_ATTACK = """
import os, signal, socket
won = []
def attempt(name, action):
    try:
        action()
    except BaseException:
        return
    won.append(name)
attempt("network", lambda: socket.create_connection(("127.0.0.1", {port}), timeout=2))
attempt("secret file", lambda: open({secret!r}).read())
attempt("write outside", lambda: open({secret!r} + ".planted", "w"))
attempt("change outside", lambda: os.chmod({secret!r}, 0o600))
attempt("signal", lambda: os.kill({pid}, 0))
attempt("process table", lambda: open("/proc/{pid}/environ").read())
for path in {data!r}:
    attempt("data that answers are compared with", lambda: open(path).read(1))
open("mine", "w").write("x")
print(",".join(won) or "held")
"""

# For four processes that are each below the limit and together above it.
_HOG_LIMIT_BYTES = 2**27
_HOG = """
import os
for _ in range(2): os.fork()
x = bytearray(2**26)
for at in range(0, len(x), 4096): x[at] = 1
os.wait()
"""


@contextlib.contextmanager
def _examples_of_data() -> Iterator[list[str]]:
    """Yield a file in each secret folder; in the cache, a world-readable one."""
    found = []
    for folder in secret_folders():
        with contextlib.suppress(OSError):
            found += [str(path) for path in itertools.islice(folder.iterdir(), 100) if path.is_file()][:1]
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            example = stack.enter_context(tempfile.NamedTemporaryFile(dir=cache_dir(), prefix=".example-"))
            os.chmod(example.name, 0o644)
            found.append(example.name)
        yield found


def probe(isolation: Isolation) -> str | None:
    """Try the isolation with a small attack; return None if it holds, else the reason."""
    if isolation.tier >= 1 and sys.platform != "linux":
        return "only on Linux"
    with temporary_folder() as folder, socket.create_server(("127.0.0.1", 0)) as listener, _examples_of_data() as data:
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text("secret")
        secret.chmod(0o666)
        source = _ATTACK.format(port=listener.getsockname()[1], secret=str(secret), pid=os.getpid(), data=data)
        try:
            result = run_python(source, Limits(wall_s=20), isolation)
        except SandboxUnavailableError as error:
            return str(error)
    if result.status != "ok":
        return f"the probe ended with {result.status}: {result.reason} {result.stderr[-200:]}".strip()
    if isolation.tier >= 1 and result.stdout != "held\n":
        return f"the probe got through: {result.stdout.strip()}"
    if isolation.cgroup:
        hog = run_python(_HOG, Limits(wall_s=20, memory_bytes=_HOG_LIMIT_BYTES), isolation)
        if hog.status != "memory":
            return f"the memory of several processes is not limited together: {hog.status} {hog.stderr[-200:]}".strip()
    return None


def detect_isolation() -> Isolation:
    """Return the strongest isolation that holds on this machine, or the one named by `REFLECTIONCODER_ISOLATION`.

    Raises:
        SandboxUnavailableError: not even the weakest isolation can run a program here.
    """
    return _detect(secret_folders())


@cache
def _detect(secret: frozenset[Path]) -> Isolation:
    if os.name != "posix":
        raise SandboxUnavailableError("programs are confined with POSIX means only; on Windows use WSL 2 or a container")
    wanted = os.environ.get("REFLECTIONCODER_ISOLATION")
    if wanted is not None and wanted not in ISOLATIONS:
        raise UsageError.for_value("unknown isolation", "REFLECTIONCODER_ISOLATION", wanted, list(ISOLATIONS))
    reasons = []
    for isolation in [ISOLATIONS[wanted]] if wanted else AUTOMATIC:
        reason = probe(isolation)
        if reason is None:
            return isolation
        reasons.append(f"{isolation.name}: {reason}")
    raise SandboxUnavailableError("no way to run programs here:\n  " + "\n  ".join(reasons))


def require_floor(isolation: Isolation, floor: int = FLOOR) -> None:
    """Refuse an isolation below a tier.

    Raises:
        SandboxUnavailableError: the isolation is weaker than `floor`.
    """
    if isolation.tier < floor:
        raise SandboxUnavailableError(
            f"programs would run at isolation tier {isolation.tier} ({isolation.name}); tier {floor} is demanded\n"
            "  meaning: they could read your files and use the network\n"
            "  hint:    reflectioncoder doctor says why; "
            f"--floor {isolation.tier}, in a recipe sandbox.floor: {isolation.tier}, accepts it"
        )
