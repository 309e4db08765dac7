"""Calling a function of an untrusted program with inputs of ours: the answers come back as data, nothing else does.

`call` runs one program to its end, to a limit, or until the consumer of its answers has seen enough. Limits are on the program's
own time (see `Running.own_time_s`), so that the load of the machine does not decide.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from reflectioncoder.sandbox.answers import MAX_FRAME_BYTES, MAX_WHOLE_FRAME_BYTES, BrokenAnswerError, FrameReader
from reflectioncoder.sandbox.forkserver import SERVERS, WATCH_INTERVAL_S, Running, preload_for
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import Pipes

_END_PATIENCE_S = 1.0  # from closing its channel to its end

CallEnd = Literal["stopped", "ended", "timeout", "memory", "crashed", "broken"]
"""stopped: by the consumer; ended: the program did; broken: it sent something that is no answer."""


@dataclass(frozen=True)
class Calls:
    """A program and what it is called with.

    Attributes:
        inputs: a list of argument lists, one a call, marshalled (version 2); None: they come one by one (see `asserted`).
        stack_depth: frames that count against the recursion limit of 1000 before the program's own; 0: as it comes.
        guard: take away the names that EvalPlus's guard takes away.
        reference: the program is ours: long answers are described more closely, and the time of each call is sent at the end.
        in_full: the calls whose answers are sent whole, however long.
        flush_before: calls with another time limit than their neighbours: all answers before them are sent first.
        as_set: answers are compared as sets, so those of other iterable types are wanted as sets.
    """

    source: str
    entry_point: str
    inputs: bytes | None
    stack_depth: int = 0
    guard: bool = True
    reference: bool = False
    in_full: tuple[int, ...] = ()
    flush_before: tuple[int, ...] = ()
    as_set: bool = False

    def payload(self) -> dict[str, Any]:
        """What `runtime.programs` takes."""
        return {
            "source": self.source.encode("utf-8", "surrogatepass"),
            "entry_point": self.entry_point,
            "inputs": self.inputs,
            "depth": self.stack_depth,
            "guard": self.guard,
            "reference": self.reference,
            "in_full": list(self.in_full),
            "flush_before": list(self.flush_before),
            "as_set": self.as_set,
        }


@dataclass(frozen=True)
class CallReport:
    end: CallEnd
    own_time_s: float
    duration_s: float
    detail: str = ""


def call(
    calls: Calls,
    limits: Limits,
    isolation: Isolation,
    consume: Callable[[str, bytes], bool],
    time_limit_s: Callable[[int], float],
    core: int | None = None,
) -> CallReport:
    """Run the program.

    Args:
        limits: `wall_s` is the limit on the own time of the whole.
        consume: takes each frame (letter, content); False ends the run.
        time_limit_s: own seconds from frame n - 1 to frame n; frame 0 comes when the program has been loaded.
        core: the processor that it is kept on.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    with SERVERS.lend(isolation, preload_for(calls.source)) as server, Pipes(4) as pipes:
        running = server.start("calls", calls.payload(), limits, pipes.theirs)
        if core is not None:
            with contextlib.suppress(OSError):  # it has ended, or is another user's: it runs where it may
                os.sched_setaffinity(running.pid, {core})
        pipes.close_theirs()
        end, detail, own_time_s = _follow(running, pipes.ours[4], consume, time_limit_s, bool(calls.in_full))
        duration_s = time.monotonic() - running.started_at
        report = running.finish(_END_PATIENCE_S if end == "ended" else 0.0)
        if end == "ended" and (exceeded := running.out_of_memory()):
            end, detail = exceeded.status, exceeded.reason
    if end == "ended" and report["signal"] is not None:
        end = "timeout" if running.out_of_cpu_time() else "crashed"
        detail = f"killed by signal {report['signal']}"
    return CallReport(end, own_time_s, duration_s, detail)


def _follow(
    running: Running, channel: int, consume: Callable[[str, bytes], bool], time_limit_s: Callable[[int], float], in_full: bool
) -> tuple[CallEnd, str, float]:
    frames = FrameReader(MAX_WHOLE_FRAME_BYTES if in_full else MAX_FRAME_BYTES)
    num_frames = 0
    ended = running.report is not None
    since = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        if not ended:
            selector.register(running.control_fd, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select(WATCH_INTERVAL_S)}
            if channel in ready:
                data = os.read(channel, 1 << 18)
                before = num_frames
                try:
                    for letter, content in frames.feed(data):
                        num_frames += 1
                        if not consume(letter, content):
                            return "stopped", "", running.own_time_s()
                except BrokenAnswerError as error:
                    return "broken", str(error), running.own_time_s()
                if not data:  # it has closed the channel: it has ended, or it never will
                    return "ended", "ended before its last answer", running.own_time_s()
                if num_frames > before:
                    since = running.own_time_s()
            elif ready and running.poll():
                os.set_blocking(channel, False)  # what it has sent is there: read on to the end
                selector.unregister(running.control_fd)
                ended = True
            elif ended:
                return "ended", "ended before its last answer", running.own_time_s()
            left_s = min(time_limit_s(num_frames), running.limits.wall_s - since)
            if exceeded := running.watch(left_s, since_s=since):
                return exceeded.status, exceeded.reason, running.own_time_s()
