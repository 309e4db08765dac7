"""MultiPL-E: HumanEval in other languages. A program is the prompt, the completion and the tests in one file, compiled and run.

Completions are cut by one of two named rules: `multipl-e` (at the first stop token, as MultiPL-E and bigcode-evaluation-harness do) and
`reflectioncoder` (the authors' script: at the last occurrence of each stop token in turn, with stops of its own). Verdicts differ from
the harness's in one point: a program that ends with exit code 0 before its tests are over has not passed them (`harness_status`
keeps what the harness would say). Source: MultiPL-E, arXiv 2208.08227.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reflectioncoder.data.files import content_hash, read_jsonl, write_atomic
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.model_source import cache_dir
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.languages import LANGUAGES, Language, version_of
from reflectioncoder.sandbox.limits import RunResult
from reflectioncoder.sandbox.process import build_command, run_command

CutRule = Literal["multipl-e", "reflectioncoder"]
HarnessStatus = Literal["OK", "Exception", "Timeout", "SyntaxError"]
Reason = Literal["", "wrong answer", "exception", "early exit", "compile error", "timeout", "out of memory", "crashed"]

_TAIL_CHARS = 2000
# The authors' script: stops in place of the data's (PHP, JS), or beside them, and what is put back behind the cut.
_AUTHORS_STOPS: dict[str, tuple[str, ...]] = {
    "cpp": ("\nint main",), "js": ("\n}",), "php": ("\n}",), "ts": ("\n}",), "rs": ("\nfn main()",)
}  # fmt: skip
_AUTHORS_REPLACE = frozenset(("js", "php"))
_AUTHORS_CLOSING = frozenset(("js", "php", "ts"))

_OUT_OF_MEMORY = re.compile(
    r"heap out of memory|OutOfMemoryError|Allowed memory size|MemoryError|bad_alloc|out of memory|not enough memory|cannot allocate",
    re.I,
)
_WRONG: dict[str, str] = {
    "cpp": r"Assertion .* failed", "java": r"AssertionError", "js": r"AssertionError|ERR_ASSERTION", "ts": r"AssertionError|ERR_ASSERTION",
    "php": r"Test failed!", "py": r"AssertionError", "rb": r"^Failure:", "lua": r"expected: .*actual: ", "rs": r"assertion .*failed",
    "go": r"expected '.*', got '", "d": r"unittest failure|AssertError", "jl": r"Test Failed", "r": r"isTRUE\(all\.equal", "rkt": r"FAILURE",
    "scala": r"assertion failed", "cs": r"Debug\.Assert|Assertion Failed|Fail:", "swift": r"Assertion failed",
}  # fmt: skip
_SILENT = frozenset(("sh", "pl"))  # their tests end with an exit code and no word
_FAILS_WITH_CODE_0 = {"rkt": re.compile(r"FAILURE|ERROR")}


@dataclass(frozen=True)
class LanguageTests:
    """`tests` are what stands behind the completion in the program's file."""

    language: str
    tests: str
    stop_tokens: tuple[str, ...]

    def key(self) -> str:
        return content_hash(self.language, self.tests, version_of(self.language))


@dataclass(frozen=True)
class ProgramVerdict:
    """`reason` tells failures apart; `on_limit`: the machine's load may have decided."""

    status: str
    reason: Reason
    harness_status: HarnessStatus
    detail: str
    duration_s: float

    @property
    def on_limit(self) -> bool:
        return self.status == "timeout"


def read_tasks(path: Path, language: str) -> list[dict[str, Any]]:
    """Rows of a humaneval-<language>.jsonl: name, prompt, tests, stop_tokens.

    Raises:
        UsageError: a row that lacks one of them (file and line are named).
    """
    rows = []
    for number, row in read_jsonl(path):
        tests = row.get("tests", row.get("test"))
        name = row.get("name", row.get("task_id"))
        if not all(isinstance(value, str) for value in (name, row.get("prompt"), tests)):
            raise UsageError(f"{path}:{number}: a task of MultiPL-E has name, prompt, tests and stop_tokens, got {sorted(row)}")
        stops = tuple(row.get("stop_tokens") or ())
        rows.append({"name": name, "prompt": row["prompt"], "tests": LanguageTests(language, tests, stops)})
    return rows


def cut_completion(completion: str, tests: LanguageTests, rule: CutRule = "multipl-e") -> str:
    """What of a completion belongs to the program."""
    if rule == "multipl-e":
        return completion[: min((at for stop in tests.stop_tokens if (at := completion.find(stop)) >= 0), default=len(completion))]
    language = tests.language
    own = _AUTHORS_STOPS.get(language, ())
    for stop in own if language in _AUTHORS_REPLACE else (*tests.stop_tokens, *own):
        if (at := completion.rfind(stop)) >= 0:
            completion = completion[:at]
    return completion + "\n}" if language in _AUTHORS_CLOSING else completion


def require_toolchain(language: str) -> None:
    """
    Raises:
        MachineError: something of the language's toolchain is missing; the message says what and how to get it.
    """
    row = LANGUAGES[language]
    if missing := row.missing():
        raise MachineError(f"{row.title} cannot be run here: {missing} is missing\n  hint:    {row.install}")


def judge_program(solution: str, tests: LanguageTests, isolation: Isolation) -> ProgramVerdict:
    """Compile and run one program.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    require_toolchain(tests.language)
    language = LANGUAGES[tests.language]
    mark = _mark(solution, tests)
    program = f"{solution}\n{language.with_end(tests.tests, mark)}".encode("utf-8", "replace")
    files, argv, seconds = {language.source: program}, language.command(language.run), 0.0
    if language.build:
        built = _build(language, program, isolation)
        if isinstance(built, RunResult):
            return _of_failed_build(built)
        files = {"built.tar": built}
        argv = ["/bin/sh", "-c", 'tar -xf built.tar && exec "$@"', "sh", *argv]
    ran = run_command(argv, language.limits, isolation, files=files, env=language.env)
    return _of_run(language, ran, mark, seconds)


def _mark(solution: str, tests: LanguageTests) -> str:
    """A line that nobody can know who writes a solution, and that is the same for the same program: builds can be kept."""
    place = cache_dir() / "mark.key"
    if not place.is_file():
        write_atomic(place, secrets.token_bytes(32))
    text = f"{tests.language}\0{tests.tests}\0{solution}".encode("utf-8", "replace")
    return hmac.new(place.read_bytes(), text, hashlib.sha256).hexdigest()[:32]


def _build(language: Language, program: bytes, isolation: Isolation) -> bytes | RunResult:
    """The archive of what the compiler leaves, kept by content; how it ended if it failed."""
    key = hashlib.sha256(b"\0".join((repr((language.build, version_of(language.name))).encode(), program))).hexdigest()
    kept = cache_dir() / "builds" / key[:2] / f"{key}.tar"
    if kept.is_file():
        return kept.read_bytes()
    argv = language.command(language.build)
    ran, archive = build_command(
        argv, language.outputs, language.build_limits, isolation, files={language.source: program}, env=language.env
    )
    if archive is None:
        return ran
    write_atomic(kept, archive)
    return archive


def _of_failed_build(ran: RunResult) -> ProgramVerdict:
    if ran.status in ("timeout", "memory"):
        reason: Reason = "timeout" if ran.status == "timeout" else "out of memory"
        harness: HarnessStatus = "Timeout" if ran.status == "timeout" else "SyntaxError"
        return ProgramVerdict(ran.status, reason, harness, f"the compiler: {ran.reason}", ran.duration_s)
    return ProgramVerdict("compile_error", "compile error", "SyntaxError", ran.stderr[-_TAIL_CHARS:], ran.duration_s)


def _of_run(language: Language, ran: RunResult, mark: str, seconds: float) -> ProgramVerdict:
    seconds += ran.duration_s
    said = f"{ran.stdout}\n{ran.stderr}"
    detail = (ran.stderr.strip() or ran.stdout.replace(mark, "").strip() or ran.reason)[-_TAIL_CHARS:]
    unnoticed = _FAILS_WITH_CODE_0.get(language.name)
    if ran.status == "timeout":
        return ProgramVerdict("timeout", "timeout", "Timeout", ran.reason, seconds)
    if ran.status == "memory" or (ran.status != "ok" and _OUT_OF_MEMORY.search(said)):
        return ProgramVerdict("memory", "out of memory", "Exception", detail, seconds)
    if ran.status == "ok" and not (unnoticed and unnoticed.search(said)):
        if mark in ran.stdout.splitlines():
            return ProgramVerdict("passed", "", "OK", "", seconds)
        return ProgramVerdict("failed", "early exit", "OK", "ended with exit code 0 before its tests did", seconds)
    pattern = _WRONG.get(language.name)
    wrong = re.search(pattern, said, re.MULTILINE) if pattern else None
    if wrong or (language.name in _SILENT and not ran.stderr.strip()):
        return ProgramVerdict("failed", "wrong answer", "Exception", detail, seconds)
    if ran.status == "crashed":
        return ProgramVerdict("crashed", "crashed", "Exception", detail or ran.reason, seconds)
    return ProgramVerdict("failed", "exception", "Exception", detail, seconds)


def request_text(language: str, prompt: str) -> str:
    """The paper's request; the answer is prefilled with the fence and the prompt (`prefill`)."""
    return f"Write a complete {LANGUAGES[language].title} function for the problem.\n{_fence(language)}{prompt.rstrip()}\n```"


def prefill(language: str, prompt: str) -> str:
    return f"{_fence(language)}{prompt}"


def _fence(language: str) -> str:
    return f"```{_FENCES.get(language, LANGUAGES[language].title.lower())}\n"


_FENCES = {"cpp": "cpp", "cs": "csharp", "sh": "bash", "r": "r"}


def languages_of(names: Sequence[str]) -> list[Language]:
    return [LANGUAGES[name] for name in names]
