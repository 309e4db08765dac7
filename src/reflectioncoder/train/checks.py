"""Checks a training before it starts: settings, device, architecture, chat template, saving. Loads no weights."""

from __future__ import annotations

import re
from typing import Any

from reflectioncoder.config.declarations import Recipe, TrainConfig
from reflectioncoder.errors import MachineError, UsageError, require
from reflectioncoder.models.load import load_config, pick_device
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.models.tokens import make_renderer, training_tokenizer


def check_settings(config: TrainConfig) -> None:
    """Check the settings that depend on installed packages, which a recipe cannot check itself.

    Raises:
        MachineError: a tracker is not installed.
    """
    if config.report_to:
        require("transformers", "train")
        from transformers.integrations.integration_utils import get_available_reporting_integrations

        available = get_available_reporting_integrations()
        for tracker in config.report_to:
            if tracker not in available:
                raise MachineError(f"train.report_to: {tracker} is not installed; installed: {', '.join(available) or 'none'}")


def check_recipe(recipe: Recipe) -> None:
    """Check everything about a training that needs neither the model nor the data.

    Raises:
        UsageError: impossible settings, or a device name that training does not support.
        MachineError: a tracker is not installed, or this machine has no such device.
    """
    check_settings(recipe.train)
    if recipe.train.freeze_layers and recipe.model.rendering == "token":
        raise UsageError("train.freeze_layers would leave the embeddings of the token rendering untrained\n  hint:    use a LoRA")
    device = recipe.model.device
    allowed = "auto, cpu or cuda"
    if re.fullmatch(r"cuda:\d+", device):
        hint = f"CUDA_VISIBLE_DEVICES={device.partition(':')[2]}"
        raise UsageError.for_value("training takes the first GPU it sees", "model.device", device, allowed, hint)
    pick_device(device)


def check_model(recipe: Recipe, source: ModelSource) -> Any:
    """Check everything about the model that its folder tells; return the tokenizer in the form used for training.

    Raises:
        UsageError: an architecture that cannot be trained exactly, adapted or saved, or an unusable tokenizer or chat template.
    """
    from reflectioncoder.train.engine import head_weight
    from reflectioncoder.train.prepare import empty_model
    from reflectioncoder.train.save import try_saving
    from reflectioncoder.train.selfcheck import tiny_model, why_not_exact

    config = load_config(source.path)
    tokenizer = training_tokenizer(source.path, recipe.model.rendering)
    renderer = make_renderer(recipe.model.rendering, tokenizer)
    tokenizer.chat_template = renderer.chat_template() or tokenizer.chat_template
    if reason := why_not_exact(config):
        raise UsageError(f"this model cannot be trained exactly\n  {reason}\n  hint:    docs/exactness.md")
    model = empty_model(recipe, source, tokenizer)
    head_weight((model.get_base_model() if hasattr(model, "get_base_model") else model).get_output_embeddings())
    try_saving(tiny_model(config), tokenizer, recipe)
    return tokenizer
