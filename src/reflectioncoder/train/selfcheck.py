"""Tests by experiment, not by a list, whether training on packed segments is exact for an architecture.

The architecture is shrunk to a tiny random float64 model; loss and all gradients of a packed batch are compared with those of the
plain doubled batch (method, section 3): full rows, a dense mask, transformers' own attention. This exposes what is not exact: dropout,
positions that are counted instead of given, recurrent state along the row, scaled or capped logits.
"""

from __future__ import annotations

import contextlib
import copy
import random
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)

from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.errors import UsageError
from reflectioncoder.method.packing import pack
from reflectioncoder.method.views import View, WeightedViews
from reflectioncoder.train.engine import Engine

# Relative differences: rounding 1e-13; 1e-7 where a model always computes its norms in float32; a real mismatch 1e-2.
TOLERANCE = 1e-5
_VOCAB_SIZE, _LENGTH, _WINDOW = 128, 48, 16
_MAX_PARAMETERS = 20_000_000


def why_not_exact(config: Any) -> str | None:
    """Return why a model of this configuration cannot be trained exactly; None if it can.

    Args:
        config: a `transformers` configuration of any size.
    """
    name = type(config).__name__
    if rotary := _rotary_kinds(config) & {"dynamic", "longrope"}:  # a short row does not reveal them
        return f"{name}: rotary positions of type {', '.join(rotary)} depend on the longest row of a batch"
    try:
        model = tiny_model(config)
    except Exception as error:  # noqa: BLE001 (whatever goes wrong in a foreign architecture is the reason)
        return f"{name}: a small model of this architecture cannot be made ({type(error).__name__}: {error})"
    try:
        difference = largest_difference(model)
    except UsageError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (whatever goes wrong in a foreign architecture is the reason)
        return f"{name}: a packed batch does not run ({type(error).__name__}: {error})"
    if difference <= TOLERANCE:
        return None
    dropouts = [f"{key} = {value}" for key, value in config.to_dict().items() if ("dropout" in key or "pdrop" in key) and value]
    hint = f"; {', '.join(dropouts)}" if dropouts else ""
    return f"{name}: gradients of a packed batch differ from those of the plain one by {difference:.1e} (relative){hint}"


def _rotary_kinds(config: Any) -> set[str]:
    parameters = getattr(config, "rope_parameters", None) or {}
    groups = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    return {str(group.get("rope_type")) for group in groups}


def tiny_model(config: Any) -> Any:
    """Return a tiny random float64 model in training mode, with all layer types and the ratio of query to key heads."""
    from transformers import AutoModelForCausalLM

    small = copy.deepcopy(config)
    if hasattr(small, "quantization_config"):
        del small.quantization_config
    heads = getattr(config, "num_attention_heads", 4)
    groups = max(1, heads // (getattr(config, "num_key_value_heads", None) or heads))
    layer_types = getattr(config, "layer_types", None)
    kinds = list(dict.fromkeys(layer_types)) if layer_types else []
    num_layers = max(2, len(kinds))
    sizes = {
        "vocab_size": _VOCAB_SIZE,
        "hidden_size": 16 * groups,
        "intermediate_size": 48,
        "num_attention_heads": 2 * groups,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_hidden_layers": num_layers,
        "max_position_embeddings": 4096,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "num_experts": 4,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    }
    for key, value in sizes.items():
        if hasattr(small, key):
            setattr(small, key, value)
    if kinds:
        with contextlib.suppress(AttributeError):  # some configurations derive it and forbid setting it
            small.layer_types = (kinds * 2)[:num_layers]
    if getattr(small, "sliding_window", None):
        small.sliding_window = _WINDOW  # short enough to take effect
    if getattr(small, "attention_chunk_size", None):
        small.attention_chunk_size = _WINDOW
    with torch.device("meta"):
        num_parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(small).parameters())
    if num_parameters > _MAX_PARAMETERS:
        raise UsageError(f"it stays at {num_parameters / 1e6:.0f}M parameters")
    random_state = torch.get_rng_state()
    try:
        torch.manual_seed(0)
        # The plainest implementation: not every fast one supports float64.
        small._experts_implementation = "eager"
        return AutoModelForCausalLM.from_config(small, dtype=torch.float64, attn_implementation="eager").train()
    finally:
        torch.set_rng_state(random_state)


def largest_difference(model: Any) -> float:
    """Return the largest difference of loss and gradients, packed to plain, relative to the norm or 1e-3 of the largest norm."""
    samples = [_sample(seed) for seed in range(3)]
    model.zero_grad()
    with contextlib.closing(Engine(model)) as engine:
        packed = engine.loss(model, pack(samples), torch.device("cpu")).loss
        packed.backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    plain = torch.stack([_plain_loss(model, sample) for sample in samples]).sum()
    plain.backward()
    theirs = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    if ours.keys() != theirs.keys():
        return float("inf")
    floor = 1e-3 * max(float(grad.norm()) for grad in theirs.values())
    differences = [float((ours[name] - grad).norm()) / max(float(grad.norm()), floor) for name, grad in theirs.items()]
    differences.append(abs(packed.item() - plain.item()) / abs(plain.item()))
    return max(differences) if all(d == d for d in differences) else float("inf")


def _sample(seed: int) -> WeightedViews:
    rng = random.Random(seed)
    ids = [rng.randrange(3, _VOCAB_SIZE) for _ in range(_LENGTH + seed)]
    size, answer = len(ids), len(ids) - 12
    kept = [*range(14 + seed, 22), *range(27, size)]
    labels = [IGNORE_INDEX if p < 6 or 18 <= p < 24 else token for p, token in enumerate(ids)]
    student = [token if answer <= p < size - 1 else IGNORE_INDEX for p, token in enumerate(ids)]
    return WeightedViews(
        View(tuple(ids), tuple(range(size)), tuple(labels), tuple(range(answer, size - 1))),
        View(
            tuple(ids[p] for p in kept), tuple(kept), tuple(student[p] for p in kept), tuple(map(kept.index, range(answer, size - 1)))
        ),
        ce_weight=0.02,
        kl_weight=0.03,
    )


def _plain_loss(model: Any, sample: WeightedViews) -> torch.Tensor:
    """Return the loss of two full rows; in the second, no token attends to the tokens that the student does not keep."""
    teacher, student = sample.teacher, sample.student
    assert student is not None
    size = len(teacher.input_ids)
    visible = torch.tensor([[True] * size, [p in student.position_ids for p in range(size)]])
    # A hidden token attends to itself only: a row without keys would be NaN.
    allowed = torch.ones(size, size, dtype=torch.bool).tril() & (visible[:, None, :] | torch.eye(size, dtype=torch.bool))
    window = getattr(model.config, "sliding_window", None) or size
    masks = {
        "full_attention": _additive(allowed),
        "sliding_attention": _additive(allowed & ~torch.ones(size, size, dtype=torch.bool).tril(-window)),
    }
    kinds = set(getattr(model.config, "layer_types", None) or [])
    one = masks["sliding_attention" if kinds <= {"sliding_attention"} else "full_attention"]
    logits = model(
        input_ids=torch.tensor([teacher.input_ids] * 2),
        attention_mask={kind: masks.get(kind, masks["full_attention"]) for kind in kinds} if len(kinds) > 1 else one,
        position_ids=torch.arange(size).repeat(2, 1),
        use_cache=False,
    ).logits
    labels = torch.full((2, size), IGNORE_INDEX)
    labels[0] = torch.tensor(teacher.labels)
    labels[1, list(student.position_ids)] = torch.tensor(student.labels)
    ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX, reduction="sum")
    rows = list(teacher.kl_rows)
    p_teacher = logits[0, rows].detach().log_softmax(-1)
    kl = F.kl_div(logits[1, rows].log_softmax(-1), p_teacher, reduction="sum", log_target=True)
    return sample.ce_weight * ce + sample.kl_weight * kl


def _additive(allowed_BTT: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(allowed_BTT.shape, dtype=torch.float64)
    return mask.masked_fill(~allowed_BTT, torch.finfo(torch.float64).min)[:, None]
