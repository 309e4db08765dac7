"""Reads files of samples: JSON Lines in EvalPlus's schema, or EvalPlus's folder with one folder for each task.

A row has `task_id` with `solution`, a whole program, or `completion`, which continues the prompt; if both are given, `solution` wins.
A folder holds numbered whole programs: `HumanEval_0/0.py`, `HumanEval_0/1.py`, … A task may have several samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reflectioncoder.choices import CutRule
from reflectioncoder.data.answer_forms import read_form
from reflectioncoder.data.answer_reasons import DEFINING, REASONS, Reason
from reflectioncoder.data.answers import ReadAnswer, read_answer
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.completions import cut_completion, read_continuation
from reflectioncoder.data.files import read_jsonl
from reflectioncoder.data.python_source import parse
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.languages import PYTHON
from reflectioncoder.terminal import in_line

_FENCE_LINE = re.compile(r"^[ \t>]*(?:`{3,}|~{3,})", re.MULTILINE)


def sample_rows(path: Path, benchmark: Benchmark) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (location, row) from a file of samples, or from a folder as EvalPlus writes it. Blank lines are skipped.

    Raises:
        UsageError: no such file, a line that is not a JSON object, a folder that belongs to no task; the message names it.
    """
    if path.is_dir():
        yield from _rows_of_folder(path, benchmark)
        return
    for number, row in read_jsonl(path, skip_blank=True):
        yield f"{path}:{number}", row


def _rows_of_folder(path: Path, benchmark: Benchmark) -> Iterator[tuple[str, dict[str, Any]]]:
    names: dict[str, list[str]] = {}
    for task_id in (*(task.task_id for task in benchmark.tasks), *sorted(benchmark.left_out)):
        names.setdefault(task_id.replace("/", "_"), []).append(task_id)
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith((".", "__")))
    for folder in folders:
        if folder.name not in names:
            raise UsageError.for_value(f"no task of {benchmark.name}", str(folder), folder.name, f"e.g. {in_line(next(iter(names)))}")
        task_id, *others = names[folder.name]
        if others:
            what = f"several tasks of {benchmark.name} have this folder's name: {', '.join(map(in_line, (task_id, *others)))}"
            raise UsageError.for_value(what, str(folder), folder.name, "a folder for one task; JSON Lines name each task in full")
        files = [file for file in folder.iterdir() if re.fullmatch(r"\d+\.py", file.name, re.ASCII) and file.is_file()]
        for file in sorted(files, key=lambda file: int(file.stem)):
            try:
                program = file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{file} cannot be read: {error}") from None
            yield str(file), {"task_id": task_id, "solution": program, "sample": int(file.stem)}


def read_row(row: dict[str, Any], prompt: str, request: Request, cut: CutRule, where: str, *, extract: bool) -> ReadAnswer:
    """Read the program of a row.

    Args:
        prompt: the task's prompt, which a completion continues.
        request: the request for a sample of the task.
        extract: extract the program from the text, which is an answer; otherwise use the text as it stands.

    Raises:
        UsageError: the row has neither solution nor completion.
    """
    solution, completion = row.get("solution"), row.get("completion")
    text = completion if solution is None else solution
    if not isinstance(text, str):
        raise UsageError(f"{where}: needs solution or completion, a string")
    if not text.strip():
        return ReadAnswer("", _reason_of(row, "empty"))
    if request.form != "definition" and (extract or solution is None):  # answers of other forms do not continue a prompt
        return read_form(request, text)
    if extract and (found := _extracted(text, prompt, request, is_solution=solution is not None)):
        return found
    if solution is not None:
        return ReadAnswer(text, _reason_of(row, "given"))
    return ReadAnswer(prompt + cut_completion(text, request.language, request.stop_tokens, cut), "given")


def _reason_of(row: dict[str, Any], otherwise: Reason) -> Reason:
    """Return the extraction reason that `generate` recorded in the row, or `otherwise`."""
    known: dict[Any, Reason] = {reason: reason for reason in REASONS}
    said = row.get("extraction")
    return known.get(said, otherwise) if isinstance(said, str) else otherwise


def _extracted(text: str, prompt: str, request: Request, *, is_solution: bool) -> ReadAnswer | None:
    """Read an answer, which may also continue the prompt; None for a continuation without a fence in a language other than Python."""
    if request.begins_with_prompt:
        fenced = _FENCE_LINE.search(text) is not None
        return read_continuation(text, prompt, request.language, request.stop_tokens) if fenced else None
    read = read_answer(text, request.entry_point, preamble=request.preamble)
    if is_solution or read.reason in DEFINING:
        return read
    continued = read_continuation(text, prompt, PYTHON.name, ()).solution
    whole = read_answer(continued, request.entry_point)  # drops prose and a truncated end
    return replace(whole, reason="given") if whole.reason in DEFINING else read


def is_fenced(solution: str, request: Request) -> bool:
    """Tell whether a sample used as it stands is an answer with a code block rather than a program."""
    if _FENCE_LINE.search(solution) is None:
        return False
    return request.begins_with_prompt or parse(solution) is None


def require_programs(fenced: int, solutions: Sequence[str], path: Path) -> str | None:
    """Return a warning if some samples are answers with code blocks.

    Raises:
        UsageError: all non-empty samples are such answers.
    """
    if not fenced:
        return None
    total = sum(bool(solution.strip()) for solution in solutions)
    said = f"{path}: {fenced} of {total} samples are Markdown with code blocks, not programs"
    if fenced == total:
        raise UsageError(f"{said}\n  hint:    --extract takes the programs out of them")
    return f"{said}: they cannot pass; --extract takes the programs out of them"
