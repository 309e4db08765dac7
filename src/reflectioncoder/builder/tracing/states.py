"""Tracks the variables of two traced calls, and the iterations of the attempt's loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from reflectioncoder.builder.tracing.frames import Call, Step
from reflectioncoder.builder.tracing.statements import ProgramText


class Difference(NamedTuple):
    """A variable or attribute that differs, with its names and values in the attempt and the reference."""

    path: str
    path_there: str
    ours: str
    theirs: str


class States:
    """The variables of two calls. `difference` examines only those that changed since its last call.

    Args:
        names: maps the attempt's variable names to the reference's, where they differ.

    Attributes:
        ours: the attempt's variables.
        before: the attempt's variables before its last step.
    """

    def __init__(self, attempt: Call, reference: Call, names: Mapping[str, str]):
        self.ours, self.before = dict(attempt.arguments), dict(attempt.arguments)
        self._theirs = dict(reference.arguments)
        self._names, self._back = names, {other: name for name, other in names.items()}
        self._dirty: dict[str, None] = {}

    def apply(self, step: Step) -> None:
        """Apply the effects of a step of the attempt."""
        self.before = dict(self.ours)
        self.ours.update(step.changes)
        self._dirty.update(dict.fromkeys(step.changes))
        for path in step.gone:
            self.ours.pop(path, None)

    def apply_there(self, step: Step) -> None:
        """Apply the effects of a step of the reference."""
        self._theirs.update(step.changes)
        self._dirty.update((_renamed(path, self._back), None) for path in step.changes)
        for path in step.gone:
            self._theirs.pop(path, None)

    def theirs(self, path: str) -> str | None:
        """Return the reference's value of an attempt's variable."""
        return self._theirs.get(_renamed(path, self._names))

    def difference(self, first: Sequence[str], but: Collection[str] = ()) -> Difference | None:
        """Return a variable with differing values among those that changed since the last call; None if there is none.

        Args:
            first: names to examine first.
            but: names to ignore.
        """

        def rank(path: str) -> int:
            root = path.partition(".")[0]
            return first.index(root) if root in first else len(first)

        dirty, self._dirty = sorted(self._dirty, key=rank), {}
        for path in dirty:
            ours, theirs = self.ours.get(path), self.theirs(path)
            if path.partition(".")[0] not in but and ours is not None and theirs is not None and ours != theirs:
                return Difference(path, _renamed(path, self._names), ours, theirs)
        return None


def _renamed(path: str, names: Mapping[str, str]) -> str:
    root, dot, rest = path.partition(".")
    return f"{names.get(root, root)}{dot}{rest}"


class Rounds:
    """Counts the iterations of a call's loops. Entering a loop from outside restarts its count.

    Attributes:
        last: the attempt's last step.
    """

    def __init__(self, text: ProgramText):
        self._text = text
        self._counts: Counter[int] = Counter()
        self.last: Step | None = None

    def count(self, step: Step) -> None:
        statement = self._text.statements.get(step.statement)
        if statement is not None and statement.is_loop:
            last = self._text.statements.get(self.last.statement) if self.last else None
            is_within = last is not None and statement.number in (*last.parents, last.number)
            self._counts[statement.number] = self._counts[statement.number] + 1 if is_within else 1
        self.last = step

    def of(self, step: Step | None) -> int:
        """Return the iteration of the innermost loop at a step's statement (None: the last step's); 0 outside loops."""
        step = step or self.last
        statement = self._text.statements.get(step.statement) if step else None
        if statement is None:
            return 0
        loops = [number for number in (*statement.parents, statement.number) if self._text.statements[number].is_loop]
        return self._counts[loops[-1]] if loops else 0
