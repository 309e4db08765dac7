"""A cluster in this process: its nodes are real, but threads stand in for their processes, and losing one is a call."""

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from reflectioncoder.cluster.dispatch import LostError
from reflectioncoder.cluster.node import Node, NodeFacts
from reflectioncoder.cluster.ray_cluster import RayNode


class Thread:
    """Stands for our process on a node. `changes`: what is different of its facts; `spoil`: is called with each batch of jobs."""

    def __init__(self, ray_node, cores, changes, spoil):
        self.ray_node, self.cores = ray_node, cores
        self._changes, self._spoil = changes, spoil
        self._node, self._pool, self._asked = Node(), ThreadPoolExecutor(4), []
        self.num_jobs = 0
        self.is_lost = False

    def call(self, method, *arguments):
        answer = Future()
        if self.is_lost:
            answer.set_exception(LostError("it was killed"))
            return answer
        self._asked.append(answer)
        self._pool.submit(self._run, answer, method, arguments)
        return answer

    def _run(self, answer, method, arguments):
        try:
            if method == "do":
                self.num_jobs += len(arguments[1])
                self._spoil(self)
            found = getattr(self._node, method)(*arguments)
            if isinstance(found, NodeFacts):
                found = replace(found, **self._changes)
                self._node._facts = found
            if not answer.done():
                answer.set_result(found)
        except BaseException as error:
            if not answer.done():
                answer.set_exception(error)

    def lose(self):
        self.is_lost = True
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(LostError("it was killed"))

    def kill(self):
        self.lose()
        self._pool.shutdown(wait=False)


class Cluster:
    """`changes`: host → what is different of its facts. `spoil`: host → what is called with its process for each batch."""

    def __init__(self, changes=None, spoil=None, hosts=("one", "two")):
        self.hosts, self.changes, self.spoil = list(hosts), changes or {}, spoil or {}
        self.started = []

    def nodes(self):
        return [RayNode(host, host, 1) for host in self.hosts]

    def start(self, ray_node):
        given = {"host": ray_node.address, **self.changes.get(ray_node.address, {})}
        process = Thread(ray_node, 1, given, self.spoil.get(ray_node.address, lambda process: None))
        self.started.append(process)
        return process

    @contextlib.contextmanager
    def connected(self, address, workers=0):
        yield self
