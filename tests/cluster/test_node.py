"""A node's process does no more at a time than it may, and can always be closed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from reflectioncoder.cluster.node import Node, NodeFacts, OpenDuty
from reflectioncoder.errors import SandboxUnavailableError

WORKERS, NUM_BATCHES = 2, 6


@pytest.fixture
def node():
    made = Node()
    made._facts = NodeFacts("one", 1, "none", 0, 1.0, {})
    yield made
    made.close()


class Meeting:
    """Each job waits until `WORKERS` are being done, and counts them."""

    def __init__(self):
        self._barrier, self._lock = threading.Barrier(WORKERS), threading.Lock()
        self._num, self.most = 0, 0

    def open(self, facts, workers):
        return OpenDuty(self._do, workers, {})

    def _do(self, job):
        with self._lock:
            self._num += 1
            self.most = max(self.most, self._num)
        self._barrier.wait(30)
        with self._lock:
            self._num -= 1
        return job


def test_batches_that_are_ahead_wait_until_others_are_done(node):
    meeting = Meeting()
    node.open("meet", meeting, WORKERS)
    with ThreadPoolExecutor(NUM_BATCHES) as threads:
        batches = list(threads.map(lambda number: node.do("meet", [number]), range(NUM_BATCHES)))
    assert [batch.done[0].value for batch in batches] == list(range(NUM_BATCHES))
    assert meeting.most == WORKERS


def test_a_node_that_is_closed_does_not_begin_what_waits(node):
    began, go_on = threading.Event(), threading.Event()

    def do(job):
        began.set()
        go_on.wait(30)
        return job

    class Waiting:
        def open(self, facts, workers):
            return OpenDuty(do, workers, {})

    node.open("wait", Waiting(), 1)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(node.do, "wait", [1])
        assert began.wait(30)
        second = threads.submit(node.do, "wait", [2])
        closing = threads.submit(node.close)
        while not node._closed:
            pass
        go_on.set()
        closing.result(30)
        assert first.result(30).done[0].value == 1
        assert isinstance(second.result(30).done[0].error, SandboxUnavailableError)


def test_a_node_that_is_closed_while_it_finds_out_what_it_is_waits_for_that_and_begins_nothing(node, monkeypatch):
    """What it tries out has folders and groups of processes that only it removes."""
    began, go_on = threading.Event(), threading.Event()

    def detect():
        began.set()
        go_on.wait(30)
        raise SandboxUnavailableError("tried to the end")

    monkeypatch.setattr("reflectioncoder.cluster.node.detect_isolation", detect)
    with ThreadPoolExecutor(2) as threads:
        asked = threads.submit(node.facts)
        assert began.wait(30)
        closing = threads.submit(node.close)
        while not node._closed:
            pass
        assert not closing.done()
        go_on.set()
        closing.result(30)
        assert "tried to the end" in str(asked.result(30))
    assert "stopped" in str(node.facts())
    assert "stopped" in str(node.open("meet", Meeting(), WORKERS))
