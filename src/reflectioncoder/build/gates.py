"""What makes a dialogue a reflection sample; each reason has a name, and what is turned away is kept with it."""

from __future__ import annotations

import ast
import re

from reflectioncoder import syntax
from reflectioncoder.build.reasons import Reason
from reflectioncoder.data.languages import PYTHON, CodeLanguage
from reflectioncoder.data.render import ADDED_TOKENS

REASONS: dict[Reason, str] = {
    "no_code": "the model wrote no code block",
    "refused": "the server gives no text for the request: too long for its context, or filtered",
    "answer_cut_off": "an answer reached endpoint.max_tokens",
    "unresolved": "no attempt passed within max_executions",
    "session_lost": "an attempt took the interpreter down, or the session reported as passed what does not hold",
    "first_try": "the first attempt passed: nothing was reflected on",
    "no_assertion": "the attempt that passed, or all before it, hold no assertion",
    "assertions_weakened": "what an earlier attempt asserted something of, the last does not (another expected value is a correction)",
    "output_too_long": "the interpreter printed too much",
    "answer_without_program": "the final answer is not one program in one code block",
    "answer_has_tests": "the final answer brings tests or usage",
    "answer_refers_back": "the final answer speaks of earlier attempts",
    "answer_fails_own_tests": "the final program fails the tests of the dialogue",
    "answer_fails_tests": "the final program fails the problem's own tests",
    "not_deterministic": "the final program passes its tests on one run and not on another",
    "not_understood": "a program cannot be taken apart: into function and tests, or for slips",
    "outside_world": "a program reads input or files, uses the network, or reaches for the interpreter",
    "special_tokens": "a text spells a special token",
    "vacuous_tests": "the dialogue's tests do not notice slips in the final program",
    "too_long": "the sample has more than build.max_chars characters",
    "duplicate": "the same attempts occurred before",
    "near_duplicate": "nearly the same attempts occurred before (MinHash of their words)",
    "contaminated": "the problem or the final program is a benchmark task: by its id, or by 10 words in a row",
    "behaves_like_benchmark": "the final program passes the tests of a benchmark task",
    "not_python": "this author writes about problems in Python only",
    "no_reference": "the problem has no reference solution or no tests, and the author needs them",
    "reference_fails": "the problem's reference solution fails its own tests",
    "attempt_passes": "the slip survives the shown tests",
    "repair_changes_nothing": "the first of two corrections leaves the very same failure",
    "operator_share": "more samples than build.max_operator_share allows have this kind of slip",
    "samples_per_problem": "the problem has build.samples_per_problem samples already",
}

_FENCE = re.compile(r"```[ \t]*([\w+-]*)[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_REFERS_BACK = re.compile(
    r"\b(corrected|fixed|previous|earlier|updated|revised|improved|original) "
    r"(version|code|program|solution|attempt|implementation|function)\b"
    r"|#\s*(fix|fixed|corrected|correction|bug)\b",
    re.IGNORECASE,
)
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
        # the interpreter itself, in which tests run too
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
# As attributes, as names that are imported, and as texts (which getattr and subscripts take).
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
_IS_TEST = re.compile(r"_?test(_|s?$)|check$|main$|run_(all_)?tests?$")


def first_code_block(text: str, language: CodeLanguage = PYTHON) -> tuple[str, str] | None:
    """(what stands before it, its content); a block that is still open counts. None if there is none."""
    for match in _FENCE.finditer(text):
        if match[1].lower() in ("", language.fence, *language.other_fences) and match[2].strip():
            return text[: match.start()].strip(), match[2].strip("\n")
    return None


def parse(code: str) -> ast.Module | None:
    try:
        return syntax.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def assertions(code: str, entry_point: str = "") -> list[str]:
    """The assertions that stand outside of functions, as normalized text: spacing and quotes do not count, messages neither."""
    tree = parse(code)
    if tree is None:
        return []
    try:
        return [ast.unparse(node.test) for node in _outside_of_functions(tree, entry_point) if isinstance(node, ast.Assert)]
    except RecursionError:
        return []


def _outside_of_functions(tree: ast.Module, entry_point: str) -> list[ast.AST]:
    """Also in functions that hold tests, by their names; the entry point never does."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.name == entry_point or not _IS_TEST.match(node.name)):
            continue
        found.append(node)
        waiting = [*ast.iter_child_nodes(node), *waiting]
    return found


def without_tests(code: str, entry_point: str = "") -> str:
    """The program without assertions, test functions, what stands under `if __name__ == …`, and expressions such as a print."""
    tree = parse(code)
    if tree is None:
        return code
    return _lines_of(code, [node for node in tree.body if not _is_test(node, entry_point)])


def tests_for(program: str, attempt: str) -> str:
    """What an attempt does at module level, with `program` in the place of what both define: the attempt's tests in their context."""
    tree, own = parse(attempt), parse(program)
    if tree is None or own is None:
        return ""
    defined = {name for node in own.body for name in _names(node)}
    return _lines_of(attempt, [node for node in tree.body if not (_names(node) and _names(node) <= defined)])


def has_usage(code: str, entry_point: str = "") -> bool:
    """Whether a program does at module level what only a test or an example does."""
    tree = parse(code)
    return tree is not None and any(
        _is_test(node, entry_point) for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )


def defines(code: str, name: str) -> bool:
    tree = parse(code)
    return tree is not None and any(name in _names(node) for node in tree.body)


def defines_something(code: str) -> bool:
    """Whether a program defines a function or a class."""
    tree = parse(code)
    return tree is not None and any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in tree.body)


def _is_test(node: ast.stmt, entry_point: str) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name != entry_point and _IS_TEST.match(node.name) is not None
    if isinstance(node, ast.If):
        return any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # sys.setrecursionlimit(…) stays
        return isinstance(node.value.func, ast.Name)
    return isinstance(node, ast.Assert)


def _names(node: ast.stmt) -> set[str]:
    """What a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return {node.target.id} if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else set()


def _lines_of(code: str, nodes: list[ast.stmt]) -> str:
    lines, parts = code.split("\n"), []
    for node in nodes:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        parts.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n".join(parts) + "\n"


def uses_outside_world(code: str) -> bool:
    """Whether a program reaches for files, the network, input, other processes, or for the interpreter that it runs in."""
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
    """What was asserted of before and is not now: `f(2)` of `f(2) == 3`, `not f(2)` and `f(2)`, else the whole assertion."""
    return sorted({_subject(test) for test in earlier} - {_subject(test) for test in last})


def _subject(test: str) -> str:
    node: ast.expr = syntax.parse(test, "eval").body
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node = node.operand
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.Is)):
        node = node.left
    return ast.unparse(node)


def refers_back(text: str) -> bool:
    return _REFERS_BACK.search(text) is not None
