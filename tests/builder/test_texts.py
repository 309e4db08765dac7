"""What a model's author says: samples without a diagnosis, with inventions or repetitions are turned away, honest ones are not."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from reflectioncoder.builder import texts
from reflectioncoder.builder.diagnoses import DiagnosisCounts
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.prose_language import is_in_another_language
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program, program_of_answer
from reflectioncoder.data.samples import Block, Sample, assistant, parse_sample, user
from tests.builder.server import Script, serving

PROBLEMS = bundled_problems("train")


@pytest.mark.parametrize(
    ("text", "says_something"),
    [
        ("", False),
        ("  \n", False),
        ("Sorry.", False),
        ("I apologize for the confusion. Here is the corrected code:", False),
        ("I'm so sorry about that! Let me fix it.", False),
        ("My apologies for the error in the previous version.", False),
        ("Oops, my bad. Here's the fixed function:", False),
        ("You're absolutely right. Thank you for pointing that out!", False),
        ("Sure! Here is the updated implementation with all the tests:", False),
        ("Corrected code:", False),
        ("Okay.\n\nThe complete corrected program:", False),
        ("I have fixed the issue. Let me try again.", False),
        ("抱歉,代码有误。", False),
        ("The loop stops one element early.", True),
        ("Off by one: range excludes n.", True),
        ("Sorry, the loop stops one element early. Here is the corrected code:", True),
        ("I apologize for the error. `max` fails on an empty list, so the guard comes first.", True),
        ("The test was wrong: 7 is prime.", True),
        ("The slip was easy to see.", True),
        ("AssertionError in line 3: the sign is lost.", True),
        ("循环结束得太早。", True),
        ("There was an error in my code. Let me correct it.", False),
        ("I see the issue now. Let me fix it.", False),
        ("It looks like there was an error.", False),
        ("I made a mistake in the implementation. Here's the updated code:", False),
        ("Sorry about that, the base case was missing.", True),
        ("You're right, zero is even.", True),
        ("Thanks, the slice excludes the end.", True),
        ("Here's the corrected code, which handles negative numbers.", True),
        ("Let me fix it by starting from 1.", True),
    ],
)
def test_a_diagnosis_says_more_than_that_there_was_a_fault(text, says_something):
    assert texts.diagnoses(text) == says_something


PRINTED = 'Traceback (most recent call last):\n  File "<cell 1>", line 4, in <module>\n    assert f(2) == 4\nAssertionError'
SHOWN = "Double a number.\n\nInput: 3\nOutput: 6\n\n>>> f(3)\n6"


@pytest.mark.parametrize(
    ("answer", "invented"),
    [
        ("It prints\n```output\n4\n```\nso\n```python\nx = 1\n```", "4"),
        ("```python\nx = 1\n```\n\n```console\nAll tests passed.\n```", "All tests passed."),
        ("```python\nx = 1\n```\nOutput:\n```\nAll 5 tests passed!\n```", "All 5 tests passed!"),
        ("Output: All tests passed\n```python\nx = 1\n```", "All tests passed"),
        ("**Output:** `[1, 2]`\n```python\nx = 1\n```", "[1, 2]"),
        ("The output is: 5\n```python\nx = 1\n```", "5"),
        ("```\nValueError: no such key\n```\n```python\nx = 1\n```", "ValueError: no such key"),
        ("```output\nIndexError: list index out of range\n```", "IndexError: list index out of range"),
        (f"The interpreter says\n```output\n{PRINTED}\n```\nso the sign is wrong.\n```python\nx = 1\n```", None),
        ("The interpreter prints\n```\nAssertionError\n```\nso it is wrong.\n```python\nx = 1\n```", None),
        ("As in the problem:\nInput: 4\nOutput: 8\n```python\nx = 1\n```", None),
        ("Output: 6\n```python\nx = 1\n```", None),
        ("Expected output: 7, but the function returns 8.\n```python\nx = 1\n```", None),
        ("Output: the doubled number.\n```python\nx = 1\n```", None),
        ("I write the function and its tests.\n```python\nprint('Output: 4')\n# Output: 4\n```", None),
        ("```python\nx = '''\n```output\n4\n```\n'''\n```", None),
        ("```python\nx = 1\n```\n\nOutput:\n```\n4\n```", "4"),
        ("The output of the code is:\n```\nf(2) = 4\n```\n```python\nx = 1\n```", "f(2) = 4"),
        ("```python\nx = 1\n```\n```pycon\n>>> f(2)\n4\n```", ">>> f(2)\n4"),
        ("```python\nx = 1\n```\n```\nRan 2 tests in 0.001s\n\nOK\n```", "Ran 2 tests in 0.001s\n\nOK"),
        ("No program, no output.", None),
    ],
)  # fmt: skip
def test_outputs_that_no_interpreter_printed_are_seen(answer, invented):
    assert texts.invents_output(answer, [PRINTED], SHOWN) == invented


@pytest.mark.parametrize(
    ("remark", "found"),
    [
        ("# unlike my first try, the sign is kept", True),
        ("# Unlike the previous attempt this handles 0", True),
        ("# second attempt: count from one", True),
        ("# this time we start at zero", True),
        ("# my mistake was the sign", True),
        ("# the bug was here", True),
        ("# earlier the loop was\n    # one short", True),
        ("# now correctly handles zero", True),
        ("# as the tests showed, 0 is special", True),
        ("# fixed: off by one", True),
        ("# Corrected version", True),
        ("# no longer crashes on 0", True),
        ("# was: return x", True),
        ('"""Now handles empty lists correctly."""', True),
        ("# last attempt wins", False),
        ("# number of failed attempts", False),
        ("# fix one number and use two pointers", False),
        ("# if we missed the target, go right", False),
        ("text = 'previous version'", False),
        ("# the original list", False),
        ("def previous_prime(n): ...", False),
        ("# we forgot the empty list", True),
        ('"""Double x. Previously it returned x."""', True),
        ("# a fixed size window", False),
        ("# fixed point of the iteration", False),
        ("# the previous value", False),
        ("# the last element comes first", False),
        ("# no longer than k", False),
        ("# initially, the sum is 0", False),
        ("# an error is raised for an empty list", False),
        ("# try the first candidate", False),
        ("previous = x", False),
        ('"""Double x."""', False),
        ("text = 'my first attempt'", False),
    ],
)
def test_programs_that_speak_of_earlier_attempts_are_seen_in_comments_too(remark, found):
    assert texts.refers_back(f"def f(x):\n    {remark}\n    return 2 * x\n") == found


ENGLISH = "Write a function that returns the sum of the even numbers in a list. If there are none, the answer is 0."


@pytest.mark.parametrize(
    ("text", "dialogue", "other"),
    [
        ("循环结束得太早。", ENGLISH, True),
        ("ループの終了が早すぎました。", ENGLISH, True),
        ("반복문이 너무 일찍 끝납니다.", ENGLISH, True),
        ("Цикл заканчивается слишком рано.", ENGLISH, True),
        ("الحلقة تنتهي مبكرا جدا", ENGLISH, True),
        ("Der Fehler war, dass die Bedingung nicht für 0 gilt.", ENGLISH, True),
        ("La condición de la línea 3 no incluye el último elemento.", ENGLISH, True),
        ("La boucle ne traite pas le dernier élément de la liste.", ENGLISH, True),
        ("O laço termina cedo demais, porque a condição não está certa.", ENGLISH, True),
        ("Il ciclo finisce troppo presto perché la condizione è sbagliata.", ENGLISH, True),
        ("The loop ends one step too early.", ENGLISH, False),
        ("Off-by-one: `range(n)` excludes n.", ENGLISH, False),
        ("The text 'el perro es un animal de la casa' was compared as it is.", ENGLISH, False),
        ("```\nприветствие\n```", ENGLISH, False),
        ("de Morgan: not (a or b)", ENGLISH, False),
        ("λ and Σ are summed over α, β and γ in the wrong order.", ENGLISH, False),
        ("", ENGLISH, False),
        ("循环结束得太早。", "写一个函数,返回列表中偶数的和。", False),
        ("The loop ends one step too early.", "写一个函数,返回列表中偶数的和。", False),
        (
            "Die Schleife endet zu früh, weil die Grenze nicht dabei ist.",
            "Schreibe eine Funktion für die Summe der Zahlen.",
            False,
        ),
    ],
)
def test_a_text_in_another_language_is_told_with_caution(text, dialogue, other):
    assert is_in_another_language(text, dialogue) == other


PROGRAM, TESTS = "def f(x):\n    return x\n", "assert f(1) == 2\n"


@pytest.mark.parametrize(
    ("now", "asserted", "again"),
    [
        (PROGRAM + TESTS, ["f(1) == 2"], True),
        (f"# once more\n{PROGRAM}\n\n{TESTS}", ["f(1) == 2"], True),
        (f'def f(x):\n    """Double x."""\n    return (x)\n{TESTS}', ["f(1) == 2"], True),
        (f"{PROGRAM}{TESTS}assert f(0) == 0\n", ["f(1) == 2", "f(0) == 0"], True),
        (f"{PROGRAM}assert f(1) == 1\n", ["f(1) == 1"], False),
        (f"def f(x):\n    return 2 * x\n{TESTS}", ["f(1) == 2"], False),
        (f"def f(x) return x\n{TESTS}", [], False),
    ],
)
def test_the_same_attempt_twice_is_seen_however_it_is_laid_out(now, asserted, again):
    program = now.partition("assert")[0]
    assert texts.repeats(now, PROGRAM + TESTS, asserted, ["f(1) == 2"], (program, PROGRAM)) == again


@dataclass
class Said(Script):
    """A failing attempt, then what `second` makes of the right one, then the final program with `remark`."""

    second: Any = None
    remark: str = ""
    attempts: int = 2
    seen: list = field(default_factory=list)

    def reply(self, payload):
        messages = payload["messages"]
        problem = next(p for p in self.problems if p.prompt.strip() in messages[0]["content"])
        program, tests = answer_program(problem), "\n".join(problem.tests)
        if "All tests pass" in messages[-1]["content"]:
            head, _, body = program.partition(":\n")
            return f"```python\n{head}:\n{self.remark}{body}```" if self.remark else f"```python\n{program}```"
        lines = program.split("\n")
        header = next(line for line in lines if line.startswith("def "))
        failing = f"```python\n{header}\n    return None\n{tests}\n```"
        if len(messages) < 2 * self.attempts - 1:
            return f"The function returned None where a value was expected.\n\n{failing}" if len(messages) > 1 else failing
        return self.second(f"```python\n{program}\n{tests}\n```")


GOOD = "The function returned None where a value was expected."


@pytest.mark.parametrize(
    ("second", "options", "reason"),
    [
        (lambda code: f"{GOOD}\n\n{code}", {}, None),
        (lambda code: f"{code}", {}, "no_diagnosis"),
        (lambda code: f"I apologize for the mistake. Here is the corrected code:\n\n{code}", {}, "no_diagnosis"),
        (lambda code: f"这个函数没有返回正确的值,所以断言失败了。\n\n{code}", {}, "other_language"),
        (lambda code: f"La función no devuelve el valor que se espera en la prueba.\n\n{code}", {}, "other_language"),
        (lambda code: f"{GOOD} It printed\n```output\n42\n```\n{code}", {}, "invented_output"),
        (lambda code: f"{GOOD}\n\n{code}\n\nOutput:\nAll tests passed.", {}, "invented_output"),
        (lambda code: f"<think>It would print\n```output\n42\n```</think>{GOOD}\n\n{code}", {}, None),
        (lambda code: f"{GOOD}\n\n{code}", {"attempts": 3}, "repeated_attempt"),
        (lambda code: f"{GOOD}\n\n{code}", {"remark": "    # unlike my first try, a value is returned\n"}, "answer_refers_back"),
    ],
)  # fmt: skip
def test_what_a_model_says_decides_about_its_sample(second, options, reason, tmp_path):
    problem = next(p for p in PROBLEMS if '"""' not in answer_program(p) and answer_program(p).count("def ") == 1)
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(problem.to_json()) + "\n")
    with serving(Said([problem], second=second, **options)) as url:
        endpoint = EndpointConfig(base_url=url, model="scripted", max_in_flight=2)
        build = BuildConfig(author="openai", problems=(str(path),), min_samples=0, min_killed_mutants=0.0, endpoint=endpoint)
        summary = build_reflections(Recipe("r", ModelConfig("none"), build=build), tmp_path / "build")
    assert summary["rejected"] == ({reason: 1} if reason else {})
    assert summary["num_accepted"] == (0 if reason else 1)
    if reason is None:
        assert summary["diagnoses"]["num_samples"] == 1


@pytest.mark.long
@pytest.mark.parametrize("author", ["mutation", "attempts"])
def test_what_the_offline_authors_write_passes_all_of_these_checks(author, tmp_path):
    attempts = tmp_path / "attempts.jsonl"
    slips = [mutations(answer_program(problem)) for problem in PROBLEMS[:30]]
    rows = [
        {"task_id": problem.task_id, "solution": found[number % len(found)].code}
        for number, (problem, found) in enumerate(zip(PROBLEMS, slips, strict=False))
    ]
    attempts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"attempts": str(attempts), "endpoint": EndpointConfig(model="a-model")} if author == "attempts" else {}
    build = BuildConfig(author=author, min_samples=0, **options)
    summary = build_reflections(
        Recipe("r", ModelConfig("none"), build=build), tmp_path / "build", limit=12 if author == "mutation" else 30
    )
    assert summary["num_accepted"] > 10
    assert not summary["rejected"].keys() & {
        "no_diagnosis",
        "repeated_attempt",
        "invented_output",
        "other_language",
        "answer_refers_back",
    }
    assert summary["diagnoses"]["num_samples"] == summary["num_accepted"]
    for _, row in read_jsonl(tmp_path / "build" / "reflections.jsonl"):
        check_texts(parse_sample(row))


def check_texts(sample):
    asked, printed, explains = sample.messages[0].text, [], False
    for block in sample.messages[1].content:
        if block.type == "execution":
            printed.append(block.content)
            explains = True
        elif block.type == "text":
            assert not explains or texts.diagnoses(block.content), block.content
            assert not is_in_another_language(block.content, asked), block.content
            assert texts.invents_output(block.content, printed, asked) is None, block.content
    assert not texts.refers_back(program_of_answer(sample.messages[-1].text))


def sample_of(*rounds):
    blocks = [Block(kind, text) for kind, text in rounds]
    return Sample(
        (user("Do it."), assistant(*blocks), user("Now."), assistant(Block("text", "```python\nx = 1\n```"))), "reflection", {}
    )


def test_the_measure_says_which_diagnoses_are_about_the_failure():
    code, fixed, error = "total = count + 1", "total = count + 2", "NameError: name 'count' is not defined"
    counts = DiagnosisCounts()
    counts.add(sample_of(("code", code), ("execution", error), ("text", "`count` is not there."), ("code", fixed), ("execution", "ok")))
    counts.add(
        sample_of(
            ("code", code), ("execution", "AssertionError"), ("text", "The total is short."), ("code", fixed), ("execution", "ok")
        )
    )
    counts.add(
        sample_of(("code", code), ("execution", error), ("text", "Something went astray."), ("code", fixed), ("execution", "ok"))
    )
    counts.add(sample_of(("code", code), ("execution", "ok")))
    shares = counts.to_json()
    assert shares["num_samples"] == 3
    assert shares["share_with_words_of_output"] == pytest.approx(1 / 3, abs=1e-3)
    assert shares["share_with_words_of_change"] == pytest.approx(2 / 3, abs=1e-3)
    assert shares["share_with_words_of_either"] == pytest.approx(2 / 3, abs=1e-3)
