"""Rows of instruction data sets, in every published form, become samples; what is wrong in a row is said with its place."""

import json

import pytest

from reflectioncoder.data.row_forms import FORMS, QUESTION_AND_ANSWER, form_of, normalized_text
from reflectioncoder.data.samples import parse_sample
from reflectioncoder.errors import UsageError
from tests.conftest import generation_sample, reflection_sample

ROUNDS = [("user", "Add."), ("assistant", "a + b"), ("user", "And now?"), ("assistant", "b + a")]
CHAT = [{"role": role, "content": text} for role, text in ROUNDS]
SHAREGPT = [{"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in ROUNDS]

ROWS = {
    "reflection samples": reflection_sample(2).to_json(),
    "chat": {"messages": CHAT[:2]},
    "ShareGPT": {"conversations": SHAREGPT[:2]},
    "prompt and completion": {"prompt": "Add.", "completion": "a + b"},
    "CodeFeedback": {"query": "Add.", "answer": "a + b", "resource": "r", "lang": "python"},
    "OSS-Instruct": {"problem": "Add.", "solution": "a + b", "seed": "x"},
    "Alpaca": {"instruction": "Add.", "input": "", "output": "a + b"},
    "Evol-Instruct": {"instruction": "Add.", "response": "a + b"},
}


def sample_of(row, where="f.jsonl:1", **settings):
    return form_of(row, where).sample(row, where, **settings)


def said(sample):
    return [(message.role, message.text) for message in sample.messages]


def test_every_form_has_a_row_here():
    assert list(ROWS) == [form.name for form in FORMS]


@pytest.mark.parametrize("form", ROWS)
def test_a_form_is_recognised_and_its_rows_become_samples(form):
    row = ROWS[form]
    assert form_of(row, "f").name == form
    if form == "reflection samples":
        assert sample_of(row) == parse_sample(row)
        assert sample_of({**row, "messages": json.dumps(row["messages"])}) == parse_sample(row)
    else:
        assert sample_of(row).type == "generation"
        assert said(sample_of(row)) == ROUNDS[:2]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT},
        {"messages": json.dumps(CHAT)},
        {"conversations": SHAREGPT},
        {"conversations": CHAT},
        {"prompt": CHAT[:3], "completion": CHAT[3:]},
    ],
)
def test_a_dialogue_of_several_rounds_is_one_sample(row):
    assert said(sample_of(row)) == ROUNDS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "system", "content": "Be brief."}, *CHAT]},
        {"conversations": [{"from": "system", "value": "Be brief."}, *SHAREGPT]},
    ],
)
def test_a_system_message_begins_the_first_request(row):
    assert said(sample_of(row)) == [("user", "Be brief.\n\nAdd."), *ROUNDS[1:]]


def test_the_input_of_an_alpaca_row_follows_its_instruction():
    row = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    assert said(sample_of(row)) == [("user", "Add.\n\n1, 2"), ("assistant", "3")]
    assert said(sample_of({**row, "input": None}))[0] == ("user", "Add.")


def test_of_other_columns_the_id_and_the_task_stay():
    row = {**ROWS["CodeFeedback"], "id": 7, "task_id": "HumanEval/3"}
    assert sample_of(row).extra == {"id": 7, "metadata": {"task_id": "HumanEval/3"}}
    assert sample_of(ROWS["CodeFeedback"]).extra == {}


def test_unknown_columns_are_one_error_that_shows_them_and_the_forms():
    with pytest.raises(UsageError) as raised:
        form_of({"text": "x", "label": 1}, "f.jsonl:1")
    message = str(raised.value)
    assert message.startswith("f.jsonl:1: ")
    assert "columns: text, label" in message
    assert all(form.name in message for form in FORMS)


@pytest.mark.parametrize("empty", [None, "", " \n", 3, ["x"]])
@pytest.mark.parametrize("columns", [*QUESTION_AND_ANSWER.values(), ("prompt", "completion")])
def test_a_text_that_is_missing_or_empty_is_an_error_with_its_row(columns, empty):
    question, answer = columns
    form = form_of({question: "q", answer: "a"}, "f.jsonl:1")
    for row in ({question: "q", answer: empty}, {question: empty, answer: "a"}):
        with pytest.raises(UsageError, match=r"f\.jsonl:9: "):
            form.sample(row, "f.jsonl:9")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [CHAT[0], {"role": "assistant", "content": None}]}, r"message 2 \(assistant\)"),
        ({"messages": [{"role": "user", "content": ""}, CHAT[1]]}, r"message 1 \(user\)"),
        ({"messages": CHAT[:3]}, "1 round or more of user and assistant"),
        ({"messages": CHAT[1:]}, "1 round or more of user and assistant"),
        ({"messages": [CHAT[0], {"role": "tool", "content": "x"}]}, "tool"),
        ({"messages": [CHAT[0], CHAT[1], {"role": "system", "content": "x"}]}, "system"),
        ({"messages": [{"role": "system", "content": ""}, *CHAT]}, "the system message"),
        ({"messages": []}, "non-empty list"),
        ({"messages": "["}, "not JSON"),
        ({"messages": None}, "non-empty list"),
        ({"conversations": "x"}, "not JSON"),
        ({"conversations": [1]}, "no list of messages"),
        ({"prompt": CHAT[:1], "completion": "a"}, "completion"),
        ({**generation_sample().to_json(), "type": "chat"}, "unknown sample type"),
    ],
)
def test_a_malformed_dialogue_is_an_error_with_its_row(row, message):
    with pytest.raises(UsageError, match=message) as raised:
        sample_of(row, "f.jsonl:9")
    assert "f.jsonl:9" in str(raised.value)


def test_answers_without_text_are_refused_and_empty_outputs_are_not():
    row = reflection_sample().to_json()
    row["messages"][1]["content"][2]["content"] = ""  # an execution that printed nothing
    assert sample_of(row).type == "reflection"
    for message in (row["messages"][1], row["messages"][3]):
        message["content"] = [{"type": "text", "content": " "}, {"type": "execution", "content": "ok"}]
    with pytest.raises(UsageError, match=r"f\.jsonl:1: messages"):
        sample_of(row)


def test_the_authors_normalisation_is_applied_to_every_text_and_only_when_asked_for():
    row = {"query": "1 &lt; 2?\r\n\tYes", "answer": "x\t&amp;\r\ny\r"}
    assert said(sample_of(row)) == [("user", row["query"]), ("assistant", row["answer"])]
    changed = sample_of(row, normalization="reflectioncoder")
    assert said(changed) == [("user", "1 < 2?\n    Yes"), ("assistant", "x    &\ny\r")]
    blocks = reflection_sample().to_json()
    blocks["messages"][1]["content"][1]["content"] = "if 1 &gt; 0:\r\n\tpass"
    assert sample_of(blocks, normalization="reflectioncoder").messages[1].content[1].content == "if 1 > 0:\n    pass"


def test_an_entity_of_a_tab_or_a_line_end_is_normalised_too():
    assert normalized_text("a&#9;b&#13;&#10;c") == "a    b\nc"
