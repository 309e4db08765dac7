"""What `train --dry-run` says of a plan is what the plan does."""

import re

import pytest

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import RenderReport
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.train.dry_run import plan_lines, time_line
from tests.method.plans import renderer_of, samples

RENDERED = [renderer_of("chat").render(sample) for sample in samples()[:12]]
LONGEST = max(len(sample.input_ids) for sample in RENDERED)


def lines_of(too_long=(), **settings):
    plan = RunPlan(RENDERED, TrainConfig(global_batch_size=4, max_length=LONGEST, **settings), seed=1)
    return plan, "\n".join(plan_lines(plan, RenderReport(len(RENDERED), tuple(too_long), LONGEST)))


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"epochs": 2}, "train.epochs (2) ends the training"),
        ({"epochs": 2, "max_tokens": 10**9}, "train.epochs (2) ends the training before train.max_tokens (1,000,000,000) does"),
        ({"epochs": 50, "max_tokens": 20_000}, "train.max_tokens (20,000) ends the training before train.epochs (50) does"),
    ],
)
def test_what_ends_the_training_is_named(settings, ends):
    plan, text = lines_of(**settings)
    assert text.endswith(ends)
    ((steps, visits, reflections),) = re.findall(r"(\d+) optimizer steps of 4 samples: (\d+) visits, (\d+) of them", text)
    assert (int(steps), int(visits)) == (plan.total_steps, len(plan.visited))
    assert int(reflections) == plan.is_reflection[plan.visited].sum()
    assert f"{plan.num_tokens:,} through the model" in text


def test_how_often_a_sample_is_seen_is_said_for_each_kind():
    num_reflections = sum(sample.is_reflection for sample in RENDERED)
    assert 0 < num_reflections < len(RENDERED)
    _, text = lines_of(epochs=1, reflection_upsampling=3)
    assert "each reflection is seen 3 times, each one-off answer is seen once" in text
    _, text = lines_of(epochs=1.5)
    assert "is seen 1 to 2 times" in text


def test_samples_that_are_too_long_are_counted():
    assert f"all fit into train.max_length ({LONGEST:,})" in lines_of()[1]
    assert f"2 more are longer than train.max_length ({LONGEST:,}) and left out" in lines_of(too_long=("a", "b"))[1]


def test_a_time_is_said_only_where_an_earlier_run_tells_it():
    assert "not known" in time_line(None)
    assert "about 2m05s" in time_line(125.0)
