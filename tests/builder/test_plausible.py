"""What attempts and texts must not be: mistakes that nobody makes, causes that explain nothing, edits that are told in part."""

import re

import pytest

from reflectioncoder.builder.mutation import Mutation, mutations, stated_words
from reflectioncoder.builder.mutation.plausible import is_plausible, is_plausible_failure, plausible
from reflectioncoder.builder.mutation.stated_words import StatedWords, prose_of
from reflectioncoder.builder.stories.crashes import clue_of, marked, names_of, values_before
from reflectioncoder.builder.stories.edits import are_apart, edit_facts, edits, is_move
from reflectioncoder.builder.stories.exits import exit_of
from reflectioncoder.builder.stories.suspects import is_worth_trying
from reflectioncoder.data.prompts import REFLECT


@pytest.mark.parametrize(
    ("operator", "correct", "wrong", "code", "said"),
    [
        ("wrong_method", "len(rows)", "sum(rows)", "def f(rows):\n    return sum(rows)\n", False),
        ("wrong_method", "max(rows)", "min(rows)", "def f(rows):\n    return min(rows)\n", True),
        ("wrong_variable", "min(a, b)", "min(a, a)", "def f(a, b):\n    return min(a, a)\n", False),
        ("wrong_variable", "low < 3", "high < 3", "def f(low, high):\n    return high < 3\n", True),
        ("wrong_variable", "n < 3", "xs < 3", "def f(n: int, xs: list[int]):\n    return xs < 3\n", False),
        ("off_by_one_range", "range(n - 1, 0)", "range(n - 1 - 1, 0)", "", False),
        ("off_by_one_range", "range(n)", "range(n - 1)", "", True),
        ("off_by_one_index", "word[:1]", "word[:]", "", False),
        ("wrong_initial_value", "found = []", "found = [0]", "", False),
        ("wrong_update", "total += n", "total -= n", "", False),
        ("wrong_update", "total += n", "total = n", "", True),
        ("wrong_constant", "n == 0", "n == 2", "", False),
        ("wrong_constant", "n % 100", "n % 1000", "", True),
        ("wrong_constant", 'text.replace(",", ";")', 'text.replace("", ";")', "", False),
        ("wrong_constant", 'return "big"', 'return "BIG"', "", False),
        ("wrong_constant", 'return "x: "', 'return "x:"', "", True),
        ("missing_conversion", "len(a) == len(b)", "a == len(b)", "", False),
        ("missing_conversion", "range(len(a))", "range(a)", "", True),
        ("empty_input", "", "return -1", "def f(xs):\n    if not xs:\n        return -1\n    return 1\n", False),
        ("early_normalisation", "", "xs.sort()", "def f(xs):\n    xs.sort()\n    return xs\n", False),
        ("hard_coded_example", "return n + 1", "if n == 3", "def f(n):\n    if n == 3:\n        return 4\n    return 0\n", False),
        ("wrong_constant", "a % 7", "a % 70", "", False),
        ("wrong_constant", 'text.find("-")', 'text.find("- ")', "", False),
        ("wrong_operator", "part * 100", "part + 100", "", False),
        ("wrong_operator", "a + b", "a - b", "", True),
        ("swapped_arguments", "(n % 10)", "(10 % n)", "", False),
        ("swapped_arguments", "a - b", "b - a", "", True),
        ("swapped_arguments", 'text.replace("a", "")', 'text.replace("", "a")', "", False),
        ("wrong_variable", "x % k", "x % total", "def f(xs, k):\n    total = 0\n    for x in xs:\n        total += x % total\n", False),
        ("wrong_variable", "cell * 2", "grid * 2", "def f(grid):\n    return [grid * 2 for row in grid for cell in row]\n", False),
        ("wrong_variable", "total += i", "total += n", "def f(n):\n    total = 0\n    for i in range(9):\n        total += n\n", True),
        ("swapped_arguments", "prices.get(name, 0)", "prices.get(0, name)", "", False),
        ("wrong_variable", "a + b", "a + a", "def f(a, b):\n    return a + a\n", False),
        ("order_of_steps", "(a + b) / 4", "step = b / 4", "", False),
        ("count_for_sum", "len(xs)", "total += x", "", False),
    ],
)
def test_slips_that_nobody_makes_are_told_from_others(operator, correct, wrong, code, said):
    assert is_plausible(Mutation(operator, code or f"x = {wrong}\n", correct, wrong)) is said


def test_most_slips_stay_and_keep_their_order():
    slips = mutations(
        "def f(xs: list[int]) -> int:\n    total = 0\n    for x in xs:\n        if x > 1:\n            total += x\n    return total\n"
    )
    kept = plausible(slips, StatedWords("", is_single=False))
    assert 0.5 < len(kept) / len(slips) < 1
    assert [slip for slip in slips if slip in kept] == kept


def request(statement):
    return f'{REFLECT}\n```python\ndef f(a, b):\n    """{statement}\n\n    >>> f(3, 4)\n    12\n    """\n```'


@pytest.mark.parametrize(
    ("statement", "operator", "correct", "wrong", "said"),
    [
        ("Return the product of a and b.", "wrong_operator", "a * b", "a + b", False),
        ("Return the area of a garden of a by b metres.", "wrong_operator", "a * b", "a + b", True),
        ("Double each number of the list.", "wrong_constant", "2 * x", "3 * x", False),
        ("Return the smallest of the numbers.", "wrong_method", "min(xs)", "max(xs)", False),
        ("Return the text in upper case.", "wrong_method", "text.upper()", "text.lower()", False),
        ("Return True if the number is at least 50.", "wrong_constant", "n >= 50", "n >= 51", False),
        ("Return True if the number is at least 50.", "wrong_comparison", "n >= 50", "n > 50", True),
        ("Return the second word of the line.", "off_by_one_index", "words[1]", "words[0]", False),
        ("Return the second word of the line.", "off_by_one_index", "words[1]", "words[2]", True),
        ("Return the last item.", "wrong_occurrence", "xs[-1]", "first_one = xs[0]", False),
        ("Return a minus b.", "swapped_arguments", "a - b", "b - a", False),
        ("Subtract a from b.", "swapped_arguments", "b - a", "a - b", True),
        ("Return the quotient of a and b.", "wrong_division", "a // b", "a / b", True),
        ("Return the remainder of a by b.", "wrong_division", "a % b", "a // b", False),
        ("Return True if a is among the items of b.", "inverted_comparison", "a in b", "a not in b", False),
        (
            'Return "yes" if a equals b, otherwise "no".',
            "wrong_constant",
            '"yes" if a == b else "no"',
            '"ye" if a == b else "no"',
            False,
        ),
        ("Return the largest number of the list.", "numbers_as_text", "max(xs)", "texts = [str(x) for x in xs]", False),
        ("Return the product of a and b.", "missing_return", "return a * b", "a * b", True),
    ],
)
def test_who_has_read_the_sentence_does_not_write_its_contrary(statement, operator, correct, wrong, said):
    words = StatedWords.of(request(statement), f"def f(a, b):\n    return {correct.removeprefix('return ')}\n")
    assert words.allow(Mutation(operator, "", correct, wrong)) is said


LOOP = "def f(xs):\n    total = 0\n    for x in xs:\n        if x > 9:\n            total += x * 2\n    return total\n"


WRAPPED = LOOP.replace("x * 2", "(\n                x * 2\n            )")


def test_in_a_longer_program_a_slip_may_follow_another_word_of_the_statement():
    slip = Mutation("wrong_operator", "", "x * 2", "x + 2")
    assert StatedWords.of(request("Return the sum of the numbers above 9, each one times two."), LOOP).allow(slip)
    assert not StatedWords.of(request("Return the doubled numbers above 9 as one number."), LOOP).allow(slip)


def test_the_words_of_examples_and_of_the_request_itself_ask_for_nothing():
    assert prose_of(request("Return a result.")) == "Return a result."
    assert StatedWords.of(request("Return a result."), "def f(a, b):\n    return a * b\n").allow(
        Mutation("wrong_constant", "", "12", "13")
    )


def test_a_row_of_words_is_a_pattern_and_asks_for_code_of_the_language():
    for table in ("asks", "between"):
        for code, words in stated_words._table(table).items():
            assert re.search(words, "") is None, code
    assert {code for pair in stated_words._confused() for code in pair} <= set(stated_words._table("asks"))


@pytest.mark.parametrize(
    ("reference", "first", "both", "said"),
    [
        ("def f(a):\n    return a + 1\n", "def f(a):\n    return a - 1\n", "def f(a):\n    print(a - 1)\n", False),
        (LOOP, LOOP.replace("x > 9", "x >= 9"), LOOP.replace("x > 9", "x > 10"), False),
        (LOOP, LOOP.replace("x > 9", "x >= 9"), LOOP.replace("x > 9", "x >= 9").replace("x * 2", "x + 2"), True),
        (LOOP, LOOP.replace("    total = 0\n", ""), LOOP.replace("    total = 0\n", "").replace("return total", "return x"), True),
        (WRAPPED, WRAPPED.replace("x * 2", "x + 2"), WRAPPED.replace("x * 2", "x + 2").replace("+=", "="), False),
    ],
)  # fmt: skip
def test_two_slips_stand_in_two_statements(reference, first, both, said):
    assert are_apart(reference, first, both) is said


def test_a_wrong_operator_does_not_fail_by_the_types_of_its_operands():
    assert not is_plausible_failure("wrong_operator", "TypeError: unsupported operand type(s) for -: 'str' and 'str'")
    assert is_plausible_failure("missing_conversion", "TypeError: 'str' object does not support item assignment")


TRACEBACK = """Traceback (most recent call last):
  File "main.py", line 9, in <module>
    assert f([3, 4]) == 7
           ^^^^^^^^^
  File "main.py", line 3, in f
    {line}
    {marks}
{error}
"""


def crash(line, marks, error, own=()):
    output = TRACEBACK.format(line=line, marks=marks, error=error)
    return marked(output), clue_of(error, output, own)


def test_an_index_is_explained_by_its_value_and_the_length():
    segment, clue = crash("row = grid[index]", "      ~~~~^^^^^^^", "IndexError: list index out of range")
    assert segment == "grid[index]"
    assert clue is not None
    assert clue.shown == ("index", "len(grid)")
    values = values_before("index=1, len(grid)=2\nindex=2, len(grid)=2\nTraceback (most recent call last):\n", clue.shown)
    assert values is not None
    facts = clue.read(values)
    assert facts is not None
    assert (facts["index"], facts["length"]) == ("2", "2")
    assert clue.read({"index": "1", "len(grid)": "2"}) is None  # that would have worked


def test_an_operand_is_named_only_if_it_has_the_type_that_the_message_is_about():
    error = "TypeError: slice indices must be integers or None or have an __index__ method"
    _, clue = crash("return text[half:]", "       ~~~~^^^^^^^", error)
    assert clue is not None
    assert clue.read({"text": "'ab'", "half": "2"}) is None
    error = "TypeError: 'NoneType' object is not iterable"
    _, clue = crash("return sorted(found)", "       ^^^^^^^^^^^^^", error)
    assert clue is not None
    assert clue.read({"found": "None"}) == {"name": "found", "value": "None"}


def test_a_message_that_says_all_there_is_needs_no_look():
    assert crash("return sum(price)", "           ^^^^^", "NameError: name 'price' is not defined")[1] is None
    assert (
        crash("return reversed(set(word))", "       ^^^^^^^^^^^^^^^^^^^", "TypeError: 'set' object is not reversible", ["word"])[1]
        is None
    )
    assert crash("return turned(xs[1:])", "       ^^^^^^^^^^^^^^", "RecursionError: maximum recursion depth exceeded")[1] is None


def test_of_an_unknown_name_the_one_that_is_meant_is_named():
    error = "NameError: name 'prices' is not defined"
    assert names_of(error, "max(prices, key=price.get)", "max(price, key=price.get)") == {"undefined": "prices", "defined": "price"}
    assert names_of(error, "import math", "") == {"undefined": "prices"}
    assert names_of("KeyError: 'a'", "a", "b") == {}


PROGRAM = "def f(xs):\n    ys = sorted(xs)\n    for y in ys:\n        if y > 1:\n            return y\n    return 0\n"


@pytest.mark.parametrize(
    ("corrected", "shape", "facts"),
    [
        (PROGRAM.replace("y > 1", "y > 2"), "line", {"old_lines": "`if y > 1:`", "new_lines": "`if y > 2:`"}),
        (PROGRAM.replace("    ys = sorted(xs)\n", ""), "out", {"old_lines": "`ys = sorted(xs)`"}),
        (PROGRAM.replace("    ys", "    zs = 1\n    ys"), "in", {"new_lines": "`zs = 1`"}),
        (
            "def f(xs):\n    return min(xs)\n",
            "block",
            {"old_lines": "the five lines from `ys = sorted(xs)` to `return 0`", "new_lines": "`return min(xs)`"},
        ),
        (
            PROGRAM.replace("y > 1", "y > 2").replace("return 0", "return 1"),
            "several",
            {"changes": "`return 0` becomes `return 1` and `if y > 1:` becomes `if y > 2:`"},
        ),
    ],
)
def test_all_that_a_correction_changes_is_told(corrected, shape, facts):
    assert edit_facts(edits(PROGRAM, corrected), 6) == (shape, facts)


def test_a_line_that_moves_is_told_as_such():
    inside = "for x in xs:\n    total = 0\n    total += x\nprint(total)\n"
    outside = "total = 0\nfor x in xs:\n    total += x\nprint(total)\n"
    assert is_move(edits(inside, outside))
    assert not is_move(edits(inside, outside.replace("print", "return")))


@pytest.mark.parametrize(
    ("got", "said"),
    [("5", True), ("4", False), ("9", False), ("None", False), ("'6'", False)],
)
def test_a_trial_changes_the_value_keeps_its_type_and_is_not_further_off(got, said):
    assert is_worth_trying("4", got, "6") is said


EXITS = """def f(rows, wanted):
    found = []
    for row in rows:
        for cell in row:
            if cell == wanted:
                found.append(cell)
                {exit}
    return found
"""


@pytest.mark.parametrize(
    ("way_out", "corrected", "names"),
    [
        ("return found", EXITS.replace("                {exit}\n", ""), ("cell",)),
        ("break", EXITS.replace("                {exit}\n", ""), ("cell",)),
        ("break", EXITS.replace("{exit}", "break").replace("cell == wanted", "cell != wanted"), None),  # that is not what is wrong
        ("pass", EXITS.replace("                {exit}\n", ""), None),
    ],
)
def test_the_item_with_which_a_loop_is_left_too_early_is_printed(way_out, corrected, names):
    found = exit_of(EXITS.replace("{exit}", way_out), corrected)
    assert (found and found[1].shown) == names
    if found is not None:
        facts = found[1].read({"cell": "3"})
        assert facts == {"inputs": "`cell` is `3`", "exit": way_out, "iterated": "row"}
