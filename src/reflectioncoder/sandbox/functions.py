"""Calls a function of an untrusted program with given inputs; its answers come back only as data.

`call` runs one program until it ends, hits a limit, or the consumer of its answers has seen enough. The program gets an input once it
is loaded and has answered the previous one, whether rightly or not. Limits apply to the program's own time (see
`Running.own_time_s`), so that the machine's load does not decide.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from reflectioncoder.sandbox.answers import MAX_FRAME_BYTES, MAX_WHOLE_FRAME_BYTES, BrokenAnswerError, FrameReader
from reflectioncoder.sandbox.forkserver import SERVERS, preload_for
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import Pipes
from reflectioncoder.sandbox.running import WATCH_INTERVAL_S, Running

_END_PATIENCE_S = 1.0  # from a program closing its channel until it ends
_CALLS_FOR_INPUT = "LVDPE"

CallEnd = Literal["stopped", "ended", "timeout", "memory", "crashed", "broken"]
"""stopped: by the consumer; ended: by the program; broken: the program sent a malformed answer."""


@dataclass(frozen=True)
class Calls:
    """A program and the inputs to call it with.

    Attributes:
        inputs: a list of argument lists, one per call, marshalled (version 2); None: another process sends them (see `asserted`).
        stack_depth: frames that count against the recursion limit of 1000 before the program's own; 0: no alignment.
        absent_names: names such as `os.kill` that are None for the program.
        absent_modules: modules that the program cannot import.
        reference: the program is trusted: inputs are sent ahead, long answers are described in more detail, and the time of each call
            is sent at the end.
        in_full: send answers whole, however long. For all calls alike, so that the program cannot tell which answers matter.
        as_set: answers are compared as sets, so other iterables are sent as sets.
        in_turn: the next input depends on the last answer, which is consumed first.
    """

    source: str
    entry_point: str
    inputs: bytes | None
    stack_depth: int = 0
    absent_names: tuple[str, ...] = ()
    absent_modules: tuple[str, ...] = ()
    reference: bool = False
    in_full: bool = False
    as_set: bool = False
    in_turn: bool = False

    def payload(self) -> dict[str, Any]:
        """Return the payload of `runtime.programs`: all fields but the inputs."""
        by_another_process = self.inputs is None
        return {
            "source": self.source.encode("utf-8", "surrogatepass"),
            "entry_point": self.entry_point,
            "stack_depth": self.stack_depth,
            "absent_names": self.absent_names,
            "absent_modules": self.absent_modules,
            "reference": self.reference,
            "in_full": self.in_full or by_another_process,
            "as_set": self.as_set,
            "exhaust": by_another_process,
            "arguments_wanted": by_another_process,
        }

    def requests(self) -> Iterator[bytes]:
        """Yield the inputs in the format of `runtime.calls`."""
        for arguments in marshal.loads(self.inputs or marshal.dumps([], 2)):
            data = marshal.dumps([arguments, {}], 2)
            yield len(data).to_bytes(4, "little") + data


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
        limits: `wall_s` limits the own time of the whole run.
        consume: receives each frame (letter, content); False ends the run.
        time_limit_s: limit in own seconds from frame n - 1 to frame n; frame 0 comes once the program is loaded.
        core: the processor to pin the program to.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program.
    """
    with SERVERS.lend(isolation, preload_for(calls.source)) as server, Pipes(4, 5, reading=(5,)) as pipes:
        running = server.start("calls", calls.payload(), limits, pipes.theirs)
        if core is not None:
            with contextlib.suppress(OSError):  # the program has ended, or belongs to another user: leave it unpinned
                os.sched_setaffinity(running.pid, {core})
        pipes.close_theirs()
        exchange = _Exchange(running, pipes, calls, consume, time_limit_s)
        end, detail = exchange.follow()
        own_time_s, duration_s = running.own_time_s(), time.monotonic() - running.started_at
        report = running.finish(_END_PATIENCE_S if end == "ended" else 0.0)
        if end == "ended" and (exceeded := running.out_of_memory()):
            end, detail = exceeded.status, exceeded.reason
    if end == "ended" and report["signal"] is not None:
        end = "timeout" if running.out_of_cpu_time() else "crashed"
        detail = f"killed by signal {report['signal']}"
    return CallReport(end, own_time_s, duration_s, detail)


class _Exchange:
    """The exchange with a program: sends inputs and receives answers."""

    def __init__(
        self,
        running: Running,
        pipes: Pipes,
        calls: Calls,
        consume: Callable[[str, bytes], bool],
        time_limit_s: Callable[[int], float],
    ):
        self._running = running
        self._channel, self._pipes = pipes.ours[4], pipes
        self._requests = calls.requests()
        self._ahead = calls.reference
        self._in_turn = calls.in_turn
        self._unsent = memoryview(b"")
        self._consume = consume
        self._time_limit_s = time_limit_s
        self._frames = FrameReader(MAX_WHOLE_FRAME_BYTES if calls.in_full else MAX_FRAME_BYTES)
        self._num_frames = 0
        self._poll = select.poll()
        os.set_blocking(pipes.ours[5], False)

    def follow(self) -> tuple[CallEnd, str]:
        """Exchange until the program ends, exceeds a limit, or the consumer has enough; return (how it ended, details)."""
        running, since_s = self._running, 0.0
        ended = running.report is not None
        self._poll.register(self._channel, select.POLLIN)
        if not ended:
            self._poll.register(running.control_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in self._poll.poll(1000 * WATCH_INTERVAL_S)}
            if self._channel in ready:
                data, before = os.read(self._channel, 1 << 18), self._num_frames
                try:
                    if not self._take(data):
                        return "stopped", ""
                except BrokenAnswerError as error:
                    return "broken", str(error)
                if not data:  # the program has closed its channel: it is ending, or has to be stopped
                    return "ended", "ended before its last answer"
                if self._num_frames > before:
                    since_s = running.own_time_estimate_s()
            elif running.control_fd in ready and running.poll():
                os.set_blocking(self._channel, False)  # everything sent has arrived: read to the end
                self._poll.unregister(running.control_fd)
                ended = True
            elif ended:
                return "ended", "ended before its last answer"
            if 5 in self._pipes.ours and self._pipes.ours[5] in ready:
                self._send()
            left_s = min(self._time_limit_s(self._num_frames), running.limits.wall_s - since_s)
            if exceeded := running.watch(left_s, since_s=since_s):
                return exceeded.status, exceeded.reason

    def _take(self, data: bytes) -> bool:
        """Pass on the answers that have arrived, and tell whether to go on.

        The next input is sent first, so that the consumer's time on an answer reveals nothing.
        """
        for letter, content in self._frames.feed(data):
            self._num_frames += 1
            if self._in_turn and not self._consume(letter, content):
                return False
            if letter in _CALLS_FOR_INPUT:
                self._send_next()
            if not self._in_turn and not self._consume(letter, content):
                return False
        return True

    def _send_next(self) -> None:
        if self._unsent or 5 not in self._pipes.ours:  # it answered unread input, or takes no more
            return
        self._unsent = memoryview(next(self._requests, b""))
        if self._unsent:
            self._send()
        else:  # that was the last input
            self._close()

    def _send(self) -> None:
        """Send as much of the input as fits now; for a reference, continue with further inputs."""
        fd = self._pipes.ours[5]
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(fd, self._unsent) :]
                if self._ahead and not self._unsent:
                    self._unsent = memoryview(next(self._requests, b""))
        except BlockingIOError:
            self._poll.register(fd, select.POLLOUT)
            return
        except BrokenPipeError:  # its answers are still read
            self._close()
            return
        if self._ahead:
            self._close()
        else:
            self._unregister(fd)

    def _unregister(self, fd: int) -> None:
        with contextlib.suppress(KeyError):
            self._poll.unregister(fd)

    def _close(self) -> None:
        fd = self._pipes.ours.pop(5)
        self._unregister(fd)
        os.close(fd)
