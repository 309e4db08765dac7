"""Runs in the sandbox: keeps a reference and tests, and says which tests another program does not pass. Not imported by the package.

`answer(request)` takes lists: ["reference", program, setup, lines that it may run in a new call] →
nothing; ["values", calls] → for each call the reference's result as a
literal, an empty text if there is none that a test can compare; ["tests", texts] → whether each can be run;
["failing", program] → a digit for each test, 1 if the program fails it; ["parts", program, call] → whether the program's result of the
call is another than the reference's.

Whatever runs many more lines than the reference counts as endless: a limit in seconds would depend on the machine.
"""

import ast
import sys

_MAX_LINES = 5000  # of the reference in one test
_MORE = 5  # times as many lines may another program run
_MORE_LINES = 300  # and so many beyond that
_MAX_VALUE_CHARS = 80
_FILE = "<program>"


class Endless(BaseException):
    pass


def _run(work, max_lines):
    """Do work and return (what it gives, the lines that programs ran meanwhile).

    Raises:
        Endless: they ran more than `max_lines`.
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
    """A program, loaded anew for each test if it may remember one. `code`: None if it does not compile."""

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
    """Write a value of built-in types; sets in order. None if it is none."""
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
    """Return the reference's result of a call, twice the same, as a short literal ("" if there is none), and the lines that it runs."""
    found = set()
    try:
        code = compile(call, "<call>", "eval")
        for _ in range(2):
            result, count = _run(lambda: eval(code, dict(_state["reference"].names())), _state["max_lines"])
            text = literal(result)
            if text is None or len(text) > _MAX_VALUE_CHARS or ast.literal_eval(text) != result:
                return "", 0
            found.add((text, count))
    except BaseException:  # noqa: BLE001 (whatever a program raises)
        return "", 0
    return next(iter(found)) if len({text for text, _ in found}) == 1 else ("", 0)


def _test(text):
    """Return a test and the lines that a program may run in it; 0 if the reference fails it or runs too many."""
    code = compile(text, "<test>", "exec")
    try:
        _, count = _run(lambda: exec(code, dict(_state["reference"].names())), _MAX_LINES)
    except BaseException:  # noqa: BLE001 (whatever a program raises)
        return code, 0
    return code, _MORE * count + _MORE_LINES


def _fails(program, code, max_lines):
    if program.code is None:
        return True
    try:
        _run(lambda: exec(code, dict(program.names())), max_lines)
    except BaseException:  # noqa: BLE001 (whatever a program raises)
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
