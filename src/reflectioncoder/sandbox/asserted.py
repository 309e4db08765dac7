"""Runs tests that are programs against a solution in another process (`runtime.asserts`), and enforces the limits on both."""

from __future__ import annotations

import json
import math
import os
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reflectioncoder.sandbox.forkserver import SERVERS, preload_for
from reflectioncoder.sandbox.functions import Calls
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import Pipes
from reflectioncoder.sandbox.running import WATCH_INTERVAL_S, Running

_END_PATIENCE_S = 1.0
_DONE = b'{"done": true}\n'
_UNSENDABLE = "ValueError: unmarshallable object"

TestsEnd = Literal["ended", "timeout", "memory", "crashed"]


@dataclass(frozen=True)
class TestsReport:
    """The outcome of tests. `rows`: the messages of the tests' process (see `runtime.asserts`); `end`: how the solution ended."""

    __test__ = False  # not a test case despite its name

    end: TestsEnd
    rows: tuple[dict[str, Any], ...]
    duration_s: float
    detail: str = ""

    @property
    def out_of_reach(self) -> dict[int, str]:
        """Return what kept each failed test from being judged, if all of them needed values that no process can send to another: a
        function or a generator as an argument, an object of the program's own class as an answer."""
        found = {}
        for row in self.rows:
            if row.get("passed") is not False:
                continue
            if row.get("opaque"):
                found[row["test"]] = f"an answer is an object of type {row['opaque']}, which cannot be judged outside of the program"
            elif row["detail"] == _UNSENDABLE:
                found[row["test"]] = "an argument is an object that cannot be sent to the program"
            else:
                return {}
        return found


def run_tests(solution: str, entry_point: str, setup: str, tests: Sequence[str], limits: Limits, isolation: Isolation) -> TestsReport:
    """Run every test against the solution. `limits.wall_s` limits the solution's own time, including waits for its tests.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    calls = Calls(solution, entry_point, inputs=None).payload()
    checks = {"entry_point": entry_point, "setup": setup, "tests": list(tests)}
    preload = preload_for(solution)
    with (
        SERVERS.lend(isolation, preload) as solution_server,
        SERVERS.lend(isolation, tuple({"numpy"} & set(preload))) as tests_server,
        Pipes(4) as verdicts,
        Pipes(4) as answers,
        Pipes(5) as requests,
    ):
        running = solution_server.start("calls", calls, limits, {4: answers.theirs[4], 5: requests.ours[5]})
        checking = tests_server.start("asserts", checks, limits, {4: verdicts.theirs[4], 5: answers.ours[4], 6: requests.theirs[5]})
        for pipes in (verdicts, answers, requests):
            pipes.close_theirs()
        answers.close_ours()
        requests.close_ours()
        end, data, detail = _watch(running, checking, verdicts.ours[4])
        duration_s = time.monotonic() - running.started_at
        report = running.finish(_END_PATIENCE_S if not data.endswith(_DONE) and end == "ended" else 0.0)
        checking.finish()
        if end == "ended" and (exceeded := running.out_of_memory()):
            end, detail = exceeded.status, exceeded.reason
    if end == "ended" and report["signal"] is not None and not data.endswith(_DONE):
        end, detail = ("timeout" if running.out_of_cpu_time() else "crashed"), f"killed by signal {report['signal']}"
    rows = tuple(json.loads(line) for line in data.split(b"\n")[:-1])
    return TestsReport(end, rows, duration_s, detail)


def _watch(running: Running, checking: Running, verdicts: int) -> tuple[TestsEnd, bytes, str]:
    """Watch until the tests' process is done or the solution exceeds a limit."""
    data = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(verdicts, selectors.EVENT_READ)
        while True:
            if selector.select(WATCH_INTERVAL_S):
                received = os.read(verdicts, 65536)
                data += received
                if not received:
                    return "ended", bytes(data), ""
            # The processes wait for each other: the limit applies only once the tests' process has had as much own time.
            limit_s = running.limits.wall_s if checking.own_time_s() > running.limits.wall_s else math.inf
            if exceeded := running.watch(limit_s):
                return exceeded.status, bytes(data), exceeded.reason
