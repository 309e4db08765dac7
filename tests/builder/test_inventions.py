"""Outputs that a model made up are found in its sentences; what it says of its program, of tests and of real outputs is left alone."""

import pytest

from reflectioncoder.builder.claims import invented_output
from reflectioncoder.data.samples import Block

PROBLEM = "Write `total(xs)`, the sum of a list; for an empty list it is 0. Text raises `TypeError`.\n\n>>> total([1, 2])\n3\n"
FIRST = "def total(xs):\n    result = 0\n    for i in range(1, len(xs)):\n        result += xs[i]\n    return result\n\n"
TESTS = "assert total([]) == 0\nassert total([1, 2]) == 3\nassert total([5, 5, 6]) == 16"
HEAD = 'Traceback (most recent call last):\n  File "main.py", line 8, in <module>\n'
FAILS = HEAD + "    assert total([1, 2]) == 3\n           ^^^\nAssertionError"
PROBE, PROBED = "print(f'{xs[1]=}, {result=}')\nprint(total([1, 2]), [4, 9])", "xs[1]=2, result=2\n2 [4, 9]"
NEXT = FIRST.replace("range(1, len(xs))", "range(len(xs))") + TESTS


def invented(text, *, first="", probe=True):
    looked = [Block("code", PROBE), Block("execution", PROBED)] if probe else []
    opening = [Block("text", first)] if first else []
    blocks = [*opening, Block("code", FIRST + TESTS), Block("execution", FAILS), *looked, Block("text", text), Block("code", NEXT)]
    return invented_output(PROBLEM, blocks)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It prints 7.", "7"),
        ("`total([1, 2])` returned `5`.", "5"),
        ("The run gave `[1, 2, 3]`.", "[1, 2, 3]"),
        ("The function gave `None`.", "None"),
        ("I ran it, and it returned None.", "None"),
        ("Calling total([7]) gives 70.", "70"),
        ("The output was 12.", "12"),
        ("The interpreter showed `-1`.", "-1"),
        ("I got 42 instead of 3.", "42"),
        ('It printed "done" and went on.', '"done"'),
        ("The result is `8`, which is too much.", "8"),
        ("The call produced (1, 2).", "(1, 2)"),
        ("It raised `IndexError: list index out of range`.", "IndexError: list index out of range"),
        ("The run stopped with KeyError.", "KeyError"),
        ("It raises ZeroDivisionError.", "ZeroDivisionError"),
        ("`result=9` was printed.", "result=9"),
        ("The probe shows `xs[1]=1`.", "xs[1]=1"),
        ("The output shows `result=3`.", "result=3"),
        ("`total([1, 2])` returned `3`.", "3"),  # that very assertion has failed
        ("total([1, 2]) gives 3 here.", "3"),
        ("`total([1, 2])` is 3 according to the output: it printed 3.7.", "3.7"),
        ("The console reported {'a': 1}.", "{'a': 1}"),
        ("It evaluated to True.", "True"),
        ("It computed 1.5 in the first round.", "1.5"),
        ("Running the code yielded 'abc'.", "'abc'"),
        ("`total([])` came out as `1`.", "1"),
    ],
)  # fmt: skip
def test_what_no_run_showed_is_found(text, found):
    assert invented(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "The loop starts at 1, so the first item is skipped.",
        "`total([1, 2])` gives `2`.",
        "`total([1, 2])` gives `2`, but it should give `3`.",
        "The output shows `result=2` and `xs[1]=2`.",
        "It printed 2 and then [4, 9].",
        "It printed 2, not 3.",
        "The test expects 3.",
        "The interpreter reports an AssertionError.",
        "For an empty list it returns 0, as the problem says.",
        "The problem says that `total([1, 2])` is 3.",
        "Text raises TypeError, as the problem demands.",
        "With this change `total([1, 2])` returns `3`.",
        "Now total([5, 5, 6]) gives 16.",
        "It should return 6 for [1, 2, 3].",
        "It would return 11 for `total([5, 6])`.",
        "The correct loop will give 9.",
        "`range(1, len(xs))` leaves out index 0.",
        "An index beyond the end raises IndexError if the list is too short.",
        "The function returns the sum of all items but the first.",
        "`result` starts at 0 and the loop adds `xs[i]` from the second item on.",
        "The assertion `total([1, 2]) == 3` fails.",
        "It returned 2 rather than 3.",
        "Only one of the 3 tests was reached after the first.",
        "The sum lacks the first item. Replace `range(1, len(xs))` by `range(len(xs))`.",
    ],
)  # fmt: skip
def test_honest_explanations_pass(text):
    assert invented(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I write the function and test it.", None),
        ("It returns 0 for an empty list.", None),
        ("`total` returns 16 for `[5, 5, 6]`.", None),
        ("I tried it before, and it printed 99.", "99"),
        ("This prints 99.", "99"),
    ],
)
def test_an_opening_may_say_what_request_program_and_tests_say(text, found):
    assert invented("The first item is left out.", first=text) == found


@pytest.mark.parametrize(
    ("program", "text", "found"),
    [
        ("def f(x):\n    print(x)\n", "The function returned None.", None),
        ("def f(x):\n    if x:\n        return 1\n", "It returns None.", None),
        ("def f(x):\n    return 1\n", "It returned None.", "None"),
        ("def f(x):\n    return x > 1\n", "`f(1)` returns False.", None),
        ("def f(x):\n    return -1\n", "It returns -1.", None),
        ("def f(x):\n    return -1\n", "The run printed -1.", "-1"),
        ("def f(x, limit=7):\n    return x\n", "The limit gets 7 by default.", None),
    ],
)
def test_what_follows_from_the_program_is_no_invention_unless_a_run_is_said_to_have_shown_it(program, text, found):
    blocks = [
        Block("code", f"{program}\nassert f(5) == 4"),
        Block("execution", "AssertionError"),
        Block("text", text),
        Block("code", "f = 1"),
    ]
    assert invented_output("Write f.", blocks) == found
