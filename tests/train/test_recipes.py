"""Every shipped recipe of a real base builds its run without weights: plan, model, LoRA, forecast, self-check."""

from pathlib import Path

import pytest
import torch
import transformers

from reflectioncoder.config.loading import load_recipe, shipped_recipes
from reflectioncoder.train.checks import check_settings
from reflectioncoder.train.data import plan_run
from reflectioncoder.train.forecast import forecast_memory
from reflectioncoder.train.prepare import adapt_model, largest_batch
from reflectioncoder.train.selfcheck import why_not_exact
from tests.conftest import generation_sample, make_tokenizer, reflection_sample


def llama(hidden, inner, layers, heads, groups, vocab, **more):
    return transformers.LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=groups,
        vocab_size=vocab, **more,
    )  # fmt: skip


def qwen(hidden, inner, layers, heads, groups, vocab, tied):
    return transformers.Qwen2Config(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=groups,
        vocab_size=vocab, tie_word_embeddings=tied,
    )  # fmt: skip


# The published architectures, and their parameters in billions.
BASES = {
    "deepseek-coder-6.7b": (llama(4096, 11008, 32, 32, 32, 32256), 6.74),
    "deepseek-coder-33b": (llama(7168, 19200, 62, 56, 8, 32256), 33.3),
    "codellama-7b": (llama(4096, 11008, 32, 32, 32, 32016), 6.74),
    "codellama-34b": (llama(8192, 22016, 48, 64, 8, 32000), 33.7),
    "qwen2.5-coder-0.5b": (qwen(896, 4864, 24, 14, 2, 151936, True), 0.49),
    "qwen2.5-coder-1.5b": (qwen(1536, 8960, 28, 12, 2, 151936, True), 1.54),
    "qwen2.5-coder-3b": (qwen(2048, 11008, 36, 16, 2, 151936, True), 3.09),
    "qwen2.5-coder-7b": (qwen(3584, 18944, 28, 28, 4, 152064, False), 7.62),
    "smollm2-135m": (llama(576, 1536, 30, 9, 3, 49152, tie_word_embeddings=True), 0.135),
}
SAMPLES = [reflection_sample(n) for n in range(6)] + [generation_sample(n) for n in range(6)]


def test_all_recipes_are_here():
    assert set(shipped_recipes()) == {"demo", "improve-smollm2", "reflections-local", "reflections-server", *BASES}


@pytest.mark.parametrize("overrides", [[], ["train.lora.rank=16"]], ids=["full", "lora"])
@pytest.mark.parametrize("name", BASES)
def test_a_recipe_builds_its_run_without_weights(name, overrides):
    config, billions = BASES[name]
    recipe = load_recipe(name, overrides).recipe
    check_settings(recipe.train)
    assert (recipe.train.epochs, recipe.train.global_batch_size, recipe.train.reflection_upsampling) == (2, 512, 2)
    tokenizer = make_tokenizer()
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)
    with torch.device("meta"):
        short = type(config)(**config.to_dict())
        short.num_hidden_layers = 2
        short.layer_types = None if getattr(short, "layer_types", None) is None else short.layer_types[:2]
        model = transformers.AutoModelForCausalLM.from_config(short, dtype=torch.bfloat16)
        model, vocab_size = adapt_model(model, tokenizer, recipe)
    assert vocab_size == config.vocab_size
    plan, data = plan_run(recipe, Path(), tokenizer, SAMPLES)
    assert data.report.too_long == ()
    assert len(plan.visited) == 2 * (2 * 6 + 6)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (trained < sum(p.numel() for p in model.parameters())) == bool(overrides)
    forecast = forecast_memory(model, largest_batch(plan))
    assert forecast.gradients == (4 if overrides else 2) * trained  # peft keeps what it adds in float32
    assert forecast.activations > 0


@pytest.mark.parametrize("name", BASES)
def test_the_architecture_of_a_recipe_is_exact(name):
    assert why_not_exact(BASES[name][0]) is None
