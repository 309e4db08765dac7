"""Static checks of programs and their tests: what they assert, define and access."""

from __future__ import annotations

import ast

from reflectioncoder import syntax
from reflectioncoder.data.python_source import bindings, definition, is_test, is_test_name, lines_of, parse
from reflectioncoder.data.render import ADDED_TOKENS

_OUTSIDE = frozenset(
    (
        "socket",
        "urllib",
        "http",
        "requests",
        "httpx",
        "ftplib",
        "smtplib",
        "subprocess",
        "ctypes",
        "multiprocessing",
        "pathlib",
        "shutil",
        "os",
        "posix",
        "_io",
        "_posixsubprocess",
        "_socket",
        "_ctypes",
        "mmap",
        "fcntl",
        "pty",
        "signal",
        "resource",
        # access to the interpreter, which the tests share
        "importlib",
        "imp",
        "runpy",
        "builtins",
        "gc",
        "inspect",
        "code",
        "marshal",
        "pickle",
        "atexit",
        "faulthandler",
        "_xxsubinterpreters",
    )
)
_OUTSIDE_CALLS = frozenset(
    ("input", "open", "exec", "eval", "compile", "breakpoint", "__import__", "globals", "locals", "vars", "exit", "quit")
)
# Matched as attributes, imported names, and strings (arguments of getattr and subscripts).
_INTERPRETER = frozenset(
    (
        "stdin",
        "_getframe",
        "_current_frames",
        "settrace",
        "setprofile",
        "addaudithook",
        "excepthook",
        "unraisablehook",
        "displayhook",
        "open_code",
        "f_back",
        "f_globals",
        "f_locals",
        "f_builtins",
        "gi_frame",
        "cr_frame",
        "tb_frame",
        "__globals__",
        "__builtins__",
        "__import__",
        "__loader__",
        "__spec__",
        "__subclasses__",
        "__code__",
        "__closure__",
    )
)


def ends_within_text(code: str) -> bool:
    """Tell whether a program ends within a triple-quoted string."""
    try:
        syntax.parse(code)
    except SyntaxError as error:
        return "unterminated triple-quoted" in error.msg
    except (ValueError, RecursionError, MemoryError):
        pass
    return False


def assertions(code: str, entry_point: str = "") -> list[str]:
    """Return the assertions outside functions as normalized source text: spacing, quotes and assertion messages are ignored."""
    tree = parse(code)
    if tree is None:
        return []
    try:
        return [ast.unparse(node.test) for node in _outside_of_functions(tree, entry_point) if isinstance(node, ast.Assert)]
    except (RecursionError, ValueError):  # ValueError: an integer exceeds the digit limit of int-to-str conversion
        return []


def _outside_of_functions(tree: ast.Module, entry_point: str) -> list[ast.AST]:
    """Return the nodes outside functions, or inside functions with test names; the entry point never counts as a test."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.name == entry_point or not is_test_name(node.name)):
            continue
        found.append(node)
        waiting = [*ast.iter_child_nodes(node), *waiting]
    return found


def without_tests(code: str, entry_point: str = "") -> str:
    """Return the program without assertions, test functions, `if __name__ == …` blocks, and expression statements such as prints."""
    tree = parse(code)
    if tree is None:
        return code
    return lines_of(code, [node for node in tree.body if not is_test(node, entry_point)])


def tests_for(program: str, attempt: str) -> str:
    """Return an attempt's module-level statements, tests included, except definitions of names that `program` defines too."""
    tree, own = parse(attempt), parse(program)
    if tree is None or own is None:
        return ""
    defined = {name for node in own.body for name in _names(node)}
    kept = [node for node in tree.body if not (_names(node) and _names(node) <= defined) and not _has_to_be_first(node)]
    return lines_of(attempt, kept)


def _has_to_be_first(node: ast.stmt) -> bool:
    """Tell whether a statement must start a module: a docstring has no effect later, and a `from __future__` import is an error."""
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


def has_usage(code: str, entry_point: str = "") -> bool:
    """Tell whether a program has module-level code that only tests or examples contain."""
    tree = parse(code)
    return tree is not None and any(
        is_test(node, entry_point) for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )


def defines(code: str, name: str) -> bool:
    tree = parse(code)
    return tree is not None and definition(tree, name) is not None


def defines_something(code: str) -> bool:
    """Tell whether a program defines a function or a class."""
    tree = parse(code)
    return tree is not None and any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in tree.body)


def _names(node: ast.stmt) -> set[str]:
    """Return the names that a definition or assignment binds; empty for imports, loops and conditionals."""
    simple = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign))
    return {name for name, _ in bindings([node])} if simple else set()


def uses_outside_world(code: str) -> bool:
    """Tell whether a program accesses files, the network, input, other processes, or the interpreter's internals."""
    tree = parse(code)
    return tree is not None and any(map(_reaches_out, ast.walk(tree)))


def _reaches_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in _OUTSIDE for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        taken = {alias.name for alias in node.names}
        return (
            (node.module or "").split(".")[0] in _OUTSIDE
            or bool(taken & _INTERPRETER)
            or (node.module, "modules") in {("sys", name) for name in taken}
        )
    if isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        return node.attr in _INTERPRETER or (owner, node.attr) in (("sys", "modules"), ("io", "open"), ("io", "FileIO"))
    if isinstance(node, ast.Name):
        return node.id in ("__builtins__", "__loader__", "__spec__", "__import__")
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value in _INTERPRETER - {"stdin"}
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OUTSIDE_CALLS


def spells_special_token(*texts: str) -> bool:
    return any(token in text for text in texts for token in (*ADDED_TOKENS, "<|im_start|>", "<|im_end|>", "<|endoftext|>"))


def no_longer_asserted(earlier: list[str], last: list[str]) -> list[str]:
    """Return the subjects asserted earlier but not last: `f(2)` for `f(2) == 3`, `not f(2)` and `f(2)`; else the whole assertion."""
    return sorted({_subject(test) for test in earlier} - {_subject(test) for test in last})


def _subject(test: str) -> str:
    node: ast.expr = syntax.parse(test, "eval").body
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node = node.operand
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.Is)):
        node = node.left
    return ast.unparse(node)
