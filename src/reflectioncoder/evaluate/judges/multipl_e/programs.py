"""MultiPL-E: HumanEval in other languages. A program is the prompt, the completion and the tests in one file, compiled and run.

Completions are cut by one of two named rules: `multipl-e` (at the first stop token, as MultiPL-E and bigcode-evaluation-harness do) and
`reflectioncoder` (the authors' script: at the last occurrence of each stop token in turn, with stops of its own). Verdicts differ from
the harness's where an exit code of 0 shows nothing: programs are challenged (`evaluate.challenge`), and a program that ends before
its tests are over has not passed them, nor has one that does not fail tests which are wrong. `harness_status` keeps what the harness
would say. Source: MultiPL-E, arXiv 2208.08227.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reflectioncoder.data.files import content_hash
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.judges.multipl_e.assertions import SYNTAX
from reflectioncoder.evaluate.judges.multipl_e.challenge import RECORDERS, Missed, challenges
from reflectioncoder.evaluate.judges.multipl_e.harness import HarnessStatus, status_of_build, status_of_run
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.languages import LANGUAGES, version_of
from reflectioncoder.sandbox.limits import RunResult
from reflectioncoder.sandbox.toolchain import Execution, execute, execute_recording

Reason = Literal["", "wrong answer", "exception", "early exit", "unchecked", "compile error", "timeout", "out of memory", "crashed"]

_TAIL_CHARS = 2000
CHALLENGE_PATIENCE = 2.0  # times the limits of the run: a program at their edge must not fail for what it does beyond its tests
_IN_A_CHALLENGE = "when some of its tests were wrong: "
_MISSED: dict[Missed, str] = {
    "early exit": "ended with exit code 0 while its tests were not over",
    "unchecked": "its tests hold it to nothing: it does not fail those of them, and only those, that are wrong",
}
_JUDGE_VERSION = 4  # of what follows from a run in this module and in `evaluate.harness`

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
    r"heap out of memory|OutOfMemory|Allowed memory size|MemoryError|bad_alloc|out of memory|not enough memory|cannot allocate"
    r"|memory allocation of \d+ bytes failed|attempt to index a string value \(local 'err'\)",  # the last: LuaUnit, of Lua's own error
    re.IGNORECASE,
)
_WRONG: dict[str, str] = {
    "cpp": r"Assertion .* failed",
    "java": r"AssertionError",
    "js": r"AssertionError|ERR_ASSERTION",
    "ts": r"AssertionError|ERR_ASSERTION",
    "php": r"Test failed!",
    "py": r"AssertionError",
    "rb": r"^Failure:",
    "lua": r"expected: (.|\n)*?actual: ",
    "rs": r"assertion .*failed",
    "go": r"expected '.*', got '",
    "d": r"\[unittest\]|AssertError",
    "jl": r"Test Failed",
    "r": r"isTRUE\(all\.equal",
    "rkt": r"FAILURE",
    "scala": r"assertion failed",
    "cs": r"Debug\.Assert|Assertion Failed|Fail:",
    "swift": r"Assertion failed",
}
_SILENT = frozenset(("sh", "pl"))  # their tests end with an exit code and no word
_UNCAUGHT = re.compile(r"^terminate called after throwing", re.MULTILINE)  # an exception, by the signal that ends it
_SYNTAX: dict[str, str] = {  # of the languages that are not compiled before they run
    "js": r"^SyntaxError",
    "ts": r"^SyntaxError",
    "php": r"Parse error:",
    "py": r"^(SyntaxError|IndentationError|TabError)",
    "sh": r"syntax error",
    "pl": r"syntax error at|compilation errors|Missing right curly",
    "rb": r"syntax error|\(SyntaxError\)",
    "lua": r"^\S*lua\S*: main\.lua:\d+: .* near ",
    "r": r"^Error: (unexpected|invalid)",
    "rkt": r"read-syntax|unbound identifier|bad syntax",
    "jl": r"syntax:|ParseError",
}


@dataclass(frozen=True)
class LanguageTests:
    """`tests` are what stands behind the completion in the program's file."""

    language: str
    tests: str
    stop_tokens: tuple[str, ...]

    def key(self) -> str:
        return content_hash(self.language, self.tests, version_of(self.language), judging_key(self.language))


@dataclass(frozen=True)
class ProgramVerdict:
    """The verdict on a program.

    `reason` tells failures apart; `hit_time_limit`: the machine's load may have decided; `is_final`: the program fails anyway.
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


def judging_key(language: str) -> str:
    """Identifies how a language's programs are judged."""
    return content_hash(repr((LANGUAGES[language], SYNTAX.get(language), RECORDERS[language], _JUDGE_VERSION)))


def judge_program(solution: str, tests: LanguageTests, isolation: Isolation, *, run_s: float | None = None) -> ProgramVerdict:
    """Challenge one program, then compile and run it with its tests; `run_s`: a time limit in place of the language's.

    The run comes last: it alone holds nothing but right expectations, and a program that left notes of them could stand a challenge
    after it. So a program whose challenge exceeds a limit of time is not run: its verdict may be taken again.

    Raises:
        SandboxUnavailableError: the sandbox failed.
        MachineError: the toolchain is missing.
    """
    spent: list[Execution] = []
    missed = _challenged(solution, tests, isolation, run_s, spent)
    if missed and missed.status == "timeout":
        verdict = missed
    else:
        spent.append(execute(tests.language, f"{solution}\n{tests.tests}", isolation, run_s=run_s))
        verdict = _of_execution(spent[-1], tests.language)
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
    solution: str, tests: LanguageTests, isolation: Isolation, run_s: float | None, spent: list[Execution]
) -> ProgramVerdict | None:
    """Return the verdict in case the program passes its tests; None if it stands all challenges. Their cost is appended to `spent`."""
    for challenge in challenges(solution, tests.tests, tests.language):
        done = execute_recording(tests.language, challenge.program, isolation, run_s=run_s, patience=CHALLENGE_PATIENCE)
        spent.append(done)
        if done.ran is None or done.ran.status in ("timeout", "memory"):
            failed = _of_execution(done, tests.language)
            return replace(failed, detail=f"{_IN_A_CHALLENGE}{failed.detail}")
        missed = challenge.missed_by(done.ran.stdout)
        if missed:
            return ProgramVerdict("failed", missed, "OK", _MISSED[missed])
    return None


def _of_execution(done: Execution, language: str) -> ProgramVerdict:
    if done.ran is not None:
        return _of_run(done.ran, language)
    assert done.built is not None
    return _of_failed_build(done.built, language)


def _of_failed_build(built: RunResult, language: str) -> ProgramVerdict:
    harness = status_of_build(built, language)
    if built.status == "timeout":
        return ProgramVerdict("timeout", "timeout", harness, f"the compiler: {built.reason}")
    if built.status == "memory":
        return ProgramVerdict("memory", "out of memory", harness, f"the compiler: {built.reason}")
    return ProgramVerdict("compile_error", "compile error", harness, built.stderr[-_TAIL_CHARS:])


def _of_run(ran: RunResult, language: str) -> ProgramVerdict:
    harness = status_of_run(ran, language)
    said = f"{ran.stdout}\n{ran.stderr}"
    detail = (ran.stderr.strip() or ran.stdout.strip() or ran.reason)[-_TAIL_CHARS:]
    if ran.status == "timeout":
        return ProgramVerdict("timeout", "timeout", harness, ran.reason)
    if ran.status == "memory" or (ran.status != "ok" and _OUT_OF_MEMORY.search(said)):
        return ProgramVerdict("memory", "out of memory", harness, detail)
    if harness == "OK":
        return ProgramVerdict("passed", "", harness, "")
    syntax = _SYNTAX.get(language)
    if syntax and re.search(syntax, said, re.MULTILINE):
        return ProgramVerdict("compile_error", "compile error", harness, detail)
    pattern = _WRONG.get(language)
    wrong = re.search(pattern, said, re.MULTILINE) if pattern else None
    if wrong or (language in _SILENT and not ran.stderr.strip()):
        return ProgramVerdict("failed", "wrong answer", harness, detail)
    if ran.status == "crashed" and not _UNCAUGHT.search(said):
        return ProgramVerdict("crashed", "crashed", harness, detail)
    return ProgramVerdict("failed", "exception", harness, detail)


def request_text(language: str, prompt: str) -> str:
    """The paper's request; the answer is prefilled with the fence and the prompt (`prefill`)."""
    return f"Write a complete {LANGUAGES[language].title} function for the problem.\n{_fence(language)}{prompt.rstrip()}\n```"


def prefill(language: str, prompt: str) -> str:
    return f"{_fence(language)}{prompt}"


def _fence(language: str) -> str:
    return f"```{_FENCES.get(language, LANGUAGES[language].title.lower())}\n"


_FENCES = {"cpp": "cpp", "cs": "csharp", "sh": "bash", "r": "r"}
