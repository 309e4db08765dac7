"""The reader of answers: shapes that models write, each with the program that must come out."""

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectioncoder.data import markdown
from reflectioncoder.data.answer_reasons import REASONS, WITHOUT_PROGRAM, count_answers
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.python_source import with_preamble
from reflectioncoder.languages import CODE_LANGUAGES
from tests.tiers import examples

F = "def f(x):\n    return 2 * x\n"
TAB = "\t"
DRAFT = "def f(x):\n    return x + x + 1\n"


def fenced(code=F, info="python", fence="```"):
    return f"{fence}{info}\n{code.rstrip()}\n{fence}\n"


def indented(text, by="   "):
    return textwrap.indent(text, by)


def quoted(text):
    return textwrap.indent(text, "> ", lambda _: True)


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


def assert_same_program(code, expected):
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(expected)), code


HELPER = "def twice(x):\n    return 2 * x\n"
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


PREFILL = "```python\n"


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


THOUGHTS = [
    ("<think>", "</think>"),
    ("<think>", "</think>\n\n"),
    ("<thinking>", "</thinking>"),
    ("<thinking effort='high'>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<Think>", "</Think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>commentary<|message|>x<|end|><|channel|>final <|message|>"),
    ("analysisWe need a function. ", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_nothing_before_the_end_of_a_thought_counts(opening, closing):
    thought = f"{opening}Try\n{fenced(DRAFT)}or is\n```python\n{DRAFT}\nno."
    assert_same_program(read_answer(f"{thought}\n{closing}{fenced()}", "f").solution, F)
    assert_same_program(read_answer(f"{thought}{closing}\n{F}", "f").solution, F)
    assert read_answer(f"{thought}{closing}I cannot do it.", "f").solution == ""
    assert_same_program(read_answer(f"{thought}{closing}\n{fenced()}", "f", prefill=PREFILL).solution, F)


@pytest.mark.parametrize(("opening", "closing"), [pair for pair in THOUGHTS if not pair[0].startswith("analysis")])
def test_a_thought_that_is_cut_off_holds_no_program(opening, closing):
    read = read_answer(f"{opening}Try\n{fenced()}and then", "f")
    assert (read.solution, read.reason) == ("", "unfinished_thought")


@pytest.mark.parametrize(
    "program",
    [
        "def f(s):\n    return s.split('</think>')[-1]\n",
        'import re\n\n\ndef f(s):\n    return re.sub(r"<think>.*?</think>", "", s)\n',
        'def f(s):\n    """Drop the <think> tags.\n\n    f("<think>a</think>b")\n    """\n    return s\n',
        "def f(s):\n    # drop <think> and </think>\n    return s\n",
        "def f(s):\n    return '<|channel|>final<|message|>' in s\n",
    ],
)
def test_marks_in_a_program_are_no_thoughts(program):
    for text in (
        program,
        fenced(program),
        f"<think>\n{fenced(DRAFT)}</think>\n{fenced(program)}",
        f"{fenced(program)}It looks for `</think>`.",
    ):
        assert_same_program(read_answer(text, "f").solution, program)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t\r\n", "empty"),
        ("\ufeff", "empty"),
        ("I cannot help with that.", "no_code"),
        ("Sorry", "no_code"),
        ("```python\n```", "no_code"),
        ("```\n\n```", "no_code"),
        ("```bash\npip install f\n```", "no_code"),
        ("<think>hm", "unfinished_thought"),
        ("<think>hm</think>", "no_code"),
        (fenced("def g(x):\n    return x\n"), "other_name"),
        (fenced("class A:\n    def f(self):\n        return 1\n"), "other_name"),
        (fenced("print('```')\n"), "other_name"),
        (fenced("def f(x):\n    pass\n"), "stub"),
        (fenced("def f(x):\n    return (\n"), "invalid"),
        (fenced("no Python at all"), "invalid"),
        ("def f(x):\n    return (\n", "invalid"),
    ],
)
def test_why_there_is_no_program_or_not_the_right_one(text, reason):
    read = read_answer(text, "f")
    assert read.reason == reason
    assert read.has_program == (reason in ("other_name", "stub", "invalid"))


def test_without_a_name_any_function_will_do_but_tests_will_not():
    test = "def test_twice():\n    assert twice(1) == 2"
    text = f"{fenced(HELPER)}{fenced(test)}"
    assert read_answer(text).solution == HELPER
    assert read_answer("no code").reason == "no_code"


def test_without_a_name_a_block_of_words_is_no_program():
    assert read_answer(f"{fenced('the plan', '')}{fenced(HELPER, '')}").solution == HELPER
    assert read_answer(fenced("the plan", "")).reason == "no_code"


def test_the_words_before_the_program_are_kept_and_other_blocks_are_not():
    text = f"<think>hm</think>\nInstall it:\n{fenced('pip install x', 'bash')}The slip was the sign.\n\n{fenced()}The end."
    assert read_answer(text, "f").prose == "Install it:\nThe slip was the sign."


PREAMBLE = "from typing import List\nimport math\n\n\ndef helper(x):\n    return x"


@pytest.mark.parametrize(
    ("program", "preamble", "expected"),
    [
        (F, PREAMBLE, f"{PREAMBLE}\n\n\n{F}"),
        (f"from __future__ import annotations\n\n{F}", PREAMBLE, f"from __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}"),
        (f'"""Doc."""\nfrom __future__ import annotations\n{F}', PREAMBLE,
         f'"""Doc."""\nfrom __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}'),
        (f"#!/usr/bin/env python\n# coding: utf-8\n{F}", PREAMBLE, f"#!/usr/bin/env python\n# coding: utf-8\n\n\n{PREAMBLE}\n\n\n{F}"),
        (f"# A title.\n\n{F}", PREAMBLE, f"# A title.\n\n\n{PREAMBLE}\n\n\n{F}"),
        (F, f"from __future__ import annotations\n{PREAMBLE}", f"from __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}"),
        (
            f"from __future__ import division\n{F}", f"from __future__ import annotations\n{PREAMBLE}",
            f"from __future__ import division\nfrom __future__ import annotations\n\n\n{PREAMBLE}\n\n\n{F}",
        ),
        (f"from __future__ import annotations; import re\n{F}", PREAMBLE,
         f"from __future__ import annotations\n\n\n{PREAMBLE}\n\n\nimport re\n{F}"),
        (f'"""Doc."""; X = 1\n{F}', PREAMBLE, f'{PREAMBLE}\n\n\n"""Doc."""; X = 1\n{F}'),
        (
            f"from __future__ import (\n    annotations,\n    division,\n)\n{F}", PREAMBLE,
            f"from __future__ import annotations, division\n\n\n{PREAMBLE}\n\n\n{F}",
        ),
        (F, "", F),
    ],
)  # fmt: skip
def test_the_preamble_stands_behind_what_has_to_be_first(program, preamble, expected):
    assert with_preamble(program, preamble) == expected
    compile(expected, "program", "exec")
    read = read_answer(fenced(program), "f", preamble=preamble)
    assert read.solution == expected


def test_a_program_that_does_not_parse_keeps_its_future_imports_in_front():
    program = with_preamble("from __future__ import annotations\ndef f(x) return", "import math")
    assert program.startswith("from __future__ import annotations\n\n\nimport math\n")


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


def test_counts_name_what_is_missing():
    reasons = [read_answer(text, "f").reason for text in (fenced(), "", "no", "<think>", F)]
    counts = count_answers([*reasons, "refused"])
    assert (counts["num_answers"], counts["num_without_program"], counts["num_refused"], counts["num_empty"]) == (6, 4, 1, 1)
    assert set(counts["reasons"]) <= set(REASONS)


@pytest.mark.parametrize(
    "text",
    ["```python\n" * 3000, "> " * 20_000, "- " * 20_000 + "\n```python\nf", "<think>" * 5000, "</think>" * 5000,
     "(" * 100_000, "`" * 100_000,
     "```python\n" + "(" * 100_000, "def f(\n" * 3000, "def f(x): return 1\nword's\n" * 2000, "\x00", "\ud800```python\n\ud800\n```",
     "```\n'''\n" * 2000, "x = 1\n" * 50_000],
    ids=range(14),
)  # fmt: skip
@pytest.mark.timeout(60)
def test_no_text_takes_the_reader_down(text):
    for prefill in ("", PREFILL):
        assert read_answer(text, "f", prefill=prefill).reason in REASONS


NAMES = st.from_regex(r"[a-z]{1,3}", fullmatch=True).filter(
    lambda name: name.isidentifier() and name not in ("f", "if", "in", "is", "or", "as")
)
BODIES = st.lists(
    st.one_of(
        st.builds("    {} = {}\n".format, NAMES.map("v_{}".format), st.integers(0, 99)),
        st.builds("    # {}\n".format, st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)),
        st.builds("    v_s = {!r}\n".format, st.text(alphabet="`~ab\n'\"<>/think", max_size=20)),
        st.just('    """A note.\n\n    ```python\n    f(1)\n    ```\n    """\n'),
        st.just("    v_t = '''\n```\n~~~~\n'''\n"),
        st.just("\n"),
        st.just("    if x:\n        return [x]\n"),
    ),
    max_size=6,
)
PROGRAMS = st.builds(
    "{}def f(x):\n{}    return x\n".format,
    st.sampled_from(["", "import math\n\n\n", "# Title.\n\n", "from __future__ import annotations\n"]),
    BODIES.map("".join),
)
WRAPPINGS = st.sampled_from(
    [
        lambda code: code,
        fenced,
        lambda code: fenced(code, fence="~~~~"),
        lambda code: fenced(code, "{.python}", "`````"),
        lambda code: f"Words.\n\n{fenced(code, ' Python3.11')}\nMore words.",
        lambda code: f"1. So:\n\n{indented(fenced(code))}\n2. Done.",
        lambda code: quoted(f"So:\n\n{fenced(code)}"),
        lambda code: f"<think>\n{fenced(DRAFT)}\nno</think>\n{fenced(code)}",
        lambda code: f"{fenced(DRAFT)}Better:\n\n{fenced(code)}\nSo:\n{fenced('print(f(1))')}",
        lambda code: fenced(code).removesuffix("```\n"),
        lambda code: fenced(code).replace("\n", "\r\n"),
    ]
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(PROGRAMS, WRAPPINGS)
def test_any_program_comes_out_of_any_wrapping(program, wrap):
    assert_same_program(read_answer(wrap(program), "f").solution, program)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="`~>\n \t-1.def f():x=</think>python\"'#", max_size=120), st.sampled_from(["", PREFILL]))
def test_any_text_is_read(text, prefill):
    read = read_answer(text, "f", prefill=prefill)
    assert read.reason in REASONS
    assert read.has_program == (read.reason not in WITHOUT_PROGRAM)


@pytest.mark.parametrize(
    ("text", "prefill"),
    [
        (f"```\npython\n{F}```\n", ""),
        (f"python\n{F}```\n", "```python\n"),
        (f"{fenced()}\nIn short:\n{fenced('def f(x):' + chr(10) + '    ...' + chr(10) + '    return result')}", ""),
        (f"{F}<|EOT|>", ""),
        (f"{F}```<file_sep>", "```python\n"),
        (f"{F}<|END_OF_TURN_TOKEN|>", ""),
        (f"<|python_tag|>{F}", ""),
        (f"<s> {F}", ""),
        (f"```python\n```python\n{F}```\n```\n", ""),
    ],
)
def test_labels_abridgements_and_marks_of_models_are_no_part_of_the_program(text, prefill):
    assert read_answer(text, "f", prefill=prefill).solution == F


def test_a_repetition_that_the_limit_has_cut_off_does_not_beat_a_block_that_ends():
    text = f"{fenced()}\nOnce more:\n\n```python\ndef f(x):\n    return"
    assert read_answer(text, "f", truncated=True).solution == F
    assert read_answer(text, "f").solution != F


BROKEN = "```python\ndef f(x):\n    return x\n  oops (\n```\nwords\n"


@pytest.mark.parametrize(
    "answer",
    [BROKEN * 1500, BROKEN * 20_000, (BROKEN * 30 + "</think>\n") * 24, ("> " + BROKEN.replace("\n", "\n> ") + "\n") * 1500],
    ids=["broken fences", "more of them", "among ends of thoughts", "in quotes"],
)
def test_the_characters_that_are_read_to_find_a_program_are_bounded(answer, monkeypatch):
    read = []
    parse = markdown._PARSER.parse
    monkeypatch.setattr(markdown._PARSER, "parse", lambda text: read.append(len(text)) or parse(text))
    read_answer(answer, "f")
    assert sum(read) <= 10 * markdown._MAX_REREAD_CHARS + 10 * len(answer)
