"""Makes `unittest` tests wrong on purpose: alters assertions so that programs that pass them would fail.

A test method is altered together with the methods of its class that it uses, since many assertions are there. If an assertion has a
constant argument, it is replaced by a similar-looking one (`Suite.is_hidden`), so that only a solution knows which one is right. Other
assertions get a negated condition, or a value wrapped in a list, which a reader of the source can recognise.
"""

from __future__ import annotations

import ast
import copy
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, NamedTuple
from unittest import TestCase

from reflectioncoder import syntax

_CLASS, _PREFIX = "TestCases", "test"
_EQUALITIES = """
assertEqual assertEquals assertListEqual assertTupleEqual assertSetEqual assertDictEqual assertSequenceEqual assertMultiLineEqual
assertCountEqual assertAlmostEqual assertAlmostEquals assert_array_equal assert_array_almost_equal assert_almost_equal assert_allclose
assert_equal assert_frame_equal assert_series_equal assert_index_equal
"""
_EQUAL = frozenset(_EQUALITIES.split())
_RAISES = frozenset(("assertRaises", "assertRaisesRegex", "assertWarns", "assertWarnsRegex"))
_CALLED_WITH = frozenset(("assert_called_with", "assert_called_once_with", "assert_any_call"))
_CONTAINS = frozenset(("assertIn",))
_MIN_CONTAINED_CHARS = 4  # a shorter text may still be contained after a change
_OPPOSITES = {
    "assertTrue": "assertFalse",
    "assertFalse": "assertTrue",
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
    """An assertion of a test: the `number`-th in the method `owner`, which is the test itself or a method it uses."""

    owner: str
    number: int


class Suite:
    """The test class in the source of a task's tests."""

    def __init__(self, source: str):
        self._module = syntax.parse(source)
        self._class = next(node for node in self._module.body if isinstance(node, ast.ClassDef) and node.name == _CLASS)
        self._methods = {node.name: node for node in self._class.body if isinstance(node, ast.FunctionDef)}

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """Return the names of the tests in the order they run."""
        return tuple(sorted(name for name in self._methods if name.startswith(_PREFIX)))

    def alterations(self, test: str) -> list[Alteration]:
        """Return the assertions of a test that can be made wrong, best first: hidden ones before others, the test's own before those of
        methods it uses."""
        found = [
            Alteration(owner, number)
            for owner in (test, *self._used_by(test))
            for number, _ in enumerate(_assertions(self._methods[owner]))
        ]
        return sorted(found, key=lambda each: self.rank(test, each))

    def rank(self, test: str, alteration: Alteration) -> tuple[bool, bool]:
        """Return the sort key of an alteration among those of a test; smaller is better."""
        return not self.is_hidden(alteration), alteration.owner != test

    def is_hidden(self, alteration: Alteration) -> bool:
        """Tell whether the altered assertion looks right to a reader of the source."""
        assertion = list(_assertions(self._methods[alteration.owner]))[alteration.number]
        form = _wrong_form(assertion) if isinstance(assertion, ast.Call) else None
        return form is not None and form.is_hidden

    def _used_by(self, test: str) -> list[str]:
        """Return the non-test methods that a test calls, directly or indirectly."""
        used, left = [], [test]
        while left:
            for node in ast.walk(self._methods[left.pop()]):
                name = node.attr if isinstance(node, ast.Attribute) else ""
                if name in self._methods and not name.startswith(_PREFIX) and name not in used:
                    used.append(name)
                    left.append(name)
        return used

    def with_tests(self, tests: list[tuple[str, str, Alteration | None]], random: Random) -> str:
        """Return the source with other tests, each given as its name, the test it is made from, and its alteration."""
        methods: list[ast.stmt] = []
        altered: dict[Alteration, ast.FunctionDef] = {}  # identical in all tests that use it: a difference would show
        for name, test, alteration in tests:
            names = {used: f"{used}_{random.getrandbits(40):010x}" for used in self._used_by(test)} | {test: name}
            for owner, new_name in names.items():
                method = self._methods[owner]
                if alteration and alteration.owner == owner:
                    if alteration not in altered or owner == test:
                        altered[alteration] = _Altering(alteration.number, random).visit(copy.deepcopy(method))
                    method = altered[alteration]
                method = _Renaming(names).visit(copy.deepcopy(method))
                method.name = new_name
                methods.append(method)
        changed = copy.copy(self._class)
        changed.body = [*self._kept, *methods]
        body = [changed if node is self._class else node for node in self._module.body]
        return ast.unparse(ast.fix_missing_locations(ast.Module(body, [])))

    @cached_property
    def _kept(self) -> list[ast.stmt]:
        """Return the class body without its tests and the methods that only they use: each test has its own copies of these, and the
        originals would reveal an alteration."""
        used = {name for test in self.tests for name in self._used_by(test) if not hasattr(TestCase, name)}
        left: list[ast.AST] = [node for node in self._module.body if node is not self._class]
        left += [node for node in self._class.body if not self._is_test(node) and getattr(node, "name", None) not in used]
        while left:
            node = left.pop()
            for name in {named for part in ast.walk(node) for named in _names(part)} & used:
                used.remove(name)
                left.append(self._methods[name])
        return [node for node in self._class.body if not self._is_test(node) and getattr(node, "name", None) not in used]

    @staticmethod
    def _is_test(node: ast.stmt) -> bool:
        return isinstance(node, ast.FunctionDef) and node.name.startswith(_PREFIX)


def _names(node: ast.AST) -> tuple[str, ...]:
    """Return the texts in a node that may name a method: an attribute, a variable, a string."""
    if isinstance(node, ast.Attribute):
        return (node.attr,)
    if isinstance(node, ast.Name):
        return (node.id,)
    return (node.value,) if isinstance(node, ast.Constant) and isinstance(node.value, str) else ()


def _assertions(method: ast.FunctionDef) -> Iterator[ast.Assert | ast.Call]:
    for node in ast.walk(method):
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and _wrong_form(node) is not None):
            yield node


class _Altering(ast.NodeTransformer):
    """Replaces the assertion with the given number by a wrong one."""

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
        return form.made(node, self._random)


class _Renaming(ast.NodeTransformer):
    """Renames attributes: `self.check` becomes `self.check_0a1b`."""

    def __init__(self, names: dict[str, str]):
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return ast.Attribute(node.value, self._names.get(node.attr, node.attr), node.ctx)


class _Form(NamedTuple):
    """A way to make an assertion wrong. `is_hidden`: only those who know the right value can recognise it."""

    made: Callable[[ast.Call, Random], ast.Call]
    is_hidden: bool = False


def _wrong_form(call: ast.Call) -> _Form | None:
    """Return a way to make an assertion wrong; None if the call is not an assertion of a known kind."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    if name in _EQUAL and len(call.args) >= 2:
        return _with_another_constant(call, (1, 0)) or _Form(_with_value_in_list)
    if name in _RAISES and call.args:
        return _Form(lambda call, random: _with_argument(call, 0, ast.Name(random.choice(_OTHER_ERRORS), ast.Load())))
    if name in _CALLED_WITH:
        return _with_another_constant(call, range(len(call.args))) or _Form(_with_further_argument)
    if name in _CONTAINS and len(call.args) >= 2 and _is_long_text(call.args[0]):
        return _with_another_constant(call, (0,))
    if name in _OPPOSITES and (call.args or name.startswith("assert_")):
        return _Form(lambda call, random: ast.Call(_named(call, _OPPOSITES[name]), call.args, call.keywords))
    return None


def _with_another_constant(call: ast.Call, numbers: Iterable[int]) -> _Form | None:
    """Return a form that changes a constant in the first argument that holds one; None if none does."""
    number = next((number for number in numbers if _constants(call.args[number])), None)
    if number is None:
        return None
    return _Form(lambda call, random: _with_argument(call, number, _with_one_changed(call.args[number], random)), is_hidden=True)


def _with_value_in_list(call: ast.Call, random: Random) -> ast.Call:
    return _with_argument(call, 1, ast.List([call.args[1], ast.Constant(_another("abc", random))], ast.Load()))


def _with_further_argument(call: ast.Call, random: Random) -> ast.Call:
    return ast.Call(call.func, [*call.args, ast.Constant(_another(1, random))], call.keywords)


def _with_argument(call: ast.Call, number: int, value: ast.expr) -> ast.Call:
    return ast.Call(call.func, [*call.args[:number], value, *call.args[number + 1 :]], call.keywords)


def _named(call: ast.Call, name: str) -> ast.expr:
    assert isinstance(call.func, ast.Attribute)
    return ast.Attribute(call.func.value, name, ast.Load())


def _is_long_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) >= _MIN_CONTAINED_CHARS


def _constants(node: ast.expr) -> list[ast.Constant]:
    """Return the constants whose change changes the value of a literal, which may contain other expressions too."""
    if isinstance(node, ast.Constant):
        return [node] if _can_be_another(node.value) else []
    if isinstance(node, ast.UnaryOp):
        return _constants(node.operand) if isinstance(node.op, ast.USub) else []
    parts = node.values if isinstance(node, ast.Dict) else node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else []
    return [constant for part in parts for constant in _constants(part)]


def _with_one_changed(node: ast.expr, random: Random) -> ast.expr:
    """Return a copy of a literal with one constant changed; among numbers the largest, since no tolerance hides its change."""
    node = copy.deepcopy(node)
    constants = _constants(node)
    sizes = [abs(constant.value) for constant in constants if isinstance(constant.value, int | float)]  # True and False are 1 and 0
    are_numbers = len(sizes) == len(constants) and not any(isinstance(constant.value, bool) for constant in constants)
    chosen = constants[sizes.index(max(sizes))] if are_numbers else random.choice(constants)
    chosen.value = _another(chosen.value, random)
    return node


_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
_MIN_STEP = 3  # minimum change of a number's first digit, to exceed tolerances


def _can_be_another(value: object) -> bool:
    if isinstance(value, str | bytes):
        return bool(_places(value))
    return isinstance(value, bool) or (isinstance(value, int | float) and any(map(str.isdigit, repr(value))))


def _another(value: Any, random: Random) -> Any:
    """Return a similar-looking value of the same type, with one digit or letter replaced."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, bytes):
        return _another(value.decode("latin-1"), random).encode("latin-1")
    if isinstance(value, str):
        place = random.choice(_places(value))
        kind = next(kind for kind in _KINDS if value[place] in kind)
        return value[:place] + random.choice(kind.replace(value[place], "")) + value[place + 1 :]
    text = repr(value)
    place = next((place for place, char in enumerate(text) if char in "123456789"), text.find("0"))
    digit = random.choice([digit for digit in range(1, 10) if abs(digit - int(text[place])) >= _MIN_STEP])
    return type(value)(f"{text[:place]}{digit}{text[place + 1 :]}")


def _places(value: str | bytes) -> list[int]:
    """Return the positions of digits and letters."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return [place for place, char in enumerate(text) if any(char in kind for kind in _KINDS)]
