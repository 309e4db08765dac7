"""Exports of real samples: other libraries read them, nothing is lost or added, and bad input is named."""

import ast
import json
import re
from dataclasses import replace

import pytest

from reflectioncoder.builder.cells import python_cell
from reflectioncoder.cli import main
from reflectioncoder.data.failed_attempts import failed_attempts
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import one_off_answer
from reflectioncoder.data.samples import Block, Sample, assistant, read_samples, user
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.publish.card import card
from reflectioncoder.publish.export import export, find_source, verify
from reflectioncoder.publish.formats import FORMATS, Skipped, first_failing_attempt
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session
from tests.conftest import generation_sample, reflection_sample
from tests.publish.exported import front_matter, rows_of


def test_datasets_loads_every_format_by_its_name_in_the_card(exported_dir, run_dir, tmp_path):
    datasets = pytest.importorskip("datasets")
    num_samples = len(list(read_samples(run_dir / "build" / "reflections.jsonl")))
    configs = front_matter(exported_dir)["configs"]
    assert [config["config_name"] for config in configs] == list(FORMATS)
    for name in FORMATS:
        loaded = datasets.load_dataset(str(exported_dir), name, split="train", cache_dir=str(tmp_path))
        assert len(loaded) == len(rows_of(exported_dir, name))
        assert len(loaded) == num_samples or name == "preference"
    by_default = datasets.load_dataset(str(exported_dir), split="train", cache_dir=str(tmp_path))
    assert set(by_default.column_names) == {"messages", "type", "id", "metadata"}


def test_canonical_rows_are_the_samples_and_can_be_exported_again(exported_dir, run_dir, tmp_path):
    before = list(read_samples(run_dir / "build" / "reflections.jsonl"))
    after = list(read_samples(exported_dir / "canonical.jsonl"))
    assert [(s.messages, s.type, s.id) for s in before] == [(s.messages, s.type, s.id) for s in after]
    assert [s.extra["metadata"] for s in before] == [json.loads(s.extra["metadata"]) for s in after]
    export([find_source(exported_dir / "canonical.jsonl")], tmp_path / "again", FORMATS)
    for name in FORMATS:
        assert rows_of(tmp_path / "again", name) == rows_of(exported_dir, name)


def test_the_check_that_the_card_names_holds_on_an_export(exported_dir, capsys):
    assert "reflectioncoder check canonical.jsonl" in (exported_dir / "README.md").read_text()
    assert main(["check", str(exported_dir / "canonical.jsonl"), "--limit", "6"]) == 0
    assert "6 samples print what they did" in capsys.readouterr().out


def test_a_dialogue_of_several_rounds_stays_whole_in_a_prompt_and_its_completion():
    dialogue = Sample((*generation_sample(1).messages, *generation_sample(2).messages), "generation")
    form = FORMATS["prompt-completion"]
    conversations = form.select(dialogue)
    assert not isinstance(conversations, Skipped)
    (turns,) = form.chats(form.build(conversations))
    assert [turn["content"] for turn in turns] == [message.text for message in dialogue.messages]


def test_canonical_has_one_schema_for_authors_with_different_metadata(tmp_path):
    samples = [
        replace(reflection_sample(1), extra={"id": "a", "metadata": {"author": "llm", "passes": [False, True], "operators": []}}),
        replace(reflection_sample(2), extra={"id": "b", "metadata": {"author": "mutation", "operators": ["x"], "grade": 2}}),
        replace(generation_sample(), extra={"id": "c", "metadata": {"passes": "none"}, "source": "here"}),
        generation_sample(1),
    ]
    write_jsonl(tmp_path / "samples.jsonl", [sample.to_json() for sample in samples])
    exported = export([find_source(tmp_path / "samples.jsonl")], tmp_path / "out", ["canonical"])
    (tmp_path / "out" / "README.md").write_text(card(exported))
    assert verify(tmp_path / "out", ["canonical"]) == {"canonical": 4}
    assert json.loads(rows_of(tmp_path / "out", "canonical")[2]["metadata"]) == {"passes": "none", "source": "here"}


def test_trl_reads_and_renders_the_conversational_formats(exported_dir, tool_tokenizer):
    data_utils = pytest.importorskip("trl.data_utils")
    for name in ("tool", "chat", "prompt-completion", "preference"):
        for row in rows_of(exported_dir, name)[:5]:
            assert data_utils.is_conversational(row)
            shown = data_utils.apply_chat_template(
                {key: value for key, value in row.items() if key not in ("tools", "id")}, tool_tokenizer, tools=row.get("tools")
            )
            assert set(shown) == ({"text"} if "messages" in row else set(row) - {"id"})
            assert all(shown.values())


def test_a_template_shows_rows_as_datasets_loads_them_like_the_written_ones(exported_dir, tool_tokenizer, tmp_path):
    """There every message has every key, absent ones as None."""
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(exported_dir), "tool", split="train", cache_dir=str(tmp_path))
    for found, written in zip(loaded, rows_of(exported_dir, "tool"), strict=True):
        texts = [tool_tokenizer.apply_chat_template(row["messages"], tools=row["tools"], tokenize=False) for row in (found, written)]
        assert texts[0] == texts[1]


def test_tool_turns_hold_the_programs_and_outputs_in_order(exported_dir, run_dir):
    for sample, row in zip(read_samples(run_dir / "build" / "reflections.jsonl"), rows_of(exported_dir, "tool"), strict=True):
        calls = [m["tool_calls"][0] for m in row["messages"] if "tool_calls" in m]
        outputs = [m for m in row["messages"] if m["role"] == "tool"]
        blocks = sample.messages[1].content
        assert [call["function"]["arguments"]["code"] for call in calls] == [b.content for b in blocks if b.type == "code"]
        assert [m["content"] for m in outputs] == [b.content for b in blocks if b.type == "execution"]
        assert [call["id"] for call in calls] == [m["tool_call_id"] for m in outputs]
        assert all(re.fullmatch(r"[a-z0-9]{9}", call["id"]) for call in calls)
        assert row["messages"][-2:] == [{"role": m.role, "content": m.text} for m in sample.messages[2:]]


def test_llama_factory_turns_alternate_and_calls_are_json_after_the_thought(exported_dir, run_dir):
    """As its sharegpt converter and its FunctionFormatter take rows apart."""
    samples = read_samples(run_dir / "build" / "reflections.jsonl")
    for sample, row in zip(samples, rows_of(exported_dir, "llama-factory"), strict=True):
        turns = row["conversations"]
        assert len(turns) % 2 == 0
        assert all(turn["from"] in (("human", "observation"), ("gpt", "function_call"))[i % 2] for i, turn in enumerate(turns))
        called = []
        for turn in turns:
            if turn["from"] == "function_call":
                thought = re.search(r"<think>\n(.*?)\n</think>\n\n", turn["value"], re.DOTALL)
                assert thought is not None
                called.append(json.loads(turn["value"].replace(thought[0], ""))["arguments"]["code"])
        assert called == [b.content for b in sample.messages[1].content if b.type == "code"]
        assert turns[-1] == {"from": "gpt", "value": sample.messages[-1].text}
        assert json.loads(row["tools"])[0]["function"]["name"] == "python"


def test_axolotl_parts_join_to_the_chat_and_only_the_assistant_s_say_what_is_trained(exported_dir, run_dir):
    samples = read_samples(run_dir / "build" / "reflections.jsonl")
    chats = rows_of(exported_dir, "chat")
    for sample, row, chat in zip(samples, rows_of(exported_dir, "axolotl"), chats, strict=True):
        for message, exported, folded in zip(sample.messages, row["messages"], chat["messages"], strict=True):
            parts = exported["content"]
            trained = [block.type != "execution" if message.role == "assistant" else None for block in message.content]
            assert [part.get("train") for part in parts] == trained
            assert "".join(part["text"] for part in parts) == folded["content"]
            # White space at a boundary belongs to the part behind it: a BPE token holds the space before a word.
            assert all(part["text"] == part["text"].rstrip() for part in parts[:-1])


def test_as_context_the_code_of_failing_attempts_alone_changes_and_is_not_trained(exported_dir, run_dir, tmp_path):
    asked = ["--failed-attempts", "context", "--format", "axolotl", "prompt-completion", "preference"]
    assert main(["export", str(run_dir), "--output", str(tmp_path), *asked]) == 0
    samples = read_samples(run_dir / "build" / "reflections.jsonl")
    num_failed = 0
    for sample, before, after in zip(samples, rows_of(exported_dir, "axolotl"), rows_of(tmp_path, "axolotl"), strict=True):
        failed = failed_attempts(sample)
        num_failed += len(failed)
        for number, (old, new) in enumerate(zip(before["messages"], after["messages"], strict=True)):
            for index, (part, now) in enumerate(zip(old["content"], new["content"], strict=True)):
                assert now == ({**part, "train": False} if (number, index) in failed else part)
    assert num_failed >= 10
    for name in ("prompt-completion", "preference"):
        assert rows_of(tmp_path, name) == rows_of(exported_dir, name)
    assert "`train: false`" in (tmp_path / "README.md").read_text()


def test_formats_that_cannot_say_what_is_not_trained_are_refused_by_name(run_dir, tmp_path, capsys):
    assert main(["export", str(run_dir), "--output", str(tmp_path), "--failed-attempts", "context", "--format", "axolotl", "tool"]) == 2
    said = capsys.readouterr().err
    assert "'tool'" in said
    assert "allowed: axolotl, prompt-completion, preference" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "train_on", [{"train_on_eos": "turn"}, {"train_on_eos": "last"}, {"train_on_eot": "turn", "eot_tokens": ["<|im_end|>"]}]
)
def test_axolotl_s_own_strategy_trains_what_the_assistant_wrote_and_nothing_else(train_on, exported_dir, chat_tokenizer, tmp_path):
    """As `datasets` loads the rows (absent keys are None) and axolotl masks them: no text, output or end of a user's turn."""
    strategies = pytest.importorskip("axolotl.prompt_strategies.chat_template")
    datasets = pytest.importorskip("datasets")
    prompter = strategies.ChatTemplatePrompter(
        chat_tokenizer, chat_template=chat_tokenizer.chat_template, message_property_mappings={"role": "role", "content": "content"}
    )
    strategy = strategies.ChatTemplateStrategy(
        prompter, tokenizer=chat_tokenizer, train_on_inputs=False, sequence_len=8192, roles_to_train=["assistant"], **train_on
    )
    end = chat_tokenizer.convert_tokens_to_ids("<|im_end|>")
    loaded = datasets.load_dataset(str(exported_dir), "axolotl", split="train", cache_dir=str(tmp_path))
    for row in loaded.select(range(8)):
        masked = strategy.tokenize_prompt(row)
        pairs = list(zip(masked["input_ids"], masked["labels"], strict=True))
        trained = chat_tokenizer.decode([token for token, label in pairs if label != -100 and token != end])
        wanted = [part["text"] for m in row["messages"] if m["role"] == "assistant" for part in m["content"] if part["train"]]
        assert trained == "".join(wanted)
        ends = [label != -100 for token, label in pairs if token == end]
        roles = [message["role"] for message in row["messages"]]
        if train_on == {"train_on_eos": "last"}:
            assert ends[-len(roles) :] == [False] * (len(roles) - 1) + [True]
        else:
            assert ends[-len(roles) :] == [role == "assistant" for role in roles]
        assert not any(ends[: -len(roles)])  # of a system turn that the template adds


def program_of(answer):
    return answer[0]["content"].removeprefix("```python\n").removesuffix("\n```")


def test_chosen_programs_pass_the_tests_and_rejected_ones_fail_them(exported_dir):
    problems = {p.task_id: p for p in bundled_problems("train")}
    pairs = rows_of(exported_dir, "preference")
    task_ids = {row["id"]: json.loads(row["metadata"])["task_id"] for row in rows_of(exported_dir, "canonical")}
    assert len(pairs) >= 16
    for pair in pairs:
        problem = problems[task_ids[pair["id"]]]
        verdicts = []
        for name in ("chosen", "rejected"):
            program = program_of(pair[name])
            assert not any(isinstance(node, ast.Assert) for node in ast.parse(program).body)
            with Session(Limits(wall_s=3.0), detect_isolation()) as session:
                verdicts.append(session.run(f"{program}\n{problem.test_code}").status == "ok")
        assert verdicts == [True, False]


def test_pairs_follow_the_recorded_verdicts_and_leave_out_what_is_no_pair():
    sample = reflection_sample(2)
    first = next(b.content for b in sample.messages[1].content if b.type == "code")
    assert first_failing_attempt(sample) == first
    known = replace(sample, extra={"id": "x", "metadata": {"passes": [True, True]}})
    assert first_failing_attempt(known) is None
    select = FORMATS["preference"].select
    assert select(known) == Skipped("no failing attempt")
    assert select(generation_sample()) == Skipped("no failing attempt")

    def with_first(code):
        return Sample((sample.messages[0], assistant(Block("code", code), *sample.messages[1].content[1:]), *sample.messages[2:]))

    def why_skipped(code):
        skipped = select(with_first(code))
        assert isinstance(skipped, Skipped)
        return skipped.reason

    assert "no valid Python" in why_skipped("def f(x:\n")
    assert "nothing but tests" in why_skipped("assert f(1) == 1")
    final = sample.messages[-1].text.removeprefix("```python\n").removesuffix("\n```")
    assert "its tests were wrong" in why_skipped(f"{final}  # so\n\nassert f(1) == 7")


def test_a_pair_of_a_problem_with_a_setup_differs_in_its_program_alone():
    setup = "def same(a, b):\n    return a == b"
    wrong, right = "def f(x):\n    return 1\n", "def f(x):\n    return 2\n"
    problem = Problem("t", entry_point="f", setup=setup, tests=("assert same(f(1), 2)",), instruction="Write f.")
    blocks = (Block("code", python_cell(wrong, problem, problem.tests)), Block("execution", "AssertionError"), Block("code", right))
    metadata = {"task_id": "t", "operators": [], "setup": setup}
    sequence = assistant(*blocks, Block("execution", "ok"))
    answer = assistant(Block("text", one_off_answer(right)))
    sample = Sample((user("Solve."), sequence, user("Write."), answer), "reflection", {"id": "s", "metadata": metadata})
    form = FORMATS["preference"]
    selected = form.select(sample)
    assert not isinstance(selected, Skipped)
    row = form.build(selected)
    assert row["rejected"][0]["content"] == one_off_answer(wrong)
    assert row["chosen"][0]["content"] == one_off_answer(right)


def test_several_sources_are_one_data_set_and_limit_counts_samples(tmp_path, run_dir):
    write_jsonl(tmp_path / "more.jsonl", [reflection_sample(0).to_json(), generation_sample(0).to_json()])
    more = str(tmp_path / "more.jsonl")
    assert main(["export", more, str(run_dir), "--output", str(tmp_path / "out"), "--format", "canonical", "--limit", "5"]) == 0
    ids = [row["id"] for row in rows_of(tmp_path / "out", "canonical")]
    assert len(ids) == 5
    assert ids[:2] == ["sample-0", "plain-0"]


def test_a_format_without_rows_has_no_file_and_the_reason_is_counted(tmp_path, capsys):
    write_jsonl(tmp_path / "plain.jsonl", [generation_sample(0).to_json()])
    arguments = ["export", str(tmp_path / "plain.jsonl"), "--output", str(tmp_path / "out"), "--verify", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["formats"]["preference"] == {"num_rows": 0, "skipped": {"no failing attempt": 1}, "unsupported": None}
    assert not (tmp_path / "out" / "preference.jsonl").exists()
    assert main(arguments) == 0  # an export may be repeated in its folder


def test_an_export_without_any_row_says_why(tmp_path, capsys):
    write_jsonl(tmp_path / "plain.jsonl", [generation_sample(0).to_json()])
    arguments = ["export", str(tmp_path / "plain.jsonl"), "--output", str(tmp_path / "out"), "--format", "preference"]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "none of the samples has a row in these formats\n  preference: no failing attempt (1 samples)" in told
    assert list((tmp_path / "out").iterdir()) == []


def test_verify_finds_a_changed_file(exported_dir, tmp_path):
    out = tmp_path / "copy"
    out.mkdir()
    (out / "README.md").write_text("---\nconfigs:\n- config_name: chat\n  data_files: other.jsonl\n---\n")
    rows = rows_of(exported_dir, "chat")
    write_jsonl(out / "chat.jsonl", rows)
    write_jsonl(out / "other.jsonl", rows[:-1])
    with pytest.raises(CheckFailedError, match="rows, datasets reads"):
        verify(out, ["chat"])
    write_jsonl(out / "other.jsonl", rows[::-1])
    with pytest.raises(CheckFailedError, match=r"chat\.jsonl:1: datasets reads something else"):
        verify(out, ["chat"])


def test_bad_input_is_named(tmp_path, capsys):
    def error_of(*arguments):
        code = main(["export", *map(str, arguments)])
        assert code == 2
        return capsys.readouterr().err

    out = tmp_path / "out"
    good = tmp_path / "good.jsonl"
    write_jsonl(good, [reflection_sample(0).to_json()])
    assert "file not found" in error_of(tmp_path / "missing.jsonl", "--output", out)
    assert "not a run with a finished build" in error_of(tmp_path, "--output", out)
    assert "the id 'sample-0' occurs twice" in error_of(good, good, "--output", out)
    (tmp_path / "empty.jsonl").write_text("")
    assert "no samples in" in error_of(tmp_path / "empty.jsonl", "--output", out)
    assert "is a file" in error_of(good, "--output", good)
    assert not list(out.iterdir())
    (out / "notes.txt").write_text("mine")
    (out / "README.md").write_text("mine")
    assert "README.md, notes.txt" in error_of(good, "--output", out)
    assert (out / "README.md").read_text() == "mine"
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(good), "--output", str(out), "--format", "parquet"])
    assert stopped.value.code == 2
    assert "invalid choice: 'parquet'" in capsys.readouterr().err
