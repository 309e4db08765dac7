"""A training step of this project beside the original formulation: time, memory and counted operations, on the same samples.

    python benchmarks/training.py                               small Llama on the CPU
    python benchmarks/training.py --model DIR_OR_ID             a real model
    python benchmarks/training.py --device cuda --model DIR_OR_ID --pack 8192 --samples 16 --trl --compile

Original: teacher and student as two full rows with a mask, logits in float32 at every position (B samples: 2B rows, padded).
Ours: hidden tokens dropped, segments packed, the output layer only where a term is. All take the same samples at the same mask
rate, one after another in one process, and at B = 1 must come to the same loss. Time is process CPU time on a CPU and wall time
on a GPU; memory is the peak beyond weights and gradients (on a CPU of a process of its own for each contender). Samples: 250
tokens of instruction, 900 of reflection in 7 blocks and 350 of answer ("typical"), or lengths drawn around that ("varied").
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from steps.contest import Contender, Contest, Workload
from steps.losses import original_loss, trl_loss


def contenders(args, lengths: str) -> dict[str, Contender]:
    """The first is what the others are compared with."""
    on_gpu = args.device != "cpu"
    chosen = {"original, B = 1": Contender(original_loss)}
    if on_gpu:
        chosen = {"original, B = 1, ckpt": Contender(original_loss, checkpointing=True), **chosen}
    if lengths == "varied":
        chosen["original, B = 4 padded"] = Contender(original_loss, 4, checkpointing=on_gpu)
    if args.trl:
        chosen["TRL parts, B = 1"] = Contender(trl_loss, checkpointing=on_gpu)
        if lengths == "varied":
            chosen["TRL parts, B = 4 padded"] = Contender(trl_loss, 4, checkpointing=on_gpu)
    chosen["ours, one by one"] = Contender()
    if on_gpu:
        chosen["ours, one by one, ckpt"] = Contender(checkpointing=True)
    if args.pack:
        chosen["ours, packed"] = Contender(packed=True)
        if on_gpu:
            chosen["ours, packed, ckpt"] = Contender(packed=True, checkpointing=True)
    if args.mixed and not on_gpu:
        chosen.update({f"{name}, bfloat16": replace(own, mixed=True) for name, own in list(chosen.items())})
    if args.compile:
        for name, own in list(chosen.items()):
            if own.loss is None:
                chosen[f"{name}, head compiled"] = replace(own, compiled=True)
                if on_gpu:
                    chosen[f"{name}, all compiled"] = replace(own, compiled=True, layers_compiled=True)
    return chosen


def make_contest(args, rate: float, lengths: str, model) -> Contest:
    workload = Workload(args.samples, lengths, args.scale, rate, args.pack, args.seed)
    return Contest(model, workload, contenders(args, lengths))


def make_model(args):
    if args.model:
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(0)  # of a folder with a configuration alone the weights are random: the time is the same
        if any(Path(args.model).glob("*.safetensors")) or not Path(args.model).is_dir():
            model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
        else:
            with torch.device(args.device):
                model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(args.model), dtype=torch.float32)
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
        )
    return model.to(args.device).train()


def memory_of(args, contest: Contest, rate: float, lengths: str, name: str) -> float:
    """GB; on a CPU measured in a process of its own."""
    if args.device != "cpu":
        return contest.peak_bytes(name) / 1e9
    settings = {**vars(args), "only": [rate, lengths, name]}
    done = subprocess.run([sys.executable, __file__, "--settings", json.dumps(settings)], capture_output=True, text=True, check=True)
    return float(done.stdout) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="hub id or folder, without weights too; default: a small Llama with random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; more than one spend time in waiting")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=4, help="samples of a step; a round is one step of each contender")
    parser.add_argument("--seed", type=int, default=1, help="of tokens and varied lengths")
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.5, 0.9])
    parser.add_argument("--lengths", choices=["typical", "varied"], nargs="+", default=["typical", "varied"])
    parser.add_argument("--pack", type=int, default=0, help="tokens of a pack; 0: ours one by one only")
    parser.add_argument("--trl", action="store_true", help="TRL's parts too (pip install trl)")
    parser.add_argument("--mixed", action="store_true", help="on a CPU, each with products in bfloat16 too (model.dtype: mixed)")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile too")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU in bfloat16, for its use")
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.settings:
        settings = argparse.Namespace(**json.loads(args.settings))
        rate, lengths, name = settings.only
        print(make_contest(settings, rate, lengths, make_model(settings)).peak_bytes(name))
        return
    model = make_model(args)
    for lengths in args.lengths:
        totals: dict[str, float] = {}
        for rate in args.rates:
            for name, seconds in compare(args, make_contest(args, rate, lengths, model), rate, lengths).items():
                totals[name] = totals.get(name, 0.0) + seconds
        reference = next(iter(totals))
        print(f"\n{lengths} lengths, the mean of the rates {args.rates}, times faster than {reference}")
        for name, seconds in totals.items():
            print(f"  {name:<34} {totals[reference] / seconds:5.2f} x", flush=True)


def compare(args, contest: Contest, rate: float, lengths: str) -> dict[str, float]:
    """Prints a table; returns the median seconds of each contender."""
    on_gpu = args.device != "cpu"
    names, losses = list(contest.contenders), {}
    for name in names:
        try:
            losses[name] = contest.run(name)
            contest.run(name)  # compiled for sizes that differ
        except torch.OutOfMemoryError:
            contest.model.zero_grad()
            print(f"{name}: out of memory")
    names = list(losses)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name in names:
            seconds[name].append(contest.seconds(name))
    sizes = [len(contest.plan.samples[visit.index].input_ids) for visit in contest.visits]
    print(f"\n{lengths} lengths {sizes}, mask rate {rate:g}, medians of {args.rounds}", flush=True)
    reference_flops = 0 if on_gpu else contest.flops(names[0])
    for name in names:
        median = statistics.median(seconds[name])
        times = statistics.median(a / b for a, b in zip(seconds[names[0]], seconds[name], strict=True))
        use = (
            f"{contest.useful_flops() / median / args.peak_tflops / 1e10:5.1f} % of peak"
            if on_gpu
            else f"{reference_flops / contest.flops(name):5.2f} x FLOP"
        )
        print(
            f"  {name:<34} {median * 1e3 if on_gpu else median:8.2f} {'ms' if on_gpu else 'CPU-s'}  {times:5.2f} x   {use}   "
            f"{memory_of(args, contest, rate, lengths, name):6.2f} GB   loss {losses[name]:.6f}",
            flush=True,
        )
    return {name: statistics.median(of) for name, of in seconds.items()}


if __name__ == "__main__":
    main()
