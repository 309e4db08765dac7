"""The nodes that take part in a command: each is asked what it is, and refused if its results could differ from those of the others."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_OPEN_S = 1800.0  # a preflight of a language, on a busy node
_MAX_STARTS = 3  # of our process on one node


@dataclass(frozen=True, eq=False)
class CrewNode:
    """A node that takes part."""

    process: Process
    facts: NodeFacts

    @property
    def name(self) -> str:
        address = self.process.place.address
        return self.facts.host if self.facts.host == address else f"{self.facts.host} ({address}, process {self.facts.pid})"


@dataclass(frozen=True, eq=False)
class _AtWork:
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
    """The nodes of a cluster.

    `floor`: the weakest tier of isolation that is accepted; None: `default_floor`, and the same isolation on all nodes.
    """

    def __init__(self, cluster: RayCluster, floor: int | None, default_floor: int):
        self._cluster, self._floor = cluster, floor
        self._min_tier = default_floor if floor is None else floor
        self._lock = threading.Lock()
        self._num_starts: Counter[str] = Counter()
        self.nodes = self._gather()

    @classmethod
    @contextlib.contextmanager
    def gathered(cls, address: str, workers: int, floor: int | None, default_floor: int) -> Iterator[Crew]:
        """Connect to a cluster (`ray_cluster.connected`) and take on all its nodes, for the length of the block.

        Raises:
            What `connected` raises.
            MachineError: a node has other versions or another isolation, or can run no programs.
        """
        with connected(address, workers) as cluster:
            crew = cls(cluster, floor, default_floor)
            try:
                cores = sum(node.process.cores for node in crew.nodes)
                isolations = ", ".join(sorted({node.facts.isolation for node in crew.nodes}))
                say(f"cluster: {len(crew.nodes)} nodes, {cores} cores; isolation {isolations}")
                yield crew
            finally:
                close_all([node.process for node in crew.nodes])

    @property
    def isolation(self) -> Isolation:
        """Return the weakest isolation of all nodes: that of the results."""
        return ISOLATIONS[min(self.nodes, key=lambda node: (node.facts.tier, node.facts.isolation)).facts.isolation]

    @property
    def num_cores(self) -> int:
        return sum(node.process.cores for node in self.nodes)

    def _gather(self) -> list[CrewNode]:
        processes = [self._start(place) for place in self._cluster.places()]
        if not processes:
            raise MachineError("the cluster has no node with cores")
        try:
            asked = [(process, process.call("facts")) for process in processes]
            nodes = [CrewNode(process, _answer(process, answer, _START_S)) for process, answer in asked]
            for node in nodes:
                self._require_fit(node)
            self._require_one_isolation(nodes)
        except BaseException:
            close_all(processes)
            raise
        return nodes

    def _start(self, place: Any) -> Process:
        self._num_starts[place.node_id] += 1
        return self._cluster.start(place)

    def _require_fit(self, node: CrewNode) -> None:
        """Refuse a node of other versions or below the floor.

        Raises:
            MachineError: it is.
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
                "  hint:    REFLECTIONCODER_ISOLATION=landlock where the nodes are started makes them alike; --floor N, where there is "
                "one, accepts all from tier N up"
            )

    def on(self, name: str, duty: Duty, here: Mapping[str, Any]) -> DutyPool:
        """Make all nodes ready for a duty. `here`: what must be the same on all nodes, as this machine has it.

        Raises:
            CannotError: no node can do it.
            MachineError: a node has something else, or fails.
        """
        pool = DutyPool(self, name, duty, here)
        pool.open(self.nodes)
        if not pool.members:
            raise CannotError(pool.why_none)
        return pool

    def replacement(self, lost: CrewNode) -> CrewNode | None:
        """Start our process anew on the node of one that is lost, if the node is alive; None if it is not, or if that has failed.

        Raises:
            LostError, MachineError: it does not fit any more.
        """
        place = lost.process.place
        with self._lock:
            if lost in self.nodes:
                self.nodes.remove(lost)
            if self._num_starts[place.node_id] >= _MAX_STARTS or place not in self._cluster.places():
                return None
            process = self._start(place)
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
    """The nodes that do a duty."""

    def __init__(self, crew: Crew, name: str, duty: Duty, here: Mapping[str, Any]):
        self._crew, self._name, self._duty, self._here = crew, name, duty, here
        self.members: list[_AtWork] = []
        self.why_none = ""

    def open(self, nodes: Sequence[CrewNode]) -> None:
        """Make nodes ready; those that cannot do the duty are left out, and named.

        Raises:
            MachineError: a node has something else than this machine.
        """
        asked = [(node, node.process.call("open", self._name, self._duty, node.process.cores)) for node in nodes]
        for node, answer in asked:
            try:
                workers, same = _answer(node.process, answer, _OPEN_S, node.name)
            except CannotError as error:
                self.why_none = str(error)
                say(f"{node.name} takes no part in {self._name}: {str(error).partition(chr(10))[0]}")
                continue
            if wrong := {name: value for name, value in same.items() if value != self._here[name]}:
                raise MachineError(
                    differences(f"{node.name} has something else than this machine", dict(self._here), {**self._here, **wrong})
                )
            self.members.append(_AtWork(node, self._name, workers, batches_ahead(workers)))

    @contextlib.contextmanager
    def dispatching(self, *, alone: bool = False) -> Iterator[Dispatcher]:
        """Give jobs to the nodes within the block. `alone`: one at a time to each."""
        members = [_AtWork(member.node, self._name, 1, 0) for member in self.members] if alone else self.members
        context = copy_context()  # of whoever is to be told

        def replace(dispatcher: Dispatcher, lost: Any) -> bool:
            threading.Thread(target=context.copy().run, args=(self._replace, dispatcher, lost, alone), daemon=True).start()
            return True

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
        """Return how many jobs the nodes have at a time."""
        return sum(member.workers + member.ahead for member in self.members)

    def _replace(self, dispatcher: Dispatcher, lost: Any, alone: bool) -> None:
        """Let our process, started anew on the node of one that is lost, take its place, if that can be."""
        self.members = [member for member in self.members if member.node != lost.node]
        try:
            node = self._crew.replacement(lost.node)
            if node is not None:
                self.open([node])
                member = self.members[-1]
                dispatcher.join(_AtWork(node, self._name, 1, 0) if alone else member)
                return
        except (LostError, MachineError, IndexError) as error:
            say(f"{lost.name} could not be replaced: {error}")
        dispatcher.gave_up()


def _answer(process: Process, answer: Future[Any], patience_s: float, name: str = "") -> Any:
    """Wait for what a node answers.

    Raises:
        MachineError: it says that something is wrong, or nothing.
    """
    name = name or process.place.address
    try:
        found = answer.result(patience_s)
    except LostError as lost:
        raise MachineError(
            f"{name}: our process ended: {lost}\n  hint:    is this package installed there, for the same Python?"
        ) from None
    except TimeoutError:
        raise MachineError(
            f"{name} has not given its cores for {patience_s:.0f} s\n  hint:    is it at other work? --workers N takes fewer"
        ) from None
    if isinstance(found, CannotError):
        raise found
    if isinstance(found, Exception):
        raise MachineError(f"{name}: {found}")
    return found


@dataclass(frozen=True)
class ClusterWanted:
    """The cluster that a command line asks for.

    `address`: as `ray_cluster.connected` takes it. `workers`: at most so many cores of each node; 0: all. `floor`: that of the command
    line, None if it has none.
    """

    address: str
    workers: int = 0
    floor: int | None = None

    def gathered(self, default_floor: int = FLOOR) -> contextlib.AbstractContextManager[Crew]:
        return Crew.gathered(self.address, self.workers, self.floor, default_floor)
