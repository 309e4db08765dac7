"""Measures the loss of a benchmark's canonical solutions as one-off answers.

A program's loss is the mean of -log p(token | previous tokens) over its tokens, in nats: over the tokens that generation must write
after the prefilled fence, up to and including the closing fence. The rest of the answer, its frame, is measured separately: the words
and the opening fence before the program, and the end of the message. A model that has learnt to explain before it writes loses a nat
per token or more in the frame and is no worse at programs, because generation provides the fence. The loss shows changes long before a
pass rate does, but does not measure correctness: a model may write another correct program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.encoding import common_prefix
from reflectioncoder.data.prompts import OPENING_FENCE, one_off_answer
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample, Renderer
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import require
from reflectioncoder.models.load import give_memory_back, load_model
from reflectioncoder.models.tokens import add_tokens, make_renderer
from reflectioncoder.progress import Progress

MEASURED = "program, closing fence"
"""The name of the measure is part of the keys of cached losses: change it with the measure, so that no old loss is reused."""


@dataclass(frozen=True)
class Reference:
    """A task with a known answer. `instruction` is the one-off request, `program` its solution."""

    task_id: str
    instruction: str
    program: str

    @property
    def sample(self) -> Sample:
        messages = user(self.instruction), assistant(Block("text", one_off_answer(self.program)))
        return Sample(messages, "generation", {"id": self.task_id})

    def program_bounds(self, renderer: Renderer, input_ids: Sequence[int]) -> tuple[int, int]:
        """Return where the program begins and ends in the sample's tokens, [start, end), including the closing fence.

        A token that spans the end of the opening fence and the beginning of the program belongs to the program.
        """
        prefills = OPENING_FENCE, one_off_answer(self.program)
        start, end = (common_prefix(input_ids, renderer.render_request(self.instruction, prefill)) for prefill in prefills)
        return start, end


@dataclass(frozen=True)
class AnswerLoss:
    """The loss of one answer in nats per token: of the program, and of its frame (the other training targets)."""

    task_id: str
    num_tokens: int
    loss: float
    num_frame_tokens: int
    frame_loss: float


def reference_losses(config: ModelConfig, path: Path, references: Sequence[Reference], label: str) -> list[AnswerLoss]:
    """Return the losses of all answers, in order, under the model in a folder.

    Raises:
        UsageError: the folder has no causal language model, or its chat template cannot be used.
        MachineError: torch is not installed, or a GPU is required and there is none.
    """
    model, tokenizer = load_model(config, path)
    if config.rendering == "token":
        add_tokens(model, tokenizer)
    renderer = make_renderer(config.rendering, tokenizer)
    model.eval()
    losses = []
    with Progress(label, len(references)) as progress:
        for reference in references:
            losses.append(_loss(model, renderer, reference))
            progress.update(len(losses))
    del model
    give_memory_back()
    return losses


def _loss(model: Any, renderer: Renderer, reference: Reference) -> AnswerLoss:
    sample = renderer.render(reference.sample)
    start, end = reference.program_bounds(renderer, sample.input_ids)
    program, frame = [], []
    for (position, _), loss in zip(targets_of(sample), token_losses(model, sample).tolist(), strict=True):
        (program if start <= position < end else frame).append(loss)
    return AnswerLoss(reference.task_id, len(program), _mean(program), len(frame), _mean(frame))


def _mean(losses: Sequence[float]) -> float:
    return round(sum(losses) / max(len(losses), 1), 6)


def token_losses(model: Any, sample: RenderedSample) -> Any:
    """Return the loss of every target token in nats, shape (number of targets,)."""
    torch = require("torch", "train")
    ids = torch.tensor([sample.input_ids], device=model.device)
    targets = list(targets_of(sample))
    places = torch.tensor([place - 1 for place, _ in targets], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, places].float()
        wanted = torch.tensor([token for _, token in targets], device=model.device)
        return torch.nn.functional.cross_entropy(logits, wanted, reduction="none")


def targets_of(sample: RenderedSample) -> Iterator[tuple[int, int]]:
    """Yield (position, token) of every target."""
    for position, label in enumerate(sample.teacher_labels):
        if label != IGNORE_INDEX and position > 0:
            yield position, label
