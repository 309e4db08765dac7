"""Renders a sample as tokens in one call."""

from __future__ import annotations

from typing import Any

from reflectioncoder.choices import RENDERINGS, Rendering
from reflectioncoder.data.render import RenderedSample
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import require_choice
from reflectioncoder.models.tokens import add_tokens_to, make_renderer


def render(sample: Sample, tokenizer: Any, rendering: Rendering = "chat") -> RenderedSample:
    """Turn a sample into token ids, labels and spans, as training sees it.

    For T tokens, `input_ids`, `teacher_labels` and `student_labels` have T entries each. Labels are not shifted; -100 marks tokens
    that are not trained. The spans tile the T tokens and give the message and block of each. Nothing is truncated.

    Args:
        sample: a reflection sample or a one-off sample.
        tokenizer: a transformers tokenizer, or `reflectioncoder.data.words.WordTokenizer`, which needs no model.
        rendering: `"chat"`, the tokenizer's own chat template, or `"token"`, the paper's seven added tokens; missing ones are added
            to the tokenizer.

    Raises:
        UsageError: nothing in the sample would be trained; the chat template or the tokenizer cannot be used; unknown rendering.

    Example:
        >>> from reflectioncoder import Block, Message, Sample, render
        >>> from reflectioncoder.data.words import WordTokenizer
        >>> asked = Message("user", (Block("text", "Write f."),))
        >>> answered = Message("assistant", (Block("text", "def f(): return 1"),))
        >>> tokenizer = WordTokenizer()
        >>> rendered = render(Sample((asked, answered), "generation"), tokenizer, "token")
        >>> [span.kind for span in rendered.spans]
        ['prefix', 'header', 'text', 'close', 'header', 'text', 'close', 'eos']
        >>> tokenizer.decode([label for label in rendered.teacher_labels if label != -100])
        '<|assistant|><|text|>def f(): return 1<|endofblock|><|endofmessage|><EOS>'
    """
    require_choice("rendering", rendering, RENDERINGS)
    if rendering == "token":
        add_tokens_to(tokenizer)
    return make_renderer(rendering, tokenizer).render(sample)
