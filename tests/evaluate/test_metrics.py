"""pass@k against its definition, intervals against known values."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectioncoder.evaluate.metrics import (
    bootstrap_interval,
    exact_mcnemar,
    mean_pass_at_k,
    pass_at_k,
    wilson_interval,
)
from tests.tiers import examples


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations(range(n), k))
    expected = sum(any(i < c for i in subset) for subset in subsets) / len(subsets)
    assert pass_at_k(n, c, k) == pytest.approx(expected)


def test_pass_at_k_needs_k_samples():
    with pytest.raises(ValueError, match="at least 5"):
        pass_at_k(3, 1, 5)


def test_wilson_interval_has_its_textbook_value():
    interval = wilson_interval(8, 10)
    assert (interval.ci_low, interval.ci_high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 20).ci_low == 0.0
    assert wilson_interval(20, 20).ci_high == 1.0
    wider = wilson_interval(8, 10, 0.99)
    assert wider.ci_low < interval.ci_low
    assert wider.ci_high > interval.ci_high


def test_bootstrap_interval_contains_the_mean_and_is_reproducible():
    values = [0.1, 0.9, 0.4, 0.4, 0.7, 0.0]
    first = bootstrap_interval(values)
    assert first == bootstrap_interval(values)
    assert first.value == pytest.approx(sum(values) / 6)
    assert first.ci_low < first.value < first.ci_high


def test_several_samples_per_task_use_the_unbiased_estimate():
    interval = mean_pass_at_k([(4, 2), (4, 0)], 2)
    assert interval.value == pytest.approx((1 - math.comb(2, 2) / math.comb(4, 2)) / 2)


scores = st.integers(1, 6).flatmap(lambda n: st.lists(st.tuples(st.just(n), st.integers(0, n)), min_size=1, max_size=30))
slow = settings(max_examples=examples(40), deadline=None)


@slow
@given(scores, st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_holds_its_value_and_never_claims_certainty(per_task, confidence):
    interval = mean_pass_at_k(per_task, 1, confidence)
    assert 0 <= interval.ci_low <= interval.value <= interval.ci_high <= 1
    assert interval.ci_low < interval.ci_high


@slow
@given(st.integers(1, 40), st.integers(2, 20), st.integers(1, 3))
def test_where_none_or_all_is_right_the_interval_is_that_of_as_many_tasks(num_tasks, num_samples, k):
    k = min(k, num_samples)
    none, every = (mean_pass_at_k([(num_samples, c)] * num_tasks, k) for c in (0, num_samples))
    assert none == wilson_interval(0, num_tasks)
    assert every == wilson_interval(num_tasks, num_tasks)
    assert none.ci_high == pytest.approx(1 - every.ci_low)
    # Wilson's bound is not far from the exact one, 1 - 0.025 ** (1 / n).
    assert none.ci_high == pytest.approx(1 - 0.025 ** (1 / num_tasks), rel=0.25)


@slow
@given(st.integers(1, 30), st.integers(2, 10))
def test_one_more_right_sample_never_lowers_the_bound_below_that_of_none(num_tasks, num_samples):
    tasks = [(num_samples, 0)] * num_tasks
    none, one = mean_pass_at_k(tasks, 1), mean_pass_at_k([(num_samples, 1), *tasks[1:]], 1)
    assert one.ci_high >= none.ci_high
    assert one.ci_low <= one.value
    right = [(num_samples, num_samples)] * num_tasks
    almost = mean_pass_at_k([(num_samples, num_samples - 1), *right[1:]], 1)
    assert almost.ci_low <= mean_pass_at_k(right, 1).ci_low


@slow
@given(st.integers(2, 30), st.integers(2, 10), st.data())
def test_tasks_that_are_all_alike_leave_room_for_others(num_tasks, num_samples, data):
    correct = data.draw(st.integers(1, num_samples - 1))
    interval = mean_pass_at_k([(num_samples, correct)] * num_tasks, 1)
    assert interval.ci_low < correct / num_samples < interval.ci_high


def test_mcnemar_is_the_exact_binomial_test():
    assert exact_mcnemar(0, 0) == 1.0
    assert exact_mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert exact_mcnemar(5, 5) == 1.0
