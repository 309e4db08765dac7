"""What makes a dialogue a reflection sample; each reason has a name, and what is turned away is kept with it."""

from __future__ import annotations

import ast
import re

from reflectioncoder.data.render import ADDED_TOKENS

REASONS = {
    "no_code": "the model wrote no code block",
    "answer_cut_off": "an answer reached endpoint.max_tokens",
    "unresolved": "no attempt passed within max_executions",
    "session_lost": "an attempt took the interpreter down",
    "first_try": "the first attempt passed: nothing was reflected on",
    "no_assertion": "an attempt that passed, or the last before it, ran no assertion",
    "assertions_weakened": "what an earlier attempt asserted something of, the last does not (another expected value is a correction)",
    "output_too_long": "the interpreter printed too much",
    "answer_without_program": "the final answer is not one program in one code block",
    "answer_has_tests": "the final answer brings tests or usage",
    "answer_refers_back": "the final answer speaks of earlier attempts",
    "answer_fails_own_tests": "the final program fails the tests of the dialogue",
    "answer_fails_tests": "the final program fails the problem's own tests",
    "not_deterministic": "the final program passes its tests on one run and not on another",
    "outside_world": "a program reads input or files, or uses the network",
    "special_tokens": "a text spells a special token",
    "vacuous_tests": "the dialogue's tests do not notice slips in the final program",
    "duplicate": "the same attempts occurred before",
    "contaminated": "the problem or the final program is a benchmark task: by its id, or by 10 words in a row",
}

_FENCE = re.compile(r"```[ \t]*([\w+-]*)[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_REFERS_BACK = re.compile(
    r"\b(corrected|fixed|previous|earlier|updated|revised|improved|original) "
    r"(version|code|program|solution|attempt|implementation|function)\b"
    r"|#\s*(fix|fixed|corrected|correction|bug)\b",
    re.IGNORECASE,
)
_OUTSIDE = frozenset(("socket", "urllib", "http", "requests", "httpx", "ftplib", "smtplib", "subprocess", "ctypes", "multiprocessing"))
_OUTSIDE_CALLS = frozenset(("input", "open", "exec", "eval", "breakpoint"))


def first_code_block(text: str) -> tuple[str, str] | None:
    """(what stands before it, its content); a block that is still open counts. None if there is none."""
    for match in _FENCE.finditer(text):
        if match[1].lower() in ("", "python", "py", "python3") and match[2].strip():
            return text[: match.start()].strip(), match[2].strip("\n")
    return None


def parse(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def assertions(code: str) -> list[str]:
    """The assertions that stand outside of functions, as normalized text: spacing and quotes do not count, messages neither."""
    tree = parse(code)
    if tree is None:
        return []
    return [ast.unparse(node.test) for node in _outside_of_functions(tree) if isinstance(node, ast.Assert)]


def _outside_of_functions(tree: ast.Module) -> list[ast.AST]:
    """Also in functions that a test program calls: any whose name begins with "test" or that is called `check` or `main`."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not re.match(r"_?test|check$|main$|run_", node.name):
            continue
        found.append(node)
        waiting = [*ast.iter_child_nodes(node), *waiting]
    return found


def without_tests(code: str) -> str:
    """The program without what stands at module level and is neither definition, import nor assignment."""
    tree = parse(code)
    if tree is None:
        return code
    kept = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    lines = code.split("\n")
    parts = []
    for node in tree.body:
        is_test = isinstance(node, ast.FunctionDef) and re.match(r"_?test|check$|main$|run_", node.name)
        if isinstance(node, kept) and not is_test:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            parts.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n".join(parts) + "\n"


def uses_outside_world(code: str) -> bool:
    tree = parse(code)
    if tree is None:
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] in _OUTSIDE for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _OUTSIDE:
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OUTSIDE_CALLS:
            return True
    return False


def spells_special_token(*texts: str) -> bool:
    return any(token in text for text in texts for token in (*ADDED_TOKENS, "<|im_start|>", "<|im_end|>", "<|endoftext|>"))


def no_longer_asserted(earlier: list[str], last: list[str]) -> list[str]:
    """What was asserted of before and is not now: `f(2)` of `f(2) == 3`, `not f(2)` and `f(2)`, else the whole assertion."""
    return sorted({_subject(test) for test in earlier} - {_subject(test) for test in last})


def _subject(test: str) -> str:
    node = ast.parse(test, mode="eval").body
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node = node.operand
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.Is)):
        node = node.left
    return ast.unparse(node)


def refers_back(text: str) -> bool:
    return _REFERS_BACK.search(text) is not None
