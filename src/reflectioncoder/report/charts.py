"""Draws charts as inline SVG strings: lines over steps, intervals, bars. Colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import fmean
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 150, 40, 22, 10
NUM_COLOURS = 8
MAX_POINTS = 400
MAX_LABEL_CHARS = 29  # as many as fit beside the bars


@dataclass(frozen=True)
class Line:
    """A series over steps. `number` selects colour and dashes, so that a run looks the same in all charts of a page."""

    label: str
    number: int
    points: Sequence[tuple[float, float]]


def line_chart(title: str, lines: Sequence[Line], y_max: float | None = None, x_label: str = "step") -> str:
    """Draw series on common axes that start at 0. A long series is drawn as means over equal parts of its steps."""
    lines = [Line(line.label, line.number, _thinned(line.points)) for line in lines if line.points]
    if not lines:
        return ""
    last_x = max(x for line in lines for x, _ in line.points)
    top = y_max if y_max is not None else (max(y for line in lines for _, y in line.points) or 1.0) * 1.05
    height = HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 8) * (x / last_x if last_x else 0)
        return f"{across:.1f},{TOP + height * (1 - max(0.0, min(y, top)) / top):.1f}"

    ticks = "".join(
        f'<text class="tick" x="{LEFT - 5}" y="{TOP + height * (1 - share) + 3:.1f}" text-anchor="end">{top * share:.3g}</text>'
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{TOP + height * (1 - share):.1f}" y2="{TOP + height * (1 - share):.1f}"/>'
        for share in (0.0, 0.5, 1.0)
    )
    drawn = "".join(
        f'<polyline class="line s{line.number % NUM_COLOURS}" points="{" ".join(place(x, y) for x, y in line.points)}">'
        f"<title>{escape(line.label)}</title></polyline>"
        for line in lines
    )
    ends = [f"{line.points[0][1]:.3g} → {line.points[-1][1]:.3g}" for line in lines]
    told = "; ".join(f"{line.label}: {end}" for line, end in zip(lines, ends, strict=True))
    return (
        f'<figure><figcaption>{escape(title)} <span class="dim">{ends[0] if len(lines) == 1 else ""}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}, first and last value. {told}")}">{ticks}{drawn}'
        f'<text class="tick" x="{LEFT}" y="{HEIGHT - 6}">{escape(x_label)} 0</text>'
        f'<text class="tick" x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{last_x:.0f}</text></svg></figure>'
    )


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    if len(points) <= MAX_POINTS:
        return points
    bounds = [round(i * len(points) / MAX_POINTS) for i in range(MAX_POINTS + 1)]
    parts = [points[start:end] for start, end in pairwise(bounds)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def swatch(number: int) -> str:
    """Draw a line sample for a legend."""
    line = f'<line class="line s{number % NUM_COLOURS}" x1="1" x2="27" y1="5" y2="5"/>'
    return f'<svg class="key" viewBox="0 0 28 10" aria-hidden="true">{line}</svg>'


def intervals(rows: Sequence[tuple[str, str, dict[str, Any]]]) -> str:
    """Draw shares with confidence intervals on one common scale. Rows are (label, css class, metric).

    A metric with `num_tasks` says of how many tasks it is a share.
    """
    width, row_height, left, right = 640, 26, 210, 110
    top_value = max((metric["ci_high"] for _, _, metric in rows), default=1.0) or 1.0

    def x(value: float) -> float:
        return left + (width - left - right) * value / top_value

    parts = []
    for number, (label, css_class, metric) in enumerate(rows):
        y = number * row_height + row_height / 2
        shown = label if len(label) <= MAX_LABEL_CHARS else f"{label[: MAX_LABEL_CHARS - 1]}…"
        of_tasks = f" of {metric['num_tasks']}" if "num_tasks" in metric else ""
        parts.append(
            f'<text class="label" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(shown)}<title>{escape(label)}</title></text>'
            f'<line class="range {css_class}" x1="{x(metric["ci_low"]):.1f}" x2="{x(metric["ci_high"]):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot {css_class}" cx="{x(metric["value"]):.1f}" cy="{y}" r="5"/>'
            f'<text class="tick" x="{width - right + 12}" y="{y + 4}">{100 * metric["value"]:.1f} %{of_tasks}</text>'
        )
    height = row_height * len(rows)
    axis = f'<line class="grid" x1="{left}" x2="{left}" y1="0" y2="{height}"/>'
    return (
        f'<svg class="wide" viewBox="0 0 {width} {height}" role="img" aria-label="pass@1 with intervals">{axis}{"".join(parts)}</svg>'
    )


def difference_chart(rows: Sequence[tuple[str, dict[str, Any]]], scale: float, unit: str, *, higher_is_better: bool) -> str:
    """Draw differences with their intervals around zero. Rows are (label, estimate); values are shown times `scale`."""
    if not rows:
        return ""
    width, row_height, left, right = 640, 26, 210, 190
    reach = max(max(abs(found["ci_low"]), abs(found["ci_high"])) for _, found in rows) or 1.0

    def x(value: float) -> float:
        return left + (width - left - right) * (value / reach + 1) / 2

    parts = []
    for number, (label, found) in enumerate(rows):
        y = number * row_height + row_height / 2
        is_clear = found["ci_low"] > 0 or found["ci_high"] < 0
        side = "unclear" if not is_clear else "better" if (found["value"] > 0) == higher_is_better else "worse"
        value, low, high = (f"{scale * found[key]:+.3g}" for key in ("value", "ci_low", "ci_high"))
        parts.append(
            f'<text class="label" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(label)}</text>'
            f'<line class="range {side}" x1="{x(found["ci_low"]):.1f}" x2="{x(found["ci_high"]):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot {side}" cx="{x(found["value"]):.1f}" cy="{y}" r="5"/>'
            f'<text class="tick" x="{width - right + 8}" y="{y + 4}">{value} [{low}, {high}] {unit}</text>'
        )
    height = row_height * len(rows)
    zero = f'<line class="grid" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height}"/>'
    return (
        f'<svg class="wide" viewBox="0 0 {width} {height}" role="img" aria-label="differences with intervals, {unit}">'
        f"{zero}{''.join(parts)}</svg>"
    )


def difference_mark(found: dict[str, Any], reach: float) -> str:
    """Draw one difference with its interval around zero, for a table cell. `reach`: the value at the edges."""
    width, height = 150, 16

    def x(value: float) -> float:
        return 6 + (width - 12) * (value / (reach or 1.0) + 1) / 2

    side = "better" if found["ci_low"] > 0 else "worse" if found["ci_high"] < 0 else "unclear"
    return (
        f'<svg class="mark" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<line class="grid" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height}"/>'
        f'<line class="range {side}" x1="{x(found["ci_low"]):.1f}" x2="{x(found["ci_high"]):.1f}" y1="8" y2="8"/>'
        f'<circle class="dot {side}" cx="{x(found["value"]):.1f}" cy="8" r="4"/></svg>'
    )


def bars(rows: Sequence[tuple[str, int]], css_class: str = "") -> str:
    """Draw horizontal bars with counts."""
    width, row_height, left = 640, 22, 210
    longest = max((count for _, count in rows), default=1) or 1
    parts = []
    for number, (label, count) in enumerate(rows):
        y = number * row_height
        length = (width - left - 70) * count / longest
        parts.append(
            f'<text class="label" x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="bar {css_class} {"bad" if label.startswith("rejected") else ""}" x="{left}" y="{y + 3}" '
            f'width="{max(length, 1):.1f}" height="{row_height - 8}" rx="2"/>'
            f'<text class="tick" x="{left + length + 8:.1f}" y="{y + 15}">{count}</text>'
        )
    return f'<svg class="wide" viewBox="0 0 {width} {row_height * len(rows)}" role="img" aria-label="counts">{"".join(parts)}</svg>'
