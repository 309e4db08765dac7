"""Builds the requests that models are trained on and asked with: one wording for training, generation and evaluation."""

from __future__ import annotations

import ast
import re

from reflectioncoder import syntax
from reflectioncoder.data.problems import Problem
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.languages import CODE_LANGUAGES, PYTHON

_ONE_OFF = "Write a complete {title} function for the problem."
ONE_OFF = _ONE_OFF.format(title=PYTHON.title)
REFLECT = (
    "Solve the problem. Write assertion tests that cover edge cases and run them. If anything fails, find the root cause, "
    "correct it and test again."
)
OPENING_FENCE = "```python\n"
"""The beginning of every one-off answer in Python; generation prefills it."""
CLOSING_FENCE = "\n```"
"""The end of every one-off answer; generation stops there."""


def one_off_request(prompt: str, instruction: str = "", language: str = PYTHON.name) -> str:
    """Return the one-off request: the instruction, or a fixed sentence if there is none, and the code to begin with in a fence."""
    shown = statement(prompt, instruction, language)
    return shown if instruction else f"{_ONE_OFF.format(title=CODE_LANGUAGES[language].title)}\n{shown}"


def reflection_request(prompt: str, instruction: str = "", language: str = PYTHON.name) -> str:
    return f"{REFLECT}\n{statement(prompt, instruction, language)}"


def opening_fence(language: str = PYTHON.name) -> str:
    return f"```{CODE_LANGUAGES[language].fence}\n"


def statement(prompt: str, instruction: str = "", language: str = PYTHON.name) -> str:
    """Return the problem statement: in words, in code, or both."""
    words = instruction.strip("\n")
    code = f"{opening_fence(language)}{prompt.strip(chr(10))}{CLOSING_FENCE}" if prompt.strip() else ""
    return "\n".join(part for part in (words, code) if part)


def one_off_answer(program: str, language: str = PYTHON.name) -> str:
    """Return the complete program in a fence, the expected answer to a one-off request."""
    return opening_fence(language) + program.strip("\n") + CLOSING_FENCE


def program_of_answer(text: str) -> str:
    """Return the program in a one-off answer."""
    return re.sub(r"\A```\w*\n", "", text).removesuffix(CLOSING_FENCE)


def without_docstring(program: str) -> str:
    """Return the program without its functions' docstrings (a function whose body is only a docstring keeps it).

    The blank lines between a docstring and the first statement go with it: nobody leaves them behind a signature.
    """
    lines = program.split("\n")
    for node in ast.walk(syntax.parse(program)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None and len(node.body) > 1:
            first, second = node.body[:2]
            end = first.end_lineno or first.lineno
            next_line = min([second.lineno, *(decorator.lineno for decorator in getattr(second, "decorator_list", ()))])
            if next_line <= end or first.lineno == node.lineno:
                continue  # other code shares its lines
            for number in range(first.lineno - 1, next_line - 1):
                if number < end or not lines[number].strip():
                    lines[number] = "\0"
    return "\n".join(line for line in lines if line != "\0")


def answer_program(problem: Problem) -> str:
    """Return the reference as a model should answer: complete, stand-alone, without docstring (js, cpp: left-margin comments)."""
    if problem.language != PYTHON.name:
        lines = problem.reference.strip("\n").split("\n")
        return "\n".join(line for line in lines if not line.startswith("//")).strip("\n") + "\n"
    return without_docstring(problem.reference).strip("\n") + "\n"


def one_off_sample(problem: Problem, program: str | None = None, id: str = "", author: str = "reference") -> Sample:
    """Return the problem as a plain instruction sample (`generation`): the request, answered by a program (default: the reference)."""
    program = answer_program(problem) if program is None else program
    return Sample(
        (
            user(one_off_request(problem.prompt, problem.instruction, problem.language)),
            assistant(Block("text", one_off_answer(program, problem.language))),
        ),
        "generation",
        {"id": id or f"one_off:{problem.task_id}", "metadata": {"author": author, "task_id": problem.task_id}},
    )
