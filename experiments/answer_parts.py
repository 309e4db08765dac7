"""Shows in which part of an answer models lose: before the program, in it, behind it.

    python experiments/answer_parts.py bundled/repair --model BASE runs/NAME/model --limit 40

For each model, the loss of the canonical answers (nats a token) by part: the words and the fence before the program, the program with
the fence that closes it (the loss that `evaluate.measures: [reference_loss]` gives), and what ends the message. A model that has learnt
to explain before it writes loses before the program and nowhere else. Needs the extra `train`; runs on the CPU.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from reflectioncoder.choices import RENDERINGS
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.errors import ReflectionCoderError, require
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.generate.reference_loss import targets_of, token_losses
from reflectioncoder.models.load import load_model
from reflectioncoder.models.sources import resolve_model
from reflectioncoder.models.tokens import add_tokens, make_renderer
from reflectioncoder.progress import Progress
from reflectioncoder.reference_evaluation import references_of

PARTS: tuple[str, ...] = ("before", "program", "behind")


def losses_by_part(config: ModelConfig, benchmark: str, limit: int) -> dict[str, tuple[float, int]]:
    """Return (loss in nats, number of tokens) of each part, summed over the answers of the first tasks."""
    torch = require("torch", "train")
    path = resolve_model(config).path
    model, tokenizer = load_model(config, path)
    if config.rendering == "token":
        add_tokens(model, tokenizer)
    renderer = make_renderer(config.rendering, tokenizer)
    model.eval()
    sums: dict[str, tuple[float, int]] = dict.fromkeys(PARTS, (0.0, 0))
    references = references_of(load_benchmark(f"{benchmark}:{limit}"))
    with Progress(f"{config.name}", len(references)) as progress, torch.inference_mode():
        for number, reference in enumerate(references, start=1):
            sample = renderer.render(reference.sample)
            start, end = reference.program_bounds(renderer, sample.input_ids)
            for (position, _), loss in zip(targets_of(sample), token_losses(model, sample).tolist(), strict=True):
                part = PARTS[(position >= start) + (position >= end)]
                total, count = sums[part]
                sums[part] = (total + loss, count + 1)
            progress.update(number)
    return sums


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", help="a benchmark with canonical answers, bundled/repair for instance")
    parser.add_argument("--model", nargs="+", required=True, help="model folders or hub ids")
    parser.add_argument("--limit", type=int, default=40, metavar="N", help="take the first N tasks (default: 40)")
    parser.add_argument("--rendering", choices=RENDERINGS, default="chat", help="how samples become tokens (default: chat)")
    args = parser.parse_args(argv)
    try:
        print(f"{'loss, nats a token (share of the whole)':<44}" + "".join(f"{part:>20}" for part in PARTS) + f"{'all':>10}")
        for name in args.model:
            sums = losses_by_part(ModelConfig(name, rendering=args.rendering), args.benchmark, args.limit)
            print(_line(name, sums))
    except ReflectionCoderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _line(name: str, sums: dict[str, tuple[float, int]]) -> str:
    total, count = sum(loss for loss, _ in sums.values()), sum(number for _, number in sums.values())
    cells: list[Any] = [f"{loss / max(number, 1):.3f} ({100 * loss / total:.0f} %)" for loss, number in sums.values()]
    return f"{'/'.join(Path(name).parts[-2:]):<44}" + "".join(f"{cell:>20}" for cell in cells) + f"{total / count:>10.4f}"


if __name__ == "__main__":
    sys.exit(main())
