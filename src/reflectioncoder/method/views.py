"""Makes the two views of one token sequence `[ri, rs, i, c]` (method, section 3). Pure functions, no torch.

teacher view: everything, causal. student view: round one hidden (of `rs` what the mask says), `i` and `c` visible. A hidden token
is nobody's key and carries no loss, so it is dropped: nothing that is kept changes as long as kept tokens keep their positions.
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
    """One row for the model, T tokens. `labels` are un-shifted; `kl_rows` index the row's logits that the KL is taken on."""

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
    """Return the teacher's row: everything.

    failed_attempts: with "context" the code of attempts that fail is no target.
    targets: with "answer" the targets are the student's, those of the one-off answer.
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

    `mask_frame=False`: all that is not `hidden`.

    Raises:
        UsageError: no such kind of positions.
    """
    require_choice("kind of student positions", positions, STUDENT_POSITIONS)
    kept: list[int] = []
    for span in sample.spans:
        if mask_frame and _is_frame(span, positions):
            continue
        kept += [p for p in range(span.start, span.end) if p not in hidden]
    return kept


def _is_frame(span: Span, positions: StudentPositions) -> bool:
    """Tell whether a span belongs to round one without being reflection, or to what comes before it."""
    if span.message is None:
        return span.kind == "prefix" and positions == "gap"
    return span.message == 0 or (span.message == 1 and span.block is None)


def student_view(
    sample: RenderedSample, hidden: Collection[int], positions: StudentPositions = "gap", *, mask_frame: bool = True
) -> View:
    """Return the student's row. `hidden` are positions of `rs` (see `masking`).

    positions: "gap" keeps the original position ids (the paper's), "dense" keeps the prefix and renumbers (as at inference).
    mask_frame: also hide what of round one is not reflection, as `student_kept`.
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
    """Return what the sequence viewer of the page needs: token texts, spans, which tokens are trained, which the student may see.

    A plain one-off sample has one view: nothing of it is ever hidden.
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
