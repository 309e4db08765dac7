"""Makes the tasks of bundled/repair: held-out problems with one slip each, of kinds that training never sees, and the real failure.

    python benchmarks/make_repair_tasks.py [FILE]      default: the file of the package

Each problem gets the slip whose kind was used least so far, of those that a test notices with an ordinary failure. Deterministic.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.repair_slips import SLIPS
from reflectioncoder.api.running import Session
from reflectioncoder.builder.mutation import Mutation, Program, mutations
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import BUNDLED_DIR, Problem, bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.sandbox.limits import Limits

MAX_OUTPUT_CHARS = 600
SPLITS = ("test_seen", "test_unseen")


def slips_of(problem: Problem) -> list[Mutation]:
    """Return the slips of a problem's reference in a random order; none that a slip of training makes too."""
    reference = answer_program(problem)
    trained = {mutation.code for mutation in mutations(reference)}
    program = Program(reference)
    found: dict[str, Mutation] = {}
    for slip in SLIPS.values():
        for mutation in slip(program):
            if _is_python(mutation.code) and mutation.code != reference and mutation.code not in trained:
                found.setdefault(mutation.code, mutation)
    slips = list(found.values())
    random.Random(f"repair/{problem.task_id}").shuffle(slips)
    return slips


def _is_python(code: str) -> bool:
    try:
        compile(code, "main.py", "exec")
    except SyntaxError:
        return False
    return True


def failure(problem: Problem, program: str) -> tuple[str, str] | None:
    """Return the first test that fails and what the interpreter prints; None if none does, or not in an ordinary way."""
    with Session(Limits(wall_s=2.0), file_name="main.py") as session:
        for test in problem.tests:
            result = session.run(f"{program}\n{test}")
            if result.status == "ok":
                continue
            output = result.output.strip("\n")
            return (test, output) if result.status == "failed" and len(output) <= MAX_OUTPUT_CHARS else None
    return None


def tasks() -> Iterator[dict[str, object]]:
    used: Counter[str] = Counter()
    for problem in (problem for split in SPLITS for problem in bundled_problems(split)):
        for slip in sorted(slips_of(problem), key=lambda slip: used[slip.operator]):
            if found := failure(problem, slip.code):
                used[slip.operator] += 1
                test, output = found
                yield {
                    **{key: value for key, value in problem.to_json().items() if value and key not in ("split", "source", "license")},
                    "seen_topic": problem.split == "test_seen",
                    "operator": slip.operator,
                    "program": slip.code,
                    "failing_test": test,
                    "output": output,
                }
                break


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED_DIR / "repair.jsonl"
    rows = list(tasks())
    write_jsonl(path, rows)
    print(len(rows), "tasks;", ", ".join(f"{name} {count}" for name, count in Counter(row["operator"] for row in rows).most_common()))
