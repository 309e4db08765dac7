"""What MultiPL-E's own evaluators say of a run: the verdict under which published figures were made.

Facts from nuprl/MultiPL-E, `evaluation/src/eval_*.py` (and `src/eval_*.py` for C++, JavaScript, TypeScript, Rust, Ruby and R), and
from bigcode-evaluation-harness, `multiple_metrics/`, whose rules are the same. A run is passed there if its status is OK and its
exit code 0. Two things are not copied: a time-out of PHP and Racket is a Timeout here (there an Exception), and Go's verdict
is that of the tests (bigcode-evaluation-harness names the file so that `go test` finds none, and passes everything: its issue 224).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reflectioncoder.sandbox.limits import RunResult

HarnessStatus = Literal["OK", "Exception", "Timeout", "SyntaxError", "AssertionError", "ReferenceError"]


def status_of_build(ran: RunResult, language: str) -> HarnessStatus:
    """Of a compiler that failed. Only those of Rust and Swift are known to have a time-out of their own."""
    return "Timeout" if ran.status == "timeout" and language in ("rs", "swift") else "SyntaxError"


def status_of_run(ran: RunResult, language: str) -> HarnessStatus:
    """Of a program that was run."""
    if ran.status == "timeout":
        return "Timeout"
    told_otherwise = _OK_UNLESS.get(language)
    if ran.exit_code == 0 and not (told_otherwise and told_otherwise(ran)):
        return "OK"
    rule = _FAILURES.get(language)
    return rule(ran) if rule else "Exception"


def _words(*statuses: tuple[str, HarnessStatus]) -> Callable[[RunResult], HarnessStatus]:
    """The status of the first word that is found in what the program said, else Exception."""

    def rule(ran: RunResult) -> HarnessStatus:
        said = ran.stdout + ran.stderr
        for word, status in statuses:
            if word in said:
                return status
        return "Exception"

    return rule


_JAVASCRIPT = _words(("ERR_ASSERTION", "AssertionError"), ("SyntaxError", "SyntaxError"), ("ReferenceError", "ReferenceError"))


def _r(ran: RunResult) -> HarnessStatus:
    if "unexpected" in ran.stdout + ran.stderr:
        return "SyntaxError"
    return "Exception" if ran.stderr else "AssertionError"


_FAILURES: dict[str, Callable[[RunResult], HarnessStatus]] = {
    "js": _JAVASCRIPT,
    "ts": _JAVASCRIPT,
    "py": lambda ran: "SyntaxError" if "SyntaxError" in ran.stderr else "Exception",
    "sh": lambda ran: "SyntaxError" if "syntax error" in ran.stderr else "Exception",
    "php": lambda ran: "SyntaxError" if "PHP Parse error" in ran.stdout else "Exception",
    "rb": lambda ran: "SyntaxError" if ran.stderr else "Exception",
    "rkt": lambda ran: "SyntaxError" if "read-syntax" in ran.stderr else "Exception",
    "jl": lambda ran: "SyntaxError" if ran.stderr else "Exception",
    "r": _r,
}

_OK_UNLESS: dict[str, Callable[[RunResult], bool]] = {
    "cs": lambda ran: any(word in ran.stderr for word in ("System.Diagnostics.DefaultTraceListener.Fail", "Unhandled Exception")),
    "rkt": lambda ran: bool(ran.stderr),
    "scala": lambda ran: bool(ran.stderr),
    "pl": lambda ran: "ERROR" in ran.stdout + ran.stderr,
}
