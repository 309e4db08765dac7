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
from typing import Any, Literal

from reflectioncoder.data.files import content_hash, write_atomic
from reflectioncoder.errors import MachineError
from reflectioncoder.model_source import cache_dir
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.languages import LANGUAGES, Language, version_of
from reflectioncoder.sandbox.limits import RunResult
from reflectioncoder.sandbox.process import build_command, run_command

HarnessStatus = Literal["OK", "Exception", "Timeout", "SyntaxError"]
Reason = Literal["", "wrong answer", "exception", "early exit", "compile error", "timeout", "out of memory", "crashed"]

_TAIL_CHARS = 2000

FILES: dict[str, tuple[str, str, int]] = {
    "cpp": ("humaneval-cpp.jsonl", "8717eabdf202137158c84506144b0fb1e73d5ecccbe5363ec79009ca014df629", 161),
    "cs-bu": ("humaneval-cs-bu.jsonl", "d281b53b24e0f44cb76f1b1a8702b1ca668ff2a29c7621276ee8b658f5c124c6", 158),
    "cs": ("humaneval-cs.jsonl", "1c3fe18be10addc2d0b96311f4db192ae3232e08628d17768d889d6ab87be224", 158),
    "d": ("humaneval-d.jsonl", "226938c015f90d713a3e30d8f174f4a6d2c88820cf50512379a16890dda70332", 156),
    "go": ("humaneval-go.jsonl", "7f5dfe3ff001049b1221e9d21a8119b5cbc38eb87c97fefc5d57fa7adc1df888", 154),
    "java": ("humaneval-java.jsonl", "b21b015763452ec4f9f4e0e6425148ec331ace4da1232c8b4d441186185f6265", 158),
    "jl": ("humaneval-jl.jsonl", "ef21bd920889c9c1ab0e87a825cc26bd895e7a715f569f8ba7de577f870b6815", 159),
    "js": ("humaneval-js.jsonl", "634e2eee8d6e22de07c121b972207683dd96be76256bf44bdfc1a3386b739287", 161),
    "lua": ("humaneval-lua.jsonl", "d2e91f3603f6aee63db2c2d5754d165397603a8c9bd6130842af7988b27a96fc", 161),
    "php": ("humaneval-php.jsonl", "bebd86875b1d8e65a8b7e692ed7bdf64612b44aa388825ea4dab40c7047c786b", 161),
    "pl": ("humaneval-pl.jsonl", "949048bff3eaea7ae47cd5759042c088a7c227d53c74fe95a80728fd5aefbf77", 161),
    "py": ("humaneval-python.jsonl", "0eae07adadbb00d51962fdb78b9e2a26bfa8ade85dc54eb57cae9bffed2f5c54", 164),
    "r": ("humaneval-r.jsonl", "c2a3268ea54d2bfb8ce65bb2c808437ac0d9934c6caf99fcf75d6b6a4fb3f911", 161),
    "rb": ("humaneval-rb.jsonl", "4204395b835019e32d55513325a0fad01c6d382fd1eb97b516f0458d00058302", 161),
    "rkt": ("humaneval-rkt.jsonl", "083325daf55daf431ae6d6d17cf017afb18a6ec790d4c841b7c2b4752c5807ff", 161),
    "rs": ("humaneval-rs.jsonl", "e33f562838e973b7e6b8d76dbc1fb84b076d7426629b4cdc624f12678778d2fa", 156),
    "scala": ("humaneval-scala.jsonl", "482b72a16613a563755d642e37792da68471399789b069fba5b1249e831445f3", 160),
    "sh": ("humaneval-sh.jsonl", "2f702106e9ce4aa7385de568d9248d6c57c90382d782b162cb9e072fbd01ccf8", 158),
    "swift": ("humaneval-swift.jsonl", "e4418d6f532e4298969e727690cda80dc88b94e4abf836f8ff79ac18a737eaaa", 158),
    "ts": ("humaneval-ts.jsonl", "4b1af1050c9f226335d54a8c80553c39454a525cace3e67bdcfcc9092ba02637", 159),
}
"""What comes after `multipl-e/` in a benchmark's name: file, SHA-256, number of tasks. `cs-bu` is the quirk that the authors' README
recommends: 45 of its C# tasks compare references, and right programs fail them."""
URL = "https://github.com/deepseek-ai/DeepSeek-Coder/raw/main/Evaluation/HumanEval/data/{file}"


def language_of(name: str) -> str:
    """The language of a data file: `cs` of `cs-bu`."""
    return name.partition("-")[0]


_OUT_OF_MEMORY = re.compile(
    r"heap out of memory|OutOfMemoryError|Allowed memory size|MemoryError|bad_alloc|out of memory|not enough memory|cannot allocate",
    re.I,
)
_WRONG: dict[str, str] = {
    "cpp": r"Assertion .* failed",
    "java": r"AssertionError",
    "js": r"AssertionError|ERR_ASSERTION",
    "ts": r"AssertionError|ERR_ASSERTION",
    "php": r"Test failed!",
    "py": r"AssertionError",
    "rb": r"^Failure:",
    "lua": r"expected: .*actual: ",
    "rs": r"assertion .*failed",
    "go": r"expected '.*', got '",
    "d": r"unittest failure|AssertError",
    "jl": r"Test Failed",
    "r": r"isTRUE\(all\.equal",
    "rkt": r"FAILURE",
    "scala": r"assertion failed",
    "cs": r"Debug\.Assert|Assertion Failed|Fail:",
    "swift": r"Assertion failed",
}
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

    status: Literal["passed", "failed", "timeout", "memory", "compile_error", "crashed"]
    reason: Reason
    harness_status: HarnessStatus
    detail: str
    duration_s: float

    @property
    def on_limit(self) -> bool:
        return self.status == "timeout"


def parse_tasks(rows: Sequence[dict[str, Any]], language: str, where: str) -> list[dict[str, Any]]:
    """Rows of a humaneval-<language>.jsonl: name, prompt, tests, stop_tokens.

    Raises:
        MachineError: a row that lacks one of them (the row is named).
    """
    tasks = []
    for number, row in enumerate(rows, start=1):
        tests, name = row.get("tests", row.get("test")), row.get("name", row.get("task_id"))
        if not isinstance(tests, str) or not isinstance(name, str) or not isinstance(row.get("prompt"), str):
            raise MachineError(f"{where}:{number}: a task of MultiPL-E has name, prompt, tests and stop_tokens, got {sorted(row)}")
        stops = tuple(row.get("stop_tokens") or ())
        tasks.append({"name": name, "prompt": row["prompt"], "tests": LanguageTests(language, tests, stops)})
    return tasks


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
