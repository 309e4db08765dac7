"""Maps Llama and Qwen models to llama.cpp: tensor names, tensor layout and hyperparameters.

`Layout` is built from the configuration as transformers reads it. It refuses everything that llama.cpp would compute differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reflectioncoder.errors import UsageError, require

_ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
_ROPE_TYPES = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Layout:
    """The layout of a model in a GGUF file.

    Args:
        config: the model's `transformers` configuration.

    Raises:
        UsageError: an unsupported architecture, activation, RoPE scaling or attention window.
    """

    config: Any

    def __post_init__(self) -> None:
        config = self.config
        self.architecture  # noqa: B018 (raises if unsupported)
        if config.hidden_act != "silu":
            raise UsageError.for_value("GGUF cannot be written", "config.json: hidden_act", config.hidden_act, ["silu"])
        rope_type = self._rope["rope_type"]
        if rope_type not in _ROPE_TYPES:
            raise UsageError.for_value("GGUF cannot be written", "config.json: rope_type", rope_type, _ROPE_TYPES)
        if self._rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise UsageError(
                "GGUF cannot be written: config.json turns only a part of each head by its position (partial_rotary_factor)"
            )
        if getattr(config, "use_sliding_window", False):
            raise UsageError("GGUF cannot be written: config.json limits how far attention reaches back (use_sliding_window)")

    @property
    def architecture(self) -> str:
        """Return llama.cpp's name for the architecture."""
        name = (self.config.architectures or [f"a model of type {self.config.model_type}"])[0]
        if name not in _ARCHITECTURES:
            raise UsageError.for_value("GGUF cannot be written", "config.json: architectures", name, ", ".join(_ARCHITECTURES))
        return _ARCHITECTURES[name]

    @property
    def _rope(self) -> dict[str, Any]:
        return self.config.rope_parameters

    @property
    def head_dim(self) -> int:
        return getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads

    def describe(self, writer: Any) -> None:
        """Write the model's hyperparameters."""
        gguf, config, rope = require("gguf", "train"), self.config, self._rope
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(self.head_dim)
        writer.add_value_length(self.head_dim)
        writer.add_rope_dimension_count(self.head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_freq_base(float(rope["rope_theta"]))
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(rope["factor"]))

    def names(self, stored: Iterator[str]) -> dict[str, str]:
        """Return the GGUF name of each stored tensor that belongs in the file; a tied output layer does not.

        Raises:
            UsageError: the architecture has no such tensor.
        """
        gguf = require("gguf", "train")
        architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == self.architecture)
        known = gguf.get_tensor_name_map(architecture, self.config.num_hidden_layers)
        names = {}
        for name in stored:
            if name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and self.config.tie_word_embeddings):
                continue
            target = known.get_name(name, try_suffixes=(".weight", ".bias"))
            if target is None:
                raise UsageError(f"GGUF cannot be written: {self.architecture} has no tensor {name}")
            names[name] = target
        return names

    def arranged(self, name: str, tensor: Any) -> Any:
        """Return a tensor with its rows in the order that llama.cpp expects.

        For a Llama, llama.cpp's RoPE rotates neighbouring rows of a head, where transformers rotates rows i and i + d/2.
        """
        if self.architecture != "llama":
            return tensor
        heads = {"q_proj": self.config.num_attention_heads, "k_proj": self.config.num_key_value_heads}.get(name.split(".")[-2])
        if heads is None:
            return tensor
        return tensor.reshape(heads, 2, self.head_dim // 2, -1).transpose(1, 2).reshape(tensor.shape)

    def rope_factors(self) -> list[float] | None:
        """Return the divisor of each RoPE frequency under Llama 3's scaling, (head_dim / 2,); None for other scalings."""
        rope = self._rope
        if rope["rope_type"] != "llama3":
            return None
        low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
        factors = []
        for index in range(0, self.head_dim, 2):
            wavelength = 2 * math.pi * rope["rope_theta"] ** (index / self.head_dim)
            turns = rope["original_max_position_embeddings"] / wavelength
            kept = min(1.0, max(0.0, (turns - low) / (high - low)))
            factors.append(1 / ((1 - kept) / factor + kept))
        return factors
