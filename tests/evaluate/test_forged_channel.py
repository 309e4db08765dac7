"""What a program writes into the channel of answers itself neither passes nor breaks the judge."""

from __future__ import annotations

import marshal
import struct
from typing import Any

import pytest

from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests
from tests.evaluate.judge_in_process import TASK_IDS, part_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def frame(letter: bytes, value: Any, before: bytes = b"") -> bytes:
    content = before + marshal.dumps(value, 2)
    return letter + struct.pack("<I", len(content)) + content


# What a program may write into the channel itself, to pass or to bring down the judge. The expected value is 0.5.
FORGERIES = {
    "nothing under the name of a float": frame(b"P", ("subclass", "float", ("list", []))),
    "no float under the name of a float": frame(b"P", ("subclass", "float", ("numpy", "float64", 0.5 + 1e-8))),
    "an empty array under the name of a float": frame(b"P", ("subclass", "float", ("ndarray", "float64", ("list", [])))),
    "a malformed summary": frame(b"D", (1, 2), bytes(16)),
    "a summary that is none": frame(b"D", 5, bytes(16)),
    "a digest and no summary": b"D" + struct.pack("<I", 16) + bytes(16),
    "a list as its own summary": frame(b"D", ("list", 3000, True, True), bytes(16)),
    "too large an array": frame(b"P", ("ndarray", "U536870911", ("list", [("v", "a")] * 5000))),
    "the type of an array that cannot be parsed": frame(b"P", ("numpy", ",", 1)),
    "too large a string": frame(b"P", ("numpy", "S", 10**15)),
    "no letter at all": b"\xff" + struct.pack("<I", 0),
    "a second beginning": frame(b"L", 0),
    "the times": frame(b"T", [0.0]),
    "too long a frame": b"V" + struct.pack("<I", 2**32 - 1) + b"x" * 100,
    "an end of nothing": b"V" + struct.pack("<I", 1) + b"0",
    "a tree without nodes": frame(b"P", ()),
    "a value of no kind": frame(b"P", ("v",)),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_what_a_program_writes_into_the_channel_neither_passes_nor_breaks_the_judge(scorer, forgery):
    tests = FunctionTests("humaneval", "def f():\n    return 0.5\n", part_of([()]), part_of([()]), 0.0)
    program = f"import os\ndef f():\n    os.write(4, {forgery!r})\n    os._exit(0)\n"
    task = Task(next(TASK_IDS), "", "f", tests)
    verdict = scorer.judge(task, program)
    assert verdict.status in ("failed", "memory", "crashed"), verdict
    honest = "import os\ndef f():\n    return 0.5\n"
    assert scorer.judge(task, honest).status == "passed"
