"""The sample schema: the published form in and out, byte for byte, and clear errors."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectioncoder.data.files import dumps_row
from reflectioncoder.data.samples import BLOCK_TYPES, Block, Message, Sample, parse_sample, read_samples
from reflectioncoder.errors import UsageError
from tests.conftest import generation_sample, reflection_sample

PUBLISHED = (
    '{"messages": [{"role": "user", "content": [{"type": "text", "content": "Sölve it"}]}, '
    '{"role": "assistant", "content": [{"type": "text", "content": "a"}, {"type": "code", "content": "1/0"}, '
    '{"type": "execution", "content": "ZeroDivisionError"}]}, '
    '{"role": "user", "content": [{"type": "text", "content": "again"}]}, '
    '{"role": "assistant", "content": [{"type": "text", "content": "done"}]}], "type": "reflection"}'
)


def test_a_published_row_is_written_back_byte_for_byte():
    assert dumps_row(parse_sample(json.loads(PUBLISHED)).to_json()) == PUBLISHED


def test_messages_may_be_a_json_string():
    row = json.loads(PUBLISHED)
    packed = {**row, "messages": json.dumps(row["messages"])}
    assert parse_sample(packed) == parse_sample(row)


def test_a_row_without_a_type_is_a_reflection_sample_if_it_has_four_messages():
    row = {"messages": json.loads(PUBLISHED)["messages"]}
    assert parse_sample(row).type == "reflection"
    assert parse_sample({"messages": row["messages"][:2], "type": None}).type == "generation"


def test_a_one_off_sample_may_have_several_rounds():
    sample = parse_sample({**json.loads(PUBLISHED), "type": "generation"})
    assert [message.role for message in sample.messages] == ["user", "assistant"] * 2


@given(st.lists(st.tuples(st.sampled_from(BLOCK_TYPES), st.text()), min_size=1, max_size=5), st.text())
def test_any_text_survives_writing_and_reading(blocks, instruction):
    sample = Sample(
        (
            Message("user", (Block("text", instruction),)),
            Message("assistant", tuple(Block(kind, text) for kind, text in blocks)),
        ),
        "generation",
        {"id": instruction},
    )
    line = dumps_row(sample.to_json()).encode() + b"\n"
    assert line.count(b"\n") == 1
    assert parse_sample(json.loads(line)) == sample


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "reflexion"}, "did you mean 'reflection'"),
        ({"messages": []}, "non-empty list"),
        ({"messages": "{"}, "not JSON"),
        ({"messages": [{"role": "system", "content": []}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": "plain"}]}, "non-empty list of blocks"),
        ({"messages": [{"role": "user", "content": [{"type": "txt", "content": ""}]}]}, "did you mean 'text'"),
        ({"messages": json.loads(PUBLISHED)["messages"][:3]}, "2 rounds of user and assistant"),
        ({"messages": json.loads(PUBLISHED)["messages"][1:], "type": "generation"}, "1 round or more"),
    ],
)
def test_wrong_rows_say_what_is_wrong(change, message):
    with pytest.raises(UsageError, match=message):
        parse_sample({**json.loads(PUBLISHED), **change}, "file.jsonl:7")


def test_errors_name_file_and_line(tmp_path):
    path = tmp_path / "samples.jsonl"
    rows = [generation_sample().to_json(), {**reflection_sample().to_json(), "type": "x"}]
    path.write_text("".join(dumps_row(row) + "\n" for row in rows))
    with pytest.raises(UsageError, match=r"samples\.jsonl:2"):
        list(read_samples(path))
