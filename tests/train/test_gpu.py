"""What only a GPU can show: the kernels that run there nowhere else. Skipped without one; CI never has one.

The reference is the original formulation of `benchmarks/steps/losses.py`: the doubled batch with a dense mask and full logits.
"""

import contextlib
import random

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.steps.losses import original_loss
from benchmarks.steps.samples import rendered_sample
from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.train.attention import Segments, segment_attention
from reflectioncoder.train.engine import Engine
from reflectioncoder.train.forecast import forecast_memory
from reflectioncoder.train.trainer import ReflectionTrainer, training_arguments

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU = torch.device("cuda")
LOSS_TOLERANCE = 2e-3  # of bfloat16 arithmetic against float32, relative


def make_config(kind="llama", **changes):
    settings = {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    }
    return AutoConfig.for_model(kind, **{**settings, **changes})


def make_model(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).to(GPU).train()
    with torch.no_grad():  # from the standard initialization all distributions are nearly uniform: the KL would be rounding
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    return model


def make_plan(config, rate=0.5, pack=8192, samples=4, vocab_size=4096):
    rng = random.Random(3)
    rendered = [rendered_sample(rng, vocab_size, scale) for scale in rng.choices([0.1, 0.2, 0.4], k=samples)]
    train = TrainConfig(
        epochs=1,
        global_batch_size=samples,
        mask_schedule="constant",
        mask_constant_rate=rate,
        mask_strategy=("random_block",),
        normalization="per_sample",
        micro_batch_tokens=pack,
    )
    return RunPlan(rendered, train, seed=1)


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def original(model, plan, *, bf16):
    model.zero_grad()
    visits = plan.visits(0)
    total = 0.0
    for visit in visits:
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            loss = original_loss(model, plan, [visit], GPU) / len(visits)
        loss.backward()
        total += loss.item()
    return total, gradient(model)


def ours(model, plan, *, bf16, **settings):
    model.zero_grad()
    total = 0.0
    with contextlib.closing(Engine(model, **settings)) as engine:
        for batch in plan.batches(0):
            with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
                loss = engine.loss(model, batch, GPU).loss
            loss.backward()
            total += loss.item()
    return total, gradient(model)


def error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_float32_equals_the_original(kind, rate, compiled):
    model, plan = make_model(make_config(kind)), make_plan(kind, rate)
    loss, gradients = ours(model, plan, bf16=False, compiled=compiled)
    expected_loss, expected = original(model, plan, bf16=False)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert error(gradients, expected) < 1e-4


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("pack", [0, 8192])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_bfloat16_is_as_near_to_float32_as_the_original_in_bfloat16(kind, rate, pack, compiled):
    model, plan = make_model(make_config(kind)), make_plan(kind, rate, pack)
    exact_loss, exact = original(model, plan, bf16=False)
    _, theirs = original(model, plan, bf16=True)
    loss, gradients = ours(model, plan, bf16=True, compiled=compiled)
    print(
        f"loss {abs(loss - exact_loss) / exact_loss:.1e}, gradient {error(gradients, exact):.1e}, original {error(theirs, exact):.1e}"
    )
    assert loss == pytest.approx(exact_loss, rel=LOSS_TOLERANCE)
    assert error(gradients, exact) <= 1.1 * error(theirs, exact)


@pytest.mark.parametrize("heads", [(8, 8), (8, 2), (9, 3)])
def test_flash_attention_over_segments_equals_attention_segment_by_segment(heads):
    """Outputs and gradients, grouped heads too, at lengths around the kernel's blocks."""
    lengths = (1, 63, 64, 65, 127, 129, 500)
    total, positions = sum(lengths), [p for n in lengths for p in range(n)]
    torch.manual_seed(0)
    inputs = [
        torch.randn(1, n, total, 64, device=GPU, dtype=torch.bfloat16, requires_grad=True) for n in (heads[0], heads[1], heads[1])
    ]
    weights = torch.randn(1, total, heads[0], 64, device=GPU)
    segments = Segments.of(lengths, positions, GPU)

    def run(tensors):
        query, key, value = tensors
        output, _ = segment_attention(torch.nn.Module(), query, key, value, None, scaling=0.125, segments=segments)
        return output, torch.autograd.grad((output * weights).sum(), tensors)

    output, gradients = run(inputs)
    exact = [x.detach().float().requires_grad_() for x in inputs]  # float32 takes the other path
    expected_output, expected_gradients = run(exact)
    assert error(output.float(), expected_output) < 1e-2
    for found, expected in zip(gradients, expected_gradients, strict=True):
        assert error(found.float(), expected) < 1e-2


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_forecast_is_within_a_fifth_of_a_real_step(checkpointing):
    config = make_config(vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                         num_key_value_heads=3)  # fmt: skip
    plan = make_plan("llama", samples=8, vocab_size=49_152)
    batch = max(plan.batches(0), key=lambda batch: batch.num_tokens)
    with torch.device("meta"):
        blank = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    forecast = forecast_memory(blank, batch, "cuda", checkpointing=checkpointing, autocast=torch.bfloat16)
    model = make_model(config)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters())
    with contextlib.closing(Engine(model)) as engine:
        for _ in range(2):
            torch.cuda.reset_peak_memory_stats()
            with torch.autocast("cuda", torch.bfloat16):
                loss = engine.loss(model, batch, GPU).loss
            loss.backward()
            optimizer.step()
            if _ == 0:
                optimizer.zero_grad(set_to_none=False)
    peak = torch.cuda.max_memory_allocated()
    print(f"forecast {forecast.total / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB, {forecast.to_json()}")
    assert forecast.total == pytest.approx(peak, rel=0.2)


def test_the_trainer_trains(tmp_path):
    """A few steps in bfloat16 arithmetic: the loss falls, the weights stay float32."""
    model = make_model(make_config())
    rng = random.Random(5)
    samples = [rendered_sample(rng, 4096, 0.1) for _ in range(2)]
    config = TrainConfig(epochs=8, global_batch_size=2, learning_rate=1e-3, micro_batch_tokens=4096)
    plan = RunPlan(samples, config, seed=1)
    args = training_arguments(config, plan, tmp_path, 1, bf16=True, save_strategy="no")
    trainer = ReflectionTrainer(model, args, plan)
    trainer.train()
    ce = [entry["ce"] for entry in trainer.state.log_history if "ce" in entry]
    assert ce[-1] < ce[0] - 0.5
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_activations_in_the_machine_s_memory_leave_the_gpu_s(tmp_path):
    from reflectioncoder.train.offload import activations_in_host_memory

    model, plan = make_model(make_config()), make_plan("llama")
    batch = plan.batches(0)[0]
    kept = {}
    for name, context in (("gpu", contextlib.nullcontext()), ("host", activations_in_host_memory(model))):
        before = torch.cuda.memory_allocated()
        with contextlib.closing(Engine(model)) as engine:
            with torch.autocast("cuda", torch.bfloat16), context:
                loss = engine.loss(model, batch, GPU).loss
            kept[name] = torch.cuda.memory_allocated() - before
            loss.backward()
        model.zero_grad()
    assert kept["host"] < 0.5 * kept["gpu"]
