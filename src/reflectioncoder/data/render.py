"""Renders dialogues for training, generation and the viewer: tokens with exactly tiled spans and labels (method, section 2).

This module contains the code shared by all renderings, and the token rendering; the chat rendering is in `render_chat`.
Token rendering: `<BOS>` then per message `<|role|>`, per block `<|type|>` content `<|endofblock|>`, `<|endofmessage|>`, then `<EOS>`.
Chat rendering: the model's own chat template; code becomes a fenced block, an execution a fenced `output` block.

Text is tokenized piece by piece (`encoding`). Content is cut wherever it spells a special token, so it can never become one. Each
piece is a span, and the spans tile the sample: every token is in exactly one.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from reflectioncoder.data.encoding import Encoder
from reflectioncoder.data.failed_attempts import failed_attempts
from reflectioncoder.data.samples import BlockType, Sample
from reflectioncoder.errors import UsageError
from reflectioncoder.terminal import in_line

IGNORE_INDEX = -100
ROLE_TOKENS = {"user": "<|user|>", "assistant": "<|assistant|>"}
BLOCK_TOKENS: dict[BlockType, str] = {"text": "<|text|>", "code": "<|code|>", "execution": "<|execution|>"}
END_OF_BLOCK, END_OF_MESSAGE = "<|endofblock|>", "<|endofmessage|>"
ADDED_TOKENS = (*ROLE_TOKENS.values(), *BLOCK_TOKENS.values(), END_OF_BLOCK, END_OF_MESSAGE)

SpanKind = Literal["prefix", "header", "text", "code", "execution", "close", "separator", "eos"]
"""prefix: BOS or system prompt; header: opens a message; text, code, execution: one block with its markers; close: ends a message;
separator: a chat template's text between messages (never trained); eos: end of the sample."""

TRAINED_BLOCKS = ("text", "code")
_BATCH = 64  # samples per tokenizer call


@dataclass(frozen=True)
class Span:
    """Tokens [start, end) of one piece. `message` counts from 0 (None for prefix and eos); `block` counts within the message.

    `failed`: the code of an attempt whose output reports a failure.
    """

    kind: SpanKind
    start: int
    end: int
    message: int | None = None
    block: int | None = None
    failed: bool = False


@dataclass(frozen=True)
class RenderedSample:
    """A rendered sample of T tokens.

    Labels are unshifted: position p has token p or IGNORE_INDEX, and the logits at p - 1 predict it.
    The KL is taken on the logits at [answer_start, answer_end), which is empty for `generation` samples.
    """

    input_ids: tuple[int, ...]
    spans: tuple[Span, ...]
    teacher_labels: tuple[int, ...]
    student_labels: tuple[int, ...]
    answer_start: int
    answer_end: int

    @property
    def is_reflection(self) -> bool:
        return self.answer_end > self.answer_start

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def reflection_blocks(self) -> list[Span]:
        """Return the blocks of the reflection sequence `rs`, in order; [] for a generation sample."""
        return [s for s in self.spans if s.message == 1 and s.block is not None] if self.is_reflection else []


@dataclass(frozen=True)
class Piece:
    """Token ids that become a span."""

    kind: SpanKind
    ids: list[int]
    message: int | None = None
    block: int | None = None


class Renderer(ABC):
    """Renders samples and one-off requests for one tokenizer (any `transformers` tokenizer)."""

    name: str
    # Whether the role header of an assistant message is a target (as in the authors' labels) or given (chat templates).
    header_is_trained: bool

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.encoder = Encoder(tokenizer)

    @abstractmethod
    def _pieces(self, sample: Sample) -> Iterator[Piece]:
        """Yield the pieces of the sample in order; a piece without tokens creates no span."""

    @property
    @abstractmethod
    def stop_token_ids(self) -> list[int]:
        """Return the tokens that end a one-off completion."""

    @abstractmethod
    def render_request(self, instruction: str, prefill: str = "") -> list[int]:
        """Return the tokens of a one-off request up to the start of the answer, which begins with `prefill`."""

    @abstractmethod
    def chat_template(self) -> str | None:
        """Return the Jinja template that reproduces `render_request` on any server; None keeps the tokenizer's own template."""

    def render(self, sample: Sample) -> RenderedSample:
        """Return tokens, spans and labels of a sample.

        Raises:
            UsageError: the sample has nothing to train on.
        """
        return labelled(*self.tokens(sample), sample.type == "reflection", header_is_trained=self.header_is_trained)

    def tokens(self, sample: Sample) -> tuple[list[int], list[Span]]:
        """Return the tokens of a sample and the spans that tile them.

        Raises:
            UsageError: the sample has nothing to train on.
        """
        input_ids: list[int] = []
        spans: list[Span] = []
        failed = failed_attempts(sample)
        for piece in self._pieces(sample):
            if piece.ids:
                start = len(input_ids)
                input_ids += piece.ids
                is_failed = piece.kind == "code" and (piece.message, piece.block) in failed
                spans.append(Span(piece.kind, start, len(input_ids), piece.message, piece.block, is_failed))
        if not any(_has_trained_content(sample, span) for span in spans):
            raise UsageError(f"sample {in_line(sample.id or '(no id)')}: nothing is trained in it: no assistant text or code")
        return input_ids, spans

    def tokens_of_all(self, samples: Sequence[Sample]) -> list[tuple[list[int], list[Span]]]:
        """Return the `tokens` of each sample with one tokenizer call, which is faster than one per block.

        Raises:
            UsageError: one of the samples has nothing to train on.
        """
        with self.encoder.looking_ahead() as texts:
            for sample in samples:
                for _ in self._pieces(sample):
                    pass
        with self.encoder.knowing(texts):
            return [self.tokens(sample) for sample in samples]


def is_trained(span: Span, *, header_is_trained: bool) -> bool:
    """Tell whether the tokens of a span are targets. Messages alternate: the odd-numbered ones are the assistant's."""
    if span.message is None:
        return span.kind == "eos"
    return span.message % 2 == 1 and (span.kind in (*TRAINED_BLOCKS, "close") or (span.kind == "header" and header_is_trained))


def answer_bounds(spans: Sequence[Span], *, header_is_trained: bool) -> tuple[int, int]:
    """Return the bounds of a reflection sample's answer: the KL is taken on the logits at [start, end)."""
    last = max(span.message for span in spans if span.message is not None)
    answer = [span for span in spans if span.message == last and is_trained(span, header_is_trained=header_is_trained)]
    if not answer:
        return 0, 0
    # A given header is not predicted: the first prediction is made at its last token, and the last one predicts the closing token.
    shift = 0 if header_is_trained else 1
    return answer[0].start - shift, answer[-1].end - shift


def labelled(input_ids: Sequence[int], spans: Sequence[Span], is_reflection: bool, *, header_is_trained: bool) -> RenderedSample:
    """Return a sample with the labels implied by its spans."""
    last = max(span.message for span in spans if span.message is not None)
    teacher = [IGNORE_INDEX] * len(input_ids)
    student = list(teacher)
    for span in spans:
        if is_trained(span, header_is_trained=header_is_trained):
            teacher[span.start : span.end] = input_ids[span.start : span.end]
            if span.message == last:
                student[span.start : span.end] = input_ids[span.start : span.end]
    start, end = answer_bounds(spans, header_is_trained=header_is_trained) if is_reflection else (0, 0)
    return RenderedSample(tuple(input_ids), tuple(spans), tuple(teacher), tuple(student), start, end)


def _has_trained_content(sample: Sample, span: Span) -> bool:
    if span.kind not in TRAINED_BLOCKS or span.message is None or span.block is None:
        return False
    message = sample.messages[span.message]
    return message.role == "assistant" and bool(message.content[span.block].content.strip())


class TokenRenderer(Renderer):
    """The paper's rendering. The tokenizer must know the seven added tokens (`models.tokens.add_tokens`).

    Without a BOS token the sample starts with the first message; a tokenizer without EOS is refused.
    """

    name = "token"
    header_is_trained = True

    def __init__(self, tokenizer: Any):
        super().__init__(tokenizer)
        vocabulary = tokenizer.get_vocab()
        missing = [t for t in ADDED_TOKENS if t not in vocabulary]
        if missing:
            raise UsageError(f"the tokenizer lacks {', '.join(missing)}: add the tokens of the token rendering first")
        if tokenizer.eos_token_id is None:
            raise UsageError.for_value(
                "the token rendering needs a tokenizer with an end-of-sequence token",
                "tokenizer.eos_token",
                None,
                "a token of the vocabulary",
                "set eos_token in the tokenizer, or use model.rendering: chat",
            )
        self._ids = {t: tokenizer.convert_tokens_to_ids(t) for t in ADDED_TOKENS}

    def _pieces(self, sample: Sample) -> Iterator[Piece]:
        yield Piece("prefix", self._prefix())
        for number, message in enumerate(sample.messages):
            yield Piece("header", [self._ids[ROLE_TOKENS[message.role]]], number)
            for index, block in enumerate(message.content):
                yield Piece(block.type, [*self._beginning(block.type, block.content), self._ids[END_OF_BLOCK]], number, index)
            yield Piece("close", [self._ids[END_OF_MESSAGE]], number)
        yield Piece("eos", [self.tokenizer.eos_token_id])

    def _prefix(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        return [] if bos is None else [bos]

    def _beginning(self, kind: BlockType, content: str) -> list[int]:
        """Return the tokens of a block without its end marker."""
        marker = BLOCK_TOKENS[kind]
        return [self._ids[marker], *self.encoder.content(content, marker)]

    def render_request(self, instruction: str, prefill: str = "") -> list[int]:
        asked = [self._ids["<|user|>"], *self._beginning("text", instruction), self._ids[END_OF_BLOCK], self._ids[END_OF_MESSAGE]]
        return [*self._prefix(), *asked, self._ids["<|assistant|>"], *(self._beginning("text", prefill) if prefill else [])]

    @property
    def stop_token_ids(self) -> list[int]:
        return [self._ids[END_OF_BLOCK], self._ids[END_OF_MESSAGE], self.tokenizer.eos_token_id]

    def chat_template(self) -> str:
        return (
            "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|><|text|>' + message['content']"
            " + '<|endofblock|><|endofmessage|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
        )


@dataclass(frozen=True)
class RenderReport:
    """The outcome of rendering a data set: samples kept, samples dropped as too long (ids or row numbers), longest length seen."""

    num_kept: int
    too_long: tuple[str, ...]
    longest: int


def render_all(renderer: Renderer, samples: Sequence[Sample], max_length: int) -> tuple[list[RenderedSample], list[int], RenderReport]:
    """Render samples. Samples longer than `max_length` tokens are dropped and reported, never truncated.

    Returns (rendered, their indices in `samples`, report).
    """
    kept: list[RenderedSample] = []
    indices: list[int] = []
    too_long: list[str] = []
    longest = 0
    for index, (ids, spans) in enumerate(tokens_in_batches(renderer, samples)):
        sample = samples[index]
        longest = max(longest, len(ids))
        if len(ids) > max_length:
            too_long.append(sample.id or f"#{index}")
        else:
            kept.append(labelled(ids, spans, sample.type == "reflection", header_is_trained=renderer.header_is_trained))
            indices.append(index)
    return kept, indices, RenderReport(len(kept), tuple(too_long), longest)


def tokens_in_batches(renderer: Renderer, samples: Iterable[Sample]) -> Iterator[tuple[list[int], list[Span]]]:
    """Yield the tokens and spans of each sample, in order."""
    remaining = iter(samples)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield from renderer.tokens_of_all(batch)
