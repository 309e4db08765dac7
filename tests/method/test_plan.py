"""The plan is what it was when samples were looked at one by one: order, masks, batches, weights, costs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.choices import FAILED_ATTEMPTS, MASK_STRATEGIES, TEACHER_TARGETS
from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.rendered import SpanTable
from reflectioncoder.errors import UsageError
from reflectioncoder.method.packing import pack
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.sizes import sample_sizes
from reflectioncoder.method.views import WeightedViews, teacher_view
from reflectioncoder.method.views import student_view as make_student
from tests.method.plans import digests, renderer_of, samples


def test_the_digests_of_all_plans_are_those_that_were_recorded():
    assert digests() == json.loads((Path(__file__).parent / "recorded_plans.json").read_text())


@pytest.mark.parametrize("rendering", ["token", "chat"])
@given(
    positions=st.sampled_from(["gap", "dense"]),
    mask_frame=st.booleans(),
    kl_weight=st.sampled_from([0.0, 1.0]),
    student_view=st.booleans(),
    failed=st.sampled_from(FAILED_ATTEMPTS),
    targets=st.sampled_from(TEACHER_TARGETS),
    chosen=st.lists(st.integers(0, 29), min_size=1, max_size=6),
)
def test_sizes_are_those_of_packed_views(rendering, positions, mask_frame, kl_weight, student_view, failed, targets, chosen):
    kl_weight = kl_weight if student_view else 0.0
    config = TrainConfig(
        student_positions=positions,
        mask_frame=mask_frame,
        kl_weight=kl_weight,
        student_view=student_view,
        failed_attempts=failed,
        teacher_targets=targets,
    )
    rendered = [renderer_of(rendering).render(sample) for sample in map(samples().__getitem__, chosen)]
    sizes = sample_sizes(SpanTable.of(rendered), config)
    for number, sample in enumerate(rendered):
        with_student = sample.is_reflection and student_view
        student = make_student(sample, (), positions, mask_frame=mask_frame) if with_student else None
        teacher = teacher_view(sample, failed, targets) if sample.is_reflection else teacher_view(sample)
        packed = pack([WeightedViews(teacher, student, 1.0, kl_weight)])
        assert (sizes.teacher_tokens[number], sizes.student_tokens[number]) == (*packed.lengths, 0)[:2]
        assert (sizes.num_ce[number], sizes.num_kl[number]) == (packed.num_targets, packed.num_pairs)


@given(
    strategies=st.lists(st.sampled_from(MASK_STRATEGIES), min_size=1, max_size=3, unique=True),
    schedule=st.sampled_from(["linear", "cosine", "step", "constant"]),
    student_view=st.booleans(),
    seed=st.integers(0, 9),
)
def test_costs_are_the_tokens_of_the_batches(strategies, schedule, student_view, seed):
    rendered = [renderer_of("token").render(sample) for sample in samples()[:9]]
    config = TrainConfig(
        mask_strategy=tuple(strategies),
        mask_schedule=schedule,
        mask_constant_rate=0.4,
        global_batch_size=4,
        epochs=1,
        student_view=student_view,
        kl_weight=float(student_view),
    )
    plan = RunPlan(rendered, config, seed)
    tokens = [[batch.num_tokens for batch in plan.batches(step)] for step in range(plan.total_steps)]
    assert [sorted(plan.step_costs(step).tolist()) for step in range(plan.total_steps)] == [sorted(of_step) for of_step in tokens]
    assert np.concatenate([plan.step_costs(step) for step in range(plan.total_steps)]).tolist() == plan.costs().tolist()
    assert plan.num_tokens == sum(map(sum, tokens))


def planned(share, seed=7, **settings):
    rendered = [renderer_of("token").render(sample) for sample in samples()]
    return RunPlan(rendered, TrainConfig(reflection_token_share=share, **{"global_batch_size": 4, **settings}), seed)


@pytest.mark.parametrize(
    "settings", [{}, {"mask_strategy": ("all",)}, {"mask_strategy": ("random_block",)}, {"student_view": False, "kl_weight": 0}]
)
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_reflections_take_their_share_of_the_tokens_whatever_a_visit_costs(share, settings):
    plan = planned(share, epochs=500, max_tokens=400_000, **settings)
    of_reflections = plan.costs()[plan.is_reflection[plan.visited]].sum() / plan.num_tokens
    assert 390_000 < plan.num_tokens <= 400_000
    assert of_reflections == pytest.approx(share, abs=0.03)


def test_with_a_share_every_sample_is_visited_before_one_of_its_kind_comes_again():
    plan = planned(0.5, epochs=3)
    for kind in (True, False):
        own = plan.visited[plan.is_reflection[plan.visited] == kind]
        group = np.flatnonzero(plan.is_reflection == kind)
        assert len(own) > len(group)
        for start in range(0, len(own) - len(group) + 1, len(group)):
            assert sorted(own[start : start + len(group)]) == group.tolist()
    assert planned(0.5, seed=8, epochs=3).visited.tolist() != plan.visited.tolist()


def test_with_a_share_epochs_count_reflections_and_without_any_the_others():
    reflections = planned(0.5).is_reflection
    assert reflections[planned(0.5, epochs=2).visited].sum() == 2 * reflections.sum()
    assert len(planned(0.0, epochs=2).visited) == 2 * (~reflections).sum()


@pytest.mark.parametrize(("share", "kind", "allowed"), [(0.5, "reflection", "0"), (0.5, "one-off", "1"), (0.0, "one-off", "1")])
def test_a_share_for_samples_that_there_are_not_is_refused(share, kind, allowed):
    rendered = [renderer_of("token").render(sample) for sample in samples() if (sample.type == "reflection") != (kind == "reflection")]
    with pytest.raises(UsageError, match=f"no {kind} samples") as error:
        RunPlan(rendered, TrainConfig(reflection_token_share=share), seed=7)
    assert f"allowed: {allowed}" in str(error.value)


def visits_and_tokens(plan):
    return [(v.index, v.epoch, v.step, v.slot) for step in range(plan.total_steps) for v in plan.visits(step)], plan.num_tokens


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reflection_upsampling": 3},
        {"reflection_token_share": 0.3},
        {"reflection_token_share": 0},
        {"mask_strategy": ("random_block",)},
    ],
)
@pytest.mark.parametrize("max_tokens", [2500, 6000, 20_000])
def test_no_more_visits_are_made_than_the_budget_pays_and_the_plan_is_the_same(settings, max_tokens):
    rendered = [renderer_of("token").render(sample) for sample in samples()[:12]]
    config = TrainConfig(global_batch_size=4, max_tokens=max_tokens, epochs=1e9, **settings)
    plan = RunPlan(rendered, config, seed=3)
    assert plan.is_cut_short
    assert len(plan._index) < max_tokens
    whole = RunPlan.__new__(RunPlan)
    whole.__dict__.update(plan.__dict__)
    whole._index, whole._epoch = plan._arranged(len(plan._index) * 10)
    assert whole._affordable_steps() == plan.total_steps
    assert visits_and_tokens(whole) == visits_and_tokens(plan)


def test_a_budget_below_one_step_is_said_with_all_of_the_step_s_tokens():
    rendered = [renderer_of("token").render(sample) for sample in samples()[:12]]
    said = []
    for epochs in (2, 1e9):
        with pytest.raises(UsageError, match="below one optimizer step") as error:
            RunPlan(rendered, TrainConfig(global_batch_size=64, max_tokens=1, epochs=epochs, reflection_upsampling=9), seed=3)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("settings", [{"epochs": 1e9}, {"epochs": 1e8, "reflection_token_share": 0.001}])
def test_more_visits_than_fit_into_any_memory_are_refused(settings):
    rendered = [renderer_of("token").render(sample) for sample in samples()[:12]]
    with pytest.raises(UsageError, match=r"more visits .*(?s:.*)train\.epochs"):
        RunPlan(rendered, TrainConfig(**settings), seed=3)


@pytest.mark.parametrize(
    "settings",
    [
        {"reflection_upsampling": 2**62},
        {"generation_upsampling": 2**63 - 1},
        {"reflection_token_share": 1e-300},
        {"reflection_token_share": 1e-12},
        {"epochs": 1e300},
    ],
)
def test_what_no_training_needs_is_refused_where_it_is_written(settings):
    with pytest.raises(UsageError, match=next(iter(settings))):
        TrainConfig(**settings)
