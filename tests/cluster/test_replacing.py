"""What becomes of nodes that are lost, fail or cannot do a duty. The duty is a small one; no program runs. Without Ray."""

import contextlib
import threading
from concurrent.futures import Future

import pytest

from reflectioncoder.cluster import crew
from reflectioncoder.cluster.dispatch import LostError
from reflectioncoder.cluster.node import OpenDuty
from reflectioncoder.errors import CannotError, MachineError, SandboxUnavailableError
from reflectioncoder.progress import Reporter, reporting
from tests.cluster.nodes import Cluster, Thread


class Duty:
    """`opens`: host → what is done when its node is made ready; `does`: host → what is done with a job."""

    def __init__(self, opens=None, does=None):
        self.opens, self.does = opens or {}, does or {}

    def open(self, facts, workers):
        self.opens.get(facts.host, lambda: None)()
        return OpenDuty(lambda job: (facts.host, self.does.get(facts.host, lambda job: job)(job)), workers, {})


@pytest.fixture
def gathered(monkeypatch):
    """Gather a crew of a cluster; what it says goes to stderr."""

    def gather(cluster):
        monkeypatch.setattr(crew, "connected", cluster.connected)
        return crew.Crew.gathered("", 0, None, 0)

    with reporting(Reporter()):
        yield gather


def lose_once(cluster, host):
    """Lose the first process of a host with its first batch; its node stays."""
    first = []

    def spoil(process):
        if not first:
            first.append(process)
            process.lose()

    cluster.spoil[host] = spoil


def raising(error, times=None, after=0):
    calls = iter(range(10**6))

    def act(*arguments):
        number = next(calls)
        if number >= after and (times is None or number < after + times):
            raise error

    return act


def results_of(pool, count=20):
    with pool.dispatching() as dispatcher:
        return {number: future.result(30) for number, future in dispatcher.map(range(count))}


def test_a_node_whose_new_process_cannot_do_the_duty_is_left_out(gathered):
    cluster = Cluster()
    lose_once(cluster, "two")
    duty = Duty(opens={"two": raising(CannotError("node is missing"), after=1)})
    with gathered(cluster) as made:
        pool = made.on("echo", duty, {})
        found = results_of(pool)
        for thread in made._replacing:
            thread.join(30)
        assert len(cluster.started) == 3
        assert [member.name for member in pool.members] == [made.nodes[0].name], "another node stood twice in the pool"
    assert {number: value for number, (_, value) in found.items()} == {number: number for number in range(20)}


@pytest.mark.parametrize("error", [RuntimeError("a fault"), KeyError("a fault"), MachineError("no disk")])
def test_whatever_hinders_a_replacement_nobody_waits_for_ever(error, gathered, monkeypatch, capsys):
    cluster = Cluster(hosts=["one"])
    lose_once(cluster, "one")
    with gathered(cluster) as made:
        pool = made.on("echo", Duty(), {})
        monkeypatch.setattr(cluster, "start", raising(error))
        with pytest.raises(MachineError, match="no node is left"):
            results_of(pool)
    assert "could not be replaced" in capsys.readouterr().err


def test_a_process_that_is_taken_for_lost_is_ended_before_another_starts(gathered):
    cluster = Cluster(hosts=["one"])
    lose_once(cluster, "one")
    with gathered(cluster) as made:
        results_of(made.on("echo", Duty(), {}))
    assert len(cluster.started) == 2
    assert cluster.started[0]._pool._shutdown


def test_two_nodes_that_are_replaced_at_once_both_come_back(gathered):
    cluster = Cluster()
    for host in cluster.hosts:
        lose_once(cluster, host)
    with gathered(cluster) as made:
        pool = made.on("echo", Duty(), {})
        results_of(pool)
        for thread in made._replacing:
            thread.join(30)
        assert sorted(member.node.facts.host for member in pool.members) == ["one", "two"]
        assert len({member.node.process for member in pool.members}) == 2


def test_a_node_that_is_lost_while_it_starts_or_opens_takes_no_part(gathered, capsys):
    lost_at_start = Cluster(hosts=["one", "two", "three"])
    begin = lost_at_start.start

    def start(ray_node):
        process = begin(ray_node)
        if ray_node.address == "two":
            process.lose()
        return process

    lost_at_start.start = start
    with gathered(lost_at_start) as made:
        assert [node.facts.host for node in made.nodes] == ["one", "three"]
        assert "two was lost while our process started there" in capsys.readouterr().err
        pool = made.on("echo", Duty(opens={"three": raising(LostError("its node is gone"))}), {})
        assert [member.node.facts.host for member in pool.members] == ["one"]
        said = capsys.readouterr().err
        assert "takes no part in echo: it was lost: its node is gone" in said
        assert "hint" not in said
        assert [node.facts.host for node in made.nodes] == ["one"], "what is lost is not asked again"
        with pytest.raises(MachineError, match=r"no node is left; .* was lost: gone") as error:
            made.on("echo", Duty(opens=dict.fromkeys(("one", "three"), raising(LostError("gone")))), {})
        assert not isinstance(error.value, CannotError)


def test_without_any_node_that_starts_there_is_one_error(gathered, monkeypatch):
    monkeypatch.setattr(Thread, "call", lambda process, method, *arguments: _lost())
    with pytest.raises(MachineError, match="no node is left; two was lost"), gathered(Cluster()):
        pass


def _lost():
    answer = Future()
    answer.set_exception(LostError("its node is gone"))
    return answer


def test_jobs_that_fail_everywhere_take_no_node_out(gathered, capsys):
    broken = SandboxUnavailableError("broken")

    def fails(job):
        if job < 12:
            raise broken
        return job

    with gathered(Cluster()) as made, made.on("echo", Duty(does={"one": fails, "two": fails}), {}).dispatching() as dispatcher:
        for _, future in dispatcher.map(range(12)):
            assert future.exception(30) is broken
        assert dispatcher.do(12)[1] == 12
        assert len(dispatcher._working) == 2
    assert "gets no more work" not in capsys.readouterr().err


def test_a_node_that_fails_with_what_others_can_do_is_taken_out(gathered, capsys):
    broken = Duty(does={"two": raising(OSError("No space left on device"))})
    with gathered(Cluster()) as made, made.on("echo", broken, {}).dispatching() as dispatcher:
        for _, future in dispatcher.map(range(200)):
            assert future.result(30)[0] == "one"
        assert [working.member.node.facts.host for working in dispatcher._working] == ["one"]
    assert "No space left on device; done elsewhere" in capsys.readouterr().err


def test_a_crew_that_ends_starts_nothing_more_and_leaves_no_thread(gathered):
    """The new process never becomes ready: it is ended with the crew, and so is the thread that waits for it."""
    cluster, go_on = Cluster(), threading.Event()
    lose_once(cluster, "two")
    opened = iter(range(10))
    duty = Duty(opens={"two": lambda: next(opened) and go_on.wait(60)})
    with gathered(cluster) as made:
        results_of(made.on("echo", duty, {}))
        (thread,) = made._replacing
    assert not thread.is_alive()
    assert cluster.started[-1].is_lost
    lost = made.nodes[0]
    assert made.replacement(lost) is None
    with contextlib.suppress(RuntimeError):
        go_on.set()
