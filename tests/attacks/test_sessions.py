"""A session lets the program talk back: it may send anything, and the trusted side must neither believe nor break."""

import time
from dataclasses import replace

import pytest

from reflectioncoder.sandbox.session import CellResult, Session
from tests.attacks.conftest import LIMITS, PRELUDE, SOON_S, new_mark, survivors

ANSWERS = {
    "nothing": b"",
    "half an answer": b'{"status": "ok"',
    "no JSON": b"\xff\xfe\x00",
    "another type": b"[1, 2]",
    "a number": b"1",
    "other fields": b'{"status": "ok"}',
    "another status": b'{"status": "passed", "output": "", "error": null}',
    "a status of another type": b'{"status": ["ok"], "output": "", "error": null}',
    "a status that cannot be a key": b'{"status": {"ok": 1}, "output": "", "error": null}',
    "an output of another type": b'{"status": "ok", "output": 5, "error": null}',
    "an error of another type": b'{"status": "ok", "output": "", "error": {}}',
    "deep nesting": b"[" * 200_000,
    "deep nesting of objects": b'{"a":' * 200_000,
    "a deep field": b'{"status": "ok", "error": null, "output": "", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a long number": b"1" * 100_000,
    "not a number": b'{"status": NaN, "output": "", "error": null}',
    "many answers": b"\n".join([b'{"status": "ok", "output": "forged", "error": null}'] * 5),
    "a lone surrogate": b'{"status": "ok", "output": "\\ud800", "error": null}',
    "a lone surrogate as error": b'{"status": "failed", "output": "", "error": "\\ud800"}',
    "a long error": b'{"status": "failed", "output": "", "error": "' + b"x" * 10**6 + b'"}',
    "a long output": b'{"status": "ok", "output": "' + b"x" * 10**6 + b'", "error": null}',
    "zeros": bytes(10**5),
    "line ends": b"\n" * 100,
}


def session(isolation, **limits):
    return Session(replace(LIMITS, **{"wall_s": 1, **limits}), isolation)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_trusted_side_is_not_broken_by(answer, isolation):
    with session(isolation) as opened:
        result = opened.run(
            f"import os\nos.write(4, {ANSWERS[answer]!r} + b'\\n')\nos._exit(0)" if len(ANSWERS[answer]) < 200 else _long(answer)
        )
        assert isinstance(result, CellResult)
        assert result.status in ("ok", "failed", "timeout", "crashed")
        assert len(result.output) <= LIMITS.output_bytes + 100
        assert len(result.error or "") <= 1000
        (result.output + (result.error or "")).encode()


def _long(answer):
    expressions = {
        "deep nesting": "b'[' * 200_000",
        "deep nesting of objects": "b'{\"a\":' * 200_000",
        "a deep field": 'b\'{"status": "ok", "error": null, "output": "", "x": \' + b"[" * 100_000 + b"]" * 100_000 + b"}"',
        "a long number": "b'1' * 100_000",
        "a long error": 'b\'{"status": "failed", "output": "", "error": "\' + b"x" * 10**6 + b\'"}\'',
        "a long output": 'b\'{"status": "ok", "output": "\' + b"x" * 10**6 + b\'", "error": null}\'',
        "zeros": "bytes(10**5)",
        "many answers": 'b\'\\n\'.join([b\'{"status": "ok", "output": "forged", "error": null}\'] * 5)',
    }
    return f"import os\ndata = {expressions[answer]} + b'\\n'\nwhile data: data = data[os.write(4, data):]\nos._exit(0)"


def test_a_flood_of_answers_ends(isolation):
    with session(isolation) as opened:
        started = time.monotonic()
        result = opened.run("import os\nwhile True: os.write(4, b'x' * 65536)")
        assert result.status in ("crashed", "timeout")
        assert time.monotonic() - started < SOON_S


@pytest.mark.parametrize(
    "cell",
    [
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass",
        "sum(range(10**12))",
        "import os\nos.close(4)\nos.close(5)\nwhile True: pass",
    ],
    ids=["catches all", "stops the clock", "in C", "closes the channel"],
)
def test_a_cell_that_cannot_be_interrupted_is_ended(cell, ending):
    with session(ending, wall_s=0.2) as opened:
        started = time.monotonic()
        assert opened.run(cell).status in ("timeout", "crashed")
        assert time.monotonic() - started < SOON_S
        assert opened.run("1 + 1").output == "2\n"


def test_nothing_of_a_session_is_left(isolation):
    mark = new_mark()
    with session(isolation) as opened:
        opened.run(f"mark = {mark!r}" + PRELUDE)
        opened.run("for _ in range(3):\n    if os.fork() == 0:\n        while True: time.sleep(60)")
        assert survivors(mark)
    assert survivors(mark) == []


def test_nothing_of_a_session_is_left_after_a_restart(isolation):
    mark = new_mark()
    with session(isolation) as opened:
        opened.run(f"mark = {mark!r}" + PRELUDE + "if os.fork() == 0:\n    while True: time.sleep(60)")
        opened.run("os._exit(1)")
        opened.run("x = 1")
        assert survivors(mark) == []


def test_a_session_inherits_its_channel_and_nothing_else(isolation):
    source = """
import os
found = []
for fd in range(4096):
    try: os.fstat(fd); found.append(fd)
    except OSError: pass
print(found)
"""
    with session(isolation) as opened:
        assert opened.run(source).output == "[0, 1, 2, 4, 5]\n"


def test_a_session_cannot_answer_for_a_later_cell(isolation):
    """An answer sent ahead belongs to nobody: the next cell must not be taken for having said it."""
    with session(isolation) as opened:
        opened.run('import os\nanswer = b\'{"status": "ok", "output": "forged", "error": null}\\n\'')
        opened.run("os.write(4, answer)")
        time.sleep(0.1)
        results = [opened.run("print('honest')") for _ in range(2)]
    assert results[-1].output == "honest\n"
