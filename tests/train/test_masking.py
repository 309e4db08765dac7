"""Mask rate, strategies and views (method, section 4)."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.choices import MASK_STRATEGIES
from reflectioncoder.data.render import Span, TokenRenderer
from reflectioncoder.data.words import WordTokenizer
from reflectioncoder.method.masking import hidden_positions, mask_rate
from reflectioncoder.method.views import student_view, teacher_view
from tests.conftest import reflection_sample

BLOCKS = [
    Span("text", 10, 14, 1, 0),
    Span("code", 14, 30, 1, 1),
    Span("execution", 30, 37, 1, 2),
    Span("text", 37, 41, 1, 3),
    Span("code", 41, 50, 1, 4),
    Span("execution", 50, 53, 1, 5),
]
N, B = 43, 6


def hide(strategy, rate, seed=0, order=("execution", "text", "code")):
    return hidden_positions(BLOCKS, rate, [strategy], random.Random(seed), order)


def test_the_linear_rate_is_that_of_the_method_and_reaches_one():
    assert [mask_rate(step, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert mask_rate(3, 10, "constant", 0.3) == 0.3
    assert mask_rate(9, 10, "cosine") == pytest.approx(1.0)
    assert [mask_rate(step, 8, "step") for step in range(8)] == [0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0]


@given(st.floats(0, 1), st.integers(0, 99))
def test_counts_of_hidden_tokens_and_blocks(rate, seed):
    assert hide("none", rate) == frozenset()
    assert len(hide("all", rate)) == N
    assert len(hide("random_token", rate, seed)) == math.ceil(rate * N)
    assert hide("sequential_token", rate) == frozenset(range(10, 10 + math.ceil(rate * N)))
    for strategy in ("random_block", "sequential_block"):
        hidden = hide(strategy, rate, seed)
        whole = [block for block in BLOCKS if hidden >= set(range(block.start, block.end))]
        assert len(whole) == math.ceil(rate * B)
        assert len(hidden) == sum(block.end - block.start for block in whole)


def test_random_blocks_really_depend_on_the_seed():
    assert len({hide("random_block", 0.5, seed) for seed in range(20)}) > 3


@pytest.mark.parametrize(
    ("rate", "kinds"),
    [(0.0, {"execution"}), (0.32, {"execution"}), (0.33, {"execution", "text"}), (0.66, {"execution", "text"}), (0.67, None)],
)
def test_block_types_vanish_in_the_order_of_the_method(rate, kinds):
    hidden = hide("block_type", rate)
    expected = [b for b in BLOCKS if kinds is None or b.kind in kinds]
    assert hidden == {p for block in expected for p in range(block.start, block.end)}
    ablation = hide("block_type", 0.0, order=("text", "code", "execution"))
    assert ablation == {p for b in BLOCKS if b.kind == "text" for p in range(b.start, b.end)}


def test_several_strategies_are_drawn_uniformly():
    draws = [hidden_positions(BLOCKS, 0.5, ["none", "all"], random.Random(seed)) for seed in range(200)]
    assert 60 < sum(not hidden for hidden in draws) < 140


def test_a_block_order_that_misses_a_type_is_refused():
    with pytest.raises(ValueError, match="once"):
        hide("block_type", 0.5, order=("text", "text", "code"))


@pytest.fixture(scope="module")
def rendered():
    return TokenRenderer(WordTokenizer()).render(reflection_sample(2))


@pytest.mark.parametrize("strategy", MASK_STRATEGIES)
def test_the_student_sees_instruction_and_answer_and_what_the_mask_leaves(rendered, strategy):
    hidden = hidden_positions(rendered.reflection_blocks(), 0.5, [strategy], random.Random(1))
    view = student_view(rendered, hidden)
    answer_and_instruction = [p for s in rendered.spans if s.message in (2, 3) or s.kind == "eos" for p in range(s.start, s.end)]
    left = [p for s in rendered.reflection_blocks() for p in range(s.start, s.end) if p not in hidden]
    assert list(view.position_ids) == sorted(left + answer_and_instruction)
    assert [rendered.input_ids[p] for p in view.position_ids] == list(view.input_ids)
    assert len(view.kl_rows) == len(teacher_view(rendered).kl_rows)


def test_dense_positions_at_rate_one_are_exactly_the_one_off_sample(rendered):
    hidden = hidden_positions(rendered.reflection_blocks(), 1.0, ["block_type"], random.Random(1))
    view = student_view(rendered, hidden, "dense")
    tokenizer = WordTokenizer()
    sample = reflection_sample(2)
    one_off = TokenRenderer(tokenizer)
    text = one_off.tokenizer.decode([]) + "".join(
        one_off.tokenizer.decode([t]) for t in one_off.render(type(sample)(sample.messages[2:], "generation")).input_ids
    )
    shown = TokenRenderer(tokenizer).render(sample)
    dense = student_view(shown, {p for s in shown.reflection_blocks() for p in range(s.start, s.end)}, "dense")
    assert "".join(tokenizer.decode([t]) for t in dense.input_ids) == text
    assert view.position_ids == tuple(range(len(view.input_ids)))
