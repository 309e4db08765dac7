"""The reader of answers: shapes that models write, each with the program that must come out."""

import ast

import pytest

from reflectioncoder.data.answers import read_answer
from reflectioncoder.languages import CODE_LANGUAGES
from tests.data.wrapped_programs import DRAFT, HELPER, PREFILL, F, assert_same_program, fenced, indented, quoted

TAB = "\t"


ONE_BLOCK = {  # answers whose program is F, and the reason
    "a fence": (fenced(), "fenced"),
    "words around it": (f"Here you are.\n\n{fenced()}\nIt doubles x.", "fenced"),
    "windows line ends": (f"Sure:\n\n{fenced()}Done.\n".replace("\n", "\r\n"), "fenced"),
    "old mac line ends": (fenced().replace("\n", "\r"), "fenced"),
    "a byte order mark": (f"\ufeff{fenced()}", "fenced"),
    "a byte order mark in the block": (f"```python\n\ufeff{F}```", "fenced"),
    "tildes": (fenced(fence="~~~"), "fenced"),
    "long tildes": (fenced(fence="~~~~~~"), "fenced"),
    "four backticks": (fenced(fence="````"), "fenced"),
    "a closing fence that is longer": (f"```python\n{F}``````\n", "fenced"),
    "a closing fence with blanks behind": (f"```python\n{F}```   \nmore", "fenced"),
    "no language": (fenced(info=""), "fenced"),
    "a blank before the language": (fenced(info=" python"), "fenced"),
    "a capital": (fenced(info="Python"), "fenced"),
    "py": (fenced(info="py"), "fenced"),
    "python3": (fenced(info="python3"), "fenced"),
    "python3.11": (fenced(info="python3.11"), "fenced"),
    "python 3": (fenced(info="python 3"), "fenced"),
    "ipython3": (fenced(info="ipython3"), "fenced"),
    "braces": (fenced(info="{python}"), "fenced"),
    "pandoc": (fenced(info="{.python .numberLines startFrom=1}"), "fenced"),
    "myst": (fenced(info="{code-cell} python"), "fenced"),
    "a title": (fenced(info='python title="a.py" linenums="1"'), "fenced"),
    "a file's name": (fenced(info="solution.py"), "fenced"),
    "a file's name behind the language": (fenced(info="python:src/solution.py"), "fenced"),
    "rust's commas": (fenced(info="python,ignore"), "fenced"),
    "tool_code": (fenced(info="tool_code"), "fenced"),
    "text": (fenced(info="text"), "fenced"),
    "a label of another language": (fenced(info="ruby"), "fenced"),
    "in a list item": (f"1. The program:\n\n{indented(fenced())}\n2. It is linear.\n", "fenced"),
    "in a bullet right below its words": (f"- So:\n{indented(fenced(), '  ')}- That is all.\n", "fenced"),
    "in a list in a list": (f"- a\n  - b\n\n{indented(fenced(), '    ')}", "fenced"),
    "in a block quote": (quoted(f"As asked:\n\n{fenced()}"), "fenced"),
    "in a list in a block quote": (quoted(f"* So:\n\n{indented(fenced(), '  ')}"), "fenced"),
    "a fence indented by two": (indented(fenced(), "  "), "fenced"),
    "a fence indented by four": (f"So:\n\n{indented(fenced(), '    ')}", "fenced"),
    "a fence indented by a tab": (f"So:\n\n{indented(fenced(), TAB)}", "fenced"),
    "code indented within its fence": (f"```python\n{indented(F, '    ')}```\n", "fenced"),
    "a list item whose code is not indented": (f"1. So:\n   ```python\n{F}   ```\n", "fenced"),
    "a fence behind words on a line": (f"The program: ```python\n{F}```\n", "fenced"),
    "a closing fence behind the code": (f"So:\n```python\n{F.rstrip()}```\nDone.", "fenced"),
    "below an html tag": (f"<answer>\n{fenced()}</answer>", "fenced"),
    "folded html": (f"<details><summary>Program</summary>\n{fenced()}</details>", "fenced"),
    "below a heading": (f"## Program\n{fenced()}## Notes\n", "fenced"),
    "below a table": (f"| a | b |\n|---|---|\n| 1 | 2 |\n{fenced()}", "fenced"),
    "a mark of the tokenizer behind it": (f"```python\n{F}```<|im_end|>", "fenced"),
    "never closed": (f"```python\n{F}", "open_fence"),
    "closed by other marks": (f"```python\n{F}~~~", "open_fence"),
    "never closed, with words behind": (f"```python\n{F}\nThis doubles x.\n", "open_fence"),
    "nothing but the program": (F, "bare"),
    "a program with a docstring above": (f'"""Doubling."""\n\n{F}', "bare"),
    "words above, no fence": (f"Here is the function:\n\n{F}", "bare"),
    "words around, no fence": (f"Sure!\n\n{F}\nThis doubles x, as you've asked.\n", "bare"),
    "words below, no fence": (f"{F}\n\nIt's simple.", "bare"),
    "a word that parses above": (f"Solution\n\n{F}", "bare"),
    "tags of Code Llama": (f"[PYTHON]\n{F}[/PYTHON]", "bare"),
    "an answer in tags": (f"<answer>\n{F}</answer>", "bare"),
    "an indented block": (f"So:\n\n{indented(F, '    ')}\nDone.", "bare"),
    "a program below a shell block": (f"{fenced('pip install x', 'bash')}\n{F}", "bare"),
    "notebook commands": (f"```python\n!pip install numpy\n%matplotlib inline\n{F}```", "fenced"),
    "html": (f'<pre><code class="language-python">{F}</code></pre>', "bare"),
    "markdown in markdown": (f"````markdown\nSo:\n\n{fenced()}````\n", "fenced"),
    "markdown in markdown with fences of one length": (f"```markdown\nSo:\n\n{fenced()}```\n", "open_fence"),
    "a zero-width space": (fenced("\u200b" + F), "fenced"),
    "no-break spaces": (fenced(F.replace("    ", "\u00a0" * 4)), "fenced"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_BLOCK)
def test_one_program_in_the_wrappings_that_models_use(name):
    text, reason = ONE_BLOCK[name]
    read = read_answer(text, "f")
    assert_same_program(read.solution, F if '"""Doubling' not in text else text)
    assert read.reason == reason


USES_HELPER = "def f(x):\n    return twice(x)\n"
TRIES = "try:\n    from no import f\nexcept ImportError:\n    f = abs\n"
OVERLOADS = f"from typing import overload\n@overload\ndef f(x: int): ...\n{F}"
SOLVE = "def _solve(x):\n    return 2 * x\n\nf = _solve\n"
USES_MATH = "def f(x):\n    return math.floor(x)"
STUBS = {
    "pass": 'def f(x):\n    """Double x."""\n    pass\n',
    "docstring": 'def f(x):\n    """Double x."""\n',
    "dots": "def f(x): ...\n",
    "not implemented": "def f(x):\n    raise NotImplementedError('later')\n",
    "to do": "def f(x):\n    # TODO: write it\n    return None\n",
    "your code": "def f(x):\n    # your code here\n    pass\n",
    "none": "f = None\n",
    "empty class": "class f:\n    def run(self): ...\n",
}  # fmt: skip

BLOCKS = {  # Python blocks, or (info string, content), with words between them; and the program that must come out
    "first try, corrected version": ([DRAFT, F], F),
    "the program, then its use": ([F, "print(f(2))"], F),
    "the program, then its use by import": ([F, "from solution import f\nprint(f(2))"], F),
    "the program, then its use in a variable": ([F, "result = f(2)\nprint(result)"], F),
    "the program, then a wrapper around it": ([F, "f = memoize(f)"], F),
    "the program, then tests": ([F, "def test_f():\n    assert f(1) == 2"], F),
    "the program, then a class of tests": ([F, "import unittest\nclass TestF(unittest.TestCase):\n    def test(self): f(1)"], F),
    "a class with a method of the name": ([F, "class A:\n    def f(self, x):\n        return 0"], F),
    "a function inside of another": ([F, "def g():\n    def f(x):\n        return 0\n    return f"], F),
    "an assigned name": ([SOLVE], SOLVE),
    "a lambda": ([DRAFT, "f = lambda x: 2 * x"], "f = lambda x: 2 * x"),
    "an annotated assignment": ([DRAFT, "f: object = lambda x: 2 * x"], "f: object = lambda x: 2 * x"),
    "an import under the name": ([DRAFT, "from operator import index as f"], "from operator import index as f"),
    "a class of the name": ([DRAFT, "class f(int):\n    x = 1"], "class f(int):\n    x = 1"),
    "an async function": ([DRAFT, "async def f(x):\n    return 2 * x"], "async def f(x):\n    return 2 * x"),
    "under try": ([DRAFT, TRIES], TRIES),
    "under if": ([DRAFT, "if True:\n    def f(x): return 2 * x"], "if True:\n    def f(x): return 2 * x"),
    "only under the main guard": ([F, "if __name__ == '__main__':\n    f = print"], F),
    "overloads": ([OVERLOADS], OVERLOADS),
    "imports in a block of their own": (["import math", USES_MATH], f"import math\n{USES_MATH}"),
    "imports that are not needed": (["import math", F], F),
    "a star import": (["from math import *", "def f(x):\n    return floor(x)"], "from math import *\ndef f(x):\n    return floor(x)"),
    "a helper in a block of its own": ([HELPER, USES_HELPER], HELPER + USES_HELPER),
    "a helper below": ([USES_HELPER, HELPER], HELPER + USES_HELPER),
    "a helper with its tests": ([f"{HELPER}assert twice(1) == 2\nprint(twice(2))", USES_HELPER], HELPER + USES_HELPER),
    "a helper in a draft": ([HELPER + DRAFT, USES_HELPER], HELPER + USES_HELPER),
    "two helpers, the corrected one": (["def twice(x): return x", HELPER, USES_HELPER], HELPER + USES_HELPER),
    "a helper that needs an import": (
        ["import math", "def twice(x): return math.prod((2, x))", USES_HELPER],
        f"import math\ndef twice(x): return math.prod((2, x))\n{USES_HELPER}",
    ),
    "a helper behind a future import": (
        [HELPER, f"from __future__ import annotations\n{USES_HELPER}"],
        f"from __future__ import annotations\n{HELPER}{USES_HELPER}",
    ),
    "a future import in a block of its own": (["from __future__ import annotations\nimport math", USES_MATH],
        "from __future__ import annotations\nimport math\ndef f(x):\n    return math.floor(x)"),
    "imports without a label": ([("", "import math"), ("", USES_MATH)], f"import math\n{USES_MATH}"),
    "a future import alone": (["from __future__ import annotations", F], f"from __future__ import annotations\n{F}"),
    "a constant": (["TWO = 2", "def f(x):\n    return TWO * x"], "TWO = 2\ndef f(x):\n    return TWO * x"),
    "a setting": (["import sys\nsys.setrecursionlimit(9999)", "def f(x):\n    return sys.maxsize"],
        "import sys\nsys.setrecursionlimit(9999)\ndef f(x):\n    return sys.maxsize"),
    "a local name that a draft has too": (["total = 1\n" + DRAFT, "def f(x):\n    total = 2 * x\n    return total"],
        "def f(x):\n    total = 2 * x\n    return total"),
    "a shell block": ([("bash", "pip install numpy"), F, ("sh", "python a.py")], F),
    "a shell block without a label": ([("", "pip install numpy"), F], F),
    "a shell command that says python": ([F, "pip install numpy"], F),
    "an output": ([F, ("output", "f = 4")], F),
    "an output without a label": ([F, ("", "[1, 2]")], F),
    "a transcript": ([F, ("", ">>> f(2)\n4")], F),
    "a transcript that says python": ([F, ">>> f(2)\n4"], F),
    "a transcript that defines it": ([F, ("pycon", ">>> def f(x): return 0")], F),
    "a difference": ([F, ("diff", "-def f(x): return 0")], F),
    "another language too": ([F, ("js", "function f(x) { return 2 * x }")], F),
    "a last version that is no Python": ([F, "def f(x) return 2x"], F),
    **{f"a stub behind it: {name}": ([F, stub], F) for name, stub in STUBS.items()},
    **{f"the task repeated as a stub: {name}": ([stub, F], F) for name, stub in STUBS.items()},
}  # fmt: skip

TEXTS = {  # answers whose program is F
    "a draft in a thought": f"<think>Perhaps\n{fenced(DRAFT)}no.</think>\n\n{fenced()}",
    "a draft in a thought that nobody opened": f"Perhaps\n{fenced(DRAFT)}no.\n</think>\n{fenced()}",
    "a draft in a thought whose fence is open": f"<think>\n```python\n{DRAFT}\nno</think>\n{fenced()}",
    "a thought, then no fence": f"<think>\n{fenced(DRAFT)}</think>\n{F}",
    "two thoughts": f"<think>a</think>{fenced(DRAFT)}<think>wrong</think>\n{fenced()}",
    "a fence right behind a thought": f"<think>a</think>{fenced()}",
    "a last version that is cut off": f"{fenced()}Shorter:\n```python\ndef f(x):\n    return (2 *",
    "a version that tildes hold": f"{fenced(DRAFT)}{fenced(fence='~~~')}",
    "a thought that is named": f"I <think> about it first:\n{fenced()}",
    "versions in list items": f"1. First\n\n{indented(fenced(DRAFT))}\n2. Then\n\n{indented(fenced())}",
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_of_several_blocks_the_right_one(name):
    blocks, expected = BLOCKS[name]
    pairs = [block if isinstance(block, tuple) else ("python", block) for block in blocks]
    text = "\nThen:\n\n".join(fenced(code, info) for info, code in pairs)
    for wrapped in (text, text.replace("\n", "\r\n"), f"<think>\n{fenced(DRAFT)}\n</think>\n{text}", quoted(text)):
        read = read_answer(wrapped, "f")
        assert_same_program(read.solution, expected)
        assert read.reason == "fenced"


@pytest.mark.parametrize("name", TEXTS)
def test_drafts_are_not_the_program(name):
    assert_same_program(read_answer(TEXTS[name], "f").solution, F)


DOCSTRINGS = {
    "indented": 'def f(x):\n    """Double.\n\n    ```python\n    f(1)\n    ```\n    """\n    return 2 * x\n',
    "at the margin": 'def f(x):\n    """Double.\n\n```\nf(1)\n```\n"""\n    return 2 * x\n',
    "at the margin, with a language": 'def f(x):\n    """It.\n```python\nf(1)\n```\nand\n```output\n2\n```\n"""\n    return 2 * x\n',
    "indented by two": 'def f(x):\n  """Double.\n  ```\n  f(1)\n  ```\n  """\n  return 2 * x\n',
    "in a string": 'def f(x):\n    fence = """\n```\n"""\n    return 2 * x\n',
    "tildes": 'def f(x):\n    """Double.\n\n~~~\nf(1)\n~~~\n"""\n    return 2 * x\n',
    "in a module's docstring": '"""Doubling.\n\n```python\nf(1)\n```\n"""\n\n\ndef f(x):\n    return 2 * x\n',
}  # fmt: skip


@pytest.mark.parametrize("name", DOCSTRINGS)
@pytest.mark.parametrize(
    "wrap",
    [
        fenced,
        lambda code: fenced(code, fence="~~~"),
        lambda code: f"Sure.\n\n{fenced(code, '')}\nUse it:\n\n```python\nprint(f(1))\n```\n",
        lambda code: f"1. So:\n\n{indented(fenced(code))}\n2. Done.",
        lambda code: quoted(fenced(code)),
        lambda code: fenced(code).removesuffix("```\n"),
        lambda code: f"{fenced(DRAFT)}Better:\n{fenced(code)}",
    ],
    ids=["fence", "tildes", "with usage", "list", "quote", "open", "behind a draft"],
)
def test_a_fence_within_a_program_does_not_end_it(name, wrap):
    read = read_answer(wrap(DOCSTRINGS[name]), "f")
    tree = ast.parse(read.solution)
    namespace = {}
    exec(compile(tree, "f", "exec"), namespace)
    assert namespace["f"](4) == 8


@pytest.mark.parametrize(
    "answer",
    [
        f"{F}```",
        F,
        f"{F}```\nIt works like this:\n```python\nf(1)\n```",
        f"```python\n{F}```",
        f"\n\n```python\n{F}```",
        f"   \n```py\n{F}```\n",
        f"Here is the program:\n\n```python\n{F}```\nDone.",
        f"# Program\n```python\n{F}```",
        f"```\n\n```python\n{F}```",
        f"~~~python\n{F}~~~",
        f"First this:\n```python\n{DRAFT}```\nthen\n```python\n{F}```\n",
        f"<think>\n{fenced(DRAFT)}</think>\n{fenced()}",
        f"Sure!\n\n```python\n{F}",
        f"helper = 1\n```\nand\n```python\n{F}```",
        f"\r\n```python\r\n{F}```".replace("\n", "\r\n"),
    ],
)
def test_an_answer_that_was_begun_with_a_fence(answer):
    read = read_answer(answer, "f", prefill=PREFILL)
    assert_same_program(read.solution, F)
    assert read.reason in ("fenced", "open_fence")


def test_a_reopened_fence_that_is_cut_off_is_not_part_of_the_program():
    read = read_answer("Sure.\n```python\ndef f(x):\n    return (", "f", prefill=PREFILL)
    assert (read.solution, read.reason) == ("def f(x):\n    return (\n", "invalid")


def test_the_words_before_the_program_are_kept_and_other_blocks_are_not():
    text = f"<think>hm</think>\nInstall it:\n{fenced('pip install x', 'bash')}The slip was the sign.\n\n{fenced()}The end."
    assert read_answer(text, "f").prose == "Install it:\nThe slip was the sign."


JS, CPP = CODE_LANGUAGES["js"], CODE_LANGUAGES["cpp"]


@pytest.mark.parametrize(
    ("text", "language", "code"),
    [
        ("```javascript\nconst f = 1;\n```", JS, "const f = 1;\n"),
        ("~~~js\nconst f = 1;\n~~~", JS, "const f = 1;\n"),
        ("```bash\nnode a.js\n```\n\n``` JavaScript title='a.js'\nconst f = 1;\n```\n```output\n1\n```", JS, "const f = 1;\n"),
        ("1. So:\n\n   ```js\n   const f = 1;\n   ```\n", JS, "const f = 1;\n"),
        ("<think>```js\nlet f = 0;\n```</think>```js\nconst f = 1;\n```", JS, "const f = 1;\n"),
        ("```js\n/*\n    ```\n    f\n    ```\n*/\nconst f = 1;\n```", JS, "/*\n    ```\n    f\n    ```\n*/\nconst f = 1;\n"),
        ("```js\n/*\n  ```\n  f\n  ```\n*/\nconst f = 1;\n```", JS, "/*\n  ```\n  f\n  ```\n*/\nconst f = 1;\n"),
        ("```C++\nint f() { return 1; }\n```", CPP, "int f() { return 1; }\n"),
        ("```\nint f() { return 1; }", CPP, "int f() { return 1; }\n"),
        ("```js\nlet f;\n```", CPP, ""),
        ("```cpp\nstd::vector<Thought> f();\n```", CPP, "std::vector<Thought> f();\n"),
        ("no code", JS, ""),
        ("", JS, ""),
    ],
)
def test_fences_of_other_languages(text, language, code):
    assert read_answer(text, language=language).solution == code


def test_of_several_blocks_in_another_language_the_last_that_defines_the_name():
    text = "```js\nlet f = 0;\n```\n```js\nlet f = 1;\n```\n```js\nf();\n```"
    assert read_answer(text, "f", language=JS, defines=lambda code, name: f"let {name}" in code).solution == "let f = 1;\n"


def test_a_repetition_that_the_limit_has_cut_off_does_not_beat_a_block_that_ends():
    text = f"{fenced()}\nOnce more:\n\n```python\ndef f(x):\n    return"
    assert read_answer(text, "f", truncated=True).solution == F
    assert read_answer(text, "f").solution != F
