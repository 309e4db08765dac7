"""Writes diagnoses: what the interpreter showed, which mistake explains it, and what changes.

A diagnosis is an observation (chosen by the failure) and a cause (chosen by the slip), each in one of several phrasings. The field
values are real: `{call}`, `{expected}` and `{actual}` come from the failing assertion and the session, `{error}` from the traceback.
"""

from __future__ import annotations

import ast
import random
import re
from dataclasses import dataclass

from reflectioncoder import syntax
from reflectioncoder.builder.grammar import say
from reflectioncoder.builder.mutation.misreadings import FAMILIES, repair_of
from reflectioncoder.builder.mutation.program import Mutation

OPENINGS = (
    "I write the function and test it, edge cases included.",
    "Here is a first version with assertions for the stated behaviour.",
    "Let me implement this and check it with a few assertions.",
    "I start with an implementation and run tests on it.",
    "First attempt, followed by tests for normal and edge cases.",
    "I will write the function, then run assertions against it.",
)

OBSERVATIONS: dict[str, tuple[str, ...]] = {
    "wrong_value": (
        "`{call}` gives `{actual}`, but it should give `{expected}`.",
        "The assertion on `{call}` fails: the result is `{actual}` instead of `{expected}`.",
        "For `{call}` the expected value is `{expected}`; my code returns `{actual}`.",
        "The test shows a wrong result: `{call}` is `{actual}`, not `{expected}`.",
        "`{call}` should be `{expected}`. It is `{actual}`.",
    ),
    "assertion": (
        "The assertion `{test}` fails.",
        "My code does not satisfy `{test}`.",
        "One test does not hold: `{test}`.",
        "The failing check is `{test}`.",
        "`{test}` raises an AssertionError.",
    ),
    "exception": (
        "The run stops with `{error}`.",
        "The interpreter reports `{error}`.",
        "Instead of a result there is an exception: `{error}`.",
        "The test raises `{error}`.",
        "Running it fails with `{error}`.",
    ),
    "syntax": (
        "The code does not even parse: `{error}`.",
        "The interpreter rejects the program with `{error}`.",
        "This is not valid Python: `{error}`.",
        "There is a syntax problem: `{error}`.",
        "Nothing ran, because of `{error}`.",
    ),
    "timeout": (
        "The tests do not finish in time.",
        "The program runs too long and is stopped.",
        "The run is cut off: the code never ends.",
        "No result arrives within the time limit.",
        "The interpreter had to interrupt an endless computation.",
    ),
}

_REPLACED = (
    "{why}: `{wrong}` must be `{correct}`.",
    "{why}. I wrote `{wrong}`, it has to be `{correct}`.",
    "{why}, so `{wrong}` becomes `{correct}`.",
    "The cause: {why_low}. The right code is `{correct}`, not `{wrong}`.",
    "{why}. Replacing `{wrong}` by `{correct}` corrects this.",
)
_REMOVED = (
    "{why}: `{correct}` is missing.",
    "{why}. I add `{correct}`.",
    "{why}; the code lacks `{correct}`.",
    "The cause: {why_low}. It needs `{correct}`.",
    "{why}. Putting in `{correct}` corrects this.",
)

WHY: dict[str, tuple[str, ...]] = {
    "wrong_comparison": (
        "The boundary case is treated wrongly", "The comparison is off at its limit", "The limit itself falls on the wrong side",
        "I mixed up strict and non-strict comparison", "Equality at the boundary is not handled as stated",
    ),
    "inverted_comparison": (
        "The comparison points the wrong way", "The test is the opposite of what is needed", "I inverted the comparison",
        "The condition accepts exactly the wrong cases", "The comparison is reversed",
    ),
    "wrong_operator": (
        "The wrong operator is used", "I combined the values with the wrong operator", "The operator does not match the statement",
        "The formula has a wrong operator", "The two parts are combined wrongly",
    ),
    "wrong_division": (
        "The kind of division is wrong", "Quotient, remainder and true division are mixed up", "I used the wrong division operator",
        "The division must be of another kind", "This is not the division that the task asks for",
    ),
    "off_by_one_range": (
        "The loop bounds are off by one", "The range starts or ends at the wrong number", "The loop misses or adds one value",
        "The range is shifted by one", "One iteration is missing or too many",
    ),
    "off_by_one_index": (
        "The index is off", "The slice takes the wrong part", "The position is wrong by a bit", "I cut at the wrong place",
        "The bounds of the access are wrong",
    ),
    "wrong_constant": (
        "A constant is wrong", "I used a constant that the task does not state", "The literal does not match the description",
        "The value written in the code is not the required one", "The constant was remembered wrongly",
    ),
    "swapped_arguments": (
        "The order of the operands is wrong", "Two values are swapped", "I passed the values in the wrong order",
        "The arguments are the wrong way round", "The order matters here and is reversed",
    ),
    "wrong_method": (
        "The wrong function is called", "I confused two functions", "This call does something else than needed",
        "The call does not do what the task asks for", "Another function is needed here",
    ),
    "missing_conversion": (
        "A conversion is missing", "The value is used without being converted first", "A call around the value was forgotten",
        "The raw value is used where a converted one is needed", "I forgot to convert the value",
    ),
    "wrong_variable": (
        "The wrong variable is used", "I used another variable than the one meant", "Two variables are mixed up",
        "The expression refers to the wrong name", "A different variable belongs here",
    ),
    "misspelt_name": (
        "A name is misspelt", "The variable is called differently where it is defined", "The name does not exist",
        "I misspelt a variable", "This name was never defined",
    ),
    "wrong_initial_value": (
        "The initial value is wrong", "The start value spoils the result", "The accumulator starts with the wrong value",
        "The variable is initialised wrongly", "The computation begins from a wrong value",
    ),
    "missing_guard": (
        "A special case is not handled", "The check for the special case is missing", "An edge case falls through",
        "I forgot to treat an edge case first", "The guard was forgotten",
    ),
    "missing_base_case": (
        "The recursion has no proper end", "A base case of the recursion is missing", "The recursive function never stops in this case",
        "I forgot a base case", "The recursion goes on where it should stop",
    ),
    "early_return": (
        "The `return` stands inside the loop", "The function returns during the first round of the loop",
        "The loop never gets past its first item", "The loop is left too early", "The result is returned before the loop is done",
    ),
    "printed_not_returned": (
        "The result is printed, not returned", "The function prints its result and returns None",
        "`print` is used where `return` is needed", "The caller gets None because the value is only printed",
        "The value must be returned to the caller, not shown",
    ),
    "missing_return": (
        "The function returns nothing", "The value is computed and then lost", "The word `return` is missing",
        "The result is never handed back", "Without `return` the caller gets None",
    ),
    "negated_condition": (
        "The condition is the wrong way round", "The condition is negated wrongly", "The two branches are exchanged",
        "The test must be inverted", "The branch is taken in exactly the wrong cases",
    ),
    "missing_step": (
        "A step is missing", "One statement was forgotten", "The code skips a necessary step", "I left out a step",
        "Part of the work is never done",
    ),
    "wrong_update": (
        "The variable is updated wrongly", "The accumulator is not updated as it should be", "Each round spoils the value so far",
        "The update inside the loop is wrong", "The running value is changed in the wrong way",
    ),
    "mutable_default": (
        "The default argument is shared between calls", "A mutable default keeps values of earlier calls",
        "The default object is created once and grows with every call", "Results of earlier calls leak into later ones",
        "A container as default argument lives on between calls",
    ),
    "missing_import": (
        "A module is used without being imported", "An import is missing", "The module was never imported", "I forgot an import",
        "The needed name is not imported",
    ),
    "syntax_slip": (
        "A character is missing or wrong in this line", "The line is not complete Python", "I made a slip in the syntax",
        "The line has a typing error", "This line is malformed",
    ),
}  # fmt: skip

_MOVED = (
    "{why}; it must come after the loop.",
    "{why}. I move `{correct}` behind the loop.",
    "{why}: `{correct}` belongs after the loop.",
    "The cause: {why_low}. It has to stand after the loop.",
    "{why}. Dedenting `{correct}` corrects this.",
)


@dataclass(frozen=True)
class Failure:
    """A failing execution: the exception line, the failed assertion, and the actual value of its call."""

    kind: str
    error: str
    test: str = ""
    call: str = ""
    expected: str = ""
    actual: str = ""


def failing_test(output: str, tests: tuple[str, ...]) -> str | None:
    """Return the shown test in a traceback, where a comment may follow it; None if there is none."""
    return next((test for test in tests if re.search(rf"\n    {re.escape(test.strip())}(?:  #[^\n]*)?\n", output)), None)


def split_assertion(test: str) -> tuple[str, str] | None:
    """Return (call, expected) of `assert call == expected`, `assert call` and `assert not call`, else None."""
    node = syntax.parse(test).body[0]
    match node.test if isinstance(node, ast.Assert) else None:
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            call, expected = left, ast.unparse(right)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call):
            expected = "False"
        case ast.Call() as call:
            expected = "True"
        case _:
            return None
    return ast.get_source_segment(test, call) or "", expected


def assertion_of(call: str, expected: str) -> str:
    """Return an idiomatic assertion: `assert call`, `assert not call`, `is None`, else `==`."""
    if expected in ("True", "False"):
        return f"assert {call}" if expected == "True" else f"assert not {call}"
    return f"assert {call} {'is' if expected == 'None' else '=='} {expected}"


def as_people_write(test: str) -> str:
    """Return an assertion without `== True` or `== False`, if the other side is a single call."""
    node = syntax.parse(test).body[0]
    match node.test if isinstance(node, ast.Assert) else None:
        case ast.Compare(left=ast.Call(), ops=[_], comparators=[ast.Constant(value=bool())]):
            parts = split_assertion(test)
            return assertion_of(*parts) if parts else test
    return test


def error_line(output: str) -> str:
    """Return the last line of a traceback, `Name: message`."""
    lines = [
        line for line in output.rstrip().split("\n") if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Iteration|Exit)\b", line)
    ]
    return lines[-1] if lines else output.rstrip().split("\n")[-1]


def observe(failure: Failure, rng: random.Random, *, python: bool = True) -> str:
    """Return a sentence about what the interpreter showed; with `python=False` it does not mention Python."""
    sentences = [text for text in OBSERVATIONS[failure.kind] if python or not re.search("Python|AssertionError", text)]
    return rng.choice(sentences).format(**vars(failure))


def diagnose(mutation: Mutation, failure: Failure, rng: random.Random) -> str:
    """Write the text block between a failing execution and its correction."""
    observation = observe(failure, rng)
    if mutation.operator in FAMILIES:
        facts = {"operator": mutation.operator, "wrong": mutation.wrong, "correct": mutation.correct, "asked": mutation.asked}
        known = {name: value for name, value in facts.items() if value and "`" not in value}
        known |= {"gone": f"`{known['wrong']}`"} if "wrong" in known else {}
        return f"{observation} {say(f'fix.{repair_of(mutation)}', known, rng)}"
    why = rng.choice(WHY[mutation.operator])
    shapes = _MOVED if mutation.operator == "early_return" else _REPLACED if mutation.wrong else _REMOVED
    fields = {
        "why": why,
        "why_low": why[0].lower() + why[1:] if not why.startswith(("I ", "`")) else why,
        "wrong": _one_line(mutation.wrong),
        "correct": _one_line(mutation.correct),
    }
    return f"{observation} {rng.choice(shapes).format(**fields)}"


def _one_line(source: str) -> str:
    return " ".join(source.split())
