"""The training step of this version against the authors' doubled batch, alternately in one run, on the same samples.

    python benchmarks/training.py [--model DIR_OR_ID] [--rounds 5] [--rate 0.5]

Doubled batch: teacher and student as two full rows with a mask, logits at every position. Ours: hidden tokens dropped, logits only
where a term is. Prints medians of process CPU seconds, the ratio, the peak memory of the process, and checks that the losses agree.
"""

import argparse
import resource
import statistics
import time

import torch
import torch.nn.functional as F  # noqa: N812

from reflectioncoder.config import BuildConfig, ModelConfig, Recipe, TrainConfig
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.model_source import load_model, make_renderer, resolve_model
from reflectioncoder.train.losses import micro_batch_loss
from reflectioncoder.train.plan import RunPlan
from reflectioncoder.train.views import student_kept


def samples_to_time(count: int) -> list[Sample]:
    """Dialogues of the usual form around bundled references; nothing is executed here."""
    chosen = bundled_problems("train")[200 : 200 + count]
    return [
        Sample((
            user(p.prompt),
            assistant(Block("text", "A first version."), Block("code", p.reference + p.test_code),
                      Block("execution", "AssertionError"), Block("text", "One value is wrong."),
                      Block("code", p.reference + p.test_code), Block("execution", "All tests passed.")),
            user(p.prompt),
            assistant(Block("text", p.reference)),
        ))
        for p in chosen
    ]  # fmt: skip


def doubled_batch(model, plan: RunPlan, number: int):
    """Plain formulation of the same micro-batch (B = 1)."""
    [visit] = plan.micro_batches[number]
    sample = plan.samples[visit.index]
    kept = set(student_kept(sample, plan.hidden(visit), "gap"))
    size = len(sample.input_ids)
    visible = torch.tensor([[1] * size, [int(p in kept) for p in range(size)]], dtype=torch.bool)
    allowed = torch.ones(size, size, dtype=torch.bool).tril() & (visible[:, None, :] | torch.eye(size, dtype=torch.bool))
    mask = torch.zeros(2, 1, size, size).masked_fill(~allowed[:, None], torch.finfo(torch.float32).min)
    ids = torch.tensor([sample.input_ids, sample.input_ids])
    logits = model(input_ids=ids, attention_mask=mask, position_ids=torch.arange(size).repeat(2, 1), use_cache=False).logits
    labels = torch.tensor([sample.teacher_labels, [t if p in kept else IGNORE_INDEX for p, t in enumerate(sample.student_labels)]])
    ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX)
    at = slice(sample.answer_start, sample.answer_end)
    kl = F.kl_div(logits[1, at].log_softmax(-1), logits[0, at].detach().log_softmax(-1), reduction="sum", log_target=True)
    return ce + kl / (sample.answer_end - sample.answer_start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.5)
    args = parser.parse_args()
    config = ModelConfig(args.model, dtype="float32", device="cpu")
    model, tokenizer = load_model(config, resolve_model(config).path)
    renderer = make_renderer("chat", tokenizer)
    train = TrainConfig(
        epochs=1, global_batch_size=1, mask_schedule="constant", mask_constant_rate=args.rate, mask_strategy=("random_block",)
    )
    recipe = Recipe("timing", config, build=BuildConfig(), train=train)
    plan = RunPlan([renderer.render(s) for s in samples_to_time(args.rounds)], train, recipe.seed)
    device = torch.device("cpu")
    contenders = {
        "doubled batch": lambda n: doubled_batch(model, plan, n),
        "this version": lambda n: micro_batch_loss(model, plan.micro_batch(n), device).loss,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(len(plan.micro_batches)):
        losses = []
        for name, work in contenders.items():
            model.zero_grad()
            started = time.process_time()
            loss = work(number)
            loss.backward()
            seconds[name].append(time.process_time() - started)
            losses.append(loss.item())
        assert abs(losses[0] - losses[1]) < 1e-3 * abs(losses[0]), losses
    for name, values in seconds.items():
        print(f"{name:<16} {statistics.median(values):7.2f} CPU-s median of {len(values)} steps")
    ratios = [plain / ours for plain, ours in zip(*seconds.values(), strict=True)]
    print(f"ratio            {statistics.median(ratios):7.2f} x at mask rate {args.rate:g}")
    print(f"peak memory      {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:7.2f} GiB (both)")


if __name__ == "__main__":
    main()
