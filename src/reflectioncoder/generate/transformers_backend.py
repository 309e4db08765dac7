"""Generates in batches with `transformers`: left padding, greedy or sampled, stopping at the rendering's stop tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from reflectioncoder.config.declarations import GenerateConfig, ModelConfig
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.prompts import CLOSING_FENCE
from reflectioncoder.generate.base import RawCompletion
from reflectioncoder.models.load import give_memory_back, load_model, load_tokenizer
from reflectioncoder.models.tokens import make_requests


class TransformersBackend:
    """A local model folder, asked in the rendering that it was trained with.

    Other models are asked in their own chat template; base models without one in plain text.
    """

    def __init__(self, config: ModelConfig, path: Path):
        self.renderer = make_requests(path, load_tokenizer(path))  # a faulty template fails before weights are loaded
        self.model: Any
        self.model, self.tokenizer = load_model(config, path)
        self.model.eval()
        self.path = path
        self._stop = sorted({*self.renderer.stop_token_ids, *_ids(self.model.generation_config.eos_token_id)})
        pad = self.tokenizer.pad_token_id
        self._pad = pad if pad is not None else (self._stop or [0])[-1]  # masked, so any token will do
        self._encode = lru_cache(maxsize=None)(lambda text, prefill: self.renderer.render_request(text, prefill))

    def close(self) -> None:
        """Free the model's memory, even if something still refers to this object."""
        self.model = None
        give_memory_back()

    def describe(self) -> dict[str, Any]:
        return {
            "path": self.path.name,
            "rendering": self.renderer.name,
            "device": str(self.model.device),
            "dtype": str(self.model.dtype),
        }

    def complete(
        self, requests: Sequence[Request], done: Set[tuple[str, int]], config: GenerateConfig, seed: int
    ) -> Generator[tuple[Request, RawCompletion]]:
        """Complete the requests in batches, formed over all requests by length, so that a resumed run computes the same ones."""
        ordered = sorted(requests, key=lambda r: (len(self._encode(r.instruction, r.prefill)), *r.key))
        for number, start in enumerate(range(0, len(ordered), config.batch_size)):
            batch = ordered[start : start + config.batch_size]
            if any(request.key not in done for request in batch):
                for request, completion in zip(batch, self.complete_batch(batch, config, batch_seed(seed, number)), strict=True):
                    if request.key not in done:
                        yield request, completion

    @torch.inference_mode()
    def complete_batch(self, batch: Sequence[Request], config: GenerateConfig, seed: int) -> list[RawCompletion]:
        prompts = [self._encode(request.instruction, request.prefill) for request in batch]
        length = max(map(len, prompts))
        input_ids = torch.full((len(batch), length), self._pad)
        attention_mask = torch.zeros_like(input_ids)
        for row, prompt in enumerate(prompts):
            input_ids[row, length - len(prompt) :] = torch.tensor(prompt)
            attention_mask[row, length - len(prompt) :] = 1
        torch.manual_seed(seed)
        output = self.model.generate(
            input_ids=input_ids.to(self.model.device),
            attention_mask=attention_mask.to(self.model.device),
            generation_config=self._generation(config),
            tokenizer=self.tokenizer,
        )
        return [self._completion(row[length:].tolist(), config.max_new_tokens) for row in output]

    def _generation(self, config: GenerateConfig) -> GenerationConfig:
        """Return the complete generation settings: `load_model` keeps only the special token ids of the model's own."""
        sampling = {"temperature": config.temperature, "top_p": config.top_p, "top_k": 0} if config.temperature > 0 else {}
        return GenerationConfig(
            max_new_tokens=config.max_new_tokens,
            do_sample=config.temperature > 0,
            eos_token_id=self._stop or None,
            pad_token_id=self._pad,
            stop_strings=[CLOSING_FENCE],
            use_cache=True,
            **sampling,
        )

    def _completion(self, ids: list[int], max_new_tokens: int) -> RawCompletion:
        end = next((index for index, token in enumerate(ids) if token in self._stop), None)
        kept = ids if end is None else ids[:end]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        stopped = end is not None or CLOSING_FENCE in text
        num_tokens = len(kept) + (end is not None)
        if end is None and stopped:  # a row that reached the fence is padded to the longest one
            num_tokens = sum(token != self._pad for token in ids)
        return RawCompletion(text, "stop" if stopped or len(ids) < max_new_tokens else "length", num_tokens)


def batch_seed(seed: int, number: int) -> int:
    """Return the seed of a batch; runs with neighbouring seeds share no batch seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:7])


def _ids(value: Any) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)
