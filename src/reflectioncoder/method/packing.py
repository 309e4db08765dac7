"""Packs views into one row without padding, and finds the logit rows that carry a loss term. Pure functions, no torch.

Teacher and student segments are concatenated; segment boundaries are explicit (`lengths`), never inferred from position ids. Tokens
after a segment's last loss term cannot affect the loss and are cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reflectioncoder.data.render import IGNORE_INDEX
from reflectioncoder.method.views import View, WeightedViews


@dataclass(frozen=True)
class PackedBatch:
    """The input of one forward: T packed tokens in segments; R logit rows with a loss term, of which the first 2P form P pairs.

    Attributes:
        lengths: tokens of each segment; their sum is T.
        rows: R indices into the packed row: P teacher rows, the P student rows that the KL compares with them, then the rest.
        targets: R next tokens; IGNORE_INDEX for a row that has only a KL term.
        ce_weights: R weights of the rows' cross-entropies.
        kl_weights: P weights of the pairs' KL(p_teacher ‖ p_student).
    """

    input_ids: tuple[int, ...]
    position_ids: tuple[int, ...]
    lengths: tuple[int, ...]
    rows: tuple[int, ...]
    targets: tuple[int, ...]
    ce_weights: tuple[float, ...]
    kl_weights: tuple[float, ...]

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    @property
    def num_pairs(self) -> int:
        return len(self.kl_weights)

    @property
    def num_targets(self) -> int:
        return sum(target != IGNORE_INDEX for target in self.targets)


def target_after(view: View, row: int) -> int:
    """Return the label that the logits at `row` predict; IGNORE_INDEX if there is none."""
    return view.labels[row + 1] if row + 1 < len(view.labels) else IGNORE_INDEX


def rows_with_terms(view: View) -> list[int]:
    """Return the indices of a view's logits that carry a cross-entropy or KL term, ascending."""
    before_targets = {row for row in range(len(view.labels) - 1) if view.labels[row + 1] != IGNORE_INDEX}
    return sorted(before_targets | set(view.kl_rows))


def pack(samples: Sequence[WeightedViews]) -> PackedBatch:
    """Pack all samples into one row: teacher, student, teacher, student, …; samples without a student contribute the teacher only."""
    input_ids: list[int] = []
    position_ids: list[int] = []
    lengths: list[int] = []
    teachers: list[tuple[int, int, float]] = []  # (row, target, weight of the cross-entropy)
    students: list[tuple[int, int, float]] = []
    rest: list[tuple[int, int, float]] = []
    kl_weights: list[float] = []
    for sample in samples:
        paired = sample.student is not None and sample.kl_weight != 0.0
        for view in (sample.teacher, sample.student):
            if view is None:
                continue
            rows = rows_with_terms(view) if paired else [r for r in rows_with_terms(view) if target_after(view, r) != IGNORE_INDEX]
            if not rows:
                continue
            offset, length = len(input_ids), rows[-1] + 1
            input_ids += view.input_ids[:length]
            position_ids += view.position_ids[:length]
            lengths.append(length)
            in_pairs = frozenset(view.kl_rows) if paired else frozenset[int]()
            for row in rows:
                entry = (offset + row, target_after(view, row), sample.ce_weight)
                (rest if row not in in_pairs else teachers if view is sample.teacher else students).append(entry)
        if paired:
            kl_weights += [sample.kl_weight] * len(sample.teacher.kl_rows)
    entries = [*teachers, *students, *rest]
    rows, targets, ce_weights = zip(*entries, strict=True) if entries else ((), (), ())
    return PackedBatch(tuple(input_ids), tuple(position_ids), tuple(lengths), rows, targets, ce_weights, tuple(kl_weights))
