"""Runs in the sandbox: holds a reference and tests, and reports which tests other programs fail. Not imported by the package.

`answer(request)` takes lists: ["reference", program, setup, maximum lines per new call] → ""; ["values", calls] → the reference's
results as literals, "" where a test cannot compare the result; ["tests", texts] → whether each is usable, that is, the reference
passes it; ["failing", program] → one digit per test, 1 if the program fails it; ["parts", program, call] → whether the program's
result differs from the reference's.

A program that runs many more lines than the reference counts as endless: a limit in seconds would depend on the machine.
"""

import ast
import sys

_MAX_LINES = 5000  # run by the reference in one test
_MORE = 5  # another program may run this many times the reference's lines
_MORE_LINES = 300  # plus this many
_MAX_VALUE_CHARS = 80
_FILE = "<program>"


class Endless(BaseException):
    pass


def _run(work, max_lines):
    """Call `work` and return (its result, the number of program lines run).

    Raises:
        Endless: more than `max_lines` lines ran.
    """
    count = 0

    def within(frame, event, argument):
        nonlocal count
        count += 1
        if count > max_lines:
            raise Endless
        return within

    sys.settrace(lambda frame, event, argument: within if frame.f_code.co_filename == _FILE else None)
    try:
        return work(), count
    finally:
        sys.settrace(None)


class _Program:
    """A program, reloaded for each test if it may keep state. `code`: None if it does not compile."""

    def __init__(self, source):
        self._fresh = None
        try:
            self._is_stateful = _is_stateful(ast.parse(source))
            self.code = compile(source, _FILE, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.code = None

    def names(self):
        if self._fresh is None or self._is_stateful:
            self._fresh = {"__name__": "program"}
            exec(self.code, self._fresh)  # pyright: ignore[reportArgumentType]
            exec(_state["setup"], self._fresh)
        return self._fresh


def _is_stateful(tree):
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            defaults = (*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None))
            if node.decorator_list or not all(isinstance(default, (ast.Constant, ast.UnaryOp)) for default in defaults):
                return True
        elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            return True
    return any(isinstance(node, (ast.Global, ast.Nonlocal)) for node in ast.walk(tree))


_state = {"setup": compile("", "<setup>", "exec"), "reference": None, "tests": [], "programs": {}, "values": {}, "max_lines": 0}


def literal(value):
    """Return the literal of a value of built-in types, with sets sorted; None for other types, NaN and infinities."""
    kind = type(value)
    if kind in (int, str, bool, type(None)):
        return repr(value)
    if kind is float:
        return repr(value) if value == value and value not in (float("inf"), float("-inf")) else None
    if kind is dict:
        parts = [part for pair in value.items() for part in (literal(pair[0]), literal(pair[1]))]
        return (
            None
            if None in parts
            else "{" + ", ".join(f"{key}: {item}" for key, item in zip(parts[::2], parts[1::2], strict=True)) + "}"
        )
    if kind not in (list, tuple, set):
        return None
    parts = [literal(part) for part in value]
    if None in parts:
        return None
    if kind is set:
        return "{" + ", ".join(sorted(parts)) + "}" if parts else "set()"
    joined = ", ".join(parts)
    return f"[{joined}]" if kind is list else f"({joined},)" if len(parts) == 1 else f"({joined})"


def _value(call):
    """Return the reference's result of a call as a short literal, and the number of lines run; "" if two runs differ or have none."""
    found = set()
    try:
        code = compile(call, "<call>", "eval")
        for _ in range(2):
            result, count = _run(lambda: eval(code, dict(_state["reference"].names())), _state["max_lines"])
            text = literal(result)
            if text is None or len(text) > _MAX_VALUE_CHARS or ast.literal_eval(text) != result:
                return "", 0
            found.add((text, count))
    except BaseException:  # noqa: BLE001 (programs may raise anything)
        return "", 0
    return next(iter(found)) if len({text for text, _ in found}) == 1 else ("", 0)


def _test(text):
    """Return a compiled test and the maximum lines a program may run in it; 0 if the reference fails it or runs too many lines."""
    code = compile(text, "<test>", "exec")
    try:
        _, count = _run(lambda: exec(code, dict(_state["reference"].names())), _MAX_LINES)
    except BaseException:  # noqa: BLE001 (programs may raise anything)
        return code, 0
    return code, _MORE * count + _MORE_LINES


def _fails(program, code, max_lines):
    if program.code is None:
        return True
    try:
        _run(lambda: exec(code, dict(program.names())), max_lines)
    except BaseException:  # noqa: BLE001 (programs may raise anything)
        return True
    return False


def _parts(program, call):
    if call not in _state["values"]:
        value, count = _value(call)
        code = compile(f"assert {call} == {value}", "<test>", "exec") if value else None
        _state["values"][call] = code, _MORE * count + _MORE_LINES
    code, max_lines = _state["values"][call]
    return code is not None and _fails(program, code, max_lines)


def answer(request):
    kind, *given = request
    if kind == "reference":
        _state["setup"] = compile(given[1], "<setup>", "exec")
        _state["reference"], _state["max_lines"] = _Program(given[0]), given[2]
        return ""
    if kind == "values":
        return [_value(call)[0] for call in given[0]]
    if kind == "tests":
        _state["tests"] = [_test(text) for text in given[0]]
        return [max_lines > 0 for _, max_lines in _state["tests"]]
    program = _state["programs"].get(given[0]) or _Program(given[0])
    _state["programs"] = {given[0]: program}
    if kind == "failing":
        return "".join("01"[max_lines > 0 and _fails(program, code, max_lines)] for code, max_lines in _state["tests"])
    return _parts(program, given[1])
