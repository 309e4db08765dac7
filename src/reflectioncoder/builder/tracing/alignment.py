"""Aligns the statements of two programs: which are equal, and which replace each other.

Layout, comments, docstrings and annotations are ignored. Functions are paired by name and the remaining ones by order; within a pair,
statements that differ only in renamed variables are equal.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from reflectioncoder.builder.tracing.statements import ProgramText, Statement

_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_MIN_ALIKE = 0.5  # text similarity of a statement to its replacement
_MIN_SHARE = 0.5  # a larger share of the shorter function's statements must be alike
_MAX_CELLS = 2500  # size of the alignment table, the product of the numbers of statements; beyond it nothing is aligned
_PLAIN = (ast.Return, ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign)


class Pair(NamedTuple):
    """Corresponding statements of the attempt and the reference."""

    ours: Statement
    theirs: Statement
    likeness: float

    @property
    def is_same(self) -> bool:
        return self.likeness >= 2


@dataclass(frozen=True)
class Alignment:
    """The correspondence of an attempt and its reference. Statements and functions are given by number.

    Attributes:
        partner: maps the attempt's statements to the reference's, whether equal or replaced.
        changed: the attempt's statements that differ from their partners.
        functions: maps the attempt's functions to the reference's.
        names: for each function of the attempt, maps its variable names to the reference's, where they differ.
        opaque: functions of the attempt too different from their partners to compare by statement.
    """

    partner: Mapping[int, int]
    changed: frozenset[int]
    functions: Mapping[int, int]
    names: Mapping[int, Mapping[str, str]]
    opaque: frozenset[int]


def align(attempt: ProgramText, reference: ProgramText) -> Alignment:
    """Align the statements of two programs."""
    functions = _pair_functions(attempt, reference)
    partner: dict[int, int] = {}
    changed: set[int] = set()
    names: dict[int, dict[str, str]] = {}
    opaque: set[int] = set()
    for own, other in functions.items():
        ours, theirs = attempt.body_of(own), reference.body_of(other)
        renamed = _renamed_parameters(attempt, own, reference, other)
        pairs = _pairs(ours, theirs, renamed)
        if found := _renamed_targets(pairs, ours, theirs):
            renamed |= found
            pairs = _pairs(ours, theirs, renamed)
        names[own] = renamed
        partner |= {pair.ours.number: pair.theirs.number for pair in pairs}
        changed |= {pair.ours.number for pair in pairs if not pair.is_same}
        num_alike = sum(pair.likeness >= 1 for pair in pairs)
        if len(pairs) < max(len(ours), len(theirs)) and num_alike <= _MIN_SHARE * min(len(ours), len(theirs)):
            opaque.add(own)
    return Alignment(partner, frozenset(changed), functions, names, frozenset(opaque))


def _pair_functions(attempt: ProgramText, reference: ProgramText) -> dict[int, int]:
    theirs = {reference.name_of(number): number for number in reference.functions()}
    pairs = {number: theirs.pop(name) for number in attempt.functions() if (name := attempt.name_of(number)) in theirs}
    left = [number for number in attempt.functions() if number not in pairs]
    return {**pairs, **(dict(zip(left, theirs.values(), strict=True)) if len(left) == len(theirs) else {})}


def _renamed_parameters(attempt: ProgramText, own: int, reference: ProgramText, other: int) -> dict[str, str]:
    ours, theirs = attempt.parameters(own), reference.parameters(other)
    if len(ours) != len(theirs):
        return {}
    return {a: b for a, b in zip(ours, theirs, strict=True) if a != b and a not in theirs and b not in ours}


def _renamed_targets(pairs: list[Pair], ours: list[Statement], theirs: list[Statement]) -> dict[str, str]:
    """Return renamed variables: assigned by statements that differ only in names, and unknown to the other program."""
    known = {name for item in ours for name in (*item.targets, *item.reads)}
    known_there = {name for item in theirs for name in (*item.targets, *item.reads)}
    found: dict[str, str] = {}
    for a, b, _ in pairs:
        if _NAME.sub("_", a.text) == _NAME.sub("_", b.text) and len(a.targets) == len(b.targets):
            for name, other in zip(a.targets, b.targets, strict=True):
                if name != other and name not in known_there and other not in known and other not in found.values():
                    found.setdefault(name, other)
    return found


def _pairs(ours: list[Statement], theirs: list[Statement], renamed: Mapping[str, str]) -> list[Pair]:
    """Return the corresponding statements: the common prefix and suffix, and the best alignment between them."""
    texts = [_NAME.sub(lambda match: renamed.get(match[0], match[0]), item.text) for item in ours]
    others = [item.text for item in theirs]

    def same(at: int, to: int) -> bool:
        return texts[at] == others[to] and len(ours[at].parents) == len(theirs[to].parents)

    shorter = min(len(ours), len(theirs))
    head = next((at for at in range(shorter) if not same(at, at)), shorter)
    tail = next((at for at in range(shorter - head) if not same(-1 - at, -1 - at)), shorter - head)
    a_end, b_end = len(ours) - tail, len(theirs) - tail
    likeness = _Likeness(ours, theirs, texts, others)
    middle = _best_alignment(range(head, a_end), range(head, b_end), likeness)
    ends = [*((at, at) for at in range(head)), *((a_end + at, b_end + at) for at in range(tail))]
    return [Pair(ours[at], theirs[to], likeness(at, to)) for at, to in sorted([*ends, *middle])]


class _Likeness:
    """Rates the similarity of two statements: 2 to 3 equal, 1 to 2 similar, below 1 only of the same kind, 0 unlike."""

    def __init__(self, ours: list[Statement], theirs: list[Statement], texts: list[str], others: list[str]):
        self._ours, self._theirs, self._texts, self._others = ours, theirs, texts, others
        self._known: dict[tuple[int, int], float] = {}

    def __call__(self, at: int, to: int) -> float:
        if (at, to) not in self._known:
            self._known[at, to] = self._compare(at, to)
        return self._known[at, to]

    def _compare(self, at: int, to: int) -> float:
        a, b = self._ours[at], self._theirs[to]
        as_deep = len(a.parents) == len(b.parents)
        if self._texts[at] == self._others[to]:
            return 2.5 + 0.5 * as_deep
        both_plain = isinstance(a.node, _PLAIN) and isinstance(b.node, _PLAIN)
        if a.kind != b.kind and not both_plain:
            return 0.0
        ratio = difflib.SequenceMatcher(None, self._texts[at], self._others[to], autojunk=False).ratio()
        if ratio >= _MIN_ALIKE:
            return 1.0 + 0.8 * ratio + 0.2 * as_deep
        return 0.2 + 0.1 * (a.kind == b.kind) if both_plain and as_deep else 0.0


def _best_alignment(a: range, b: range, likeness: _Likeness) -> list[tuple[int, int]]:
    """Return the ordered pairs with the greatest total similarity (Needleman and Wunsch 1970, with no gap penalty)."""
    if len(a) * len(b) > _MAX_CELLS:
        return []
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            paired = likeness(a[i], b[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired + best[i + 1][j + 1] if paired else 0.0)
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        paired = likeness(a[i], b[j])
        if paired and best[i][j] == paired + best[i + 1][j + 1]:
            pairs.append((a[i], b[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs
