"""Details of slips name the smallest difference of two fragments, and every kind of them has clauses that say it."""

import random
import re

import pytest

from reflectioncoder.builder.causes import Cause, cause_sayings
from reflectioncoder.builder.grammar import say, traced_grammar
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.builder.mutation.details import details_of, slip_details
from reflectioncoder.builder.mutation.diagnosis import Failure
from reflectioncoder.builder.mutation.misread_details import misread_kind
from reflectioncoder.builder.mutation.misreadings import misreadings
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program

SLIPS = [  # operator, what is wrong, what is right → the kind of clauses and their facts
    ("wrong_comparison", "n > limit", "n >= limit", "strict", {"sign": ">", "right_sign": ">=", "left": "n", "right": "limit"}),
    ("wrong_comparison", "n <= 0", "n < 0", "loose", {"sign": "<=", "right_sign": "<", "left": "n", "right": "0"}),
    ("inverted_comparison", "a < b", "a > b", "order", {"sign": "<", "right_sign": ">", "left": "a", "right": "b"}),
    ("inverted_comparison", "x not in y", "x in y", "membership", {"sign": "not in", "right_sign": "in", "left": "x", "right": "y"}),
    (
        "wrong_operator",
        "a + b",
        "a * b",
        "described",
        {"sign": "+", "right_sign": "*", "does": "adds the two values", "done": "multiplied"},
    ),
    ("wrong_operator", "f(a) or b > 0", "f(a) and b > 0", "or", {}),
    ("wrong_operator", "name or default", "name and default", "sign", {"sign": "or", "right_sign": "and"}),
    ("wrong_division", "n / 2", "n // 2", "true", {}),
    ("wrong_division", "(n // 10)", "(n % 10)", "quotient", {}),
    ("off_by_one_range", "range(1, n)", "range(n)", "start_late", {"bound": "1", "right_bound": "0"}),
    ("off_by_one_range", "range(n - 1)", "range(n)", "stop_early", {"bound": "n - 1", "right_bound": "n"}),
    ("off_by_one_index", "row[2]", "row[1]", "plain", {"index": "2", "right_index": "1", "items": "row"}),
    ("off_by_one_index", "row[i + 1]", "row[i]", "computed", {"index": "i + 1", "right_index": "i", "items": "row"}),
    ("off_by_one_index", "row[-1]", "row[0]", "last", {"index": "-1", "right_index": "0", "items": "row"}),
    ("off_by_one_index", "word[:]", "word[:1]", "no_end", {"right_bound": "1", "items": "word"}),
    ("off_by_one_index", "word[3:]", "word[2:]", "begin", {"bound": "3", "right_bound": "2", "items": "word"}),
    ("wrong_constant", "return n % 1000 + 1", "return n % 100 + 1", "number", {"constant": "1000", "right_constant": "100"}),
    ("wrong_constant", 'return "smal"', 'return "small"', "cut", {"constant": '"smal"', "right_constant": '"small"'}),
    ("wrong_constant", 'f("a ")', 'f("a")', "space", {"constant": '"a "', "right_constant": '"a"'}),
    ("swapped_arguments", "f(b, a)", "f(a, b)", "call", {"callee": "f", "first": "b", "second": "a"}),
    ("swapped_arguments", "b - a", "a - b", "operands", {"sign": "-", "left": "b", "right": "a"}),
    ("wrong_variable", "return a + a", "return a + b", "named", {"name": "a", "right_name": "b"}),
    ("misspelt_name", "max(price, key=prices.get)", "max(prices, key=prices.get)", "named", {"name": "price", "right_name": "prices"}),
    ("wrong_initial_value", "total = 1", "total = 0", "named", {"variable": "total", "start": "1", "right_start": "0"}),
    ("wrong_update", "total = n", "total += n", "overwritten", {"variable": "total", "right_sign": "+="}),
    ("missing_return", "a + b", "return a + b", "value", {"result": "a + b"}),
    ("missing_step", "", "found.append(x)", "added", {"owner": "found", "method": "append"}),
    ("missing_import", "", "from collections import deque", "named", {"name": "deque"}),
    ("negated_condition", "not x", "x", "extra", {}),
    ("mutable_default", "found=[]", "found = []", "named", {"variable": "found"}),
    ("syntax_slip", "if x", "if x:", "colon", {"keyword": "if"}),
    ("syntax_slip", "return f(x", "return f(x)", "parenthesis", {}),
    ("syntax_slip", "if x = 1:", "if x == 1:", "assignment", {}),
]


@pytest.mark.parametrize(("operator", "wrong", "correct", "kind", "facts"), SLIPS)
def test_the_smallest_difference_is_named(operator, wrong, correct, kind, facts):
    assert details_of(operator, wrong, correct) == (f"{operator}_{kind}", facts)


@pytest.mark.parametrize(
    ("operator", "wrong", "correct"),
    [
        ("wrong_comparison", "a < b < c", "a < b <= c"),
        ("off_by_one_range", "range(0, n - 1, 2)", "range(0, n, 2)"),
        ("missing_return", f"f({'x' * 70})", f"return f({'x' * 70})"),
        ("wrong_operator", "a +", "a -"),
    ],
)
def test_what_the_fragments_do_not_show_is_not_claimed(operator, wrong, correct):
    assert details_of(operator, wrong, correct) == (operator, {})


def test_what_a_method_does_is_said_of_both():
    kind, facts = details_of("wrong_method", "sum(xs)", "len(xs)")
    assert kind == "wrong_method_described"
    assert (facts["does"], facts["should_do"]) == ("adds the items up", "counts the items")


def test_a_missing_branch_is_read_from_the_right_program():
    program = "def f(x):\n    if not x:\n        return []\n    return [x]\n"
    assert details_of("missing_guard", "", "not x", program) == ("missing_guard_return", {"condition": "not x", "result": "[]"})
    assert details_of("missing_guard", "", "x > 1", program) == ("missing_guard", {})


def test_the_failure_decides_where_the_program_alone_does_not():
    returned = Mutation("early_return", "", "return total", "return total")
    unreached = Failure("wrong_value", "AssertionError", actual="None")
    assert slip_details(returned, failure=unreached)[0] == "early_return_unreached"
    assert slip_details(returned, failure=Failure("wrong_value", "AssertionError", actual="3"))[0] == "early_return"
    unset = Failure("exception", "UnboundLocalError: cannot access local variable 'total'")
    assert slip_details(Mutation("reset_in_loop", "", "total = 0", "total = 0"), failure=unset)[0] == "reset_in_loop_unset"


@pytest.mark.parametrize(
    ("family", "wrong", "correct", "kind"),
    [
        ("early_rounding", "whole = int(x)", "whole = round(x)", "cut"),
        ("early_rounding", "round(quotient)", "quotient = a // b", "nearest"),
        ("count_for_sum", "count += 1", "sum(xs)", "counted"),
        ("count_for_sum", "total += x", "len(xs)", "summed"),
        ("any_for_all", "if a", "a and b", "all"),
        ("any_for_all", "if x > 0 or y", "all(x > 0 or y for x in xs)", "all_items"),
        ("stops_at_first", 'text.replace(",", ";", 1)', 'text.replace(",", ";")', "replaced"),
        ("index_out_of_range", "for i in range(1, len(xs) + 1)", "for x in xs", "from_one"),
        ("index_out_of_range", "range(len(xs) - 1)", "xs", "short"),
        ("early_normalisation", "xs = list(dict.fromkeys(xs))\nxs.sort()", "", ""),
        ("early_normalisation", "xs = list(xs)\nxs.sort()", "", "sorted"),
        ("ties", "a <= b", "a < b", "equal"),
        ("ties", "len(word) >= len(best)", "max(words, key=len)", "later"),
        ("wrong_occurrence", 'text.rfind("-")', 'text.find("-")', "last"),
        ("wrong_occurrence", "words[:2]", "words[-2:]", "first"),
        ("negative_numbers", "distance = 0", "abs(n - 10)", "clamped"),
        ("negative_numbers", "largest = 0", "max(numbers)", "started"),
        ("every_bound", "if a <= b", "if a < b", "loose"),
        ("every_bound", "range(n + 1)", "range(n)", "late"),
    ],
)
def test_kinds_of_misreadings_are_told_by_their_fragments(family, wrong, correct, kind):
    assert misread_kind(family, wrong, correct) == kind


def test_every_detail_of_a_bundled_problem_has_clauses_and_all_kinds_occur():
    table, rng, seen = traced_grammar(), random.Random(5), set()
    for problem in bundled_problems("train")[1::9]:
        reference = answer_program(problem)
        for slip in (*mutations(reference), *misreadings(problem)):
            kind, facts = slip_details(slip, reference)
            seen.add(kind)
            known = {**facts, "operator": kind, "wrong": slip.wrong, "correct": slip.correct}
            text = say("fix.replaced", {name: value for name, value in known.items() if value and "`" not in value}, rng)
            assert f"cause.{kind}" in table
            if slip.wrong and slip.correct and "`" not in f"{slip.wrong}{slip.correct}":
                assert re.fullmatch(r"[A-Z`].*[.]", text, re.DOTALL), text
    assert len(seen) > 60


def test_causes_of_a_models_own_attempts_are_detailed_too():
    (_, facts), *_ = cause_sayings((Cause("wrong_division", "n / 2", "n // 2"),), {"entry_point": "f"})
    assert facts["operator"] == "wrong_division_true"
