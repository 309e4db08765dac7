"""Writes the short cell with which a person would inspect the place where an attempt goes wrong.

Two forms: the statement's expression, evaluated with the values that its variables had there; or the function with an added `print`,
called with the failing input. The cell is meant for a session in which the attempt has run. `shows` tells whether its output contains
the divergent value.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Sequence

from reflectioncoder import syntax
from reflectioncoder.builder.tracing.divergence import Divergence, is_whole
from reflectioncoder.builder.tracing.statements import ProgramText, Statement
from reflectioncoder.data.python_source import bindings, first_line

_MAX_LINES = 8  # printed by the cell
_MAX_NAMES = 4
_BUILTINS = frozenset(dir(builtins))
_MUTATING = re.compile(
    r"\.(append|extend|insert|remove|pop|popitem|clear|sort|reverse|add|discard|update|setdefault|appendleft|popleft)\("
)


def probe_cell(divergence: Divergence, attempt: str, test: str) -> str:
    """Return a cell that shows the attempt's fault: the expression, else the function with a print; "" if neither works."""
    return expression_probe(divergence, attempt) or print_probe(divergence, attempt, test)


def shows(divergence: Divergence, output: str) -> bool:
    """Tell whether a probe's output shows the attempt's divergent value or, if it has none, one of the inputs."""
    inputs = dict(divergence.inputs)
    if divergence.variable in inputs and divergence.kind == "branch":  # the condition is a plain variable
        return _stands_in(inputs[divergence.variable], output)
    values = [divergence.value_attempt] if divergence.value_attempt is not None else list(inputs.values())
    return any(_stands_in(value, output) for value in values)


def _stands_in(value: str, output: str) -> bool:
    if value[:1] in "'\"" and f"{_text_of(value)}\n" in f"{output}\n":
        return True
    return re.search(rf"(?<![\w.'\"-]){re.escape(value)}(?![\w.'\"])", output) is not None


def _text_of(value: str) -> str:
    return str(syntax.literal_or(value, value))


def expression_probe(divergence: Divergence, attempt: str) -> str:
    """Return a cell that evaluates the expression of the attempt's statement with the values that its variables had."""
    is_lost = divergence.kind == "return" and not divergence.statement.startswith("return")  # the expression is not the result
    if divergence.kind not in ("value", "return", "yield", "branch", "exception") or not divergence.statement or is_lost:
        return ""
    inputs = {name: value for name, value in divergence.inputs if name.isidentifier()}
    known = {name for name, _ in bindings(syntax.parse(attempt).body)} | _BUILTINS | set(inputs)
    expression = _expression(divergence.statement)
    if expression is None or not set(_free_names(expression)) <= known:
        return ""
    needed = [name for name in inputs if name in _free_names(expression)]
    if not needed or not all(is_whole(inputs[name]) and syntax.is_literal(inputs[name]) for name in needed):
        return ""
    return "\n".join([*_assignments(needed, inputs), f"print({_shown(expression)})"])


def value_cell(divergence: Divergence, expressions: Sequence[str]) -> str:
    """Return a cell that prints expressions with the values of their variables at the place; "" if a value is not a short literal."""
    inputs = dict(divergence.inputs)
    used = [name for expression in expressions for name in _free_names(syntax.parse(expression, mode="eval").body)]
    needed = [name for name in dict.fromkeys(used) if name not in _BUILTINS]
    if not needed or not all(name in inputs and is_whole(inputs[name]) and syntax.is_literal(inputs[name]) for name in needed):
        return ""
    return "\n".join([*_assignments(needed, inputs), _print_of(expressions)])


def _expression(statement: str) -> ast.expr | None:
    """Return the expression whose value a statement uses; None if there is none, it is trivial, or evaluating it has side effects."""
    if not statement:
        return None
    try:
        text = statement.removeprefix("el") if statement.startswith("elif ") else statement
        node = syntax.parse(f"{text}\n    pass" if text.endswith(":") else text).body[0]
    except (SyntaxError, ValueError, IndexError):  # headers such as `except` and `case` do not parse alone
        return None
    match node:
        case ast.AugAssign(target=ast.Name() as target):
            found: ast.expr | None = ast.BinOp(ast.Name(target.id, ast.Load()), node.op, node.value)
        case ast.If() | ast.While():
            found = node.test
        case ast.Return() | ast.Expr() | ast.AnnAssign(target=ast.Name()) | ast.Assign(targets=[ast.Name()]):
            found = node.value
        case _:
            return None
    if isinstance(found, ast.Yield):
        found = found.value
    if found is None or (isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and found.func.id == "print"):
        return None
    return None if _MUTATING.search(ast.unparse(found)) or isinstance(found, ast.Constant | ast.Name) else found


def expression_text(statement: str) -> str:
    """Return the source of the expression whose value a statement uses; "" if `_expression` finds none."""
    found = _expression(statement)
    return ast.unparse(ast.fix_missing_locations(found)) if found is not None else ""


def _free_names(expression: ast.expr) -> list[str]:
    inner = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    inner |= {node.arg for node in ast.walk(expression) if isinstance(node, ast.arg)}
    return [node.id for node in ast.walk(expression) if isinstance(node, ast.Name) and node.id not in inner]


def _assignments(names: list[str], values: dict[str, str]) -> list[str]:
    one_line = f"{', '.join(names)} = {', '.join(values[name] for name in names)}"
    return [one_line] if len(one_line) <= 40 else [f"{name} = {values[name]}" for name in names]


def _shown(expression: ast.expr) -> str:
    text = ast.unparse(ast.fix_missing_locations(expression))
    return f"repr({text})" if isinstance(expression, ast.JoinedStr) else text


def is_printable(expression: str, own: Iterable[str]) -> bool:
    """Tell whether an expression can be printed: it has no side effects and calls none of the program's functions."""
    if not _fits_f_string(expression) or _MUTATING.search(expression):
        return False
    node = _expression(f"return {expression}") or syntax.parse(expression, mode="eval").body
    calls_unknown = any(isinstance(found, ast.Yield | ast.Await | ast.NamedExpr | ast.Lambda) for found in ast.walk(node))
    return not calls_unknown and not set(own) & set(_free_names(node))


def _fits_f_string(expression: str) -> bool:
    """Tell whether an expression fits in an f-string of any Python version: no backslash, brace or `!`, and one kind of quotes."""
    return not re.search(r"[{}\\!]", expression) and not ('"' in expression and "'" in expression)


def _print_of(names: Sequence[str]) -> str:
    """Return a statement that prints expressions as `name=value`."""
    fields = ", ".join(f"{{{name}=}}" for name in names)
    return f"print(f'{fields}')" if '"' in fields else f'print(f"{fields}")'


def print_probe(divergence: Divergence, attempt: str, test: str, whole: bool = False, shown: Sequence[str] = ()) -> str:
    """Return the attempt's function with a `print` at the place, and the failing call; "" if it would print too much or never end.

    Args:
        whole: include the whole program, so that tracebacks quote the right lines of other functions.
        shown: expressions to print instead of the variables that the statement reads.
    """
    if divergence.kind == "syntax" or not divergence.ends:
        return ""
    text = ProgramText(attempt)
    found, names = _insertion(divergence, text), list(shown) or _names_to_print(divergence, text)
    if found is None or not names:
        return ""
    statement, offset = found
    if not _fits_f_string(", ".join(names)):
        return ""
    print_line = _print_of(names)
    if divergence.visits > _MAX_LINES:
        guard = next(((name, value) for name, value in reversed(divergence.inputs) if _is_number(value)), None)
        if guard is None or divergence.kind == "rounds":
            return ""
        print_line = f"if {guard[0]} == {guard[1]}:\n    {print_line}"
    lines = attempt.split("\n")
    at = offset
    model = lines[statement.line - 1]
    indent = model[: len(model) - len(model.lstrip())]
    if offset == text.first_of_body(statement) - 1:
        body = lines[offset]
        indent = body[: len(body) - len(body.lstrip())]
    new = [f"{indent}{line}" for line in print_line.split("\n")]
    if whole:
        return "\n".join([*lines[:at], *new, *lines[at:]]).rstrip("\n") + f"\n\n{_call(test)}"
    return _cell(lines, at, new, text, test)


def _cell(lines: list[str], at: int, new: list[str], text: ProgramText, test: str) -> str:
    """Return the enclosing definition with new lines inserted before line `at` (from 0), without docstrings, and the test's call."""
    around = next((node for node in text.tree.body if first_line(node) - 1 <= at <= (node.end_lineno or 0)), None)
    if around is None:
        return ""
    begin, end = first_line(around) - 1, around.end_lineno or 0
    left_out = {number for node in ast.walk(around) for number in _docstring_lines(node)}
    kept = [line for number, line in enumerate(lines[begin:at], begin) if number not in left_out]
    return "\n".join([*kept, *new, *lines[at:end], "", _call(test)])


def _docstring_lines(node: ast.AST) -> Iterable[int]:
    body = getattr(node, "body", None)
    is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    if not is_definition or not isinstance(body, list) or len(body) < 2:
        return ()
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return range(first.lineno - 1, first.end_lineno or 0) if is_text else ()


def _call(test: str) -> str:
    """Return a statement that prints an assertion's call; other tests unchanged."""
    try:
        node = syntax.parse(test).body[0]
    except (SyntaxError, ValueError, IndexError):
        return test
    if isinstance(node, ast.Assert):
        call = node.test
        while isinstance(call, ast.UnaryOp) or (isinstance(call, ast.Compare) and len(call.ops) == 1):
            call = call.operand if isinstance(call, ast.UnaryOp) else call.left
        return f"print({ast.get_source_segment(test, call) or ast.unparse(call)})"
    return test


def _names_to_print(divergence: Divergence, text: ProgramText) -> list[str]:
    """Return the input variables, and last the divergent variable or, if printable, the condition or result expression."""
    names = [name for name, value in divergence.inputs if is_whole(value)]
    last = ""
    if divergence.kind in ("value", "rounds") and re.fullmatch(r"[\w.]+", divergence.variable):
        last = divergence.variable
    elif divergence.kind == "argument" and divergence.statement.startswith("def "):  # a default value
        last = divergence.variable.partition("(")[2].removesuffix(")")
    elif divergence.kind in ("branch", "return", "yield"):
        expression = _expression(divergence.statement) if divergence.statement else None
        own = {text.name_of(number).rpartition(".")[2] for number in text.functions()}
        used = set(_free_names(expression)) if expression is not None else set()
        if expression is not None and used and not own & used and is_printable(ast.unparse(expression), own):
            last = ast.unparse(expression)
    return [*[name for name in names if name != last][: _MAX_NAMES - bool(last)], *([last] if last else [])]


def _is_number(value: str) -> bool:
    return re.fullmatch(r"-?\d+", value) is not None


def _insertion(divergence: Divergence, text: ProgramText) -> tuple[Statement, int] | None:
    """Return the statement at the place, and the line (from 0) before which to insert the print: next to it or first in its body."""
    line = divergence.line_attempt or divergence.line_before
    candidates = [item for item in text.statements.values() if item.line == line and text.has_its_lines(item)]
    if len(candidates) != 1 or candidates[0].kind in ("ClassDef", "ExceptHandler", "match_case", "Match", "Try"):
        return None
    statement = candidates[0]
    if statement.kind in ("FunctionDef", "AsyncFunctionDef"):
        return statement, text.first_of_body(statement) - 1
    if statement.is_loop and (divergence.iteration > 1 or divergence.kind == "value"):
        return statement, text.first_of_body(statement) - 1
    is_condition = statement.kind == "If"
    while text.is_elif(statement):
        statement = text.statements[statement.parents[-1]]
    is_after = divergence.line_attempt is None or (divergence.kind == "value" and statement.kind != "Return")
    if is_after and not is_condition and not statement.is_loop:
        return statement, text.last_line(statement)
    return statement, text.first_line(statement) - 1
