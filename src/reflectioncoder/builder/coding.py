"""Holds what an author needs to know about a language: how a program and its tests become one cell, and how a program is taken apart.

Python is read as syntax trees (`build.gates`), JavaScript and C++ by their brackets. A cell of Python runs in a session that keeps
names; a cell of another language is a program of its own, compiled and run afresh.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from reflectioncoder.builder import gates
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.builder.mutation_author import Executor, cell, read_failure
from reflectioncoder.data.languages import CODE_LANGUAGES, PYTHON, CodeLanguage
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import answer_program


class Coding(Protocol):
    """A language as authors see it."""

    @property
    def language(self) -> CodeLanguage: ...

    def cell(self, program: str, problem: Problem, tests: tuple[str, ...]) -> str:
        """Return the program, what the tests need, the tests, and a line that says that they have passed."""
        ...

    def without_tests(self, code: str, entry_point: str) -> str: ...

    def defines(self, code: str, name: str) -> bool: ...

    def defines_something(self, code: str) -> bool: ...

    def uses_outside_world(self, code: str) -> bool: ...

    def read_failure(self, cell: str, tests: tuple[str, ...], result: dict[str, Any], execute: Executor) -> Failure: ...


_DEFINES = re.compile(r"^\s*(async\s+def|def|class)\s", re.MULTILINE)  # also in a program that is no valid Python


class _Python:
    language = PYTHON

    def cell(self, program: str, problem: Problem, tests: tuple[str, ...]) -> str:
        return cell(program, problem, tests)

    def without_tests(self, code: str, entry_point: str) -> str:
        return gates.without_tests(code, entry_point)

    def defines(self, code: str, name: str) -> bool:
        return gates.defines(code, name)

    def defines_something(self, code: str) -> bool:
        return _DEFINES.search(code) is not None

    def uses_outside_world(self, code: str) -> bool:
        return gates.uses_outside_world(code)

    def read_failure(self, cell: str, tests: tuple[str, ...], result: dict[str, Any], execute: Executor) -> Failure:
        return read_failure(cell, tests, result, execute)


@dataclass(frozen=True)
class _Braces:
    """A language with braces and semicolons, taken apart by patterns.

    `frame`: a cell, of {program} and {tests}; `function`: a definition of {name}; `test`: the beginning of a statement at the left
    margin that is a test or usage; `broken`: what the compiler or parser says, `raised`: what an uncaught exception says; in
    both the group is the message.
    """

    language: CodeLanguage
    frame: str
    indent: str
    function: str
    test: str
    outside: str
    broken: str
    raised: str
    asserted: str

    def cell(self, program: str, problem: Problem, tests: tuple[str, ...]) -> str:
        setup = f"{problem.setup.strip()}\n\n" if problem.setup.strip() else ""
        lines = "\n".join(f"{self.indent}{test}" for test in tests)
        return self.frame.format(program=f"{program.rstrip()}\n\n{setup}".rstrip(), tests=lines)

    def without_tests(self, code: str, entry_point: str) -> str:
        kept, test = [], re.compile(self.test)
        for statement in _statements(code):
            if not test.match(statement.lstrip("\n")):
                kept.append(statement)
        return "".join(kept)

    def defines(self, code: str, name: str) -> bool:
        return re.search(self.function.format(name=re.escape(name)), code) is not None

    def defines_something(self, code: str) -> bool:
        return re.search(self.function.format(name=r"\w+"), code) is not None

    def uses_outside_world(self, code: str) -> bool:
        return re.search(self.outside, code) is not None

    def read_failure(self, cell: str, tests: tuple[str, ...], result: dict[str, Any], execute: Executor) -> Failure:
        output = result["output"]
        if result["status"] == "timeout":
            return Failure("timeout", "")
        if found := re.search(self.broken, output, re.MULTILINE):
            return Failure("syntax", found[1].strip())
        if re.search(self.asserted, output, re.MULTILINE):
            lines = cell.split("\n")
            places = [int(number) for number in re.findall(r"\bmain\.\w+:(\d+)", output)]
            for line in [lines[place - 1].strip() for place in places if place <= len(lines)]:
                if line in tests:
                    return Failure("assertion", "", line.rstrip(";"))
        found = re.search(self.raised, output, re.MULTILINE)
        last = output.strip().rsplit("\n", 1)[-1]
        return Failure("exception", (found[1] if found else last).strip())


def _statements(code: str) -> Iterator[str]:
    """Split code into pieces that begin at the left margin and hold whole brackets; joined they are the code."""
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
    "py": _Python(),
    "js": _Braces(
        CODE_LANGUAGES["js"],
        frame="{program}\n\nconst assert = require('node:assert');\n{tests}\nconsole.log(\"All tests passed.\");",
        indent="",
        function=r"(?:function\*?\s+{name}\s*\(|(?:const|let|var)\s+{name}\s*=|class\s+{name}\b)",
        test=r"console\.|assert|(?:const|let|var)\s+assert\b|(?:test|check|main)\w*\(|function\s+(?:test|check|main)\w*\s*\(|module\.exports",
        outside=r"require\(\s*['\"](?:node:)?(?:fs|net|http|https|child_process|os|dgram|tls|dns|cluster|worker_threads|readline)\b"
        r"|process\.(?:stdin|exit|kill)|\bfetch\(|^import\b",
        broken=r"^(SyntaxError: .*)",
        raised=r"^(?:Uncaught )?(\w*Error\b.*: .*)",
        asserted=r"^AssertionError|ERR_ASSERTION",
    ),
    "cpp": _Braces(
        CODE_LANGUAGES["cpp"],
        frame="{program}\n\n#include <cassert>\n#include <iostream>\n\nint main() {{\n{tests}\n"
        '    std::cout << "All tests passed." << std::endl;\n}}',
        indent="    ",
        function=r"(?:\b{name}\s*\([^;{{}}]*\)\s*(?:const\s*)?(?:noexcept\s*)?\{{|(?:struct|class)\s+{name}\b)",
        test=r"(?:int|void|auto)\s+main\s*\(|(?:void|bool|int)\s+(?:run_)?(?:test|check)\w*\s*\(",
        outside=r"<(?:fstream|filesystem|unistd\.h|sys/|netinet/|thread)|\bcin\b|\b(?:system|popen|fork|getenv)\s*\(|\b[io]?fstream\b",
        broken=r"^main\.cpp:\d+:\d+: ((?:fatal )?error: .*)",
        raised=r"terminate called after throwing an instance of '([^']*)'",
        asserted=r"Assertion [`'‘]",
    ),
}  # fmt: skip


def coding_of(problem: Problem) -> Coding:
    return CODINGS[problem.language]


def reference_cell(problem: Problem) -> str:
    """Return the reference with all tests of the problem, as a cell that passes if the reference is right."""
    if problem.language == PYTHON.name:
        return f"{answer_program(problem)}\n\n{problem.test_code}"
    return coding_of(problem).cell(answer_program(problem), problem, problem.tests)
