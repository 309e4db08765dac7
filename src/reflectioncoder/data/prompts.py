"""The requests that models are trained on and asked with: one text for training, generation and evaluation."""

from __future__ import annotations

import ast

from reflectioncoder import syntax
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Block, Sample, assistant, user

ONE_OFF = "Write a complete Python function for the problem."
REFLECT = (
    "Solve the problem. Write assertion tests that cover edge cases and run them. If anything fails, find the root cause, "
    "correct it and test again."
)
OPENING_FENCE = "```python\n"
"""The beginning of every one-off answer; generation prefills it."""
CLOSING_FENCE = "\n```"
"""The end of every one-off answer; generation stops there."""


def one_off_request(prompt: str, instruction: str = "") -> str:
    """A problem in words is a request as it stands; code to begin with, if there is any, stands below it in a fence."""
    return statement(prompt, instruction) if instruction else f"{ONE_OFF}\n{statement(prompt)}"


def reflection_request(prompt: str, instruction: str = "") -> str:
    return f"{REFLECT}\n{statement(prompt, instruction)}"


def statement(prompt: str, instruction: str = "") -> str:
    """The problem as it is shown: in words, in code, or both."""
    words = instruction.strip("\n")
    code = f"{OPENING_FENCE}{prompt.strip(chr(10))}{CLOSING_FENCE}" if prompt.strip() else ""
    return "\n".join(part for part in (words, code) if part)


def one_off_answer(program: str) -> str:
    """The complete program in a fence: what a one-off request should be answered with."""
    return OPENING_FENCE + program.strip("\n") + CLOSING_FENCE


def program_of_answer(text: str) -> str:
    """The program of a one-off answer."""
    return text.removeprefix(OPENING_FENCE).removesuffix(CLOSING_FENCE)


def without_docstring(program: str) -> str:
    """The program without its functions' docstrings (a body of nothing else keeps it)."""
    lines = program.split("\n")
    for node in ast.walk(syntax.parse(program)):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None and len(node.body) > 1:
            first = node.body[0]
            if node.body[1].lineno <= (first.end_lineno or first.lineno) or first.lineno == node.lineno:
                continue  # other code stands on its lines
            for number in range(first.lineno - 1, first.end_lineno or first.lineno):
                lines[number] = "\0"
    return "\n".join(line for line in lines if line != "\0")


def answer_program(problem: Problem) -> str:
    """The reference as a model should answer it: complete, stand-alone, without the docstring."""
    return without_docstring(problem.reference).strip("\n") + "\n"


def one_off_sample(problem: Problem) -> Sample:
    """The problem as a plain instruction sample (`generation`): request and reference answer."""
    return Sample(
        (user(one_off_request(problem.prompt, problem.instruction)), assistant(Block("text", one_off_answer(answer_program(problem))))),
        "generation",
        {"id": f"one_off:{problem.task_id}", "metadata": {"author": "reference", "task_id": problem.task_id}},
    )
