"""Two judges for the tests of forged verdicts, in a process of their own, and what attacks on them are made of.

`answers`: the program's answers to inputs are compared by us (`FunctionTests`). `asserts`: tests that are programs, run in another
process than the solution (`ProgramTests`). What they ask for is a keyed digest of the input, with a new key each time: the right
answers cannot be known without the key, which only the right solution holds.

The judge works in a process of its own, so that one that hangs, dies or eats memory is a failed test and not a stuck test run. After
every attack a right solution must pass at once, on the same warm servers.
"""

from __future__ import annotations

import contextlib
import marshal
import multiprocessing
import os
import re
import resource
import secrets
import tempfile
import textwrap
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.base import Task
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
from reflectioncoder.evaluate.judges.evalplus.data import FunctionTests, Part, PartName
from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, request_for
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.forkserver import SERVERS
from reflectioncoder.sandbox.isolation import ISOLATIONS, Isolation
from reflectioncoder.sandbox.limits import Limits

LIMITS = Limits(wall_s=4, cpu_s=2, memory_bytes=2**29, processes=16)
PATIENCE_S = 120.0  # for the judge to return at all: a time-out is taken again where the machine turns slower
BOUND_S = 60.0  # within which it must have, on a busy machine too
BOUND_BYTES = 2**30  # of the judge's own memory
JUDGES = ("answers", "asserts")
KEY = "key-" + secrets.token_hex(16)
INPUTS = {"base": [[3, 1, 2], [], [10, -4, 7, 7]], "plus": [[5], [0, 0, 9], [8, 6, 4]]}

_SOLUTION = """
import hashlib
def solve(xs):
    d = hashlib.sha256((KEY + repr(xs)).encode()).hexdigest()
    return EXPRESSION
"""
# What is asked for, by the type of the answer. `d` is the digest in hexadecimal.
KINDS = {
    "text": "'answer-' + d[:32]",
    "integer": "int(d[:8], 16)",
    "real": "int(d[:8], 16) / 1024 + 0.1",
    "one real": "[int(d[:8], 16) / 1024 + 0.1]",
    "reals": "[int(d[:8], 16) / 1024 + 0.1, int(d[8:16], 16) / 1024 + 0.1]",
    "items": "[int(c, 16) for c in d[:9]]",
    "table": "{d[:8]: int(d[8:12], 16), d[12:20]: 1}",
    "set": "{int(d[:8], 16), int(d[8:16], 16)}",
    "many items": "[int(d[:8], 16) + n for n in range(2000)]",
    "many reals": "[int(d[:8], 16) / 1024 + 0.1 + n for n in range(1500)]",
    "thousands of reals": "[int(d[:8], 16) / 1024 + 0.1 + n for n in range(20_000)]",
    "points": "{(x, y) for x in range(-25, 25) for y in range(-25, 25)} | {(int(d[:8], 16), 0)}",  # hash(-1) == hash(-2)
}
# For these the judge of answers compares sets, as MBPP+ has it.
SET_KIND, SET_ENTRY_POINT = "items as set", "Diff"


def solution(kind: str) -> str:
    source = _SOLUTION.replace("KEY", repr(KEY)).replace("EXPRESSION", KINDS.get(kind, KINDS["items"]))
    return source.replace("solve", SET_ENTRY_POINT) if kind == SET_KIND else source


@cache
def task(judge: str, kind: str) -> Task:
    entry_point = SET_ENTRY_POINT if kind == SET_KIND else "solve"
    source = solution(kind)
    if judge == "answers":
        parts = [Part(marshal.dumps([[xs] for xs in inputs], 2), len(inputs)) for inputs in INPUTS.values()]
        tests = FunctionTests("mbpp" if kind == SET_KIND else "humaneval", source, *parts, atol=0)
        return Task(f"forged/{kind}", "", entry_point, tests)
    scope: dict[str, Any] = {}
    exec(source, scope)
    programs = []
    for xs in INPUTS["base"]:
        expected = scope[entry_point](list(xs))
        call = f"{entry_point}({xs!r})"
        close = kind in ("real", "one real", "reals", "many reals")
        test = f"import math\nanswer = {call}\nexpected = {expected!r}\n"
        if kind == "real":
            test += "assert math.isclose(answer, expected)\nassert abs(answer - expected) < 1e-6\nassert isinstance(answer, float)"
        elif close:
            test += "assert len(answer) == len(expected)\nassert all(math.isclose(a, b) for a, b in zip(answer, expected, strict=True))"
        else:
            test += "assert answer == expected"
        programs.append(test)
    return Task(f"forged/{kind}", "", entry_point, ProgramTests(tuple(programs)))


def benchmark_of(judge: str, *tasks: Task, parts: tuple[PartName, ...] = ("base",)) -> Benchmark:
    if judge == "answers":
        return Benchmark("t", "1", "", tasks, EvalPlusJudge(parts), request_for)
    return Benchmark("t", "1", "", tasks, ProgramsJudge(), request_for)


# The judge's own process


@dataclass(frozen=True)
class Outcome:
    """`status` is a verdict's, or "raised" where the judge itself broke."""

    status: str
    detail: str
    seconds: float
    peak_bytes: int = 0


def serve_judgements(connection: Any, cache: str, folder: str) -> None:
    """In the judge's process: (judge, task, solution, isolation's name or None, parts) → Outcome, until nobody asks."""
    os.environ["REFLECTIONCODER_CACHE"] = cache
    tempfile.tempdir = folder
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, resource.getrlimit(resource.RLIMIT_AS)[1]))  # spares this machine
    scorers: dict[Any, Scorer] = {}
    try:
        while True:
            judge, wanted, source, name, parts = connection.recv()
            isolation = ISOLATIONS[name] if name else detect_isolation()
            key = judge, isolation, parts
            if key not in scorers:
                scorers[key] = Scorer(benchmark_of(judge, parts=parts), LIMITS, "evalplus-0.3.1", isolation=isolation)
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
            began = time.monotonic()
            try:
                verdict = scorers[key].judge(wanted, source)
                status, detail = verdict.status, verdict.detail
            except BaseException as error:
                status, detail = "raised", f"{type(error).__name__}: {error}"[:500]
            connection.send(Outcome(status, detail, time.monotonic() - began, _peak_bytes()))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        SERVERS.close()


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


class Judge:
    """Asks the judge's process; starts another one where it has been killed."""

    def __init__(self, folder: Path):
        self.cache = folder / "cache"
        self._boxes = folder / "boxes"
        for path in (self.cache, self._boxes):
            path.mkdir()
            path.chmod(0o755)
        self._process: Any = None
        self._connection: Any = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, str(self.cache), str(self._boxes))
        self._process = context.Process(target=serve_judgements, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        for judge in JUDGES:
            for _ in range(2):  # servers, expected values
                assert self.ask(judge, "text", solution("text")).status == "passed"

    def ask(
        self, judge: str, kind: str | Task, source: str, isolation: Isolation | None = None, parts: tuple[PartName, ...] = ("base",)
    ) -> Outcome:
        wanted = kind if isinstance(kind, Task) else task(judge, kind)
        if self._process is None:
            self.start()
        began = time.monotonic()
        try:
            self._connection.send((judge, wanted, source, isolation.name if isolation else None, parts))
            if self._connection.poll(PATIENCE_S):
                return self._connection.recv()
            outcome = Outcome("raised", f"the judge hangs: no verdict within {PATIENCE_S:g} s", time.monotonic() - began)
        except (EOFError, OSError) as error:
            outcome = Outcome("raised", f"the judge's process died: {error!r}", time.monotonic() - began)
        self.close()
        return outcome

    def close(self) -> None:
        if self._process is not None:
            self._connection.close()
            self._process.join(2)
            self._process.kill()
            self._process.join()
            self._process = None


# What an attack that was not tried at all would end with: a mistake in its source.
_MISTAKE = re.compile(
    r"NameError|ImportError|ModuleNotFoundError|SyntaxError: (?!answer)|IndentationError|'NoneType' object is not callable"
)


@dataclass(frozen=True)
class Attack:
    """A program, how it may end, and the type of the answer that it is asked for."""

    source: str
    ends: tuple[str, ...] = ("failed",)
    kind: str = "text"


def assert_repelled(
    judge: Judge, name: str, attack: Attack | str, kind: str = "", isolation: Isolation | None = None, may_lack: bool = False
) -> Outcome:
    attack = Attack(attack) if isinstance(attack, str) else attack
    kind = kind or attack.kind
    source = PRELUDE + textwrap.dedent(attack.source)
    if kind == SET_KIND:
        source = source.replace("def solve(", f"def {SET_ENTRY_POINT}(")
    outcome = judge.ask(name, kind, source, isolation)
    assert outcome.status != "passed", "a forged verdict"
    assert outcome.status in attack.ends, outcome
    assert may_lack or not _MISTAKE.search(outcome.detail), outcome
    assert outcome.seconds < BOUND_S, outcome
    assert outcome.peak_bytes < BOUND_BYTES, outcome
    after = judge.ask(name, kind, solution(kind), isolation)
    assert after.status == "passed", f"a right solution after the attack: {after}"
    return outcome


# Names for the attacks: posix and io have what EvalPlus's guard takes away from os and builtins.
PRELUDE = f"""
import io, marshal, os, posix, struct, sys, time
GUESS = "answer-" + "0" * 32
nan, inf = float("nan"), float("inf")
INPUTS = {INPUTS["base"]!r}
def frame(letter, content=b""):
    return letter + struct.pack("<I", len(content)) + content
def plain(value):
    return frame(b"V", marshal.dumps(value, 2))
def tree(value):
    return frame(b"P", marshal.dumps(value, 2))
def send(data, fd=4):
    data = memoryview(data)
    while data: data = data[posix.write(fd, data):]
LOADED = frame(b"L")
def answers(one, number=3):
    "Answers to that many calls; the judge of asserts reads the arguments after each, which the other one takes for an answer."
    return one * number
"""


def both(attacks: dict[str, Any]) -> Any:
    """Parameters: each attack against both judges."""
    return pytest.mark.parametrize(("how", "name"), [(how, name) for how in attacks for name in JUDGES])


LATE = "def solve(xs): return GUESS"
END = "\nposix._exit(0)\n"


_EQUAL = """
class {name}({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __len__(self): return 2
    def __bool__(self): return True
    def __iter__(self): return iter((Equal(), Equal()))
    def __getitem__(self, at): return Equal()
    def __float__(self): return 0.0
    def __int__(self): return 0
    __index__ = __int__
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __abs__ = __mod__ = lambda self, *a: 0
    def __array__(self, *a, **k):
        import numpy
        return numpy.zeros(0)
    def __array_ufunc__(self, *a, **k): return True
    def __array_function__(self, *a, **k): return True
    def __getattr__(self, name): return lambda *a, **k: True
    def __reduce_ex__(self, protocol): return (eval, ("__import__('os')._exit(0)",))
    def __repr__(self): return GUESS
    __str__ = __format__ = __repr__
    def __instancecheck__(self, other): return True
{more}
"""


def equal(base: str = "object", make: str = "Equal()", more: str = "") -> str:
    first = _EQUAL.format(name="Equal", base="object", more="")
    return first + _EQUAL.format(name="Liar", base=base, more=more) + f"\ndef solve(xs): return {make}"


def judged(judge: Judge, tests: tuple[str, ...], source: str, setup: str = "") -> Outcome:
    return judge.ask("asserts", Task("forged/tests", "", "solve", ProgramTests(tests, setup)), PRELUDE + textwrap.dedent(source), None)
