"""Requests, completions and the loop that is the same for every backend: appended rows, resume."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.config import GenerateConfig
from reflectioncoder.data.files import JsonlAppender, read_jsonl
from reflectioncoder.data.prompts import CLOSING_FENCE, OPENING_FENCE
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.extract import Extraction, cut_completion, extract_program
from reflectioncoder.generate.reply import REFUSED
from reflectioncoder.progress import Progress


@dataclass(frozen=True)
class Request:
    """One completion to be made. `preamble` is what the prompt has before the asked function (imports, helpers).

    A task in another language than Python has its prompt in `prefill`, the beginning of the answer, and in `preamble`: the program is
    the prompt and the completion, cut at `stop_tokens`.
    """

    task_id: str
    sample: int
    instruction: str
    entry_point: str
    preamble: str = ""
    prefill: str = OPENING_FENCE
    language: str = "py"
    stop_tokens: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return self.task_id, self.sample


@dataclass(frozen=True)
class RawCompletion:
    """What a model wrote after the prefilled beginning, and why it ended: "stop", "length", or "refused" where a server has filtered it
    or did not want to make it.

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
        """The completions of those that are not `done` (keys), in any order."""
        ...

    def describe(self) -> dict[str, Any]: ...


def check_sampling(config: GenerateConfig) -> None:
    if config.num_samples > 1 and config.temperature == 0:
        raise UsageError.for_value(
            "several samples per task need sampling", "generate.num_samples", config.num_samples, "1 at temperature 0",
            "set generate.temperature above 0",
        )  # fmt: skip


def generate(
    backend: Backend, requests: Sequence[Request], config: GenerateConfig, seed: int, path: Path, label: str
) -> dict[str, Any]:
    """Complete all requests into `path` (JSON Lines), skipping those that are there; returns counts: of tokens, those that are new; of
    empty completions, those that a model ended without having written anything."""
    check_sampling(config)
    there = [row for _, row in read_jsonl(path, tolerate_torn_tail=True)] if path.exists() else []
    done = {(row["task_id"], row["sample"]) for row in there}
    ends = Counter(row["finish_reason"] for row in there)
    num_empty = sum(is_empty(row) for row in there)
    num_tokens, num_done = 0, len(done)
    with (
        JsonlAppender(path) as appender,
        Progress(label, len(requests), num_done) as progress,
        contextlib.closing(backend.complete(requests, done, config, seed)) as completions,
    ):
        for request, completion in completions:
            row = completion_row(request, completion)
            appender.append(row)
            num_empty += is_empty(row)
            ends[completion.finish_reason] += 1
            num_tokens += completion.num_tokens
            num_done += 1
            progress.update(num_done, f"{num_tokens} tokens")
    return {"num_completions": len(requests), "num_tokens": num_tokens, "finish_reasons": dict(ends), "num_empty": num_empty}


def is_empty(row: dict[str, Any]) -> bool:
    """Whether a completion has no text though it was not refused: all of its tokens may have gone into a reasoning."""
    return row["finish_reason"] != REFUSED and not row["completion"].strip()


def longest(requests: Iterable[Request]) -> int:
    """Characters of the longest request, with the beginning of its answer."""
    return max((len(request.instruction) + len(request.prefill) for request in requests), default=0)


def completion_row(request: Request, completion: RawCompletion) -> dict[str, Any]:
    if completion.finish_reason == REFUSED:
        extraction = Extraction("", "no_code")
    elif request.prefill == OPENING_FENCE:
        prefill = request.prefill if completion.prefilled else ""
        extraction = extract_program(completion.text, request.entry_point, request.preamble, prefill)
    else:
        text = completion.text.partition(CLOSING_FENCE)[0]
        cut = cut_completion(text, request.language, request.stop_tokens)
        extraction = Extraction(request.preamble + cut, "open_fence" if text == completion.text else "fenced")
    return {
        "task_id": request.task_id,
        "sample": request.sample,
        "completion": completion.text,
        "solution": extraction.solution,
        "extraction": extraction.reason,
        "finish_reason": completion.finish_reason,
        "num_tokens": completion.num_tokens,
    }
