"""Python is parsed in one place, under a lock; a literal is read as `ast.literal_eval` reads it."""

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import reflectioncoder
from reflectioncoder import syntax

SOURCES = Path(reflectioncoder.__file__).parent
PARSED_IN_A_PROCESS_OF_ITS_OWN = (
    "sandbox/runtime/",
    "builder/crafted/_runner.py",
    "contamination/probe.py",
    "syntax.py",
    "evaluate/judges/bigcodebench/runner.py",
)


def test_python_is_parsed_under_the_lock_alone():
    """CPython 3.11 can end a parse with a SystemError while another thread parses (`reflectioncoder.syntax`)."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        place = path.relative_to(SOURCES).as_posix()
        if place.startswith(PARSED_IN_A_PROCESS_OF_ITS_OWN):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in (
                "ast.parse",
                "ast.literal_eval",
                "symtable.symtable",
                "literal_eval",
                "compile",
            ):
                found.append(f"{place}:{node.lineno}: {called}")
    assert not found


@pytest.mark.parametrize("text", ["1", " [1, 2]", "\t{'a': (1.5, None)}", "-3", "b'x'", "set()"])
def test_a_literal_is_read_as_the_standard_library_reads_it(text):
    assert syntax.literal(text) == ast.literal_eval(text) == syntax.literal(ast.parse(text.strip(), mode="eval"))


@pytest.mark.parametrize("text", ["f(1)", "1 +", "", "[1, x]"])
def test_what_is_no_literal_raises_what_the_standard_library_raises(text):
    with pytest.raises((ValueError, SyntaxError)) as theirs:
        ast.literal_eval(text)
    with pytest.raises(type(theirs.value)):
        syntax.literal(text)


def test_threads_read_deep_literals_at_the_same_time():
    deep = "[" * 60 + "]" * 60
    with ThreadPoolExecutor(8) as threads:
        assert len(set(map(str, threads.map(syntax.literal, [deep] * 400)))) == 1


@pytest.mark.parametrize("text", ["x", "1 +", "[" * 300 + "]" * 300, "9" * 5000, "{[]: 1}", "\0", "f(1)", ""])
def test_what_is_no_literal_gives_the_default(text):
    assert syntax.literal_or(text, "default") == "default"
    assert not syntax.is_literal(text)


@pytest.mark.parametrize(("text", "value"), [("None", None), ("[1, 'a']", [1, "a"]), ("  -2.5", -2.5), ("{'a': (1,)}", {"a": (1,)})])
def test_a_literal_gives_its_value(text, value):
    assert syntax.literal_or(text, "default") == value
    assert syntax.is_literal(text)
