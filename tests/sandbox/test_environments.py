"""The strongest isolation is found wherever the program is started: as root, as an ordinary user, in a container's filter."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.isolation import ISOLATIONS

SOURCES = Path(__file__).resolve().parents[2] / "src"

# What Docker's default profile refuses to a container without privileges: new namespaces, mounts, roots, keyrings, bpf.
SCRIPT = """
import json, os, sys
sys.path.insert(0, {sources!r})
if {filtered}:
    import errno, platform, struct
    from reflectioncoder.sandbox.runtime import kernel, seccomp
    column, architecture = seccomp._ARCHITECTURES[platform.machine()]
    names = ["unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsmount", "move_mount", "open_tree", "mount_setattr",
             "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "kexec_load", "reboot"]
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, 0x80000000), (0x20, 0, 0, 0)]
    for name in names:
        code += [(0x15, 0, 1, seccomp._NUMBERS[name][column]), (0x06, 0, 0, 0x00050000 | errno.EPERM)]
    clone = seccomp._CLONE[column]
    code += [(0x15, 0, 4, clone), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7E020000), (0x06, 0, 0, 0x00050000 | errno.EPERM),
             (0x06, 0, 0, 0x7FFF0000), (0x15, 0, 1, 435), (0x06, 0, 0, 0x00050000 | errno.ENOSYS), (0x06, 0, 0, 0x7FFF0000)]
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(b"".join(struct.pack("=HBBI", *step) for step in code))
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
from reflectioncoder.sandbox.session import Session
isolation = detect_isolation()
result = run_python("import math, os; print(math.pi, os.getuid())", Limits(), isolation)
bomb = run_python("import os, time\\nfor _ in range(200):\\n    if os.fork() == 0: time.sleep(9)", Limits(processes=8), isolation)
with Session(Limits(), isolation) as session:
    session.run("x = 20")
    cell = session.run("x + 1").output
print(json.dumps([isolation.tier, result.status, result.stdout + result.stderr, bomb.status, cell]))
"""


def readable_by_all(path):
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in [path, *path.parents])


def interpreter_for(uid):
    if uid is None:
        return sys.executable
    for candidate in (Path(sys._base_executable).resolve(), Path("/usr/bin/python3")):  # pyright: ignore[reportAttributeAccessIssue]
        if candidate.exists() and readable_by_all(candidate.parent):
            version = subprocess.run(
                [candidate, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True
            )
            if version.stdout == "True\n":
                return str(candidate)
    pytest.skip("no interpreter from 3.11 on that an ordinary user can reach")


def detected(uid, filtered, tmp_path):
    sources = SOURCES
    if uid is not None and not readable_by_all(SOURCES):
        pytest.skip("an ordinary user cannot reach the sources")
    script = SCRIPT.format(sources=str(sources), filtered=filtered)
    prefix = []
    if uid is not None:
        prefix = [shutil.which("setpriv"), "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [*prefix, interpreter_for(uid), "-c", script], capture_output=True, text=True, env=environment, cwd="/", timeout=120
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.parametrize("uid", [None, pytest.param(12345, marks=needs_root)], ids=["this user", "an ordinary user"])
@pytest.mark.parametrize("filtered", [False, True], ids=["plain", "container filter"])
def test_the_strongest_isolation_is_found(uid, filtered, tmp_path):
    if probe(ISOLATIONS["landlock"]) is not None:
        pytest.skip("no Landlock in this kernel")
    tier, status, output, bomb, cell = detected(uid, filtered, tmp_path)
    assert status == "ok", output
    assert output.startswith("3.14159")
    assert bomb != "ok"
    assert cell == "21\n"
    if filtered:
        assert tier == 1
    elif probe(ISOLATIONS["namespaces"]) is None:
        assert tier >= 2
