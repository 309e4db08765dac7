"""Language support for authors: building a cell from a program and its tests, and splitting a program into its parts.

Python is parsed into syntax trees (`builder.checks`); JavaScript and C++ are split by their brackets. A Python cell runs in a session
that keeps names; a cell of another language is a standalone program, compiled and run on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from reflectioncoder.builder import checks
from reflectioncoder.builder.cells import Execution, Executor, python_cell
from reflectioncoder.builder.failures import read_failure
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.languages import CODE_LANGUAGES, PYTHON
from reflectioncoder.languages.language import BraceSyntax, Language


class Coding(Protocol):
    """A language as authors see it."""

    @property
    def language(self) -> Language: ...

    def cell(self, program: str, problem: Problem, tests: tuple[str, ...]) -> str:
        """Return the program, the tests' setup, the tests, and a line that prints that all tests passed."""
        ...

    def without_tests(self, code: str, entry_point: str) -> str: ...

    def defines(self, code: str, name: str) -> bool: ...

    def defines_something(self, code: str) -> bool: ...

    def uses_outside_world(self, code: str) -> bool: ...

    def read_failure(self, cell: str, tests: tuple[str, ...], ran: Execution, execute: Executor) -> Failure: ...


_DEFINES = re.compile(r"^\s*(async\s+def|def|class)\s", re.MULTILINE)  # works on invalid Python too


class _Python:
    language = PYTHON

    def cell(self, program: str, problem: Problem, tests: tuple[str, ...]) -> str:
        return python_cell(program, problem, tests)

    def without_tests(self, code: str, entry_point: str) -> str:
        return checks.without_tests(code, entry_point)

    def defines(self, code: str, name: str) -> bool:
        return checks.defines(code, name)

    def defines_something(self, code: str) -> bool:
        return _DEFINES.search(code) is not None

    def uses_outside_world(self, code: str) -> bool:
        return checks.uses_outside_world(code)

    def read_failure(self, cell: str, tests: tuple[str, ...], ran: Execution, execute: Executor) -> Failure:
        return read_failure(cell, tests, ran, execute)


@dataclass(frozen=True)
class _Braces:
    """A language with braces and semicolons, split by regular expressions."""

    language: Language
    syntax: BraceSyntax

    def cell(self, program: str, problem: Problem, tests: tuple[str, ...]) -> str:
        setup = f"{problem.setup.strip()}\n\n" if problem.setup.strip() else ""
        lines = "\n".join(f"{self.syntax.indent}{test}" for test in tests)
        return self.syntax.frame.format(program=f"{program.rstrip()}\n\n{setup}".rstrip(), tests=lines)

    def without_tests(self, code: str, entry_point: str) -> str:
        kept, test = [], re.compile(self.syntax.test)
        for statement in _statements(code):
            if not test.match(statement.lstrip("\n")):
                kept.append(statement)
        return "".join(kept)

    def defines(self, code: str, name: str) -> bool:
        return re.search(self.syntax.function.format(name=re.escape(name)), code) is not None

    def defines_something(self, code: str) -> bool:
        return re.search(self.syntax.function.format(name=r"\w+"), code) is not None

    def uses_outside_world(self, code: str) -> bool:
        return re.search(self.syntax.outside, code) is not None

    def read_failure(self, cell: str, tests: tuple[str, ...], ran: Execution, execute: Executor) -> Failure:
        output = ran.output
        if ran.status == "timeout":
            return Failure("timeout", "")
        if found := re.search(self.syntax.broken, output, re.MULTILINE):
            return Failure("syntax", found[1].strip())
        if re.search(self.syntax.asserted, output, re.MULTILINE):
            lines = cell.split("\n")
            places = [int(number) for number in re.findall(r"\bmain\.\w+:(\d+)", output)]
            for line in [lines[place - 1].strip() for place in places if place <= len(lines)]:
                if line in tests:
                    return Failure("assertion", "", line.rstrip(";"))
        found = re.search(self.syntax.raised, output, re.MULTILINE)
        last = re.sub(self.syntax.footer, "", output, flags=re.MULTILINE).strip().rsplit("\n", 1)[-1]
        return Failure("exception", (found[1] if found else last).strip())


def _statements(code: str) -> Iterator[str]:
    """Split code into pieces that start at column 0 and have balanced brackets; joining them restores the code."""
    piece, depth = "", 0
    for line in code.splitlines(keepends=True):
        if piece and depth <= 0 and line[:1].strip() and not line.startswith(("}", ")", "{")):
            yield piece
            piece = ""
        piece += line
        bare = re.sub(r"//.*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`", "", line)
        depth += sum(bare.count(opening) - bare.count(closing) for opening, closing in ("()", "[]", "{}"))
    if piece:
        yield piece


CODINGS: dict[str, Coding] = {
    PYTHON.name: _Python(),
    **{name: _Braces(language, language.braces) for name, language in CODE_LANGUAGES.items() if language.braces},
}


def coding_of(problem: Problem) -> Coding:
    return CODINGS[problem.language]


def reference_cell(problem: Problem) -> str:
    """Return a cell with the reference and all tests of the problem; it passes if the reference is correct."""
    if problem.language == PYTHON.name:
        return f"{answer_program(problem)}\n\n{problem.test_code}"
    return coding_of(problem).cell(answer_program(problem), problem, problem.tests)
