"""Converts rows of published data sets, recognised by their fields, into drafts of problems.

Chat answers (CodeFeedback, OSS-Instruct) are not verified programs: such rows become statements without reference or tests.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from types import UnionType
from typing import Any

from reflectioncoder import syntax
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.recording import NUM_TESTS, Call, with_tests
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.problems import Problem, parse_problem
from reflectioncoder.data.prompts import statement
from reflectioncoder.data.python_source import bindings, definition, parse
from reflectioncoder.data.row_forms import QUESTION_AND_ANSWER, ROLE_NAMES
from reflectioncoder.errors import UsageError

Row = dict[str, Any]
_PROBLEM_FIELDS = frozenset(field.name for field in fields(Problem))
_PYTHON = ("python", "py", "python3")
_TYPING_NAMES = ("Any", "Callable", "Dict", "Iterable", "List", "Optional", "Set", "Tuple", "Union")


@dataclass(frozen=True)
class Form:
    """A known row format. `fields`: required fields and their types; a row may have more."""

    name: str
    fields: dict[str, type | UnionType]
    convert: Callable[[Row, str], Draft | Dropped]


@dataclass(frozen=True)
class Origin:
    """The origin of rows. `prefix` precedes ids without a slash; `source` and `license` apply to rows that do not state their
    own."""

    prefix: str
    source: str = ""
    license: str = ""


def draft_from(row: Row, number: int, where: str, origin: Origin) -> Draft | Dropped:
    """Return the draft of one row.

    Raises:
        UsageError: the fields match no known form, or a row in this package's own form is malformed.
    """
    if "task_id" in row and row.keys() <= _PROBLEM_FIELDS:
        return Draft(parse_problem(row, where), where=where)
    form = next((form for form in FORMS if form.fields.keys() <= row.keys()), None)
    if form is None:
        known = "\n".join(f"    {form.name}: {', '.join(form.fields)}" for form in FORMS)
        raise UsageError(
            f"{where}: problems of an unknown form\n  fields:  {', '.join(map(str, row))}\n  known:\n"
            f"    ours: {', '.join(sorted(_PROBLEM_FIELDS))}\n{known}"
        )
    task_id = _task_id(row, number, origin.prefix)
    for name, kind in form.fields.items():
        if not isinstance(row[name], kind):
            wanted = kind.__name__ if isinstance(kind, type) else str(kind)
            detail = f"read as {form.name}, where {name} is {wanted}; got {type(row[name]).__name__}"
            return Dropped(task_id, "malformed", detail, where)
    stated = {name: row[name] for name in ("source", "license") if isinstance(row.get(name), str) and row[name]}
    try:
        draft = form.convert({**row, "source": origin.source, "license": origin.license, **stated}, task_id)
    except UsageError:
        raise
    except ValueError as error:  # an integer exceeds the digit limit of int-to-str conversion
        return Dropped(task_id, "malformed", f"read as {form.name}: {error}", where)
    if isinstance(draft, Dropped) and not draft.detail:
        draft = replace(draft, detail=f"read as {form.name}")
    return replace(draft, where=where)


def _task_id(row: Row, number: int, prefix: str) -> str:
    own = next((row[name] for name in ("task_id", "id", "name") if isinstance(row.get(name), int | str)), number)
    return str(own) if "/" in str(own) else f"{prefix}/{own}"


def _text(row: Row, name: str) -> str:
    """Return an optional text field with normalized line breaks; "" if it is missing."""
    value = row.get(name)
    return "\n".join(value.splitlines()) if isinstance(value, str) else ""


def _problem(row: Row, task_id: str, **values: Any) -> Draft:
    return Draft(Problem(task_id, source=_text(row, "source"), license=_text(row, "license"), **values))


def _with_assertions(row: Row, task_id: str, words: str, program: str, tests: list, setup: str) -> Draft | Dropped:
    """Convert a row in MBPP's form: the first assertion shows the function's name and how to call it."""
    tree = parse(program)
    if tree is None or not all(isinstance(test, str) and parse(test) for test in tests):
        return Dropped(task_id, "malformed")
    if not words:
        return Dropped(task_id, "no_statement")
    tests = [test.strip() for test in tests]
    functions = {name for name, node in bindings(tree.body) if not isinstance(node, ast.Import | ast.ImportFrom)}
    called = [node.id for test in tests for node in ast.walk(syntax.parse(test)) if isinstance(node, ast.Name) and node.id in functions]
    if not called:
        return Dropped(task_id, "no_entry_point")
    return _problem(
        row,
        task_id,
        entry_point=called[0],
        canonical_solution=f"{program}\n",
        tests=tuple(tests),
        instruction=statement(tests[0], words),
        setup=setup,
    )


def _mbpp(row: Row, task_id: str) -> Draft | Dropped:
    words = (_text(row, "text") or _text(row, "prompt")).strip()
    imports = [line for line in row.get("test_imports") or [] if isinstance(line, str)]
    setup = "\n".join([*imports, _text(row, "test_setup_code")]).strip()
    return _with_assertions(row, task_id, words, _text(row, "code"), row["test_list"], setup)


def _with_tests(row: Row, task_id: str) -> Draft | Dropped:
    return _with_assertions(row, task_id, row["instruction"].strip(), _text(row, "solution"), row["tests"], _text(row, "setup"))


def _with_calls(row: Row, task_id: str) -> Draft | Dropped:
    recorded = row["io_tests"]
    if not all(
        isinstance(test, dict) and {"input", "expected"} <= test.keys() and isinstance(test["input"], dict) for test in recorded
    ):
        return Dropped(task_id, "malformed")
    draft = _function_draft(row, task_id, row["instruction"], _text(row, "io_spec"), _text(row, "solution"), row["entry_point"])
    if isinstance(draft, Dropped):
        return draft
    return Draft(with_tests(draft.problem, [Call(test["input"], test["expected"]) for test in recorded[:NUM_TESTS]]))


def _codeio(row: Row, task_id: str) -> Draft | Dropped:
    program = _text(row, "code_sample")
    draft = _function_draft(row, task_id, row["task_description"], _text(row, "input_output_spec"), program, "main_solution")
    return draft if isinstance(draft, Dropped) else Draft(draft.problem, _text(row, "input_generator"))


def _function_draft(row: Row, task_id: str, words: str, specification: str, program: str, entry_point: str) -> Draft | Dropped:
    """Convert a row with a task in words, an input and output specification, and a program; the statement shows the function's head."""
    tree = parse(program)
    head = "" if tree is None else _head(definition(tree, entry_point), entry_point)
    if not head:
        return Dropped(task_id, "malformed" if tree is None else "no_entry_point")
    if not words.strip():
        return Dropped(task_id, "no_statement")
    instruction = statement(head, "\n\n".join(part.strip() for part in (words, specification) if part.strip()))
    return _problem(row, task_id, entry_point=entry_point, canonical_solution=f"{program}\n", instruction=instruction)


def _head(node: ast.stmt | None, name: str) -> str:
    """Return the first line of the code to write; "" if the name is not defined."""
    if node is None:
        return ""
    if isinstance(node, ast.ClassDef):
        return f"class {name}:"
    value = getattr(node, "value", None)
    arguments = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else value
    if isinstance(arguments, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return f"{'async ' if isinstance(arguments, ast.AsyncFunctionDef) else ''}def {name}({ast.unparse(arguments.args)}):"
    return f"{name} = ..."


def _human_eval(row: Row, task_id: str) -> Draft | Dropped:
    """Convert a row whose `test` defines `check(candidate)`: its assertions become tests; if it does more, the test calls it."""
    entry_point, code = row["entry_point"].strip(), _text(row, "test")
    prompt, solution = (row[name].replace("\r\n", "\n") for name in ("prompt", "canonical_solution"))
    tree = parse(code)
    check = definition(tree, "check") if tree is not None else None
    if tree is None or parse(prompt + solution) is None or not entry_point.isidentifier():
        return Dropped(task_id, "malformed")
    if not isinstance(check, ast.FunctionDef) or len(check.args.args) != 1:
        return Dropped(task_id, "no_entry_point")
    tests = _assertions_of(check, entry_point)
    # Some rows end with a call of `check`, which the tests replace.
    calls = [node for node in tree.body if isinstance(node, ast.Expr) and _is_call_of(node.value, check.name)]
    if calls or tests is not None:
        code = "\n".join(ast.unparse(node) for node in tree.body if node not in calls and (tests is None or node is not check))
    return _problem(
        row,
        task_id,
        prompt=prompt,
        entry_point=entry_point,
        canonical_solution=solution,
        tests=(f"assert check({entry_point}) is None",) if tests is None else tests,
        setup=code,
    )


def _is_call_of(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _assertions_of(check: ast.FunctionDef, entry_point: str) -> tuple[str, ...] | None:
    """Return the assertions with the entry point in place of the candidate; None if the function does more than assert."""
    candidate = check.args.args[0].arg
    tests = []
    for node in check.body:
        if isinstance(node, ast.Assert):
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and part.id == candidate:
                    part.id = entry_point
            if not isinstance(node.test, ast.Constant):
                tests.append(ast.unparse(node))
        elif not (isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))):
            return None
    return tuple(tests) or None


def _puzzle(row: Row, task_id: str) -> Draft | Dropped:
    return _search(row, task_id, row["instruction"], row["checker"], row["signature"], _text(row, "solution"))


def _published_puzzle(row: Row, task_id: str) -> Draft | Dropped:
    words = _text(row, "sol_docstring").strip().strip("\"'")
    bodies = [body for body in row["sol_bodies"] if isinstance(body, str) and body.strip()]
    return _search(row, task_id, words, row["sat"], row["sol_header"], f"{row['sol_header']}\n{bodies[0]}" if bodies else "")


def _search(row: Row, task_id: str, words: str, checker: str, head: str, program: str) -> Draft | Dropped:
    """Convert a puzzle: any answer that the checker accepts is right, so the statement shows the checker."""
    if not words.strip():
        return Dropped(task_id, "no_statement")
    instruction = f"{inspect.cleandoc(words)}\n\nWrite `sol` such that `sat(sol())` is true."
    return _problem(
        row,
        task_id,
        entry_point="sol",
        canonical_solution=f"{_with_typing(program)}\n" if program else "",
        tests=("assert sat(sol())",),
        instruction=statement(f"{_with_typing(checker)}\n\n\n{head}", instruction),
        setup=_with_typing(checker),
    )


def _with_typing(code: str) -> str:
    """Return the code with an import of the typing names that published puzzles use without importing them."""
    names = [name for name in _TYPING_NAMES if re.search(rf"\b{name}\b", code)]
    return f"from typing import {', '.join(names)}\n\n\n{code}" if names and "from typing" not in code else code


def _chat(question: str, answer: str) -> Callable[[Row, str], Draft | Dropped]:
    def convert(row: Row, task_id: str) -> Draft | Dropped:
        words = "\n".join(part for part in (_text(row, question).strip(), _text(row, "input").strip()) if part)
        if not words:
            return Dropped(task_id, "no_statement")
        language = _text(row, "lang").lower()
        if language not in _PYTHON if language else not _is_python(row[answer]):
            return Dropped(task_id, "not_python")
        return _problem(row, task_id, instruction=words)

    return convert


def _dialogue(name: str, role: str, text: str) -> Callable[[Row, str], Draft | Dropped]:
    """Return a converter of conversations: the first request, if its answer is Python. Turns may also have the keys of messages."""
    convert = _chat("question", "answer")

    def convert_dialogue(row: Row, task_id: str) -> Draft | Dropped:
        turns = row[name]
        if isinstance(turns, str):
            try:
                turns = json.loads(turns)
            except ValueError:
                turns = None
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            return Dropped(task_id, "malformed")
        said = [
            (turn[role], _content(turn.get(text))) if role in turn else (turn.get("role"), _content(turn.get("content")))
            for turn in turns
        ]
        said = [(ROLE_NAMES.get(who) if isinstance(who, str) else None, what) for who, what in said]
        first = next((index for index, (who, _) in enumerate(said) if who == "user"), None)
        if first is None:
            return Dropped(task_id, "no_statement")
        answer = next((what for who, what in said[first + 1 :] if who == "assistant"), None)
        if answer is None:
            return Dropped(task_id, "malformed")
        return convert({**row, "question": said[first][1], "answer": answer, "input": ""}, task_id)

    return convert_dialogue


def _content(value: Any) -> str:
    """Return the text of a turn, joined if it comes in parts."""
    if isinstance(value, list):
        parts = [part.get("text", part.get("content")) if isinstance(part, dict) else part for part in value]
        return "\n".join(part for part in parts if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _is_python(answer: str) -> bool:
    """Tell whether an answer contains a nontrivial Python program, with definitions, imports, loops or assignments."""
    tree = parse(read_answer(answer).solution)
    program = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.For, ast.Assign)
    return tree is not None and any(isinstance(node, program) for node in tree.body)


FORMS = (
    Form("recorded calls", {"instruction": str, "solution": str, "entry_point": str, "io_tests": list}, _with_calls),
    Form("CodeI/O", {"task_description": str, "input_output_spec": str, "code_sample": str, "input_generator": str}, _codeio),
    Form("puzzle", {"instruction": str, "solution": str, "signature": str, "checker": str}, _puzzle),
    Form("puzzle as published", {"name": str, "sat": str, "sol_header": str, "sol_bodies": list}, _published_puzzle),
    Form("assertions", {"instruction": str, "solution": str, "tests": list}, _with_tests),
    Form("HumanEval", {"prompt": str, "canonical_solution": str, "test": str, "entry_point": str}, _human_eval),
    Form("MBPP", {"text": str, "code": str, "test_list": list}, _mbpp),
    Form("MBPP, sanitized", {"prompt": str, "code": str, "test_list": list}, _mbpp),
    Form("ShareGPT", {"conversations": list | str}, _dialogue("conversations", "from", "value")),
    Form("messages", {"messages": list | str}, _dialogue("messages", "role", "content")),
    *(Form(name, dict.fromkeys(columns, str), _chat(*columns)) for name, columns in QUESTION_AND_ANSWER.items()),
)
