"""The rule by which HumanEvalPack's harness passes a program, without its code: one file of program and tests, run as it is."""

import subprocess
import sys
from random import Random

from reflectioncoder.builder import javascript
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.evaluate.judges.base import ALONE, Conditions
from reflectioncoder.evaluate.judges.humanevalpack.forms import python_program
from reflectioncoder.evaluate.judges.programs import ProgramTests
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.pool import map_ordered

TIMEOUT_S = 10


def passes_harness(task, solution, folder):
    """Python: exit code 0. JavaScript: nothing is printed, since `console.assert` ends nothing."""
    if isinstance(task.tests, ProgramTests):
        file, text = folder / "main.py", f"{python_program(solution)}\n{task.tests.programs[0]}"
        command = [sys.executable, "-I", str(file)]
    else:
        file, text = folder / "main.js", f"{solution}\n{task.tests.tests}"
        command = ["node", str(file)]
    file.write_text(text)
    try:
        ran = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    if isinstance(task.tests, ProgramTests):
        return ran.returncode == 0
    return not ran.stdout and not ran.stderr


def mutants(task, count=5):
    """Return `count` programs with a slip each in the asked function, or all if there are fewer.

    What the task gives is not changed: Python's tests call that, not what a program has put in its place (in the harness they do).
    """
    make = mutations if isinstance(task.tests, ProgramTests) else javascript.mutations
    program = task.canonical_solution
    given = program[: program.find(f"def {task.entry_point}(") + 1]
    made = [mutation.code for mutation in make(program) if mutation.code.startswith(given)]
    return Random(task.task_id).sample(made, min(count, len(made)))


def verdicts(benchmark, pairs, workers=2):
    judge = benchmark.judge.under(Conditions(detect_isolation(), Limits(), "strict"))
    return list(map_ordered(lambda pair: judge(*pair, ALONE), list(pairs), workers))
