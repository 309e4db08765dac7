"""Gives the verdict of MultiPL-E's own evaluators on a run, which published scores are based on.

Facts from nuprl/MultiPL-E, `evaluation/src/eval_*.py` (and `src/eval_*.py` for C++, JavaScript, TypeScript, Rust, Ruby and R), and
from bigcode-evaluation-harness, `multiple_metrics/`, whose rules are the same. There a run passes if its status is OK and its exit code
0. Two things differ: a time-out of PHP and Racket is a Timeout here (an Exception there), and Go's verdict is that of the tests
(bigcode-evaluation-harness names the file so that `go test` finds no tests, and passes everything: its issue 224).
"""

from __future__ import annotations

import re

from reflectioncoder.languages.language import HarnessRule, HarnessStatus, Words
from reflectioncoder.sandbox.limits import RunResult


def status_of_build(ran: RunResult, rule: HarnessRule) -> HarnessStatus:
    """Return the status of a compiler that failed."""
    return "Timeout" if ran.status == "timeout" and rule.tells_slow_builds else "SyntaxError"


def status_of_run(ran: RunResult, rule: HarnessRule) -> HarnessStatus:
    """Return the status of a program run."""
    if ran.status == "timeout":
        return "Timeout"
    if ran.exit_code == 0 and not (rule.fails_with and _are_in(rule.fails_with, ran)):
        return "OK"
    for words, status in rule.failures:
        if _are_in(words, ran):
            return status
    return rule.otherwise


def _are_in(words: Words, ran: RunResult) -> bool:
    streams = {"stdout": ran.stdout, "stderr": ran.stderr, "both": ran.stdout + ran.stderr}
    return re.search(words.pattern, streams[words.stream]) is not None
