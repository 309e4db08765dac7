"""Writes the page of `inspect --html`: the sequence viewer for samples of any data file, as any tokenizer sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reflectioncoder.data.files import write_atomic
from reflectioncoder.report.page import render_page
from reflectioncoder.report.sequences import RATES, sequence, within

MAX_BYTES = 4_000_000


def write_viewer(
    samples: Sequence[dict[str, Any]], output: Path, *, title: str, tokens_of: str, strategy: str, mask_rate: float
) -> Path:
    """Write the page about samples in the form of `method.views.shown_sample`.

    Args:
        tokens_of: text that says which tokenizer the tokens are from.
        strategy, mask_rate: the initial selection; the rate is rounded to one that the page has.
    """
    (shown,) = within([[sequence(sample) for sample in samples]], MAX_BYTES)
    page = render_page(
        "inspect.html.jinja",
        {"viewers": [shown]},
        title=title,
        tokens_of=tokens_of,
        num_left_out=len(samples) - len(shown),
        strategy=strategy,
        step=min(range(len(RATES)), key=lambda step: abs(RATES[step] - mask_rate)),
    )
    return write_atomic(output, page)
