"""Decides how a model is prompted: its renderer for training, its requests for generation, the seven tokens that training may add."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.data.files import read_json
from reflectioncoder.data.render import ADDED_TOKENS, Renderer, TokenRenderer
from reflectioncoder.data.render_chat import ChatRenderer
from reflectioncoder.data.requests import ChatRequests, PlainRequests
from reflectioncoder.errors import UsageError, require
from reflectioncoder.models.load import load_tokenizer

RENDERERS: dict[str, type[Renderer]] = {"token": TokenRenderer, "chat": ChatRenderer}


class Requests(Protocol):
    """The interface for asking a model for one-off answers."""

    name: str

    def render_request(self, instruction: str, prefill: str = "") -> list[int]: ...

    @property
    def stop_token_ids(self) -> list[int]: ...


def make_renderer(rendering: str, tokenizer: Any) -> Renderer:
    """Return the renderer for `model.rendering`, "token" or "chat"."""
    return RENDERERS[rendering](tokenizer)


def make_requests(path: Path, tokenizer: Any) -> Requests:
    """Return the requests for a folder's model: as trained if trained here, else in its chat template, or in plain text without one.

    Raises:
        UsageError: the chat template cannot be used, or `reflectioncoder.json` names an unknown rendering.
    """
    marker = path / "reflectioncoder.json"
    if not marker.is_file():
        return ChatRequests(tokenizer) if tokenizer.chat_template else PlainRequests(tokenizer)
    said = read_json(marker)
    rendering = said.get("rendering") if isinstance(said, dict) else None
    if rendering not in ("token", "chat"):
        raise UsageError.for_value("not a rendering", f"{marker}: rendering", rendering, ("token", "chat"))
    return TokenRenderer(tokenizer) if rendering == "token" else ChatRequests(tokenizer)


def training_tokenizer(path: Path, rendering: str) -> Any:
    """Load the tokenizer of a model folder, including the tokens that the rendering adds.

    Raises:
        UsageError: the folder has no tokenizer, or it cannot be read.
    """
    tokenizer = load_tokenizer(path)
    if rendering == "token":
        add_tokens_to(tokenizer)
    return tokenizer


def add_tokens_to(tokenizer: Any) -> dict[str, list[int]]:
    """Add the seven tokens of the token rendering to the tokenizer; return the ids that each new token was encoded to before."""
    known = tokenizer.get_vocab()
    spelled = {t: tokenizer.encode(t, add_special_tokens=False) for t in ADDED_TOKENS if t not in known}
    if spelled:
        tokenizer.add_special_tokens({"additional_special_tokens": list(spelled)}, replace_extra_special_tokens=False)
    return spelled


def add_tokens(model: Any, tokenizer: Any) -> int:
    """Add the seven tokens to model and tokenizer; a new row (input, output) is the mean of the rows that spelled it before.

    The embeddings never shrink; they grow to a multiple of 64 (method, section 2). Returns the number of rows that are tokens: the
    padding rows after them are zero and must be excluded from the softmax.
    """
    torch = require("torch", "train")
    spelled = add_tokens_to(tokenizer)
    num_tokens = max(len(tokenizer), model.get_input_embeddings().weight.shape[0])
    if num_tokens > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(num_tokens, pad_to_multiple_of=64, mean_resizing=False)
    tables = {id(t.weight): t.weight for t in (model.get_input_embeddings(), model.get_output_embeddings()) if t is not None}
    with torch.no_grad():
        for weight in tables.values():
            for token, ids in spelled.items():
                weight[tokenizer.convert_tokens_to_ids(token)] = weight[ids].mean(dim=0)
            weight[num_tokens:] = 0.0
    return num_tokens
