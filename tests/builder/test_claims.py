"""What a text states is found, and checked against the executions, the code and the problem before it."""

import pytest

from reflectioncoder.builder.claims import check_blocks, check_sample, check_text, count_claims
from reflectioncoder.builder.claims.evidence import Evidence, contains, output_lines, tokens_of
from reflectioncoder.data.samples import Block, Sample, assistant, user

PROBLEM = "Write `total(xs)`, the sum of a list.\n\n>>> total([1, 2])\n3\n"
FIRST = """def total(xs):
    "# ... \\n"  # here
    result = 0
    for i in range(1, len(xs)):
        result += xs[i]
    return result

assert total([1, 2]) == 3
assert total([]) == 0"""
FAILS = """Traceback (most recent call last):
  File "main.py", line 7, in <module>
    assert total([1, 2]) == 3
           ^^^^^^^^^^^^^^^^^^
AssertionError"""
PROBE = 'xs = [1, 2]\nfor i in range(1, len(xs)):  # "# none"\n    print(f"{i=}, {xs[i]=}")\nprint(total(xs), [xs], "two words", -7)'
PROBED = "i=1, xs[i]=2\n2 [[1, 2]] two words -7"
NEXT = FIRST.replace("range(1, len(xs))", "range(len(xs))").replace("3\n", "3\nassert total([4]) == 4\n")

SHOWN, WRITTEN, NOWHERE = "shown", "written", "unsupported"
# A text, and what is claimed in it: (text, kind, role, status).
TEXTS = [
    ("`total([1, 2])` gives `2`.", [("total([1, 2])", "code", "none", WRITTEN), ("2", "value", "output", SHOWN)]),
    ("`total([1, 2])` gives `1`.", [("total([1, 2])", "code", "none", WRITTEN), ("1", "value", "output", NOWHERE)]),
    ("It should give `3`.", [("3", "value", "expected", WRITTEN)]),
    (
        "`total([1, 2])` gives `2`, but it should give `3`.",
        [("total([1, 2])", "code", "none", WRITTEN), ("2", "value", "output", SHOWN), ("3", "value", "expected", WRITTEN)],
    ),
    ("The result is `7` instead of `3`.", [("7", "value", "output", NOWHERE), ("3", "value", "expected", WRITTEN)]),
    (
        "For `total([1, 2])` the expected value is `3`; my code returns `2`.",
        [("total([1, 2])", "code", "none", WRITTEN), ("3", "value", "expected", WRITTEN), ("2", "value", "output", SHOWN)],
    ),
    ("It returned [2] rather than [3].", [("[2]", "value", "output", NOWHERE), ("[3]", "value", "expected", NOWHERE)]),
    ("It printed [[1, 2]].", [("[[1, 2]]", "value", "output", SHOWN)]),
    ("It printed [1, 2].", [("[1, 2]", "value", "output", NOWHERE)]),  # only within another list
    ("It printed two words, and then -7.", [("-7", "value", "output", SHOWN)]),
    ("It printed 7.", [("7", "value", "output", NOWHERE)]),
    ('The output has "two words" in it.', [("two words", "value", "output", SHOWN)]),
    ('It prints "done" at the end.', [("done", "value", "output", NOWHERE)]),
    ("The probe shows `i=1`.", [("i=1", "binding", "output", SHOWN)]),
    ("The loop starts at `i = 1`.", [("i = 1", "binding", "none", SHOWN)]),
    ("The loop starts at `i = 5`.", [("i = 5", "binding", "none", NOWHERE)]),
    ("`i` is `1` in the first round.", [("i", "name", "none", SHOWN), ("1", "binding", "none", SHOWN)]),
    ("Worked out it is `2 - (-7)`.", [("2 - (-7)", "code", "none", WRITTEN)]),
    ("Worked out it is `2 - (-9)`.", [("2 - (-9)", "code", "none", NOWHERE)]),
    ("That is `'two words'.upper()`.", [("two words'.upper()", "code", "none", WRITTEN)]),
    ("That is `'three words'.upper()`.", [("three words'.upper()", "code", "none", NOWHERE)]),
    ("xs[i] = 2 there.", [("xs[i] = 2", "binding", "none", SHOWN)]),
    ("With `xs = [1, 2]` the loop runs once.", [("xs = [1, 2]", "binding", "none", WRITTEN)]),
    ("`result = 0` is fine.", [("result = 0", "binding", "none", WRITTEN)]),
    ("`total([1, 2]) == 3` fails.", [("total([1, 2]) == 3", "binding", "none", WRITTEN)]),
    ("The interpreter reports `AssertionError`.", [("AssertionError", "error", "output", SHOWN)]),
    ("It is an AssertionError.", [("AssertionError", "error", "output", SHOWN)]),
    ("It raises `IndexError: list index out of range`.", [("IndexError: list index out of range", "error", "output", NOWHERE)]),
    ("A KeyError would be another matter.", [("KeyError", "error", "none", NOWHERE)]),
    (
        "I replace `range(1, len(xs))` by `range(len(xs))`.",
        [("range(1, len(xs))", "code", "none", WRITTEN), ("range(len(xs))", "code", "none", WRITTEN)],
    ),
    ("`xs[0]` is left out.", [("xs[0]", "code", "none", WRITTEN)]),
    ("`xs[17]` is left out.", [("xs[17]", "code", "none", NOWHERE)]),
    ("`helper` does the work.", [("helper", "name", "none", NOWHERE)]),
    ("`result` and `len` are names.", [("result", "name", "none", WRITTEN), ("len", "name", "none", WRITTEN)]),
    ("`max(xs)` is not needed.", [("max(xs)", "code", "none", WRITTEN)]),
    ("`total([5])` returns `0`.", [("total([5])", "code", "none", NOWHERE), ("0", "value", "output", NOWHERE)]),
    ("Calling total([1, 2]) gave 2.", [("total([1, 2])", "code", "none", WRITTEN), ("2", "value", "output", SHOWN)]),
    ("`total([1, 2])` is `6`.", [("total([1, 2])", "code", "none", WRITTEN), ("6", "value", "output", NOWHERE)]),
    ("`None` is returned.", [("None", "value", "output", NOWHERE)]),
    ("The function returns None.", [("None", "value", "output", NOWHERE)]),
    ("Expected 3 but got 2.", [("3", "value", "expected", WRITTEN), ("2", "value", "output", SHOWN)]),
    (
        "The initial value is wrong, so `result = 0` becomes `result = 1`.",
        [("result = 0", "binding", "none", WRITTEN), ("result = 1", "binding", "expected", NOWHERE)],
    ),
    ('It needs `return "#" + "..." + xs`.', [('return "#" + "..." + xs', "code", "none", NOWHERE)]),
    ('The docstring has `"# ... \\n"`.', [("# ... \\n", "value", "none", WRITTEN)]),
    ("result = 0 + 2 in the end.", [("0", "value", "none", WRITTEN), ("2", "value", "none", SHOWN)]),
    ("This is due to the `TypeError: no`.", [("TypeError: no", "error", "output", NOWHERE)]),
    ("The output of the second test was 9.", [("9", "value", "output", NOWHERE)]),
    ("The list [1, 2] loses its first element.", [("[1, 2]", "value", "none", WRITTEN)]),
    ("`range(1, …)` skips one.", [("range(1, …)", "code", "none", WRITTEN)]),
    ("``for i in range(len(xs)):`` is right.", [("for i in range(len(xs)):", "code", "none", WRITTEN)]),
    ("Like this:\n```python\nfor i in range(len(xs)):\n```", [("for i in range(len(xs)):", "code", "none", WRITTEN)]),
    ("I write the function and test it, edge cases included.", [("edge cases", "tests", "none", WRITTEN)]),
    ("The edge case of an empty list is not handled.", []),
    ("There are 2 assertions, and the bounds are off by 1; see line 4.", []),
    ("1. The loop starts too late.\n2. Nothing else is wrong.", []),
    ("I'm sure it's the loop's start, isn't it?", []),
    ("The tests do not finish in time.", []),
]


def context():
    evidence = Evidence(PROBLEM, [FIRST, PROBE])
    evidence.add_execution(FAILS)
    evidence.add_execution(PROBED)
    return evidence


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=[text for text, _ in TEXTS])
def test_what_a_text_states_is_found_and_checked(text, expected):
    claims = check_text(text, context(), NEXT)
    found = [(claim.stated.text.strip("\"'"), claim.stated.kind, claim.stated.role, claim.status) for claim in claims]
    assert found == expected


def test_a_text_is_checked_against_what_stands_before_it():
    blocks = (
        Block("text", "It gives `2`."),
        Block("code", FIRST),
        Block("execution", "2"),
        Block("text", "It gives `2`."),
    )
    assert [(claim.block, claim.status, claim.is_invented_output) for claim in check_blocks("", blocks)] == [
        (0, "unsupported", True),
        (3, "shown", False),
    ]


@pytest.mark.parametrize(
    ("arguments", "is_edge"),
    [
        ("[]", True),
        ("''", True),
        ("0", True),
        ("-3", True),
        ("None", True),
        ("[7]", True),
        ("{}", True),
        ("5, 9", False),
        ("'ab'", False),
    ],
)
def test_edge_cases_are_nothing_zero_negative_numbers_and_single_items(arguments, is_edge):
    claims = check_text("I test edge cases too.", Evidence(), f"assert f({arguments}) == 1")
    assert [claim.status == "written" for claim in claims] == [is_edge]


def test_lines_that_a_traceback_repeats_show_no_values():
    lines = output_lines(f"before\n{FAILS}\nafter\n    indented")
    assert [line for line, is_echo in lines if not is_echo] == ["before", "AssertionError", "after", "    indented"]


@pytest.mark.parametrize(
    ("whole", "part", "found"),
    [
        ("[1, 2]", "[1,2]", True),
        ('x = "a"', "'a'", True),
        ("-5", "5", False),
        ("n-5", "5", True),
        ("n - 5", "-5", False),
        ("1.5", "1", False),
        ("f(x, 12)", "1", False),
        ("abc", "ab", False),
    ],
)
def test_tokens_are_found_whole(whole, part, found):
    assert contains(tokens_of(whole), tokens_of(part)) == found


def test_the_claims_of_samples_are_counted():
    texts = ("It gives `2`, not `3`.", "It gives `5`.")
    samples = [
        Sample((user(PROBLEM), assistant(Block("code", FIRST), Block("execution", "2"), Block("text", text))), "reflection")
        for text in texts
    ]
    counts = count_claims(samples).to_json()
    assert counts == {
        "num_samples": 2,
        "num_supported_samples": 1,
        "num_claims": 3,
        "num_shown": 1,
        "num_written": 1,
        "num_unsupported": 1,
        "share_of_values_shown": 0.333,
        "values": {
            "output": {"num": 2, "num_shown": 1, "num_unsupported": 1},
            "expected": {"num": 1, "num_shown": 0, "num_unsupported": 0},
            "none": {"num": 0, "num_shown": 0, "num_unsupported": 0},
        },
    }
    assert check_sample(Sample((user(PROBLEM),), "generation")) == []
