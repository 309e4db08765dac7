"""MultiPL-E: HumanEval in other languages. A program is the prompt, the completion and the tests in one file, compiled and run.

Completions are truncated by one of two named rules: `multipl-e` (at the first stop token, as MultiPL-E and bigcode-evaluation-harness
do) and `reflectioncoder` (the authors' script: at the last occurrence of each stop token in turn, with its own stop tokens). Verdicts
differ from the harness's where an exit code of 0 proves nothing: programs are challenged (`challenge`), and one that ends before its
tests do, or does not fail wrong tests, has not passed. `harness_status` records the harness's verdict. Source: MultiPL-E, arXiv
2208.08227.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Literal

from reflectioncoder.data.files import content_hash
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.judges.multipl_e.challenge import Challenge, Missed, challenges
from reflectioncoder.evaluate.judges.multipl_e.harness import status_of_build, status_of_run
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.languages.language import HarnessStatus, Language, MultiplE, TaskFile
from reflectioncoder.sandbox.execution import Execution, execute, execute_recording
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import RunResult

Reason = Literal["", "wrong answer", "exception", "early exit", "unchecked", "compile error", "timeout", "out of memory", "crashed"]

_TAIL_CHARS = 2000
CHALLENGE_PATIENCE = 2.0  # factor on the run's limits: recording outcomes must not fail a program near them
_IN_A_CHALLENGE = "when some of its tests were wrong: "
_MISSED: dict[Missed, str] = {
    "early exit": "ended with exit code 0 while its tests were not over",
    "unchecked": "its tests hold it to nothing: it does not fail those of them, and only those, that are wrong",
}
_JUDGE_VERSION = 4  # version of how this module and `harness` interpret a run

FILES: dict[str, TaskFile] = dict(
    sorted((item for language in LANGUAGES.values() for item in language.multipl_e.files.items()), key=itemgetter(1))
)
"""The data files, by the part of a benchmark's name after `multipl-e/`."""
URL = "https://github.com/deepseek-ai/DeepSeek-Coder/raw/main/Evaluation/HumanEval/data/{file}"


def language_of(name: str) -> str:
    """Return the language of a data file: `cs` for `cs-bu`."""
    return name.partition("-")[0]


_OUT_OF_MEMORY = re.compile(
    r"heap out of memory|OutOfMemory|Allowed memory size|MemoryError|bad_alloc|out of memory|not enough memory|cannot allocate"
    r"|memory allocation of \d+ bytes failed",
    re.IGNORECASE,
)
_UNCAUGHT = re.compile(r"^terminate called after throwing", re.MULTILINE)  # an exception, though the program ends by a signal


@dataclass(frozen=True)
class LanguageTests:
    """The tests of a task: `tests` follow the completion in the program's file."""

    language: str
    tests: str
    stop_tokens: tuple[str, ...]

    def key(self) -> str:
        return content_hash(self.language, self.tests, LANGUAGES[self.language].toolchain.version(), judging_key(self.language))


@dataclass(frozen=True)
class ProgramVerdict:
    """The verdict on a program.

    `reason`: the kind of failure; `hit_time_limit`: the machine's load may have decided; `is_final`: the program fails in any case.
    """

    status: Literal["passed", "failed", "timeout", "memory", "compile_error", "crashed"]
    reason: Reason
    harness_status: HarnessStatus
    detail: str
    duration_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    is_final: bool = False

    @property
    def hit_time_limit(self) -> bool:
        return self.status == "timeout" and not self.is_final


def parse_tasks(rows: Sequence[dict[str, Any]], language: str, where: str) -> list[dict[str, Any]]:
    """Check and return rows of a humaneval-<language>.jsonl: name, prompt, tests, stop_tokens.

    Raises:
        MachineError: a row lacks one of them; the message names the row.
    """
    tasks = []
    for number, row in enumerate(rows, start=1):
        tests, name = row.get("tests", row.get("test")), row.get("name", row.get("task_id"))
        if not isinstance(tests, str) or not isinstance(name, str) or not isinstance(row.get("prompt"), str):
            raise MachineError(f"{where}:{number}: a task of MultiPL-E has name, prompt, tests and stop_tokens, got {sorted(row)}")
        stops = tuple(row.get("stop_tokens") or ())
        tasks.append({"name": name, "prompt": row["prompt"], "tests": LanguageTests(language, tests, stops)})
    return tasks


def judging_key(language: str) -> str:
    """Return the cache key of how a language's programs are judged."""
    row = LANGUAGES[language]
    return content_hash(repr((row.toolchain, row.multipl_e, _JUDGE_VERSION)))


def judge_program(solution: str, tests: LanguageTests, isolation: Isolation, *, run_s: float | None = None) -> ProgramVerdict:
    """Challenge one program, then compile and run it with its tests; `run_s` replaces the language's time limit.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    language = LANGUAGES[tests.language]
    whole, given = f"{solution}\n{tests.tests}", challenges(solution, tests.tests, language)
    return judge_challenged(whole, given, language, isolation, run_s=run_s)


def judge_challenged(
    program: str, given: Iterable[Challenge], language: Language, isolation: Isolation, *, run_s: float | None = None
) -> ProgramVerdict:
    """Run a program's challenges, then compile and run `program`, which includes its tests.

    The plain run comes last: only it holds nothing but right expectations, and a program that saved them could pass a later challenge.
    For the same reason a program whose challenge hits a time limit is not run: its verdict may be taken again.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    spent: list[Execution] = []
    missed = _challenged(given, language, isolation, run_s, spent)
    if missed and missed.status == "timeout":
        verdict = missed
    else:
        spent.append(execute(language.toolchain, program, isolation, run_s=run_s))
        verdict = _of_execution(spent[-1], language.multipl_e)
        if missed and verdict.status == "passed":
            verdict = replace(missed, harness_status=verdict.harness_status)
        elif missed and verdict.status == "timeout":
            verdict = replace(verdict, is_final=True)
    return replace(
        verdict,
        duration_s=sum(part.duration_s for part in spent),
        cpu_s=sum(part.cpu_s for part in spent),
        peak_memory_bytes=max(part.peak_memory_bytes for part in spent),
    )


def _challenged(
    given: Iterable[Challenge], language: Language, isolation: Isolation, run_s: float | None, spent: list[Execution]
) -> ProgramVerdict | None:
    """Return the verdict on a program that fails a challenge, None if it passes all; appends the executions to `spent`."""
    for challenge in given:
        done = execute_recording(language.toolchain, challenge.program, isolation, run_s=run_s, patience=CHALLENGE_PATIENCE)
        spent.append(done)
        if done.ran is None or done.ran.status in ("timeout", "memory"):
            failed = _of_execution(done, language.multipl_e)
            return replace(failed, detail=f"{_IN_A_CHALLENGE}{failed.detail}")
        missed = challenge.missed_by(done.ran.stdout)
        if missed:
            return ProgramVerdict("failed", missed, "OK", _MISSED[missed])
    return None


def _of_execution(done: Execution, rules: MultiplE) -> ProgramVerdict:
    if done.ran is not None:
        return _of_run(done.ran, rules)
    assert done.built is not None
    return _of_failed_build(done.built, rules)


def _of_failed_build(built: RunResult, rules: MultiplE) -> ProgramVerdict:
    harness = status_of_build(built, rules.harness)
    if built.status == "timeout":
        return ProgramVerdict("timeout", "timeout", harness, f"the compiler: {built.reason}")
    if built.status == "memory":
        return ProgramVerdict("memory", "out of memory", harness, f"the compiler: {built.reason}")
    return ProgramVerdict("compile_error", "compile error", harness, built.stderr[-_TAIL_CHARS:])


def _of_run(ran: RunResult, rules: MultiplE) -> ProgramVerdict:
    harness = status_of_run(ran, rules.harness)
    said = f"{ran.stdout}\n{ran.stderr}"
    detail = (ran.stderr.strip() or ran.stdout.strip() or ran.reason)[-_TAIL_CHARS:]
    if ran.status == "timeout":
        return ProgramVerdict("timeout", "timeout", harness, ran.reason)
    if ran.status == "memory" or (ran.status != "ok" and _says_out_of_memory(said, rules.out_of_memory)):
        return ProgramVerdict("memory", "out of memory", harness, detail)
    if harness == "OK":
        return ProgramVerdict("passed", "", harness, "")
    if rules.syntax_error and re.search(rules.syntax_error, said, re.MULTILINE):
        return ProgramVerdict("compile_error", "compile error", harness, detail)
    if _is_wrong_answer(ran, rules.wrong_answer):
        return ProgramVerdict("failed", "wrong answer", harness, detail)
    if ran.status == "crashed" and not _UNCAUGHT.search(said):
        return ProgramVerdict("crashed", "crashed", harness, detail)
    return ProgramVerdict("failed", "exception", harness, detail)


def _says_out_of_memory(said: str, own_words: str | None) -> bool:
    return bool(_OUT_OF_MEMORY.search(said) or (own_words and re.search(own_words, said, re.IGNORECASE)))


def _is_wrong_answer(ran: RunResult, words: str | None) -> bool:
    if words is None:
        return not ran.stderr.strip()
    return re.search(words, f"{ran.stdout}\n{ran.stderr}", re.MULTILINE) is not None


def request_text(language: str, prompt: str) -> str:
    """Return the paper's request; `prefill` begins the answer with the fence and the prompt."""
    return f"Write a complete {LANGUAGES[language].title} function for the problem.\n{_fence(language)}{prompt.rstrip()}\n```"


def prefill(language: str, prompt: str) -> str:
    return f"{_fence(language)}{prompt}"


def _fence(language: str) -> str:
    return f"```{LANGUAGES[language].fence}\n"
