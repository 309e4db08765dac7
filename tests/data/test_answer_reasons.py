"""Where an answer holds no program, or not the right one, the reader says why."""

from typing import Any

import pytest

from reflectioncoder.data.answer_reasons import REASONS, count_answers
from reflectioncoder.data.answers import read_answer
from tests.data.wrapped_programs import HELPER, F, fenced


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


def test_counts_name_what_is_missing():
    reasons: list[Any] = [read_answer(text, "f").reason for text in (fenced(), "", "no", "<think>", F)]
    counts = count_answers([*reasons, "refused"])
    assert (counts["num_answers"], counts["num_without_program"], counts["num_refused"], counts["num_empty"]) == (6, 4, 1, 1)
    assert set(counts["reasons"]) <= set(REASONS)
