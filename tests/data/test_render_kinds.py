"""For every kind of tokenizer: what training renders is what the saved tokenizer and its chat template give at inference."""

import functools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectioncoder.data.render import ADDED_TOKENS, TokenRenderer
from reflectioncoder.data.render_chat import ChatRenderer
from reflectioncoder.data.requests import ChatRequests
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.models.load import load_tokenizer
from reflectioncoder.models.tokens import add_tokens_to
from reflectioncoder.train.save import save_tokenizer
from tests.data.tokenizer_kinds import ALL_KINDS, LOSES_TEXT, TEMPLATES, make
from tests.tiers import examples

SPECIALS = [*ADDED_TOKENS, "<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|fim_prefix|>"]
PIECES = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "    return x",
    "def f(x):\n",
    "```python\n",
    "\n```",
    "ü",
    "▁",
    "日本",
    "0",
    "'s",
    "\r\n",
    "x",
]
any_text = st.lists(st.one_of(st.text(max_size=6), st.sampled_from(PIECES)), max_size=6).map("".join)
texts = any_text.filter(lambda text: not any(special in text for special in SPECIALS))
with_look_alikes = st.lists(st.one_of(any_text, st.sampled_from([*SPECIALS, "<|im_end|", "<<s>"])), max_size=6).map("".join)


def saved(tokenizer):
    """The tokenizer as a server loads it."""
    with tempfile.TemporaryDirectory() as folder:
        save_tokenizer(tokenizer, Path(folder))
        return load_tokenizer(Path(folder))


@functools.cache
def chat(kind, template):
    tokenizer = make(kind, TEMPLATES[template])
    return ChatRenderer(tokenizer), saved(tokenizer)


@functools.cache
def token(kind):
    tokenizer = make(kind)
    add_tokens_to(tokenizer)
    renderer = TokenRenderer(tokenizer)
    tokenizer.chat_template = renderer.chat_template()
    return renderer, saved(tokenizer)


def asked_by_a_server(tokenizer, *contents):
    messages = [{"role": ("user", "assistant")[n % 2], "content": content} for n, content in enumerate(contents)]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)


def answer_of(text):
    return Sample((user(text), assistant(Block("text", "```python\nx = 1\n```"))), "generation")


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=examples(25))
@given(text=texts)
def test_requests_of_the_token_rendering_are_the_saved_template_s(kind, text):
    renderer, tokenizer = token(kind)
    request = renderer.render_request(text)
    assert request == asked_by_a_server(tokenizer, text)
    assert list(renderer.render(answer_of(text)).input_ids[: len(request)]) == request


@pytest.mark.sampled(2)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=examples(8))
@given(text=texts, earlier=texts)
def test_requests_of_the_chat_rendering_are_the_template_s_in_both_rounds(kind, template, text, earlier):
    renderer, tokenizer = chat(kind, template)
    request = renderer.render_request(text)
    assert request == asked_by_a_server(tokenizer, text) == ChatRequests(tokenizer).render_request(text)
    assert list(renderer.render(answer_of(text)).input_ids[: len(request)]) == request
    sample = Sample((user(earlier), assistant(Block("text", "No.")), user(text), assistant(Block("text", "Yes."))), "reflection")
    rendered = renderer.render(sample)
    start = next(span.end for span in rendered.spans if (span.message, span.kind) == (1, "close"))
    end = next(span.start for span in rendered.spans if span.message == 3 and span.block is not None)
    later = list(rendered.input_ids[start:end])
    assert asked_by_a_server(tokenizer, earlier, "No.", text)[-len(later) :] == later


@pytest.mark.sampled(2)
@pytest.mark.parametrize("template", ["chatml", "bare markers", "token"])
@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=examples(8))
@given(text=with_look_alikes, answer=with_look_alikes)
def test_what_spells_a_special_token_stays_text_and_answers_are_what_was_written(kind, template, text, answer):
    renderer, tokenizer = token(kind) if template == "token" else chat(kind, template)
    rendered = renderer.render(Sample((user(text), assistant(Block("text", "x" + answer))), "generation"))
    markers = [i for i in rendered.input_ids if i in set(tokenizer.convert_tokens_to_ids(SPECIALS)) - {tokenizer.unk_token_id}]
    plain = renderer.render(Sample((user("a"), assistant(Block("text", "b"))), "generation"))
    assert markers == [i for i in plain.input_ids if i in set(markers)]
    assert len(markers) == len([i for i in plain.input_ids if i in set(tokenizer.convert_tokens_to_ids(SPECIALS))])
    span = next(span for span in rendered.spans if span.message == 1 and span.block is not None)
    ids = list(rendered.input_ids[span.start : span.end])
    ids = ids[1:-1] if template == "token" else ids
    if kind not in LOSES_TEXT:
        written = answer.replace("▁", " ") if "byte" not in kind else answer
        assert tokenizer.decode(ids).removeprefix(" ") == "x" + written


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_prefilled_answer_begins_with_the_tokens_of_a_trained_one(kind):
    for renderer in (token(kind)[0], *(chat(kind, template)[0] for template in TEMPLATES)):
        sample = Sample((user("Write f."), assistant(Block("text", "```python\ndef f(x):\n    return x\n```"))), "generation")
        request = renderer.render_request("Write f.", "```python\n")
        assert list(renderer.render(sample).input_ids[: len(request)]) == request


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_blocks_of_a_message_are_joined_as_its_text_is(kind):
    """No mark of a beginning stands before a block that is in the middle of a text."""
    if kind in LOSES_TEXT:
        return
    renderer, tokenizer = chat(kind, "chatml")
    blocks = (Block("text", "So."), Block("code", "x = 1"), Block("execution", "1"), Block("text", "Good."))
    rendered = renderer.render(Sample((user("a"), assistant(*blocks)), "generation"))
    start = next(span.start for span in rendered.spans if span.message == 1 and span.block is not None)
    end = next(span.start for span in rendered.spans if span.message == 1 and span.kind == "close")
    text = "So.\n\n```python\nx = 1\n```\n\n```output\n1\n```\n\nGood."
    assert tokenizer.decode(list(rendered.input_ids[start:end])) == text
