"""Makes problems from functions with doctest examples in installed packages: function as reference, examples as tests.

Files are parsed, not imported. A function's dependencies in its module are copied with it (`closure`).
"""

from __future__ import annotations

import ast
import copy
import doctest
import inspect
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from reflectioncoder import syntax
from reflectioncoder.builder.sources.closure import BUILTINS, Module, bound_names, free_names, is_standard
from reflectioncoder.builder.sources.draft import Draft, Dropped
from reflectioncoder.builder.sources.packages import import_names, modules, package_root, provenance
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.prompts import ONE_OFF, statement

_MAX_TEST_CHARS = 1000


def from_doctests(package: str) -> Iterator[Draft | Dropped]:
    """Yield drafts from a package, given by its import or distribution name (more-itertools), or from a standard-library module.

    Raises:
        MachineError: the package is not installed.
        UsageError: it has no Python files.
    """
    for name in import_names(package):
        root = package_root(name, package)
        source, license_ = provenance(name)
        for module_name, path in modules(name, root).items():
            yield from _from_module(path, module_name, source, license_)


def _from_module(path: Path, module_name: str, source: str, license_: str) -> Iterator[Draft | Dropped]:
    try:
        with tokenize.open(path) as handle:
            module = Module(handle.read())
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return  # the file is a template or for another Python version
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and ">>>" in (ast.get_docstring(node) or ""):
            task_id = f"doctest/{module_name}.{node.name}"
            drafted = _draft(module, node)
            yield (
                Dropped(task_id, drafted)
                if isinstance(drafted, str)
                else Draft(Problem(task_id, entry_point=node.name, source=source, license=license_, **drafted))
            )


def _draft(module: Module, function: ast.FunctionDef) -> dict | str:
    """Return the fields of a problem, or the reason why the function cannot become one."""
    docstring = inspect.cleandoc(ast.get_docstring(function) or "")
    try:
        parts = doctest.DocTestParser().parse(docstring)
    except ValueError:
        return "malformed"
    program = module.program_with(function)
    if program is None:
        return "not_self_contained"
    words = re.sub(r"\n\s*\n\s*\n+", "\n\n", "".join(part for part in parts if isinstance(part, str))).strip()
    if not words:
        return "no_statement"
    examples = Examples(function.name, bound_names(program))
    for part in parts:
        if isinstance(part, doctest.Example):
            examples.add(part)
    if not examples.tests:
        return "no_examples"
    return {
        "canonical_solution": program,
        "instruction": statement(_head(function, words), ONE_OFF),
        "tests": tuple(examples.tests),
        "setup": "\n".join(examples.setup),
    }


def _head(function: ast.FunctionDef, words: str) -> str:
    """Return the function's signature with `words` as its docstring."""
    shell = copy.copy(function)
    shell.decorator_list, shell.body = [], [ast.Expr(ast.Constant("\n    ".join([*words.split("\n"), ""])))]
    head = ast.unparse(shell)
    return "\n".join(line.rstrip() for line in head.split("\n"))


class Examples:
    """Converts successive doctest examples into independent assertions.

    Values assigned by earlier examples are inlined into the assertions; a value that a use may exhaust or change, such as an iterator,
    is inlined only into the first.
    """

    def __init__(self, entry_point: str, defined: set[str]):
        self.tests: list[str] = []
        self.setup: list[str] = []
        self._entry_point = entry_point
        self._defined = defined | BUILTINS
        self._values: dict[str, ast.expr] = {}

    def add(self, example: doctest.Example) -> None:
        try:
            body = syntax.parse(example.source).body
        except SyntaxError:
            body = []
        match body:
            case [ast.Import() | ast.ImportFrom() as node] if is_standard(node):
                self._define(ast.unparse(node))
            case [ast.FunctionDef() as node] if self._is_known(ast.unparse(node), own=node.name):
                self._define(ast.unparse(node))
            case [ast.Import() | ast.ImportFrom() | ast.FunctionDef()]:
                pass
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
                written = self._write_out(value)
                self._use_up(value)
                if written is None:
                    self._values.pop(name, None)
                else:
                    self._values[name] = written
            case [ast.Expr(value=value)]:
                test = self._assertion(value, example)
                if test is not None and len(test) <= _MAX_TEST_CHARS and test not in self.tests:
                    self.tests.append(test)
                self._use_up(value, changed=not example.want)
            case _:
                self._values.clear()

    def _define(self, code: str) -> None:
        self.setup.append(code)
        self._defined |= bound_names(code)

    def _is_known(self, code: str, own: str = "") -> bool:
        return free_names(code) <= self._defined | {own}

    def _write_out(self, value: ast.expr) -> ast.expr | None:
        """Return the expression with names replaced by values; None if it needs an unknown name."""
        written = _Replaced(self._values).visit(copy.deepcopy(value))
        return written if self._is_known(ast.unparse(written)) else None

    def _use_up(self, value: ast.expr, *, changed: bool = False) -> None:
        """Forget the values that an example may have changed."""
        names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        methods_of = {n.value.id for n in ast.walk(value) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
        for name in names & self._values.keys():
            if changed or name in methods_of or not _is_plain(self._values[name]):
                del self._values[name]

    def _assertion(self, value: ast.expr, example: doctest.Example) -> str | None:
        want = example.want.strip()
        written = self._write_out(value)
        if written is None or not want or example.exc_msg or "..." in want or "<BLANKLINE>" in want or " at 0x" in want:
            return None
        if not any(isinstance(node, ast.Name) and node.id == self._entry_point for node in ast.walk(written)):
            return None
        match written:
            case ast.Call(func=ast.Name(id="print"), args=[printed], keywords=[]) if not isinstance(printed, ast.Starred):
                return f"assert str({ast.unparse(printed)}) == {want!r}"
            case ast.Call(func=ast.Name(id="print")):
                return None
        if not syntax.is_literal(want):
            return None if "\n" in want else f"assert repr({ast.unparse(written)}) == {want!r}"
        return ast.unparse(ast.Assert(ast.Compare(written, [ast.Eq()], [syntax.parse(want, "eval").body])))


class _Replaced(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]):
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._values.get(node.id, node)) if isinstance(node.ctx, ast.Load) else node


def _is_plain(value: ast.expr) -> bool:
    """Tell whether an expression always evaluates to an equal, unused value: a literal or a lambda."""
    return isinstance(value, ast.Lambda) or syntax.is_literal(value)
