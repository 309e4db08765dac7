"""Analyses an exception: which expression raised it, and which values explain the message.

Most exceptions need no look, because the message names the fault. Only an index, a key, a divisor, an argument or an operand is
printed, where its value explains the failure.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reflectioncoder import syntax
from reflectioncoder.builder.stories.edits import edits
from reflectioncoder.builder.tracing import Divergence
from reflectioncoder.builder.tracing.probes import is_printable

_TYPES = ("int", "float", "str", "list", "tuple", "dict", "set", "bool", "NoneType")
_MAX_CHARS = 60  # of a quoted value
_MAX_NAMES = 3
_IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*\b")


@dataclass(frozen=True)
class Clue:
    """Explains an exception or a loop: `read` turns the values of the printed `shown` into facts, or None if they explain nothing.

    Attributes:
        symbol: grammar symbol of the explanation.
    """

    symbol: str
    shown: tuple[str, ...]
    read: Callable[[Mapping[str, str]], dict[str, str] | None]


def marked(output: str) -> str:
    """Return the expression that a traceback marks in its last frame, or the whole line without marks; "" without a traceback."""
    lines = output.rstrip("\n").split("\n")
    at = max((number for number, line in enumerate(lines) if re.match(r'  File "main\.py", line \d+', line)), default=-1)
    if at < 0 or at + 1 >= len(lines):
        return ""
    source, marks = lines[at + 1], lines[at + 2] if at + 2 < len(lines) else ""
    if marks.strip() and not marks.strip("~^ "):
        return source[len(marks) - len(marks.lstrip()) : len(marks.rstrip())].strip()
    return source.strip()


def place_of_crash(output: str, program: str) -> Divergence | None:
    """Return the line of a program in which a traceback ends; None for `elif`, loop headers and comprehensions."""
    frames = re.findall(r'^  File "main\.py", line (\d+), in (\S+)', output, re.MULTILINE)
    lines = program.split("\n")
    if not frames or frames[-1][1].startswith("<") or not 0 < int(frames[-1][0]) <= len(lines):
        return None
    line = int(frames[-1][0])
    statement = lines[line - 1].strip()
    in_rounds = statement.startswith(("while ", "elif ", "for "))
    return None if in_rounds else Divergence("exception", frames[-1][1], line, statement=statement, visits=1)


def clue_of(error: str, output: str, own: Sequence[str]) -> Clue | None:
    """Return what to print to understand an exception; None if its message suffices.

    Args:
        own: the program's functions; expressions that call them are not printed.
    """
    kind, _, message = error.partition(": ")
    segment = marked(output)
    node = _expression(segment)
    found: Clue | None = None
    match kind, node:
        case "IndexError", ast.Subscript(slice=index, value=container) if not isinstance(index, ast.Slice):
            found = _of_index(segment, ast.unparse(container), index)
        case "KeyError", ast.Subscript(slice=key, value=container):
            found = _of_key(ast.unparse(container), ast.unparse(key))
        case "ZeroDivisionError", ast.BinOp(right=divisor) if not isinstance(divisor, ast.Constant):
            found = _of_divisor(ast.unparse(divisor))
        case "ValueError", ast.Call(func=ast.Name(id=name), args=[argument, *_]) if name in ("int", "float", "max", "min"):
            found = _of_argument(name, ast.unparse(argument))
        case "TypeError" | "AttributeError", _:
            found = _of_type(message, segment, own)
    is_usable = found is not None and found.shown and all(is_printable(shown, own) for shown in found.shown)
    return found if is_usable else None


def _expression(text: str) -> ast.expr | None:
    try:
        node = syntax.parse(text).body[0]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return None
    value = getattr(node, "value", None)
    return value if isinstance(value, ast.expr) else None


def _value(text: str) -> object:
    return syntax.literal_or(text, None)


def _of_index(segment: str, container: str, index: ast.expr) -> Clue:
    length, name = f"len({container})", ast.unparse(index)
    fixed = _value(name)
    shown = (length,) if isinstance(fixed, int) else (name, length)

    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        position, number = fixed if isinstance(fixed, int) else _value(values[name]), _value(values[length])
        if not isinstance(position, int) or not isinstance(number, int) or -number <= position < number:
            return None
        facts = {"segment": segment, "container": container, "length": str(number), "index": str(position)}
        return facts | ({"index_name": name} if name in values else {"fixed": name})

    return Clue("crash.index", shown, read)


def _of_key(container: str, key: str) -> Clue:
    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        keys, found = _value(values[container]), _value(values[key])
        if not isinstance(keys, dict) or found is None or found in keys:
            return None
        return {"container": container, "key": key, "value": values[key], "content": values[container]}

    return Clue("crash.key", (key, container), read)


def _of_divisor(divisor: str) -> Clue:
    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        return {"divisor": divisor, "value": values[divisor]} if values[divisor] in ("0", "0.0", "-0.0", "False") else None

    return Clue("crash.divisor", (divisor,), read)


def _of_argument(callee: str, argument: str) -> Clue:
    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        return {"callee": callee, "argument": argument, "value": values[argument]}

    return Clue("crash.argument", (argument,), read)


def _of_type(message: str, segment: str, own: Sequence[str]) -> Clue | None:
    """Return the clue that shows the one variable of the marked expression with a type that the message names."""
    named = set(re.findall(r"'(\w+)'", message)) & set(_TYPES)
    if message.startswith("slice indices must be integers"):
        named = {"float"}
    node = _expression(segment)
    used = {found.id for found in ast.walk(node) if isinstance(found, ast.Name)} if node is not None else set()
    names = tuple(name for name in dict.fromkeys(_IDENTIFIER.findall(segment)) if name in used - set(own) - set(dir(builtins)))
    is_clear = len(names) == 1 and "NoneType" not in named  # the message suffices
    if not named or is_clear or not 0 < len(names) <= _MAX_NAMES:
        return None

    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        fitting = [name for name in names if type(_value(values[name])).__name__ in named and _is_literal(values[name])]
        if len(fitting) != 1:
            return None
        name, kind = fitting[0], type(_value(values[fitting[0]])).__name__
        described = {} if kind == "NoneType" else {"type": f"{'an' if kind == 'int' else 'a'} {kind}"}
        return {"name": name, "value": values[name], **described}

    return Clue("crash.type", names, read)


def _is_literal(text: str) -> bool:
    return text == "None" or _value(text) is not None


def values_before(output: str, shown: Sequence[str]) -> dict[str, str] | None:
    """Return the last values printed before a traceback, and as `first NAME` the first value of the first expression; None if there are
    none, or one is too long to quote.
    """
    line = re.compile(", ".join(f"{re.escape(name)}=(.*)" for name in shown))
    found = [match for text in output.partition("Traceback (most recent call last):")[0].split("\n") if (match := line.fullmatch(text))]
    if not found or any(not value or len(value) > _MAX_CHARS or "`" in value or "…" in value for value in found[-1].groups()):
        return None
    return dict(zip(shown, found[-1].groups(), strict=True)) | {f"first {shown[0]}": found[0].groups()[0]}


def positions_of(program: str, corrected: str) -> tuple[Divergence, Clue] | None:
    """Return where to print the positions of an index loop that its correction replaces by a loop over items, and the clue."""
    for change in edits(program, corrected):
        for offset, line in enumerate(change.old):
            match = re.fullmatch(r"for (\w+) in range\(.*\blen\((\w+)\).*\):", line)
            if match and offset + 1 < len(change.old) and any(text.startswith("for ") for text in change.new):
                place = Divergence("path", "", change.line + offset + 1, statement=change.old[offset + 1], visits=1)
                return place, _of_positions(*match.groups())
    return None


def _of_positions(index: str, items: str) -> Clue:
    length = f"len({items})"

    def read(values: Mapping[str, str]) -> dict[str, str] | None:
        first, last, number = (_value(values[name]) for name in (f"first {index}", index, length))
        if not isinstance(first, int) or not isinstance(last, int) or not isinstance(number, int):
            return None
        facts = {"index_name": index, "container": items, "length": str(number), "first": str(first), "last": str(last)}
        if first == 0 and last == number - 2:
            return facts | {"missed": f"the last position, {number - 1}, is never visited"}
        if first == 1 and last == number - 1:
            return facts | {"missed": "the first position, 0, is never visited"}
        return None

    return Clue("place.positions", (index, length), read)


def names_of(error: str, wrong: str, correct: str) -> dict[str, str]:
    """Return the undefined name and, if the two fragments show it, the intended name; {} for other exceptions."""
    match = re.match(r"(?:NameError: name|UnboundLocalError: cannot access local variable) '(\w+)'", error)
    if match is None:
        return {}
    gone = Counter(_IDENTIFIER.findall(correct)) - Counter(_IDENTIFIER.findall(wrong))
    meant = {"defined": next(iter(gone))} if gone.total() == 1 and match[1] in _IDENTIFIER.findall(wrong) else {}
    return {"undefined": match[1], **meant}
