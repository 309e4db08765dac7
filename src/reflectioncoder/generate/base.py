"""Defines completions and the loop that is the same for every backend: appended rows, resume."""

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
    """A model's text after the prefilled beginning, and the reason why it ended.

    The reason is "stop", "length", or "refused" if a server has filtered the answer or did not want to make it.

    `prefilled=False`: nothing was prefilled, the text is the whole answer.
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
        """Yield the completions of the requests that are not `done` (keys), in any order."""
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
    """Complete all requests into `path` (JSON Lines), skipping those that are there; return counts, of tokens only the new ones.

    The rows are appended as they come. In the end they stand in the order of the requests, and those of other requests behind them.

    Args:
        of_whole: the requests with others that are not completed now, where there are such: a backend that forms batches forms them
            over all of these, so that it does not matter to a completion which are left out.
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
    """Read the rows of a file that may be unfinished or not there.

    Raises:
        UsageError: the rows are no completions.
    """
    rows = [row for _, row in read_jsonl(path, tolerate_torn_tail=True)] if path.exists() else []
    with expected_form(path):
        for row in rows:
            _ = {row[name] for name in ("task_id", "sample", "finish_reason", "extraction")}, row["num_tokens"] + 0
    return rows


def _put_in_order(path: Path, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Rewrite the rows in the order of the requests, if they are in another, and return them."""
    rows = read_completions(path)
    order = {request.key: number for number, request in enumerate(requests)}
    ordered = sorted(rows, key=lambda row: order.get((row["task_id"], row["sample"]), len(order)))
    if ordered != rows:
        write_jsonl(path, ordered)
    return ordered


def count_completions(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of completions: all of them, tokens, why they ended, what was read in them."""
    return {
        "num_completions": len(rows),
        "num_tokens": sum(row["num_tokens"] for row in rows),
        "finish_reasons": dict(Counter(row["finish_reason"] for row in rows)),
        "answers": count_answers(row["extraction"] for row in rows),
    }


def longest(requests: Iterable[Request]) -> int:
    """Return the number of characters of the longest request, with the beginning of its answer.

    A character that is not ASCII counts as two for each of its bytes: tokenizers may take a token for each byte.
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
