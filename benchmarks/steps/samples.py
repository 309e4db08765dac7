"""Makes samples of random tokens with the shape of real reflection samples."""

import random

from reflectioncoder.data.render import IGNORE_INDEX, RenderedSample, Span

KINDS = ("text", "code", "execution", "text", "code", "execution", "text")


def rendered_sample(rng: random.Random, vocab_size: int, scale: float = 1.0) -> RenderedSample:
    """A dialogue of random tokens with the spans and labels of the token rendering."""
    spans: list[Span] = []

    def add(kind, tokens, message=None, block=None):
        start = spans[-1].end if spans else 0
        spans.append(Span(kind, start, start + max(1, round(tokens)), message, block))

    add("prefix", 1)
    for message, instruction in ((0, 250 * scale), (2, 250 * scale)):
        add("header", 1, message)
        add("text", instruction, message, 0)
        add("close", 1, message)
        add("header", 1, message + 1)
        blocks = [(kind, 900 * scale / len(KINDS)) for kind in KINDS] if message == 0 else [("text", 350 * scale)]
        for number, (kind, tokens) in enumerate(blocks):
            add(kind, tokens, message + 1, number)
        add("close", 1, message + 1)
    add("eos", 1)
    size = spans[-1].end
    ids = tuple(rng.randrange(vocab_size) for _ in range(size))
    untrained = {p for s in spans if s.kind in ("prefix", "execution") or s.message in (0, 2) for p in range(s.start, s.end)}
    last = next(s for s in spans if s.message == 3).start
    answer = range(last, size - 1)
    teacher = tuple(IGNORE_INDEX if p in untrained else t for p, t in enumerate(ids))
    student = tuple(t if p in answer else IGNORE_INDEX for p, t in enumerate(ids))
    return RenderedSample(ids, tuple(spans), teacher, student, answer.start, answer.stop)
