"""Self-test of a language's judge: known-good and known-bad programs must get the expected verdicts before any score is reported.

The programs are five tasks in MultiPL-E's form (`languages/preflight_programs/<language>.toml`), each with a right and a wrong body.
The first also has bodies that do not compile, raise, loop, fill memory, end early and make its assertions accept anything. A success
is cached with the toolchain's version, the isolation and the judge's version.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from reflectioncoder.data.files import content_hash, read_json, remember_json
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.judges.multipl_e.programs import LanguageTests, judge_program, judging_key
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.pool import map_ordered, workers_within_memory

LOOP_S = 3.0  # time limit of the endless program
PATIENCE = 4.0  # factor on the limits when a program with a wrong verdict is judged again
EXPECTED: dict[str, tuple[str, ...]] = {
    "right": ("",),
    "wrong": ("wrong answer",),
    "compile_error": ("compile error",),
    "exception": ("exception",),
    "timeout": ("timeout",),
    "memory": ("out of memory",),
    # Languages differ in which of these they report; "passed" is never right.
    "early_exit": ("early exit", "exception"),
    "unchecked": ("unchecked", "early exit", "wrong answer"),
}


class PreflightError(MachineError):
    """A language's known programs get wrong verdicts, so that no verdict in it would mean anything."""


@dataclass(frozen=True)
class PreflightProgram:
    """A known program. `kind`: its expected outcome, a key of the file."""

    task: str
    kind: str
    program: str
    tests: LanguageTests

    @property
    def expected(self) -> tuple[str, ...]:
        """Return the acceptable reasons (see `programs`); "" means passed."""
        return EXPECTED[self.kind]


def preflight_programs(language: str) -> list[PreflightProgram]:
    return list(_programs(language, tomllib.loads(text_of(language))))


def text_of(language: str) -> str:
    return (files("reflectioncoder.languages") / "preflight_programs" / f"{language}.toml").read_text()


def _programs(language: str, content: dict[str, Any]) -> Iterator[PreflightProgram]:
    for number, task in enumerate(content["tasks"]):
        tests = LanguageTests(language, task["tests"], ())
        bodies = {kind: task[kind] for kind in ("right", "wrong")} | (content["faults"] if number == 0 else {})
        for kind, body in bodies.items():
            yield PreflightProgram(task["name"], kind, task["prompt"] + body, tests)


def require_preflight(language: str, isolation: Isolation, workers: int = 0) -> dict[str, Any]:
    """Judge a language's known programs, unless that was done before with the same versions and isolation.

    Returns the entry for the results: the version and the number of programs.

    Raises:
        PreflightError: a program got a wrong verdict, or the language does not run in this isolation.
        SandboxUnavailableError: the sandbox failed.
    """
    toolchain = LANGUAGES[language].toolchain
    if isolation.tier < (lowest := toolchain.lowest_tier):
        raise PreflightError(f"{toolchain.title} does not run in isolation {isolation.name}: it needs tier {lowest}")
    key = content_hash(language, text_of(language), toolchain.version(), isolation.name, judging_key(language))
    record = cache_dir() / "preflight" / f"{language}-{key[:16]}.json"
    try:
        return read_json(record)
    except UsageError:  # missing or truncated
        pass
    programs = preflight_programs(language)
    workers = workers_within_memory(toolchain.memory_bytes, workers)
    doubtful = []
    with Progress(f"preflight {toolchain.title}", len(programs)) as progress:
        for done, failure in enumerate(map_ordered(lambda program: _failure(program, isolation), programs, workers), start=1):
            doubtful += [programs[done - 1]] if failure else []
            progress.update(done)
    # On a busy machine programs exceed their limits: judge them again, one at a time.
    failures = [failure for program in doubtful if (failure := _failure(program, isolation, patience=PATIENCE))]
    if failures:
        raise PreflightError(
            f"{toolchain.title} is not judged rightly here, so nothing is scored: "
            f"{len(failures)} of {len(programs)} known programs came out wrong\n  " + "\n  ".join(failures)
        )
    held = {"version": toolchain.version(), "num_programs": len(programs), "held": True}
    remember_json(record, held)
    return held


def _failure(program: PreflightProgram, isolation: Isolation, patience: float = 1.0) -> str | None:
    """Describe what is wrong with the verdict on a program, judged with `patience` times the language's limit; None if it is right."""
    run_s = LOOP_S if program.kind == "timeout" else LANGUAGES[program.tests.language].toolchain.run_s * patience
    verdict = judge_program(program.program, program.tests, isolation, run_s=run_s)
    if verdict.reason in program.expected:
        return None
    expected = " or ".join(reason or "passed" for reason in program.expected)
    return f"{program.task}, {program.kind}: expected {expected}, got {verdict.reason or 'passed'}: {verdict.detail.strip()[-300:]}"
