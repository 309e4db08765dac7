"""What is in memory: a program finds neither our environment, nor our modules, nor anything of an earlier program."""

import os
import secrets

from tests.attacks.conftest import (
    attack,
)

# What is in memory


def test_a_program_does_not_inherit_the_environment(isolation, monkeypatch, own_servers):
    token = "token-" + secrets.token_hex(8)
    monkeypatch.setenv("ATTACK_SECRET", token)
    source = """
    texts = [repr(dict(os.environ))]
    libc.getenv.restype = ctypes.c_char_p
    texts.append(repr(libc.getenv(b"ATTACK_SECRET")))
    for path in ("/proc/self/environ", "/proc/1/environ", "/proc/self/cmdline"):
        try: texts.append(open(path, errors="replace").read())
        except OSError: pass
    print(token in "".join(texts))
    """
    split = {"first": token[:9], "second": token[9:]}
    assert attack("token = first + second\n" + source.replace("\n    ", "\n"), isolation, split).stdout == "False\n"


def test_the_environment_of_a_program_is_the_same_everywhere(isolation):
    result = attack("print(sorted(os.environ))", isolation)
    names = ["HOME", "LANG", "OMP_NUM_THREADS", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "TMPDIR"]
    assert result.stdout == f"{names}\n"


_SEARCH = """
import gc
gc.unfreeze()
needle = (first + second).encode()
found = []
def look(name, text):
    if needle in text: found.append(name)
for thing in gc.get_objects():
    for value in (thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple, set)) else ()):
        if isinstance(value, str): look("object", value.encode("utf-8", "replace"))
        if isinstance(value, bytes): look("object", value)
try:
    maps = open("/proc/self/maps").read().splitlines()
    memory = open("/proc/self/mem", "rb", 0)
except OSError:
    maps = []
for line in maps:
    start, end = (int(x, 16) for x in line.split()[0].split("-"))
    if "r" not in line.split()[1] or "[v" in line: continue
    memory.seek(start)
    try: block = memory.read(end - start)
    except OSError: continue
    at = block.find(needle)
    if at >= 0 and block.count(needle) > 0 and not line.endswith("[stack]"):
        own = start <= id(needle) < end
        found += ["memory"] * (block.count(needle) - (1 if own else 0))
    del block
print(len(found))
"""


def test_a_program_finds_nothing_of_an_earlier_program_in_memory(isolation, own_servers):
    """Compared with a word that nobody ever used: the search itself holds the needle more than once."""
    tokens = ["earlier" + secrets.token_hex(8), "nobody." + secrets.token_hex(8)]
    assert attack(f"x = {tokens[0]!r}\nprint(x[:7])", isolation).stdout == "earlier\n"
    counts = [int(attack(_SEARCH, isolation, {"first": token[:9], "second": token[9:]}).stdout) for token in tokens]
    assert counts[0] <= counts[1]


def test_a_program_does_not_see_our_modules(isolation):
    source = """
    import gc
    gc.unfreeze()
    names = {getattr(thing, "__module__", "") for thing in gc.get_objects() if isinstance(thing, type)} | set(sys.modules)
    print(sorted(name for name in names if isinstance(name, str) and "evaluate" in name or "problems" in str(name)))
    """
    assert attack(source, isolation).stdout == "[]\n"


def test_programs_do_not_share_their_chance(isolation):
    """A fork of one warm interpreter: its generators must not give all programs the same numbers, nor what the next one will get."""
    source = "import random, uuid; print(random.random(), uuid.uuid4(), os.urandom(4).hex())"
    outputs = [attack(source, isolation).stdout.split() for _ in range(2)]
    assert all(a != b for a, b in zip(*outputs, strict=True))


def test_a_core_is_not_dumped(isolation, own_servers):
    before = set(os.listdir("/proc/self/cwd"))
    source = (
        "x = bytearray(2**20)\nif os.fork() == 0: ctypes.string_at(0)\n_, status = os.wait()\nprint(os.WCOREDUMP(status), os.listdir())"
    )
    assert attack(source, isolation).stdout == "False ['main.py']\n"
    assert set(os.listdir("/proc/self/cwd")) == before
    assert not list(own_servers.rglob("core*"))
