"""Plans over a grid of settings, and the digests of all that they say: what `recorded_plans.json` was made of.

`python -m tests.method.plans` prints the digests.
"""

from __future__ import annotations

import hashlib
import json
import random
from functools import cache
from typing import Any

from reflectioncoder.config.declarations import TrainConfig
from reflectioncoder.data.render import Renderer
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.models.tokens import add_tokens_to, make_renderer

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou answer with programs.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

GRID: dict[str, dict[str, Any]] = {
    "block type": {},
    "other order": {"mask_block_order": ("text", "code", "execution"), "mask_schedule": "cosine"},
    "all": {"mask_strategy": ("all",), "student_positions": "dense"},
    "none": {"mask_strategy": ("none",), "mask_frame": False},
    "random tokens": {"mask_strategy": ("random_token",), "mask_schedule": "step"},
    "first tokens": {"mask_strategy": ("sequential_token",), "mask_schedule": "constant", "mask_constant_rate": 0.4},
    "random blocks": {"mask_strategy": ("random_block",), "student_positions": "dense"},
    "first blocks": {"mask_strategy": ("sequential_block",)},
    "drawn": {"mask_strategy": ("random_block", "sequential_token", "block_type")},
    "packed": {"micro_batch_tokens": 1500, "global_batch_size": 16},
    "upsampled": {"reflection_upsampling": 3, "generation_upsampling": 2, "epochs": 1.6},
    "budget": {"max_tokens": 20_000},
    "budget, drawn blocks": {"max_tokens": 20_000, "mask_strategy": ("random_block",)},
    "per sample": {"normalization": "per_sample", "global_batch_size": 5},
    "without distillation": {"kl_weight": 0.0},
    "without a student": {"kl_weight": 0.0, "student_view": False},
    "half of the tokens": {"reflection_token_share": 0.5},
}


def byte_tokenizer() -> Any:
    """Return a tokenizer of bytes, whose ids depend on nothing but this function."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({token: number for number, token in enumerate([*specials, *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHATML
    return tokenizer


@cache
def renderer_of(rendering: str) -> Renderer:
    tokenizer = byte_tokenizer()
    add_tokens_to(tokenizer)
    return make_renderer(rendering, tokenizer)


def samples(count: int = 30) -> list[Sample]:
    """Return samples of many shapes: several corrections, spellings of special tokens, blanks, other alphabets, plain answers."""
    rng = random.Random("recorded plans")
    words = ["first", " list", "\n", "  indented", "<|im_end|>", "<|endofblock|>", "é", "数", "\t", "x = [1, 2]", "```", " "]

    def text(most: int) -> str:
        return "Write f." + "".join(rng.choice(words) for _ in range(rng.randrange(most)))

    made = []
    for number in range(count):
        answer = assistant(Block("text", f"```python\ndef f(x):\n    return {number}\n```" + text(5)))
        if number % 3 == 2:
            made.append(Sample((user(text(12)), answer), "generation", {"id": f"plain-{number}"}))
            continue
        blocks = [Block("text", text(9))]
        for _ in range(rng.randrange(1, 4)):
            blocks += [Block("code", text(20)), Block("execution", text(6)), Block("text", text(14))]
        blocks += [Block("code", text(20)), Block("execution", "ok")]
        made.append(Sample((user(text(10)), assistant(*blocks), user(text(10)), answer), "reflection", {"id": f"reflection-{number}"}))
    return made


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def spelled_out(plan: RunPlan) -> dict[str, Any]:
    """Return all that a plan says, as JSON: visits, costs, every batch of one rank and of each of two."""
    steps = range(plan.total_steps)
    return {
        "visits": [[(v.index, v.epoch, v.step, v.slot) for v in plan.visits(step)] for step in steps],
        "num_tokens": plan.num_tokens,
        "costs": [plan.step_costs(step).tolist() for step in steps],
        "batches": [
            [vars(batch) for batch in plan.batches(step, rank, ranks)] for ranks in (1, 2) for rank in range(ranks) for step in steps
        ],
    }


def digests() -> dict[str, str]:
    found = {}
    for rendering in ("token", "chat"):
        rendered = [renderer_of(rendering).render(sample) for sample in samples()]
        found[f"{rendering}: samples"] = digest([sample.to_json() for sample in rendered])
        for name, settings in GRID.items():
            config = TrainConfig(**{"global_batch_size": 4, "epochs": 2.0, **settings})
            found[f"{rendering}: {name}"] = digest(spelled_out(RunPlan(rendered, config, seed=7)))
    return found


if __name__ == "__main__":
    print(json.dumps(digests(), indent=2))
