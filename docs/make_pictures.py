"""Writes the pictures of docs/concepts.md: what a strategy hides comes from `method.masking`, not from a drawing."""

import random
from collections.abc import Iterable
from html import escape
from pathlib import Path

from reflectioncoder.choices import MASK_STRATEGIES
from reflectioncoder.data.render import Span
from reflectioncoder.method.masking import hidden_positions

FOLDER = Path(__file__).parent / "pictures"
STYLE = """  <style>
    .text { fill: #dbeafe; stroke: #3b82f6 } .code { fill: #dcfce7; stroke: #22a05a } .execution { fill: #fef3c7; stroke: #d99a1c }
    .plain { fill: #f1f1f4; stroke: #8a8a99 } .gone { fill: #fff; stroke: #c9c9d2; stroke-dasharray: 2 2 }
    .label { font-weight: bold } .small { font-size: 12px; fill: #55555f } .mid { text-anchor: middle } .end { text-anchor: end }
    .arrow { stroke: #8a8a99; fill: none; stroke-width: 1.5 }
  </style>
"""

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
BLOCKS = (("text", 2), ("code", 4), ("execution", 2), ("text", 3), ("code", 4), ("execution", 1))
_CELL, _ROW, _LEFT, _GAP = 7, 34, 140, 32


def masks() -> str:
    """Draw what each strategy hides of one sequence of blocks, at five mask rates."""
    width = _CELL * sum(size for _, size in BLOCKS)
    right = _LEFT + len(RATES) * (width + _GAP) - _GAP + 12
    parts = [f'  <text class="small mid" x="{_column(i) + width / 2:g}" y="22">mask rate {rate:g}</text>' for i, rate in enumerate(RATES)]
    for row, strategy in enumerate(MASK_STRATEGIES):
        y = 34 + row * _ROW
        parts.append(f'  <text class="label" x="8" y="{y + 16}">{strategy}</text>')
        for i, rate in enumerate(RATES):
            parts += _sequence(_column(i), y, hidden_positions(_spans(), rate, [strategy], random.Random(row)))
    y = 34 + len(MASK_STRATEGIES) * _ROW + 4
    parts += _legend(y, (("text", "explanation"), ("code", "program"), ("execution", "what the interpreter printed"), ("gone", "hidden")))
    return _svg(right, y + 26, "What each mask strategy hides from the student, at five mask rates", parts)


def pipeline() -> str:
    """Draw the stages of a run and the file that each hands on."""
    stages = (
        ("problems", "statement, reference, tests", "plain"),
        ("build", "attempts, errors, repairs", "execution"),
        ("train", "teacher and student", "text"),
        ("evaluate", "one-off programs, judged", "code"),
        ("report", "before and after", "plain"),
    )
    files = ("problems.jsonl", "reflections.jsonl", "model/", "results.json")
    width, gap, top = 168, 62, 34
    parts = []
    for i, (name, text, kind) in enumerate(stages):
        x = 8 + i * (width + gap)
        parts.append(f'  <rect class="{kind}" x="{x}" y="{top}" width="{width}" height="58" rx="5"/>')
        parts.append(f'  <text class="label mid" x="{x + width / 2:g}" y="{top + 26}">{name}</text>')
        parts.append(f'  <text class="small mid" x="{x + width / 2:g}" y="{top + 44}">{text}</text>')
        if i < len(files):
            start, end = x + width + 4, x + width + gap - 4
            parts.append(f'  <path class="arrow" d="M{start} {top + 29}H{end}m-7 -4l7 4l-7 4"/>')
            parts.append(f'  <text class="small mid" x="{(start + end) / 2:g}" y="{top + (76 if i % 2 == 0 else -8)}">{files[i]}</text>')
    judge = 8 + 3 * (width + gap) + width / 2
    parts.append(f'  <path class="arrow" d="M{8 + width + gap + width / 2:g} {top + 58}v30m-4 -7l4 7l4 -7M{judge:g} {top + 58}v30m-4 -7l4 7l4 -7"/>')
    left, right = 8 + width + gap, 8 + 3 * (width + gap) + width
    parts.append(f'  <rect class="gone" x="{left}" y="{top + 90}" width="{right - left}" height="32" rx="5"/>')
    parts.append(f'  <text class="mid" x="{(left + right) / 2:g}" y="{top + 110}">sandbox: every program runs confined, and is judged from outside</text>')
    return _svg(8 + 5 * width + 4 * gap + 8, top + 134, "The stages of a run, and the file that each hands to the next", parts)


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


def _legend(y: int, entries: Iterable[tuple[str, str]]) -> Iterable[str]:
    x = _LEFT
    for kind, text in entries:
        yield f'  <rect class="{kind}" x="{x}" y="{y}" width="14" height="14"/>'
        yield f'  <text class="small" x="{x + 20}" y="{y + 12}">{text}</text>'
        x += 50 + 7 * len(text)


def _svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    head += 'font-family="sans-serif" font-size="13">\n'
    return "".join(
        [head, f"  <title>{escape(title)}</title>\n", STYLE, f'  <rect width="{width}" height="{height}" fill="#fff"/>\n']
        + [f"{part}\n" for part in parts]
        + ["</svg>\n"]
    )


PICTURES = {"masks.svg": masks, "pipeline.svg": pipeline}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        (FOLDER / name).write_text(picture(), encoding="utf-8")
