"""What all programs and the machine share: the page cache, processors, quotas, kernel memory, what is known of the host.

A note left in the page cache would tell a later program what an earlier one has found out; what there is a fixed number of could be
taken from everybody. Each attempt has a control that shows that it works without confinement.
"""

import errno
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from reflectioncoder.sandbox.process import run_python
from tests.attacks.conftest import LIMITS, assert_lost, attack, attempt, needs_x86_64, unconfined

_FILE = "fd = os.open('/usr/bin/env', os.O_RDONLY); "
PAGE_CACHE = {
    "fadvise: forget": _FILE + "os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)",
    "fadvise: fetch": _FILE + "os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)",
    "fadvise of a file of its own": "os.posix_fadvise(os.open('own', os.O_CREAT | os.O_RDWR), 0, 0, os.POSIX_FADV_DONTNEED)",
    "preadv2 that does not wait": _FILE + "os.read(fd, 64); os.preadv(fd, [bytearray(64)], 0, os.RWF_NOWAIT)",
    "preadv2 at the current place": _FILE + "os.read(fd, 64); os.lseek(fd, 0, 0); part = (ctypes.c_size_t * 2)(ctypes.addressof("
    "ctypes.create_string_buffer(64)), 64); syscall(327, fd, part, 1, -1, -1, 8)",
    "mincore": "import mmap; " + _FILE + "m = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE); "
    "syscall(27, ctypes.addressof(ctypes.c_char.from_buffer(m)), 4096, ctypes.create_string_buffer(1))",
    "cachestat": _FILE + "syscall(451, fd, (ctypes.c_uint64 * 2)(0, 4096), (ctypes.c_uint64 * 5)(), 0)",
    "readahead": _FILE + "syscall(187, fd, 0, 4096)",
    "sync_file_range": _FILE + "syscall(277, fd, 0, 4096, 7)",
    "syncfs": _FILE + "syscall(306, fd)",
    "process_madvise": "import mmap; m = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE); "
    "part = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.c_char.from_buffer(m)), 4096); "
    "syscall(440, os.pidfd_open(os.getpid()), part, 1, 20, 0)",
}
PROCESSORS = {
    "idle": "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
    "batch": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "its policy, as it is": "os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))",
    "parameters, as they are": "os.sched_setparam(0, os.sched_param(0))",
    "attributes": "syscall(314, 0, (ctypes.c_uint32 * 14)(48, 3, 0, 0, os.nice(0) & 0xFFFFFFFF), 0)",
    "a processor": "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])",
    "processors of a thread": "os.sched_setaffinity(threading.get_native_id(), os.sched_getaffinity(0))",
    "nice": "os.nice(1)",
    "nice of a thread": "os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)",
    "nice of its group": "os.setpriority(os.PRIO_PGRP, 0, 5)",
    "priority on disk": "syscall(251, 1, 0, 3 << 13)",
}
QUOTAS = {
    "asynchronous operations": "syscall(206, 100, ctypes.byref(ctypes.c_ulong(0)))",
    "watchers": "check(libc.inotify_init1(0))",
    "watchers, the oldest call": "check(libc.inotify_init())",
    "pipes of its user": "import fcntl; fcntl.fcntl(os.pipe()[0], 1031, 2**18)",
    "larger buffers": "socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**17)",
    "timeouts of a socket": "socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 2**17)",
    "rules of rule sets": "syscall(444, (ctypes.c_uint64 * 3)(1), 8, 0)",
    "shared memory without a file": "import mmap; mmap.mmap(-1, 2**21)",
    "shared pages of a device": "import mmap; mmap.mmap(os.open('/dev/zero', os.O_RDWR), 2**21)",
}
_CAT = """import subprocess
done = subprocess.run(["/bin/cat", "/proc/self/mountinfo"], capture_output=True)
return done.stdout or check(-1)"""
_OF_A_CHILD = """r, w = os.pipe()
if os.fork() == 0:
    try: os.write(w, open("/proc/self/mountinfo", "rb").read(99))
    finally: os._exit(0)
os.close(w)
return os.read(r, 99) or check(-1)"""
_PROC_FILES = ("self/mountinfo", "self/mounts", "self/mountstats", "self/cgroup", "self/cpuset", "mounts", "thread-self/mountinfo")
HOST = {
    **{name: f"return open('/proc/{name}').read(99)" for name in _PROC_FILES},
    "mountinfo of a child": _OF_A_CHILD,
    "mountinfo of a thread": "return open(f'/proc/self/task/{threading.get_native_id()}/mountinfo').read(99)",
    "mountinfo by a descriptor": "return os.read(os.open('mountinfo', os.O_RDONLY, dir_fd=os.open('/proc/self', os.O_PATH)), 99)",
    "mountinfo by another program": _CAT,
    "the list of mounts": "buffer = (ctypes.c_uint64 * 64)(); syscall(458, (ctypes.c_uint64 * 4)(32, 2**64 - 1, 0, 0), buffer, 64, 0)",
}
# Kernels from 6.8 on know the list; not every kernel has all of these files.
_MAY_LACK = {"self/cpuset", "the list of mounts", "cachestat"}
ATTEMPTS = {"page cache": PAGE_CACHE, "processors": PROCESSORS, "quotas": QUOTAS, "host": HOST}
CASES = [(kind, name) for kind, attempts in ATTEMPTS.items() for name in attempts]


@needs_x86_64
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_program_is_refused(kind, name, isolation):
    assert_lost(attempt(ATTEMPTS[kind][name], isolation))


@needs_x86_64
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_without_confinement_it_gets(kind, name):
    verdict = unconfined(ATTEMPTS[kind][name])
    if name in _MAY_LACK and verdict.split()[1] in ("ENOSYS", "ENOENT"):
        pytest.skip("this kernel has no such thing")
    assert verdict.startswith("won "), verdict


_OTHERS = {
    "its group": "os.getpgid(pid)",
    "its session": "os.getsid(pid)",
    "its priority": "os.getpriority(os.PRIO_PROCESS, pid)",
    "its priority on disk": "syscall(252, 1, pid)",
    "its policy": "os.sched_getscheduler(pid)",
    "its parameters": "os.sched_getparam(pid)",
    "its attributes": "syscall(315, pid, (ctypes.c_uint32 * 14)(), 48, 0)",
    "its processors": "os.sched_getaffinity(pid)",
    "its interval": "os.sched_rr_get_interval(pid)",
    "its CPU time": "time.clock_gettime((~pid << 3) | 2)",
    "the resolution of its clock": "time.clock_getres((~pid << 3) | 2)",
    "a timer on its CPU time": "syscall(222, (~pid << 3) | 2, 0, ctypes.byref(ctypes.c_int()))",
    "a descriptor of it": "os.pidfd_open(pid)",
    "whether it is there": "os.kill(pid, 0)",
    "its limits": "__import__('resource').prlimit(pid, 0)",
}


@needs_x86_64
@pytest.mark.parametrize("what", _OTHERS)
def test_a_program_learns_nothing_about_another_process(what, isolation, host):
    """And where that is refused by the filter, it says the same of one that does not exist."""
    body = "try: return {0}\nexcept OSError as error: return error.errno"
    verdicts = [attempt(body.format(_OTHERS[what]), isolation, {"pid": pid}) for pid in (host.given["victims"][-1], 2**22 - 1)]
    assert verdicts[0] == verdicts[1]
    assert int(verdicts[0].split()[1]) in (errno.EPERM, errno.ESRCH, errno.EINVAL, errno.ENOSYS)
    host.assert_untouched()


@needs_x86_64
@pytest.mark.parametrize("what", _OTHERS)
def test_without_confinement_it_learns(what, host):
    assert unconfined(_OTHERS[what], {"pid": host.given["victims"][0]}).startswith("won ")


@needs_x86_64
@pytest.mark.parametrize("what", sorted(_OTHERS.keys() - {"its limits", "a timer on its CPU time"}))
def test_a_program_may_ask_about_itself(what, isolation):
    body = _OTHERS[what]
    if "clock" in body:
        body = body.replace("~pid", "~0")
    assert attempt(f"pid = os.getpid()\n{body}", isolation).startswith("won ")


_ATTRIBUTES = {
    "the value": "os.getxattr(path, 'user.note')",
    "the value behind a link": "os.getxattr(path, 'user.note', follow_symlinks=False)",
    "the names": "os.listxattr(path) or check(-1)",
    "the names by a descriptor": "os.listxattr(os.open(path, os.O_PATH)) or check(-1)",
}


@pytest.mark.parametrize("what", _ATTRIBUTES)
def test_a_program_does_not_see_of_a_file_s_attributes(what, isolation, host):
    os.setxattr(host.given["public_secret"], "user.note", b"x")
    assert_lost(attempt(_ATTRIBUTES[what], isolation, {"path": host.given["public_secret"]}))


@pytest.mark.parametrize("how", ["pieces", "what is left of pieces"])
def test_small_shared_memory_is_counted(how, isolation):
    """Each piece may be had, and not all of them together."""
    source = f"""
    import mmap
    def address(m):
        return (ctypes.c_void_p * 3).from_address(id(m))[2]
    kept = []
    for _ in range(512):
        kept.append(m := mmap.mmap(-1, 2**20)); m.write(bytes([1]) * 2**20); m.madvise(mmap.MADV_DONTNEED)
        {"check(libc.munmap(ctypes.c_void_p(4096 + address(m)), ctypes.c_size_t(2**20 - 4096)))" if how != "pieces" else ""}
    time.sleep(0.5)
    print("won")
    """
    result = attack(source, isolation, memory_bytes=2**28, address_space_bytes=2**32, wall_s=4, cpu_s=4)
    assert "won" not in result.stdout
    assert result.status in ("memory", "failed", "crashed"), result


def test_what_lies_unread_in_sockets_is_counted(isolation):
    source = """
    def fill():
        kept = []
        try:
            while True:
                pair = socket.socketpair(); kept.append(pair)
                for end in pair:
                    end.setblocking(False)
                    try:
                        while True: end.send(bytes(4096))
                    except BlockingIOError: pass
        except OSError: pass
        return kept
    if os.fork(): kept = fill()
    else:
        os.fork(); os.fork(); kept = fill()
    time.sleep(2)
    print("won")
    """
    result = attack(source, isolation, memory_bytes=2**26, address_space_bytes=2**30, wall_s=4, cpu_s=4)
    assert "won" not in result.stdout
    assert result.status in ("memory", "crashed", "failed"), result


def test_time_counts_for_all_threads(ending):
    """The first thread waits for a processor behind the others: what they use is the program's own time."""
    source = """
    import hashlib
    block = bytes(2**24)
    threading.stack_size(2**20)
    def work():
        while True: hashlib.sha256(block)
    for _ in range(12): threading.Thread(target=work, daemon=True).start()
    work()
    """
    result = attack(source, ending, wall_s=1, cpu_s=30, processes=20)
    assert result.status == "timeout"
    assert result.cpu_s < 3  # without: as many seconds as threads


HONEST = {
    "a module of a folder that has changed": "import importlib\nimportlib.invalidate_caches()\nimport wave, asyncio\nprint(42)",
    "asyncio": "import asyncio\nasync def f():\n    await asyncio.sleep(0.001)\n    return 42\nprint(asyncio.run(f()))",
    "asyncio with a program": "import asyncio\nasync def f():\n    p = await asyncio.create_subprocess_exec('/bin/echo', '42', "
    "stdout=asyncio.subprocess.PIPE)\n    return (await p.communicate())[0].decode().strip()\nprint(asyncio.run(f()))",
    "threads": "import concurrent.futures as c\nprint(sum(c.ThreadPoolExecutor(4).map(int, ['40', '2'])))",
    "a thread pool": "from multiprocessing.pool import ThreadPool\nprint(sum(ThreadPool(2).map(int, ['40', '2'])))",
    "a pool of processes": "import multiprocessing as m\nprint(sum(m.get_context('fork').Pool(2).map(int, ['40', '2'])))",
    "locks": "import multiprocessing as m\na, b, c, d = m.Lock(), m.RLock(), m.Semaphore(2), m.Event()\n"
    "with a, b, b, c, c: print(42 if not a.acquire(False) and not c.acquire(timeout=0.01) and not d.wait(0.01) else 0)",
    "a queue of processes": "import multiprocessing as m\nq = m.Queue(1); p = m.Process(target=q.put, args=(42,)); p.start()\n"
    "print(q.get()); p.join()",
    "a timer": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: print(42))\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\n"
    "signal.pause()",
    "a subprocess": "import subprocess\nprint(subprocess.run(['/bin/echo', '42'], capture_output=True, text=True).stdout.strip())",
    "a subprocess that is ended": "import subprocess\np = subprocess.Popen(['/bin/sleep', '60']); p.terminate()\n"
    "print(42 if p.wait() == -15 else 0)",
    "process substitution": "import subprocess\nprint(subprocess.run(['/bin/bash', '-c', 'cat <(echo 42)'], capture_output=True, "
    "text=True).stdout.strip())",
    "nice": "import os\nos.nice(0); print(42)",
    "questions about itself": "import os\nos.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), os.getpgid(0), os.getsid(0)\n"
    "os.sched_getscheduler(0), os.kill(os.getpid(), 0); print(42)",
    "what may be refused": "import os\nfor f in (lambda: os.nice(5), lambda: os.sched_setaffinity(0, [0])):\n    try: f()\n"
    "    except OSError: pass\nprint(42)",
    "clocks": "import time\ntime.process_time(), time.thread_time(), time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)\n"
    "time.clock_getres(time.CLOCK_MONOTONIC); print(42)",
    "temporary files": "import tempfile\nwith tempfile.TemporaryFile('w+') as f, tempfile.NamedTemporaryFile() as g:\n"
    "    f.write('42'); f.seek(0); print(f.read())",
    "a copied file": "import shutil\nopen('a', 'w').write('42'); shutil.copyfile('a', 'b'); print(open('b').read())",
    "a mapped file": "import mmap\nf = open('a', 'w+b'); f.write(b'42'); f.flush(); print(mmap.mmap(f.fileno(), 0)[:].decode())",
    "shared memory": "import mmap, os\nm = mmap.mmap(-1, 4096)\nif os.fork() == 0:\n    m.write(b'42'); os._exit(0)\n"
    "os.wait(); print(m[:2].decode())",
    "private memory": "import mmap\nm = mmap.mmap(-1, 2**22, mmap.MAP_PRIVATE); m.write(b'42'); print(m[:2].decode())",
    "vectors": "import os\nb = bytearray(2); f = os.open('main.py', os.O_RDONLY); os.preadv(f, [b], 0); print(42)",
    "numpy": "import numpy as np\nprint(int(np.linalg.det(np.eye(3)) + 41))",
    "pandas": "import pandas as pd\nprint(pd.DataFrame({'a': [40, 2]}).a.sum())",
}


@pytest.mark.parametrize("what", HONEST)
def test_an_honest_program_with_odd_habits_passes(what, isolation):
    result = run_python(HONEST[what], replace(LIMITS, cpu_s=20, wall_s=20, memory_bytes=2**30), isolation)
    assert (result.status, result.stdout) == ("ok", "42\n"), result


def test_a_program_that_asks_for_its_niceness_passes_beside_a_nice_judge(isolation):
    judge = (
        "import sys\nfrom reflectioncoder.sandbox.isolation import ISOLATIONS\nfrom reflectioncoder.sandbox.limits import Limits\n"
        "from reflectioncoder.sandbox.process import run_python\n"
        "for ask in ('0', '1'):\n    print(run_python(f'import os\\nos.nice({ask})', Limits(), ISOLATIONS[sys.argv[1]]).status)"
    )
    argv = [sys.executable, "-c", judge, isolation.name]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, preexec_fn=lambda: os.nice(3))
    assert done.stdout.split() == ["ok", "failed"]
