"""Runs a solution with a suite of tests in the sandbox, and challenges it with suites in which tests are wrong on purpose.

A suite reports its outcomes from the solution's own process, where the solution can replace everything. A solution is therefore
challenged first: each run draws anew which tests are wrong, and exactly these must fail. A second run uses the complement. Source,
names and order of the tests are the same in all runs; only values differ, if a test has any that can be changed (`Suite.is_hidden`).
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from random import Random, SystemRandom
from typing import Literal

from reflectioncoder.evaluate.judges.base import TAIL_CHARS, Status, Verdict
from reflectioncoder.evaluate.judges.bigcodebench.alterations import Alteration, Suite
from reflectioncoder.evaluate.judges.multipl_e.challenge import num_pairs
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits, RunResult
from reflectioncoder.sandbox.process import run_python

Missed = Literal["early exit", "unchecked"]
Alterations = Mapping[str, Sequence[Alteration]]
"""The alterations of each test that make it fail."""
_SAID: dict[Missed, str] = {
    "early exit": "it ended before all of its tests did",
    "unchecked": "tests that are wrong on purpose did not fail, or others did: nothing holds it to its tests",
}
_MAX_ALTERATIONS = 4  # per test
_FAILED = frozenset(("failure", "error"))


@dataclass(frozen=True)
class SuiteRun:
    """A run. `outcomes`: the reported outcomes of each test; `broken`: why no test was reached, in the stage `compile` or `load`."""

    ran: RunResult
    outcomes: Mapping[str, frozenset[str]]
    details: Mapping[str, str]
    broken: Mapping[str, str]
    is_done: bool

    def passes(self, test: str) -> bool:
        return self.outcomes.get(test) == {"success"}

    def fails(self, test: str) -> bool:
        said = self.outcomes.get(test, frozenset())
        return bool(said) and said <= _FAILED

    @property
    def passes_officially(self) -> bool:
        """Tell whether the official evaluator would pass the run: no failure and no error, whichever tests ran."""
        return self.is_done and not any(said & _FAILED for said in self.outcomes.values())

    def verdict(self, tests: Sequence[str]) -> Verdict:
        status, detail = self._status(tests)
        outcomes = tuple({"test": test, "passed": self.passes(test), "detail": self.details.get(test, "")} for test in tests)
        return Verdict(
            status,
            status,
            duration_s=self.ran.duration_s,
            detail=detail[-TAIL_CHARS:],
            hit_time_limit=status == "timeout",
            tests=outcomes if self.outcomes else (),
            fields={"reason": "", "harness_status": "OK" if self.passes_officially else "failed"},
        )

    def _status(self, tests: Sequence[str]) -> tuple[Status, str]:
        if self.ran.status in ("timeout", "memory", "crashed"):
            return self.ran.status, self.ran.reason
        if self.broken:
            (stage, said), *_ = self.broken.items()
            is_memory = said.startswith("MemoryError")
            return "compile_error" if stage == "compile" else "memory" if is_memory else "failed", said
        failed = next((test for test in self.outcomes if not self.passes(test)), None)
        if failed is not None:
            return "failed", f"{failed}: {self.details.get(failed) or ', '.join(self.outcomes[failed])}"
        if not self.is_done or not all(map(self.passes, tests)):
            return "failed", _SAID["early exit"]
        return "passed", ""


def run_suite(program: str, tests: str, limits: Limits, isolation: Isolation) -> SuiteRun:
    """Run a program followed by the source of its tests.

    Raises:
        SandboxUnavailableError: the sandbox failed.
    """
    tag = secrets.token_hex(8)
    runner = (files("reflectioncoder.evaluate.judges.bigcodebench") / "runner.py").read_text(encoding="utf-8")
    ran = run_python(runner, limits, isolation, files={"tests.py": f"{program}\n{tests}", "tag.txt": tag})
    outcomes: dict[str, set[str]] = defaultdict(set)
    details: dict[str, str] = {}
    broken: dict[str, str] = {}
    is_done = False
    for line in ran.stdout.splitlines():
        said, kind, name, text = (*line.split(" ", 3), "", "", "")[:4]
        if said != tag:
            continue
        if kind in ("compile", "load"):
            broken[kind] = text
        elif kind == "done":
            is_done = True
        else:
            outcomes[name].add(kind)
            details.setdefault(name, text)
    return SuiteRun(ran, {name: frozenset(kinds) for name, kinds in outcomes.items()}, details, broken, is_done)


@dataclass(frozen=True)
class Challenge:
    """A suite with wrong tests in it. `wrong`: the tests that must fail."""

    source: str
    tests: tuple[str, ...]
    wrong: frozenset[str]

    def missed_by(self, run: SuiteRun) -> Missed | None:
        if not run.is_done or not run.outcomes.keys() >= set(self.tests):
            return "early exit"
        return "unchecked" if self.unexpected(run) or run.outcomes.keys() - set(self.tests) else None

    def unexpected(self, run: SuiteRun) -> list[str]:
        """Return the tests whose outcome does not match the draw."""
        return [test for test in self.tests if not (run.fails if test in self.wrong else run.passes)(test)]


def challenges(suite: Suite, alterations: Alterations, random: Random | None = None) -> Iterator[Challenge]:
    """Yield the challenges of a suite in pairs; none if no test can be made wrong."""
    random = random or SystemRandom()
    able = [test for test in suite.tests if alterations.get(test)]
    for _ in range(num_pairs(len(able)) if able else 0):
        drawn = frozenset(test for test in able if random.random() < 0.5)
        for wrong in (drawn, frozenset(able) - drawn):
            order: defaultdict[Alteration, float] = defaultdict(random.random)  # shared: tests with a common helper alter it alike
            chosen = {test: min(alterations[test], key=order.__getitem__) for test in suite.tests if test in wrong}
            tests = [(test, test, chosen.get(test)) for test in suite.tests]
            yield Challenge(suite.with_tests(tests, random), suite.tests, wrong)


def judge_suite(program: str, suite: Suite, alterations: Alterations, limits: Limits, isolation: Isolation) -> Verdict:
    """Challenge a program, then run it with its unaltered tests.

    The plain run comes last, as in `multipl_e.programs`, since only it holds nothing but right expectations. A program whose challenge
    hits a time limit is not run.

    Raises:
        SandboxUnavailableError: the sandbox failed.
    """
    missed: Missed | None = None
    spent_s = 0.0
    for challenge in challenges(suite, alterations):
        run = run_suite(program, challenge.source, limits, isolation)
        spent_s += run.ran.duration_s
        if run.ran.status == "timeout":
            verdict = run.verdict(suite.tests)
            return replace(verdict, duration_s=spent_s, detail=f"in a challenge: {verdict.detail}")
        if missed := challenge.missed_by(run):
            break
    run = run_suite(program, unchanged(suite), limits, isolation)
    verdict = replace(run.verdict(suite.tests), duration_s=spent_s + run.ran.duration_s)
    if missed and verdict.status == "passed":
        fields = {"reason": missed, "harness_status": "OK"}
        return replace(verdict, status="failed", base_status="failed", detail=_SAID[missed], fields=fields)
    return verdict


def unchanged(suite: Suite) -> str:
    """Return the unaltered tests in the form of a challenge."""
    return suite.with_tests([(test, test, None) for test in suite.tests], SystemRandom())


def failing_alterations(
    program: str, suite: Suite, limits: Limits, isolation: Isolation, *, is_slow: bool
) -> dict[str, tuple[Alteration, ...]]:
    """Return a few alterations per test that make a right program fail and whose challenges then match the draw.

    Only the best alterations of a test are used (`Suite.rank`).

    Args:
        is_slow: runs are so slow that only one alteration per test is tried, and if they fail together, none is tried alone.

    Raises:
        SandboxUnavailableError: the sandbox failed.
    """
    random, max_each = SystemRandom(), 1 if is_slow else _MAX_ALTERATIONS
    tried = {f"{test}_{number}": (test, each) for test in suite.tests for number, each in enumerate(suite.alterations(test)[:max_each])}
    source = suite.with_tests([(name, test, each) for name, (test, each) in tried.items()], random)
    run = run_suite(program, source, limits, isolation)
    found: dict[str, tuple[Alteration, ...]] = defaultdict(tuple)
    for name, (test, each) in tried.items():
        if run.fails(name) and (not found[test] or suite.rank(test, each) == suite.rank(test, found[test][0])):
            found[test] += (each,)

    def stands(challenge: Challenge) -> bool:
        return challenge.missed_by(run_suite(program, challenge.source, limits, isolation)) is None

    if all(map(stands, challenges(suite, found))):
        return found
    if is_slow:
        return {}
    # A test that stops halfway may make others fail; such tests are not made wrong.
    alone = {test: tuple(each for each in own if stands(_with_one_wrong(suite, test, each))) for test, own in found.items()}
    return alone if all(map(stands, challenges(suite, alone))) else {}


def _with_one_wrong(suite: Suite, test: str, alteration: Alteration) -> Challenge:
    tests = [(name, name, alteration if name == test else None) for name in suite.tests]
    return Challenge(suite.with_tests(tests, SystemRandom()), suite.tests, frozenset((test,)))
