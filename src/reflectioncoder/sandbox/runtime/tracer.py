"""Runs a program under a tracer inside the sandbox, and records the executed statements and their effects on variables.

Every statement gets a number (`numbered`) that replaces its line number, so that each line event is the execution of one statement,
however the program is laid out. The program runs first, then `before` untraced, then the traced `test`.

Rows are JSON arrays, one per line:
    ["call", frame, function, caller, {name: value}]   `function`: the number of its definition, 0 for the module, -1 for the test
    ["step", frame, statement]                          a statement begins
    ["set", frame, {name: value}]                       changes by the previous statement; an attribute is `name.attribute`
    ["gone", frame, [name]]                             variables that it deleted
    ["out", frame, text]                                text printed meanwhile
    ["raise", frame, text]                              an exception passes through the statement
    ["yield", frame, value], ["return", frame, value], ["leave", frame, ""]   how a call ends; `leave`: with the exception
    ["end", reason]                                     done, limit (events, bytes or time), or an exception outside the program
Rows are written as the program runs, so a killed program leaves its earlier rows. A program can forge rows; they prove nothing and
only suggest where to look.
"""

from __future__ import annotations

import ast
import builtins
import dis
import io
import json
import operator
import os
import sys
import time
import types
from collections.abc import Iterator
from typing import Any, NoReturn

from reflectioncoder.sandbox.runtime.showing import ATOMS, attributes_of, show, show_error

PROGRAM, MODULE, TEST = "<program>", 0, -1
_FLUSH_S = 0.005
_MAX_OUT = 2000  # characters per row of output
_MAX_KEPT = 200  # items of a list that is compared with a copy
_MAX_DEPTH = 400  # nested calls that are followed
_HEADROOM = 60  # frames of the tracer and the code that runs the program
_YIELD = frozenset(dis.opmap[name] for name in ("YIELD_VALUE", "INSTRUMENTED_YIELD_VALUE") if name in dis.opmap)
_SKIPPED = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
# Bound here, so that a program that patches the modules does not affect them.
_write, _clock, _dump, _leave_process = os.write, time.perf_counter, json.dumps, os._exit


def numbered(tree: ast.Module) -> list[ast.stmt | ast.ExceptHandler | ast.match_case]:
    """Return the statements, `except` and `case` clauses of a program in source order; the first has the number 1."""

    def below(node: ast.AST) -> Iterator[Any]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield child
                yield from below(child)

    return list(below(tree))


def numbered_code(source: str) -> tuple[types.CodeType, frozenset[str]]:
    """Compile a program with statement numbers as line numbers; also return the names that it assigns at module level."""
    tree = ast.parse(source)
    places = {id(node): number for number, node in enumerate(numbered(tree), start=1)}

    def place(node: ast.AST, number: int) -> None:
        number = places.get(id(node), number)
        if "lineno" in node._attributes:
            node.lineno = node.end_lineno = number  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]
        for child in ast.iter_child_nodes(node):
            place(child, number)

    place(tree, 1)
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    code = compile(tree, PROGRAM, "exec", dont_inherit=True)
    return code, frozenset(stored & set(code.co_names))


def serve_trace(payload: dict[str, Any]) -> NoReturn:
    """Trace a program. `payload`: the fields of `sandbox.process.Traced`."""
    channel = os.dup(1)
    os.dup2(2, 1)
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins)
    sys.modules["__main__"] = main
    sys.setrecursionlimit(sys.getrecursionlimit() + _HEADROOM)
    rows = _Rows(channel, payload["max_bytes"], _FLUSH_S if payload["is_buffered"] else 0.0)
    try:
        code, names = numbered_code(payload["source"])
        before, test = (compile(payload[part], f"<{part}>", "exec", dont_inherit=True) for part in ("before", "test"))
    except BaseException as error:
        rows.end(f"{type(error).__name__}: {error}")
    tracer = _Tracer(rows, names, payload["max_events"], payload["max_s"])
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), tracer.printed, tracer.printed
    try:
        tracer.run(code, main.__dict__)
        exec(before, main.__dict__)
        tracer.run_test(test, main.__dict__)
    except BaseException as error:
        rows.end(show_error(error))
    rows.end("done")


class _Rows:
    """Writes rows to the channel. The byte limit ends the process, so that no program continues untraced."""

    def __init__(self, channel: int, max_bytes: int, delay_s: float):
        self._channel, self._left, self._delay_s = channel, max_bytes, delay_s
        self._waiting: list[str] = []
        self._flushed = _clock()

    def add(self, *row: Any) -> None:
        text = _dump(row)
        self._left -= len(text)
        self._waiting.append(text)
        if self._left < 0:
            self.end("limit")
        if _clock() - self._flushed > self._delay_s:
            self.flush()

    def flush(self) -> None:
        data = memoryview("".join(f"{row}\n" for row in self._waiting).encode())
        self._waiting.clear()
        while data:
            data = data[_write(self._channel, data) :]
        self._flushed = _clock()

    def end(self, reason: str) -> NoReturn:
        sys.settrace(None)
        self._waiting.append(_dump(["end", reason]))
        self.flush()
        _leave_process(0)


class _Printed(io.TextIOBase):
    """Keeps the beginning of the program's output since the last `take`."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = _MAX_OUT

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if type(text) is not str:
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._room > 0:
            self._parts.append(text[: self._room])
            self._room -= len(text)
        return len(text)

    def take(self) -> str:
        if not self._parts:
            return ""
        text = "".join(self._parts)
        self._parts, self._room = [], _MAX_OUT
        return text


class _Frame:
    """The recorded state of a call: its number, and the values of its variables at the last look."""

    __slots__ = ("globals", "number", "raised", "seen", "skip")

    def __init__(self, number: int, global_names: tuple[str, ...]):
        self.number = number
        self.globals = global_names
        self.seen: dict[str, tuple[Any, str]] = {}  # path → (`_kept` value, its text)
        self.raised = False
        self.skip = False


class _Tracer:
    def __init__(self, rows: _Rows, names: frozenset[str], max_events: int, max_s: float):
        self._rows, self._names = rows, names
        self._events_left, self._until = max_events, _clock() + max_s
        self._frames: dict[types.FrameType, _Frame] = {}
        self._stack: list[_Frame] = []
        self._num_frames = 0
        self._globals_of: dict[types.CodeType, tuple[str, ...]] = {}
        self._scope: dict[str, Any] = {}
        self.printed = _Printed()

    def run(self, code: types.CodeType, scope: dict[str, Any]) -> None:
        """Execute the program's module."""
        self._scope = scope
        sys.settrace(self._enter)
        try:
            exec(code, scope)
        finally:
            sys.settrace(None)

    def run_test(self, code: types.CodeType, scope: dict[str, Any]) -> None:
        """Execute the test; the calls that it makes are traced."""
        root = self._open(TEST, None)
        self._rows.add("call", root.number, TEST, 0, {})
        self._rows.add("step", root.number, 0)
        self._stack.append(root)
        self.printed.take()
        sys.settrace(self._enter)
        try:
            exec(code, scope)
        except BaseException as error:
            sys.settrace(None)
            self._rows.add("raise", root.number, show_error(error))
            self._rows.add("leave", root.number, "")
            self._rows.end("done")
        finally:
            sys.settrace(None)
        self._rows.add("return", root.number, "None")

    def _open(self, number: int, code: types.CodeType | None) -> _Frame:
        self._num_frames += 1
        names: tuple[str, ...] = ()
        if code is not None and number != MODULE:
            if code not in self._globals_of:
                own = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
                self._globals_of[code] = tuple(name for name in code.co_names if name in self._names and name not in own)
            names = self._globals_of[code]
        return _Frame(self._num_frames, names)

    def _enter(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        """Begin to follow a frame (the global trace function)."""
        code = frame.f_code
        if code.co_filename != PROGRAM or event != "call":
            return None
        if code.co_name.startswith("<") and code.co_name != "<module>":  # a comprehension or lambda is part of its statement
            return None
        if code.co_name != "<module>" and not code.co_flags & 0x2:  # the body of a class is part of its statement too
            return None
        self._count()
        if len(self._stack) >= _MAX_DEPTH:
            self._rows.end("limit")
        followed = self._frames.get(frame)
        if followed is None:
            number = MODULE if code.co_name == "<module>" else code.co_firstlineno
            followed = self._frames[frame] = self._open(number, code)
            caller = self._stack[-1].number if self._stack else 0
            self._rows.add("call", followed.number, number, caller, self._changes(frame, followed))
        self._stack.append(followed)
        frame.f_trace = self._follow
        return self._follow

    def _follow(self, frame: types.FrameType, event: str, arg: Any) -> Any:
        """Follow a frame (the local trace function)."""
        followed = self._frames.get(frame)
        if followed is None:
            return None
        self._count()
        number = followed.number
        if event == "line":
            followed.raised = False
            self._look(frame, followed)
            self._rows.add("step", number, frame.f_lineno)
        elif event == "exception":
            followed.raised = True
            self._look(frame, followed)
            self._rows.add("raise", number, show_error(arg[1]) if isinstance(arg[1], BaseException) else show(arg[1]))
        elif event == "return":
            self._look(frame, followed)
            yields = frame.f_code.co_flags & 0x20 and frame.f_code.co_code[frame.f_lasti] in _YIELD
            if yields and not followed.raised:
                self._rows.add("yield", number, show(arg))
            elif followed.raised and arg is None:
                self._rows.add("leave", number, "")
            else:
                self._rows.add("return", number, show(arg))
            if not yields:
                self._frames.pop(frame, None)
            if followed in self._stack:
                del self._stack[self._stack.index(followed) :]
        return self._follow

    def _count(self) -> None:
        self._events_left -= 1
        if self._events_left < 0 or _clock() > self._until:
            self._rows.end("limit")

    def _look(self, frame: types.FrameType, followed: _Frame) -> None:
        """Write the changes since the last look."""
        if changed := self._changes(frame, followed):
            self._rows.add("set", followed.number, changed)
        if text := self.printed.take():
            self._rows.add("out", followed.number, text)

    def _changes(self, frame: types.FrameType, followed: _Frame) -> dict[str, str]:
        seen, changed = followed.seen, {}
        is_module = frame.f_code.co_name == "<module>"
        found = dict(frame.f_locals)
        for name in followed.globals:
            if name in self._scope:
                found[name] = self._scope[name]
        for name, value in found.items():
            if name in seen and _is_unchanged(value, seen[name][0]):
                continue
            if isinstance(value, _SKIPPED) or name.startswith(("__", ".")) or (is_module and name not in self._names):
                continue
            inside = attributes_of(value, "__main__")
            for path, part in ((name, value),) if inside is None else ((f"{name}.{key}", item) for key, item in inside.items()):
                text = show(part)
                if path not in seen or seen[path][1] != text:
                    changed[path] = text
                seen[path] = (_kept(part), text)
        gone = [path for path in seen if path not in found and not _is_there(path, found)]
        for name in gone:
            del seen[name]
        if gone:
            self._rows.add("gone", followed.number, gone)
        return changed


def _kept(value: Any) -> Any:
    """Return a value for cheap change detection: an immutable value itself, a copy of a short list of such values, else None."""
    if type(value) is list:
        return list(value) if len(value) <= _MAX_KEPT and all(type(item) in ATOMS for item in value) else None
    return value if type(value) in ATOMS else None


def _is_unchanged(value: Any, kept: Any) -> bool:
    if type(value) is list and type(kept) is list:
        return len(value) == len(kept) and all(map(operator.is_, value, kept))
    return value is kept and type(value) in ATOMS


def _is_there(path: str, found: dict[str, Any]) -> bool:
    """Tell whether an attribute belongs to an instance that its variable still holds."""
    name, dot, _ = path.partition(".")
    return bool(dot) and name in found and type(found[name]).__module__ == "__main__"
