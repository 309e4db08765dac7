"""The self-check passes what is exact and names the reason of what is not, on configurations of the real sizes."""

import pytest
import transformers

from reflectioncoder.train.selfcheck import why_not_exact

EXACT = {
    "SmolLM2-135M": lambda: transformers.LlamaConfig(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, vocab_size=49152
    ),
    "Qwen2.5-Coder-1.5B": lambda: transformers.Qwen2Config(
        hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, vocab_size=151936
    ),
    "DeepSeek-Coder-6.7B": lambda: transformers.LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, vocab_size=32256,
        rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0},
    ),
    "Mistral-7B": lambda: transformers.MistralConfig(sliding_window=4096),
    "Gemma-2B": transformers.GemmaConfig,
    "Gemma-3": lambda: transformers.Gemma3TextConfig(sliding_window=512, final_logit_softcapping=None),
    "Qwen3": transformers.Qwen3Config,
    "Qwen3-MoE": transformers.Qwen3MoeConfig,
    "Mixtral": transformers.MixtralConfig,
    "Phi-3": lambda: transformers.Phi3Config(pad_token_id=0),
    "StarCoder2": lambda: transformers.Starcoder2Config(residual_dropout=0.0, embedding_dropout=0.0),
    "OLMo2": transformers.Olmo2Config,
}  # fmt: skip
REFUSED = {
    "dropout": (lambda: transformers.LlamaConfig(attention_dropout=0.1), "attention dropout"),
    "dropout of residuals": (lambda: transformers.Starcoder2Config(residual_dropout=0.1), "residual_dropout = 0.1"),
    "capped attention": (transformers.Gemma2Config, "capped attention"),
    "scaled logits": (lambda: transformers.GraniteConfig(logits_scaling=8.0), "its logits are not those of its output layer"),
    "state-space layers": (transformers.MambaConfig, "does not let its attention be chosen"),
    "linear attention": (lambda: transformers.Qwen3NextConfig(linear_num_value_heads=4, linear_num_key_heads=2), "Qwen3Next"),
    "biased attention": (transformers.BloomConfig, "does not let its attention be chosen"),
    "sinks": (transformers.GptOssConfig, "attention sinks"),
    "a window in the mask alone": (lambda: transformers.Qwen2MoeConfig(use_sliding_window=True, max_window_layers=28), "differ"),
    "positions that depend on the batch": (
        lambda: transformers.LlamaConfig(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}),
        "type dynamic",
    ),
    "a composite that does not shrink": (transformers.Gemma3Config, "parameters"),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_architectures_pass(name):
    assert why_not_exact(EXACT[name]()) is None


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_the_reason(name):
    make, reason = REFUSED[name]
    assert reason in (why_not_exact(make()) or "")
