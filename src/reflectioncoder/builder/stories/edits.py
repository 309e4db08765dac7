"""Describes what a correction changes: it quotes all changed lines, or counts them."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reflectioncoder.builder.mutation.stated_words import num_statements
from reflectioncoder.builder.stories.values import count
from reflectioncoder.data.python_source import parse

_MAX_LINES = 3  # quoted one by one
_MAX_COUNTED = 12  # lines whose number is spelled out
_MAX_EDITS = 3  # described one by one
_MAX_CHARS = 130  # of a quoted line


@dataclass(frozen=True)
class Edit:
    """Lines of a program and their replacements, both without indentation. `line`: number of the first old line, from 1."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    line: int

    def is_at(self, line: int | None) -> bool:
        """Tell whether a line of the program is among the old lines, or next to an insertion."""
        return line is not None and self.line - (not self.old) <= line <= self.line + max(len(self.old) - 1, 0)


def edits(program: str, corrected: str) -> list[Edit]:
    """Return the changes that turn a program into its correction, ignoring blank lines."""
    ours, theirs = program.strip("\n").split("\n"), corrected.strip("\n").split("\n")
    found = []
    for tag, begin, end, other_begin, other_end in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        old, new = _filled(ours[begin:end]), _filled(theirs[other_begin:other_end])
        if new and len(new) < len(old) and old[-len(new) :] == new:  # lines that only lose their indentation are left out
            old, new = old[: -len(new)], ()
        if tag != "equal" and (old or new):
            found.append(Edit(old, new, begin + 1))
    return found


def are_apart(reference: str, first: str, both: str) -> bool:
    """Tell whether two slips are in different statements of a program with several: nobody makes both in one statement.

    Args:
        first: the reference with one slip.
        both: that program with a second slip.
    """
    tree = parse(first)
    if tree is None or num_statements(reference) < 2:
        return False
    changed = [_statements_at(tree, changes) for changes in (_mirrored(edits(reference, first)), edits(first, both))]
    return not changed[0] & changed[1]


def _mirrored(changes: Sequence[Edit]) -> Iterator[Edit]:
    """Yield the inverse changes, with line numbers of the changed program."""
    shift = 0
    for change in changes:
        yield Edit(change.new, change.old, change.line + shift)
        shift += len(change.new) - len(change.old)


def _statements_at(tree: ast.Module, changes: Iterable[Edit]) -> set[int]:
    """Return the first lines of the statements that changes touch, including statements next to insertions."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    lines = {line for change in changes for line in range(change.line - (not change.old), change.line + max(len(change.old), 1))}
    return {max((node.lineno for node in nodes if node.lineno <= line), default=0) for line in lines}


def _filled(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.strip() for line in lines if line.strip())


def is_move(changes: Sequence[Edit]) -> bool:
    """Tell whether lines only move or change their indentation."""
    if len(changes) == 1:
        return changes[0].old == changes[0].new
    return len(changes) == 2 and changes[0].old + changes[1].old == changes[0].new + changes[1].new


def edit_facts(changes: Sequence[Edit], first: int | None = None) -> tuple[str, dict[str, str]]:
    """Return the shape of the changes, which selects the grammar symbol, and the facts for its sentences.

    Args:
        first: line whose change is described first.
    """
    ordered = sorted(changes, key=lambda change: not change.is_at(first))
    if not all(_is_quotable(line) for change in ordered for line in _quoted(change)):
        return "lines", {"number": count(sum(max(len(change.old), len(change.new)) for change in ordered), "line")}
    if len(ordered) > 1:
        clauses = [_clause(change) for change in ordered[:_MAX_EDITS]]
        if (more := len(ordered) - _MAX_EDITS) > 0:
            clauses.append(f"{count(more, 'more place')} {'changes' if more == 1 else 'change'}")
        return "several", {"changes": _joined(clauses)}
    (change,) = ordered
    if len(change.old) == len(change.new) == 1:
        return "line", {"old_lines": _named(change.old), "new_lines": _named(change.new)}
    if not change.new:
        return "out", {"old_lines": _named(change.old)}
    if not change.old:
        return "in", {"new_lines": _named(change.new)}
    return "block", {"old_lines": _named(change.old), "new_lines": _named(change.new)}


def _quoted(change: Edit) -> list[str]:
    return [line for lines in (change.old, change.new) for line in (lines if len(lines) <= _MAX_LINES else (lines[0], lines[-1]))]


def _is_quotable(line: str) -> bool:
    return "`" not in line and len(line) <= _MAX_CHARS


def _named(lines: Sequence[str]) -> str:
    if len(lines) > _MAX_LINES:
        number = count(len(lines), "line") if len(lines) <= _MAX_COUNTED else f"{len(lines)} lines"
        return f"the {number} from `{lines[0]}` to `{lines[-1]}`"
    return _joined([f"`{line}`" for line in lines])


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _clause(change: Edit) -> str:
    if not change.new:
        return f"{_named(change.old)} {'goes' if len(change.old) == 1 else 'go'}"
    if not change.old:
        return f"{_named(change.new)} {'is' if len(change.new) == 1 else 'are'} added"
    return f"{_named(change.old)} {'becomes' if len(change.old) == 1 else 'become'} {_named(change.new)}"
