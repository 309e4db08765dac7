"""What a program uses up: it meets its limit, the machine stays well, and the next program finds everything as before."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from reflectioncoder.sandbox import isolation as isolations
from reflectioncoder.sandbox.forkserver import ServerPool
from reflectioncoder.sandbox.process import run_python
from tests.attacks.conftest import LIMITS, ROOT, SOON_S, Watch, assert_lost, attack, attempt, needs_x86_64, new_mark

ENDED = ("failed", "crashed", "timeout", "memory")


def watched(source, isolation, **limits):
    mark = new_mark()
    with Watch(mark) as watch:
        result = attack(source, isolation, mark=mark, **limits)
    return result, watch


FORK_BOMBS = {
    "fork": "while True:\n    try: os.fork()\n    except OSError: pass",
    "fork and wait": "for _ in range(1000):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)",
    "a chain that runs away": "while True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass",
    "two for each that ends": "for _ in range(6):\n    if os.fork() == 0: break\nwhile True:\n    try:\n"
    "        os.fork(); os.fork(); os._exit(0)\n"
    "    except OSError: pass",
    "shell": "import subprocess; subprocess.run(['/bin/bash', '-c', ':(){ :|:& };:; wait; sleep 60'], stderr=subprocess.DEVNULL)",
    "interpreters": "import subprocess\nwhile True:\n    try: subprocess.Popen(['/bin/sleep', '60', mark])\n"
    "    except OSError: time.sleep(60)",
    "spawn": "while True:\n    try: os.posix_spawn('/bin/sleep', ['sleep', '60'], {})\n    except OSError: time.sleep(60)",
    "children that have no parent": "while True:\n    try:\n        if os.fork() == 0:\n"
    "            if os.fork() == 0: time.sleep(60)\n            os._exit(0)\n"
    "        os.wait()\n    except OSError: time.sleep(60)",
    "zombies": "while True:\n    try:\n        if os.fork() == 0: os._exit(0)\n    except OSError: time.sleep(60)",
    "pool": "import multiprocessing as m\nm.get_context('fork').Pool(100).map(time.sleep, [60] * 100)",
}


def most_processes(isolation) -> int:
    """Without a user namespace or a user of its own the kernel counts all processes of the user: what another worker's program ran at
    the start comes on top, until the watch sees it.
    """
    others = 0 if isolation.namespaces or ROOT else LIMITS.processes + 2
    return LIMITS.processes + 2 + others


@pytest.mark.parametrize("kind", FORK_BOMBS)
def test_a_fork_bomb_goes_out(kind, isolation):
    result, watch = watched(FORK_BOMBS[kind], isolation, wall_s=0.4, cpu_s=1)
    assert result.status in (*ENDED, "ok")  # ok: its first process has ended by itself
    assert watch.most_processes <= most_processes(isolation)
    assert result.duration_s < SOON_S


def test_a_fork_bomb_may_not_keep_the_next_program_from_running(isolation):
    attack(FORK_BOMBS["fork"], isolation, wall_s=0.3)
    assert attack("pid = os.fork()\nif pid: print(os.wait()[0] == pid)", isolation).stdout == "True\n"


@pytest.mark.skipif(not ROOT, reason="programs of an ordinary user are counted together")
def test_a_fork_bomb_takes_no_processes_from_its_neighbours(isolation, monkeypatch):
    monkeypatch.setattr(isolations, "PROGRAM_USERS", range(61500, 65500))
    monkeypatch.setattr("reflectioncoder.sandbox.process.SERVERS", servers := ServerPool())
    forks = "import os, time\nend = time.monotonic() + 3\nwhile time.monotonic() < end:\n"
    forks += "    if os.fork() == 0: os._exit(0)\n    os.wait()\n    time.sleep(0.002)\nprint('undisturbed')"
    with contextlib.closing(servers), ThreadPoolExecutor(1) as executor:
        neighbour = executor.submit(run_python, forks, replace(LIMITS, wall_s=20, cpu_s=20), isolation)
        time.sleep(1)  # it was there before: what is running is added to a program's own share
        while not neighbour.done():
            attack(FORK_BOMBS["fork"], isolation, wall_s=0.3)
        assert neighbour.result().stdout == "undisturbed\n", neighbour.result()


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "__import__('_thread').start_new_thread(time.sleep, (60,))",
    ],
    ids=["threading", "_thread"],
)
def test_a_thread_bomb_goes_out(start, isolation):
    result, watch = watched(
        f"threading.stack_size(65536)\nfor _ in range(1000):\n    try: {start}\n    except RuntimeError: time.sleep(60)",
        isolation,
        wall_s=1,
    )
    assert result.status in ENDED
    assert watch.most_tasks <= most_processes(isolation)


MEMORY_BOMBS = {
    "one block": "x = bytearray(2**32)",
    "a growing list": "x = []\nwhile True: x.append(bytearray(2**20))",
    "a doubling string": "x = 'x'\nwhile True: x += x",
    "small objects": "x = None\nwhile True: x = [x, x]",
    "a large number": "x = 10 ** 10\nwhile True: x = x * x",
    "a mapping": "import mmap\nx = []\nwhile True: x.append(mmap.mmap(-1, 2**24)); x[-1].write(b'x' * 2**24)",
    "a private mapping": "import mmap\nx = []\nwhile True: x.append(mmap.mmap(-1, 2**24, mmap.MAP_PRIVATE)); x[-1].write(b'x' * 2**24)",
    "the C library": "libc.malloc.restype = ctypes.c_void_p\n"
    "while p := libc.malloc(ctypes.c_size_t(2**20)): ctypes.memset(ctypes.c_void_p(p), 1, 2**20)\n"
    "raise MemoryError",
    "unpacked": "import zlib\nx = []\ndata = zlib.compress(bytes(2**24))\nwhile True: x.append(zlib.decompress(data))",
    "a regular expression": "import re\nre.compile('(' * 90 + 'a' + '){1,60000}' * 90 + 'b').match('a' * 10**6); x = []\n"
    "while True: x.append('y' * 2**20)",
    "the compiler": "compile('x = ' + '-' * 10**7 + '1', 'x', 'exec')",
    "threads": "def f():\n    x = []\n    while True: x.append(bytearray(2**20))\n"
    "t = threading.Thread(target=f); t.start(); t.join(); raise MemoryError",
    "a format": "'%0*d' % (2**31 - 1, 1)",
    "the source itself": "x = '" + "x" * 2**20 + "'\nx *= 10**6",
}


@pytest.mark.parametrize("kind", MEMORY_BOMBS)
def test_a_memory_bomb_in_one_process_goes_out(kind, ending):
    result, watch = watched(MEMORY_BOMBS[kind], ending, wall_s=4, cpu_s=1, memory_bytes=2**28)
    assert result.status in ENDED
    assert watch.most_resident <= 1.25 * 2**28
    assert attack("print('well')", ending).stdout == "well\n"


# Children hold memory one beside another, 96 MiB each, and say so ("x"; "e": no luck). If all of them can, "won" is printed: then
# the limit on all together does not hold.
_SHARES = """
import mmap
ready_r, ready_w = os.pipe()
def fill():
    block = bytearray(96 * 2**20)
    for i in range(0, len(block), 4096): block[i] = 1
    return block
def fill_and_unmap(block):
    for i in range(0, len(block), 2**22):
        block[i:i + 2**22] = bytes([1]) * 2**22
        block.madvise(mmap.MADV_DONTNEED, i, 2**22)
    return block
def hold():
    try:
        kept = {share}
        os.write(ready_w, b"x")
        time.sleep(60)
    except BaseException:
        os.write(ready_w, b"e")
    finally:
        os._exit(1)
{start}
answers = b""
while len(answers) < 8 and b"e" not in answers: answers += os.read(ready_r, 8)
time.sleep(0.3)
if b"e" in answers: sys.exit(1)
print("won")
"""
_CHILDREN = """
for _ in range(8):
    if os.fork() == 0: hold()
"""
_LEAVE = """
def leave():
    def go_on():
        time.sleep(0.3)
        kept = fill()
        os.write(ready_w, b"x")
        time.sleep(60)
    threading.Thread(target=go_on).start()
    libc.syscall(ctypes.c_long(60), ctypes.c_long(0))
"""
_BASH = """
def execute():
    os.dup2(ready_w, 9)
    doubling = "x=xxxxxxxxxxxxxxxx; for i in " + "1 " * 22 + "; do x=$x$x; done; printf x >&9; read < /dev/zero"
    os.execv("/bin/bash", ["bash", "-c", doubling])
"""
SHARED_BOMBS = {
    "children": ("fill()", _CHILDREN),
    "children of children": ("fill()", "for _ in range(8):\n    if os.fork() == 0: os.fork() or hold(); time.sleep(60)"),
    "children without a parent": (
        "fill()",
        "for _ in range(8):\n    if os.fork() == 0:\n        if os.fork() == 0: hold()\n        os._exit(0)\n    os.wait()",
    ),
    "siblings": (
        "fill()",
        "for _ in range(8):\n    if syscall(56, 0x8000 | 17, 0, 0, 0, 0) == 0: hold()",
    ),
    "children whose first thread has ended": ("leave()", _LEAVE + _CHILDREN),
    "shared pages that nobody has mapped now": ("fill_and_unmap(mmap.mmap(-1, 96 * 2**20))", _CHILDREN),
    "shared pages of a device": ("fill_and_unmap(mmap.mmap(os.open('/dev/zero', os.O_RDWR), 96 * 2**20))", _CHILDREN),
    "executed programs": ("execute()", _BASH + _CHILDREN),
}


@needs_x86_64
@pytest.mark.parametrize("kind", SHARED_BOMBS)
def test_a_memory_bomb_over_many_processes_goes_out(kind, isolation):
    share, start = SHARED_BOMBS[kind]
    source = _SHARES.format(share=share, start=start)
    result = attack(source, isolation, memory_bytes=2**28, processes=24, wall_s=4, cpu_s=4)
    assert "won" not in result.stdout
    assert result.status in ("memory", "failed", "crashed"), result


# Memory that no process has mapped: the kernel keeps it for whoever holds a descriptor.
KERNEL_MEMORY = {
    "files in memory": "fd = syscall(319, b'x', 0); os.write(fd, b'x' * 2**20)",
    "secret files in memory": "os.ftruncate(syscall(447, 0), 2**20)",
    "System V memory": "syscall(29, 0, 2**20, 0o1600)",
    "System V queues": "syscall(68, 0, 0o1600)",
    "System V semaphores": "syscall(64, 0, 1000, 0o1600)",
    "POSIX queues": "syscall(240, b'x', 0o102, 0o600, 0)",
    "/dev/shm": "open('/dev/shm/x', 'wb').write(b'x' * 2**23) if not os.path.samefile('/dev/shm', '.') else check(-1)",
    "keys": "syscall(248, b'user', b'x', b'x' * 1000, 1000, -3)",
    "locked pages": "import mmap; m = mmap.mmap(-1, 2**20); "
    "check(libc.mlock(ctypes.byref(ctypes.c_char.from_buffer(m)), ctypes.c_size_t(2**20)))",
    "large pages": "import mmap; mmap.mmap(-1, 2**21, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)",
    "large pipes": "import fcntl; fcntl.fcntl(os.pipe()[0], 1031, 2**21)",
}


@needs_x86_64
@pytest.mark.parametrize("kind", KERNEL_MEMORY)
def test_a_program_cannot_keep_memory_in(kind, isolation):
    assert_lost(attempt(KERNEL_MEMORY[kind], isolation))


DISK_BOMBS = {
    "one large file": "f = open('x', 'wb')\nwhile True: f.write(b'x' * 2**20)",
    "many files": "for i in range(100): open(f'{i}', 'wb').write(b'x' * 2**22)",
    "deleted files": "kept = []\nfor i in range(20):\n"
    "    f = open('x', 'wb', 0); kept.append(f); f.write(b'x' * 2**22); os.unlink('x')",
    "files without a name": "kept = []\nfor i in range(20):\n"
    "    fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); kept.append(fd); os.write(fd, b'x' * 2**22)",
    "allocated files": "for i in range(20): os.posix_fallocate(os.open(f'{i}', os.O_CREAT | os.O_RDWR), 0, 2**22)",
    "mapped files": "import mmap\nkept = []\nfor i in range(20):\n"
    "    fd = os.open(f'{i}', os.O_CREAT | os.O_RDWR); os.ftruncate(fd, 2**22)\n"
    "    m = mmap.mmap(fd, 2**22); kept.append(m); m[:] = b'x' * 2**22",
    "files of children": "for i in range(12):\n"
    "    if os.fork() == 0: open(f'{i}', 'wb').write(b'x' * 2**22 * 2); time.sleep(60)\ntime.sleep(0.5)\n"
    "if sum(entry.stat().st_size for entry in os.scandir()) <= 2**24: sys.exit(1)",
    "files in folders that cannot be listed": "os.mkdir('d', 0o300)\nfor i in range(20): open(f'd/{i}', 'wb').write(b'x' * 2**22)",
    "files below a path too long": "for i in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
    "for i in range(20): open(f'{i}', 'wb').write(b'x' * 2**22)",
    "/tmp": "import tempfile\nkept = []\nwhile True: f = tempfile.TemporaryFile(); kept.append(f); f.write(b'x' * 2**22); f.flush()",
    "core dumps": "import resource\ntry: resource.setrlimit(resource.RLIMIT_CORE, (2**30, 2**30))\nexcept (OSError, ValueError): pass\n"
    "x = bytearray(2**27)\nfor _ in range(5):\n    if os.fork() == 0: signal.signal(11, 0); ctypes.string_at(0)\n    os.wait()\n"
    "raise SystemExit(3 if len(os.listdir()) == 1 else 0)",
}


@pytest.mark.parametrize("kind", DISK_BOMBS)
def test_a_disk_bomb_goes_out(kind, isolation, own_servers):
    """The last line is only reached by a program that has written more than it may."""
    result = attack(DISK_BOMBS[kind] + "\ntime.sleep(0.3)\nprint('won')", isolation, wall_s=3)
    assert "won" not in result.stdout
    assert result.status in ENDED
    assert result.status != "timeout", "the machine was too slow for this attack"
    assert attack("print(os.listdir())", isolation).stdout == "['main.py']\n"
    assert sum(path.lstat().st_size for path in own_servers.rglob("*") if path.is_file()) == 0


INODE_BOMBS = {
    "small files": "for i in range(2000): open(f'{i}', 'w').close()",
    "folders": "for i in range(2000): os.mkdir(f'{i}')",
    "links": "for i in range(2000): os.symlink('x', f'{i}')",
    "hard links": "for i in range(2000): os.link('main.py', f'{i}')",
    "long names": "for i in range(2000): open(f'{i:0250d}', 'w').close()",
    "nested folders": "for i in range(2000): os.mkdir('d'); os.chdir('d')",
}


@pytest.mark.parametrize("kind", INODE_BOMBS)
def test_an_inode_bomb_goes_out(kind, isolation, own_servers):
    result = attack(INODE_BOMBS[kind] + "\ntime.sleep(0.3)\nprint('won')", isolation, wall_s=3)
    assert "won" not in result.stdout
    assert result.status in ENDED
    assert attack("print(os.listdir())", isolation).stdout == "['main.py']\n"


def test_deep_folders_cannot_break_the_trusted_side(isolation, own_servers):
    """More levels than Python may recurse, within the limit on files."""
    from reflectioncoder.sandbox.forkserver import SERVERS

    source = "for i in range(1500): os.mkdir('d'); os.chdir('d')\nopen('deep', 'w').close()\nprint('made')"
    assert attack(source, isolation, disk_files=4000).status in ("ok", "crashed")  # where it is watched, that deep is too many
    assert attack("print(os.listdir())", isolation).stdout == "['main.py']\n"
    SERVERS.close()
    assert list(own_servers.iterdir()) == []


def test_links_cannot_lead_the_trusted_side_astray(isolation, host, own_servers):
    """It counts files while the program swaps folders for links to a place full of files, and empties the directory afterwards."""
    source = """
    os.mkdir("a"); os.symlink(open_folder, "link"); os.symlink("/", "root"); os.symlink(".", "loop")
    for i in range(50): os.mkdir(f"a/{i}")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for i in range(50): os.rmdir(f"a/{i}"); os.symlink("/", f"a/{i}")
        for i in range(50): os.unlink(f"a/{i}"); os.mkdir(f"a/{i}")
    print("end")
    """
    result = attack(source, isolation, host.given)
    assert (result.status, result.stdout) == ("ok", "end\n")
    assert result.duration_s < SOON_S
    host.assert_untouched()


FLOODS = {
    "stdout": "while True: os.write(1, b'x' * 65536)",
    "stderr": "while True: os.write(2, b'x' * 65536)",
    "both": "while True: os.write(1, b'x' * 4096); os.write(2, b'y' * 4096)",
    "lines": "while True: print()",
    "bytes that are no text": "while True: os.write(1, b'\\xff\\x00\\xfe' * 20000)",
    "children": "for _ in range(3): os.fork()\nwhile True: os.write(1, b'x' * 65536)",
    "a long traceback": "raise ValueError('x' * 10**8)",
    "warnings": "import warnings\nwarnings.simplefilter('always')\nwhile True: warnings.warn('x' * 10000)",
    "deep traceback": "sys.setrecursionlimit(10**6)\ndef f(): f()\nf()",
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_output_is_capped(kind, ending):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    result = attack(FLOODS[kind], ending, wall_s=0.3)
    assert result.status in ENDED
    assert len(result.stdout) <= LIMITS.output_bytes + 100
    assert len(result.stderr) <= LIMITS.output_bytes + 100
    assert result.duration_s < SOON_S
    assert resident() - before < 2**25


DESCRIPTOR_BOMBS = {
    "files": "os.open('/dev/null', 0)",
    "pipes": "os.pipe()[0]",
    "copies": "os.dup(0)",
    "a high number": "os.dup2(0, 5000)",
    "event counters": "check(libc.eventfd(0, 0))",
    "watches": "check(libc.inotify_init1(0))",
    "pollers": "check(libc.epoll_create1(0))",
    "timers": "check(libc.timerfd_create(1, 0))",
}


@pytest.mark.parametrize("kind", DESCRIPTOR_BOMBS)
def test_a_descriptor_bomb_goes_out(kind, isolation):
    source = (
        f"highest = 0\ntry:\n    while True: highest = max(highest, {DESCRIPTOR_BOMBS[kind]})\nexcept OSError as error: print(highest)"
    )
    result = attack(source, isolation)
    assert int(result.stdout) < LIMITS.open_files


def test_descriptors_in_flight_do_not_multiply(isolation):
    """Descriptors that lie unread in a socket belong to nobody; the kernel counts them for the user."""
    source = """
    a, b = socket.socketpair()
    fds = [os.open("/dev/null", 0) for _ in range(30)]
    sent = 0
    a.setblocking(False)
    try:
        while sent < 10000: socket.send_fds(a, [b"x"], fds); sent += 30
    except OSError: pass
    print(sent)
    """
    assert int(attack(source, isolation).stdout) <= LIMITS.open_files + 30  # the kernel looks before it takes the next 30


CPU_BOMBS = {
    "one loop": "while True: pass",
    "threads": "def f():\n    while True: pass\nfor _ in range(8): threading.Thread(target=f).start()",
    "threads of the C library": "import hashlib\nblock = bytes(2**24)\ndef f():\n    while True: hashlib.sha256(block)\n"
    "for _ in range(8): threading.Thread(target=f).start()",
    "children": "for _ in range(3): os.fork()\nwhile True: pass",
    "system calls": "while True: os.getppid(); os.stat('.')",
    "yielding": "while True: os.sched_yield()",
    "timers": "signal.signal(signal.SIGALRM, lambda *_: None)\nsignal.setitimer(signal.ITIMER_REAL, 1e-5, 1e-5)\nwhile True: pass",
    "faults": "import mmap\nm = mmap.mmap(-1, 2**24, mmap.MAP_PRIVATE)\n"
    "while True: m.write(b'x' * 2**24); m.seek(0); m.madvise(mmap.MADV_DONTNEED)",
}


@pytest.mark.parametrize("kind", CPU_BOMBS)
def test_a_loop_ends_at_its_limit(kind, ending):
    started = time.monotonic()
    assert attack(CPU_BOMBS[kind], ending, wall_s=0.4).status == "timeout"
    assert time.monotonic() - started < SOON_S


_BURN = """
def burn():
    end = time.process_time() + 0.7
    while time.process_time() < end: pass
"""
RELAYS = {
    "children": "for _ in range(6):\n    if os.fork() == 0: burn(); os._exit(0)\n    os.wait()",
    "children that nobody waits for": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nfor _ in range(6):\n"
    "    if os.fork() == 0: burn(); os._exit(0)\n    try: os.wait()\n    except ChildProcessError: pass",
    "orphans": "for _ in range(6):\n    r, w = os.pipe()\n    if os.fork() == 0:\n        if os.fork() == 0: burn()\n"
    "        os._exit(0)\n"
    "    os.close(w); os.wait(); os.read(r, 1); os.close(r)",
    "a chain of heirs": "r, w = os.pipe()\nif os.fork() == 0:\n    for _ in range(6):\n        burn()\n"
    "        if os.fork(): os._exit(0)\n"
    "    os._exit(0)\nos.close(w); os.wait(); os.read(r, 1)",
}


@pytest.mark.parametrize("how", RELAYS)
def test_processor_time_cannot_be_bought_with(how, isolation):
    """One process after another, each within its own limit: together far beyond the program's."""
    result = attack(_BURN + RELAYS[how] + "\nprint('won')", isolation, cpu_s=1, wall_s=12)
    assert "won" not in result.stdout
    assert result.status == "timeout"


def test_time_cannot_be_stretched_by_waiting_for_a_processor(isolation):
    """A program steps back behind children of its own: they run, it waits, and waiting does not count as its own time."""
    source = """
    for _ in range(14):
        if os.fork() == 0:
            while time.monotonic() < end: pass
            os._exit(0)
    try: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError: pass
    while time.monotonic() < end: pass
    """
    started = time.monotonic()
    attack(source, isolation, {"end": started + 60}, wall_s=0.5, cpu_s=60)
    assert time.monotonic() - started < SOON_S
