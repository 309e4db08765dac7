"""A row is written only where the tokenizer's template shows each block of its sample exactly once, in its place."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflectioncoder.cli import main
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import CheckFailedError, UsageError
from reflectioncoder.publish.exactly_once import RowRenderer, check_row
from reflectioncoder.publish.export import export, find_source
from reflectioncoder.publish.formats import FORMATS, Skipped
from tests.conftest import CHATML, generation_sample, make_tokenizer, reflection_sample
from tests.publish.exported import rows_of
from tests.tiers import examples

ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endfor %}"
)


@pytest.mark.parametrize("template", [ALTERNATING, None])
def test_a_template_that_does_not_show_tools_is_named_with_a_way_out(template, tmp_path):
    tokenizer = make_tokenizer(template=template) if template else make_tokenizer()
    write_jsonl(tmp_path / "samples.jsonl", [reflection_sample(0).to_json()])
    source = [find_source(tmp_path / "samples.jsonl")]
    with pytest.raises(UsageError, match=r"'tool'(.|\n)*--format chat or axolotl"):
        export(source, tmp_path / "out", ["tool"], tokenizer)
    assert not list((tmp_path / "out").iterdir())
    export(source, tmp_path / "out", ["chat", "axolotl", "prompt-completion", "preference"], tokenizer)


@pytest.mark.parametrize(
    ("template", "unsupported"),
    [
        (ALTERNATING, {"tool"}),
        (CHATML, {"tool"}),
        # It refuses what not every sample has: a dialogue with two answers.
        ("{% if messages | length > 2 %}{{ raise_exception('one round') }}{% endif %}" + CHATML, {"tool", "chat", "axolotl"}),
        ("{% if messages | length > 2 %}{{ messages[0].content // 0 }}{% endif %}" + CHATML, {"tool", "chat", "axolotl"}),
    ],
)
def test_formats_that_the_template_cannot_show_are_left_out_by_name_and_the_others_are_written(template, unsupported, tmp_path, capsys):
    make_tokenizer(template=template).save_pretrained(tmp_path / "tokenizer")
    rows = [generation_sample(0).to_json(), reflection_sample(0).to_json()]
    write_jsonl(tmp_path / "samples.jsonl", rows)
    arguments = ["export", tmp_path / "samples.jsonl", "--output", tmp_path / "out", "--tokenizer", tmp_path / "tokenizer", "--json"]
    assert main([*map(str, arguments)]) == 0
    formats = json.loads(capsys.readouterr().out)["formats"]
    assert {name for name, counts in formats.items() if counts["unsupported"]} == unsupported
    for name, counts in formats.items():
        assert (tmp_path / "out" / f"{name}.jsonl").exists() == (name not in unsupported) == bool(counts["num_rows"])
        assert (f"`{name}`: no rows" in (tmp_path / "out" / "README.md").read_text()) == (name in unsupported)


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>assistant\n", "<|endoftext|>", "<s>", "<|fim_prefix|>"])
@pytest.mark.parametrize("place", ["request", "text", "code", "execution", "answer"])
def test_a_sample_whose_text_the_tokenizer_would_read_as_a_special_token_has_no_row(token, place, chat_tokenizer, tmp_path):
    def said(where, text):
        return f"{text}{token}{text}" if where == place else text

    first = (Block("code", said("code", "f(1)")), Block("execution", said("execution", "1")))
    second = (Block("code", "f"), Block("execution", "2"))
    forged = Sample(
        (
            user(said("request", "Solve.")),
            assistant(Block("text", said("text", "I try.")), *first, *second),
            user("Write."),
            assistant(Block("text", said("answer", "f"))),
        ),
        "reflection",
        {"id": "forged"},
    )
    write_jsonl(tmp_path / "samples.jsonl", [forged.to_json(), reflection_sample(0).to_json()])
    source = [find_source(tmp_path / "samples.jsonl")]
    exported = export(source, tmp_path / "out", ["canonical", "chat", "axolotl", "llama-factory"], chat_tokenizer)
    reason = "a text spells a special token of the tokenizer"
    assert [counts.skipped[reason] for counts in exported.formats.values()] == [0, 1, 1, 1]
    assert [row["id"] for row in rows_of(tmp_path / "out", "chat")] == ["sample-0"]
    plain = export(source, tmp_path / "plain", ["chat"])
    assert plain.formats["chat"].num_rows == 2  # without a tokenizer no spelling means anything


def test_a_template_that_changes_contents_is_found(tmp_path):
    drops_words = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.replace('so', '') + '<|im_end|>' }}{% endfor %}"
    sample = Sample((user("Say it."), assistant(Block("text", "It is so."))), "generation", {"id": "thinker"})
    write_jsonl(tmp_path / "samples.jsonl", [sample.to_json()])
    with pytest.raises(CheckFailedError, match=r"chat: sample 'thinker': message 1, block 0 \(text\)"):
        export([find_source(tmp_path / "samples.jsonl")], tmp_path / "out", ["chat"], make_tokenizer(template=drops_words))


def test_a_sample_whose_text_the_template_takes_for_a_thought_has_no_row(tmp_path):
    drops_thoughts = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.split('</think>')[-1] + '<|im_end|>' }}{% endfor %}"
    )
    sample = Sample((user("Say it."), assistant(Block("text", "<think>so</think>It."))), "generation", {"id": "thinker"})
    write_jsonl(tmp_path / "samples.jsonl", [sample.to_json(), generation_sample(0).to_json()])
    exported = export([find_source(tmp_path / "samples.jsonl")], tmp_path / "out", ["chat"], make_tokenizer(template=drops_thoughts))
    assert exported.formats["chat"].num_rows == 1
    assert exported.formats["chat"].skipped == {"the tokenizer's chat template cuts a text at the end of a thought": 1}


LOOK_ALIKES = [
    "```", "````python\n", "```output\n3\n```", "\n\n", " \t\n", "3", "<|im_end|>\n", "<|im_start|>assistant\n", "{{ x }}",
    '{"code": "', "</call>", "BLOCK-0-", "<|endofblock|>", "\\n", '"', "é\u2028", "</think>",
]  # fmt: skip
contents = st.lists(st.one_of(st.text(max_size=6), st.sampled_from(LOOK_ALIKES)), max_size=5).map("".join)


@st.composite
def samples(draw):
    blocks, used = [], draw(st.lists(contents, min_size=1, max_size=3))
    one = st.sampled_from(used)  # the same text in many places
    for _ in range(draw(st.integers(1, 3))):
        blocks += [Block("text", draw(one)) for _ in range(draw(st.integers(0, 2)))]
        blocks += [Block("code", draw(one)), Block("execution", draw(one))]
    return Sample((user(draw(one)), assistant(*blocks), user(draw(one)), assistant(Block("text", draw(one)))), "reflection")


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sample=samples())
def test_whatever_the_contents_are_each_block_is_found_once_in_its_place(name, sample, tool_tokenizer):
    form = FORMATS[name]
    selected = form.select(sample)
    if isinstance(selected, Skipped):
        return
    row = form.build(selected)
    assert not check_row(form, row, selected, RowRenderer(), "any").spells_special_token
    checked = check_row(form, row, selected, RowRenderer(tool_tokenizer), "any")
    shown = json.dumps(row, ensure_ascii=False)
    spelled = any(token.content in shown for token in tool_tokenizer.added_tokens_decoder.values())
    assert checked.spells_special_token == (spelled and name != "canonical")


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_that_loses_repeats_or_moves_a_block_does_not_pass(name, tool_tokenizer):
    form, sample = FORMATS[name], reflection_sample(2, steps=2)

    def select(sample):
        selected = form.select(sample)
        assert not isinstance(selected, Skipped)
        return selected

    selected = select(sample)
    other = select(
        Sample((sample.messages[0], assistant(*sample.messages[1].content, *sample.messages[1].content[-2:]), *sample.messages[2:]))
    )
    swapped = Sample((sample.messages[2], sample.messages[1], sample.messages[0], sample.messages[3]))
    changed = [form.build(select(swapped))]
    if name not in ("prompt-completion", "preference"):  # which show nothing of the reflection sequence
        changed.append(form.build(other))
    for renderer in (RowRenderer(), RowRenderer(tool_tokenizer)):
        check_row(form, form.build(selected), selected, renderer, "it")
        for row in changed:
            with pytest.raises(CheckFailedError, match="sample it"):
                check_row(form, row, selected, renderer, "it")
