"""Forged verdicts: one attack of each family at every tier, and hostile solutions in a whole scoring run."""

from __future__ import annotations

import json

import pytest

from reflectioncoder.evaluate.score import SampleToScore, Scorer, score_samples
from reflectioncoder.sandbox.process import run_python
from tests.attacks.deaths_and_patches import DYING, PATCHES
from tests.attacks.judges import (
    END,
    JUDGES,
    LATE,
    LIMITS,
    PRELUDE,
    Attack,
    assert_repelled,
    benchmark_of,
    equal,
    solution,
    task,
)
from tests.attacks.test_forged_processes import OTHERS, TO_ALL
from tests.attacks.test_forged_searches import LOOK, SEARCHES

# At every tier: one of each family


HANDFUL = {
    "leaves": "os._exit(0)",
    "leaves in the call": "def solve(xs): sys.exit(0)",
    "lies": equal("str", "Liar(GUESS)"),
    "writes frames": "send(LOADED + answers(plain(GUESS), 9))" + END,
    "writes to all": LATE + "\n" + TO_ALL + "KEPT = -1\nto_all(*lines)",
    "kills its parent": DYING["a signal to its parent"].source,
    "kills its group": DYING["a signal to its group"].source,
    "kills everybody": DYING["a signal to everybody"].source,
    "kills all numbers": DYING["signals to all numbers"].source,
    "has a child": OTHERS["a child of its own session"],
    "patches": PATCHES["every built-in name"],
    "searches its memory": LOOK + SEARCHES["its memory"],
    "searches all objects": LOOK + SEARCHES["all objects"],
    "searches the descriptors": LOOK + SEARCHES["the descriptors, opened again"],
    "searches others": LOOK + SEARCHES["the others by ptrace"],
    "searches /proc": LOOK + SEARCHES["what /proc tells"],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("how", HANDFUL)
def test_at_every_tier_a_program_does_not_pass_that(how, name, judge, isolation):
    source = HANDFUL[how] if isinstance(HANDFUL[how], str) else HANDFUL[how].source
    attack = Attack(source, ("failed", "crashed", "timeout"))
    outcome = assert_repelled(judge, name, attack, isolation=isolation, may_lack=how == "patches")
    if how.startswith("searches"):
        assert outcome.detail == "LookupError: found []"


def test_a_program_is_in_no_process_group_with_its_server(isolation):
    """Its signals to its own group reach the server where the kernel's Landlock does not confine signals (before Linux 6.12)."""
    result = run_python("import os\nprint(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())", LIMITS, isolation)
    assert result.stdout == "True True\n"


# A whole scoring run


def test_attacks_beside_right_solutions_change_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    hostile = [
        "os._exit(0)",
        "send(LOADED + answers(plain(GUESS), 9))" + END,
        "send(LOADED + frame(b'D', bytes(16) + b'N') * 9)" + END,
        "send(LOADED + tree(('ndarray', 'S2000000000', ('v', [''] * 9**6))) * 3)" + END,
        "send(LOADED + tree(('subclass', '\\ud800', ('v', '\\ud800'))) * 3)" + END,
        "def solve(xs): raise type('\\ud800', (Exception,), {})('\\ud800')",
        equal("str", "Liar(GUESS)"),
        "def solve(xs): return '\\ud800'",
        "posix.kill(0, 9)",
        "posix.abort()",
        OTHERS["children that all answer"],
    ]
    for name in JUDGES:
        wanted = task(name, "text")
        sources = [text for attack in hostile for text in (PRELUDE + attack, solution("text"))]
        samples = [SampleToScore(wanted, number, source) for number, source in enumerate(sources)]
        benchmark = benchmark_of(name, wanted, parts=("base", "plus"))
        rows = score_samples(samples, tmp_path / f"{name}.jsonl", Scorer(benchmark, LIMITS), workers=2)
        assert [row["status"] == "passed" for row in rows] == [False, True] * len(hostile)
        assert "sandbox_error" not in {row["status"] for row in rows}
        written = [json.loads(line)["status"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert written == [row["status"] for row in rows]
