"""Loss and every gradient equal those of an independent plain formulation: the authors' doubled batch (method, sections 3-4).

The plain formulation knows nothing of dropping, views or renderers: two full rows of the same tokens, labels and masks found by
scanning for marker tokens, a dense 4D attention mask, full logits, one mean.
"""

import random

import pytest
import torch
import torch.nn.functional as F

from reflectioncoder.config import TrainConfig
from reflectioncoder.data.render import TokenRenderer
from reflectioncoder.data.render_chat import ChatRenderer
from reflectioncoder.train.losses import micro_batch_loss
from reflectioncoder.train.masking import MASK_STRATEGIES
from reflectioncoder.train.plan import RunPlan
from tests.conftest import generation_sample, make_model, reflection_sample

CPU = torch.device("cpu")
TOLERANCE = 1e-9


def marker_labels(ids, tokenizer):
    """(teacher labels, student labels, hidden-in-any-case) of a token-rendered sample, from its marker tokens alone."""
    token = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("user", "assistant", "execution")}
    end_block, end_message = (tokenizer.convert_tokens_to_ids(f"<|endof{kind}|>") for kind in ("block", "message"))
    teacher, inside = list(ids), None
    teacher[0] = -100
    for position, current in enumerate(ids):
        if current == token["user"]:
            inside = end_message
        elif current == token["execution"]:
            inside = end_block
        if inside is not None:
            teacher[position] = -100
            inside = None if current == inside else inside
    last_assistant = max(i for i, t in enumerate(ids) if t == token["assistant"])
    last_end = max(i for i, t in enumerate(ids) if t == end_message)
    student = [t if last_assistant <= i <= last_end else -100 for i, t in enumerate(ids)]
    first_assistant = ids.index(token["assistant"])
    ends = [i for i, t in enumerate(ids) if t == end_message]
    return teacher, student, {*range(first_assistant + 1), ends[1]}


def plain_loss(model, ids, hidden, teacher_labels, student_labels):
    """(ΣCE, n_ce, ΣKL, n_kl) of the doubled batch with hidden positions masked out of the second row."""
    length = len(ids)
    visible = torch.tensor([[True] * length, [p not in hidden for p in range(length)]])
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    # A hidden query may look at itself: nobody sees it, and a row without keys would be NaN.
    allowed = causal & (visible[:, None, :] | torch.eye(length, dtype=torch.bool))
    mask = torch.zeros(2, 1, length, length, dtype=torch.float64).masked_fill(~allowed[:, None], torch.finfo(torch.float64).min)
    logits = model(
        input_ids=torch.tensor([ids, ids]), attention_mask=mask, position_ids=torch.arange(length).repeat(2, 1), use_cache=False
    ).logits
    labels = torch.tensor([teacher_labels, student_labels])
    ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")
    at = labels[1] != -100  # un-shifted, as in the authors' script
    teacher, student = logits[0][at].detach().softmax(-1), logits[1][at].softmax(-1)
    kl = (teacher * (teacher.log() - student.log())).sum()
    return ce, int((labels[:, 1:] != -100).sum()), kl, int(at.sum())


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(ours, plain):
    assert ours.keys() == plain.keys()
    for name in plain:
        error = (ours[name] - plain[name]).norm() / plain[name].norm().clamp_min(1e-300)
        assert error <= TOLERANCE, f"{name}: relative error {error:.2e}"


def planned(samples, renderer, **settings):
    config = TrainConfig(**{"epochs": 1, "global_batch_size": len(samples), "mask_schedule": "constant", **settings})
    return RunPlan([renderer.render(s) for s in samples], config, seed=1)


def our_loss(model, plan):
    return sum(micro_batch_loss(model, plan.micro_batch(n), CPU).loss for n in range(len(plan.micro_batches)))


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("strategy", MASK_STRATEGIES)
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_loss_and_every_gradient_equal_the_doubled_batch(kind, strategy, rate, token_tokenizer):
    renderer = TokenRenderer(token_tokenizer)
    model = make_model(kind, len(token_tokenizer), tied=kind == "llama")
    plan = planned([reflection_sample(1, steps=2)], renderer, mask_strategy=(strategy,), mask_constant_rate=rate)
    [visit] = plan.steps[0]
    ids = list(plan.samples[0].input_ids)
    teacher_labels, student_labels, always = marker_labels(ids, token_tokenizer)
    ce, num_ce, kl, num_kl = plain_loss(model, ids, always | plan.hidden(visit), teacher_labels, student_labels)
    plain = ce / num_ce + kl / num_kl
    plain_gradients = gradients(model, plain)
    ours = our_loss(model, plan)
    assert abs(ours.item() - plain.item()) <= TOLERANCE * abs(plain.item())
    assert_close(gradients(model, ours), plain_gradients)


@pytest.mark.parametrize("normalization", ["global", "per_sample"])
def test_a_batch_of_unequal_samples_is_normalized_as_stated(normalization, token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    samples = [reflection_sample(n, steps=1 + n % 2) for n in range(3)]
    plan = planned(
        samples, TokenRenderer(token_tokenizer), normalization=normalization, mask_constant_rate=0.5, kl_weight=0.7, micro_batch_size=2
    )
    parts = []
    for visit in plan.steps[0]:
        ids = list(plan.samples[visit.index].input_ids)
        teacher_labels, student_labels, always = marker_labels(ids, token_tokenizer)
        parts.append(plain_loss(model, ids, always | plan.hidden(visit), teacher_labels, student_labels))
    if normalization == "global":
        plain = sum(p[0] for p in parts) / sum(p[1] for p in parts) + 0.7 * sum(p[2] for p in parts) / sum(p[3] for p in parts)
    else:
        plain = sum(ce / n + 0.7 * kl / m for ce, n, kl, m in parts) / len(parts)
    plain_gradients = gradients(model, plain)
    ours = our_loss(model, plan)
    assert abs(ours.item() - plain.item()) <= TOLERANCE * abs(plain.item())
    assert_close(gradients(model, ours), plain_gradients)


def test_a_dense_student_that_sees_nothing_of_round_one_is_plain_one_off_fine_tuning(chat_tokenizer):
    """Chat rendering, dense positions, everything hidden: the student's row is the sample as a generation sample."""
    renderer = ChatRenderer(chat_tokenizer)
    sample = reflection_sample(2)
    dense = planned([sample], renderer, mask_strategy=("all",), student_positions="dense", kl_weight=0.0)
    student = dense.views(dense.steps[0][0])[1]
    one_off = renderer.render(type(sample)(sample.messages[2:], "generation"))
    assert student.input_ids == one_off.input_ids
    assert student.labels == one_off.teacher_labels


def test_a_student_that_sees_all_that_the_teacher_sees_has_a_kl_of_exactly_zero(token_tokenizer):
    """Round one's frame is hidden at every rate, so equal views are the case in which nothing at all is masked."""
    from dataclasses import replace

    model = make_model("llama", len(token_tokenizer))
    plan = planned([reflection_sample(1)], TokenRenderer(token_tokenizer), mask_strategy=("none",), mask_constant_rate=0.0)
    [rows] = plan.micro_batch(0)
    outputs = micro_batch_loss(model, [replace(rows, student=rows.teacher)], CPU)
    assert outputs.kl_sum == 0.0
    assert outputs.num_kl > 0
    hidden = micro_batch_loss(model, [rows], CPU)
    assert hidden.kl_sum > 0.0


@pytest.mark.parametrize("normalization", ["global", "per_sample"])
def test_eight_samples_give_the_same_loss_and_gradients_as_1x8_8x1_and_2x4(normalization, token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    samples = [reflection_sample(n, steps=1 + n % 2) for n in range(6)] + [generation_sample(n) for n in range(2)]
    renderer = TokenRenderer(token_tokenizer)
    results = []
    for micro in (1, 8, 2):
        plan = planned(samples, renderer, micro_batch_size=micro, normalization=normalization, mask_constant_rate=0.5)
        assert len(plan.micro_batches) == 8 // micro
        loss = our_loss(model, plan)
        results.append((loss.item(), gradients(model, loss)))
    for loss, grads in results[1:]:
        assert abs(loss - results[0][0]) <= TOLERANCE * abs(loss)
        assert_close(grads, results[0][1])


def test_generation_samples_are_plain_cross_entropy(chat_tokenizer):
    model = make_model("llama", len(chat_tokenizer))
    renderer = ChatRenderer(chat_tokenizer)
    plan = planned([generation_sample(3)], renderer)
    rendered = plan.samples[0]
    logits = model(input_ids=torch.tensor([list(rendered.input_ids)])).logits[0]
    plain = F.cross_entropy(logits[:-1], torch.tensor(rendered.teacher_labels[1:]))
    assert our_loss(model, plan).item() == pytest.approx(plain.item(), rel=1e-12)


def test_the_plan_is_pure_and_keeps_to_its_token_budget(token_tokenizer):
    renderer = TokenRenderer(token_tokenizer)
    samples = [renderer.render(reflection_sample(n)) for n in range(20)] + [renderer.render(generation_sample(n)) for n in range(7)]
    config = TrainConfig(epochs=3, global_batch_size=4, mask_strategy=("random_token", "random_block"), reflection_upsampling=2)
    random.seed(1)
    first = RunPlan(samples, config, seed=5)
    random.seed(2)
    second = RunPlan(samples, config, seed=5)
    assert [first.micro_batch(n) for n in (0, 17, 30)] == [second.micro_batch(n) for n in (0, 17, 30)]
    assert first.micro_batch(0) == first.micro_batch(0)
    assert RunPlan(samples, config, seed=6).steps != first.steps
    # Nothing is dropped: each epoch visits every sample as often as configured.
    visits = [visit for step in first.steps for visit in step]
    assert len(visits) == 3 * (2 * 20 + 7)
    assert {v.index for v in visits} == set(range(27))
    budget = first.num_tokens // 3
    small = RunPlan(samples, TrainConfig(**{**vars(config), "max_tokens": budget}), seed=5)
    assert small.num_tokens <= budget < first.num_tokens
    assert small.rate(small.total_steps - 1) == 1.0
