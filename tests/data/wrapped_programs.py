"""Programs, and the wrappings in which models give them."""

import ast
import textwrap

F = "def f(x):\n    return 2 * x\n"
DRAFT = "def f(x):\n    return x + x + 1\n"


def fenced(code=F, info="python", fence="```"):
    return f"{fence}{info}\n{code.rstrip()}\n{fence}\n"


def indented(text, by="   "):
    return textwrap.indent(text, by)


def quoted(text):
    return textwrap.indent(text, "> ", lambda _: True)


def assert_same_program(code, expected):
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(expected)), code


HELPER = "def twice(x):\n    return 2 * x\n"


PREFILL = "```python\n"
