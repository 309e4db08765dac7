"""The plan is what it was when samples were looked at one by one: order, masks, batches, weights, costs."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.choices import FAILED_ATTEMPTS, MASK_STRATEGIES
from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.rendered import SpanTable
from reflectioncoder.method.packing import pack
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.method.sizes import sample_sizes
from reflectioncoder.method.views import WeightedViews, student_view, teacher_view
from tests.method.plans import digests, renderer_of, samples


def test_the_digests_of_all_plans_are_those_that_were_recorded():
    assert digests() == json.loads((Path(__file__).parent / "recorded_plans.json").read_text())


@pytest.mark.parametrize("rendering", ["token", "chat"])
@given(
    positions=st.sampled_from(["gap", "dense"]),
    mask_frame=st.booleans(),
    kl_weight=st.sampled_from([0.0, 1.0]),
    failed=st.sampled_from(FAILED_ATTEMPTS),
    chosen=st.lists(st.integers(0, 29), min_size=1, max_size=6),
)
def test_sizes_are_those_of_packed_views(rendering, positions, mask_frame, kl_weight, failed, chosen):
    config = TrainConfig(student_positions=positions, mask_frame=mask_frame, kl_weight=kl_weight, failed_attempts=failed)
    rendered = [renderer_of(rendering).render(sample) for sample in map(samples().__getitem__, chosen)]
    sizes = sample_sizes(SpanTable.of(rendered), config)
    for number, sample in enumerate(rendered):
        student = student_view(sample, (), positions, mask_frame=mask_frame) if sample.is_reflection else None
        packed = pack([WeightedViews(teacher_view(sample, failed), student, 1.0, kl_weight)])
        assert (sizes.teacher_tokens[number], sizes.student_tokens[number]) == (*packed.lengths, 0)[:2]
        assert (sizes.num_ce[number], sizes.num_kl[number]) == (packed.num_targets, packed.num_pairs)


@given(
    strategies=st.lists(st.sampled_from(MASK_STRATEGIES), min_size=1, max_size=3, unique=True),
    schedule=st.sampled_from(["linear", "cosine", "step", "constant"]),
    seed=st.integers(0, 9),
)
def test_costs_are_the_tokens_of_the_batches(strategies, schedule, seed):
    rendered = [renderer_of("token").render(sample) for sample in samples()[:9]]
    config = TrainConfig(mask_strategy=tuple(strategies), mask_schedule=schedule, mask_constant_rate=0.4, global_batch_size=4, epochs=1)
    plan = RunPlan(rendered, config, seed)
    tokens = [[batch.num_tokens for batch in plan.batches(step)] for step in range(plan.total_steps)]
    assert [sorted(plan.step_costs(step).tolist()) for step in range(plan.total_steps)] == [sorted(of_step) for of_step in tokens]
    assert np.concatenate([plan.step_costs(step) for step in range(plan.total_steps)]).tolist() == plan.costs().tolist()
    assert plan.num_tokens == sum(map(sum, tokens))
