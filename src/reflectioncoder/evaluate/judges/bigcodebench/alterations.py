"""Makes tests of `unittest` wrong on purpose: assertions that what passes them today would fail.

A test method is taken together with the methods of its class that it uses, since many assertions stand there. The argument of an
assertion is changed where that can be done (another literal, a value in a list with another one), because an object that claims to be
equal to everything shows itself only then; elsewhere the condition is turned round.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from reflectioncoder import syntax

_CLASS, _PREFIX = "TestCases", "test"
_EQUALITIES = """
assertEqual assertEquals assertListEqual assertTupleEqual assertSetEqual assertDictEqual assertSequenceEqual assertMultiLineEqual
assertCountEqual assertAlmostEqual assertAlmostEquals assert_array_equal assert_array_almost_equal assert_almost_equal assert_allclose
assert_equal assert_frame_equal assert_series_equal assert_index_equal
"""
_EQUAL = frozenset(_EQUALITIES.split())
_TRUTH = frozenset(("assertTrue", "assertFalse"))
_RAISES = frozenset(("assertRaises", "assertRaisesRegex", "assertWarns", "assertWarnsRegex"))
_CALLED_WITH = frozenset(("assert_called_with", "assert_called_once_with", "assert_any_call"))
_CONTAINS = frozenset(("assertIn",))
_OPPOSITES = {
    "assertNotEqual": "assertEqual",
    "assertNotAlmostEqual": "assertAlmostEqual",
    "assertIn": "assertNotIn",
    "assertNotIn": "assertIn",
    "assertIs": "assertIsNot",
    "assertIsNot": "assertIs",
    "assertIsNone": "assertIsNotNone",
    "assertIsNotNone": "assertIsNone",
    "assertIsInstance": "assertNotIsInstance",
    "assertNotIsInstance": "assertIsInstance",
    "assertGreater": "assertLessEqual",
    "assertGreaterEqual": "assertLess",
    "assertLess": "assertGreaterEqual",
    "assertLessEqual": "assertGreater",
    "assertRegex": "assertNotRegex",
    "assertNotRegex": "assertRegex",
    "assert_called": "assert_not_called",
    "assert_called_once": "assert_not_called",
    "assert_not_called": "assert_called",
}
_OTHER_ERRORS = ("ZeroDivisionError", "BlockingIOError", "StopAsyncIteration", "FloatingPointError", "ChildProcessError")


@dataclass(frozen=True)
class Alteration:
    """An assertion of a test: the `number`-th in the method `owner`, which is the test itself or one that it uses."""

    owner: str
    number: int


class Suite:
    """The class of tests in the source of a task's tests."""

    def __init__(self, source: str):
        self._module = syntax.parse(source)
        self._class = next(node for node in self._module.body if isinstance(node, ast.ClassDef) and node.name == _CLASS)
        self._methods = {node.name: node for node in self._class.body if isinstance(node, ast.FunctionDef)}

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """Return the names of the tests, in the order in which they run."""
        return tuple(sorted(name for name in self._methods if name.startswith(_PREFIX)))

    def alterations(self, test: str) -> list[Alteration]:
        """Return the assertions of a test that can be made wrong: its own first, comparisons before others."""
        found = [
            (owner != test, not _holds_value(node), Alteration(owner, number))
            for owner in (test, *self._used_by(test))
            for number, node in enumerate(_assertions(self._methods[owner]))
        ]
        found.sort(key=lambda each: each[:2])
        return [alteration for _, _, alteration in found]

    def _used_by(self, test: str) -> list[str]:
        """Return the other methods, no tests, that a test calls, and those that these call."""
        used, left = [], [test]
        while left:
            for node in ast.walk(self._methods[left.pop()]):
                name = node.attr if isinstance(node, ast.Attribute) else ""
                if name in self._methods and not name.startswith(_PREFIX) and name not in used:
                    used.append(name)
                    left.append(name)
        return used

    def with_tests(self, tests: list[tuple[str, str, Alteration | None]], random: Random) -> str:
        """Return the source with other tests: for each its name, the test that it is made of, and what is wrong in it."""
        methods: list[ast.stmt] = []
        for name, test, alteration in tests:
            names = {used: f"{used}_{random.getrandbits(40):010x}" for used in self._used_by(test)} | {test: name}
            for owner, new_name in names.items():
                method = copy.deepcopy(self._methods[owner])
                if alteration and alteration.owner == owner:
                    method = _Altering(alteration.number, random).visit(method)
                method = _Renaming(names).visit(method)
                method.name = new_name
                methods.append(method)
        kept = [node for node in self._class.body if not (isinstance(node, ast.FunctionDef) and node.name.startswith(_PREFIX))]
        changed = copy.copy(self._class)
        changed.body = [*kept, *methods]
        body = [changed if node is self._class else node for node in self._module.body]
        return ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))


def _assertions(method: ast.FunctionDef) -> Iterator[ast.Assert | ast.Call]:
    for node in ast.walk(method):
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and _wrong_form(node) is not None):
            yield node


class _Altering(ast.NodeTransformer):
    """Replaces the assertion with a number by a wrong one."""

    def __init__(self, number: int, random: Random):
        self._number, self._random = number, random
        self._wanted: ast.AST | None = None

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.FunctionDef) and self._wanted is None:
            self._wanted = list(_assertions(node))[self._number]
        if node is not self._wanted:
            return self.generic_visit(node)
        if isinstance(node, ast.Assert):
            return ast.Assert(ast.UnaryOp(ast.Not(), node.test), node.msg)
        assert isinstance(node, ast.Call)
        form = _wrong_form(node)
        assert form is not None
        return form(node, self._random)


class _Renaming(ast.NodeTransformer):
    """Renames attributes: `self.check` becomes `self.check_0a1b`."""

    def __init__(self, names: dict[str, str]):
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return ast.Attribute(node.value, self._names.get(node.attr, node.attr), node.ctx)


def _wrong_form(call: ast.Call) -> Callable[[ast.Call, Random], ast.Call] | None:
    """Return what makes an assertion wrong; None if it is no assertion, or of no kind that is known here."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    if name in _EQUAL and len(call.args) >= 2:
        return _with_another_value
    if name in _TRUTH and call.args:
        return lambda call, random: _with_argument(call, 0, ast.UnaryOp(ast.Not(), call.args[0]))
    if name in _RAISES and call.args:
        return lambda call, random: _with_argument(call, 0, ast.Name(random.choice(_OTHER_ERRORS), ast.Load()))
    if name in _CALLED_WITH:
        return lambda call, random: ast.Call(call.func, [*call.args, ast.Constant(_another(1, random))], call.keywords)
    if name in _CONTAINS and len(call.args) >= 2 and isinstance(_literal(call.args[0]), str | int):
        return lambda call, random: _with_argument(call, 0, _expression(_another(_literal(call.args[0]), random)))
    if name in _OPPOSITES:
        return lambda call, random: ast.Call(_named(call, _OPPOSITES[name]), call.args, call.keywords)
    return None


def _holds_value(node: ast.Assert | ast.Call) -> bool:
    """Tell whether a value in the assertion is changed to make it wrong."""
    return isinstance(node, ast.Call) and _wrong_form(node) is _with_another_value


def _with_another_value(call: ast.Call, random: Random) -> ast.Call:
    literals = [number for number in (1, 0) if _literal(call.args[number]) is not _NONE_AT_ALL]
    if literals:
        return _with_argument(call, literals[0], _expression(_another(_literal(call.args[literals[0]]), random)))
    return _with_argument(call, 1, ast.List([call.args[1], ast.Constant(_another("", random))], ast.Load()))


def _with_argument(call: ast.Call, number: int, value: ast.expr) -> ast.Call:
    return ast.Call(call.func, [*call.args[:number], value, *call.args[number + 1 :]], call.keywords)


def _named(call: ast.Call, name: str) -> ast.expr:
    assert isinstance(call.func, ast.Attribute)
    return ast.Attribute(call.func.value, name, ast.Load())


_NONE_AT_ALL = object()


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NONE_AT_ALL


def _expression(value: Any) -> ast.expr:
    return ast.parse(repr(value), mode="eval").body


def _another(value: Any, random: Random) -> Any:
    """Return another value of the same type, as far as there is one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + random.randint(2, 9)
    if isinstance(value, str):
        letters = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(3))
        return value + letters
    if isinstance(value, bytes):
        return value + bytes([random.randint(97, 122)])
    if isinstance(value, list | tuple):
        number = random.randrange(len(value)) if value else 0
        return type(value)([*value[:number], _another(value[number] if value else 0, random), *value[number + 1 :]])
    if isinstance(value, dict):
        key = random.choice(list(value)) if value else "key"
        return {**value, key: _another(value.get(key, 0), random)}
    if isinstance(value, set):
        return value | {random.randint(10_000, 99_999)}
    return random.randint(10_000, 99_999)
