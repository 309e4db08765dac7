"""Trains in as many processes as the recipe says: in this one, in child processes (one per rank), or in those of a launcher.

The children get the environment that torch's launcher would give them. That launcher is not used because it kills its processes 30 s
after a SIGTERM, possibly while they write a checkpoint, and because it has a single exit code for all errors.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.files import read_json, write_json
from reflectioncoder.errors import (
    EXIT_CHECK_FAILED,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    CheckFailedError,
    MachineError,
    ReflectionCoderError,
    StoppedError,
    UsageError,
    require,
)
from reflectioncoder.models.load import pick_device
from reflectioncoder.progress import say
from reflectioncoder.stopping import StopFlag
from reflectioncoder.train.job import TrainingJob
from reflectioncoder.train.sharding import world_size

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team

_POLL_S = 0.1
_MAX_WAIT_S = 15.0  # for the other ranks after one has failed: they fail too, or hang
_SHOWN_LINES = 8
_ERRORS: dict[int, Callable[[str], ReflectionCoderError]] = {
    EXIT_CHECK_FAILED: CheckFailedError,
    EXIT_USAGE: UsageError,
    EXIT_ENVIRONMENT: MachineError,
}


def training_processes(recipe: Recipe) -> int:
    """Return the number of processes that will train.

    Raises:
        UsageError: more processes than GPUs.
        MachineError: a GPU is required and there is none.
    """
    wanted, launched = recipe.train.processes, world_size()
    if launched > 1:
        if wanted not in ("auto", launched):
            say(f"train: train.processes is {wanted}, but {launched} processes were started: these train")
        return launched
    if not pick_device(recipe.model.device).startswith("cuda"):
        return 1 if wanted == "auto" else wanted
    num_gpus = require("torch", "train").cuda.device_count()
    if wanted == "auto":
        return max(1, min(num_gpus, recipe.train.global_batch_size))
    if wanted > num_gpus:
        raise UsageError.for_value(
            "each process that trains needs a GPU of its own", "train.processes", wanted, f"auto, or 1 to {num_gpus}"
        )
    return wanted


def carry_out(job: TrainingJob, stop: StopFlag | None, team: Team | None = None) -> dict[str, Any]:
    """Train in as many processes as the recipe says, or in the team's processes; return the content of train.json.

    Raises: the errors of `train_model` and `train_in_children`.
    """
    if team is not None:
        return team.train(job, stop)
    num_ranks = 1 if world_size() > 1 else training_processes(job.recipe)
    return job.train(stop) if num_ranks == 1 else train_in_children(job, num_ranks, stop or StopFlag())


def train_in_children(job: TrainingJob, num_ranks: int, stop: StopFlag) -> dict[str, Any]:
    """Train in `num_ranks` child processes and return the content of train.json. Their output goes to `run_dir/logs/rank-N.log`.

    Once `stop` is set, or at the first Ctrl-C, all of them save a checkpoint and end; a second Ctrl-C kills them.

    Raises:
        StoppedError: stopped, after a checkpoint.
        MachineError: a rank was killed from outside.
        UsageError, CheckFailedError, MachineError: the error of the rank that failed first.
    """
    logs = job.run_dir / "logs"
    for old in logs.glob("rank-*"):
        old.unlink()
    job_file = write_json(logs / "training.json", job.to_json())
    say(f"train: in {num_ranks} processes, logs in {logs}/rank-N.log")
    with _started(job_file, num_ranks, logs) as ranks, stop.heeded():
        failed = _wait(ranks, stop)
    if failed:
        _raise_error_of(failed, num_ranks)
    return read_json(job.run_dir / "train" / "train.json")


@dataclass(frozen=True)
class _Rank:
    number: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def code(self) -> int | None:
        return self.process.poll()

    @property
    def error(self) -> dict[str, str]:
        """Return the error that the rank recorded: its message and, for a bug, the traceback; empty if it recorded none."""
        file = error_file(self.log.parent, self.number)
        return read_json(file) if file.is_file() else {}

    def kill(self) -> None:
        """Kill the rank's whole process group: surviving children of the rank would hold its output open."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def error_file(logs: Path, rank: int) -> Path:
    """Return the file in which a rank records its error."""
    return logs / f"rank-{rank}-error.json"


@contextlib.contextmanager
def _started(job_file: Path, num_ranks: int, logs: Path) -> Iterator[list[_Rank]]:
    """Start the ranks and kill them at the end of the block. They also end with this process, which closes their standard input."""
    torch = require("torch.distributed", "train")
    store = torch.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks: list[_Rank] = []
    shown: threading.Thread | None = None
    command = [sys.executable, "-m", "reflectioncoder.train.worker", str(job_file)]
    try:
        for number in range(num_ranks):
            log = logs / f"rank-{number}.log"
            with open(log, "wb") as sink:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE if number == 0 else sink,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **_environment(number, num_ranks, store.port)},
                    start_new_session=True,  # Ctrl-C reaches the ranks through this process only
                )
            ranks.append(_Rank(number, process, log))
        shown = threading.Thread(target=copy_context().run, args=(_show, ranks[0]), daemon=True)
        shown.start()
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()
        if shown is not None:
            shown.join()
        for rank in ranks:
            for pipe in (rank.process.stdin, rank.process.stdout):
                if pipe is not None:
                    pipe.close()


def _environment(rank: int, num_ranks: int, port: int) -> dict[str, str]:
    """Return the variables that tell torch the rank, and the rank's share of the cores."""
    threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num_ranks))}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_WORLD_SIZE": str(num_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store lives in this process: nobody else can take the port meanwhile
        **threads,
    }


def _show(rank: _Rank) -> None:
    """Print the lines of the first rank as they arrive, and append them to its log."""
    assert rank.process.stdout is not None
    with open(rank.log, "ab", buffering=0) as log:
        for line in rank.process.stdout:
            with contextlib.suppress(OSError):  # a full disk or a closed output must not block the rank
                log.write(line)
                say(line.decode("utf-8", "replace").rstrip())


def _wait(ranks: Sequence[_Rank], stop: StopFlag) -> list[_Rank]:
    """Wait until all ranks have ended, forwarding a request to stop; return those that failed.

    After the first failure the others get `_MAX_WAIT_S` to end: those that remain hang.
    """
    asked, failed_at = False, None
    while any(rank.code is None for rank in ranks):
        if stop.is_set() and not asked:
            asked = True
            for rank in ranks:
                rank.process.terminate()
        if failed_at is None and any(rank.code for rank in ranks):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > _MAX_WAIT_S:
            break
        try:
            time.sleep(_POLL_S)
        except KeyboardInterrupt:
            if asked:
                raise
            stop.set()
    return [rank for rank in ranks if rank.code]


def _raise_error_of(failed: Sequence[_Rank], num_ranks: int) -> NoReturn:
    """Raise the error of the rank that caused the failure: the errors of the others are consequences."""
    rank = min(failed, key=_rank_of_cause)
    code, message = rank.process.returncode, rank.error.get("message")
    name = f"rank {rank.number} of {num_ranks}"
    if code in (EXIT_INTERRUPTED, -signal.SIGTERM):
        raise StoppedError(message or f"stopped before a checkpoint was written\n  where:   {rank.log}")
    if message is not None and code in _ERRORS:
        raise _ERRORS[code](message)
    tail = "".join(f"\n  | {line}" for line in _last_lines(rank.log))
    if code < 0:
        told = f"{name} was ended by {signal.Signals(-code).name} while it trained"
        hint = "a rank that runs out of memory is ended by SIGKILL; the same command continues from the last checkpoint"
        raise MachineError(f"{told}\n  log:     {rank.log}{tail}\n  hint:    {hint}")
    raise RuntimeError(f"{message or f'exit code {code}'} in {name}\n  log:     {rank.log}{tail}\n{rank.error.get('traceback', '')}")


def _rank_of_cause(rank: _Rank) -> tuple[int, int]:
    """Order failed ranks by how likely they are the cause: killed by a signal, a recognised error, a stop, anything else."""
    code = rank.process.returncode
    was_killed = code < 0 and code not in (-signal.SIGTERM, -signal.SIGABRT)  # torch raises SIGABRT when another rank is gone
    kinds = (was_killed, code in _ERRORS and bool(rank.error), code == EXIT_INTERRUPTED, True)
    return kinds.index(True), rank.number


def _last_lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
