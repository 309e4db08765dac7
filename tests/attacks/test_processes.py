"""Other processes: a program can neither see nor hurt nor slow down what is not its own."""

import os
import threading
import time
from dataclasses import replace

import pytest

from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.process import run_python
from tests.attacks.conftest import (
    LIMITS,
    assert_lost,
    attack,
    attempt,
    condition_of,
    needs_x86_64,
    new_mark,
    program,
    survivors,
    unconfined,
    wait_for,
)

_EACH = """
last = OSError(errno.ESRCH, "no victim")
won = []
for pid in victims:
    try:
        {action}
        won.append(pid)
    except OSError as error:
        last = error
if won: return won
raise last
"""


def against_each(action):
    return _EACH.format(action=action)


_OWNER = (
    "r, w = os.pipe(); f = __import__('fcntl').fcntl; {who}; f(r, 10, {signal}); "
    "f(r, 4, f(r, 3) | os.O_ASYNC | os.O_NONBLOCK); os.write(w, b'x')"
)
SIGNALS = {
    "kill": "os.kill(pid, signal.SIGKILL)",
    "terminate": "os.kill(pid, signal.SIGTERM)",
    "stop": "os.kill(pid, signal.SIGSTOP)",
    "find": "os.kill(pid, 0)",
    "kill the group of": "os.killpg(pid, signal.SIGKILL)",
    "kill by number of the group": "os.kill(-pid, signal.SIGKILL)",
    "kill a thread of": "syscall(200, pid, 9)",
    "kill a thread of a group of": "syscall(234, pid, pid, 9)",
    "queue a signal to": "syscall(129, pid, 9, (ctypes.c_int * 32)(9, 0, -1))",
    "queue a signal to a thread of": "syscall(297, pid, pid, 9, (ctypes.c_int * 32)(9, 0, -1))",
    "kill by a descriptor": "syscall(424, os.pidfd_open(pid), 9, 0, 0)",
    "kill by the end of input": _OWNER.format(who="f(r, 8, pid)", signal="signal.SIGKILL"),
    "kill the group by the end of input": _OWNER.format(who="f(r, 8, -pid)", signal="signal.SIGKILL"),
    "kill by a lock": "f = __import__('fcntl').fcntl; fd = os.open('.', os.O_RDONLY); f(fd, 8, pid); f(fd, 10, 9)\n"
    "        f(fd, __import__('fcntl').F_NOTIFY, 0x80000004); open('x', 'w')",
}
# These do not say whether anybody was hit: only the victims can tell.
_SILENT = {"kill by the end of input", "kill the group by the end of input", "kill by a lock"}


@needs_x86_64
@pytest.mark.parametrize("how", SIGNALS)
def test_a_program_cannot_signal_the_host_s_processes_to(how, isolation, host):
    verdict = attempt(against_each(SIGNALS[how]), isolation, host.given)
    time.sleep(0.02)
    host.assert_untouched()
    if how not in _SILENT:
        assert_lost(verdict)


@needs_x86_64
@pytest.mark.parametrize("how", SIGNALS)
def test_without_confinement_the_host_s_processes_are_hit_by(how, host):
    """Only ours: the programs of root without its rights must not touch others' processes either."""
    given = {**host.given, "victims": host.given["victims"][:1]}
    assert unconfined(against_each(SIGNALS[how]), given).startswith("won ")
    if how != "find":
        victim = host.victims["ours"]
        assert wait_for(lambda: victim.poll() is not None or condition_of(victim.pid).stopped_or_dead, 2)


@pytest.mark.parametrize("signal", ["signal.SIGKILL", "signal.SIGTERM", "signal.SIGSTOP"])
def test_a_program_that_signals_everything_reaches_nobody_else(signal, isolation, host):
    attack(f"if os.fork() == 0: os.kill(-1, {signal})\ntime.sleep(0.2)", isolation, wall_s=1)
    host.assert_untouched()


def test_a_program_that_signals_its_group_reaches_nobody_else(isolation, host):
    with SERVERS.lend(isolation) as server:
        pid = server.process.pid
    result = attack("os.killpg(0, signal.SIGTERM)\nos.kill(0, signal.SIGKILL)\nprint('here')", isolation)
    assert result.status in ("crashed", "ok")
    assert os.path.exists(f"/proc/{pid}")
    host.assert_untouched()


@pytest.mark.parametrize("who", ["server", "trusted process", "first process"])
@pytest.mark.parametrize("how", ["0", "signal.SIGSTOP", "signal.SIGKILL"])
def test_a_program_cannot_signal_its(who, how, isolation):
    if (who, how) != ("server", how) and how != "0":
        pytest.skip("if it got through, the tests would be over")
    with SERVERS.lend(isolation) as server:
        pids = {"server": server.process.pid, "trusted process": os.getpid(), "first process": 1}
    if who == "first process" and isolation.namespaces:
        pytest.skip("it is process 1 of its own world")
    verdict = attempt(f"os.kill(pid, {how})", isolation, {"pid": pids[who]})
    assert not condition_of(pids[who]).stopped_or_dead
    assert_lost(verdict)


def test_a_program_cannot_signal_its_parent(isolation):
    """Where it has no parent that it could name, number 0 stands for its own group."""
    assert_lost(attempt("pid = os.getppid()\nif pid == 0: raise OSError(errno.ESRCH, '')\nos.kill(pid, 0)", isolation))


def test_a_program_cannot_disturb_another_run(isolation):
    mark = new_mark()
    source = (
        "import resource\nend = time.monotonic() + 1\nwhile time.monotonic() < end: time.sleep(0.01)\n"
        "print('undisturbed', os.getpriority(0, 0))"
    )
    results = []

    def be_another_run():
        results.append(run_python(program(source, mark), replace(LIMITS, wall_s=20), isolation))

    other = threading.Thread(target=be_another_run)
    other.start()
    try:
        pid = int(wait_for(lambda: survivors(mark))[0].split()[0])
        hostile = """
        for action in (
            lambda: os.kill(pid, signal.SIGKILL), lambda: os.kill(pid, signal.SIGSTOP), lambda: os.killpg(pid, signal.SIGKILL),
            lambda: os.setpriority(os.PRIO_PROCESS, pid, 19), lambda: os.setpriority(os.PRIO_PGRP, pid, 19),
            lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19),
        ):
            try: action()
            except OSError: pass
        if os.fork() == 0: os.kill(-1, signal.SIGKILL)
        """
        attack(hostile, isolation, {"pid": pid}, wall_s=1)
        assert not condition_of(pid).stopped_or_dead
    finally:
        other.join()
    assert (results[0].status, results[0].stdout) == ("ok", f"undisturbed {os.nice(0)}\n")


_BUFFER = "buffer = ctypes.create_string_buffer(64); part = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)"
INTRUSIONS = {
    "attach to": "syscall(101, 16, pid, 0, 0)",
    "seize": "syscall(101, 0x4206, pid, 0, 0)",
    "read the memory of": _BUFFER + "; syscall(310, pid, part, 1, (ctypes.c_size_t * 2)(address, 64), 1, 0)",
    "write the memory of": _BUFFER + "; syscall(311, pid, part, 1, (ctypes.c_size_t * 2)(address, 64), 1, 0)",
    "take a descriptor of": "syscall(438, os.pidfd_open(pid), 1, 0)",
    "compare itself with": "syscall(312, pid, os.getpid(), 1, 0, 0)",
    "advise on the memory of": "syscall(440, os.pidfd_open(pid), (ctypes.c_size_t * 2)(address, 4096), 1, 21, 0)",
    "release the memory of": "syscall(448, os.pidfd_open(pid), 0)",
    "measure": "attr = (ctypes.c_uint64 * 16)(1 | 128 << 32); syscall(298, attr, pid, -1, -1, 0)",
    "find the locks of": "syscall(274, pid, ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_size_t()))",
    "move the memory of": "syscall(256, pid, 8, (ctypes.c_ulong * 1)(1), (ctypes.c_ulong * 1)(1))",
    "ask for the pages of": "syscall(279, pid, 1, (ctypes.c_void_p * 1)(address), 0, (ctypes.c_int * 1)(), 0)",
    "enter a namespace of": "syscall(308, os.pidfd_open(pid), 0x20000000)",
    "limit": "import resource; resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, 1))",
    "read the limits of": "import resource; resource.prlimit(pid, resource.RLIMIT_NOFILE)",
    "slow down": "os.setpriority(os.PRIO_PROCESS, pid, 19)",
    "slow down the group of": "os.setpriority(os.PRIO_PGRP, pid, 19)",
    "bind to a processor": "os.sched_setaffinity(pid, [0])",
    "change the scheduling of": "os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))",
    "change the scheduling by the newest call of": "syscall(314, pid, (ctypes.c_uint32 * 12)(48, 5), 0)",
    "change the scheduling's parameter of": "os.sched_setparam(pid, os.sched_param(0))",
    "change the priority on disk of": "syscall(251, 1, pid, 3 << 13)",
}


@needs_x86_64
@pytest.mark.parametrize("how", INTRUSIONS)
def test_a_program_cannot(how, isolation, host):
    address = _address_of_stack(host.given["victims"][0])
    assert_lost(attempt(against_each(INTRUSIONS[how]), isolation, {**host.given, "address": address}))
    host.assert_untouched()


def _address_of_stack(pid):
    with open(f"/proc/{pid}/maps") as handle:
        return next(int(line.split("-")[0], 16) for line in handle if "[stack]" in line)


# The process itself counts as one of the user's: the number 0 means "mine", and that is everybody's who runs as the same user.
_OF_THE_USER = {
    "processor time": "os.setpriority(os.PRIO_USER, 0, 19)",
    "processor time, by the user's number": "os.setpriority(os.PRIO_USER, os.getuid(), 19)",
    "disk": "syscall(251, 3, 0, 3 << 13)",
    "disk, by the user's number": "syscall(251, 3, os.getuid(), 3 << 13)",
}


@needs_x86_64
@pytest.mark.parametrize("what", _OF_THE_USER)
def test_a_program_cannot_take_from_all_processes_of_its_user_the(what, isolation, host):
    attempt(_OF_THE_USER[what], isolation)
    host.assert_untouched()


@needs_x86_64
def test_a_program_cannot_be_traced_by_its_parent(isolation):
    assert_lost(attempt("syscall(101, 0, 0, 0, 0)", isolation), "EPERM")


@needs_x86_64
def test_a_program_cannot_trace_its_own_child(isolation):
    body = "pid = os.fork()\nif pid == 0: time.sleep(60)\nsyscall(101, 0x4206, pid, 0, 0)"
    assert_lost(attempt(body, isolation), "EPERM")


def test_a_program_sees_no_other_process(isolation, host):
    source = """
    try: found = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    except OSError: found = []
    print(found)
    """
    assert attack(source, isolation, host.given).stdout in ("[1]\n", "[]\n")


def test_a_program_cannot_find_other_processes_by_their_numbers(isolation, host):
    body = (
        "found = []\nfor pid in victims:\n    if os.path.exists(f'/proc/{pid}'): found.append(pid)\nif found: return found\ncheck(-1)"
    )
    if not isolation.namespaces:
        pytest.skip("Landlock lets a program ask whether a file exists: a known limit of tier 1")
    assert_lost(attempt(body, isolation, host.given))


def test_a_program_finds_no_process_by_open_of_its_number(hidden_world, host):
    """Not even a descriptor, which would say when the process ends."""
    assert_lost(attempt(against_each("os.pidfd_open(pid)"), hidden_world, host.given), "ESRCH")


@pytest.mark.parametrize(
    "name", ["oom_score_adj", "oom_adj", "loginuid", "timerslack_ns", "coredump_filter", "autogroup", "clear_refs"]
)
def test_a_program_cannot_write_of_its_own_process_the(name, isolation):
    assert_lost(attempt(f"open('/proc/self/{name}', 'w').write('-1000' if {name!r}.startswith('oom') else '0')", isolation))


@pytest.mark.parametrize("policy", ["SCHED_FIFO", "SCHED_RR"])
def test_a_program_cannot_get_real_time(policy, isolation):
    assert_lost(attempt(f"os.sched_setscheduler(0, os.{policy}, os.sched_param(1))", isolation))


def test_a_program_cannot_become_more_important(isolation):
    assert_lost(attempt("os.nice(-1)", isolation))


def test_a_program_cannot_get_a_deadline(isolation):
    assert_lost(attempt("syscall(314, 0, (ctypes.c_uint64 * 6)(48 | 6 << 32, 0, 0, 10**6, 10**7, 10**7), 0)", isolation))
