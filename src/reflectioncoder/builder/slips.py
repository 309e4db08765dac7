"""Language support for the author `mutation`: what it needs to make slips in a language.

A language has a row in `SLIPS` and a `Coding`; docs/adding/slips.md shows how one is added. Python's row has only its slips: Python
cells run in sessions and under a tracer, and separate modules read and word their failures (`failures`, `stories`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import yaml

from reflectioncoder.builder import javascript, mutation
from reflectioncoder.builder.cells import Execution
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import Grammar
from reflectioncoder.builder.javascript.failures import look, read_failure
from reflectioncoder.builder.looks import Look
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.data.problems import Problem
from reflectioncoder.languages import PYTHON
from reflectioncoder.languages.javascript import JAVASCRIPT
from reflectioncoder.languages.language import Language
from reflectioncoder.sandbox.execution import require_toolchain


class ReadFailure(Protocol):
    def __call__(self, cell: str, tests: tuple[str, ...], ran: Execution) -> Failure:
        """Return the facts of a cell's failing run. The grammar can use every nonempty text field."""
        ...


class LookAt(Protocol):
    def __call__(self, program: str, setup: str, cell: str, failure: Failure, execute: Executions) -> Look | None:
        """Run a cell that prints the value of the failing call; None if the value cannot be shown."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Reads and words the failures of a language whose cells are standalone programs.

    Attributes:
        words: YAML file with the sentences, in the format of `builder/javascript/words.yaml`.
        crashed: pattern of the output when the interpreter itself crashes, which no diagnosis could explain.
    """

    words: Path
    crashed: str
    read_failure: ReadFailure
    look: LookAt

    @cached_property
    def grammar(self) -> Grammar:
        return yaml.safe_load(self.words.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Slips:
    """The slips of a language.

    Attributes:
        operators: the names of the slips.
        mutations: returns all programs with one slip, in a fixed order; all of them parse, except those with a syntax slip.
        require: raises MachineError, with the installation command, if something is not installed.
        wording: wording of failures; None for Python.
    """

    language: Language
    operators: tuple[str, ...]
    mutations: Callable[[str], list[Mutation]]
    require: Callable[[], None]
    wording: Wording | None


def _require_javascript() -> None:
    javascript.require_parser()
    require_toolchain(JAVASCRIPT.toolchain)


SLIPS: dict[str, Slips] = {
    slips.language.name: slips
    for slips in (
        Slips(language=PYTHON, operators=tuple(mutation.OPERATORS), mutations=mutation.mutations, require=lambda: None, wording=None),
        Slips(
            language=JAVASCRIPT,
            operators=tuple(javascript.OPERATORS),
            mutations=javascript.mutations,
            require=_require_javascript,
            wording=Wording(
                words=javascript.WORDS, crashed="FATAL ERROR: |<--- Last few GCs --->", read_failure=read_failure, look=look
            ),
        ),
    )
}
"""The supported languages by name."""


def slips_of(problem: Problem) -> Slips:
    return SLIPS[problem.language]
