"""The parts of a programming language.

A language is one `Language`, in a module of its own, listed in `languages/__init__.py`. It holds data and patterns; the code that reads
them is in `sandbox.toolchain`, `evaluate.judges.multipl_e` and `builder.coding`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from reflectioncoder.sandbox.toolchain import Toolchain

HarnessStatus = Literal["OK", "Exception", "Timeout", "SyntaxError", "AssertionError", "ReferenceError"]


class TaskFile(NamedTuple):
    """A data file of MultiPL-E: its name, the SHA-256 of its content, its number of tasks."""

    name: str
    sha256: str
    num_tasks: int


@dataclass(frozen=True)
class AssertionSyntax:
    """The way in which a language's tests assert.

    `opening` matches the beginning of an assertion up to the bracket that holds the condition, `tail` what follows behind that bracket;
    `call` matches the beginning of the call within the condition, up to its bracket if it has one. `quotes` delimit strings.
    """

    opening: str
    call: str = r"\bcandidate\("
    tail: str = r"\s*;"
    quotes: str = "\"'"


DIRECT_CALL = r"\w+\("
"""The `call` of tests that call the function by its own name: the first call within the condition."""


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """A language's way to record outcomes in its tests.

    `row` stands in place of an assertion; `{condition}` is what the assertion's bracket holds, `{row}` its number. `start` defines
    what the rows use, in front of the line of the first assertion or of what `insert_before` matches. `{name}` is an identifier that
    the program does not use, `{file}` the environment variable that names the file. `edits`: (pattern, replacement) within the tests,
    `program_edit`: one within the program.
    """

    row: str
    start: str
    insert_before: str = ""
    edits: tuple[tuple[str, str], ...] = ()
    program_edit: tuple[str, str] | None = None


@dataclass(frozen=True)
class Words:
    """A pattern and where in a program's output it is looked for."""

    pattern: str
    stream: Literal["stdout", "stderr", "both"] = "both"


ANYTHING = r"(?s)."
"""The pattern of an output that is not empty."""


@dataclass(frozen=True, kw_only=True)
class HarnessRule:
    """The verdicts of MultiPL-E's own evaluator.

    Of a run that failed, the first of `failures` that is found gives the status, else it is `otherwise`. An exit code of 0 is a failure
    too where `fails_with` is found. `tells_slow_builds`: a compiler's time-out is a Timeout, not a SyntaxError.
    """

    failures: tuple[tuple[Words, HarnessStatus], ...] = ()
    otherwise: HarnessStatus = "Exception"
    fails_with: Words | None = None
    tells_slow_builds: bool = False


@dataclass(frozen=True)
class AuthorsCut:
    """The rule `reflectioncoder` for cutting completions: the authors' stops beside the data's, or `instead` of them.

    `closes`: a closing brace is put back behind the cut.
    """

    stops: tuple[str, ...] = ()
    instead: bool = False
    closes: bool = False


@dataclass(frozen=True, kw_only=True)
class MultiplE:
    """The rules by which MultiPL-E tests programs of a language and by which its verdicts are told apart.

    Args:
        files: the data files, by what stands behind `multipl-e/` in a benchmark's name.
        assertions: None for Python, whose tests are read as syntax trees.
        recorder: how the tests record their outcomes in a challenge.
        wrong_answer: what a failed assertion prints; None: tests end with an exit code and no word.
        syntax_error: what an interpreter prints of a program that is none; None where a compiler has found that out before.
        out_of_memory: what else than the usual words is printed when memory runs out.
        harness: the verdict of MultiPL-E's own evaluator.
        authors_cut: where the authors' script ends completions.
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
    """Patterns by which the builder reads and writes a language of braces and semicolons.

    `frame`: a cell, of {program} and {tests}, the latter indented by `indent`; `function`: a definition of {name}; `test`: the
    beginning of a statement at the left margin that is a test or usage; `outside`: a use of files, processes or the network; `broken`:
    what the compiler or parser says, `raised`: what an uncaught exception says (in both the group is the message); `asserted`: what a
    failed assertion says; `footer`: what is printed below every error.
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
    """A programming language by MultiPL-E's `name`.

    `fence`: the word behind the backticks of its code blocks; `other_fences`: what models write there too. `braces`: for languages that
    reflections can be built in; None also for Python, which the builder reads as syntax trees.
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
