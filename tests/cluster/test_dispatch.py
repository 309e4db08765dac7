"""Who does what: jobs are given out as results are taken, in batches, to all members."""

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from reflectioncoder.cluster.dispatch import Dispatcher, LostError
from reflectioncoder.cluster.node import Done, DoneBatch
from reflectioncoder.errors import MachineError

NUM_JOBS = 3000  # many times more than are given out ahead


class Member:
    def __init__(self, name):
        self.name, self.workers, self.ahead = name, 2, 1
        self._pool = ThreadPoolExecutor(2)
        self.batches = []

    def send(self, jobs):
        self.batches.append(len(jobs))
        return self._pool.submit(lambda: DoneBatch([Done(job * job) for job in jobs], 0.001))


class Jobs(Sequence):
    def __init__(self):
        self.num_taken = 0

    def __len__(self):
        return NUM_JOBS

    def __getitem__(self, number):
        self.num_taken += 1
        return number


@pytest.fixture
def dispatcher():
    made = Dispatcher([Member("one"), Member("two")], lambda dispatcher, member: dispatcher.gave_up())
    yield made
    made.close()


def test_every_job_is_done_once_and_few_are_given_out_ahead(dispatcher):
    jobs, found, most_ahead = Jobs(), {}, 0
    for number, future in dispatcher.map(jobs):
        assert number not in found
        found[number] = future.result()
        most_ahead = max(most_ahead, jobs.num_taken - len(found))
    assert found == {number: number * number for number in range(NUM_JOBS)}
    assert jobs.num_taken == NUM_JOBS
    assert most_ahead < NUM_JOBS // 4, "memory would grow with the number of jobs"


def test_short_jobs_go_in_batches_to_all_members():
    members = [Member("one"), Member("two")]
    dispatcher = Dispatcher(members, lambda dispatcher, member: dispatcher.gave_up())
    assert sorted(number for number, _ in dispatcher.map(range(NUM_JOBS))) == list(range(NUM_JOBS))
    dispatcher.close()
    assert sum(itertools.chain.from_iterable(member.batches for member in members)) == NUM_JOBS
    assert all(sum(member.batches) > NUM_JOBS / 10 for member in members)
    assert sum(len(member.batches) for member in members) < NUM_JOBS / 4


def test_jobs_in_the_moment_of_the_end_do_not_wait_for_ever(dispatcher, monkeypatch):
    """A job comes when the thread has taken the last event, but has not ended yet."""
    end, late = dispatcher._end, []

    def end_and_submit(error):
        end(error)
        late.append(dispatcher.submit(1))

    monkeypatch.setattr(dispatcher, "_end", end_and_submit)
    dispatcher.close()
    with pytest.raises(MachineError, match="the work was stopped"):
        late[0].result(timeout=10)


def test_jobs_without_any_node_do_not_wait_for_ever():
    dispatcher = Dispatcher([], lambda dispatcher, member: dispatcher.gave_up())
    for _, future in dispatcher.map(range(3)):
        assert "no node is left" in str(future.exception(10))
    dispatcher.close()


def test_jobs_after_the_end_do_not_wait_for_ever(dispatcher):
    dispatcher.close()
    with pytest.raises(Exception, match="the work was stopped"):
        dispatcher.submit(1).result(timeout=10)


def test_a_job_that_failed_on_all_who_are_there_waits_for_the_one_who_joins():
    class Failing(Member):
        def send(self, jobs):
            return self._pool.submit(fail, jobs)

    class Lost(Member):
        def send(self, jobs):
            return self._pool.submit(lose, jobs)

    failed, lost = threading.Event(), threading.Event()

    def fail(jobs):
        lost.wait(10)
        time.sleep(0.1)  # until it is known that the other one is lost
        failed.set()
        return DoneBatch([Done(None, MachineError("no compiler here")) for _ in jobs], 0.001)

    def lose(jobs) -> DoneBatch:
        lost.set()
        raise LostError(f"it is gone, with {len(jobs)} jobs")

    def replace(dispatcher, member):
        threading.Thread(target=lambda: (failed.wait(10), time.sleep(0.2), dispatcher.join(Member("three")))).start()

    dispatcher = Dispatcher([Failing("one"), Lost("two")], replace)
    assert [future.result() for _, future in sorted(dispatcher.map(range(6)), key=lambda pair: pair[0])] == [n * n for n in range(6)]
    assert lost.is_set()
    assert failed.is_set()
    dispatcher.close()
