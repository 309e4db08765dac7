"""A training step of this project beside the original formulation: time, memory and counted operations, on the same samples.

    python benchmarks/training.py                               small Llama on the CPU
    python benchmarks/training.py --model DIR_OR_ID             a real model
    python benchmarks/training.py --device cuda --model DIR_OR_ID --checkpointing --pack 8192

Original: teacher and student as two full rows with a mask, logits in float32 at every position (B samples: 2B rows, padded).
Ours: hidden tokens dropped, segments packed, the output layer only where a term is. All take the same samples at the same mask
rate, one after another in one process, and at B = 1 must come to the same loss. Time is process CPU time on a CPU and wall time
on a GPU; memory is the peak beyond weights and gradients (on a CPU of a process of its own for each contender). Samples: 250
tokens of instruction, 900 of reflection in 7 blocks and 350 of answer ("typical"), or lengths drawn around that ("varied").
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from reflectioncoder.config import ModelConfig, TrainConfig
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample, Span
from reflectioncoder.train.engine import Engine
from reflectioncoder.train.plan import RunPlan
from reflectioncoder.train.views import student_kept

KINDS = ("text", "code", "execution", "text", "code", "execution", "text")


def rendered_sample(rng: random.Random, vocab_size: int, scale: float = 1.0) -> RenderedSample:
    """A dialogue of random tokens with the spans and labels of the token rendering."""
    spans: list[Span] = []

    def add(kind, tokens, message=None, block=None):
        start = spans[-1].end if spans else 0
        spans.append(Span(kind, start, start + max(1, round(tokens)), message, block))

    add("prefix", 1)
    for message, instruction in ((0, 250 * scale), (2, 250 * scale)):
        add("header", 1, message)
        add("text", instruction, message, 0)
        add("close", 1, message)
        add("header", 1, message + 1)
        blocks = [(kind, 900 * scale / len(KINDS)) for kind in KINDS] if message == 0 else [("text", 350 * scale)]
        for number, (kind, tokens) in enumerate(blocks):
            add(kind, tokens, message + 1, number)
        add("close", 1, message + 1)
    add("eos", 1)
    size = spans[-1].end
    ids = tuple(rng.randrange(vocab_size) for _ in range(size))
    untrained = {p for s in spans if s.kind in ("prefix", "execution") or s.message in (0, 2) for p in range(s.start, s.end)}
    last = next(s for s in spans if s.message == 3).start
    answer = range(last, size - 1)
    teacher = tuple(IGNORE_INDEX if p in untrained else t for p, t in enumerate(ids))
    student = tuple(t if p in answer else IGNORE_INDEX for p, t in enumerate(ids))
    return RenderedSample(ids, tuple(spans), teacher, student, answer.start, answer.stop)


def original_loss(model, plan: RunPlan, visits, device):
    """The doubled batch of the visits: 2B rows, padded to the longest; a mean over all labels and one over all rows of the KL."""
    samples = [plan.samples[visit.index] for visit in visits]
    size = max(len(sample.input_ids) for sample in samples)
    ids, labels, visible = [], [], []
    for view in ("teacher", "student"):
        for visit, sample in zip(visits, samples, strict=True):
            pad = size - len(sample.input_ids)
            kept = set(student_kept(sample, plan.hidden(visit), "gap")) if view == "student" else set(range(size))
            ids.append([*sample.input_ids, *[0] * pad])
            labels.append([*getattr(sample, f"{view}_labels"), *[IGNORE_INDEX] * pad])
            visible.append([int(p in kept and p < size - pad) for p in range(size)])
    ids, labels, visible = (torch.tensor(rows, device=device) for rows in (ids, labels, visible))
    # A hidden token may look at itself: nobody sees it, and a row without keys would be NaN.
    allowed = torch.ones(size, size, dtype=torch.bool, device=device).tril() & (
        visible[:, None, :].bool() | torch.eye(size, dtype=torch.bool, device=device)
    )
    positions = torch.arange(size, device=device).expand(len(ids), -1)
    logits = model(input_ids=ids, attention_mask=allowed[:, None], position_ids=positions, use_cache=False).logits.float()
    ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX)
    at = labels[len(visits) :] != IGNORE_INDEX
    teacher, student = logits[: len(visits)][at].detach(), logits[len(visits) :][at]
    kl = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)
    return ce + kl / at.sum()


class Contest:
    def __init__(self, args, rate: float, lengths: str):
        self.device = torch.device(args.device)
        self.model, vocab_size = make_model(args, self.device)
        rng = random.Random(args.seed)
        scales = [1.0] * args.samples if lengths == "typical" else [rng.lognormvariate(-0.3, 0.6) for _ in range(args.samples)]
        samples = [rendered_sample(rng, vocab_size, min(scale, 2.5) * args.scale) for scale in scales]
        train = {
            "epochs": 1,
            "global_batch_size": args.samples,
            "mask_schedule": "constant",
            "mask_constant_rate": rate,
            "mask_strategy": ("random_block",),
            "normalization": "per_sample",  # as the original at B = 1
        }
        self.plan = RunPlan(samples, TrainConfig(**train), seed=1)
        self.packed = RunPlan(samples, TrainConfig(**train, micro_batch_tokens=args.pack), seed=1)
        self.visits = self.plan.steps[0]
        self.contenders = {"original, B = 1": 1, "ours, one by one": 0}
        if lengths == "varied":
            self.contenders["original, B = 4 padded"] = 4
        if args.pack:
            self.contenders["ours, packed"] = -1

    def run(self, name: str) -> float:
        """All samples, forward and backward; returns the mean of the losses."""
        size = self.contenders[name]
        precision = torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")
        losses = []
        if size > 0:
            for start in range(0, len(self.visits), size):
                visits = self.visits[start : start + size]
                with precision:
                    loss = original_loss(self.model, self.plan, visits, self.device)
                loss.backward()
                losses += [loss.item()] * len(visits)
            return statistics.mean(losses)
        plan = self.plan if size == 0 else self.packed
        engine = Engine(self.model)
        for batch in plan.batches(0):
            with precision:
                loss = engine.loss(self.model, batch, self.device).loss
            loss.backward()
            losses.append(loss.item())
        engine.close()
        return sum(losses)

    def seconds(self, name: str) -> float:
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        synchronize(self.device)
        began = clock()
        self.run(name)
        synchronize(self.device)
        return clock() - began

    def flops(self, name: str) -> int:
        with FlopCounterMode(display=False) as counter:
            self.run(name)
        return counter.get_total_flops()

    def peak_bytes(self, name: str) -> int:
        """Beyond weights and gradients, which exist before."""
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.run(name)
            return torch.cuda.max_memory_allocated() - before
        before = status_bytes("VmRSS")
        self.run(name)
        return status_bytes("VmHWM") - before


def status_bytes(field: str) -> int:
    with open("/proc/self/status") as handle:
        return next(int(line.split()[1]) * 1024 for line in handle if line.startswith(f"{field}:"))


def synchronize(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def make_model(args, device):
    if args.model:
        from reflectioncoder.model_source import load_model, resolve_model

        config = ModelConfig(args.model, dtype="float32", device=args.device)
        model, _ = load_model(config, resolve_model(config).path, for_training=True)
    else:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=32_000,
                hidden_size=256,
                intermediate_size=704,
                num_hidden_layers=6,
                num_attention_heads=8,
                num_key_value_heads=4,
                tie_word_embeddings=True,
            )
        ).to(device)
    model.train()
    if args.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model, model.config.vocab_size


def memory_of(args, rate: float, lengths: str, name: str) -> float:
    """GB; on a CPU measured in a process of its own."""
    if args.device != "cpu":
        return Contest(args, rate, lengths).peak_bytes(name) / 1e9
    settings = {**vars(args), "only": [rate, lengths, name]}
    done = subprocess.run([sys.executable, __file__, "--settings", json.dumps(settings)], capture_output=True, text=True, check=True)
    return float(done.stdout) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder; default: a small Llama with random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; more than one spend time in waiting")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=4, help="samples of a step; a round is one step of each contender")
    parser.add_argument("--seed", type=int, default=1, help="of tokens and varied lengths")
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.5, 0.9])
    parser.add_argument("--lengths", choices=["typical", "varied"], nargs="+", default=["typical", "varied"])
    parser.add_argument("--pack", type=int, default=0, help="tokens of a pack; 0: ours one by one only")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.settings:
        settings = json.loads(args.settings)
        rate, lengths, name = settings.pop("only")
        print(Contest(argparse.Namespace(**settings), rate, lengths).peak_bytes(name))
        return
    unit = "CPU-s" if args.device == "cpu" else "s"
    for lengths in args.lengths:
        for rate in args.rates:
            contest = Contest(args, rate, lengths)
            losses = {name: contest.run(name) for name in contest.contenders}
            seconds: dict[str, list[float]] = {name: [] for name in contest.contenders}
            for _ in range(args.rounds):
                for name in contest.contenders:
                    seconds[name].append(contest.seconds(name))
            flops = {name: contest.flops(name) for name in contest.contenders}
            sizes = [len(contest.plan.samples[visit.index].input_ids) for visit in contest.visits]
            print(f"\n{lengths} lengths {sizes}, mask rate {rate:g}, medians of {args.rounds}", flush=True)
            for name in contest.contenders:
                times = statistics.median(a / b for a, b in zip(seconds["original, B = 1"], seconds[name], strict=True))
                print(
                    f"  {name:<24} {statistics.median(seconds[name]):8.2f} {unit}  {times:5.2f} x   "
                    f"{flops[name] / 1e12:7.3f} TFLOP {flops['original, B = 1'] / flops[name]:5.2f} x   "
                    f"{memory_of(args, rate, lengths, name):6.2f} GB   loss {losses[name]:.6f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
