"""Finds the edits from an attempt to its reference; each replaces, inserts, deletes or moves one statement."""

from __future__ import annotations

import ast
import io
import itertools
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reflectioncoder import syntax
from reflectioncoder.builder.causes.cause import Cause
from reflectioncoder.builder.causes.changes import change
from reflectioncoder.builder.tracing.alignment import Alignment, align
from reflectioncoder.builder.tracing.statements import ProgramText, Statement
from reflectioncoder.data.python_source import first_line


@dataclass(frozen=True)
class Edit:
    """Replaces lines `start` to `end` (from 0, `end` exclusive) of a program by `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]
    cause: Cause


def apply(edits: tuple[Edit, ...], program: str) -> str:
    """Apply edits that do not overlap."""
    lines = program.split("\n")
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        lines[edit.start : edit.end] = edit.lines
    return "\n".join(lines)


def overlap(first: Edit, second: Edit) -> bool:
    a, b = sorted((first, second), key=lambda edit: (edit.start, edit.end))
    return a.end > b.start or a.start == b.start


def edits_between(attempt: str, reference: str) -> list[Edit]:
    """Return the edits in the order of the attempt's lines; none if a program cannot be parsed."""
    try:
        ours, theirs = ProgramText(attempt), ProgramText(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    alignment = align(ours, theirs)
    if names := {other: own for renamed in alignment.names.values() for own, other in renamed.items()}:
        theirs = ProgramText(_renamed(reference, names))
        alignment = align(ours, theirs)
    return sorted(Edits(ours, theirs, alignment).all(), key=lambda edit: (edit.start, edit.end))


def _renamed(program: str, names: Mapping[str, str]) -> str:
    """Rename names in a program, except attributes and keyword arguments."""
    lines = program.split("\n")
    keywords = {(node.lineno, node.col_offset) for node in ast.walk(syntax.parse(program)) if isinstance(node, ast.keyword)}
    tokens = list(tokenize.generate_tokens(io.StringIO(program).readline))
    for before, token in reversed(list(itertools.pairwise(tokens))):
        if token.type == tokenize.NAME and token.string in names and before.string != ".":
            row, column = token.start
            line = lines[row - 1]
            if (row, len(line[:column].encode())) in keywords:
                continue
            lines[row - 1] = f"{line[:column]}{names[token.string]}{line[column + len(token.string) :]}"
    return "\n".join(lines)


class Edits:
    """The edits between two programs with aligned statements."""

    def __init__(self, ours: ProgramText, theirs: ProgramText, alignment: Alignment):
        self._ours, self._theirs, self._alignment = ours, theirs, alignment
        self._partner = dict(alignment.partner)
        self._back = {other: own for own, other in alignment.partner.items()}
        self._back |= {other: own for own, other in alignment.functions.items() if own}
        self._lines = ours.source.split("\n")

    def all(self) -> Iterator[Edit]:
        moved = self._moved()
        for own, other in moved.items():
            yield from self._move(self._ours.statements[own], self._theirs.statements[other])
        for number, statement in self._ours.statements.items():
            if number in moved or self._is_around(statement) or statement.kind in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
                continue
            if number in self._alignment.changed:
                yield from self._replace(statement, self._theirs.statements[self._partner[number]])
            elif number not in self._partner and statement.function in self._alignment.functions:
                yield from self._leave_out(statement)
        for number, statement in self._theirs.statements.items():
            if number not in self._back and number not in moved.values() and self._parent_of(statement) not in self._unpaired():
                yield from self._put_in(statement)
        for own, other in self._alignment.functions.items():
            if own:
                yield from self._signature(self._ours.statements[own], self._theirs.statements[other])

    def _unpaired(self) -> set[int]:
        return {number for number in self._theirs.statements if number not in self._back}

    def _is_around(self, statement: Statement) -> bool:
        """Tell whether a statement is inside an unpaired one, which is deleted as a whole."""
        return any(number not in self._partner for number in statement.parents)

    @staticmethod
    def _parent_of(statement: Statement) -> int:
        return statement.parents[-1] if statement.parents else statement.function

    def _moved(self) -> dict[int, int]:
        """Return the equal statements that moved: those at another depth, and unpaired ones with the same text."""
        found = {}
        for own, other in self._partner.items():
            a, b = self._ours.statements[own], self._theirs.statements[other]
            if own not in self._alignment.changed and len(a.parents) != len(b.parents):
                found[own] = other
        left = {number: item for number, item in self._ours.statements.items() if number not in self._partner}
        for number, item in self._theirs.statements.items():
            if number not in self._back and item.kind not in ("FunctionDef", "ClassDef"):
                same = next((own for own, other in left.items() if other.text == item.text and own not in found), None)
                if same is not None:
                    found[same] = number
        return found

    def _replace(self, ours: Statement, theirs: Statement) -> Iterator[Edit]:
        """Yield the edit that replaces a statement, or the header of a compound statement."""
        if not self._ours.has_its_lines(ours):
            return
        if hasattr(ours.node, "body"):
            yield from self._header(ours, theirs)
            return
        if hasattr(theirs.node, "body"):
            return
        begin, end = ours.line - 1, self._ours.last_line(ours)
        yield Edit(begin, end, self._text(theirs, self._indent(begin)), change(ours, theirs, is_initial=self._is_initial(ours)))

    def _header(self, ours: Statement, theirs: Statement) -> Iterator[Edit]:
        begin, body = ours.line - 1, self._ours.first_of_body(ours)
        if not ours.written or not theirs.written or body <= ours.line or ours.kind != theirs.kind:
            return
        text = theirs.written.removeprefix("el") if theirs.written.startswith("elif ") else theirs.written
        text = f"el{text}" if self._ours.is_elif(ours) else text
        end = next((number for number in range(begin, body) if self._lines[number].rstrip().endswith(":")), begin) + 1
        yield Edit(begin, end, (f"{self._indent(begin)}{text}",), change(ours, theirs))

    def _signature(self, ours: Statement, theirs: Statement) -> Iterator[Edit]:
        """Yield the edit of a function's name and parameters; annotations are ignored."""
        if ours.text == theirs.text or not ours.written or not theirs.written:
            return
        names = [getattr(item.node, "name", "") for item in (ours, theirs)]
        cause = change(ours, theirs)
        if names[0] != names[1]:
            cause = Cause("wrong_name", ours.written, theirs.written, {"name": names[0], "right_name": names[1]})
        begin, body = ours.line - 1, self._ours.first_of_body(ours)
        if body == ours.line + 1 or (body > ours.line and self._lines[begin].rstrip().endswith(":")):
            yield Edit(begin, begin + 1, (f"{self._indent(begin)}{theirs.written}",), cause)

    def _leave_out(self, statement: Statement) -> Iterator[Edit]:
        begin, end = self._ours.first_line(statement) - 1, statement.node.end_lineno if isinstance(statement.node, ast.stmt) else None
        if end is None or not self._ours.has_its_lines(statement) or not statement.written or self._is_alone(statement):
            return
        kind = "needless_case" if isinstance(statement.node, ast.If) else "needless_step"
        yield Edit(begin, end, (), Cause(kind, self._shown(statement, self._ours)))

    def _is_alone(self, statement: Statement) -> bool:
        """Tell whether a statement is the only one in its block, or an `elif`."""
        siblings = [item for item in self._ours.statements.values() if self._same_place(item, statement)]
        return len(siblings) < 2 or self._ours.is_elif(statement)

    @staticmethod
    def _same_place(a: Statement, b: Statement) -> bool:
        return a.parents == b.parents and a.function == b.function

    def _put_in(self, statement: Statement) -> Iterator[Edit]:
        place = self._place(statement)
        if place is None or self._theirs.is_elif(statement) or not isinstance(statement.node, ast.stmt):
            return
        at, indent = place
        yield Edit(at, at, self._text(statement, indent), Cause(self._missing(statement), "", self._shown(statement, self._theirs)))

    def _missing(self, statement: Statement) -> str:
        node = statement.node
        if isinstance(node, ast.Import | ast.ImportFrom):
            return "missing_import"
        if isinstance(node, ast.Return):
            return "never_returns"
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break):
            return "missing_guard"
        return "missing_branch" if isinstance(node, ast.If) else "missing_step"

    def _move(self, ours: Statement, theirs: Statement) -> Iterator[Edit]:
        place = self._place(theirs)
        if place is None or not isinstance(ours.node, ast.stmt) or not self._ours.has_its_lines(ours):
            return
        (at, indent), begin, end = place, self._ours.first_line(ours) - 1, ours.node.end_lineno or ours.line
        text = tuple(textwrap.indent(textwrap.dedent("\n".join(self._lines[begin:end])), indent).split("\n"))
        loops = [
            [one.statements[number].is_loop for number in item.parents] for one, item in ((self._ours, ours), (self._theirs, theirs))
        ]
        is_early = isinstance(ours.node, ast.Return) and sum(loops[0]) > sum(loops[1])
        cause = Cause("early_return" if is_early else "wrong_place", "", self._shown(ours, self._ours))
        if begin <= at <= end:  # only the depth changes
            yield Edit(begin, end, text, cause)
        elif at > end:
            yield Edit(begin, at, (*self._lines[end:at], *text), cause)
        else:
            yield Edit(at, end, (*text, *self._lines[at:begin]), cause)

    def _place(self, statement: Statement) -> tuple[int, str] | None:
        """Return the line of the attempt (from 0) before which to insert a statement of the reference, and the indentation there."""
        siblings = [item for item in self._theirs.statements.values() if self._same_place(item, statement)]
        at = next(number for number, item in enumerate(siblings) if item.number == statement.number)
        for other in reversed(siblings[:at]):
            own = self._ours.statements.get(self._back.get(other.number, 0))
            if own is not None and isinstance(own.node, ast.stmt):
                return own.node.end_lineno or own.line, self._indent(self._ours.first_line(own) - 1)
        for other in siblings[at + 1 :]:
            own = self._ours.statements.get(self._back.get(other.number, 0))
            if own is not None and isinstance(own.node, ast.stmt):
                begin = self._ours.first_line(own) - 1
                return begin, self._indent(begin)
        parent = self._parent_of(statement)
        own = self._ours.statements.get(self._back.get(parent, 0))
        if own is None or (body := self._ours.first_of_body(own)) <= own.line:
            return (0, "") if not parent else None
        return body - 1, self._indent(body - 1)

    def _is_initial(self, statement: Statement) -> bool:
        """Tell whether a statement assigns a variable before a loop that assigns it again."""
        later = [item for item in self._ours.body_of(statement.function) if item.number > statement.number]
        names = set(statement.targets)
        own = [self._ours.statements[number] for number in statement.parents]
        in_loops = [item for item in later if any(self._ours.statements[number].is_loop for number in item.parents)]
        return not any(item.is_loop for item in own) and any(names & set(item.targets) for item in in_loops)

    def _text(self, statement: Statement, indent: str) -> tuple[str, ...]:
        """Return the lines of a statement of the reference, reindented."""
        node = statement.node
        assert isinstance(node, ast.stmt)
        lines = self._theirs.source.split("\n")[first_line(node) - 1 : node.end_lineno]
        if not self._theirs.has_its_lines(statement):
            return tuple(f"{indent}{line}" for line in ast.unparse(node).split("\n"))
        return tuple(f"{indent}{line}" if line.strip() else "" for line in textwrap.dedent("\n".join(lines)).split("\n"))

    def _indent(self, line: int) -> str:
        text = self._lines[line]
        return text[: len(text) - len(text.lstrip())]

    @staticmethod
    def _shown(statement: Statement, text: ProgramText) -> str:
        """Return a statement for quoting, on one line without comments."""
        node = statement.node
        assert isinstance(node, ast.stmt)
        if not hasattr(node, "body"):
            return statement.written or statement.text
        return " ".join(part for line in ast.unparse(node).split("\n") if (part := line.strip()))
