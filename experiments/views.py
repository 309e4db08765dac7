"""Shows what the teacher and the student of reflection samples know of the answer, at several mask rates.

    python experiments/views.py runs/NAME/build/reflections.jsonl --model BASE runs/NAME/model --samples 60

For each model: the loss of the answer's tokens and the entropy of their predictions, both in nats per token, and the KL from the
student to the teacher, which is what distillation minimises. A teacher that has the program before its eyes is nearly certain of its
answer; the distance of the two entropies says how much certainty distillation would teach. Needs the extra `train`; runs on the CPU.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.choices import RENDERINGS
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.render import RenderedSample
from reflectioncoder.data.samples import read_samples
from reflectioncoder.errors import ReflectionCoderError, UsageError, require
from reflectioncoder.method.masking import hidden_positions
from reflectioncoder.method.views import View, student_view, teacher_view
from reflectioncoder.models.load import load_model
from reflectioncoder.models.sources import resolve_model
from reflectioncoder.models.tokens import add_tokens, make_renderer
from reflectioncoder.progress import Progress

# Before, between and after the steps of `block_type`.
RATES = (0.0, 0.2, 0.5, 1.0)


@dataclass
class Knowledge:
    """Sums over the answers' tokens, in nats; `kl` is KL(teacher ‖ student)."""

    num_tokens: int = 0
    loss: float = 0.0
    entropy: float = 0.0
    kl: float = 0.0

    def add(self, loss: float, entropy: float, kl: float, num_tokens: int) -> None:
        self.loss += loss
        self.entropy += entropy
        self.kl += kl
        self.num_tokens += num_tokens

    def per_token(self) -> dict[str, float]:
        sums = asdict(self)
        num_tokens = sums.pop("num_tokens")
        return {name: round(total / num_tokens, 4) for name, total in sums.items()}


def known_answers(model: Any, samples: Sequence[RenderedSample], label: str) -> dict[str, Knowledge]:
    """Return the sums of the teacher and of the student at each of `RATES`."""
    known = {view: Knowledge() for view in ("teacher", *(f"student at {rate:g}" for rate in RATES))}
    with Progress(label, len(samples)) as progress:
        for number, sample in enumerate(samples, 1):
            teacher, targets = _predictions(model, teacher_view(sample))
            for name, logits in _all_predictions(model, sample, teacher):
                log_p = logits.log_softmax(-1)
                known[name].add(
                    loss=-float(log_p.gather(1, targets[:, None]).sum()),
                    entropy=-float((log_p.exp() * log_p).sum()),
                    kl=float((teacher.softmax(-1) * (teacher.log_softmax(-1) - log_p)).sum()),
                    num_tokens=len(targets),
                )
            progress.update(number)
    return known


def _all_predictions(model: Any, sample: RenderedSample, teacher: Any) -> Iterator[tuple[str, Any]]:
    yield "teacher", teacher
    for rate in RATES:
        hidden = hidden_positions(sample.reflection_blocks(), rate, ["block_type"], random.Random(0)) if rate else frozenset()
        yield f"student at {rate:g}", _predictions(model, student_view(sample, hidden, "dense"))[0]


def _predictions(model: Any, view: View) -> tuple[Any, Any]:
    """Return the logits (N, vocabulary) of the answer's tokens, and those tokens (N,)."""
    torch = require("torch", "train")
    rows = torch.tensor([row for row in view.kl_rows if row + 1 < len(view.input_ids)], device=model.device)
    ids = torch.tensor([view.input_ids], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, position_ids=torch.tensor([view.position_ids], device=model.device)).logits[0, rows].float()
    return logits, ids[0, rows + 1]


def _samples(renderer: Any, path: Path, number: int, max_length: int) -> list[RenderedSample]:
    reflections = [sample for sample in read_samples(path) if sample.type == "reflection"]
    random.Random(0).shuffle(reflections)
    rendered = (renderer.render(sample) for sample in reflections)
    fitting = [sample for sample in rendered if len(sample.input_ids) <= max_length][:number]
    if not fitting:
        raise UsageError(f"{path}: no reflection sample of at most {max_length} tokens")
    return fitting


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return a Markdown table of all models."""
    lines = ["| model | view | loss | entropy | KL from the teacher |", "|---|---|---|---|---|"]
    for model, views in results.items():
        for view, sums in views.items():
            lines.append(f"| {model} | {view} | {sums['loss']:.3f} | {sums['entropy']:.3f} | {sums['kl']:.3f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="reflection samples, JSON Lines")
    parser.add_argument("--model", nargs="+", required=True, help="folders or hub ids of causal language models")
    parser.add_argument("--rendering", choices=RENDERINGS, default="chat", help="how dialogues become tokens (default: chat)")
    parser.add_argument("--samples", type=int, default=60, help="samples to look at, drawn at random (default: 60)")
    parser.add_argument("--max-length", type=int, default=1100, help="longest sample, tokens (default: 1100)")
    parser.add_argument("--output", type=Path, help="file for the results, JSON")
    args = parser.parse_args(argv)
    try:
        results = {}
        for name in args.model:
            config = ModelConfig(name=name, rendering=args.rendering, dtype="float32")
            model, tokenizer = load_model(config, resolve_model(config).path)
            if args.rendering == "token":
                add_tokens(model, tokenizer)
            model.eval()
            samples = _samples(make_renderer(args.rendering, tokenizer), args.data, args.samples, args.max_length)
            results[name] = {view: known.per_token() for view, known in known_answers(model, samples, name).items()}
    except ReflectionCoderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if args.output:
        args.output.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
