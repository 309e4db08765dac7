"""Follows two calls step by step to the first difference.

Steps of statements that only one program has are skipped; at the next common statement both runs must be at the same statement with
equal variables. Variables that only one program has are never compared.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from reflectioncoder.builder.tracing.divergence import Divergence
from reflectioncoder.builder.tracing.frames import Call, Step
from reflectioncoder.builder.tracing.statements import ProgramText, Statement
from reflectioncoder.builder.tracing.states import Rounds, States

if TYPE_CHECKING:
    from reflectioncoder.builder.tracing.comparison import Comparison


class Walk:
    """Follows two calls, step by step."""

    def __init__(self, comparison: Comparison, a: Call, b: Call, path: tuple[str, ...]):
        self._whole, self._a, self._b, self._path = comparison, a, b, path
        self._ours, self._theirs, self._alignment = comparison.ours, comparison.theirs, comparison.alignment
        self._partners = frozenset(self._alignment.partner.values())
        self._states = States(a, b, self._alignment.names.get(a.function, {}))
        self._rounds = Rounds(comparison.ours)
        self._at = 0, 0
        self._skipped: tuple[list[Step], list[Step]] = ([], [])
        self._pair: tuple[Step, Step] | None = None

    def compare(self) -> Divergence | None:
        while True:
            self._pass_over()
            i, j = self._at
            a, b = (steps[at] if at < len(steps) else None for steps, at in ((self._a.steps, i), (self._b.steps, j)))
            if (a is None and self._a.end == "cut") or (b is None and self._b.end == "cut"):
                return self._difference() or self._cut(a, b)
            if found := self._parting(a, b) or self._difference():
                return found
            if a is None or b is None:
                return self._whole.ends(self._a, self._b, self._end_place())
            self._skipped = ([], [])
            if found := self._step(a, b):
                return found
            if _is_unfinished(self._a, a) or _is_unfinished(self._b, b):
                return self._cut(a if _is_unfinished(self._b, b) else None, b)
            self._at = i + 1, j + 1

    def _cut(self, a: Step | None, b: Step | None) -> Divergence | None:
        """Return the place where the attempt hangs; None if a limit of the tracer cut the trace."""
        return replace(self._end_place(), kind="endless") if self._whole.is_killed and a is None and b is not None else None

    def _pass_over(self) -> None:
        """Skip steps whose statements only one program has, and apply their effects."""
        i, j = self._at
        while i < len(self._a.steps) and self._a.function >= 0 and self._a.steps[i].statement not in self._alignment.partner:
            self._skipped[0].append(self._a.steps[i])
            self._apply(self._a.steps[i])
            i += 1
        while j < len(self._b.steps) and self._b.function >= 0 and self._b.steps[j].statement not in self._partners:
            self._skipped[1].append(self._b.steps[j])
            self._states.apply_there(self._b.steps[j])
            j += 1
        self._at = i, j

    def _apply(self, step: Step) -> None:
        self._rounds.count(step)
        self._states.apply(step)

    def _step(self, a: Step, b: Step) -> Divergence | None:
        """Compare the effects of executing two corresponding statements."""
        self._pair = (a, b)
        self._apply(a)
        self._states.apply_there(b)
        if found := self._whole.inside(a, b, self._path, lambda: self._place(a, b)):
            return found
        if _is_unfinished(self._a, a) or _is_unfinished(self._b, b):
            return None
        for ours, theirs in zip(a.yielded, b.yielded, strict=False):
            if ours != theirs:
                return replace(self._place(a, b), kind="yield", value_attempt=ours, value_reference=theirs)
        if a.error != b.error and self._a.function >= 0:
            return replace(self._place(a, b), kind="exception", value_attempt=a.error or None, value_reference=b.error or None)
        if a.printed != b.printed and self._whole.printed is None:
            self._whole.printed = replace(self._place(a, b), kind="output", value_attempt=a.printed, value_reference=b.printed)
        is_same = a.statement in self._ours.statements and a.statement not in self._alignment.changed
        is_for = is_same and isinstance(self._ours.statements[a.statement].node, ast.For)  # may end in one run only
        return self._difference() if is_same and not is_for else None  # later statements may compensate for a changed one

    def _difference(self, but: Collection[str] = ()) -> Divergence | None:
        """Return the first variable whose values differ; both runs must be at the same place."""
        step = self._skipped[0][-1] if self._skipped[0] else None if self._skipped[1] else self._pair[0] if self._pair else None
        statement = self._ours.statements.get(step.statement) if step else None
        found = self._states.difference(statement.targets if statement else (), but)
        if found is None:
            return None
        extra = [step for step in self._skipped[0] if found.path in step.changes]
        missing = [step for step in self._skipped[1] if found.path_there in step.changes]
        if extra or missing:
            at = self._place(extra[-1] if extra else None, missing[-1] if missing else None)
        else:
            at = self._place(*(self._pair or (None, None)))
        return replace(at, kind="value", variable=found.path, value_attempt=found.ours, value_reference=found.theirs)

    def _place(self, a: Step | None, b: Step | None, state: dict[str, str] | None = None) -> Divergence:
        state = self._states.before if state is None else state
        return self._whole.place(a, b, self._path, state, self._rounds.of(a), self._rounds.last)

    def _parting(self, a: Step | None, b: Step | None) -> Divergence | None:
        """Return where the runs diverge if different statements follow; None if the same statement follows."""
        if (a is None and b is None) or (a is not None and b is not None and self._are_partners(a, b)):
            return None
        if (a is None and self._a.end == "leave") or (b is None and self._b.end == "leave"):
            passed_over = {path.partition(".")[0] for steps in self._skipped for step in steps for path in step.changes}
            return self._difference(passed_over) or self._whole.ends(self._a, self._b, self._end_place())
        if self._skipped[1] and not self._skipped[0]:
            return self._missing(self._skipped[1][0])
        last = self._skipped[0][0] if self._skipped[0] else None
        ours, theirs = last or (self._pair[0] if self._pair else None), None if last else self._pair[1] if self._pair else None
        statement = self._ours.statements.get(ours.statement) if ours else None
        if statement is not None and isinstance(statement.node, ast.For | ast.If | ast.While) and self._sides_differ(statement):
            is_for = isinstance(statement.node, ast.For)
            found = self._difference(statement.targets) if is_for else None
            return found or self._branch(statement, ours, theirs)
        if found := self._difference():
            return found
        return self._path_place(a, b)

    def _are_partners(self, a: Step, b: Step) -> bool:
        return a.statement == b.statement if self._a.function < 0 else self._alignment.partner.get(a.statement) == b.statement

    def _sides_differ(self, statement: Statement) -> bool:
        """Tell whether the runs take different branches of a compound statement; one that only the attempt has always counts."""
        if self._skipped[0]:
            return True
        assert self._pair is not None
        there = self._theirs.statements[self._pair[1].statement]
        return self._goes_inside(statement) != _follows_inside(self._theirs, there, self._b.steps, self._pair[1])

    def _goes_inside(self, statement: Statement) -> bool:
        """Tell whether the attempt enters the body of a compound statement, not its `else`."""
        step = self._skipped[0][0] if self._skipped[0] else self._pair[0] if self._pair else None
        return step is not None and _follows_inside(self._ours, statement, self._a.steps, step)

    def _branch(self, statement: Statement, ours: Step | None, theirs: Step | None) -> Divergence:
        at, taken = self._place(ours, theirs), self._goes_inside(statement)
        node = statement.node
        if isinstance(node, ast.For):
            if not isinstance(node.target, ast.Name):  # several targets: there is no single missing value
                return replace(at, kind="path")
            target = node.target.id
            own, other = self._states.ours.get(target), self._states.theirs(target)
            values = (own if taken else None, other if not taken else None)
            return replace(
                at, kind="rounds", variable=self._ours.expression(node.target), value_attempt=values[0], value_reference=values[1]
            )
        assert isinstance(node, ast.If | ast.While)
        expected = str(not taken) if theirs else None
        return replace(at, kind="branch", variable=self._ours.expression(node.test), value_attempt=str(taken), value_reference=expected)

    def _missing(self, step: Step) -> Divergence:
        """Return the place of a reference statement that the attempt lacks and after which the paths differ."""
        at = self._place(None, step, self._states.ours)
        statement = self._theirs.statements[step.statement]
        if isinstance(statement.node, ast.If | ast.While):
            inside = len(self._skipped[1]) > 1 and _is_in_body(self._theirs, statement, self._skipped[1][1])
            inside = inside or (len(self._skipped[1]) == 1 and self._next_is_inside(statement))
            return replace(at, kind="branch", variable=self._theirs.expression(statement.node.test), value_reference=str(inside))
        return at

    def _next_is_inside(self, statement: Statement) -> bool:
        _, j = self._at
        return j < len(self._b.steps) and _is_in_body(self._theirs, statement, self._b.steps[j])

    def _path_place(self, a: Step | None, b: Step | None) -> Divergence:
        """Return the place where different statements follow although nothing differed before."""
        if self._pair and self._pair[0].statement in self._alignment.changed:  # it ends the call in one program
            ours, theirs = self._pair
            at = self._place(ours, theirs)
        else:
            at = self._place(a, b, self._states.ours)
        if a is None or b is None:
            ends = (self._a.value if a is None else None, self._b.value if b is None else None)
            return replace(at, kind="path", value_attempt=ends[0], value_reference=ends[1])
        return at

    def _end_place(self) -> Divergence:
        a, b = self._pair or (None, None)
        return self._place((self._skipped[0] or [a])[-1], (self._skipped[1] or [b])[-1])


def _is_unfinished(call: Call, step: Step) -> bool:
    return call.end == "cut" and step is call.steps[-1]


def _follows_inside(text: ProgramText, statement: Statement, steps: list[Step], step: Step) -> bool:
    """Tell whether the step after `step` is inside the body of the statement."""
    at = next(number for number, other in enumerate(steps) if other is step)
    return at + 1 < len(steps) and _is_in_body(text, statement, steps[at + 1])


def _is_in_body(text: ProgramText, statement: Statement, step: Step) -> bool:
    node = text.statements[step.statement]
    body = {text.numbers[id(child)] for child in getattr(statement.node, "body", [])}
    return bool(body & {*node.parents, node.number})
