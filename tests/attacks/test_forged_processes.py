"""Forged verdicts: through descriptors, other processes and threads, and time."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.forkserver import SERVERS
from tests.attacks.judges import (
    JUDGES,
    LATE,
    LIMITS,
    Attack,
    assert_repelled,
    benchmark_of,
    both,
    solution,
    task,
)

# Descriptors


TO_ALL = """
lines = [b'{"test": 0, "passed": true, "detail": ""}\\n{"done": true}\\n', b'{"done": true}\\n',
    b'{"exit": 0, "signal": null, "cpu_s": 0, "peak_memory_bytes": 0}\\n', b'{"unavailable": "no"}\\n',
    b'{"pid": 1}\\n', b'{"ready": true}\\n',
    LOADED + answers(plain(GUESS), 3), frame(b"V", b"T")]
def to_all(*data):
    for fd in range(256):
        if fd == KEPT: continue
        try: os.set_blocking(fd, False)
        except OSError: continue
        for line in data:
            try: posix.write(fd, line)
            except OSError: pass
"""
DESCRIPTORS = {
    "verdicts to all of them": "KEPT = -1\nto_all(*lines)",
    "verdicts to all but the channel": "KEPT = 4\nto_all(*lines)",
    "verdicts in the call": "KEPT = 4\ndef solve(xs):\n    to_all(*lines)\n    return GUESS",
    "verdicts through /proc": "KEPT = -1\nfor fd in range(256):\n    for pid in ('self', '1', posix.getppid()):\n"
    "        try: posix.write(posix.open(f'/proc/{pid}/fd/{fd}', posix.O_RDWR | posix.O_NONBLOCK), lines[0])\n"
    "        except OSError: pass",
    "verdicts to the directory of descriptors": "for fd in range(256):\n"
    "    try: posix.write(posix.open(f'/dev/fd/{fd}', posix.O_WRONLY | posix.O_NONBLOCK), lines[0])\n    except OSError: pass",
    "each alone": "KEPT = -1\nfor line in lines: to_all(line)",
    "all closed": "os.closerange(0, 4096)",
    "all closed in the call": "def solve(xs):\n    os.closerange(0, 4096)\n    return GUESS",
    "the channel closed": "posix.close(4)",
    "the channel closed in the call": "def solve(xs):\n    posix.close(4)\n    return GUESS",
    "the channel is something else": "posix.dup2(posix.open('/dev/null', posix.O_RDWR), 4)",
    "the channel is something else in the call": "def solve(xs):\n    posix.dup2(posix.open('/dev/null', posix.O_RDWR), 4)\n"
    "    return GUESS",
    "the channel is a pipe of its own": "r, w = posix.pipe(); posix.dup2(w, 4)",
    "the channel is the requests": "posix.dup2(5, 4) if os.path.exists('/proc/self/fd/5') else posix.close(4)",
    "the requests are the channel": "posix.dup2(4, 5)",
    "the requests closed": "try: posix.close(5)\nexcept OSError: posix.close(4)",
    "the requests written by itself": "try:\n    w = posix.open('/proc/self/fd/5', posix.O_WRONLY | posix.O_NONBLOCK)\n"
    "    for _ in range(9): posix.write(w, marshal.dumps([[INPUTS[0]], {}], 2))\nexcept OSError: pass",
    "the answers read by itself": "def solve(xs):\n    try: posix.read(posix.open('/proc/self/fd/4', posix.O_RDONLY | "
    "posix.O_NONBLOCK), 10**6)\n    except OSError: pass\n    return GUESS",
    "the channel is full": "os.set_blocking(4, False)\nposix.write(4, LOADED)\ntry:\n"
    "    while True: posix.write(4, plain(GUESS) * 100)\nexcept BlockingIOError: pass\nos.set_blocking(4, True)",
    "the channel does not wait": "os.set_blocking(4, False)\ndef solve(xs): return GUESS * 10**6",
    "the channel with signals": "import fcntl\nfcntl.fcntl(4, 8, posix.getppid()); fcntl.fcntl(4, 10, 9); fcntl.fcntl(4, 4, 0x2000)",
    "the channel as packets": "import fcntl\nfcntl.fcntl(4, 4, posix.O_DIRECT | posix.O_NONBLOCK)\nfcntl.fcntl(4, 1031, 2**16)",
    "the payload again": "try: look = posix.read(3, 10**6)\nexcept OSError: pass\nposix.dup2(4, 3)",
}  # fmt: skip


@both(DESCRIPTORS)
def test_a_program_does_not_pass_by_its_descriptors(how, name, judge):
    source = "def solve(xs): return GUESS\n" + TO_ALL + DESCRIPTORS[how]
    assert_repelled(judge, name, Attack(source, ("failed", "crashed", "timeout", "compile_error")))


# Other processes and threads


OTHERS = {
    "a child that answers": "if posix.fork() == 0:\n    send(LOADED + answers(plain(GUESS)))\n    posix._exit(0)\n"
    "posix.wait()\n" + LATE,
    "a child that answers later": "if posix.fork() == 0:\n    time.sleep(0.1)\n    send(LOADED + answers(plain(GUESS)))\n"
    "    time.sleep(60)\n" + LATE,
    "a child that stays in the call": "def solve(xs):\n    posix.fork()\n    return GUESS",
    "children that all answer": "for _ in range(3): posix.fork()\n" + LATE,
    "a child that leaves for it": "def solve(xs):\n    if posix.fork(): posix._exit(0)\n    time.sleep(0.2)\n    return GUESS",
    "a child of its own session": "if posix.fork() == 0:\n    try: posix.setsid()\n    except OSError: pass\n"
    "    if posix.fork() == 0:\n        time.sleep(0.1)\n"
    "        send(LOADED + answers(plain(GUESS)))\n        time.sleep(60)\n    posix._exit(0)\nposix._exit(0)",
    "a child that kills it": "pid = posix.getpid()\nif posix.fork() == 0:\n    posix.kill(pid, 9)\n"
    "    send(LOADED + answers(plain(GUESS)))\n    posix._exit(0)\n" + LATE,
    "a child that stops it": "def solve(xs):\n    pid = posix.getpid()\n    if posix.fork() == 0:\n        posix.kill(pid, 19)\n"
    "        send(answers(plain(GUESS)))\n        posix.kill(pid, 18)\n        posix._exit(0)\n    time.sleep(0.1)\n    return GUESS",
    "a thread that answers": "import threading\n"
    "threading.Thread(target=lambda: send(LOADED + answers(plain(GUESS)))).start()\n" + LATE,
    "a thread that answers later": "import threading\ndef late():\n    time.sleep(0.05)\n    send(answers(plain(GUESS)))\n"
    "threading.Thread(target=late, daemon=True).start()\ndef solve(xs):\n    time.sleep(0.1)\n    return GUESS",
    "a thread that answers after the call": "import threading\ndef solve(xs):\n"
    "    threading.Thread(target=lambda: (time.sleep(0.05), send(answers(plain(GUESS))))).start()\n    return None",
    "a thread that never ends": "import threading\nthreading.Thread(target=time.sleep, args=(60,)).start()\n" + LATE,
    "a thread for every call": "import threading\ndef solve(xs):\n"
    "    for _ in range(5): threading.Thread(target=send, args=(plain(GUESS),)).start()\n    return GUESS",
    "a shell": "def solve(xs): return posix.system('exit 0') or GUESS",
    "a shell that writes": "posix.system('printf L0000 >&4; echo passed >&1; echo passed >&2')\n" + LATE,
    "a child by clone": "import ctypes\nctypes.CDLL(None).syscall(56, 0x8000 | 17, 0, 0, 0, 0)\n" + LATE,
    "a spawned interpreter": "posix.posix_spawn('/bin/sh', ['sh', '-c', 'kill -9 $PPID; exit 0'], {})\ntime.sleep(0.1)\n" + LATE,
    "a copy of itself by exec": "def solve(xs): posix.execve('/proc/self/exe', ['python', '-c', 'import os; os.write(4, b\"V\")'], {})",
}  # fmt: skip


@both(OTHERS)
def test_what_a_program_starts_does_not_pass_for_it(how, name, judge):
    assert_repelled(judge, name, Attack(OTHERS[how], ("failed", "crashed", "timeout")))


# Time: the judge returns, whatever the program does to its clocks. None of these ends by itself within the bound.

_BUSY = "end = time.monotonic() + {}\ndef burn():\n    while time.monotonic() < end: pass\n    posix._exit(0)\n"
SLOW = {
    "a loop": "def solve(xs):\n    while True: pass",
    "a sleep": "def solve(xs): time.sleep(600)",
    "a clock that runs backwards": "time.perf_counter = time.monotonic = iter(range(10**9, 0, -1)).__next__\ndef solve(xs):\n"
    "    while True: pass",
    "many children beside it": _BUSY.format(90) + "for _ in range(12):\n    if posix.fork() == 0: burn()\ndef solve(xs): burn()",
    "the last in the queue": _BUSY.format(90)
    + "for _ in range(6):\n    if posix.fork() == 0: burn()\ntry: os.nice(19)\nexcept PermissionError: pass\ndef solve(xs): burn()",
    "stopped": "def solve(xs): posix.kill(posix.getpid(), 19); time.sleep(600)",
    "handlers of the end": "import signal\nfor n in (1, 2, 3, 14, 15, 24):\n    signal.signal(n, signal.SIG_IGN)\n"
    "def solve(xs):\n    while True: pass",
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("how", ["a loop", "many children beside it", "the last in the queue"])
def test_the_judge_returns_in_bounded_time_from(how, name, judge):
    assert_repelled(judge, name, Attack(SLOW[how], ("timeout", "crashed")))


@pytest.mark.parametrize("how", ["a sleep", "a clock that runs backwards", "stopped", "handlers of the end"])
def test_the_judge_of_answers_returns_in_bounded_time_from(how, judge):
    assert_repelled(judge, "answers", Attack(SLOW[how], ("timeout", "crashed")))


@pytest.mark.parametrize("name", JUDGES)
def test_a_server_that_dies_is_no_verdict(name):
    """Whoever has killed it: the program's verdict is then not known."""
    isolation = detect_isolation()
    scorer = Scorer(benchmark_of(name), LIMITS, isolation=isolation)
    wanted = task(name, "text")
    scorer.judge(wanted, solution("text"))
    with SERVERS.lend(isolation) as one, SERVERS.lend(isolation) as other:
        pids = one.process.pid, other.process.pid
    killing = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
    killing.start()
    try:
        assert scorer.judge(wanted, "def solve(xs):\n    import time\n    time.sleep(3)").status == "sandbox_error"
    finally:
        killing.join()
        SERVERS.close()
    assert scorer.judge(wanted, solution("text")).status == "passed"
