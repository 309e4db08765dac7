"""Requests, completions and the loop that is the same for every backend: fixed batches, appended rows, resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reflectioncoder.config import GenerateConfig
from reflectioncoder.data.files import JsonlAppender, read_jsonl
from reflectioncoder.data.prompts import CLOSING_FENCE, OPENING_FENCE
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.extract import Extraction, cut_completion, extract_program
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


@dataclass(frozen=True)
class RawCompletion:
    """What a model wrote after the prefilled beginning, and why it ended ("stop" or "length")."""

    text: str
    finish_reason: str
    num_tokens: int


class Backend(Protocol):
    """A model that completes batches of requests."""

    def complete(self, batch: Sequence[Request], config: GenerateConfig, seed: int) -> list[RawCompletion]: ...

    def prompt_length(self, request: Request) -> int: ...

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
    """Complete all requests into `path` (JSON Lines), skipping those that are there; returns counts.

    Batches are formed over all requests by length, so a resumed run computes the very batches of an uninterrupted one.
    """
    check_sampling(config)
    done = {(row["task_id"], row["sample"]) for _, row in read_jsonl(path, tolerate_torn_tail=True)} if path.exists() else set()
    ordered = sorted(requests, key=lambda r: (backend.prompt_length(r), r.task_id, r.sample))
    batches = [ordered[i : i + config.batch_size] for i in range(0, len(ordered), config.batch_size)]
    num_tokens = 0
    with JsonlAppender(path) as appender, Progress(label, len(requests), len(done)) as progress:
        for number, batch in enumerate(batches):
            missing = [r for r in batch if (r.task_id, r.sample) not in done]
            if not missing:
                continue
            completions = backend.complete(batch, config, seed + number)
            for request, completion in zip(batch, completions, strict=True):
                if request in missing:
                    appender.append(completion_row(request, completion))
                    done.add((request.task_id, request.sample))
                    num_tokens += completion.num_tokens
            progress.update(len(done), f"{num_tokens} tokens")
    return {"num_completions": len(requests), "num_tokens": num_tokens}


def completion_row(request: Request, completion: RawCompletion) -> dict[str, Any]:
    if request.prefill == OPENING_FENCE:
        extraction = extract_program(completion.text, request.entry_point, request.preamble)
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
