"""Builds the teacher and student views of a token sequence `[ri, rs, i, c]` (method, section 3). Pure functions, no torch.

Teacher view: everything, causal. Student view: round one hidden (`rs` as far as the mask says), `i` and `c` visible. A hidden token
carries no loss and no token attends to it, so it is dropped; logits of kept tokens do not change as long as these keep their positions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reflectioncoder.choices import STUDENT_POSITIONS, FailedAttempts, StudentPositions, TeacherTargets
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample, Span
from reflectioncoder.errors import require_choice


@dataclass(frozen=True)
class View:
    """One model input of T tokens. `labels` are unshifted; `kl_rows` are the indices of the logits that enter the KL."""

    input_ids: tuple[int, ...]
    position_ids: tuple[int, ...]
    labels: tuple[int, ...]
    kl_rows: tuple[int, ...]


@dataclass(frozen=True)
class WeightedViews:
    """Both views of one visit. The step's loss is the sum over all visits of ce_weight · ΣCE + kl_weight · ΣKL."""

    teacher: View
    student: View | None
    ce_weight: float
    kl_weight: float


def teacher_view(sample: RenderedSample, failed_attempts: FailedAttempts = "train", targets: TeacherTargets = "dialogue") -> View:
    """Return the teacher view: all tokens.

    failed_attempts: with "context" the code of failed attempts is not a target.
    targets: with "answer" only the one-off answer is a target, as for the student.
    """
    kl_rows = tuple(range(sample.answer_start, sample.answer_end))
    labels = sample.student_labels if targets == "answer" else sample.teacher_labels
    if failed_attempts == "context" and any(span.failed for span in sample.spans):
        kept = list(labels)
        for span in sample.spans:
            if span.failed:
                kept[span.start : span.end] = [IGNORE_INDEX] * (span.end - span.start)
        labels = tuple(kept)
    return View(sample.input_ids, tuple(range(len(sample.input_ids))), labels, kl_rows)


def student_kept(sample: RenderedSample, hidden: Collection[int], positions: StudentPositions, *, mask_frame: bool = True) -> list[int]:
    """Return the positions that the student sees: visible `rs` tokens, `i` and `c`; with dense positions the prefix (BOS) too.

    With `mask_frame=False` it sees everything that is not `hidden`.

    Raises:
        UsageError: unknown kind of positions.
    """
    require_choice("kind of student positions", positions, STUDENT_POSITIONS)
    kept: list[int] = []
    for span in sample.spans:
        if mask_frame and _is_frame(span, positions):
            continue
        kept += [p for p in range(span.start, span.end) if p not in hidden]
    return kept


def _is_frame(span: Span, positions: StudentPositions) -> bool:
    """Tell whether a span is in round one but not a reflection block, or (with "gap" positions) is the prefix."""
    if span.message is None:
        return span.kind == "prefix" and positions == "gap"
    return span.message == 0 or (span.message == 1 and span.block is None)


def student_view(
    sample: RenderedSample, hidden: Collection[int], positions: StudentPositions = "gap", *, mask_frame: bool = True
) -> View:
    """Return the student view. `hidden` are positions in `rs` (see `masking`).

    positions: "gap" keeps the original position ids (as in the paper), "dense" keeps the prefix and renumbers (as at inference).
    mask_frame: also hide the tokens of round one that are not reflection blocks, as in `student_kept`.
    """
    kept = student_kept(sample, hidden, positions, mask_frame=mask_frame)
    answer = range(sample.answer_start, sample.answer_end)
    return View(
        input_ids=tuple(sample.input_ids[p] for p in kept),
        position_ids=tuple(kept) if positions == "gap" else tuple(range(len(kept))),
        labels=tuple(sample.student_labels[p] for p in kept),
        kl_rows=tuple(index for index, p in enumerate(kept) if p in answer),
    )


def shown_sample(
    tokenizer: Any,
    sample: RenderedSample,
    name: str,
    operators: Sequence[str],
    *,
    positions: StudentPositions = "gap",
    mask_frame: bool = True,
    student_view: bool = True,
    failed_attempts: FailedAttempts = "train",
    teacher_targets: TeacherTargets = "dialogue",
    block_order: Sequence[str] = ("execution", "text", "code"),
) -> dict[str, Any]:
    """Return the data of the page's sequence viewer: token texts, spans, which tokens are trained, which the student may see.

    A plain one-off sample has one view, in which nothing is ever hidden.
    """
    num_tokens = len(sample.input_ids)
    kept = student_kept(sample, frozenset(), positions, mask_frame=mask_frame) if sample.is_reflection else range(num_tokens)
    if not student_view:
        kept = ()
    teacher = teacher_view(sample, failed_attempts, teacher_targets if sample.is_reflection else "dialogue")
    return {
        "id": name,
        "operators": list(operators),
        "tokens": [tokenizer.decode([i]) for i in sample.input_ids],
        "spans": [asdict(span) for span in sample.spans],
        "teacher_trained": [int(label != IGNORE_INDEX) for label in teacher.labels],
        "student_trained": [int(student_view and label != IGNORE_INDEX) for label in sample.student_labels],
        "student_kept": list(kept),
        "block_order": list(block_order),
        "is_reflection": sample.is_reflection,
    }
