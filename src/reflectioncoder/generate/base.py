"""Defines completions, and the loop shared by all backends: append rows, resume."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.config.declarations import GenerateConfig
from reflectioncoder.data.answer_forms import read_form
from reflectioncoder.data.answer_reasons import count_answers
from reflectioncoder.data.answers import REFUSED_ANSWER
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.completions import read_continuation
from reflectioncoder.data.files import JsonlAppender, read_jsonl, write_jsonl
from reflectioncoder.data.json_text import expected_form
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.reply import REFUSED
from reflectioncoder.progress import Progress


@dataclass(frozen=True)
class RawCompletion:
    """A model's text after the prefill, and why it ended.

    `finish_reason` is "stop", "length", or "refused" if a server filtered the answer or declined to give one.

    `prefilled=False`: there was no prefill; the text is the whole answer.
    """

    text: str
    finish_reason: str
    num_tokens: int
    prefilled: bool = True


class Backend(Protocol):
    """A model that completes requests."""

    def complete(
        self, requests: Sequence[Request], done: Set[tuple[str, int]], config: GenerateConfig, seed: int
    ) -> Generator[tuple[Request, RawCompletion]]:
        """Yield the completions of the requests whose keys are not in `done`, in any order."""
        ...

    def describe(self) -> dict[str, Any]: ...


def check_sampling(config: GenerateConfig) -> None:
    if config.num_samples > 1 and config.temperature == 0:
        raise UsageError.for_value(
            "several samples per task need sampling", "generate.num_samples", config.num_samples, "1 at temperature 0",
            "set generate.temperature above 0",
        )  # fmt: skip


def generate(
    backend: Backend,
    requests: Sequence[Request],
    config: GenerateConfig,
    seed: int,
    path: Path,
    label: str,
    *,
    of_whole: Sequence[Request] = (),
) -> dict[str, Any]:
    """Complete all requests into `path` (JSON Lines), skipping those already there; return counts, with the tokens of new rows only.

    Rows are appended as they arrive. At the end they are sorted in the order of the requests; rows of other requests come last.

    Args:
        of_whole: all requests, if `requests` is only a part of them: a backend that forms batches forms them over all of these, so
            that a completion does not depend on which others are left out.
    """
    check_sampling(config)
    wanted = {request.key for request in requests}
    done = {(row["task_id"], row["sample"]) for row in read_completions(path)}
    num_tokens, num_done = 0, len(done & wanted)
    left_out = {request.key for request in of_whole} - wanted
    with (
        JsonlAppender(path) as appender,
        Progress(label, len(requests), num_done) as progress,
        contextlib.closing(backend.complete(of_whole or requests, done | left_out, config, seed)) as completions,
    ):
        for request, completion in completions:
            appender.append(completion_row(request, completion))
            num_tokens += completion.num_tokens
            num_done += 1
            progress.update(num_done, f"{num_tokens} tokens")
    rows = [row for row in _put_in_order(path, requests) if (row["task_id"], row["sample"]) in wanted]
    return {**count_completions(rows), "num_completions": len(requests), "num_tokens": num_tokens}


def read_completions(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file that may be unfinished or absent.

    Raises:
        UsageError: the rows are not completions.
    """
    rows = [row for _, row in read_jsonl(path, tolerate_torn_tail=True)] if path.exists() else []
    with expected_form(path):
        for row in rows:
            _ = {row[name] for name in ("task_id", "sample", "finish_reason", "extraction")}, row["num_tokens"] + 0
    return rows


def _put_in_order(path: Path, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Rewrite the file in the order of the requests if necessary, and return the rows."""
    rows = read_completions(path)
    order = {request.key: number for number, request in enumerate(requests)}
    ordered = sorted(rows, key=lambda row: order.get((row["task_id"], row["sample"]), len(order)))
    if ordered != rows:
        write_jsonl(path, ordered)
    return ordered


def count_completions(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return totals of completions: their number, tokens, finish reasons, extraction results."""
    return {
        "num_completions": len(rows),
        "num_tokens": sum(row["num_tokens"] for row in rows),
        "finish_reasons": dict(Counter(row["finish_reason"] for row in rows)),
        "answers": count_answers(row["extraction"] for row in rows),
    }


def longest(requests: Iterable[Request]) -> int:
    """Return the length of the longest request in characters, including its prefill.

    A non-ASCII character counts two per byte, because a tokenizer may use a token per byte.
    """
    texts = ((request.instruction + request.prefill).encode("utf-8", "surrogatepass") for request in requests)
    return max((len(text) + sum(byte > 127 for byte in text) for text in texts), default=0)


def completion_row(request: Request, completion: RawCompletion) -> dict[str, Any]:
    if completion.finish_reason == REFUSED:
        read = REFUSED_ANSWER
    elif request.begins_with_prompt:
        read = read_continuation(completion.text, request.preamble, request.language, request.stop_tokens)
    else:
        prefill = request.prefill if completion.prefilled else ""
        truncated = completion.finish_reason == "length"
        read = read_form(request, completion.text, prefill=prefill, truncated=truncated)
    return {
        "task_id": request.task_id,
        "sample": request.sample,
        "completion": completion.text,
        "solution": read.solution,
        "extraction": read.reason,
        "finish_reason": completion.finish_reason,
        "num_tokens": completion.num_tokens,
    }
