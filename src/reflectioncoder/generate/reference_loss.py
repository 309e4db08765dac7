"""Measures how likely a model finds known answers: the loss of a benchmark's canonical solutions as one-off answers.

The loss of an answer is the mean of -log p(token | what comes before) over its tokens, in nats: text, closing fence and the token that
ends it, as training has them. It sees changes long before a pass rate does. It is no measure of correctness: a model may well write
another right program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.prompts import one_off_answer
from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import require
from reflectioncoder.models.load import load_model
from reflectioncoder.models.tokens import add_tokens, make_renderer
from reflectioncoder.progress import Progress


@dataclass(frozen=True)
class Reference:
    """A task with a known answer. `instruction`: the one-off request; `program`: what answers it."""

    task_id: str
    instruction: str
    program: str

    @property
    def sample(self) -> Sample:
        messages = user(self.instruction), assistant(Block("text", one_off_answer(self.program)))
        return Sample(messages, "generation", {"id": self.task_id})


@dataclass(frozen=True)
class AnswerLoss:
    """The loss of one answer: its tokens, and nats per token."""

    task_id: str
    num_tokens: int
    loss: float


def reference_losses(config: ModelConfig, path: Path, references: Sequence[Reference], label: str) -> list[AnswerLoss]:
    """Return the losses of all answers under the model in a folder, in order.

    Raises:
        UsageError: there is no causal language model, or its chat template cannot be used.
        MachineError: torch is not installed; a GPU is asked for and there is none.
    """
    model, tokenizer = load_model(config, path)
    if config.rendering == "token":
        add_tokens(model, tokenizer)
    renderer = make_renderer(config.rendering, tokenizer)
    model.eval()
    losses = []
    with Progress(label, len(references)) as progress:
        for reference in references:
            losses.append(_loss(model, reference.task_id, renderer.render(reference.sample)))
            progress.update(len(losses))
    return losses


def _loss(model: Any, task_id: str, sample: RenderedSample) -> AnswerLoss:
    losses = token_losses(model, sample)
    return AnswerLoss(task_id, len(losses), round(float(losses.sum()) / len(losses), 6))


def token_losses(model: Any, sample: RenderedSample) -> Any:
    """Return the loss of every token that is predicted, nats: a tensor of shape (number of targets,)."""
    torch = require("torch", "train")
    ids = torch.tensor([sample.input_ids], device=model.device)
    targets = list(targets_of(sample))
    places = torch.tensor([place - 1 for place, _ in targets], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0, places].float()
        wanted = torch.tensor([token for _, token in targets], device=model.device)
        return torch.nn.functional.cross_entropy(logits, wanted, reduction="none")


def targets_of(sample: RenderedSample) -> Iterator[tuple[int, int]]:
    """Yield position and token of everything that is predicted."""
    for position, label in enumerate(sample.teacher_labels):
        if label != IGNORE_INDEX and position > 0:
            yield position, label
