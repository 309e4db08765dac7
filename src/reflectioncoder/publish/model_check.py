"""Loads a folder before it is published with each of its readers, and makes one request to each in its chat template.

The readers are transformers, PEFT (the adapter on the base model) and llama.cpp. A check fails if weights are missing or unused, if the
answer differs from the model's, or if the request differs from the one in training. All compute in float32 on the CPU.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

from reflectioncoder.choices import GgufDtype
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.completion_requests import python_request
from reflectioncoder.data.encoding import common_prefix
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import CheckFailedError, MachineError, UsageError, require
from reflectioncoder.generate.embedded import embedded_server
from reflectioncoder.generate.gguf_check import verify_gguf
from reflectioncoder.models.gguf_export import check_gguf, gguf_of
from reflectioncoder.models.load import load_config, load_tokenizer, quiet_libraries
from reflectioncoder.models.sources import resolve_model
from reflectioncoder.models.tokens import make_requests
from reflectioncoder.progress import say

ADAPTER = "adapter"
TOLERANCE = 0.02
"""Largest difference allowed between the float32 logits of merged weights and of base plus adapter, relative to their maximum."""
_CONTEXT_TOKENS = 4096
_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Checked:
    """A reader with its version, its findings and its chat completion; `is_done` is False if it could not be run."""

    reader: str
    found: str
    completion: str
    is_done: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Asked:
    """A request and the answer of the model in the folder; `logits_TV` at each token of both, over the tokenizer's vocabulary."""

    messages: list[dict[str, str]]
    prompt: list[int]
    answer: list[int]
    text: str
    logits_TV: Any  # noqa: N815


def more_rows(folder: Path, base: Path) -> int | None:
    """Return the number of embedding rows if added tokens made it exceed the base model's (PEFT then stores them whole); else None."""
    ours, theirs = (load_config(path).get_text_config().vocab_size for path in (folder, base))
    return ours if ours > theirs else None


def check_model_folder(
    folder: Path,
    base: ModelConfig | None,
    gguf: tuple[Path, GgufDtype] | None,
    *,
    num_tokens: int = 64,
    num_requests: int = 5,
) -> list[Checked]:
    """Check a folder with each reader.

    Args:
        base: the model that `folder/adapter` is for; None if there is no adapter.
        gguf: the folder's GGUF file and its type; without one, llama.cpp reads a temporary f16 file.
        num_tokens: length limit of the answers.
        num_requests: number of requests for which llama.cpp's answers are compared with transformers', token by token.

    Raises:
        CheckFailedError: a reader finds an error.
        MachineError: torch or transformers is not installed; there is not enough memory.
    """
    quiet_libraries()
    say("the folder is loaded anew with transformers")
    found, asked = _check_transformers(folder, num_tokens)
    checks = [found]
    if base is not None:
        say("the adapter is put on the base model with PEFT")
        checks.append(_check_adapter(folder, base, asked))
    say("the model is served by llama.cpp")
    checks.append(_check_llama_cpp(folder, gguf, asked, num_tokens, num_requests))
    for check in checks:
        if not check.is_done:
            say(f"{check.reader}: {check.found}")
    return checks


def _check_transformers(folder: Path, num_tokens: int) -> tuple[Checked, _Asked]:
    transformers, torch = require("transformers", "train"), require("torch", "train")
    try:
        model, loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        tokenizer = load_tokenizer(folder)
    except (OSError, ValueError, KeyError, UsageError) as error:
        raise CheckFailedError(f"transformers cannot load the folder: {error}") from error
    wrong = {kind: sorted(map(str, names)) for kind, names in loaded.items() if names and kind != "error_msgs"}
    if wrong:
        raise CheckFailedError(f"transformers does not find the weights of the model in the folder: {wrong}")
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise CheckFailedError("the weights in the folder are not all finite numbers")
    asked = _ask(model, tokenizer, folder, num_tokens)
    tensors = f"{len(model.state_dict())} tensors, none missing; the chat template writes the request of the training"
    return Checked(_reader("transformers", "transformers"), tensors, _told(len(asked.answer), num_tokens)), asked


def _ask(model: Any, tokenizer: Any, folder: Path, num_tokens: int) -> _Asked:
    """Request one program, as a user would who has only the folder, and compare the request with the one in training."""
    torch = require("torch", "train")
    problem = bundled_problems("train")[0]
    instruction = python_request(problem.task_id, 0, problem.prompt, problem.entry_point, problem.instruction).instruction
    messages = [{"role": "user", "content": instruction}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    prompt = inputs["input_ids"][0].tolist()
    trained = make_requests(folder, tokenizer).render_request(instruction)
    if prompt != trained:
        raise CheckFailedError("the chat template in the folder writes another request than the training did")
    with torch.inference_mode():
        answer = model.generate(**inputs, max_new_tokens=num_tokens)[0, len(prompt) :].tolist()
        if not answer:
            raise CheckFailedError("the model in the folder gives no answer")
        logits_TV = model(torch.tensor([[*prompt, *answer]])).logits[0, :, : len(tokenizer)]
    return _Asked(messages, prompt, answer, tokenizer.decode(answer, skip_special_tokens=True), logits_TV)


def _check_adapter(folder: Path, base: ModelConfig, asked: _Asked) -> Checked:
    """Load the adapter onto the base model as the card says, and compare its logits with those of the merged weights."""
    transformers, torch, peft = require("transformers", "train"), require("torch", "train"), require("peft", "train")
    reader = _reader("PEFT", "peft")
    try:
        path = resolve_model(base).path
    except (MachineError, UsageError) as error:
        return Checked(reader, f"not checked: {str(error).splitlines()[0]}", "none", is_done=False)
    tokenizer = load_tokenizer(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    if (num_rows := more_rows(folder, path)) is not None:
        model.resize_token_embeddings(num_rows)
    try:
        model = peft.PeftModel.from_pretrained(model, folder, subfolder=ADAPTER)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckFailedError(f"PEFT cannot load the adapter: {error}") from error
    with torch.inference_mode():
        logits_TV = model(torch.tensor([[*asked.prompt, *asked.answer]])).logits[0, :, : len(tokenizer)]
        inputs = torch.tensor([asked.prompt])
        settings = transformers.GenerationConfig.from_pretrained(folder, max_new_tokens=len(asked.answer))
        output = model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs), generation_config=settings)
    made = output[0, len(asked.prompt) :].tolist()
    difference = (logits_TV - asked.logits_TV).abs().max().item()
    largest = asked.logits_TV.abs().max().item()
    stored = str(load_config(folder).dtype).removeprefix("torch.")
    if not math.isfinite(difference) or (stored == "float32" and difference > TOLERANCE * largest):
        raise CheckFailedError(
            f"the adapter on {base.name} is not the model: their logits differ by {difference:.4f}, allowed: {TOLERANCE * largest:.4f}"
        )
    same = "the same as above" if made == asked.answer else f"the first {common_prefix(made, asked.answer)} tokens the same as above"
    said = f"logits differ from those of the merged {stored} weights by at most {difference:.1e} of {largest:.1f}"
    return Checked(reader, said, f"{len(made)} tokens, {same}")


def _check_llama_cpp(folder: Path, gguf: tuple[Path, GgufDtype] | None, asked: _Asked, num_tokens: int, num_requests: int) -> Checked:
    if importlib.util.find_spec("xllamacpp") is None:
        missing = "not checked: llama.cpp is not installed (pip install 'reflectioncoder[local]')"
        return Checked("llama.cpp", missing, "none", is_done=False)
    reader = _reader("llama.cpp, xllamacpp", "xllamacpp")
    if gguf is not None:
        return _check_gguf(reader, folder, *gguf, asked, num_tokens, num_requests)
    try:
        check_gguf(folder)
    except UsageError as error:
        return Checked(reader, f"not checked: {str(error).splitlines()[0]}", "none", is_done=False)
    with gguf_of(folder, "f16") as path:
        try:
            return _check_gguf(reader, folder, path, "f16", asked, num_tokens, num_requests)
        except CheckFailedError as error:  # concerns only the temporary file
            return Checked(reader, f"differs: {' '.join(str(error).splitlines()[1:])}", "none", is_done=False)


def _check_gguf(reader: str, folder: Path, gguf: Path, dtype: GgufDtype, asked: _Asked, num_tokens: int, num_requests: int) -> Checked:
    compared = verify_gguf(folder, gguf, dtype, num_requests=num_requests, num_tokens=num_tokens)
    with embedded_server(gguf, 1, _CONTEXT_TOKENS) as url, httpx2.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        payload = {"messages": asked.messages, "temperature": 0, "max_tokens": num_tokens}
        reply = client.post(f"{url}/chat/completions", json=payload)
        if reply.status_code != 200:
            raise CheckFailedError(f"llama.cpp does not answer a chat request: {reply.text[:300]}")
        said = reply.json()
    text, count = said["choices"][0]["message"]["content"] or "", said["usage"]["completion_tokens"]
    if not count:
        raise CheckFailedError("llama.cpp gives no answer to a chat request")
    same = "the same text" if text.strip() == asked.text.strip() else f"its first {common_prefix(text, asked.text)} characters the same"
    found = (
        f"{dtype}: {compared.num_texts} texts and {compared.num_requests} requests have the same tokens; of {compared.num_tokens} "
        f"greedy tokens {compared.num_ties} ties, {compared.num_others} others; log-probabilities differ by at most "
        f"{compared.max_difference:.4f}"
    )
    return Checked(reader, found, f"{_told(count, num_tokens)}, {same} as transformers")


def _told(count: int, limit: int) -> str:
    return f"{count} tokens" + (" (the limit)" if count >= limit else "")


def _reader(name: str, package: str) -> str:
    return f"{name} {importlib.metadata.version(package)}"
