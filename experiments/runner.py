"""Runs units of work in processes of their own, each unit once: a row in results.jsonl, whatever becomes of the unit.

A row has `unit` (stage/group/unit), `wall_s`, and `result`, or `failed` with the reason. Units of a group share a process and what it
has prepared. Rows are written by the calling process alone; a worker ends with it, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import multiprocessing
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import JsonlAppender, read_json, read_jsonl, write_json
from reflectioncoder.errors import EXIT_DONE, EXIT_INTERRUPTED, MachineError, ReflectionCoderError, UsageError

_MAX_REASON_CHARS = 300
Rows = dict[str, dict[str, Any]]
Measure = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """Settings of a whole experiment: its rows belong together.

    Attributes:
        tiny: tiny shapes on the CPU, to try everything out.
        smollm2: folder with SmolLM2-135M's weights; None: random ones.
        memory_gb: GB that a process may take: of the GPU's memory, or of the machine's once it is ready to measure; None: all.
    """

    tiny: bool = False
    smollm2: str | None = None
    memory_gb: float | None = None

    @property
    def device(self) -> str:
        return "cpu" if self.tiny else "cuda"


@dataclass(frozen=True)
class Group:
    """Units that one process measures in this order. `start` prepares there what they share and returns what measures a unit.

    `resumes`: a unit that is stopped goes on in the next call, so none of them takes too long.
    """

    name: str  # stage/group
    units: tuple[str, ...]
    start: Callable[[Settings, Path, str, Rows], Measure]  # settings, the folder of the experiment, `name`, the rows so far
    resumes: bool = False

    def key(self, unit: str) -> str:
        return f"{self.name}/{unit}"


class Results:
    """The rows of an experiment, by unit, and the file that they are appended to."""

    def __init__(self, directory: Path):
        path = directory / "results.jsonl"
        self._appender = JsonlAppender(path)
        self.rows: Rows = {row["unit"]: row for _, row in read_jsonl(path)}

    def append(self, row: dict[str, Any]) -> None:
        self._appender.append(row)
        self.rows[row["unit"]] = row

    def close(self) -> None:
        self._appender.close()


@contextlib.contextmanager
def opened(directory: Path, settings: Settings) -> Iterator[Results]:
    """Open the results in `directory` for this process alone.

    Raises:
        MachineError: another process has them open.
        UsageError: they are those of other settings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(f"{directory} is in use by another process\n  hint:    wait for it, or name another folder") from None
        owner = directory / "settings.json"
        if owner.is_file() and (found := read_json(owner)) != asdict(settings):
            raise UsageError.for_value(
                "these results were measured with other settings", str(owner), asdict(settings), f"{found}", "name another folder"
            )
        write_json(owner, asdict(settings))
        with contextlib.closing(Results(directory)) as results:
            yield results


def run_groups(groups: Sequence[Group], settings: Settings, directory: Path, results: Results, limit_s: float) -> bool:
    """Measure what has no row yet; return False if the time was over before.

    A unit that is stopped has no row and comes first in the next call, unless it was the first in this one and does not resume: then it
    takes too long.
    """
    deadline = time.monotonic() + limit_s
    in_this_call = 0
    for group in groups:
        while pending := [unit for unit in group.units if group.key(unit) not in results.rows]:
            with _Worker(group, settings, directory, results.rows) as worker:
                for unit in pending:
                    began = time.monotonic()
                    if in_this_call and began >= deadline:
                        return False
                    answer = worker.measure(unit, deadline)
                    if answer is None and (in_this_call or group.resumes):
                        return False
                    answer = answer or {"failed": f"takes longer than the limit of {limit_s:g} s"}
                    row = {"unit": group.key(unit), "wall_s": round(time.monotonic() - began, 3), **answer}
                    results.append(row)
                    in_this_call += 1
                    print(f"{row['unit']}: {row.get('failed') or 'done'} ({row['wall_s']:.1f} s)", flush=True)
                    if not worker.lives:
                        break  # a new process for the rest
    return True


class _Worker:
    """A process that measures units of a group."""

    def __init__(self, group: Group, settings: Settings, directory: Path, rows: Rows):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, group, settings, directory, rows))
        self._process.start()
        theirs.close()
        self.lives = True

    def measure(self, unit: str, deadline: float) -> dict[str, Any] | None:
        """Return the result or the failure of a unit; None: the time was over before, and the process is stopped."""
        try:
            self._connection.send(unit)
            if not self._connection.poll(max(0.0, deadline - time.monotonic())):
                self.lives = False
                return None
            return self._connection.recv()
        except (EOFError, OSError):
            self.lives = False
            self._process.join()
            code = self._process.exitcode or 0
            return {"failed": f"the process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"}

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._connection.close()
        if self.lives and kind is None:
            self._process.join(10)  # it ends by itself
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it is its group's first, once it has begun
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()
        self._process.join()


def _work(connection: Connection, group: Group, settings: Settings, directory: Path, rows: Rows) -> None:
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    measure: Measure | None = None
    with contextlib.suppress(EOFError):  # the last unit is done
        while True:
            unit = connection.recv()
            try:
                if measure is None:
                    measure = group.start(settings, directory, group.name, rows)
                    _limit_memory(settings)
                answer = {"result": measure(unit)}
            except Exception as error:  # noqa: BLE001 (a unit may fail in any way; its row says in which)
                answer = {"failed": reason(error)}
            connection.send(answer)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)  # with whatever this process has started


def _limit_memory(settings: Settings) -> None:
    if settings.memory_gb is None:
        return
    limit = round(settings.memory_gb * 1e9)
    if settings.device == "cuda":
        import torch

        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / torch.cuda.get_device_properties(0).total_memory))
        return
    import resource

    held = next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + limit, held + limit))


def reason(error: Exception) -> str:
    """Return one line about a failure; of lacking memory under one name, whoever says so."""
    text = " ".join(str(error).split())
    memory = type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError) or "can't allocate memory" in text
    name = "out of memory" if memory else type(error).__name__
    return f"{name}: {text}"[:_MAX_REASON_CHARS]


def require_gpu(settings: Settings) -> None:
    """Raises MachineError if the experiments need a GPU and there is none."""
    if settings.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise MachineError("torch finds no GPU here\n  hint:    --tiny tries the experiments out on the CPU")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all experiments on a GPU have."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the results; the same folder goes on")
    parser.add_argument("--limit-s", type=float, default=480.0, help="seconds that a stage may take in this call (default: 480)")
    parser.add_argument("--memory-gb", type=float, help="GB that a process may take; set it where the GPU is shared (default: all)")


def guarded(work: Callable[[], bool]) -> int:
    """Do the work of a command, which returns whether all of it is done; return the exit code, and say how to go on."""
    try:
        return EXIT_DONE if work() else _say_how_to_continue("the time is over")
    except ReflectionCoderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _say_how_to_continue("stopped")


def _say_how_to_continue(why: str) -> int:
    print(f"{why}; this continues:\n  {shlex.join([sys.executable, *sys.argv])}", file=sys.stderr)
    return EXIT_INTERRUPTED
