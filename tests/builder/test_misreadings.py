"""Misreadings: whole programs of readers who took the task wrongly; each family spelled out, run, and built into samples."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from reflectioncoder.builder import grammar
from reflectioncoder.builder.authors.mutation_samples import candidates, settle
from reflectioncoder.builder.authors.slip_pairs import relation_of
from reflectioncoder.builder.claims import check_blocks, count_claims
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.grammar import say, traced_grammar
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.builder.mutation.diagnosis import Failure, diagnose
from reflectioncoder.builder.mutation.misreadings import FAMILIES, Reading, Repair, misreadings, repair_of
from reflectioncoder.builder.mutation.misreadings.asked import sentence_asked
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.builder.replay import replay
from reflectioncoder.builder.text_measures import lines_changed
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.data.samples import Block, read_samples
from reflectioncoder.sandbox.limits import Limits

# Family, signature, body of the reference, body (or whole program) of the misreading, a test that it fails, tests that it knows.
SPELLED_OUT = [
    (
        "ties",
        "f(words: list[str]) -> str",
        "return max(words, key=len)",
        "best = None\nfor item in words:\n    if best is None or len(item) >= len(best):\n        best = item\nreturn best",
        'assert f(["ab", "cd"]) == "ab"',
    ),
    (
        "ties",
        "f(words: list[str]) -> list[str]",
        "return sorted(words, key=len, reverse=True)",
        "ordered = sorted(words, key=len)\nordered.reverse()\nreturn ordered",
        'assert f(["a", "b"]) == ["a", "b"]',
    ),
    (
        "wrong_occurrence",
        "f(words: list[str]) -> int",
        "for i in range(len(words)):\n    if not words[i]:\n        return i\nreturn -1",
        "found = -1\nfor i in range(len(words)):\n    if not words[i]:\n        found = i\nreturn found",
        'assert f(["", "x", ""]) == 0',
    ),
    (
        "wrong_sort_key",
        "f(words: list[str]) -> list[str]",
        "return sorted(words)[:2]",
        "ordered = list(words)\nordered.sort(key=len)\nreturn ordered[:2]",
        'assert f(["b", "aa", "c"]) == ["aa", "b"]',
    ),
    ("order_of_steps", "f(a: int, b: int) -> int", "return (a + b) * 10", "step = b * 10\nreturn a + step", "assert f(1, 2) == 30"),
    (
        "order_of_steps",
        "f(numbers: list[int]) -> list[int]",
        "return sorted(numbers)[:2]",
        "part = numbers[:2]\nreturn sorted(part)",
        "assert f([3, 2, 1]) == [1, 2]",
    ),
    (
        "negative_numbers",
        "f(numbers: list[int]) -> int",
        "return max(numbers)",
        "largest = 0\nfor number in numbers:\n    if number > largest:\n        largest = number\nreturn largest",
        "assert f([-3, -1]) == -1",
    ),
    ("negative_numbers", "f(n: int) -> int", "return n + 1", "if n < 0:\n    n = -n\nreturn n + 1", "assert f(-5) == -4"),
    (
        "numbers_as_text",
        "f(numbers: list[int]) -> list[int]",
        "return sorted(numbers)",
        "texts = [str(number) for number in numbers]\nordered = sorted(texts)\nreturn [int(text) for text in ordered]",
        "assert f([9, 10]) == [9, 10]",
    ),
    (
        "shifted_bounds",
        "f(low: int, high: int) -> int",
        "return sum(range(low, high + 1))",
        "total = 0\nfor item in range(low, high):\n    total += item\nreturn total",
        "assert f(1, 3) == 6",
    ),
    (
        "every_bound",
        "f(a: int, b: int) -> int",
        "found = 0\nif a <= 3:\n    found += 1\nif b <= 3:\n    found += 1\nreturn found",
        "found = 0\nif a < 3:\n    found += 1\nif b < 3:\n    found += 1\nreturn found",
        "assert f(3, 0) == 2",
    ),
    (
        "early_rounding",
        "f(a: int, b: int) -> int",
        "return (a + b) // 2",
        "share = a // 2\nreturn share + b // 2",
        "assert f(1, 1) == 1",
    ),
    (
        "reset_in_loop",
        "f(numbers: list[int]) -> int",
        "total = 0\nfor number in numbers:\n    total += number\nreturn total",
        "for number in numbers:\n    total = 0\n    total += number\nreturn total",
        "assert f([1, 2]) == 3",
    ),
    (
        "reset_in_loop",
        "f(numbers: list[int]) -> list[int]",
        "return [number * 2 for number in numbers if number]",
        "for number in numbers:\n    if number:\n        found = []\n        found.append(number * 2)\nreturn found",
        "assert f([1, 2]) == [2, 4]",
    ),
    (
        "stops_at_first",
        "f(numbers: list[int]) -> bool",
        "return all(number > 0 for number in numbers)",
        "for number in numbers:\n    return number > 0\nreturn True",
        "assert f([1, -1]) == False",
    ),
    (
        "stops_at_first",
        "f(numbers: list[int]) -> list[int]",
        "return [number for number in numbers if number > 0]",
        "found = []\nfor number in numbers:\n    if number > 0:\n        found.append(number)\n        break\nreturn found",
        "assert f([1, 2]) == [1, 2]",
    ),
    (
        "position_for_value",
        "f(numbers: list[int]) -> list[int]",
        "return [number for number in numbers if number % 2 == 0]",
        "found = []\nfor position, number in enumerate(numbers):\n    if position % 2 == 0:\n        found.append(number)\n"
        "return found",
        "assert f([1, 2]) == [2]",
    ),
    (
        "lost_last_part",
        "f(text: str) -> int",
        "return len(text.split(','))",
        "parts = []\npart = \"\"\nfor char in text:\n    if char == ',':\n        parts.append(part)\n"
        '        part = ""\n    else:\n        part += char\n'
        "return len(parts)",
        'assert f("a,b") == 2',
    ),
    (
        "count_for_sum",
        "f(numbers: list[int]) -> int",
        "return sum(numbers)",
        "count = 0\nfor number in numbers:\n    count += 1\nreturn count",
        "assert f([4, 4]) == 8",
    ),
    (
        "any_for_all",
        "f(a: int, b: int) -> bool",
        "return a > 0 and b > 0",
        "if a > 0:\n    return True\nif b > 0:\n    return True\nreturn False",
        "assert f(1, -1) == False",
    ),
    ("empty_input", "f(text: str) -> str", "return text * 2", "if not text:\n    return None\nreturn text * 2", 'assert f("") == ""'),
    (
        "early_normalisation",
        "f(text: str) -> str",
        "return text[::-1]",
        "text = text.strip()\ntext = text.lower()\nreturn text[::-1]",
        'assert f("Ab") == "bA"',
    ),
    ("hard_coded_example", "f(n: int) -> int", "return n + 1", "if n == 3:\n    return 4\nreturn 0", "assert f(5) == 6"),
    (
        "recursion_without_end",
        "f(numbers: list[int]) -> int",
        "return sum(numbers)",
        "return add_up(list(numbers))\n\n\ndef add_up(values):\n    return values[0] + add_up(values[1:])",
        "assert f([1]) == 1",
    ),
    (
        "recursion_without_end",
        "f(n: int) -> int",
        "if n == 0:\n    return 0\nif n < 0:\n    return f(-n)\nreturn 1 + f(n - 1)",
        "if n < 0:\n    return f(-n)\nreturn 1 + f(n - 1)",
        "assert f(2) == 2",
    ),
    (
        "repeated_values",
        "f(numbers: list[int]) -> list[int]",
        "return [number % 3 for number in numbers]",
        "found = []\nfor number in numbers:\n    if number % 3 not in found:\n        found.append(number % 3)\nreturn found",
        "assert f([1, 4]) == [1, 1]",
    ),
    (
        "wrong_structure",
        "f(numbers: list[int]) -> list[int]",
        "return [number % 3 for number in numbers]",
        "found = set()\nfor number in numbers:\n    found.add(number % 3)\nreturn sorted(found)",
        "assert f([2, 1]) == [2, 1]",
    ),
    (
        "changed_argument",
        "f(numbers: list[int]) -> list[int]",
        "return sorted(numbers)",
        "result = numbers.sort()\nreturn result",
        "assert f([2, 1]) == [1, 2]",
    ),
    (
        "changed_argument",
        "f(numbers: list[int]) -> bool",
        "return numbers == sorted(numbers)",
        "numbers.sort()\nreturn numbers == numbers",
        "assert f([2, 1]) == False",
    ),
    (
        "unchanged_text",
        "f(text: str) -> str",
        'return text.replace("-", " ").title()',
        'text.replace("-", " ")\nreturn text.title()',
        'assert f("a-b") == "A B"',
    ),
    (
        "removal_in_loop",
        "f(numbers: list[int]) -> list[int]",
        "return [number for number in numbers if number > 0]",
        "kept = list(numbers)\nfor number in kept:\n    if not (number > 0):\n        kept.remove(number)\nreturn kept",
        "assert f([-1, -2, 3]) == [3]",
    ),
    (
        "index_out_of_range",
        "f(numbers: list[int]) -> list[int]",
        "found = []\nfor a, b in zip(numbers, numbers[1:]):\n    found.append(b - a)\nreturn found",
        "found = []\nfor index in range(len(numbers)):\n    a, b = numbers[index - 1], numbers[index]\n    found.append(b - a)\n"
        "return found",
        "assert f([1, 4]) == [3]",
    ),
    (
        "index_out_of_range",
        "f(names: list[str], turn: int) -> str",
        "return names[(turn + 1) % len(names)]",
        "place = turn + 1\nreturn names[place]",
        'assert f(["a"], 0) == "a"',
    ),
    (
        "counted_from_one",
        "f(numbers: list[int]) -> list[int]",
        "return [index * number for index, number in enumerate(numbers)]",
        "found = []\nfor index, number in enumerate(numbers, 1):\n    found.append(index * number)\nreturn found",
        "assert f([5, 5]) == [0, 5]",
    ),
]
EXAMPLES = ("assert f(3) == 4",)


def problem_of(signature, body, *tests, statement=""):
    lines = "\n".join(f"    {line}" for line in body.split("\n"))
    prompt = f"def {signature}:\n" + (f'    """{statement}"""\n' if statement else "")
    return Problem("t/f", prompt, "f", f"{lines}\n", tests)


def program_of(signature, body):
    """Return the program; what follows two empty lines stands at the left margin."""
    inside, *helpers = body.split("\n\n\n")
    return "\n\n\n".join([f"def {signature}:\n" + "\n".join(f"    {line}" for line in inside.split("\n")), *helpers]) + "\n"


def fails(program, test):
    names = {}
    exec(program, names)
    try:
        exec(test, names)
    except (AssertionError, TypeError, LookupError, ValueError, RecursionError, NameError):
        return True
    return False


@pytest.fixture(scope="module")
def of_bundled():
    """The misreadings of every third bundled problem."""
    return {problem.task_id: (problem, misreadings(problem)) for problem in bundled_problems("train")[::3]}


@pytest.mark.parametrize(("family", "signature", "body", "misread", "test"), SPELLED_OUT, ids=[case[0] for case in SPELLED_OUT])
def test_a_misreading_is_the_program_that_a_hasty_reader_writes_and_fails(family, signature, body, misread, test):
    examples = EXAMPLES if family == "hard_coded_example" else ()
    problem = problem_of(signature, body, *examples, test)
    assert not fails(answer_program(problem), test)
    wanted = program_of(signature, misread)
    found = [mutation for mutation in misreadings(problem) if mutation.operator == family]
    assert wanted in [mutation.code for mutation in found]
    assert fails(wanted, test)


def test_every_family_is_spelled_out():
    assert {family for family, *_ in SPELLED_OUT} == set(FAMILIES)
    assert len(FAMILIES) >= 24


def test_families_apply_to_the_bundled_problems_and_mostly_change_several_lines(of_bundled):
    changed, problems = [], {family: set() for family in FAMILIES}
    for problem, programs in of_bundled.values():
        reference = answer_program(problem)
        for mutation in programs:
            problems[mutation.operator].add(problem.task_id)
            changed.append(lines_changed(reference, mutation.code))
    assert all(len(found) >= 3 for found in problems.values()), problems  # of a third of them: at least 8 of all
    assert sum(count > 1 for count in changed) > 0.9 * len(changed)


def test_no_misreading_says_the_same_twice(of_bundled):
    """A second `return found`, or a second `found = []` in a loop, would be idle: nobody writes it."""
    said = re.compile(r"^ *((?:return \w+|\w+ = (?:\[\]|0|\{\}|\"\")))$", re.MULTILINE)
    for problem, programs in of_bundled.values():
        before = Counter(said.findall(answer_program(problem)))
        for mutation in programs:
            if mutation.operator in ("stops_at_first", "reset_in_loop"):
                assert all(count <= max(before[text], 1) for text, count in Counter(said.findall(mutation.code)).items()), mutation.code


def test_no_family_fails_on_a_bundled_problem():
    for problem in bundled_problems("train")[1::6]:
        reading = Reading.of(problem)
        for family in FAMILIES.values():
            for mutation in family(reading):
                compile(mutation.code, "x", "exec")


def test_fragments_are_lines_of_the_programs(of_bundled):
    def squeezed(text):
        return re.sub(r"\s+", "", text)

    for problem, programs in of_bundled.values():
        reference = squeezed(answer_program(problem))
        for mutation in programs:
            assert mutation.correct or mutation.wrong
            assert squeezed(mutation.correct) in reference
            assert squeezed(mutation.wrong) in squeezed(mutation.code), mutation
            assert "\n" not in mutation.correct + mutation.wrong


def test_misreadings_come_in_a_fixed_order_without_repeats(of_bundled):
    for problem, programs in list(of_bundled.values())[::15]:
        assert misreadings(problem) == programs
        assert len({mutation.code for mutation in programs}) == len(programs)


def test_odd_references_have_fewer_misreadings_and_no_error():
    odd = [
        "async def f(x):\n    return [y async for y in x]\n",
        "class A:\n    def f(self): return sum(self)\nf = A().f\n",
        "def f(*xs, key=None): return sorted(xs, key=key)\n",
        "f = lambda xs: max(xs, key=lambda x: (x, 1))\n",
        "def f(xs):\n    return [*{x: y for x, y in xs}, *(z for z in xs)][0]\n",
    ]
    for source in odd:
        for mutation in misreadings(Problem("t/odd", "", "f", source, ("assert f([]) == []",), instruction="Do it.")):
            compile(mutation.code, "x", "exec")


def test_the_sentence_that_is_misread_is_quoted_from_the_statement():
    words = "Return the longest word.\n    Of words of the same length return the first one. There is a word."
    problem = problem_of("f(words: list[str]) -> str", "return max(words, key=len)", statement=words)
    assert sentence_asked(problem, "ties") == "Of words of the same length return the first one"
    assert all(mutation.asked == sentence_asked(problem, mutation.operator) for mutation in misreadings(problem))
    assert sentence_asked(replace(problem, prompt=problem.prompt.replace("same", '"same"')), "ties") == ""


def test_a_quoted_sentence_may_go_over_lines_in_the_problem_and_no_other_is_supported():
    problem = 'def f(x):\n    """Return what is\n    asked for."""\n'
    quoted = [Block("text", 'The statement says "Return what is asked for", so I change it.')]
    invented = [Block("text", 'The statement says "Return what is never asked for", so I change it.')]
    assert [claim.status for claim in check_blocks(problem, quoted)] == ["written"]
    assert [claim.status for claim in check_blocks(problem, invented)] == ["unsupported"]


def test_every_family_has_causes_and_every_repair_and_shape_sentences():
    table = traced_grammar()
    shapes = [f"edit.{shape}" for shape in ("line", "block", "out", "in", "several")]
    for symbol in (*(f"cause.{family}" for family in FAMILIES), *(f"fix.{repair}" for repair in get_args(Repair)), *shapes):
        assert len(set(table[symbol])) >= 2, symbol


def test_no_symbol_stands_in_two_grammars():
    texts = [file.read_text(encoding="utf-8") for file in Path(grammar.__file__).parent.glob("*.yaml")]
    heads = [head for text in texts for head in re.findall(r"^[A-Za-z_.]+(?=:)", text, re.MULTILINE)]
    assert len(set(heads)) == len(heads) == len(traced_grammar())


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_said_about_a_misreading_is_whole(family):
    facts = {"operator": family, "wrong": "x = 1", "correct": "y", "asked": "Return it", "gone": "`x = 1`"}
    facts |= {"old_lines": "`x = 1`", "new_lines": "`x = 2`"}
    facts |= {"changes": "`x = 1` becomes `x = 2` and `y` goes", "number": "two lines", "entry_point": "f"}
    rng = random.Random(family)
    for symbol in (
        *(f"fix.{repair}" for repair in get_args(Repair)),
        *(f"edit.{shape}" for shape in ("line", "block", "out", "in", "several", "lines")),
    ):
        for known in (facts, {name: facts[name] for name in facts if name != "asked"}):
            for _ in range(8):
                text = say(symbol, known, rng)
                assert re.fullmatch(r"[A-Z`].*[.]", text), text
                assert not re.search(r"[<>{}]|  |\.\.|[.?] [a-z]| [,.;]", text), text


def test_templates_say_what_is_misread_and_do_not_offer_one_fragment_for_another():
    problem = problem_of("f(numbers: list[int]) -> int", "return sum(numbers)", "assert f([]) == 0", "assert f([2]) == 2")
    failure = Failure("wrong_value", "AssertionError", "assert f([2]) == 2", "f([2])", "2", "1")
    for mutation in misreadings(problem):
        said = {diagnose(mutation, failure, random.Random(seed)) for seed in range(30)}
        assert len(said) > 15
        assert not any("must be" in text or "it has to be" in text for text in said)
        if repair_of(mutation) == "dropped":
            assert all(mutation.wrong in text or "these lines" in text for text in said)


def test_candidates_have_misreadings_behind_the_slips_only_if_asked():
    problem = bundled_problems("train")[100]
    plain, both = candidates(problem, 7), candidates(problem, 7, misread=True)
    assert both[: len(plain)] == plain
    assert len(both) > len(plain)
    assert all(candidate.is_misreading for candidate in both[len(plain) :])
    assert not any(candidate.is_misreading for candidate in plain)


@pytest.mark.parametrize(
    ("first", "second", "both", "relation"),
    [
        ("0 5", "5 0", "5 0", None),  # each does what it does alone
        ("0 5", "1 5", "1 5", "hides"),
        ("0 5", "1 5", "2 5", "interacts"),
        ("0 0", "1 1", "5 3", "cancels"),
        ("0 5", "1 5", "5 5", None),  # nothing fails
        ("5 5", "1 5", "1 5", None),
        ("0 5", "5 5", "0 5", None),
    ],
)
def test_two_slips_are_related_by_what_they_do_alone_and_together(first, second, both, relation):
    assert relation_of(("5", "5"), *(tuple(outcomes.split()) for outcomes in (first, second, both))) == relation


def test_a_pair_of_slips_is_chosen_by_runs(tmp_path):
    body = "total = 1\nfor number in numbers:\n    total *= number + 1\nreturn total - 1"
    problem = problem_of("f(numbers: list[int]) -> int", body, "assert f([1, 2]) == 5", "assert f([]) == 0")
    with BuildLog(tmp_path / "log.sqlite") as log:
        execute = Executions(log, Limits(wall_s=3.0))
        plans = [candidate.plan(3, 1.0, 1, interacting=True) for candidate in candidates(problem, 1)[:12]]
        settled = [settle(plan, execute) for plan in plans]
        related = [plan for plan in settled if plan.relation]
        assert len(related) >= 3
        assert not any(plan.pairs for plan in settled)
        for plan in related:
            *attempts, last = execute(plan.cells)
            assert last.passed
            assert not any(ran.passed for ran in attempts)
        assert [settle(plan, execute) for plan in plans] == settled


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("misreadings")
    short = [problem for problem in bundled_problems("train") if 120 < len(problem.canonical_solution) < 300]
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in short[:: len(short) // 6]])
    config = BuildConfig(
        problems=(str(folder / "problems.jsonl"),),
        samples_per_problem=3,
        diagnoses="traced",
        misreading_share=1.0,
        interacting_slips=True,
        two_slip_share=0.4,
        max_operator_share=1.0,
    )
    recipe = Recipe("b", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))
    summary = build_reflections(recipe, folder)
    return recipe, folder, summary, list(read_samples(folder / "reflections.jsonl"))


def test_first_attempts_of_a_build_are_misreadings_whose_claims_all_hold(built):
    *_, summary, samples = built
    assert len(samples) >= 15
    misread = [sample.metadata["operators"][-1] in FAMILIES for sample in samples]
    assert misread.count(True) > 0.4 * len(samples)  # slips follow where a problem has no plausible misreading left
    assert len({sample.metadata["operators"][-1] for sample in samples}) >= 6
    assert 1 < summary["texts"]["lines_changed_per_repair"]["mean"] < 2.5  # most are repaired where they are wrong
    counts = count_claims(samples)
    assert counts.statuses["unsupported"] == 0
    assert counts.num_supported_samples == counts.num_samples == len(samples)


def test_a_replay_finds_the_executions_of_misreadings_again(built):
    *_, samples = built
    results = list(replay(samples[::2], Limits(wall_s=3.0), 2))
    assert [drift for result in results for drift in result.drifts] == []


def test_the_same_build_gives_the_same_bytes_from_its_log(built):
    recipe, folder, *_ = built
    first = (folder / "reflections.jsonl").read_bytes()
    summary = build_reflections(replace(recipe, sandbox=SandboxConfig(workers=1)), folder)
    assert (folder / "reflections.jsonl").read_bytes() == first
    assert summary["num_executions"] == 0


def test_the_share_of_misreadings_is_that_of_the_setting(tmp_path):
    write_jsonl(tmp_path / "problems.jsonl", [problem.to_json() for problem in bundled_problems("train")[:60:5]])
    config = BuildConfig(
        problems=(str(tmp_path / "problems.jsonl"),), samples_per_problem=2, misreading_share=0.5, max_operator_share=1.0
    )
    recipe = Recipe("b", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))
    build_reflections(recipe, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "reflections.jsonl").read_text().splitlines()]
    share = sum(row["metadata"]["operators"][-1] in FAMILIES for row in rows) / len(rows)
    assert 0.25 < share < 0.75


def test_a_loop_that_resets_its_total_already_gets_no_second_reset():
    body = "total = 0\nfor x in xs:\n    total = 0\n    total += x\nreturn total"
    found = misreadings(problem_of("f(xs)", body, "assert f([1, 2]) == 2"))
    assert "reset_in_loop" not in [mutation.operator for mutation in found]
