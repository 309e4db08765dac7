"""Programs as a model should answer: without docstrings, and without what a docstring leaves."""

import ast
import re

import pytest

from reflectioncoder.data.prompts import without_docstring
from reflectioncoder.evaluate.benchmarks import load_benchmark

PROGRAMS = {
    "blank lines behind it": (
        'def f(x):\n    """Double.\n\n    >>> f(1)\n    2\n    """\n\n\n    return 2 * x\n',
        "def f(x):\n    return 2 * x\n",
    ),
    "a blank line with spaces": ('def f(x):\n    """Double."""\n    \n    return 2 * x\n', "def f(x):\n    return 2 * x\n"),
    "a comment behind it": (
        'def f(x):\n    """Double."""\n\n    # Twice.\n\n    return 2 * x\n',
        "def f(x):\n    # Twice.\n    return 2 * x\n",
    ),
    "blank lines further down": (
        'def f(x):\n    """Double."""\n    y = 2 * x\n\n    return y\n',
        "def f(x):\n    y = 2 * x\n\n    return y\n",
    ),
    "a decorated function behind it": (
        'def f(x):\n    """Double."""\n\n    @cache\n    def g(): return x\n\n    return 2 * g()\n',
        "def f(x):\n    @cache\n    def g(): return x\n\n    return 2 * g()\n",
    ),
    "a decorator with a blank line in it": (
        'def f(x):\n    """Double."""\n\n    @named("""a\n\n    b""")\n    class g: pass\n\n    return g\n',
        'def f(x):\n    @named("""a\n\n    b""")\n    class g: pass\n\n    return g\n',
    ),
    "a coroutine": ('async def f(x):\n    """Double."""\n\n    return 2 * x\n', "async def f(x):\n    return 2 * x\n"),
    "nothing but it": ('def f(x):\n    """Double."""\n', 'def f(x):\n    """Double."""\n'),
    "code on its line": (
        'def f(x):\n    """Double."""; y = 2\n\n    return y * x\n',
        'def f(x):\n    """Double."""; y = 2\n\n    return y * x\n',
    ),
    "everything on one line": ('def f(x): """Double."""; return 2 * x\n', 'def f(x): """Double."""; return 2 * x\n'),
    "no docstring": ("def f(x):\n\n    return 2 * x\n", "def f(x):\n\n    return 2 * x\n"),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_a_docstring_goes_with_the_blank_lines_behind_it(what):
    program, expected = PROGRAMS[what]
    assert without_docstring(program) == expected


class _Docstrings(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        return node


@pytest.mark.parametrize("name", ["humaneval", "mbpp+"])
def test_references_of_benchmarks_keep_their_code_and_have_no_gap_behind_the_signature(name, data_dir):
    for task in load_benchmark(name, str(data_dir)).tasks:
        program = without_docstring(task.canonical_solution)
        assert ast.dump(ast.parse(program)) == ast.dump(_Docstrings().visit(ast.parse(task.canonical_solution)))
        assert not re.search(r"def .*:\n[ \t]*\n", program), task.task_id
