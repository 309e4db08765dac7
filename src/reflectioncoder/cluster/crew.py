"""Manages the nodes that take part in a command; a node is refused if its results could differ from the others'."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from reflectioncoder.cluster.dispatch import Dispatcher, LostError, batches_ahead
from reflectioncoder.cluster.node import DoneBatch, Duty, NodeFacts
from reflectioncoder.cluster.ray_cluster import Process, RayCluster, close_all, connected
from reflectioncoder.errors import CannotError, MachineError, SandboxUnavailableError
from reflectioncoder.progress import say, speaker
from reflectioncoder.sandbox.detect import FLOOR
from reflectioncoder.sandbox.isolation import ISOLATIONS, Isolation
from reflectioncoder.shard_folders import differences, versions

_START_S = 120.0
_OPEN_S = 1800.0  # enough for a language's preflight on a busy node
_MAX_STARTS = 3  # process starts per node
_JOIN_S = 5.0  # wait for a thread whose process was ended
_MAX_NAMED = 8  # nodes named at the start


@dataclass(frozen=True, eq=False)
class CrewNode:
    """A node that takes part."""

    process: Process
    facts: NodeFacts

    @property
    def name(self) -> str:
        address = self.process.ray_node.address
        return self.facts.host if self.facts.host == address else f"{self.facts.host} ({address}, process {self.facts.pid})"


@dataclass(frozen=True, eq=False)
class NodeOnDuty:
    """A node with a duty (`dispatch.Member`)."""

    node: CrewNode
    duty: str
    workers: int
    ahead: int

    @property
    def name(self) -> str:
        return self.node.name

    def send(self, jobs: Sequence[Any]) -> Future[DoneBatch]:
        return self.node.process.call("do", self.duty, jobs)


class Crew:
    """The participating nodes of a cluster.

    `floor`: the weakest isolation tier accepted; None: `default_floor`, and all nodes must have the same isolation.
    """

    def __init__(self, cluster: RayCluster, floor: int | None, default_floor: int):
        self._cluster, self._floor = cluster, floor
        self._min_tier = default_floor if floor is None else floor
        self._lock = threading.Lock()  # guards the attributes below
        self._num_starts: Counter[str] = Counter()
        self._processes: list[Process] = []
        self._replacing: list[threading.Thread] = []
        self._closing = False
        self.nodes: list[CrewNode] = []

    @classmethod
    @contextlib.contextmanager
    def gathered(cls, address: str, workers: int, floor: int | None, default_floor: int) -> Iterator[Crew]:
        """Connect to a cluster (`ray_cluster.connected`) and start a process on each node, for the duration of the block.

        Raises:
            The errors of `connected`.
            MachineError: a node has other versions or another isolation, or cannot run programs.
        """
        with connected(address, workers) as cluster:
            crew = cls(cluster, floor, default_floor)
            try:
                crew._gather()
                cores = sum(node.process.cores for node in crew.nodes)
                isolations = ", ".join(sorted({node.facts.isolation for node in crew.nodes}))
                names = ", ".join(f"{node.name}, cores: {node.process.cores}" for node in crew.nodes[:_MAX_NAMED])
                more = f" and {len(crew.nodes) - _MAX_NAMED} more" if len(crew.nodes) > _MAX_NAMED else ""
                say(f"cluster: {len(crew.nodes)} nodes, {cores} cores; isolation {isolations}\n  {names}{more}")
                yield crew
            finally:
                crew._close()

    @property
    def isolation(self) -> Isolation:
        """Return the weakest isolation of all nodes, which the results record."""
        return ISOLATIONS[min(self.nodes, key=lambda node: (node.facts.tier, node.facts.isolation)).facts.isolation]

    def _gather(self) -> None:
        nodes = self._cluster.nodes()
        if not nodes:
            raise MachineError("the cluster has no node with cores")
        why_lost = ""
        for process, answer in [(process, process.call("facts")) for process in map(self._start, nodes)]:
            try:
                node = CrewNode(process, _answer(process, answer, _START_S))
            except LostError as lost:
                why_lost = f"{process.ray_node.address} was lost while our process started there: {lost}"
                say(f"{why_lost}; it takes no part")
                continue
            self._require_fit(node)
            self.nodes.append(node)
        if not self.nodes:
            raise MachineError(f"no node is left; {why_lost}")
        self._require_one_isolation(self.nodes)

    def _start(self, ray_node: Any) -> Process:
        self._num_starts[ray_node.node_id] += 1
        process = self._cluster.start(ray_node)
        self._processes.append(process)
        return process

    def _close(self) -> None:
        """End all processes, including those being started, and the threads that wait for them."""
        with self._lock:
            self._closing = True
        close_all(self._processes)
        for thread in self._replacing:
            thread.join(_JOIN_S)

    def replace(self, replace: Callable[[], None]) -> None:
        """Run `replace`, which calls `replacement`, in a thread that ends with the crew."""
        thread = threading.Thread(target=replace, name="replacement", daemon=True)
        self._replacing.append(thread)
        thread.start()

    def _require_fit(self, node: CrewNode) -> None:
        """Refuse a node with other versions or an isolation below the floor.

        Raises:
            MachineError: the node does not fit.
        """
        if node.facts.versions != (here := versions()):
            raise MachineError(differences(f"{node.name} has other versions than this machine", here, node.facts.versions))
        if node.facts.tier < self._min_tier:
            raise SandboxUnavailableError(
                f"on {node.name} programs would run at isolation tier {node.facts.tier} ({node.facts.isolation}); "
                f"tier {self._min_tier} is demanded\n  hint:    reflectioncoder doctor says there why; --floor accepts it"
            )

    def _require_one_isolation(self, nodes: Sequence[CrewNode]) -> None:
        if self._floor is None and len({node.facts.isolation for node in nodes}) > 1:
            found = "\n".join(f"  {node.name}: {node.facts.isolation} (tier {node.facts.tier})" for node in nodes)
            raise MachineError(
                f"the nodes confine programs in different ways\n{found}\n"
                "  hint:    REFLECTIONCODER_ISOLATION=landlock where the nodes are started makes them alike; --floor N (in a recipe "
                "sandbox.floor) accepts all from tier N up"
            )

    def on(self, name: str, duty: Duty, here: Mapping[str, Any]) -> DutyPool:
        """Prepare all nodes for a duty. `here`: this machine's values, which must match on all nodes.

        Raises:
            CannotError: no node can do the duty.
            MachineError: a node has other values, or fails; or all nodes are lost.
        """
        pool = DutyPool(self, name, duty, here)
        with self._lock:
            nodes = list(self.nodes)
        if not pool.open(nodes):
            raise pool.why_none
        return pool

    def leave(self, lost: CrewNode) -> None:
        """Remove a lost node from the crew and from later duties."""
        lost.process.kill()  # it may only be disconnected
        with self._lock:
            if lost in self.nodes:
                self.nodes.remove(lost)

    def replacement(self, lost: CrewNode) -> CrewNode | None:
        """Restart a lost process on its node; None if the node is gone, was restarted too often, or the crew is closing.

        Raises:
            LostError: the new process is lost too.
            MachineError: the node no longer fits.
        """
        ray_node = lost.process.ray_node
        self.leave(lost)
        with self._lock:
            if self._closing or self._num_starts[ray_node.node_id] >= _MAX_STARTS or ray_node not in self._cluster.nodes():
                return None
            process = self._start(ray_node)
        try:
            node = CrewNode(process, _answer(process, process.call("facts"), _START_S))
            self._require_fit(node)
            with self._lock:
                self._require_one_isolation([*self.nodes, node])
                self.nodes.append(node)
        except BaseException:
            process.kill()
            raise
        return node


class DutyPool:
    """The nodes with a duty."""

    def __init__(self, crew: Crew, name: str, duty: Duty, here: Mapping[str, Any]):
        self._crew, self._name, self._duty, self._here = crew, name, duty, here
        self._lock = threading.Lock()  # guards `members`
        self.members: list[NodeOnDuty] = []
        self.why_none = MachineError("no node is left")

    def open(self, nodes: Sequence[CrewNode]) -> list[NodeOnDuty]:
        """Prepare nodes and return those that are ready; nodes that cannot do the duty or are lost are reported and left out.

        Raises:
            MachineError: a node's values differ from this machine's.
        """
        asked = [(node, node.process.call("open", self._name, self._duty, node.process.cores)) for node in nodes]
        opened = []
        for node, answer in asked:
            try:
                workers, same = _answer(node.process, answer, _OPEN_S, node.name)
            except (CannotError, LostError) as error:
                why = f"it was lost: {error}" if isinstance(error, LostError) else str(error).partition("\n")[0]
                say(f"{node.name} takes no part in {self._name}: {why}")
                if isinstance(error, CannotError):
                    self.why_none = error
                    continue
                self._crew.leave(node)
                if not isinstance(self.why_none, CannotError):
                    self.why_none = MachineError(f"no node is left; {node.name} was lost: {error}")
                continue
            if wrong := {name: value for name, value in same.items() if value != self._here[name]}:
                what = f"{node.name} has something else than this machine (first what is here, then what is there)"
                hint = "is the data the same there? Nodes take REFLECTIONCODER_DATA from the shell in which `ray start` was given"
                raise MachineError(f"{differences(what, dict(self._here), {**self._here, **wrong})}\n  hint:    {hint}")
            opened.append(NodeOnDuty(node, self._name, workers, batches_ahead(workers)))
        with self._lock:
            self.members += opened
        return opened

    @contextlib.contextmanager
    def dispatching(self, *, alone: bool = False) -> Iterator[Dispatcher]:
        """Dispatch jobs to the nodes within the block. `alone`: one job at a time per node."""
        members = [NodeOnDuty(member.node, self._name, 1, 0) for member in self.members] if alone else self.members
        context = copy_context()  # so that messages reach this caller's reporter

        def replace(dispatcher: Dispatcher, lost: Any) -> None:
            teller = context.copy()
            self._crew.replace(lambda: teller.run(self._replace, dispatcher, lost, alone))

        dispatcher = Dispatcher(members, replace, speaker())
        try:
            yield dispatcher
        finally:
            dispatcher.close()

    @property
    def num_cores(self) -> int:
        return sum(member.node.process.cores for member in self.members)

    @property
    def num_jobs(self) -> int:
        """Return how many jobs the nodes hold at a time."""
        return sum(member.workers + member.ahead for member in self.members)

    def _replace(self, dispatcher: Dispatcher, lost: Any, alone: bool) -> None:
        """Replace a lost member by a restarted process on its node, if possible."""
        with self._lock:
            self.members = [member for member in self.members if member.node is not lost.node]
        opened = []
        try:
            if (node := self._crew.replacement(lost.node)) is not None:
                opened = self.open([node])
        except Exception as error:  # noqa: BLE001 (whatever the error, nothing may wait for ever)
            say(f"{lost.name} could not be replaced: {error}")
        finally:
            for member in opened:
                dispatcher.join(NodeOnDuty(member.node, self._name, 1, 0) if alone else member)
            if not opened:
                dispatcher.gave_up()


def _answer(process: Process, answer: Future[Any], patience_s: float, name: str = "") -> Any:
    """Wait for a node's answer.

    Raises:
        LostError: the node is lost.
        MachineError: the node reports an error, or does not answer in time.
    """
    name = name or process.ray_node.address
    try:
        found = answer.result(patience_s)
    except TimeoutError:
        raise MachineError(
            f"{name} has not given its cores for {patience_s:.0f} s\n"
            "  hint:    is it at other work? --workers N (a build: sandbox.workers) takes fewer"
        ) from None
    if isinstance(found, CannotError):
        raise found
    if isinstance(found, Exception):
        raise MachineError(f"{name}: {found}")
    return found


@dataclass(frozen=True)
class ClusterWanted:
    """The cluster requested on the command line.

    `address`: as for `ray_cluster.connected`. `workers`: the most cores to use per node; 0: all. `floor`: the command line's floor, or
    None.
    """

    address: str
    workers: int = 0
    floor: int | None = None

    def gathered(self, default_floor: int = FLOOR) -> contextlib.AbstractContextManager[Crew]:
        return Crew.gathered(self.address, self.workers, self.floor, default_floor)
