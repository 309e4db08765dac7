"""CRUXEval (arXiv 2401.03065): given a short function, predict its output (`-o`) or an input that gives an output (`-i`).

The answer is an assertion or the requested side of it. By the official rule `code; assert output == answer` must pass; an answer to
`-i` calls `f`, and one to `-o` does not repeat the call. Here the value is compared outside the process that runs the model's code, a
literal is not run at all, and an expression that uses more than values is not an answer.
"""

from __future__ import annotations

import ast
import marshal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reflectioncoder import syntax
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.files import content_hash
from reflectioncoder.data.python_source import parse
from reflectioncoder.evaluate.judges.base import Conditions, Judge, Judging, Row, Task, Verdict
from reflectioncoder.evaluate.judges.called import equals, judge_calls
from reflectioncoder.sandbox.functions import Calls

Asked = Literal["output", "input"]
MAX_S = 3.0  # the official limit, but on the program's own time
_MAX_CHARS = 20_000  # maximum length of an answer
_BUILTIN_NAMES = """
abs all any ascii bin bool bytearray bytes chr complex dict divmod enumerate filter float format frozenset hash hex int iter len list
map max min next oct ord pow range repr reversed round set slice sorted str sum tuple zip
"""
_BUILTINS = frozenset(_BUILTIN_NAMES.split())
_VALUE_MODULES = frozenset(("collections", "decimal", "fractions", "datetime"))
_ENTRY_POINT = "value_of_the_answer"


@dataclass(frozen=True)
class PredictionTests:
    """A function `f` with the code it needs, an input and the output it gives; input and output are source text."""

    code: str
    given_input: str
    output: str

    def key(self) -> str:
        return content_hash(self.code, self.given_input, self.output)


@dataclass(frozen=True)
class PredictionJudge(Judge[PredictionTests]):
    """Judges predictions of an output, or of an input that gives it."""

    asked: Asked

    def under(self, conditions: Conditions) -> Judging[PredictionTests]:
        return lambda task, solution, look: _verdict(self.asked, task.tests, solution, conditions)

    def limits(self, conditions: Conditions) -> dict[str, Any]:
        held = replace(conditions.limits, wall_s=MAX_S)
        return {"wall_s": MAX_S, "memory_bytes": held.memory_bytes, "processes": held.processes}


def _verdict(asked: Asked, tests: PredictionTests, solution: str, conditions: Conditions) -> Verdict:
    tree = parse(solution) if len(solution) <= _MAX_CHARS else None
    if tree is None:
        return Verdict("compile_error", "compile_error", detail="no Python, or too long for a value")
    found = _answered(tree, asked)
    if found is None:
        return _failed("no value" if asked == "output" else "no call of f")
    expected = syntax.literal(tests.output)
    if asked == "output":
        try:
            return _compared(syntax.literal(found), expected)
        except syntax.NOT_A_LITERAL:
            pass  # it must be evaluated
    if (reason := _reaches_out(found, tests.code, asked)) is not None:
        return _failed(reason)
    source = f"{tests.code}\n\n\ndef {_ENTRY_POINT}():\n    return ({ast.unparse(found)})\n"
    calls = Calls(source, _ENTRY_POINT, marshal.dumps([[]], 2), in_full=True)
    limits = replace(conditions.limits, wall_s=MAX_S)
    return judge_calls(calls, [expected], limits, conditions.isolation, MAX_S)


def _compared(value: object, expected: object) -> Verdict:
    return Verdict("passed", "passed") if equals(value, expected) else _failed("another value")


def _failed(detail: str) -> Verdict:
    return Verdict("failed", "failed", detail=detail)


def _answered(tree: ast.Module, asked: Asked) -> ast.expr | None:
    """Return the requested side of an assertion, or a lone expression; None if there is neither."""
    node = tree.body[-1] if tree.body else None
    value = node.test if isinstance(node, ast.Assert) else node.value if isinstance(node, ast.Expr) else None
    sides = [value] if value is not None else []
    if isinstance(node, ast.Assert) and isinstance(value, ast.Compare) and len(value.ops) == 1 and isinstance(value.ops[0], ast.Eq):
        sides = [value.left, value.comparators[0]]
    calls = [side for side in sides if _is_call_of_f(side)]
    if asked == "input":
        return calls[0] if calls else None
    others = [side for side in sides if side not in calls]
    return others[-1] if others else None


def _is_call_of_f(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "f"


def _reaches_out(found: ast.expr, code: str, asked: Asked) -> str | None:
    """Name something in an answer that a value must not use; None if there is nothing.

    An answer that could change `f` could make it return anything; an answer to `-o` that calls `f` would predict nothing.
    """
    named = _BUILTINS | _names_of_values(code, with_functions=asked == "input")
    bound = {node.arg for node in ast.walk(found) if isinstance(node, ast.arg)}
    bound |= {node.id for node in ast.walk(found) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(found):
        if isinstance(node, ast.Name) and node.id not in named | bound:
            return f"{node.id} in place of a value"
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            return f"{node.attr} in place of a value"
        if isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return "more than a value"
    return None


def _names_of_values(code: str, *, with_functions: bool) -> set[str]:
    """Return the top-level names of a task's code that a value may use; modules are excluded."""
    names: set[str] = set()
    for node in syntax.parse(code).body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.module in _VALUE_MODULES:
            names |= {alias.asname or alias.name for alias in node.names if alias.name != "abc"}
        elif isinstance(node, ast.FunctionDef) and with_functions:
            names.add(node.name)
    return names


_OUTPUT_REQUEST = """\
Here is a Python function and a call of it. Complete the assertion with the value that the call returns, as a literal: no calls and \
nothing left to compute. The function may be odd or wrong; what counts is what it returns. Write the whole assertion in a Python code \
block and nothing else.

```python
def f(numbers):
    return numbers[-1]
assert f([4, 7]) == ??
```
is completed to
```python
assert f([4, 7]) == 7
```
"""
_INPUT_REQUEST = """\
Here is a Python function f and a value that a call of it returns. Complete the assertion with any input for which the function \
returns this value; there may be several, one is enough. Write the whole assertion in a Python code block and nothing else.

```python
def f(numbers):
    return numbers[-1]
assert f(??) == 7
```
is completed to
```python
assert f([4, 7]) == 7
```
"""


def tasks_of(asked: Asked) -> Callable[[Sequence[Row], str], list[Task[PredictionTests]]]:
    """Return the function that makes tasks from the published rows."""
    return lambda rows, where: [_task(row, asked) for row in rows]


def _task(row: Row, asked: Asked) -> Task[PredictionTests]:
    tests = PredictionTests(row["code"], row["input"], row["output"])
    call, value = (f"f({tests.given_input})", "??") if asked == "output" else ("f(??)", tests.output)
    request = _OUTPUT_REQUEST if asked == "output" else _INPUT_REQUEST
    prompt = f"{request}\nThe function:\n```python\n{tests.code}\nassert {call} == {value}\n```\n"
    solution = f"assert f({tests.given_input}) == {tests.output}\n"
    return Task(f"cruxeval/{row['id']}", prompt, "f", tests, canonical_solution=solution)


def request_for(task: Task[PredictionTests], sample: int) -> Request:
    """Ask for the assertion; the task's prompt is the whole request."""
    return Request(task.task_id, sample, task.prompt, task.entry_point, form="assertion")
