"""Programs that go on behind a prompt, in the shapes that models write, and what a prompt has before its function."""

import pytest

from reflectioncoder.data.completions import prompt_preamble, read_continuation

PROMPT = "//Double x.\nfunction twice(x){\n"
BODY = "  return 2 * x;\n}"
WHOLE = f"{PROMPT}{BODY}"
STOPS = ("\nfunction ", "\nconsole.log")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{BODY}\n```\nIt doubles.", "fenced"),
        (f"{BODY}\n```", "fenced"),
        (BODY, "open_fence"),
        (f"{BODY}\nfunction other() {{}}\n```", "fenced"),
        (f"{BODY}\n```\nFor example:\n```javascript\ntwice(1);\n```", "fenced"),
        (f"{BODY}\n```\n".replace("\n", "\r\n"), "fenced"),
        (f"```javascript\n{WHOLE}\n```", "fenced"),
        (f"\n\n```js\n{WHOLE}\n```\nDone.", "fenced"),
        (f"Here is the function:\n\n```javascript\n{WHOLE}\nconsole.log(twice(1));\n```", "fenced"),
        (f"~~~js\n{WHOLE}\n~~~", "fenced"),
        (f"```\n{WHOLE}\n```", "fenced"),
        (f"```javascript\n{WHOLE}", "open_fence"),
        (f"```javascript\n{BODY}\n```", "fenced"),
        (f"<think>```js\nfunction twice(x){{ return 0 }}\n```</think>```javascript\n{WHOLE}\n```", "fenced"),
    ],
)
def test_the_program_is_the_prompt_and_its_continuation_however_the_fence_is_opened(text, reason):
    read = read_continuation(text, PROMPT, "js", STOPS)
    assert (read.solution.strip(), read.reason) == (WHOLE, reason)


def test_imports_above_the_function_are_kept_where_it_is_begun_anew():
    prompt = "#include<cmath>\n//Double x.\nint twice(int x) {\n"
    program = "#include<cmath>\n#include<map>\nint helper();\nint twice(int x) {\n    return 2 * x;\n}"
    read = read_continuation(f"```cpp\n{program}\nint main() {{}}\n```", prompt, "cpp", ("\n}\nint main",))
    assert read.solution == "#include<cmath>\n#include<map>\nint helper();\nint twice(int x) {\n    return 2 * x;"


@pytest.mark.parametrize(("text", "reason"), [("", "empty"), (" \n", "empty"), ("<think>hm", "unfinished_thought")])
def test_nothing_is_no_program(text, reason):
    read = read_continuation(text, PROMPT, "js", STOPS)
    assert (read.solution, read.reason) == ("", reason)


def test_generics_are_no_thoughts():
    read = read_continuation("    List<Thought> a;\n}\n", "class A {\n", "java", ())
    assert read.solution == "class A {\n    List<Thought> a;\n}\n"


def test_the_preamble_is_what_stands_before_the_function():
    assert prompt_preamble("import math\n\n\ndef f(x):\n", "f") == "import math"
    assert prompt_preamble("def f(x):\n", "f") == ""
    assert prompt_preamble("@cache\ndef f(x):\n", "f") == ""
