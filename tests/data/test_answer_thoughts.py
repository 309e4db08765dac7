"""Thoughts, labels and marks of a model are no part of the program that is read from its answer."""

import pytest

from reflectioncoder.data.answers import read_answer
from tests.data.wrapped_programs import DRAFT, PREFILL, F, assert_same_program, fenced

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
