"""The end: a program ends with its first process or at its limit, at once, with everything that it started."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reflectioncoder.sandbox.forkserver import SERVERS, ForkServer
from tests.attacks.conftest import SOON_S, attack, new_mark, survivors, wait_for

_STUBBORN = """
def stay():
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: time.sleep(60)
"""

# Each leaves something behind and ends; "end" must be all that is seen of it (`attack` looks for what is left).
LEFTOVERS = {
    "a child": "if os.fork() == 0: stay()",
    "a child of a child": "if os.fork() == 0:\n    if os.fork() == 0: stay()\n    os._exit(0)\nos.wait()",
    "a daemon": "if os.fork() == 0:\n    try: os.setsid()\n    except OSError: pass\n    if os.fork() == 0:\n"
    "        for fd in range(64):\n            try: os.close(fd)\n"
    "            except OSError: pass\n        stay()\n    os._exit(0)\nos.wait()",
    "a child in a session of its own": "if os.fork() == 0:\n    try: os.setsid()\n    except OSError: pass\n    stay()",
    "a child in a group of its own": "if os.fork() == 0:\n    try: os.setpgid(0, 0)\n    except OSError: pass\n    stay()",
    "a child that is put into a group": "pid = os.fork()\nif pid == 0: stay()\ntry: os.setpgid(pid, pid)\nexcept OSError: pass",
    "a program in a session of its own": "import subprocess; "
    "subprocess.Popen(['/usr/bin/setsid', '--fork', '/bin/sleep', '61', mark], stderr=-3)\ntime.sleep(0.1)",
    "a program": "import subprocess; subprocess.Popen(['/bin/bash', '-c', f'exec -a {mark} sleep 62'])\ntime.sleep(0.1)",
    "a program in the background of a shell": "os.system(f'(exec -a {mark} sleep 63) & disown 2>/dev/null'); time.sleep(0.1)",
    "nohup": "import subprocess; "
    "subprocess.Popen(['/usr/bin/nohup', '/bin/bash', '-c', f'exec -a {mark} sleep 64'], stderr=-3, stdout=-3)\ntime.sleep(0.1)",
    "a sibling": "try:\n    if syscall(56, 0x8000 | 17, 0, 0, 0, 0) == 0: stay()\nexcept OSError: pass",
    "a stopped child": "pid = os.fork()\nif pid == 0: stay()\nos.kill(pid, signal.SIGSTOP)",
    "zombies": "for _ in range(5):\n    if os.fork() == 0: os._exit(0)\ntime.sleep(0.1)",
    "zombies of a child": "if os.fork() == 0:\n    for _ in range(5):\n        if os.fork() == 0: os._exit(0)\n    stay()\n"
    "time.sleep(0.1)",
    "a child that adopts": "if os.fork() == 0:\n    libc.prctl(36, 1)\n    for _ in range(3):\n        if os.fork() == 0:\n"
    "            if os.fork() == 0: stay()\n            os._exit(0)\n"
    "    stay()\ntime.sleep(0.1)",
    "a child without a first thread": "if os.fork() == 0:\n"
    "    threading.Thread(target=stay_thread).start(); libc.syscall(ctypes.c_long(60), ctypes.c_long(0))\ntime.sleep(0.1)",
    "a child that waits for a child that waits": "if os.fork() == 0:\n    if os.fork(): os.wait()\n    stay()",
    "children that go on to fork": "for _ in range(3):\n    if os.fork() == 0:\n        while True:\n            try:\n"
    "                if os.fork(): os._exit(0)\n            except OSError: pass\n"
    "time.sleep(0.1)",
    "a child that blocks all signals": "if os.fork() == 0: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); stay()",
    "a spawned program": "os.posix_spawn('/bin/bash', ['bash', '-c', f'exec -a {mark} sleep 65'], {}); time.sleep(0.1)",
    "a pool": "import multiprocessing as m\nwith contextlib.suppress(OSError):  # without /dev/shm there are no locks for it\n"
    "    pool = m.get_context('fork').Pool(3); pool.apply_async(time.sleep, (60,)); time.sleep(0.1)\n"
    "print('end', flush=True); os._exit(0)",
    "a thread": "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "a timer": "signal.signal(signal.SIGALRM, lambda *_: os._exit(3)); signal.alarm(60)",
}
_THREADS = "import contextlib\ndef stay_thread():\n    while True: time.sleep(60)\n"


@pytest.mark.parametrize("what", LEFTOVERS)
def test_with_the_first_process_ends(what, isolation):
    result = attack(_STUBBORN + _THREADS + LEFTOVERS[what] + "\nprint('end', flush=True)", isolation)
    assert (result.status, result.stdout.splitlines()[:1]) == ("ok", ["end"]), result
    assert result.duration_s < SOON_S


@pytest.mark.parametrize("what", sorted(LEFTOVERS.keys() - {"a pool"}))
def test_at_the_time_limit_ends_with_the_program(what, ending):
    result = attack(_STUBBORN + _THREADS + LEFTOVERS[what] + "\nstay()", ending, wall_s=0.2)
    assert result.status == "timeout"
    assert result.duration_s < SOON_S


@pytest.mark.parametrize("stream", [1, 2])
def test_a_child_that_holds_a_stream_open_does_not_hold_up_the_end(stream, isolation):
    result = attack(f"if os.fork() == 0:\n    os.close({3 - stream}); stay()\nprint('end')".join([_STUBBORN, ""]), isolation)
    assert result.status == "ok"
    assert result.duration_s < SOON_S


def test_a_program_that_closes_its_streams_is_still_waited_for(isolation):
    result = attack("os.close(1); os.close(2); time.sleep(0.3); os._exit(7)", isolation)
    assert (result.status, result.exit_code) == ("failed", 7)
    assert result.duration_s > 0.2  # counted from when we hear of its start


def test_a_program_that_closes_everything_and_stays_meets_its_limit(isolation):
    result = attack("os.closerange(0, 1024)\nwhile True: time.sleep(60)", isolation, wall_s=0.4)
    assert result.status == "timeout"


# None of these ends by itself.
ENDLESS = {
    "sleep": "time.sleep(10**6)",
    "a loop": "while True: pass",
    "a loop that catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "finally": "try: time.sleep(10**6)\nfinally:\n    while True: pass",
    "a loop in C": "sum(range(10**12))",
    "a comparison in C": "range(10**12).__contains__(1.5) or max(range(10**12))",
    "an iterator in C": "import collections, itertools; collections.deque(itertools.repeat(0), maxlen=0)",
    "a regular expression": "import re; re.match(r'(a|aa)+$', 'a' * 60 + 'b')",
    "a power": "x = 7 ** (10 ** 9)",
    "a number as text": "sys.set_int_max_str_digits(0); str(1 << 10**8)",
    "ignored signals": "for n in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(1)",
    "ignored limit on time": "signal.signal(signal.SIGXCPU, signal.SIG_IGN); signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
    "while True: pass",
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    "handlers that do nothing": "for n in (1, 2, 15, 14, 24): signal.signal(n, lambda *_: None)\nwhile True: time.sleep(60)",
    "pause": "while True: libc.pause()",
    "a wait for signals": "signal.sigwait([signal.SIGUSR1])",
    "a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "a pipe of its own": "r, w = os.pipe(); os.read(r, 1)",
    "a pair of its own": "a, b = socket.socketpair(); a.recv(1)",
    "a poll": "import select; select.poll().poll()",
    "a queue": "import queue; queue.Queue().get()",
    "a thread that is waited for": "t = threading.Thread(target=time.sleep, args=(10**6,)); t.start(); t.join()",
    "a thread after the end": "threading.Thread(target=time.sleep, args=(10**6,)).start()",
    "an exit function": "import atexit; atexit.register(time.sleep, 10**6)",
    "an exit function that loops": "import atexit\n@atexit.register\ndef f():\n    while True: pass",
    "a child that is waited for": "pid = os.fork()\nif pid == 0: time.sleep(10**6)\nos.waitpid(pid, 0)",
    "only a thread": "threading.Thread(target=time.sleep, args=(10**6,)).start(); libc.syscall(ctypes.c_long(60), ctypes.c_long(0))",
    "another program": "os.execv('/bin/sleep', ['sleep', '1000000'])",
    "a shell": "os.system('while :; do :; done')",
    "a program that replaces itself": "os.execv('/bin/bash', ['bash', '-c', 'exec bash -c \"$0\" \"$0\"' , 'while :; do :; done'])",
    "stopping itself": "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(10**6)",
    "stopping its group": "os.kill(0, signal.SIGSTOP); time.sleep(10**6)",
    "a descriptor of an event": "os.read(check(libc.eventfd(0, 0)), 8)",
    "a named pipe": "try: os.mkfifo('fifo')\nexcept OSError: time.sleep(10**6)\nopen('fifo').read()",
    "an import": "open('forever.py', 'w').write('while True: pass')\nsys.path.insert(0, os.getcwd())\nimport forever",
    "a destructor": "class A:\n    def __del__(self):\n        while True: pass\nA()",
    "a hash": "class A:\n    def __hash__(self):\n        while True: pass\n{A()}",
    "a clock that is not": "time.monotonic = time.time = time.perf_counter = lambda: 0.0\nwhile True: pass",
    "low priority": "try: os.nice(19)\nexcept OSError: pass\nwhile True: pass",
    "a futex": "x = ctypes.c_int(0); libc.syscall(ctypes.c_long(202), ctypes.byref(x), 0, 0, 0, 0, 0)",
    "a child of a stopped parent": "if os.fork() == 0: os.kill(os.getppid() or 1, signal.SIGSTOP); time.sleep(10**6)\n"
    "time.sleep(10**6)",
    "vfork": "if libc.vfork() == 0: libc.pause()",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_program_does_not_outstay_its_time_with(what, ending):
    started = time.monotonic()
    result = attack(ENDLESS[what], ending, wall_s=0.15)
    assert result.status in ("timeout", "memory"), result
    assert time.monotonic() - started < SOON_S


# Programs that end, in ways that must not be mistaken for an endless one or for a broken sandbox.
ENDS = {
    "no input": ("sys.stdin.read(); print('end')", ("ok", 0, None)),
    "nothing to ask": ("input()", ("failed", 1, None)),
    "exit code": ("os._exit(200)", ("failed", 200, None)),
    "the code of a broken confinement": ("os._exit(125)", ("failed", 125, None)),
    "a negative code": ("sys.exit(-1)", ("failed", 255, None)),
    "a large code": ("sys.exit(256)", ("ok", 0, None)),
    "a fault": ("ctypes.string_at(0)", ("crashed", None, signal.SIGSEGV)),
    "an abort": ("os.abort()", ("crashed", None, None)),
    "an illegal instruction": (
        "import mmap; m = mmap.mmap(-1, 4096, prot=7); m.write(b'\\x0f\\x0b'); "
        "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
        ("crashed", None, signal.SIGILL),
    ),
    "deep recursion in C": ("sys.setrecursionlimit(10**9)\ndef f(x): return f([x])\nf(0)", (None, None, None)),
    "deep nesting": ("x = []\nfor _ in range(10**6): x = [x]\nrepr(x)", ("failed", 1, None)),
    "a source too nested": ("eval('(' * 10000 + ')' * 10000)", ("failed", 1, None)),
    "a broken interpreter": (
        "sys.stdout = sys.stderr = None; sys.excepthook = None; import builtins; del builtins.print; 1 / 0",
        ("failed", 1, None),
    ),
    "a forged memory error": ("print('MemoryError', file=sys.stderr); os._exit(0)", ("ok", 0, None)),
    "an exception that cannot be shown": (
        "class E(Exception):\n    def __str__(self): raise SystemExit(0)\nraise E",
        (None, None, None),
    ),
    "a result that is no number": ("sys.exit(('x',) * 3)", ("failed", 1, None)),
    "an unused first thread": (
        "threading.Thread(target=lambda: (time.sleep(0.2), os._exit(5))).start(); libc.syscall(ctypes.c_long(60), ctypes.c_long(0))",
        ("failed", 5, None),
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_the_result_is_the_program_s_own_with(what, ending):
    source, expected = ENDS[what]
    result = attack(source, ending, memory_bytes=2**27)
    for value, wanted in zip((result.status, result.exit_code, result.signal), expected, strict=True):
        assert wanted is None or value == wanted, result
    assert result.duration_s < SOON_S


@pytest.mark.parametrize(
    "source", ["\x00", "x = '\ud800'", "\ufeffprint(1)", "#" * 10**6, "", "\r\n\f\v", "# coding: nonsense\nprint(1)"], ids=repr
)
def test_a_strange_source_is_a_result_not_an_error_of_the_sandbox(source, isolation):
    from reflectioncoder.sandbox.limits import Limits
    from reflectioncoder.sandbox.process import run_python

    assert run_python(source[: 10**6], Limits(), isolation).status in ("ok", "failed")


def test_a_short_program_is_not_taken_for_an_endless_one(isolation, monkeypatch):
    """On a busy machine the program may have ended before the trusted side reads that it has begun: both messages come at once."""
    expect = ForkServer.expect

    def expect_late(self, key, patience_s):
        if key == "pid":
            time.sleep(0.2)
        return expect(self, key, patience_s)

    monkeypatch.setattr(ForkServer, "expect", expect_late)
    result = attack("print('end')", isolation, wall_s=2)
    assert (result.status, result.stdout) == ("ok", "end\n")
    assert result.duration_s < SOON_S


def test_the_limit_on_processor_time_is_named_as_such(ending):
    """The kernel's clock for the limit and its account of the time used differ by a tick."""
    for _ in range(2):
        assert attack("while True: pass", ending, wall_s=30, cpu_s=1).status == "timeout"


_TRUSTED = """
import sys
from reflectioncoder.sandbox.isolation import ISOLATIONS
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
run_python(sys.argv[1], Limits(wall_s=60), ISOLATIONS[sys.argv[2]])
"""
_FAMILY = """
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b"{mark}")
for _ in range(2):
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(60)
        time.sleep(60)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_program_ends_when_the_trusted_process_is_killed_by(how, ending, tmp_path):
    mark = new_mark()
    command = [sys.executable, "-c", _TRUSTED, _FAMILY.format(mark=mark), ending.name]
    trusted = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        tmp_path.chmod(0o711)
        assert wait_for(lambda: len([s for s in survivors(mark) if int(s.split()[0]) != trusted.pid]) >= 5)
        trusted.send_signal(how)
        trusted.wait(10)
        assert wait_for(lambda: not survivors(mark), 3), survivors(mark)
    finally:
        trusted.kill()
        trusted.wait()
        _kill_all(mark)


def test_a_program_ends_when_its_server_is_killed(isolation):
    from reflectioncoder.sandbox.limits import Limits, SandboxUnavailableError
    from reflectioncoder.sandbox.process import run_python

    mark, errors = new_mark(), []
    SERVERS.close()
    with SERVERS.lend(isolation) as server:  # the pool gives this one to the next caller
        pass

    def be_trusted():
        try:
            run_python(_FAMILY.format(mark=mark), Limits(wall_s=60), isolation)
        except SandboxUnavailableError as error:
            errors.append(error)

    run = threading.Thread(target=be_trusted)
    run.start()
    try:
        assert wait_for(lambda: len(survivors(mark)) >= 5)
        os.kill(server.process.pid, signal.SIGKILL)
        run.join(10)
        assert not run.is_alive()
        assert len(errors) == 1
        assert wait_for(lambda: not survivors(mark), 3), survivors(mark)
    finally:
        _kill_all(mark)
        run.join()


def _kill_all(mark):
    for survivor in survivors(mark):
        try:
            os.kill(int(survivor.split()[0]), signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_no_descriptor_of_ours_is_lost_by_runs_that_end_badly(isolation):
    sources = [
        "print(1)",
        "while True: os.write(1, b'x' * 65536)",
        "os.abort()",
        "os.closerange(0, 99); time.sleep(9)",
        "x = bytearray(2**40)",
    ]
    for source in sources:
        attack(source, isolation, wall_s=0.3)
    before = len(os.listdir("/proc/self/fd"))
    for source in sources:
        attack(source, isolation, wall_s=0.3)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_server_loses_no_descriptor_by_programs_that_end_badly(isolation, own_servers):
    def of_the_server():
        with SERVERS.lend(isolation) as server:
            return len(os.listdir(f"/proc/{server.process.pid}/fd")), len(Path(f"/proc/{server.process.pid}/maps").read_text())

    attack("print(1)", isolation)
    before = of_the_server()[0]
    for source in ("os.abort()", "os.closerange(0, 99); time.sleep(9)", "for _ in range(99): os.fork()", "print(1)"):
        attack(source, isolation, wall_s=0.3)
    assert of_the_server()[0] == before
