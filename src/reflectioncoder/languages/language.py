"""Defines a programming language.

Each language is one `Language` in a module of its own, listed in `languages/__init__.py`. It contains data and patterns; the code that
uses them is in `sandbox.toolchain`, `evaluate.judges.multipl_e` and `builder.coding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from reflectioncoder.sandbox.toolchain import Toolchain

HarnessStatus = Literal["OK", "Exception", "Timeout", "SyntaxError", "AssertionError", "ReferenceError"]


class TaskFile(NamedTuple):
    """A MultiPL-E data file: its name, the SHA-256 of its content, its number of tasks."""

    name: str
    sha256: str
    num_tasks: int


@dataclass(frozen=True)
class AssertionSyntax:
    """The syntax of assertions in a language's tests.

    `opening` matches the beginning of an assertion up to the bracket around the condition, `tail` the text after the closing bracket;
    `call` matches the beginning of the call within the condition, up to its bracket if it has one. `quotes` delimit strings.
    """

    opening: str
    call: str = r"\bcandidate\("
    tail: str = r"\s*;"
    quotes: str = "\"'"


DIRECT_CALL = r"\w+\("
"""The `call` of tests that call the function by its own name: the first call in the condition."""


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """The code that records the outcomes of a language's tests.

    `row` replaces an assertion; `{condition}` is the content of the assertion's brackets, `{row}` its number. `start` defines what the
    rows use and is inserted before the line of the first assertion, or before the match of `insert_before`. `{name}` is an identifier
    that the program does not use, `{file}` the environment variable with the file's name. `edits`: (pattern, replacement) pairs for the
    tests; `program_edit`: one pair for the program.
    """

    row: str
    start: str
    insert_before: str = ""
    edits: tuple[tuple[str, str], ...] = ()
    program_edit: tuple[str, str] | None = None


@dataclass(frozen=True)
class Words:
    """A pattern and the output stream of a program to search for it."""

    pattern: str
    stream: Literal["stdout", "stderr", "both"] = "both"


ANYTHING = r"(?s)."
"""Matches any output that is not empty."""


@dataclass(frozen=True, kw_only=True)
class HarnessRule:
    """The verdicts of MultiPL-E's own evaluator.

    For a failed run, the first entry of `failures` that matches gives the status, and `otherwise` applies if none does. A run with exit
    code 0 also fails if `fails_with` matches. `tells_slow_builds`: a compiler's timeout is a Timeout, not a SyntaxError.
    """

    failures: tuple[tuple[Words, HarnessStatus], ...] = ()
    otherwise: HarnessStatus = "Exception"
    fails_with: Words | None = None
    tells_slow_builds: bool = False


@dataclass(frozen=True)
class AuthorsCut:
    """The rule `reflectioncoder` for cutting completions: the authors' stops in addition to the data's, or `instead` of them.

    `closes`: append a closing brace after the cut.
    """

    stops: tuple[str, ...] = ()
    instead: bool = False
    closes: bool = False


@dataclass(frozen=True, kw_only=True)
class MultiplE:
    """MultiPL-E's rules for testing programs of a language and for classifying their verdicts.

    Args:
        files: the data files, by the part after `multipl-e/` in a benchmark's name.
        assertions: None for Python, whose tests are parsed as syntax trees.
        recorder: how the tests record their outcomes in a challenge.
        wrong_answer: matches the output of a failed assertion; None if tests end with an exit code and print nothing.
        syntax_error: matches an interpreter's output for invalid programs; None if a compiler rejects them earlier.
        out_of_memory: matches further output when memory runs out, besides the usual messages.
        harness: the verdict of MultiPL-E's own evaluator.
        authors_cut: where the authors' script cuts completions.
    """

    files: Mapping[str, TaskFile]
    assertions: AssertionSyntax | None
    recorder: Recorder
    wrong_answer: str | None
    syntax_error: str | None
    out_of_memory: str | None = None
    harness: HarnessRule
    authors_cut: AuthorsCut = AuthorsCut()


@dataclass(frozen=True, kw_only=True)
class BraceSyntax:
    """Patterns with which the builder reads and writes a language of braces and semicolons.

    `frame`: a cell made of {program} and {tests}, the latter indented by `indent`; `function`: a definition of {name}; `test`: the
    beginning of a statement at the left margin that is a test or usage; `outside`: use of files, processes or the network; `broken`: a
    message of the compiler or parser, `raised`: the message of an uncaught exception (in both the group is the message text);
    `asserted`: the message of a failed assertion; `footer`: text printed after every error.
    """

    frame: str
    indent: str = ""
    function: str
    test: str
    outside: str
    broken: str
    raised: str
    asserted: str
    footer: str = ""


@dataclass(frozen=True, kw_only=True)
class Language:
    """A programming language; `name` is MultiPL-E's name for it.

    `fence`: the info string of its code blocks; `other_fences`: further info strings that models write. `braces`: for languages in
    which reflections can be built; None also for Python, which the builder parses as syntax trees.
    """

    name: str
    fence: str
    other_fences: tuple[str, ...] = ()
    toolchain: Toolchain
    multipl_e: MultiplE
    braces: BraceSyntax | None = None

    @property
    def title(self) -> str:
        return self.toolchain.title
