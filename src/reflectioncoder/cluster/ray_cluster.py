"""The only module that uses Ray: connects to a cluster, or starts one on this machine, and runs one process (`node`) on every node.

Uses Ray Core only. Usage statistics are off (`RAY_USAGE_STATS_ENABLED=0`), and nothing is shipped to nodes: Python, this package and
the benchmarks' data must be there, which `crew` checks.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from reflectioncoder.cluster.dispatch import LostError, batches_ahead
from reflectioncoder.cluster.node import Node
from reflectioncoder.errors import MachineError, UsageError, require
from reflectioncoder.progress import say
from reflectioncoder.sandbox.box import remove_leftovers, temporary_folder
from reflectioncoder.sandbox.pool import default_workers

ALLOWED = "HOST:PORT of a cluster's head node, auto, or nothing"
_ADDRESS = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}")
_CONNECT_S = 5.0
_CLOSE_S = 15.0
_MAX_FOLDER_BYTES = 40  # a socket path has at most 107 bytes, of which Ray uses more than 60
_ENTRYPOINT = "reflectioncoder"  # the job's name, visible to all users of a cluster; Ray's default is the command line, with passwords
_OWN_STORE_BYTES = 128 * 2**20  # messages are small
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # the beginning of every gRPC connection
_THREADS_MORE = 8  # threads of a node's process besides those for batches
_START_HINT = "\n  hint:    is this package installed there, for the same Python?"


@dataclass(frozen=True)
class RayNode:
    """A node of the cluster: its Ray id, its address, and its cores as counted by Ray."""

    node_id: str
    address: str
    cores: int


class Process:
    """The process on a node; methods of `node.Node` are called by name."""

    def __init__(self, ray: Any, ray_node: RayNode, cores: int):
        self._ray, self.ray_node, self.cores = ray, ray_node, cores
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(ray_node.node_id, soft=False)
        threads = cores + batches_ahead(cores) + _THREADS_MORE  # leaves a thread for `close`
        options = {"num_cpus": cores, "max_concurrency": threads, "max_restarts": 0, "scheduling_strategy": strategy}
        self._actor = ray.remote(Node).options(**options).remote()

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method. The future raises `LostError` if the process or its node is gone."""
        answer: Future[Any] = Future()
        reference = getattr(self._actor, method).remote(*arguments)

        def take(future: Future[Any]) -> None:
            try:
                answer.set_result(future.result())
            except self._ray.exceptions.RayTaskError as error:  # the process is alive, but the call failed
                hint = _START_HINT if "failed to import" in str(error) else ""
                answer.set_exception(MachineError(f"{self.ray_node.address}: {_last_line(error)}{hint}"))
            except Exception as error:  # noqa: BLE001 (Ray raises many kinds of error for a lost process)
                if getattr(error, "actor_init_failed", False):
                    answer.set_exception(MachineError(f"{self.ray_node.address}: {_last_line(error)}{_START_HINT}"))
                else:
                    answer.set_exception(LostError(_why_lost(error)))

        reference.future().add_done_callback(take)
        return answer

    def kill(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(self._actor, no_restart=True)


class RayCluster:
    """A cluster that this process is connected to (`connected`)."""

    def __init__(self, ray: Any, workers: int):
        self._ray, self._workers = ray, workers

    def nodes(self) -> list[RayNode]:
        """Return the nodes that are alive and have cores."""
        found = []
        for node in self._ray.nodes():
            cores = int(node["Resources"].get("CPU", 0))
            if node["Alive"] and cores:
                found.append(RayNode(node["NodeID"], node["NodeManagerAddress"], cores))
        return sorted(found, key=lambda ray_node: (ray_node.address, ray_node.node_id))

    def start(self, ray_node: RayNode) -> Process:
        """Start the process on a node, with `workers` of its cores, or all."""
        return Process(self._ray, ray_node, min(self._workers or ray_node.cores, ray_node.cores))


def close_all(processes: Sequence[Process]) -> None:
    """End processes cleanly: programs, fork servers and folders first."""
    deadline = time.monotonic() + _CLOSE_S
    closing = [process.call("close") for process in processes]
    for answer in closing:
        with contextlib.suppress(Exception):
            answer.result(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.kill()


@contextlib.contextmanager
def connected(address: str, workers: int = 0) -> Iterator[RayCluster]:
    """Connect to a cluster, or start one on this machine that ends with the block.

    Args:
        address: HOST:PORT, or `auto` for this machine's cluster regardless of `$RAY_ADDRESS`; "": the value of that variable, else
            start a cluster here.
        workers: the most cores to use per node; 0: all.

    Raises:
        UsageError: not an address.
        MachineError: Ray is not installed; there is no cluster; it has another version of Ray or Python.
    """
    source = "--ray" if address else "$RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS", "")
    if address not in ("", "auto") and not _ADDRESS.fullmatch(address):
        raise UsageError.for_value("this is no address of a cluster", source, address, ALLOWED)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # else any Ray call after shutdown starts a new cluster
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a deprecation warning
    ray = require("ray", "ray")
    require("ray.util.scheduling_strategies", "ray")  # `import ray` does not import it
    if address not in ("", "auto"):
        _require_answer(source, address)
    with contextlib.ExitStack() as stack:
        options = {"address": address} if address else _own(stack, workers)
        say(f"cluster: connecting to {address}" if address else "cluster: starting Ray on this machine")
        stack.callback(remove_leftovers)  # for local processes that Ctrl-C hit before they were asked to end
        stack.callback(ray.shutdown)  # also after an incomplete start
        stack.enter_context(_silenced(ray))
        with _stderr_kept() as told:
            try:
                _init(ray, options)
            except (Exception, SystemExit) as error:  # noqa: BLE001 (Ray exits the process if it cannot reach a cluster)
                raise _no_cluster(source, address, error, told()) from None
        yield RayCluster(ray, workers)


def _init(ray: Any, options: dict[str, Any]) -> None:
    """Connect to or start a cluster without Ray's side effects; signal handlers stay as they were throughout.

    Raises:
        Anything that Ray raises, including SystemExit.
    """
    handlers, utils = _signal_handlers(), ray._private.utils
    kept = {name: getattr(utils, name) for name in ("get_entrypoint_name", "set_sigterm_handler")}
    address = os.environ.pop("RAY_ADDRESS", None)  # it would override `auto`
    utils.get_entrypoint_name, utils.set_sigterm_handler = lambda: _ENTRYPOINT, lambda handler: None
    try:
        with _stdout_as_stderr():
            ray.init(**options, configure_logging=False, log_to_driver=False, logging_level="ERROR")
    finally:
        for name, function in kept.items():
            setattr(utils, name, function)
        if address is not None:
            os.environ["RAY_ADDRESS"] = address
        _restore(handlers)


def _own(stack: contextlib.ExitStack, workers: int) -> dict[str, Any]:
    """Return the options of a cluster on this machine alone that leaves nothing behind."""
    folder = stack.enter_context(temporary_folder())
    if len(os.fsencode(folder)) > _MAX_FOLDER_BYTES:
        folder = stack.enter_context(temporary_folder("/tmp"))
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default gives way to every other process
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        # Otherwise Ray writes a token into the home directory, and later clusters of this user refuse connections without it.
        stack.enter_context(_environment("RAY_AUTH_TOKEN", secrets.token_hex(32)))
    return {
        "address": "local",
        "num_cpus": workers or default_workers(),
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": _OWN_STORE_BYTES,
        "_temp_dir": str(folder),
    }


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextlib.contextmanager
def _silenced(ray: Any) -> Iterator[None]:
    """Keep Ray's long messages about lost nodes off stdout, which holds results; the crew reports a loss in one line."""
    worker = ray._private.worker
    printed = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *arguments, **options: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printed


def _require_answer(source: str, address: str) -> None:
    """Refuse an address at which no cluster answers; Ray itself would retry for minutes.

    Raises:
        MachineError: nothing answers there with gRPC.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S) as connection:
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise _no_cluster(source, address, error) from None
    if len(answer) < 4 or answer[3] != 4:  # the first frame of a gRPC answer is SETTINGS
        raise _no_cluster(source, address, ConnectionError("something else than Ray answers there"))


def _no_cluster(source: str, address: str, error: BaseException, told: str = "") -> MachineError:
    """Return the error for an unusable cluster. `told`: Ray's output on stderr meanwhile."""
    text = str(error)
    if "ersion mismatch" in text:
        return MachineError(f"the cluster at {address} has other versions\n  {_short(error, 400)}")
    lines = told.strip().splitlines()
    without_words = "it does not answer as a cluster" if address else lines[-1] if lines else "it has ended"
    reason = without_words if isinstance(error, SystemExit) else _short(error)
    if not address:
        return MachineError(f"Ray cannot be started on this machine: {reason}")
    hint = "ray start --head on one machine, ray start --address HOST:PORT on the others; --ray alone starts one here"
    where = "this machine belongs to no cluster" if address == "auto" else f"there is no cluster at {address}"
    if "InvalidAuthToken" in f"{text}{told}":
        where = "the cluster wants its token"
        reason = "there is none here, or another"
        hint = "export RAY_AUTH_MODE=token, and copy the head node's ~/.ray/auth_token to the same place here"
    return MachineError(
        f"{where}: {reason}\n  where:   {source}\n  allowed: {ALLOWED}; the command runs on a machine of the cluster\n  hint:    {hint}"
    )


def _why_lost(error: BaseException) -> str:
    """Summarize Ray's long error in a few words."""
    text = str(error)
    if "node has died" in text or "node was terminated" in text:
        return "the node is gone"
    return "its process has ended" if "died" in text else _short(error)


def _short(error: BaseException, most: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


@contextlib.contextmanager
def _stderr_kept() -> Iterator[Callable[[], str]]:
    """Capture stderr instead of showing it, since Ray warns every second while it tries to connect.

    Yields a function that returns the captured text.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        try:
            os.dup2(log.fileno(), 2)

            def told() -> str:
                log.seek(0)
                return log.read()

            yield told
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """Send Ray's prints to stderr, since stdout holds results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _signal_handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _restore(handlers: dict[int, Any]) -> None:
    """Restore the signal handlers that Ray replaced with its own."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
