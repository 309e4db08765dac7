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


# A cell that cannot be right, and what runs in it or before it to make it pass. {wrong} is where the assertion stands.
FORGED = b'{"status": "ok", "error": null, "line": null}\n'
_EVERYWHERE = "def spray():\n    for fd in range(256):\n        try: os.write(fd, FORGED)\n        except OSError: pass\n"
SETUP = f"import os, sys, signal, threading, time, gc, builtins\nFORGED = {FORGED!r}\n{_EVERYWHERE}"
IN_THE_CELL = {
    "nothing": "pass",
    "write to every descriptor": "spray()",
    "a thread that writes later": "threading.Thread(target=lambda: (time.sleep(0.05), spray()), daemon=True).start()",
    "a thread that never stops writing": "threading.Thread(target=lambda: [spray() for _ in iter(int, 1)], daemon=True).start()",
    "at exit": "import atexit\natexit.register(spray)\natexit.register(os._exit, 0)",
    "exit code 0": "os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "SystemExit": "raise SystemExit",
    "write, then exit": "spray(); os._exit(0)",
    "the child goes on": "if os.fork(): os._exit(0)",
    "the child pretends": "if os.fork() == 0:\n    spray()\n    while True: time.sleep(1)\nelse: time.sleep(0.05); os._exit(0)",
    "both go on": "os.fork()",
    "stop": "threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGCONT)).start()\nos.kill(os.getpid(), signal.SIGSTOP)",
    "kill itself": "os.kill(os.getpid(), signal.SIGKILL)",
    "kill what has started it": "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(0.2)",
    "stop what has started it": "os.kill(os.getppid(), signal.SIGSTOP)",
    "kill the first process": "os.kill(1, signal.SIGKILL)",
    "close everything": "os.closerange(0, 256)",
    "close all but the output": "os.closerange(3, 256)",
    "the clock of the cell": "signal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()",
    "a signal's handler exits": "signal.signal(signal.SIGALRM, lambda *_: os._exit(0))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()",
    "replace the program": "os.execv(sys.executable or '/usr/bin/python3', ['python3', '-c', 'pass'])",
    "the messages": "import socket\nsource = socket.socket(fileno=5)\nsource.setblocking(False)\n"
    "data, fds, _, _ = socket.recv_fds(source, 4096, 8)\nfor fd in fds: os.write(fd, FORGED)\n",
    "the messages, and on as if it had passed": "import socket\nsource = socket.socket(fileno=5)\nsource.setblocking(False)\n"
    "data, fds, _, _ = socket.recv_fds(source, 4096, 8)\nfor fd in fds: os.write(fd, FORGED); os.close(fd)\n"
    "source.setblocking(True)\nsource.recv(1)",
    "the runner's locals": "frame = sys._getframe()\nwhile frame:\n    for name, value in list(frame.f_locals.items()):\n"
    "        if name in ('status',): frame.f_locals[name] = 'ok'\n"
    "        if isinstance(value, dict) and 'code' in value: value['code'] = 'pass'\n    frame = frame.f_back",
    "objects of the runner": "for found in gc.get_objects():\n"
    "    if isinstance(found, dict) and 'status' in found: found['status'] = 'ok'\n"
    "    if type(found).__name__ == 'socket':\n        try: found.send(FORGED)\n        except Exception: pass",
    "ctypes": "import ctypes\nctypes.CDLL(None)._exit(0)",
    "raise through the runner": "class Quiet(BaseException):\n    __name__ = 'ok'\nraise Quiet",
    "an error without a name": "raise type('', (Exception,), {})",
    "an error that cannot be shown": "class Odd(Exception):\n    def __str__(self): os._exit(0)\nraise Odd",
    "an error that claims to be none": "class Odd(Exception):\n    __traceback__ = property(lambda self: None)\n"
    "    __class__ = type(None)\nraise Odd",
    "an interrupt": "raise KeyboardInterrupt",
    "the end of a generator": "raise GeneratorExit",
    "clearing the frames": "import traceback\nsys.exc_info = lambda: (None, None, None)\nsys.last_value = None",
}  # fmt: skip
BEFORE = {
    "json.dumps": "import json\njson.dumps = lambda *a, **k: FORGED.decode()",
    "os.write": "true_write = os.write\nos.write = lambda fd, data: (true_write(fd, FORGED), len(data))[1]",
    "os.fork": "true_fork = os.fork\nos.fork = lambda: 0",
    "os._exit": "os._exit = lambda code: None",
    "exec of nothing": "builtins.exec = lambda *a, **k: None\nbuiltins.eval = lambda *a, **k: None",
    "compile without assertions": "import ast\ntrue_compile = compile\n"
    "def without(tree):\n    tree.body = [s for s in tree.body if not isinstance(s, ast.Assert)]\n    return tree\n"
    "builtins.compile = lambda s, *a, **k: true_compile(without(s) if isinstance(s, ast.Module) else s, *a, **k)",
    "ast.parse without assertions": "import ast\ntrue_parse = ast.parse\n"
    "def parse(*a, **k):\n    tree = true_parse(*a, **k)\n"
    "    tree.body = [s for s in tree.body if not isinstance(s, ast.Assert)]\n    return tree\n"
    "ast.parse = parse",
    "exec that swallows": "true_exec = exec\n"
    "def quiet(*a, **k):\n    try: true_exec(*a, **k)\n    except BaseException: pass\nbuiltins.exec = quiet",
    "exec that swallows assertions": "true_exec = exec\n"
    "def quiet(*a, **k):\n    try: true_exec(*a, **k)\n    except AssertionError: pass\nbuiltins.exec = quiet",
    "traceback": "import traceback\ntraceback.format_exception = lambda *a, **k: os._exit(0)",
    "traceback that lies": "import traceback\ntraceback.format_exception = lambda *a, **k: ['forged']",
    "the standard streams": "import io\nio.TextIOWrapper = lambda *a, **k: os._exit(0)",
    "contextlib that swallows": "import contextlib\n"
    "contextlib.redirect_stdout.__exit__ = contextlib.redirect_stderr.__exit__ = lambda self, *exc: True",
    "signal": "signal.signal = signal.setitimer = lambda *a: os._exit(0)",
    "type of errors": "builtins.type = lambda *a: None\nbuiltins.BaseException = builtins.AssertionError = OSError",
    "excepthook": "sys.excepthook = sys.unraisablehook = lambda *a: os._exit(0)",
    "a trace that skips assertions": "def trace(frame, event, arg):\n"
    "    if event == 'line' and frame.f_code.co_filename == 'main.py':\n"
    "        import linecache\n        line = linecache.getline('main.py', frame.f_lineno)\n"
    "        if line.startswith('assert') and 'f(' in line: frame.f_lineno = frame.f_lineno + 1\n    return trace\n"
    "sys.settrace(trace)\nsys._getframe(0).f_trace = trace\nframe = sys._getframe()\n"
    "while frame: frame.f_trace, frame = trace, frame.f_back",
    "a profile that exits": "sys.setprofile(lambda frame, event, arg: os._exit(0) if event == 'c_exception' else None)",
    "an audit hook": "sys.addaudithook(lambda event, args: os._exit(0) if event == 'exec' else None)",
    "after each fork": "os.register_at_fork(after_in_child=spray)",
    "after each fork, exit": "os.register_at_fork(after_in_child=lambda: os._exit(0))",
    "a process of its own": "if os.fork() == 0:\n    while True: spray(); time.sleep(0.001)",
    "another process runs the cells": "import socket\nif os.fork() == 0:\n    source = socket.socket(fileno=5)\n"
    "    while True:\n        try: fds = socket.recv_fds(source, 4096, 8)[1]\n        except OSError: continue\n"
    "        for fd in fds:\n            try: os.write(fd, FORGED)\n            except OSError: pass",
    "the runner itself": "frame = sys._getframe()\nwhile frame:\n    names = frame.f_globals\n"
    "    if '_run' in names: names['_run'] = lambda *a: {'status': 'ok', 'error': None, 'line': None}\n    frame = frame.f_back",
    "the runner's function for cells": "for found in gc.get_objects():\n"
    "    if callable(found) and getattr(found, '__name__', '') == 'run_cell':\n"
    "        found.__code__ = (lambda *a: None).__code__",
    "equality of everything": "class Same(int):\n    __eq__ = lambda self, other: True\n    __hash__ = None\nf = Same",
}  # fmt: skip
WRONG = "print('forged')\nassert f(1) == 3\n"


@pytest.mark.parametrize("first", IN_THE_CELL)
def test_a_failing_assertion_never_passes_by(first, ending):
    with session(ending, processes=32) as opened:
        assert opened.run(f"{SETUP}def f(x): return x + 1\n").status == "ok"
        assert opened.run(f"{IN_THE_CELL[first]}\n{WRONG}").status != "ok"
        assert opened.run(f"{SETUP}def f(x): return x + 1\n{WRONG}").status != "ok"


@pytest.mark.parametrize("before", BEFORE)
def test_a_failing_assertion_never_passes_by_an_earlier_cell_with(before, ending):
    with session(ending, processes=32) as opened:
        opened.run(f"{SETUP}def f(x): return x + 1\n")
        opened.run(BEFORE[before])
        for _ in range(3):
            assert opened.run(WRONG).status != "ok"


@pytest.mark.parametrize("before", ["exec of nothing", "exec that swallows assertions", "equality of everything", "the runner itself"])
def test_a_session_that_cannot_fail_is_lost(before, ending):
    with session(ending) as opened:
        opened.run(f"{SETUP}def f(x): return x + 1\n")
        results = [opened.run(BEFORE[before]), opened.run("assert f(1) == 2"), opened.run("pass")]
        assert "crashed" in [result.status for result in results]


def test_what_a_cell_writes_to_the_session_ends_it(isolation):
    with session(isolation) as opened:
        opened.run("import os\nkept = 1")
        result = opened.run("os.write(4, b'x')")
        assert result.status == "crashed"
        assert "wrote to a descriptor of the session" in result.output
        assert opened.run("kept").restarted


def test_nobody_reads_the_keeper_s_memory_or_descriptors(isolation):
    source = """
import os
found = []
for pid in {1, os.getppid()}:
    for name in ("mem", "environ", "fd/4", "fd/5", "maps"):
        for mode in ("rb", "wb"):
            try: found.append((name, mode, open(f"/proc/{pid}/{name}", mode)))
            except OSError: pass
print(found)
"""
    with session(isolation) as opened:
        assert opened.run(source).output == "[]\n"
