"""Paired differences over seeds and tasks: their value, their symmetry, and whether the intervals cover what they should."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.ablation.statistics import detectable_share, mean_of, paired_difference
from reflectioncoder.evaluate.metrics import wilson_interval

RATES = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.sampled_from([0.0, 1.0]), min_size=2, max_size=8)


def run_of(rates):
    return {task: (rate, 1.0) for task, rate in rates.items()}


def test_the_difference_is_that_of_the_means():
    arm = [{"a": (1.0, 1.0), "b": (0.0, 1.0)}, {"a": (1.0, 1.0), "b": (1.0, 1.0)}]
    control = [{"a": (0.0, 1.0), "b": (0.0, 1.0)}, {"a": (1.0, 1.0), "b": (0.0, 1.0)}]
    found = paired_difference(arm, control)
    assert found.value == pytest.approx(mean_of(arm) - mean_of(control)) == pytest.approx(0.5)
    assert (found.num_seeds, found.num_tasks) == (2, 2)


def test_a_loss_is_weighted_by_tokens():
    arm, control = [{"a": (10.0, 10.0), "b": (30.0, 90.0)}], [{"a": (20.0, 10.0), "b": (30.0, 90.0)}]
    assert paired_difference(arm, control).value == pytest.approx(40 / 100 - 50 / 100)


@given(RATES)
def test_an_arm_does_not_differ_from_itself(rates):
    found = paired_difference([run_of(rates)] * 2, [run_of(rates)] * 2, rounds=200)
    assert (found.value, found.ci_low, found.ci_high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("num_tasks", [1, 5, 300])
def test_arms_that_solve_the_same_tasks_are_not_said_to_be_equal_on_others(num_tasks):
    solved = run_of({f"t{i}": float(i % 2) for i in range(num_tasks)})
    found = paired_difference([solved], [solved], of_shares=True)
    reach = wilson_interval(0, num_tasks).ci_high
    assert (found.ci_low, found.ci_high) == (pytest.approx(-reach), pytest.approx(reach))
    assert found.detectable >= reach


def test_what_would_be_found_fits_the_width_of_the_interval():
    """With two seeds that differ much the interval is that of one degree of freedom, and so is what it would find."""
    rng = random.Random(3)
    sides = []
    for skill in (0.0, 0.3):
        sides.append([{f"t{i}": (rng.gauss(skill + luck, 0.1), 1.0) for i in range(50)} for luck in (0.0, rng.gauss(0, 0.2))])
    found = paired_difference(sides[0], sides[1])
    assert found.detectable > (found.ci_high - found.ci_low) / 2 > 5 * found.standard_error
    many = [[{f"t{i}": (rng.gauss(skill, 0.1), 1.0) for i in range(50)} for _ in range(20)] for skill in (0.0, 0.3)]
    found = paired_difference(many[0], many[1])
    assert found.detectable == pytest.approx(2.8 * found.standard_error, rel=0.15)


def test_one_seed_has_an_interval_over_tasks():
    arm, control = [run_of({f"t{i}": float(i % 2) for i in range(40)})], [run_of({f"t{i}": 0.0 for i in range(40)})]
    found = paired_difference(arm, control)
    assert 0.3 < found.ci_low < 0.5 < found.ci_high < 0.7


@given(RATES, st.randoms(use_true_random=False))
def test_exchanging_the_sides_turns_the_interval_around(rates, rng):
    arm, control = [run_of({task: rng.choice([0.0, 1.0]) for task in rates}) for _ in range(3)], [run_of(rates)] * 3
    there, back = paired_difference(arm, control, rounds=500), paired_difference(control, arm, rounds=500)
    assert there.value == pytest.approx(-back.value)
    assert (there.ci_low, there.ci_high) == (pytest.approx(-back.ci_high, abs=1e-9), pytest.approx(-back.ci_low, abs=1e-9))


def test_tasks_that_only_one_side_has_do_not_count():
    assert paired_difference([{"a": (1.0, 1.0), "b": (1.0, 1.0)}], [{"a": (1.0, 1.0), "c": (0.0, 1.0)}]).num_tasks == 1


@pytest.mark.parametrize("sides", [([], []), ([{"a": (1.0, 1.0)}], []), ([{"a": (1.0, 1.0)}], [{"b": (1.0, 1.0)}])])
def test_nothing_to_pair_is_refused(sides):
    with pytest.raises(ValueError, match="common task"):
        paired_difference(*sides)


def drawn_run(rng, hardness, skill, luck):
    """A run in which each task is solved with a probability of its own, moved by the arm's skill and the seed's luck."""
    return {task: (float(rng.random() < min(max(p + skill + luck, 0.0), 1.0)), 1.0) for task, p in hardness.items()}


@pytest.mark.parametrize(("num_seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.08), (6, 0.05)])
def test_the_interval_covers_the_true_difference_about_as_often_as_it_says(num_seeds, spread):
    """`spread`: how far the luck of a seed moves the arm alone, which only several seeds can show."""
    rng = random.Random(7)
    covered, experiments = 0, 100
    for number in range(experiments):
        hardness = {f"t{i}": rng.uniform(0.2, 0.6) for i in range(80)}
        arm = [drawn_run(rng, hardness, 0.1, rng.gauss(0, spread)) for _ in range(num_seeds)]
        control = [drawn_run(rng, hardness, 0.0, 0.0) for _ in range(num_seeds)]
        found = paired_difference(arm, control, seed=number, rounds=400)
        covered += found.ci_low <= 0.1 <= found.ci_high
    assert covered / experiments >= 0.89


@pytest.mark.parametrize(("seeds", "least"), [(1, 0.65), (3, 0.45), (8, 0.65)])  # 80 % is promised but for few seeds
def test_a_difference_of_the_detectable_size_is_mostly_found(seeds, least):
    rng = random.Random(11)
    tasks, base, experiments = 100, 0.2, 80
    size = detectable_share(base, tasks, seeds)
    hits = 0
    for number in range(experiments):
        hardness = {f"t{i}": base for i in range(tasks)}
        arm, control = ([drawn_run(rng, hardness, skill, 0.0) for _ in range(seeds)] for skill in (size, 0.0))
        hits += paired_difference(arm, control, seed=number, rounds=300).ci_low > 0
    assert least <= hits / experiments <= 0.95


def test_more_tasks_and_seeds_show_smaller_differences():
    assert detectable_share(0.2, 100, 1) > detectable_share(0.2, 200, 1) > detectable_share(0.2, 200, 3)
    assert detectable_share(0.0, 100, 1) > 0
