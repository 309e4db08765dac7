"""The renderer: exact tiling, exact labels, and text that never becomes a special token."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflectioncoder.data.render import (
    ADDED_TOKENS,
    IGNORE_INDEX,
    TokenRenderer,
    render_all,
)
from reflectioncoder.data.render_chat import ChatRenderer, chat_block
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.data.words import WordTokenizer
from reflectioncoder.errors import UsageError
from reflectioncoder.method.views import teacher_view
from reflectioncoder.models.tokens import add_tokens_to
from tests.conftest import generation_sample, make_tokenizer, reflection_sample
from tests.tiers import examples

LOOK_ALIKES = [
    *ADDED_TOKENS,
    "<|im_start|>",
    "<|im_end|>",
    "<s>",
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|im_end|",
    "|>",
    "<|",
    "<|user<|user|>",
]
texts = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(LOOK_ALIKES)), max_size=5).map("".join)
blocks = st.builds(Block, st.sampled_from(["text", "code", "execution"]), texts)


@st.composite
def samples(draw):
    body = [*draw(st.lists(blocks, max_size=4)), Block("text", "x" + draw(texts))]
    return Sample((user(draw(texts)), assistant(*body), user(draw(texts)), assistant(Block("text", "y" + draw(texts)))), "reflection")


@pytest.fixture(scope="module", params=["token", "chat", "words"])
def renderer(request, token_tokenizer, chat_tokenizer):
    if request.param == "words":
        return TokenRenderer(WordTokenizer())
    return TokenRenderer(token_tokenizer) if request.param == "token" else ChatRenderer(chat_tokenizer)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=samples())
def test_spans_tile_any_sample_and_content_never_becomes_special(renderer, sample):
    rendered = renderer.render(sample)
    assert [s.start for s in rendered.spans] == [0, *(s.end for s in rendered.spans[:-1])]
    assert rendered.spans[-1].end == len(rendered.input_ids) == len(rendered.teacher_labels) == len(rendered.student_labels)
    for span in rendered.spans:
        if span.block is None:
            continue
        block = sample.messages[span.message].content[span.block]
        ids = list(rendered.input_ids[span.start : span.end])
        if renderer.name == "token":
            assert ids[0] == renderer.tokenizer.convert_tokens_to_ids(f"<|{block.type}|>")
            assert ids[-1] == renderer.tokenizer.convert_tokens_to_ids("<|endofblock|>")
            ids = ids[1:-1]
            expected = block.content
        else:
            expected = chat_block(block)
        assert not set(renderer.tokenizer.added_tokens_decoder) & set(ids)
        decoded = renderer.tokenizer.decode(ids)
        if renderer.name == "chat":
            decoded = decoded.removesuffix("\n\n") if decoded != expected else decoded
        assert decoded == expected


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=samples())
def test_every_label_is_its_token_or_ignored_and_students_train_a_part_of_what_teachers_train(renderer, sample):
    rendered = renderer.render(sample)
    for labels in (rendered.teacher_labels, rendered.student_labels):
        assert all(label in (IGNORE_INDEX, token) for label, token in zip(labels, rendered.input_ids, strict=True))
    for span in rendered.spans:
        trained = {label != IGNORE_INDEX for label in rendered.teacher_labels[span.start : span.end]}
        from_user = span.message in (0, 2)
        if from_user or span.kind in ("execution", "separator", "prefix"):
            assert trained == {False}
        elif span.kind in ("text", "code", "close", "eos"):
            assert trained == {True}
    for teacher, student in zip(rendered.teacher_labels, rendered.student_labels, strict=True):
        assert student in (IGNORE_INDEX, teacher)


def test_token_labels_and_kl_positions_follow_the_authors_script(token_tokenizer):
    """Method, section 3, worked out from the tokens alone."""
    sample = reflection_sample(3, steps=2)
    rendered = TokenRenderer(token_tokenizer).render(sample)
    ids = list(rendered.input_ids)
    token = token_tokenizer.convert_tokens_to_ids
    teacher = list(ids)
    teacher[0] = IGNORE_INDEX  # BOS
    inside = None
    for position, current in enumerate(ids):
        if current == token("<|user|>"):
            inside = token("<|endofmessage|>")
        elif current == token("<|execution|>"):
            inside = token("<|endofblock|>")
        if inside is not None:
            teacher[position] = IGNORE_INDEX
            if current == inside:
                inside = None
    last_assistant = max(i for i, t in enumerate(ids) if t == token("<|assistant|>"))
    last_end = max(i for i, t in enumerate(ids) if t == token("<|endofmessage|>"))
    student = [t if last_assistant <= i <= last_end else IGNORE_INDEX for i, t in enumerate(ids)]
    assert ids[0] == token_tokenizer.bos_token_id
    assert ids[-1] == token_tokenizer.eos_token_id
    assert list(rendered.teacher_labels) == teacher
    assert list(rendered.student_labels) == student
    assert (rendered.answer_start, rendered.answer_end) == (last_assistant, last_end + 1)


def test_chat_answers_are_trained_and_distilled_from_the_header_to_the_end_of_turn(chat_tokenizer):
    rendered = ChatRenderer(chat_tokenizer).render(reflection_sample(1))
    answer = [p for p, label in enumerate(rendered.student_labels) if label != IGNORE_INDEX]
    assert chat_tokenizer.decode([rendered.input_ids[p] for p in answer]).startswith("```python\ndef f")
    assert rendered.input_ids[answer[-1]] == chat_tokenizer.convert_tokens_to_ids("<|im_end|>")
    # Logits that predict the answer stand one position before its tokens.
    assert (rendered.answer_start, rendered.answer_end) == (answer[0] - 1, answer[-1])


def test_requests_are_what_a_server_with_the_chat_template_would_send(token_tokenizer, chat_tokenizer):
    for renderer in (TokenRenderer(token_tokenizer), ChatRenderer(chat_tokenizer)):
        tokenizer = renderer.tokenizer
        own = tokenizer.chat_template
        tokenizer.chat_template = renderer.chat_template() or own
        served = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Write f."}], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        tokenizer.chat_template = own
        assert renderer.render_request("Write f.") == served


def test_a_training_sample_begins_its_answer_exactly_as_a_request_ends(token_tokenizer, chat_tokenizer):
    sample = generation_sample(2)
    for renderer in (TokenRenderer(token_tokenizer), ChatRenderer(chat_tokenizer)):
        request = renderer.render_request(sample.messages[0].text)
        assert list(renderer.render(sample).input_ids[: len(request)]) == request


@pytest.mark.parametrize("num_rounds", [1, 2, 3])
def test_every_answer_of_a_dialogue_is_trained_up_to_its_end_and_no_request(token_tokenizer, chat_tokenizer, num_rounds):
    turns = [turn for n in range(num_rounds) for turn in (user(f"Ask {n}."), assistant(Block("text", f"Answer {n}.")))]
    sample = Sample(tuple(turns), "generation")
    ends = {
        TokenRenderer(token_tokenizer): ("<|assistant|><|text|>", "<|endofblock|><|endofmessage|>", token_tokenizer.eos_token),
        ChatRenderer(chat_tokenizer): ("", "<|im_end|>", ""),
    }
    for renderer, (before, behind, last) in ends.items():
        rendered = renderer.render(sample)
        trained = [label for label in rendered.teacher_labels if label != IGNORE_INDEX]
        wanted = "".join(f"{before}Answer {n}.{behind}" for n in range(num_rounds)) + last
        assert renderer.tokenizer.decode(trained) == wanted
        assert not rendered.is_reflection
        assert teacher_view(rendered).labels == rendered.teacher_labels


def test_code_with_a_fence_inside_gets_a_longer_fence():
    assert chat_block(Block("code", "x = '''\n```\n'''")).startswith("````python\n")


def test_nothing_to_train_is_an_error(renderer):
    empty = Sample((user("a"), assistant(Block("execution", "out"))), "generation", {"id": "e"})
    with pytest.raises(UsageError, match="nothing is trained"):
        renderer.render(empty)


def test_too_long_samples_are_counted_and_named(renderer):
    chosen = [reflection_sample(0), reflection_sample(1, steps=9), generation_sample(0)]
    longest = len(renderer.render(chosen[1]).input_ids)
    kept, indices, report = render_all(renderer, chosen, longest - 1)
    assert indices == [0, 2]
    assert len(kept) == report.num_kept == 2
    assert report.too_long == ("sample-1",)
    assert report.longest == longest


def test_a_tokenizer_without_bos_works_and_one_without_eos_is_refused_by_the_token_rendering():
    without_bos = make_tokenizer(bos=False)
    add_tokens_to(without_bos)
    rendered = TokenRenderer(without_bos).render(reflection_sample(0))
    assert rendered.input_ids[0] == without_bos.convert_tokens_to_ids("<|user|>")
    without_eos = make_tokenizer(eos=False)
    add_tokens_to(without_eos)
    with pytest.raises(UsageError, match="end-of-sequence"):
        TokenRenderer(without_eos)


def test_a_chat_rendering_without_template_or_with_an_unstable_one_is_refused():
    with pytest.raises(UsageError, match="no chat template"):
        ChatRenderer(make_tokenizer(template=None))
    only_last = "{{ messages[-1]['content'] + '<|im_end|>' }}"
    with pytest.raises(UsageError, match="rewrites earlier messages"):
        ChatRenderer(make_tokenizer(template=only_last))


def test_new_embedding_rows_are_the_mean_of_the_rows_that_spelled_them():
    import torch

    from reflectioncoder.models.tokens import add_tokens
    from tests.conftest import make_model

    tokenizer = make_tokenizer()
    model = make_model("llama", len(tokenizer), tied=False)
    before = [model.get_input_embeddings().weight.clone(), model.get_output_embeddings().weight.clone()]
    spelled = {t: tokenizer.encode(t, add_special_tokens=False) for t in ADDED_TOKENS}
    add_tokens(model, tokenizer)
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    for old, new in zip(before, after, strict=True):
        assert new.shape[0] % 64 == 0
        assert torch.equal(new[: old.shape[0]], old)
        for token, ids in spelled.items():
            assert len(ids) > 1
            torch.testing.assert_close(new[tokenizer.convert_tokens_to_ids(token)], old[ids].mean(0))


def test_the_word_tokenizer_gives_text_back():
    text = "def f(x):\n    return  x+1\n\n\t# ü <|user|>"
    tokenizer = WordTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not set(tokenizer.encode("<|user|>")) & {tokenizer.convert_tokens_to_ids("<|user|>")}
    assert re.fullmatch(r"<\|user\|>", tokenizer.decode(tokenizer.encode("<|user|>")))
