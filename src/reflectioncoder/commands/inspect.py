"""Colours: bold green is trained in both views, cyan is trained in the teacher's view only, blue is
seen by the teacher only, plain text is seen by both. What the mask hides is struck through.

On a terminal, lines are wrapped to its width, and what is longer than the screen goes through a
pager ($PAGER, less by default). --html writes a page instead, with all views and mask rates.

Without --tokenizer, words stand for tokens, in the token rendering.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.choices import (
    MASK_STRATEGIES,
    MASK_STRATEGIES_HELP,
    RENDERINGS,
    RENDERINGS_HELP,
    STUDENT_POSITIONS,
    STUDENT_POSITIONS_HELP,
    StudentPositions,
)
from reflectioncoder.commands import Outcome, described, not_negative
from reflectioncoder.errors import UsageError
from reflectioncoder.terminal import escaped, in_line

if TYPE_CHECKING:
    from reflectioncoder.data.render import RenderedSample
    from reflectioncoder.data.samples import Sample

MAX_ON_PAGE = 20
STYLES = {"trained twice": "bold green", "trained, teacher": "cyan", "student sees": "default", "teacher only": "blue"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="file of samples (JSON Lines)")
    parser.add_argument("--id", help="show the sample with this id (default: the first sample, or as many as --limit says)")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help=f"write a page with a viewer instead: the sample of --id, or the first ones (--limit, default {MAX_ON_PAGE})",
    )
    parser.add_argument("--tokenizer", metavar="M", help="folder or hub id of a tokenizer (default: words stand for tokens)")
    parser.add_argument(
        "--rendering",
        choices=RENDERINGS,
        help=described("how samples become tokens", RENDERINGS_HELP, "chat with --tokenizer, token without"),
    )
    parser.add_argument("--mask-rate", type=not_negative, default=0.5, metavar="R", help="mask rate, 0 to 1 (default: 0.5)")
    parser.add_argument(
        "--positions",
        choices=STUDENT_POSITIONS,
        default="gap",
        help=described("which position ids the student's tokens have", STUDENT_POSITIONS_HELP, "gap"),
    )
    parser.add_argument(
        "--strategy",
        choices=MASK_STRATEGIES,
        default="block_type",
        metavar="S",
        help=described("which parts are hidden from the student", MASK_STRATEGIES_HELP, "block_type"),
    )


def run(args: argparse.Namespace) -> Outcome:
    from itertools import islice

    from reflectioncoder.data.samples import read_samples

    if not 0 <= args.mask_rate <= 1:
        raise UsageError.for_value("the mask rate is out of range", "--mask-rate", args.mask_rate, "0 to 1")
    samples = read_samples(args.data)
    if args.id is not None and args.limit is not None:
        raise UsageError("--limit has no effect together with --id, which names one sample")
    if args.id is not None:
        chosen = [sample for sample in samples if sample.id == args.id]
        if not chosen:
            raise UsageError(f"{args.data}: no sample with the id {args.id!r}")
    else:
        chosen = list(islice(samples, args.limit or (MAX_ON_PAGE if args.html else 1)))
        if not chosen:
            raise UsageError(f"{args.data}: no samples in it")
    renderer = _renderer(args)
    if args.html:
        return _page(chosen, renderer, args)
    values, lines = [], []
    for sample in chosen:
        value, text = _show(sample, renderer, args)
        values.append(value)
        lines.append(text)
    return Outcome({"samples": values}, lines, styled=True, paged=True)


def _page(samples: list[Sample], renderer: Any, args: argparse.Namespace) -> Outcome:
    from reflectioncoder.data.samples import operators_of
    from reflectioncoder.method.views import shown_sample
    from reflectioncoder.report.inspect_page import write_viewer

    shown = [
        shown_sample(renderer.tokenizer, renderer.render(s), s.id or "", operators_of(s), positions=args.positions) for s in samples
    ]
    tokens_of = "words: no tokenizer was named" if args.tokenizer is None else f"those of {args.tokenizer}"
    path = write_viewer(
        shown, args.html, title=Path(args.data).name, tokens_of=tokens_of, strategy=args.strategy, mask_rate=args.mask_rate
    )
    return Outcome({"num_samples": len(samples)}, [], [path])


def _renderer(args: argparse.Namespace) -> Any:
    from reflectioncoder.data.words import WordTokenizer
    from reflectioncoder.models.tokens import make_renderer

    if args.tokenizer is None:
        if args.rendering == "chat":
            raise UsageError("the chat rendering needs a --tokenizer")
        return make_renderer("token", WordTokenizer())
    from reflectioncoder.config.declarations import ModelConfig
    from reflectioncoder.models.load import load_tokenizer
    from reflectioncoder.models.sources import resolve_model
    from reflectioncoder.models.tokens import add_tokens_to

    tokenizer = load_tokenizer(resolve_model(ModelConfig(args.tokenizer)).path)
    if args.rendering == "token":
        add_tokens_to(tokenizer)
    return make_renderer(args.rendering or "chat", tokenizer)


def _roles_of(rendered: RenderedSample, hidden: frozenset[int], positions: StudentPositions) -> list[str]:
    """Return the name of each token's style."""
    from reflectioncoder.data.render import IGNORE_INDEX
    from reflectioncoder.method.views import student_kept

    kept = set(student_kept(rendered, hidden, positions)) if rendered.is_reflection else set()
    roles = []
    for position in range(len(rendered.input_ids)):
        by_teacher = rendered.teacher_labels[position] != IGNORE_INDEX
        by_student = position in kept and rendered.student_labels[position] != IGNORE_INDEX
        sees = "student sees" if position in kept else "teacher only"
        roles.append("trained twice" if by_student else "trained, teacher" if by_teacher else sees)
    return roles


def _show(sample: Sample, renderer: Any, args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    import random

    from rich.console import Console
    from rich.text import Text

    from reflectioncoder.method.masking import hidden_positions

    rendered = renderer.render(sample)
    rng = random.Random(args.seed or 0)
    hidden = hidden_positions(rendered.reflection_blocks(), args.mask_rate, [args.strategy], rng)
    roles = _roles_of(rendered, hidden, args.positions)
    text = Text()
    tokens = [renderer.tokenizer.decode([i]) for i in rendered.input_ids]
    for position, (token, role) in enumerate(zip(tokens, roles, strict=True)):
        style = STYLES[role] + (" strike" if position in hidden else "")
        text.append(escaped(token), style)
    counts = {role: roles.count(role) for role in STYLES}
    head = f"{in_line(sample.id or '(no id)')}: {len(tokens)} tokens, {len(hidden)} hidden of the reflection at rate {args.mask_rate:g}"
    is_wrapped = sys.stdout.isatty()  # in a pipe the text keeps its lines
    console = Console(highlight=False) if is_wrapped else Console(width=120, highlight=False)
    legend = [*(Text(f"{role}: {counts[role]}", style) for role, style in STYLES.items()), Text("hidden by the mask", "strike")]
    with console.capture() as capture:
        console.print(head, markup=False)
        console.print(Text("  ").join(legend))
        console.print(text, soft_wrap=not is_wrapped)
    value = {
        "id": sample.id,
        "num_tokens": len(tokens),
        "num_hidden": len(hidden),
        "counts": counts,
        "tokens": [
            {"text": token, "role": role, "hidden": position in hidden}
            for position, (token, role) in enumerate(zip(tokens, roles, strict=True))
        ],
    }
    return value, capture.get()
