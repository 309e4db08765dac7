"""Lets `run`, `improve` and `ablate` work under torchrun: the first process does everything, and the others join its trainings.

While they wait, they poll the launcher's store once a second, which costs nothing and has no time limit; a process waiting in a
collective operation would hit its timeout after minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from reflectioncoder.errors import MachineError, ReflectionCoderError, exit_code_of, require
from reflectioncoder.models.load import pick_device, quiet_libraries
from reflectioncoder.stopping import SigtermFlag, StopFlag
from reflectioncoder.train.job import TrainingJob
from reflectioncoder.train.sharding import set_up_sharding, world_size

_POLL_S = 1.0
_MAX_WAIT_S = 60.0  # for the first process, after an error in a training that must have reached it too
_MAX_GOODBYE_S = 10.0


class Team:
    """The processes that a launcher has started; each holds a `Team`. The first process leads, the others follow."""

    def __init__(self, store: Any, rank: int, num_ranks: int):
        self._store = store
        self._rank = rank
        self._num_ranks = num_ranks
        self._num_messages = 0

    @property
    def is_led_here(self) -> bool:
        return self._rank == 0

    def train(self, job: TrainingJob, stop: StopFlag | None) -> dict[str, Any]:
        """Train together with all other processes."""
        self._send({"job": job.to_json()})
        return _train(job, stop)

    @contextlib.contextmanager
    def leading(self) -> Iterator[None]:
        """At the end of the block, send the other processes away with the exit code that this process will have."""
        code = 0
        try:
            yield
        except BaseException as error:
            code = exit_code_of(error)
            raise
        finally:
            with contextlib.suppress(RuntimeError):  # the launcher may be gone already
                self._send({"end": code})
                # The store may live in this process, so it stays until all others have left.
                self._until(lambda: self._store.add("reflectioncoder/gone", 0) == self._num_ranks - 1, _MAX_GOODBYE_S)

    def follow(self) -> int:
        """Join the trainings of the first process until it ends; return its exit code.

        Raises:
            ReflectionCoderError: a training failed here but did not end the first process, or the first process is gone.
        """
        while True:
            message = self._receive()
            assert message is not None
            if "end" in message:
                return self._leave(message["end"])
            try:
                _train(TrainingJob.from_json(message["job"]), SigtermFlag())
            except ReflectionCoderError as error:
                ended = self._receive(_MAX_WAIT_S)
                if ended is None or "end" not in ended:
                    raise error
                return self._leave(ended["end"])

    def _leave(self, code: int) -> int:
        """Let the first process end first and print the error: a launcher kills all processes at the first nonzero exit code."""
        self._store.add("reflectioncoder/gone", 1)
        if code:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(_MAX_GOODBYE_S)
        return code

    def _send(self, message: dict[str, Any]) -> None:
        self._store.set(f"reflectioncoder/{self._num_messages}", json.dumps(message))
        self._num_messages += 1

    def _receive(self, timeout_s: float = float("inf")) -> dict[str, Any] | None:
        """Return the next message; None after `timeout_s`."""
        key = f"reflectioncoder/{self._num_messages}"
        try:
            if not self._until(lambda: self._store.check([key]), timeout_s):
                return None
            self._num_messages += 1
            return json.loads(self._store.get(key))
        except RuntimeError as error:  # torch's connection errors
            raise MachineError("the first of the processes is gone") from error

    def _until(self, is_so: Any, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > end:
                return False
            time.sleep(min(_POLL_S, timeout_s / 50))
        return True


def launched_team() -> Team | None:
    """Return the team of this process; None if it was started on its own."""
    if world_size() == 1:
        return None
    torch = require("torch.distributed", "train")
    store, rank, num_ranks = next(iter(torch.rendezvous("env://")))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Team(torch.PrefixStore(f"attempt-{attempt}", store), rank, num_ranks)


def _train(job: TrainingJob, stop: StopFlag | None) -> dict[str, Any]:
    """Train in the process group of all processes, which stays open for the next training."""
    from accelerate import PartialState

    quiet_libraries()
    set_up_sharding(job.recipe.train.sharding)
    PartialState(cpu=pick_device(job.recipe.model.device) == "cpu", timeout=timedelta(hours=6))
    return job.train(stop)
