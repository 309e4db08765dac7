"""Writes a trained model's folder: weights, tokenizer with chat template, generation config, model card; tested before training."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.files import explain_full_disk, read_json, write_atomic, write_json
from reflectioncoder.data.render import ADDED_TOKENS
from reflectioncoder.data.temporary import remove_abandoned, temporary_beside
from reflectioncoder.errors import UsageError
from reflectioncoder.models.load import load_tokenizer
from reflectioncoder.models.tokens import make_renderer

# Texts that tokenizers encode differently at the start of a text, after a special token, and inside a text.
_PROBES = ("def f(x):\n    return x", " x", "\n\n  x", "a  b", "日本 ü")


def save_model(model: Any, tokenizer: Any, recipe: Recipe, model_dir: Path, summary: dict[str, Any]) -> None:
    """Save the whole folder and rename it into place when complete; a LoRA is merged into the weights."""
    scratch = temporary_beside(model_dir)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    remove_abandoned(model_dir)
    write_model(model, tokenizer, recipe, scratch)
    write_json(scratch / "reflectioncoder.json", {"rendering": recipe.model.rendering, "base_model": recipe.model.name})
    write_atomic(scratch / "README.md", _model_card(recipe, summary))
    if model_dir.exists():
        shutil.rmtree(model_dir)
    os.replace(scratch, model_dir)


def write_model(model: Any, tokenizer: Any, recipe: Recipe, folder: Path) -> None:
    """Write weights, tokenizer and generation configuration.

    The generation configuration names only the BOS, EOS and padding tokens: sampling defaults were chosen for the base model.
    """
    from transformers import GenerationConfig

    stop = make_renderer(recipe.model.rendering, tokenizer).stop_token_ids
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop[-1]
    model.generation_config = GenerationConfig(eos_token_id=stop, pad_token_id=pad, bos_token_id=tokenizer.bos_token_id)
    with explain_full_disk(folder.parent):
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer so that it encodes the same after loading.

    transformers rebuilds some tokenizers from a few settings and drops one of them (Llama's `legacy`). Such a one is saved with the
    class PreTrainedTokenizerFast, which loads the file as it is.

    Raises:
        UsageError: the saved tokenizer still encodes differently.
    """
    tokenizer.save_pretrained(folder)
    if _encodes_alike(tokenizer, load_tokenizer(folder)):
        return
    settings = folder / "tokenizer_config.json"
    write_json(settings, {**read_json(settings), "tokenizer_class": "PreTrainedTokenizerFast"})
    if not _encodes_alike(tokenizer, load_tokenizer(folder)):
        raise UsageError(f"a saved {type(tokenizer).__name__} does not encode as the loaded one does: the model cannot be saved")


def _encodes_alike(one: Any, other: Any) -> bool:
    known = one.get_vocab()
    markers = [*(t for t in ADDED_TOKENS if t in known), one.eos_token, ""]
    texts = [f"{marker}{text}{marker}" for marker in markers if marker is not None for text in _PROBES]
    return all(one.encode(text, add_special_tokens=False) == other.encode(text, add_special_tokens=False) for text in texts)


def try_saving(small_model: Any, tokenizer: Any, recipe: Recipe) -> None:
    """Save a small model on trial, so that a failure to save shows before the training.

    Args:
        small_model: of the same architecture; it cannot be used afterwards.

    Raises:
        UsageError: the model or its tokenizer cannot be saved.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_model(small_model, tokenizer, recipe, Path(folder))
        except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise UsageError(
                f"a model of {type(small_model.config).__name__} cannot be saved ({type(error).__name__}: {error})"
            ) from error


def _model_card(recipe: Recipe, summary: dict[str, Any]) -> str:
    settings = {k: v for k, v in asdict(recipe.train).items() if v not in (None, ())}
    return (
        f"---\nbase_model: {recipe.model.name}\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# {recipe.name}\n\n{recipe.description}\n\n"
        f"{recipe.model.name}, fine-tuned with reflection self-distillation (arXiv 2405.17057) on "
        f"{summary['reflection_visits']} visits of reflection samples and {summary['generation_visits']} of plain one-off samples, "
        f"{summary['num_tokens']:,} tokens in {summary['total_steps']} steps.\n\n"
        f"Rendering: {recipe.model.rendering}; the chat template reproduces the one-off request.\n\n"
        f"```json\n{json.dumps(settings, indent=2)}\n```\n"
    )
