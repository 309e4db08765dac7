"""Programs that die or try to kill instead of answering, and programs that patch what they find in their own process."""

from __future__ import annotations

from tests.attacks.judges import (
    LATE,
    Attack,
)

_KILLED = ("crashed", "failed")
DYING = {
    "abort": Attack("def solve(xs): posix.abort()", ("crashed",)),
    "abort at the import": Attack("posix.abort()", ("crashed",)),
    "a signal to itself": Attack("def solve(xs): posix.kill(posix.getpid(), 15); time.sleep(0.2); return GUESS", _KILLED),
    "the kill signal to itself": Attack("def solve(xs): posix.kill(posix.getpid(), 9); return GUESS", _KILLED),
    "a signal to its group": Attack("def solve(xs): posix.kill(0, 9); time.sleep(0.2); return GUESS", _KILLED),
    "a signal to everybody": Attack("def solve(xs): posix.kill(-1, 9); return GUESS", _KILLED),
    "a signal to its parent": Attack("def solve(xs): posix.kill(posix.getppid(), 9); return GUESS", _KILLED),
    "a signal to its parent's group": Attack("def solve(xs): posix.kill(-os.getpgid(posix.getppid()), 9)", _KILLED),
    "a stop of its parent": Attack("def solve(xs): posix.kill(posix.getppid(), 19); return GUESS", (*_KILLED, "timeout")),
    "signals to all numbers": Attack(
        "def solve(xs):\n    for pid in range(1, 40000):\n        if pid != posix.getpid():\n            try: posix.kill(pid, 9)\n"
        "            except OSError: pass\n    return GUESS",
        _KILLED,
    ),
    "a wild pointer": Attack("import ctypes\ndef solve(xs): return ctypes.string_at(1)", ("crashed",)),
    "a broken frame": Attack("def solve(xs): exec(solve.__code__.replace(co_code=b'\\x64\\xff' * 4)); return GUESS", _KILLED),
    "the stack": Attack("sys.setrecursionlimit(10**9)\ndef solve(xs): return repr(eval('[' * 90 + ']' * 90)) and solve(xs)",
                        ("crashed", "failed", "memory", "timeout")),
    "memory": Attack("def solve(xs): return bytearray(2**40)", ("memory",)),
    "memory of the tests": Attack("def solve(xs): return [0] * 3_000_000", ("failed", "memory", "timeout")),
    "the end of its processor time": Attack(
        "import ctypes\nctypes.CDLL(None).setrlimit(0, struct.pack('QQ', 1, 1))\ndef solve(xs):\n"
        "    while True: pass", ("timeout", "crashed")
    ),
}  # fmt: skip


# What it can patch in its own process


PATCHES = {
    "compile": "import builtins\nbuiltins.compile = lambda *a, **k: (lambda: None).__code__\n" + LATE,
    "exec": "import builtins\nbuiltins.exec = lambda *a, **k: None\n" + LATE,
    "len": "import builtins\nbuiltins.len = lambda x: 0\n" + LATE,
    "isinstance": "import builtins\nbuiltins.isinstance = builtins.issubclass = lambda *a: True\n" + LATE,
    "type": "import builtins\nbuiltins.type = lambda *a: str\n" + LATE,
    "print": "import builtins\nbuiltins.print = lambda *a, **k: posix._exit(0)\n" + LATE,
    "all and any": "import builtins\nbuiltins.all = builtins.any = lambda *a: True\n" + LATE,
    "zip and enumerate": "import builtins\nbuiltins.zip = builtins.enumerate = builtins.map = lambda *a, **k: iter(())\n" + LATE,
    "abs and round": "import builtins\nbuiltins.abs = builtins.round = lambda *a: 0\n" + LATE,
    "set": "import builtins\nbuiltins.set = builtins.frozenset = lambda *a: 0\n" + LATE,
    "the exceptions": "import builtins\nbuiltins.AssertionError = builtins.BaseException = builtins.Exception = type('X', "
    "(Exception,), {})\n"
    + LATE,
    "every built-in name": "import builtins\nfor name in dir(builtins): setattr(builtins, name, lambda *a, **k: True)\n" + LATE,
    "no built-in names": "import builtins\nvars(builtins).clear()\n" + LATE,
    "marshal.dumps": "import marshal\nmarshal.dumps = lambda *a: b'T'\n" + LATE,
    "marshal.loads": "import marshal\nmarshal.loads = marshal.load = lambda *a: [[]]\n" + LATE,
    "hashlib": "import hashlib\nhashlib.blake2b = hashlib.sha256 = lambda *a, **k: type('H', (), {'update': print, 'digest': "
    "lambda s: bytes(16)})()\n"
    "def solve(xs): return [0] * 5000",
    "struct.pack": "import struct\nstruct.pack = lambda *a: bytes(4)\n" + LATE,
    "os.write": "real = os.write\nos.write = posix.write = lambda fd, data: len(data)\n" + LATE,
    "os._exit": "os._exit = posix._exit = lambda code: None\n" + LATE,
    "the clock": "time.perf_counter = time.monotonic = time.time = iter(range(10**9, 0, -1)).__next__\n" + LATE,
    "the clocks of the process": "time.process_time = time.thread_time = lambda: -1e9\n" + LATE,
    "sleep": "time.sleep = lambda s: None\n" + LATE,
    "unittest": "import unittest\nunittest.TestCase.assertEqual = unittest.TestCase.fail = lambda *a: None\n" + LATE,
    "math.isclose": Attack("import math\nmath.isclose = lambda *a, **k: True\ndef solve(xs): return 1.0", kind="real"),
    "numpy.allclose": Attack("import numpy\nnumpy.allclose = numpy.isclose = lambda *a, **k: True\n"
    "def solve(xs): return [0.0, 0.0]", kind="reals"),
    "numpy.testing": Attack("import numpy.testing\nfor n in dir(numpy.testing):\n"
    "    setattr(numpy.testing, n, lambda *a, **k: None)\ndef solve(xs): return 1.0", kind="real"),
    "numpy's comparison": Attack("import numpy\nnumpy.ndarray = numpy.generic = str\ndef solve(xs): return 1.0", kind="real"),
    "json": "import json\njson.dumps = json.loads = lambda *a, **k: {'done': True}\n" + LATE,
    "operator": "import operator\noperator.eq = lambda *a: True\n" + LATE,
    "the modules": "for name in list(sys.modules): sys.modules[name] = sys.modules['sys']\n" + LATE,
    "no modules": "sys.modules.clear()\n" + LATE,
    "the judge's modules": "import types\nfor name in ('tests', 'reflectioncoder', 'reflectioncoder.evaluate.judges.evalplus.judge', "
    "'reflectioncoder.sandbox.runtime.asserts'):\n"
    "    m = sys.modules[name] = types.ModuleType(name); m.matches = m.judge_part = lambda *a, **k: True\n" + LATE,
    "imports": "import builtins\nreal = builtins.__import__\ndef fake(name, *a, **k):\n    m = real(name, *a, **k)\n    return m\n"
    "builtins.__import__ = fake; sys.meta_path.clear(); sys.path_hooks.clear(); sys.path[:] = ['.']\n" + LATE,
    "a trace": "sys.settrace(lambda frame, event, arg: frame.f_locals.update(answer=GUESS) or None)\n" + LATE,
    "a trace of the caller": "def trace(frame, event, arg):\n    frame.f_trace_lines = True\n    return trace\n"
    "frame = sys._getframe()\n"
    "while frame: frame.f_trace = trace; frame = frame.f_back\nsys.settrace(trace)\n" + LATE,
    "a profile": "sys.setprofile(lambda *a: None)\nimport threading\nthreading.setprofile(lambda *a: None)\n" + LATE,
    "a jump of the caller": "def trace(frame, event, arg):\n    if frame.f_code.co_name != 'solve' and len(sys.orig_argv) < 20:\n"
    "        try: sys.orig_argv.append(''); frame.f_lineno += 3\n        except ValueError: pass\n"
    "    return trace\nsys._getframe(1).f_trace = trace\nsys.settrace(trace)\n" + LATE,
    "the audit": "sys.addaudithook(lambda *a: None)\n" + LATE,
    "the frames above": "frame = sys._getframe()\nwhile frame:\n    for name in list(frame.f_globals):\n"
    "        if callable(frame.f_globals[name]) and frame.f_globals is not globals():\n"
    "            frame.f_globals[name] = lambda *a, **k: (b'V', b'T')\n    frame = frame.f_back\n" + LATE,
    "the encoding of answers": "frame = sys._getframe()\nwhile frame:\n    if 'encode_answer' in frame.f_globals:\n"
    "        frame.f_globals['encode_answer'] = lambda *a: (b'V', b'T')\n    frame = frame.f_back\n" + LATE,
    "the channel": "frame = sys._getframe()\nwhile frame:\n    if 'channel' in frame.f_locals:\n"
    "        c = frame.f_locals['channel']; c.send(b'L', b''); c.send(b'V', b'T'); c.flush()\n    frame = frame.f_back\n" + LATE,
    "the number of inputs": "import gc\nfor x in gc.get_objects():\n"
    "    if type(x) is list and x and x[0] == [INPUTS[0]]: x.clear()\n" + LATE,
    "equality of texts by memory": "import ctypes\nslot = ctypes.c_void_p.from_address(id(str) + 25 * 8)\n"
    "slot.value = ctypes.c_void_p.from_address(id(object) + 25 * 8).value\n" + LATE,
    "the recursion limit": "sys.setrecursionlimit(70)\ndef solve(xs): return solve(xs)",
    "the recursion limit, from the call": "def solve(xs):\n    sys.setrecursionlimit(60)\n    return GUESS",
    "the recursion limit at every call": "def solve(xs):\n    try: return solve(xs)\n    except RecursionError: return GUESS",
    "the switch interval": "sys.setswitchinterval(10**6)\n" + LATE,
    "the garbage collector": "import gc\ngc.set_threshold(1)\n"
    "gc.callbacks.append(lambda *a: posix.write(4, LOADED + plain(True)))\n" + LATE,
    "the limit on digits": "sys.set_int_max_str_digits(0)\ndef solve(xs): return 10 ** 10**5",
    "the streams": "sys.stdout = sys.__stdout__ = open(4, 'w', closefd=False) if open else io.open(4, 'w', closefd=False)\n"
    "print('{\"done\": true}', flush=True)\n" + LATE,
    "the display of results": "sys.displayhook = sys.excepthook = lambda *a: posix._exit(0)\n" + LATE,
}  # fmt: skip
