"""One run: every limit holds, nothing survives, the result says what happened, and sandbox failure is no program failure."""

import os
import socket
import time
from dataclasses import replace

import pytest

from reflectioncoder.errors import UsageError
from reflectioncoder.sandbox.detect import detect_isolation, probe
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.isolation import ISOLATIONS, NAMESPACES, RLIMITS
from reflectioncoder.sandbox.limits import CappedOutput, Limits, SandboxUnavailableError
from reflectioncoder.sandbox.pool import map_ordered
from reflectioncoder.sandbox.process import run_python

LIMITS = Limits(wall_s=10, cpu_s=2, memory_bytes=2**28, output_bytes=4096, file_bytes=2**20, processes=8)


@pytest.fixture(scope="module", params=list(ISOLATIONS))
def isolation(request):
    chosen = ISOLATIONS[request.param]
    reason = probe(chosen)
    if reason is not None:
        pytest.skip(f"{chosen.name} does not work here: {reason}")
    return chosen


def run(source, isolation, **limits):
    return run_python(source, replace(LIMITS, **limits), isolation)


def test_output_and_exit_code_come_back(isolation):
    result = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", isolation)
    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("failed", 3, "out\n", "err\n")
    assert run("print('ü')", isolation).stdout == "ü\n"


@pytest.mark.parametrize(("name", "expected"), [("data.csv", "False\n"), ("part.py", "True\n")])
def test_only_what_is_code_tells_the_packages_that_a_program_needs(name, expected):
    pytest.importorskip("numpy")
    source = "import sys; print('num' + 'py' in sys.modules)"
    assert run_python(source, LIMITS, detect_isolation(), files={name: "import numpy"}).stdout == expected


def test_wall_clock_limit(isolation):
    started = time.monotonic()
    result = run("import time; time.sleep(600)", isolation, wall_s=1)
    assert result.status == "timeout"
    assert "longer than 1 s" in result.reason
    assert time.monotonic() - started < 300


def test_cpu_limit(isolation):
    result = run("while True: pass", isolation, cpu_s=1, wall_s=60)
    assert result.status == "timeout"
    assert "CPU" in result.reason


def test_memory_limit_of_one_process(isolation):
    assert run("x = bytearray(2**29)", isolation).status == "memory"


def test_memory_limit_of_a_whole_tree(isolation):
    source = (
        "import os, time\nfor _ in range(4): os.fork()\nx = bytearray(2**27)\nfor i in range(0, 2**27, 4096): x[i] = 1\ntime.sleep(20)"
    )
    assert run(source, isolation, processes=64, wall_s=30, cpu_s=20).status in ("memory", "crashed")


def test_fork_bomb_is_stopped(isolation):
    source = "import os, time\nfor _ in range(200):\n    if os.fork() == 0: time.sleep(600)\ntime.sleep(600)"
    result = run(source, isolation)
    assert result.status in ("crashed", "failed")
    assert result.duration_s < 300


def test_output_flood_is_capped_and_counted(isolation):
    result = run("print('x' * 10**6, end='END')", isolation)
    assert result.stdout_length == 10**6 + 3
    assert len(result.stdout) < 6000
    assert result.stdout.endswith("END")
    assert "bytes left out" in result.stdout


def test_files_are_limited_and_the_directory_is_private_and_removed(isolation):
    source = "import os\nprint(os.getcwd(), os.environ['HOME'], os.listdir())\nopen('big', 'wb').write(b'x' * 2**22)"
    result = run(source, isolation)
    assert result.status in ("failed", "crashed")
    directory = result.stdout.split()[0]
    assert f"{directory} {directory} ['main.py']" in result.stdout
    assert run("import os; print(os.listdir())", isolation).stdout == "['main.py']\n"


def test_the_environment_is_scrubbed(isolation, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    result = run("import os; print(sorted(os.environ))", isolation)
    assert "SECRET_TOKEN" not in result.stdout
    assert "PATH" in result.stdout


def test_crash_by_signal_is_told_apart_from_failure(isolation):
    result = run("import os; os.abort()", isolation)
    # Process 1 of a namespace ignores its own SIGABRT; abort() then ends it with an invalid instruction.
    assert result.status == "crashed"
    assert result.signal == (11 if isolation.namespaces else 6)


@pytest.mark.parametrize("detach", ["os.setsid()", "os.setpgid(0, 0)", "None"])
def test_nothing_survives_the_run(isolation, detach):
    """The child would hold the read end of a pipe open: once nobody does, writing to it fails."""
    name = f"survivor-{os.getpid()}-{time.monotonic_ns()}"
    source = (
        f"import os, time, ctypes\nctypes.CDLL(None).prctl(15, b'{name[-15:]}', 0, 0, 0)\nif os.fork() == 0:\n"
        f"    try:\n        {detach}\n    except OSError:\n        pass\n"
        "    os.close(1); os.close(2)\n    time.sleep(60)\ntime.sleep(0.3)"
    )
    assert run(source, isolation).status == "ok"
    left = [p for p in os.listdir("/proc") if p.isdigit() and name[-15:] in _comm(p)]
    assert left == []


def _comm(pid):
    try:
        with open(f"/proc/{pid}/comm") as handle:
            return handle.read()
    except OSError:
        return ""


def test_no_network_from_namespaces():
    if probe(NAMESPACES) is not None:
        pytest.skip("no namespaces here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=3)"
        result = run(source, NAMESPACES)
    assert result.status == "failed"
    assert "OSError" in result.stderr or "Error" in result.stderr


def test_the_program_cannot_kill_the_process_that_reports_on_it():
    if probe(NAMESPACES) is not None:
        pytest.skip("no namespaces here")
    result = run("import os, signal\nos.kill(1, signal.SIGKILL)\nprint('still here')", NAMESPACES)
    assert (result.status, result.stdout) == ("ok", "still here\n")  # it is process 1 itself: such signals are ignored


def test_a_broken_sandbox_raises_and_never_fails_the_program(monkeypatch):
    SERVERS.close()  # the warm ones would do
    monkeypatch.setattr("reflectioncoder.sandbox.forkserver.base_interpreter", lambda: "/nonexistent/python")
    with pytest.raises(SandboxUnavailableError):
        run_python("print(1)", LIMITS, RLIMITS)


def test_a_limit_of_zero_is_a_usage_error():
    with pytest.raises(UsageError, match="a number above 0"):
        Limits(wall_s=0)


def test_detection_gives_an_isolation_that_holds():
    assert probe(detect_isolation()) is None


def test_capped_output_keeps_everything_below_the_cap():
    output = CappedOutput(10)
    for part in (b"ab", b"cdefgh", b"ij"):
        output.add(part)
    assert output.text() == "abcdefghij"
    output.add(b"k")
    assert output.length == 11
    assert output.text().startswith("abcde")
    assert output.text().endswith("ghijk")


def test_results_keep_the_order_of_jobs_and_errors_arrive():
    assert list(map_ordered(lambda n: n * n, range(50), workers=4)) == [n * n for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(map_ordered(lambda n: 1 // n, [1, 0, 1], workers=2))


def test_no_descriptor_of_ours_leaks_into_the_program(isolation):
    with open(os.devnull) as ours:
        os.set_inheritable(ours.fileno(), True)
        source = "import os\nfor fd in range(256):\n    try: os.fstat(fd); print(fd)\n    except OSError: pass"
        result = run(source, isolation)
    assert result.stdout.split() == ["0", "1", "2"]


@pytest.mark.parametrize(
    "limit", [{"wall_s": 1e308}, {"cpu_s": float("inf")}, {"wall_s": float("nan")}, {"memory_bytes": 2**64}, {"cpu_s": 0}]
)
def test_limits_that_no_machine_can_hold_are_refused(limit):
    with pytest.raises(UsageError, match=next(iter(limit))):
        Limits(**limit)
