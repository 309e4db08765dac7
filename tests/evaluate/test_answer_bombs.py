"""Answers that are bombs: read or refused in time and memory that are in proportion to their bytes."""

from __future__ import annotations

import marshal
import os
import resource
import signal
import struct
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from reflectioncoder.evaluate.judges.evalplus.oracles import matches
from reflectioncoder.sandbox.answers import BrokenAnswerError, FrameReader, decode, read_value, rebuild
from reflectioncoder.sandbox.runtime.encoding import portable

MODULUS = 2**61 - 1  # integers that differ by it have one hash
MIB = 2**20


def costs(work: Callable[[], Any]) -> tuple[str, float, float]:
    """(outcome, CPU seconds, MiB at the highest) of some work, in a process of its own that is stopped at 3 s and 2 GiB."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        outcome = "other"
        try:
            most = int(_memory("VmSize") + 2048) * MIB
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            with open("/proc/self/clear_refs", "w") as handle:
                handle.write("5")
            before = _memory("VmRSS")
            began = time.process_time()
            try:
                work()
                outcome = "read"
            except BrokenAnswerError:
                outcome = "refused"
            except BaseException as error:
                outcome = type(error).__name__
            seconds = time.process_time() - began
            os.write(theirs, f"{outcome} {seconds} {_memory('VmHWM') - before}".encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as handle:
        report = handle.read().decode().split()
    os.waitpid(pid, 0)
    return (report[0], float(report[1]), float(report[2])) if report else ("too long", 3.0, 0.0)


def _memory(name: str) -> float:
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1]) / 1024 for line in handle if line.startswith(f"{name}:"))


def _in_list(item: bytes, count: int) -> bytes:
    return b"[" + struct.pack("<i", count) + item * count


def _tree(*nodes: Any) -> bytes:
    return marshal.dumps(nodes, 2)


def _colliding(count: int) -> list[int]:
    return [number * MODULUS for number in range(1, count + 1)]


# Each is at most 4 MiB, a sixteenth of what a frame may be.
SIZE = 4 * MIB
BOMBS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "nothing, often": lambda: ("V", _in_list(b"N", SIZE)),
    "empty lists": lambda: ("V", _in_list(b"[" + bytes(4), SIZE // 5)),
    "empty dictionaries": lambda: ("V", _in_list(b"{0", SIZE // 2)),
    "empty texts": lambda: ("V", _in_list(b"u" + bytes(4), SIZE // 5)),
    "floats": lambda: ("V", _in_list(b"g" + struct.pack("<d", 0.5), SIZE // 9)),
    "a long integer": lambda: ("V", b"l" + struct.pack("<i", SIZE // 2) + b"\x01\x02" * (SIZE // 2)),
    "a long text": lambda: ("V", b"u" + struct.pack("<i", SIZE) + b"x" * SIZE),
    "lists in lists, cut off": lambda: ("V", (b"[" + struct.pack("<i", 1000)) * 300),
    "keys that collide": lambda: ("V", marshal.dumps(set(_colliding(3000)), 2)),
    "keys that collide among as many that do not": lambda: (
        "V",
        marshal.dumps(dict.fromkeys([*range(30_001), *_colliding(30_000)]), 2),
    ),
    "items that collide among as many that do not": lambda: (
        "P",
        _tree("set", [("v", item) for item in [*range(30_001), *_colliding(30_000)]]),
    ),
    "a fraction from a text": lambda: ("P", _tree("fraction", "1e9999999", None)),
    "a fraction to be reduced": lambda: ("P", _tree("fraction", 3**3_000_000, 5**2_000_000)),
    "a decimal": lambda: ("P", _tree("decimal", "1e999999999999999999")),
    "bytes by their number": lambda: ("P", _tree("numpy", "S", 1000 * MIB)),
    "an array of long texts": lambda: ("P", _tree("ndarray", "U9999999", ("list", [("v", "a")] * 20))),
    "an array too large": lambda: ("P", _tree("ndarray", "U536870911", ("list", [("v", "a")] * 5000))),
    "numbers too long for their text": lambda: ("P", _tree("object", 10**500_000)),
    "a kind as long as a frame": lambda: ("P", _tree("x" * SIZE, 1)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_read_or_refused_at_a_reasonable_price(name):
    """Far from what it may do without a thought; a frame may be sixteen times as long."""
    letter, content = BOMBS[name]()
    assert len(content) <= SIZE + 100
    outcome, seconds, mebibytes = costs(lambda: read_value(letter, content))
    assert outcome in ("read", "refused")
    assert seconds < 3
    assert mebibytes < 128


@pytest.mark.parametrize(
    ("family", "entry_point", "answer", "expected"),
    [
        pytest.param("mbpp", "Diff", lambda: _colliding(30_000), {1}, id="a set of what collides"),
        pytest.param("humaneval", "f", lambda: [[0.5]] * 6000, [0.5] * 6000, id="a column for a row"),
        pytest.param("humaneval", "f", lambda: 10**1_000_000, 0.5, id="a long integer"),
    ],
)
def test_a_comparison_is_made_or_refused_at_a_reasonable_price(family, entry_point, answer, expected):
    answer = answer()
    types = type(answer).__name__, type(expected).__name__
    outcome, seconds, mebibytes = costs(lambda: matches(family, entry_point, [], (types[0], answer), (types[1], expected), 0.0))
    assert outcome == "read"
    assert seconds < 3
    assert mebibytes < 128


def test_a_long_frame_in_small_pieces_takes_time_in_proportion():
    content = bytes(4 * MIB)
    whole = b"V" + struct.pack("<I", len(content)) + content

    def feed() -> None:
        reader, frames = FrameReader(), []
        for at in range(0, len(whole), 4096):
            frames = list(reader.feed(whole[at : at + 4096]))
        assert len(frames) == 1

    outcome, seconds, _ = costs(feed)
    assert outcome == "read"
    assert seconds < 3


@pytest.mark.parametrize("count", [1500, 5000])
@pytest.mark.parametrize("wrap", [set, frozenset, dict.fromkeys], ids=["set", "frozenset", "dict"])
def test_keys_that_all_have_one_hash_are_refused(wrap, count):
    with pytest.raises(BrokenAnswerError):
        decode(marshal.dumps(wrap(_colliding(count)), 2))
    with pytest.raises(BrokenAnswerError):
        rebuild(portable(wrap([*_colliding(count), Fraction(1, 2)])))


@pytest.mark.parametrize(
    "make",
    [
        lambda: set(range(100_000)),
        lambda: {number << 20 for number in range(20_000)},
        lambda: {-number for number in range(20_000)},
        lambda: {number / 1024 for number in range(20_000)},
        lambda: {(a, b) for a in range(150) for b in range(150)},
        lambda: {str(number) for number in range(20_000)},
        lambda: dict.fromkeys([True, -1, -2, 0.5, None, "", (), *range(2, 20_000)]),
        lambda: set(_colliding(40)),
    ],
    ids=range(8),
)
def test_ordinary_keys_are_not_taken_for_an_attack(make):
    value = make()
    assert decode(marshal.dumps(value, 2)) == value
