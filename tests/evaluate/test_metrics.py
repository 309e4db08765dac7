"""pass@k against its definition, intervals against known values."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.evaluate.metrics import bootstrap_interval, exact_mcnemar, mean_pass_at_k, pass_at_k, wilson_interval


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


def test_mcnemar_is_the_exact_binomial_test():
    assert exact_mcnemar(0, 0) == 1.0
    assert exact_mcnemar(1, 9) == pytest.approx(2 * 11 / 1024)
    assert exact_mcnemar(5, 5) == 1.0
