"""Writes the pictures of docs/concepts.md and docs/reproduction.md.

What a strategy hides comes from `method.masking`, and the differences between arms come from the kept cells: nothing is drawn by hand.
"""

import random
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from reflectioncoder.ablation.design import design_of
from reflectioncoder.ablation.metrics import ALL, Kind, Metric
from reflectioncoder.ablation.results import finished_cells
from reflectioncoder.ablation.statistics import Estimate, paired_difference
from reflectioncoder.choices import MASK_STRATEGIES
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.render import Span
from reflectioncoder.data.samples import BlockType
from reflectioncoder.method.masking import hidden_positions

FOLDER = Path(__file__).parent / "pictures"
EXPERIMENTS = Path(__file__).parent.parent / "experiments"
STYLE = """  <style>
    .text { fill: #dbeafe; stroke: #3b82f6 } .code { fill: #dcfce7; stroke: #22a05a } .execution { fill: #fef3c7; stroke: #d99a1c }
    .plain { fill: #f1f1f4; stroke: #8a8a99 } .gone { fill: #fff; stroke: #c9c9d2; stroke-dasharray: 2 2 }
    .label { font-weight: bold } .small { font-size: 12px; fill: #55555f } .mid { text-anchor: middle } .end { text-anchor: end }
    .arrow { stroke: #8a8a99; fill: none; stroke-width: 1.5 } .zero { stroke: #c9c9d2 }
    .unclear { stroke: #8a8a99; fill: #8a8a99 } .better { stroke: #22a05a; fill: #22a05a } .worse { stroke: #c5384c; fill: #c5384c }
  </style>
"""

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
BLOCKS: tuple[tuple[BlockType, int], ...] = (
    *(("text", 2), ("code", 4), ("execution", 2)),
    *(("text", 3), ("code", 4), ("execution", 1)),
)
LEGEND = {"text": "explanation", "code": "program", "execution": "what the interpreter printed", "gone": "hidden"}
STAGES = (
    ("problems", "statement, reference, tests", "plain"),
    ("build", "attempts, errors, repairs", "execution"),
    ("train", "teacher and student", "text"),
    ("evaluate", "one-off programs, judged", "code"),
    ("report", "before and after", "plain"),
)
FILES = ("problems.jsonl", "reflections.jsonl", "model/", "results.json")
ARM = "masked"
CONTROLS = {
    "one-off": "reflections and answers, against answers alone: as many tokens",
    "one-off, half as long": "reflections and answers, against the same answers alone",
}
BENCHMARKS = {ALL: "all 468", "bundled/seen": "seen", "bundled/unseen": "unseen", "bundled/repair": "repair", "humaneval": "HumanEval"}
PANELS: tuple[tuple[Kind, float, float, str, str], ...] = (
    ("pass@1", 100, 18, "pass@1, points", "{:+.1f}"),
    ("reference loss", 1, 0.075, "loss of programs, nats a token", "{:+.3f}"),
)
"""Of each kind of metric: the factor, the end of the axis, the heading, the format of a number."""
_CELL, _ROW, _LEFT, _GAP = 7, 34, 140, 32
_LINE, _PANEL, _NUMBERS = 22, 250, 180


def masks() -> str:
    """Draw what each strategy hides of one sequence of blocks, at five mask rates."""
    width = _CELL * sum(size for _, size in BLOCKS)
    right = _LEFT + len(RATES) * (width + _GAP) - _GAP + 12
    parts = [_text("small mid", _column(i) + width / 2, 22, f"mask rate {rate:g}") for i, rate in enumerate(RATES)]
    for row, strategy in enumerate(MASK_STRATEGIES):
        y = 34 + row * _ROW
        parts.append(_text("label", 8, y + 16, strategy))
        for i, rate in enumerate(RATES):
            parts += _sequence(_column(i), y, hidden_positions(_spans(), rate, [strategy], random.Random(row)))
    y = 34 + len(MASK_STRATEGIES) * _ROW + 4
    parts += _legend(y)
    return _svg(right, y + 26, "What each mask strategy hides from the student, at five mask rates", parts)


def pipeline() -> str:
    """Draw the stages of a run and the file that each hands on."""
    width, gap, top = 168, 62, 34
    parts = []
    for i, (name, words, kind) in enumerate(STAGES):
        x = 8 + i * (width + gap)
        parts += [
            _box(kind, x, top, width, 58),
            _text("label mid", x + width / 2, top + 26, name),
            _text("small mid", x + width / 2, top + 44, words),
        ]
    for i, name in enumerate(FILES):
        start = 8 + i * (width + gap) + width + 4
        end = start + gap - 8
        parts.append(f'  <path class="arrow" d="M{start} {top + 29}H{end}m-7 -4l7 4l-7 4"/>')
        parts.append(_text("small mid", (start + end) / 2, top + (76 if i % 2 == 0 else -8), name))
    build, evaluate = (8 + i * (width + gap) for i in (1, 3))
    for x in (build, evaluate):
        parts.append(f'  <path class="arrow" d="M{x + width / 2:g} {top + 58}v30m-4 -7l4 7l4 -7"/>')
    words = "sandbox: every program runs confined, and is judged from outside"
    parts += [
        _box("gone", build, top + 90, evaluate + width - build, 32),
        _text("mid", (build + evaluate + width) / 2, top + 110, words),
    ]
    return _svg(16 + 5 * width + 4 * gap, top + 134, "The stages of a run, and the file that each hands to the next", parts)


def grid() -> str:
    """Draw the differences between the arms of experiments/grid.yaml that have been run with every seed."""
    runs: dict[str, list[dict[Metric, Any]]] = {}
    for finished in finished_cells(design_of(load_recipe(EXPERIMENTS / "grid.yaml")), EXPERIMENTS / "results" / "grid" / "cells"):
        runs.setdefault(finished.cell.arm, []).append(dict(finished.metrics))
    parts, y = [], 20
    for control, words in CONTROLS.items():
        parts.append(_text("label", 8, y, words))
        for number, (kind, scale, reach, heading, shown) in enumerate(PANELS):
            x = 100 + number * (_PANEL + _NUMBERS)
            parts.append(_text("small mid", x + _PANEL / 2, y + 22, heading))
            parts.append(f'  <path class="zero" d="M{x + _PANEL / 2:g} {y + 28}v{_LINE * len(BENCHMARKS)}"/>')
            for row, benchmark in enumerate(BENCHMARKS):
                metric = Metric(kind, benchmark)
                arm, other = ([run[metric] for run in runs[name]] for name in (ARM, control))
                found = paired_difference(arm, other, of_shares=kind == "pass@1")
                line = y + 28 + _LINE * row + _LINE // 2
                parts += _interval(found, scale, reach, x, line, higher_is_better=metric.higher_is_better)
                ends = ", ".join(shown.format(scale * end) for end in (found.ci_low, found.ci_high))
                parts.append(_text("small", x + _PANEL + 8, line + 4, f"{shown.format(scale * found.value)} [{ends}]"))
        parts += [_text("end", 92, y + 32 + _LINE * row + _LINE // 2, name) for row, name in enumerate(BENCHMARKS.values())]
        y += 28 + _LINE * len(BENCHMARKS) + 30
    legend = f"Green is better and red is worse; grey intervals contain zero. 95 %, over {len(runs[ARM])} seeds and all tasks."
    parts.append(_text("small", 8, y, legend))
    return _svg(100 + len(PANELS) * (_PANEL + _NUMBERS), y + 14, "What reflections add to plain answers, in pass@1 and in loss", parts)


def _interval(found: Estimate, scale: float, reach: float, x: int, y: int, *, higher_is_better: bool) -> Iterable[str]:
    """Draw a difference with its interval in a panel whose middle is zero and whose edges are `reach`."""
    is_clear = found.ci_low > 0 or found.ci_high < 0
    kind = "unclear" if not is_clear else "better" if (found.value > 0) == higher_is_better else "worse"
    low, value, high = (
        round(x + _PANEL / 2 * (1 + max(-1.0, min(1.0, scale * end / reach)))) for end in (found.ci_low, found.value, found.ci_high)
    )
    yield f'  <path class="{kind}" stroke-width="3" opacity="0.5" d="M{low} {y}H{high}"/>'
    yield f'  <circle class="{kind}" cx="{value}" cy="{y}" r="4"/>'


def _column(number: int) -> int:
    return _LEFT + number * (_CELL * sum(size for _, size in BLOCKS) + _GAP)


def _spans() -> list[Span]:
    spans, start = [], 0
    for kind, size in BLOCKS:
        spans.append(Span(kind, start, start + size))
        start += size
    return spans


def _sequence(x: int, y: int, hidden: frozenset[int]) -> Iterable[str]:
    for span in _spans():
        for position in range(span.start, span.end):
            kind = "gone" if position in hidden else span.kind
            yield f'  <rect class="{kind}" x="{x + position * _CELL}" y="{y}" width="{_CELL}" height="22"/>'


def _legend(y: int) -> Iterable[str]:
    x = _LEFT
    for kind, words in LEGEND.items():
        yield f'  <rect class="{kind}" x="{x}" y="{y}" width="14" height="14"/>'
        yield _text("small", x + 20, y + 12, words)
        x += 50 + 7 * len(words)


def _box(kind: str, x: int, y: int, width: int, height: int) -> str:
    return f'  <rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'


def _text(kind: str, x: float, y: int, words: str) -> str:
    return f'  <text class="{kind}" x="{x:g}" y="{y}">{escape(words)}</text>'


def _svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    head += 'font-family="sans-serif" font-size="13">\n'
    return "".join(
        [head, f"  <title>{escape(title)}</title>\n", STYLE, f'  <rect width="{width}" height="{height}" fill="#fff"/>\n']
        + [f"{part}\n" for part in parts]
        + ["</svg>\n"]
    )


PICTURES = {"masks.svg": masks, "pipeline.svg": pipeline, "grid.svg": grid}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        (FOLDER / name).write_text(picture(), encoding="utf-8")
