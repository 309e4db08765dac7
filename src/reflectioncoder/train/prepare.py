"""Prepares the recipe's model for training and forecasts the memory that training will take."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.data.render import ADDED_TOKENS
from reflectioncoder.errors import UsageError
from reflectioncoder.method.packing import PackedBatch
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.models.load import autocast_dtype, load_config, load_model, pick_device, weight_dtype
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.models.tokens import add_tokens, make_renderer
from reflectioncoder.progress import say
from reflectioncoder.train.forecast import MemoryForecast, forecast_memory
from reflectioncoder.train.sharding import is_sharded

_NF4_BYTES = 0.52  # bytes per weight, including its share of the quantization scales
_SAFE_SHARE = 0.9  # of the device's memory; the rest is for fragmentation and other processes


def empty_model(recipe: Recipe, source: ModelSource, tokenizer: Any) -> Any:
    """Return the recipe's model on the meta device: ready to train except for its weights.

    Raises:
        UsageError: the model cannot be adapted as the recipe says.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_config(source.path), dtype=_weight_dtype(recipe))
        return adapt_model(model, tokenizer, recipe)[0]


def prepare_model(recipe: Recipe, source: ModelSource, *, on_cpu: bool = False) -> tuple[Any, Any, int | None]:
    """Return (model, tokenizer, output-layer rows that are tokens), ready to train; `on_cpu` overrides the recipe's device."""
    quantized = is_quantized(recipe)
    if quantized and is_sharded():
        raise UsageError("weights in 4 bits cannot be spread over processes\n  hint:    train.sharding: none")
    model, tokenizer = load_model(recipe.model, source.path, for_training=True, sharded=on_cpu or is_sharded(), quantized=quantized)
    if model.dtype == torch.bfloat16 and recipe.train.lora is None:
        say("train: bfloat16 weights lose most updates of a usual learning rate; model.dtype: auto keeps them in float32")
    model, vocab_size = adapt_model(model, tokenizer, recipe)
    if recipe.model.rendering == "token":
        tokenizer.chat_template = make_renderer("token", tokenizer).chat_template()
    return model, tokenizer, vocab_size


def _weight_dtype(recipe: Recipe) -> torch.dtype:
    return getattr(torch, weight_dtype(recipe.model, on_gpu=False, for_training=True))


def is_quantized(recipe: Recipe) -> bool:
    return recipe.train.lora is not None and recipe.train.lora.quantization != "none"


def whole_model(recipe: Recipe, source: ModelSource, weights: dict[str, torch.Tensor]) -> Any:
    """Return the model in full precision on the CPU with the trained `weights`; all other weights are the base model's."""
    if recipe.train.lora is not None:
        recipe = replace(recipe, train=replace(recipe.train, lora=replace(recipe.train.lora, quantization="none")))
    model, _, _ = prepare_model(recipe, source, on_cpu=True)
    unexpected = model.load_state_dict(weights, strict=False).unexpected_keys
    missing = {name for name, p in model.named_parameters() if p.requires_grad} - weights.keys()
    if unexpected or missing:
        raise RuntimeError(f"the trained weights are not those of the model: {unexpected or missing}")
    return model


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().cpu() for name, p in model.named_parameters() if p.requires_grad}


def num_parameters(model: Any, *, trained_only: bool = False) -> int:
    """Count parameters, also if they are sharded over processes or packed two to a byte."""
    return sum(
        getattr(p, "ds_numel", p.numel()) * (2 if p.dtype == torch.uint8 else 1)
        for p in model.parameters()
        if p.requires_grad or not trained_only
    )


def adapt_model(model: Any, tokenizer: Any, recipe: Recipe) -> tuple[Any, int | None]:
    """Add tokens, freeze parts and attach a LoRA; return (model, output-layer rows that are tokens)."""
    vocab_size = add_tokens(model, tokenizer) if recipe.model.rendering == "token" else None
    if recipe.train.freeze_layers:
        _freeze(model, recipe.train.freeze_layers)
    if recipe.train.lora is not None:
        from peft import LoraConfig, TaskType, get_peft_model

        lora = recipe.train.lora
        new_rows = None
        if recipe.model.rendering == "token":  # new rows must be trained; a LoRA alone would leave them at their initial means
            ids = tokenizer.convert_tokens_to_ids(list(ADDED_TOKENS))
            if is_sharded() and model.config.tie_word_embeddings:
                raise UsageError(
                    "a LoRA with added tokens on tied embeddings cannot be spread over processes\n"
                    "  hint:    train.sharding: none, model.rendering: chat, or no LoRA"
                )
            tables = [model.get_input_embeddings()] + ([] if model.config.tie_word_embeddings else [model.get_output_embeddings()])
            new_rows = {name.rpartition(".")[2]: ids for name, module in model.named_modules() if module in tables}
        adapter = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=0.0,
            target_modules=list(lora.target_modules) if lora.target_modules else "all-linear",
            trainable_token_indices=new_rows,  # type: ignore[arg-type]
        )
        try:
            model = get_peft_model(model, adapter)
        except ValueError as error:  # unknown layer types or target modules that do not exist
            where, found = "train.lora.target_modules", lora.target_modules and list(lora.target_modules)
            raise UsageError.for_value(f"no LoRA for this model: {error}", where, found, _linear_layers(model)) from error
    return model, vocab_size


def _linear_layers(model: Any) -> list[str]:
    return sorted({name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)})


def _freeze(model: Any, num_layers: int) -> None:
    """Freeze the embeddings and the lowest transformer layers: no gradients, no optimizer state, no backward through them."""
    layers = model.get_decoder().layers
    if num_layers > len(layers):
        raise UsageError.for_value("cannot freeze more layers than there are", "train.freeze_layers", num_layers, f"0 to {len(layers)}")
    for module in (model.get_input_embeddings(), *layers[:num_layers]):
        module.requires_grad_(False)


def forecast_run(recipe: Recipe, source: ModelSource, tokenizer: Any, plan: RunPlan, *, checkpointing: bool) -> MemoryForecast:
    """Forecast the memory of the run's largest forward without loading weights."""
    on_gpu = pick_device(recipe.model.device).startswith("cuda")
    model = empty_model(recipe, source, tokenizer)
    autocast = autocast_dtype(recipe.model)
    device = "cuda" if on_gpu else "cpu"
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    output_layer = {id(module) for module in base.get_output_embeddings().modules()}
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and id(m) not in output_layer]
    in_4_bits = sum(m.weight.numel() for m in linear if not m.weight.requires_grad)
    forecast = forecast_memory(model, largest_batch(plan), device, checkpointing=checkpointing, autocast=autocast)
    if not is_quantized(recipe):
        return forecast
    # 4-bit weights are unpacked where they are used; autocast's copies of them are not kept.
    copies = 0 if autocast is None or checkpointing else in_4_bits * autocast.itemsize
    return replace(
        forecast,
        parameters=forecast.parameters - round(in_4_bits * (_weight_dtype(recipe).itemsize - _NF4_BYTES)),
        activations=max(0, forecast.activations - copies),
    )


def largest_batch(plan: RunPlan) -> PackedBatch:
    """Return the batch with the most tokens."""
    costs = plan.costs()
    starts = np.arange(0, len(costs), plan.config.global_batch_size)
    longest, totals = np.maximum.reduceat(costs, starts), np.add.reduceat(costs, starts)
    if plan.config.micro_batch_tokens:  # batches are filled up: any step with the most tokens contains one of the fullest
        fullest = np.minimum(totals, plan.config.micro_batch_tokens)
        step = int(np.lexsort((-np.arange(len(starts)), longest, fullest))[-1])  # the first of them
    else:
        step = int(longest.argmax())
    return max(plan.batches(step), key=lambda batch: batch.num_tokens)


def needs_checkpointing(recipe: Recipe, source: ModelSource, tokenizer: Any, plan: RunPlan, num_ranks: int = 1) -> bool:
    """Decide `train.gradient_checkpointing`; "auto": only if the forecast without it does not fit or cannot be made.

    Call it before the weights are loaded: on a CPU they would count twice.
    """
    if recipe.train.gradient_checkpointing != "auto":
        return recipe.train.gradient_checkpointing == "always"
    available = _SAFE_SHARE * device_bytes(pick_device(recipe.model.device), num_ranks)
    try:
        forecast = forecast_run(recipe, source, tokenizer, plan, checkpointing=False)
    except Exception as error:  # noqa: BLE001 (an architecture whose forward reads tensor values)
        say(f"train: no memory forecast for this architecture ({type(error).__name__}); activations will be computed again")
        return True
    if recipe.train.offload_activations and pick_device(recipe.model.device) != "cpu":
        forecast = replace(forecast, activations=forecast.parameters // 2)  # autocast's copies of the weights stay
    if is_sharded():
        elsewhere = (forecast.parameters + forecast.gradients + forecast.optimizer) * (1 - 1 / num_ranks)
    else:
        elsewhere = -forecast.gradients if num_ranks > 1 else 0.0  # DDP's own copy
    if forecast.total - elsewhere <= available:
        return False
    least = forecast_run(recipe, source, tokenizer, plan, checkpointing=True).total - elsewhere
    if least > available:
        say(f"train: the forecast is {least / 1e9:.1f} GB of memory, there are {available / 1e9:.1f} GB")
    return True


def decide_checkpointing(recipe: Recipe, source: ModelSource, tokenizer: Any, plan: RunPlan, num_ranks: int) -> bool:
    """Decide `needs_checkpointing` in the first process for all: free memory differs between processes."""
    if num_ranks == 1:
        return needs_checkpointing(recipe, source, tokenizer, plan)
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    is_first = PartialState().is_main_process
    decision = [needs_checkpointing(recipe, source, tokenizer, plan, num_ranks) if is_first else None]
    return bool(broadcast_object_list(decision)[0])


def device_bytes(device: str, num_ranks: int = 1) -> float:
    """Return the free memory of a GPU, which other processes may use too, or a rank's share of the machine's, in bytes."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as handle:
            return next(int(line.split()[1]) * 1024 / num_ranks for line in handle if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / num_ranks
