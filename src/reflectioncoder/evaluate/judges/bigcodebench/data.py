"""BigCodeBench-Hard's files, one per split, and its requests. Source: BigCodeBench, arXiv 2406.15877."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Split = Literal["complete", "instruct"]


class SplitFile(NamedTuple):
    """The file of a split, and the SHA-256 of its content."""

    name: str
    sha256: str


FILES: dict[Split, SplitFile] = {
    "complete": SplitFile("BigCodeBench-complete-hard.json", "a5b00f061b44afeddad4afcf466613705f62892008a2d46669528a9ca3e4fc91"),
    "instruct": SplitFile("BigCodeBench-instruct-hard.json", "3da133aeaaaeb4f68dcc3e02acfde36523f2b4475da009510a74149f28f489f4"),
}
NUM_TASKS = 148
VERSION = "v0.1.3, as carried by evalchemy"
URL = "https://github.com/mlfoundations/evalchemy/raw/6ed6741/eval/chat_benchmarks/BigCodeBench/data/{name}"
_REQUEST = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
EXTRA = "pip install 'reflectioncoder[bigcodebench]'"


def instruction_for(row: dict[str, Any], split: Split) -> str:
    """Return the published request."""
    asked = row["prompt"].strip()
    return f"{_REQUEST}\n```\n{asked}\n```\n" if split == "complete" else f"{_REQUEST}\n{asked}\n"


def calibrated(code_prompt: str, solution: str) -> str:
    """Return the program of a solution, preceded by a stub with the prompt's imports, as the official `--calibrated` does."""
    return f"{code_prompt}\n    pass\n{solution}"
