"""Folders with tiny random models, and tokenizers whose rules for words llama.cpp knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AddedToken, PreTrainedTokenizerFast

from reflectioncoder.choices import Rendering
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.render import TokenRenderer
from reflectioncoder.models.gguf_tokenizer import _DEEPSEEK_WORDS, _QWEN_WORDS
from reflectioncoder.models.tokens import add_tokens
from reflectioncoder.train.save import save_tokenizer, write_model
from tests.conftest import make_model, make_tokenizer
from tests.data.tokenizer_kinds import CHATML, make

LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "rope_theta": 10000.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, untied": ("llama", {"tied": False}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, linear scaling": ("llama", {"rope_parameters": LINEAR}),
    "llama, Llama 3's scaling": ("llama", {"rope_parameters": LLAMA3}),
    "llama, wide heads": ("llama", {"head_dim": 16}),
    "qwen2": ("qwen2", {}),
    "qwen2, untied": ("qwen2", {"tied": False}),
    "qwen3": ("qwen3", {}),
}


def write_folder(folder: Path, kind: str = "llama", tokenizer: Any = None, rendering: Rendering = "chat", **settings: Any) -> Path:
    """Write a model folder as a training does, with its seven tokens for the rendering "token"."""
    tokenizer = tokenizer or (make_tokenizer() if kind == "llama" else with_words("qwen2"))  # as transformers makes Qwen's anew
    model = make_model(kind, len(tokenizer), dtype="float32", **settings)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # biases are zero in a new model, and would not be missed
            parameter.data.uniform_(0.2, 0.8)
    if rendering == "token":
        add_tokens(model, tokenizer)
        tokenizer.chat_template = TokenRenderer(tokenizer).chat_template()
    if tokenizer.chat_template is None:
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)
    else:
        write_model(model, tokenizer, Recipe("r", ModelConfig("m", rendering=rendering)), folder)
        (folder / "reflectioncoder.json").write_text(json.dumps({"rendering": rendering, "base_model": "m"}))
    return folder


def with_words(rule: str, template: str | None = CHATML) -> Any:
    """A tokenizer with one of the rules for words, trained on the bundled problems."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule in ("gpt-2", "smollm"))
    before = {
        "gpt-2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "qwen2": [_isolated(_QWEN_WORDS)],
        "llama-bpe": [_isolated(_QWEN_WORDS.replace(r"\p{N}|", r"\p{N}{1,3}|", 1))],
        "deepseek-coder": [*map(_isolated, _DEEPSEEK_WORDS), pre_tokenizers.Digits(individual_digits=True)],
    }[rule]
    core = Tokenizer(models.BPE(ignore_merges=rule == "llama-bpe"))
    core.pre_tokenizer = pre_tokenizers.Sequence([*before, level]) if before else level
    core.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator([text for p in bundled_problems("train") for text in (p.reference, p.prompt)], trainer)
    return _finished(core, template)


def sentencepiece(kind: str, template: str | None = CHATML) -> Any:
    """A tokenizer of the Llama kind that has every merge, as those do that were made by SentencePiece."""
    whole = json.loads(make(kind).backend_tokenizer.to_str())
    vocab: dict[str, int] = whole["model"]["vocab"]
    pairs = [(text[:at], text[at:]) for text in vocab for at in range(1, len(text)) if text[:at] in vocab and text[at:] in vocab]
    order = {left + right: rank for rank, (left, right) in enumerate(whole["model"]["merges"])}
    made = [pair for pair in pairs if "".join(pair) in order]
    whole["model"]["merges"] = sorted(made, key=lambda pair: (order["".join(pair)], vocab[pair[0]], vocab[pair[1]]))
    return _finished(Tokenizer.from_str(json.dumps(whole)), template)


def _isolated(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _finished(core: Tokenizer, template: str | None) -> Any:
    names: dict[str, Any] = {"bos_token": "<s>", "eos_token": "<|im_end|>", "pad_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)
    tokenizer.add_tokens([AddedToken("<|fim_prefix|>", special=False, normalized=False)])
    tokenizer.chat_template = template
    return tokenizer
