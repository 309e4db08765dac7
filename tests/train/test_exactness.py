"""Loss and every gradient equal those of an independent plain formulation: the authors' doubled batch (method, sections 3-4).

The plain formulation knows nothing of dropping, packing, views or renderers: two full rows of the same tokens, labels and masks found
by scanning for marker tokens, a dense 4D attention mask, transformers' own attention, full logits, one mean.
"""

import contextlib
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from reflectioncoder.choices import MASK_STRATEGIES
from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import TokenRenderer
from reflectioncoder.data.render_chat import ChatRenderer
from reflectioncoder.errors import UsageError
from reflectioncoder.method.packing import pack
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.train.engine import Engine
from tests.conftest import generation_sample, make_model, reflection_sample

CPU = torch.device("cpu")
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-12, 1e-10


@pytest.fixture(autouse=True)
def no_rounding_to_single_precision(monkeypatch):
    """Gemma's norms sum their gradients in float32 (`x.float()`): more than these tolerances, whatever the formulation.

    Without gradients it stays what it is: so rotary angles are computed, from positions that are integers.
    """
    to_float = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor if torch.is_grad_enabled() else to_float(tensor))


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


def plain_rows(model, ids, hidden, positions):
    """(teacher logits, student logits, index of each of the student's tokens in the sample)."""
    length = len(ids)
    visible = torch.tensor([[True] * length, [p not in hidden for p in range(length)]])
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    window = getattr(model.config, "sliding_window", None)
    if window is not None:
        causal &= ~torch.ones(length, length, dtype=torch.bool).tril(-window)
    # A hidden query may look at itself: nobody sees it, and a row without keys would be NaN.
    allowed = causal & (visible[:, None, :] | torch.eye(length, dtype=torch.bool))
    mask = torch.zeros(2, 1, length, length, dtype=model.dtype).masked_fill(~allowed[:, None], torch.finfo(model.dtype).min)
    if positions == "gap":
        logits = model(
            input_ids=torch.tensor([ids, ids]), attention_mask=mask, position_ids=torch.arange(length).repeat(2, 1), use_cache=False
        ).logits
        return logits[0], logits[1], list(range(length))
    kept = [p for p in range(length) if p not in hidden or p == 0]  # dense: with BOS, renumbered, as at inference
    teacher = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return teacher, model(input_ids=torch.tensor([[ids[p] for p in kept]]), use_cache=False).logits[0], kept


def plain_loss(model, ids, hidden, teacher_labels, student_labels, positions="gap"):
    """(ΣCE, n_ce, ΣKL, n_kl) of the doubled batch with hidden positions masked out of the second row."""
    teacher, student, places = plain_rows(model, ids, hidden, positions)
    targets = [torch.tensor(teacher_labels), torch.tensor([student_labels[p] for p in places])]
    logits = torch.cat([teacher[:-1], student[:-1]])
    ce = F.cross_entropy(logits, torch.cat([t[1:] for t in targets]), ignore_index=-100, reduction="sum")
    # Un-shifted, as in the authors' script.
    p_teacher = teacher[torch.tensor(student_labels) != -100].detach().softmax(-1)
    p_student = student[targets[1] != -100].softmax(-1)
    kl = (p_teacher * (p_teacher.log() - p_student.log())).sum()
    return ce, sum(int((t[1:] != -100).sum()) for t in targets), kl, len(p_student)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_loss_and_gradients(model, plan, tokenizer):
    """Of the plan's first optimizer step."""
    config = plan.config
    parts = []
    zero = torch.zeros(())
    for visit in plan.visits(0):
        ids = list(plan.samples[visit.index].input_ids)
        teacher_labels, student_labels, always = marker_labels(ids, tokenizer)
        if plan.samples[visit.index].is_reflection:
            hidden = (always if config.mask_frame else set()) | plan.hidden(visit)
            parts.append(plain_loss(model, ids, hidden, teacher_labels, student_labels, config.student_positions))
        else:
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
            ce = F.cross_entropy(logits[:-1], torch.tensor(teacher_labels[1:]), ignore_index=-100, reduction="sum")
            parts.append((ce, sum(label != -100 for label in teacher_labels[1:]), torch.zeros(()), 0))
    if config.normalization == "global":
        loss = sum((p[0] for p in parts), zero) / sum(p[1] for p in parts)
        loss = loss + config.kl_weight * sum((p[2] for p in parts), zero) / max(1, sum(p[3] for p in parts))
    else:
        loss = sum((ce / n + config.kl_weight * kl / max(m, 1) for ce, n, kl, m in parts), zero) / len(parts)
    model.zero_grad()
    loss.backward()
    return loss.item(), gradients(model)


def our_loss_and_gradients(model, plan, num_ranks=1, **settings):
    """Of the plan's first optimizer step, as the trainer adds it up."""
    model.zero_grad()
    total = 0.0
    with contextlib.closing(Engine(model, **settings)) as engine:
        for rank in range(num_ranks):
            for batch in plan.batches(0, rank, num_ranks):
                loss = engine.loss(model, batch, CPU).loss
                loss.backward()
                total += loss.item()
    return total, gradients(model)


def assert_same(ours, plain):
    assert abs(ours[0] - plain[0]) <= LOSS_TOLERANCE * abs(plain[0])
    assert ours[1].keys() == plain[1].keys() != set()
    # What is nothing but rounding (a key's bias shifts all logits of a softmax alike) has no relative error.
    floor = 1e-6 * max(grad.norm() for grad in plain[1].values())
    for name, expected in plain[1].items():
        error = (ours[1][name] - expected).norm() / expected.norm().clamp_min(floor)
        assert error <= GRADIENT_TOLERANCE, f"{name}: relative error {error:.2e}"


def planned(samples, renderer, **settings):
    config = TrainConfig(**{"epochs": 1, "global_batch_size": len(samples), "mask_schedule": "constant", **settings})
    return RunPlan([renderer.render(s) for s in samples], config, seed=1)


MIXED = [reflection_sample(n, steps=1 + n % 2) for n in range(4)] + [generation_sample(n) for n in range(2)]
MODELS = ["llama", "qwen2", "mistral", "gemma", "qwen3"]


@pytest.mark.product
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("strategy", MASK_STRATEGIES)
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_every_strategy_and_rate_equals_the_doubled_batch(kind, strategy, rate, token_tokenizer):
    model = make_model(kind, len(token_tokenizer), tied=kind == "llama")
    plan = planned([reflection_sample(1, steps=2)], TokenRenderer(token_tokenizer), mask_strategy=(strategy,), mask_constant_rate=rate)
    assert_same(our_loss_and_gradients(model, plan), plain_loss_and_gradients(model, plan, token_tokenizer))


@pytest.mark.product
@pytest.mark.parametrize("budget", [0, 400, 100_000], ids=["one by one", "some packed", "one pack"])
@pytest.mark.parametrize("normalization", ["global", "per_sample"])
@pytest.mark.parametrize("positions", ["gap", "dense"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", MODELS)
def test_every_architecture_mode_and_packing_equals_the_doubled_batch(kind, tied, positions, normalization, budget, token_tokenizer):
    model = make_model(kind, len(token_tokenizer), tied=tied)
    plan = planned(
        MIXED,
        TokenRenderer(token_tokenizer),
        mask_strategy=("random_token",),
        mask_constant_rate=0.5,
        kl_weight=0.7,
        student_positions=positions,
        normalization=normalization,
        micro_batch_tokens=budget,
    )
    plain = plain_loss_and_gradients(model, plan, token_tokenizer)
    assert_same(our_loss_and_gradients(model, plan, chunk_rows=48), plain)


@pytest.mark.parametrize("positions", ["gap", "dense"])
@pytest.mark.parametrize("strategy", MASK_STRATEGIES)
def test_without_a_mask_on_the_frame_the_strategy_alone_decides_what_is_hidden(strategy, positions, token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    renderer = TokenRenderer(token_tokenizer)
    settings = {"mask_strategy": (strategy,), "mask_constant_rate": 0.5, "student_positions": positions, "micro_batch_tokens": 1000}
    plan = planned(MIXED, renderer, mask_frame=False, **settings)
    assert_same(our_loss_and_gradients(model, plan), plain_loss_and_gradients(model, plan, token_tokenizer))
    _, student = plan.views(plan.visits(0)[0])
    sample = plan.samples[plan.visits(0)[0].index]
    if sample.is_reflection and strategy == "none":  # the authors' script without any mask
        assert student is not None
        assert student.input_ids == sample.input_ids
        assert student.position_ids == tuple(range(len(sample.input_ids)))


@pytest.mark.parametrize("chat", [False, True])
def test_a_student_from_whom_nothing_is_hidden_has_a_kl_of_zero(chat, token_tokenizer, chat_tokenizer):
    tokenizer = chat_tokenizer if chat else token_tokenizer
    model = make_model("llama", len(tokenizer))
    renderer = ChatRenderer(tokenizer) if chat else TokenRenderer(tokenizer)
    plan = planned([reflection_sample(1), reflection_sample(2)], renderer, mask_strategy=("none",), mask_frame=False)
    with contextlib.closing(Engine(model)) as engine:
        outputs = engine.loss(model, plan.batches(0)[0], CPU)
    assert outputs.num_kl > 0
    assert abs(outputs.kl_sum.item()) <= 1e-15 * outputs.num_kl


def test_a_lora_with_added_tokens_keeps_the_bias_of_the_output_layer(token_tokenizer):
    """peft leaves it out of its own forward, and puts it back when it merges: the merged model is what is saved."""
    import copy

    import peft

    model = make_model("llama", len(token_tokenizer), tied=False)
    model.lm_head.bias = torch.nn.Parameter(torch.randn(len(token_tokenizer), dtype=torch.float64))
    new_rows = list(range(len(token_tokenizer) - 7, len(token_tokenizer)))
    tables = {"embed_tokens": new_rows, "lm_head": new_rows}
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False, trainable_token_indices=tables
    )
    model = peft.get_peft_model(model, config)
    merged = copy.deepcopy(model).merge_and_unload().requires_grad_(True)
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5, micro_batch_tokens=100_000)
    loss, ours = our_loss_and_gradients(model, plan)
    plain, theirs = plain_loss_and_gradients(merged, plan, token_tokenizer)
    assert loss == pytest.approx(plain, rel=1e-12)
    rows = next(grad for name, grad in ours.items() if "lm_head" in name)
    torch.testing.assert_close(rows, theirs["lm_head.weight"][new_rows], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("trained_too", [None, "modules_to_save", "trainable_token_indices", "untied trainable_token_indices"])
def test_a_lora_gets_the_gradients_of_the_doubled_batch(trained_too, checkpointing, token_tokenizer):
    import peft

    model = make_model("qwen2", len(token_tokenizer), tied=trained_too == "trainable_token_indices")
    extra: dict[str, Any] = {"modules_to_save": ["embed_tokens", "lm_head"]} if trained_too == "modules_to_save" else {}
    new_rows = list(range(len(token_tokenizer) - 7, len(token_tokenizer)))
    if trained_too == "trainable_token_indices":
        extra = {"trainable_token_indices": new_rows}
    if trained_too == "untied trainable_token_indices":
        extra = {"trainable_token_indices": {"embed_tokens": new_rows, "lm_head": new_rows}}
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False, **extra)
    model = peft.get_peft_model(model, config)
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5, micro_batch_tokens=100_000)
    plain = plain_loss_and_gradients(model, plan, token_tokenizer)
    assert_same(our_loss_and_gradients(model, plan), plain)


def test_checkpointing_changes_nothing(token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5, micro_batch_tokens=100_000)
    plain = plain_loss_and_gradients(model, plan, token_tokenizer)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_same(our_loss_and_gradients(model, plan), plain)


@pytest.mark.parametrize("chunk_rows", [2, 7, 64, 100_000])
def test_the_size_of_the_chunks_does_not_matter(chunk_rows, token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5, micro_batch_tokens=100_000)
    assert_same(our_loss_and_gradients(model, plan, chunk_rows=chunk_rows), our_loss_and_gradients(model, plan))


@pytest.mark.parametrize("normalization", ["global", "per_sample"])
@pytest.mark.parametrize("num_ranks", [2, 4, 7])
def test_the_sum_over_ranks_is_the_loss_of_one(num_ranks, normalization, token_tokenizer):
    """With more ranks than samples too: then some compute a visit without weight."""
    model = make_model("llama", len(token_tokenizer))
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5, normalization=normalization)
    assert len({len(plan.batches(0, rank, num_ranks)) for rank in range(num_ranks)}) == 1
    assert_same(our_loss_and_gradients(model, plan, num_ranks), our_loss_and_gradients(model, plan))


def test_rows_that_pad_the_output_layer_stay_out_of_the_softmax(token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    padded = make_model("llama", len(token_tokenizer) + 29)
    with torch.no_grad():
        for name, parameter in padded.named_parameters():
            own = model.get_parameter(name)
            parameter[: len(own)] = own
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5)
    loss, grads = our_loss_and_gradients(padded, plan, vocab_size=len(token_tokenizer))
    assert torch.equal(grads["model.embed_tokens.weight"][len(token_tokenizer) :], torch.zeros(29, 32, dtype=torch.float64))
    grads["model.embed_tokens.weight"] = grads["model.embed_tokens.weight"][: len(token_tokenizer)]
    assert_same((loss, grads), our_loss_and_gradients(model, plan))


def test_the_statistics_are_the_plain_sums(token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    plan = planned([reflection_sample(1)], TokenRenderer(token_tokenizer), mask_constant_rate=0.5, kl_weight=0.3)
    ids = list(plan.samples[0].input_ids)
    teacher_labels, student_labels, always = marker_labels(ids, token_tokenizer)
    ce, num_ce, kl, num_kl = plain_loss(model, ids, always | plan.hidden(plan.visits(0)[0]), teacher_labels, student_labels)
    with contextlib.closing(Engine(model)) as engine:
        outputs = engine.loss(model, plan.batches(0)[0], CPU)
    assert (outputs.num_ce, outputs.num_kl) == (num_ce, num_kl)
    assert outputs.ce_sum.item() == pytest.approx(ce.item(), rel=1e-12)
    assert outputs.kl_sum.item() == pytest.approx(kl.item(), rel=1e-11)


def test_under_autocast_the_loss_and_gradients_are_those_of_single_precision_up_to_rounding(token_tokenizer, monkeypatch):
    """The arithmetic of a GPU run, on the CPU: float32 weights, bfloat16 products. The output layer's gradient stays float32."""
    seen = []
    original = F.scaled_dot_product_attention

    def watched(query, key, value, *args, **kwargs):
        seen.append({query.dtype, key.dtype, value.dtype})
        return original(query, key, value, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    model = make_model("llama", len(token_tokenizer), tied=False, dtype="float32")
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5, micro_batch_tokens=100_000)
    exact_loss, exact = our_loss_and_gradients(model, plan)
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        loss, found = our_loss_and_gradients(model, plan)
    assert all(dtypes == {torch.bfloat16} for dtypes in seen)
    assert seen
    assert loss == pytest.approx(exact_loss, rel=2e-3)
    assert {grad.dtype for grad in found.values()} == {torch.float32}
    flat = [torch.cat([grad.flatten() for grad in grads.values()]) for grads in (found, exact)]
    assert F.cosine_similarity(*flat, dim=0) > 0.998


def test_the_model_is_as_before_when_the_engine_is_closed(token_tokenizer):
    model = make_model("llama", len(token_tokenizer))
    ids = torch.arange(9)[None]
    before = model(input_ids=ids).logits
    with contextlib.closing(Engine(model)):
        pass
    assert torch.equal(model(input_ids=ids).logits, before)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attention_dropout": 0.1}, "attention dropout"),
        ({"kind": "gemma2"}, "capped attention"),
        ({"kind": "granite"}, "its logits are not those of its output layer"),
        ({"kind": "mamba"}, "MambaForCausalLM"),
    ],
    ids=["dropout", "gemma2", "granite", "mamba"],
)
def test_what_would_not_be_exact_is_refused_with_its_reason(changes, reason, token_tokenizer):
    settings = {"kind": "llama", **changes}
    model = make_model(settings.pop("kind"), len(token_tokenizer), **settings).train()
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_constant_rate=0.5)
    with pytest.raises(UsageError, match=reason):
        our_loss_and_gradients(model, plan)


def test_a_dense_student_that_sees_nothing_of_round_one_is_plain_one_off_fine_tuning(chat_tokenizer):
    """Chat rendering, dense positions, everything hidden: the student's row is the sample as a generation sample."""
    renderer = ChatRenderer(chat_tokenizer)
    sample = reflection_sample(2)
    dense = planned([sample], renderer, mask_strategy=("all",), student_positions="dense", kl_weight=0.0)
    student = dense.views(dense.visits(0)[0])[1]
    one_off = renderer.render(type(sample)(sample.messages[2:], "generation"))
    assert student is not None
    assert student.input_ids == one_off.input_ids
    assert student.labels == one_off.teacher_labels


def test_a_student_that_sees_all_that_the_teacher_sees_has_a_kl_of_zero(token_tokenizer):
    """Round one's frame is hidden at every rate, so equal views are the case in which nothing at all is masked."""
    model = make_model("llama", len(token_tokenizer))
    plan = planned([reflection_sample(1)], TokenRenderer(token_tokenizer), mask_strategy=("none",), mask_constant_rate=0.0)
    [views] = plan.weighted_views(plan.visits(0))
    with contextlib.closing(Engine(model)) as engine:
        equal = engine.loss(model, pack([replace(views, student=views.teacher)]), CPU)
        hidden = engine.loss(model, pack([views]), CPU)
    assert abs(equal.kl_sum.item()) <= 1e-15 * equal.num_kl
    assert equal.num_kl > 0
    assert hidden.kl_sum.item() > 0.0


def test_generation_samples_are_plain_cross_entropy(chat_tokenizer):
    model = make_model("llama", len(chat_tokenizer))
    renderer = ChatRenderer(chat_tokenizer)
    plan = planned([generation_sample(3)], renderer)
    rendered = plan.samples[0]
    logits = model(input_ids=torch.tensor([list(rendered.input_ids)])).logits[0]
    plain = F.cross_entropy(logits[:-1], torch.tensor(rendered.teacher_labels[1:]))
    assert our_loss_and_gradients(model, plan)[0] == pytest.approx(plain.item(), rel=1e-12)


def test_the_plan_is_pure_and_keeps_to_its_token_budget(token_tokenizer):
    renderer = TokenRenderer(token_tokenizer)
    samples = [renderer.render(reflection_sample(n)) for n in range(20)] + [renderer.render(generation_sample(n)) for n in range(7)]
    config = TrainConfig(epochs=3, global_batch_size=4, mask_strategy=("random_token", "random_block"), reflection_upsampling=2)
    random.seed(1)
    first = RunPlan(samples, config, seed=5)
    random.seed(2)
    second = RunPlan(samples, config, seed=5)
    assert [first.batches(n) for n in (0, 17, 30)] == [second.batches(n) for n in (0, 17, 30)]
    assert first.batches(0) == first.batches(0)
    assert RunPlan(samples, config, seed=6).visits(0) != first.visits(0)
    # Nothing is dropped: each epoch visits every sample as often as configured.
    visits = [visit for step in range(first.total_steps) for visit in first.visits(step)]
    assert len(visits) == 3 * (2 * 20 + 7)
    assert {v.index for v in visits} == set(range(27))
    budget = first.num_tokens // 3
    small = RunPlan(samples, TrainConfig(**{**vars(config), "max_tokens": budget}), seed=5)
    assert small.num_tokens <= budget < first.num_tokens
    assert small.rate(small.total_steps - 1) == 1.0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_in_the_machine_s_memory_change_nothing(token_tokenizer, monkeypatch, checkpointing):
    from reflectioncoder.train import offload

    monkeypatch.setattr(offload, "_SMALLEST", 64)
    moved = []
    plain_empty = torch.empty
    monkeypatch.setattr(offload.torch, "empty", lambda *args, **kwargs: moved.append(1) or plain_empty(*args, **kwargs))
    plan = planned(MIXED, TokenRenderer(token_tokenizer), mask_strategy=("random_token",), mask_constant_rate=0.5)
    model = make_model("llama", len(token_tokenizer))
    if checkpointing:
        model.train()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    plain = our_loss_and_gradients(model, plan)
    moved.clear()
    model.zero_grad()
    total = 0.0
    with contextlib.closing(Engine(model)) as engine:
        for batch in plan.batches(0):
            with offload.activations_in_host_memory(model):
                loss = engine.loss(model, batch, CPU).loss
            loss.backward()
            total += loss.item()
    assert len(moved) > 5
    assert total == plain[0]
    found = gradients(model)
    assert all(torch.equal(found[name], expected) for name, expected in plain[1].items())
