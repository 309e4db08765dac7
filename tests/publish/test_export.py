"""Exports of real samples: other libraries read them, nothing is lost or added, and the card says what the build says."""

import ast
import json
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflectioncoder.builder.cells import python_cell
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.cli import main
from reflectioncoder.config.declarations import BuildConfig, ModelConfig, Recipe, SandboxConfig
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.files import read_jsonl, write_json, write_jsonl
from reflectioncoder.data.problems import Problem, bundled_problems
from reflectioncoder.data.prompts import one_off_answer
from reflectioncoder.data.samples import Block, Sample, assistant, read_samples, user
from reflectioncoder.errors import CheckFailedError, UsageError
from reflectioncoder.publish.card import card
from reflectioncoder.publish.exactly_once import RowRenderer, check_row
from reflectioncoder.publish.export import export, find_source, verify
from reflectioncoder.publish.formats import FORMATS, Skipped, first_failing_attempt
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.session import Session
from tests.conftest import CHATML, generation_sample, make_tokenizer, reflection_sample
from tests.tiers import examples

TOOL_TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>system\nFunctions, one in a line:' }}"
    "{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'tool' %}{{ '<output>\n' + message.content + '\n</output>' }}"
    "{% else %}{{ (message.content or '') | trim }}{% endif %}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '\n<call>' + call.function.name + ' ' }}{{ call.function.arguments | tojson }}{{ '</call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Shows tools, calls and outputs; trims what is said."""

ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endfor %}"
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder with a build by the mutation author."""
    directory = tmp_path_factory.mktemp("runs") / "small"
    problems = bundled_problems("train")[::24]
    path = directory / "problems.jsonl"
    write_jsonl(path, [problem.to_json() for problem in problems])
    config = BuildConfig(problems=(str(path),), samples_per_problem=2, two_slip_share=0.4, max_operator_share=0.5)
    recipe = Recipe("small", ModelConfig("none"), build=config, sandbox=SandboxConfig(workers=2))
    build_reflections(recipe, directory / "build")
    return directory


@pytest.fixture(scope="module")
def tool_tokenizer():
    return make_tokenizer(template=TOOL_TEMPLATE)


@pytest.fixture(scope="module")
def exported_dir(run_dir, tool_tokenizer, tmp_path_factory):
    """All formats, by the command, checked with a template that shows tools."""
    directory = tmp_path_factory.mktemp("export")
    tool_tokenizer.save_pretrained(directory / "tokenizer")
    target = directory / "data"
    assert main(["export", str(run_dir), "--output", str(target), "--tokenizer", str(directory / "tokenizer"), "--verify"]) == 0
    return target


def rows_of(directory, name):
    return [row for _, row in read_jsonl(directory / f"{name}.jsonl")]


def front_matter(directory):
    return yaml.safe_load((directory / "README.md").read_text().split("---")[1])


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
                called.append(json.loads(turn["value"].replace(thought.group(0), ""))["arguments"]["code"])
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

    assert "no valid Python" in select(with_first("def f(x:\n")).reason
    assert "nothing but tests" in select(with_first("assert f(1) == 1")).reason
    final = sample.messages[-1].text.removeprefix("```python\n").removesuffix("\n```")
    assert "its tests were wrong" in select(with_first(f"{final}  # so\n\nassert f(1) == 7")).reason


def test_the_card_says_what_the_build_says(exported_dir, run_dir, tool_tokenizer):
    build = json.loads((run_dir / "build" / "build.json").read_text())
    text = (exported_dir / "README.md").read_text()
    assert f"| candidates | {build['num_candidates']} |" in text
    assert f"| accepted | {build['num_accepted']} |" in text
    for reason, count in build["rejected"].items():
        assert f"| rejected: `{reason}` | {count} |" in text
    assert f"| mutation | not named | {build['num_accepted']} |" in text
    assert f"are about {build['num_problems_with_samples']} problems" in text
    assert "overlap with benchmarks was not looked for" in text
    assert f"| ReflectionCoder's own problems, train | Apache-2.0 | {build['num_accepted']} |" in text
    assert "Forecast" not in text
    assert front_matter(exported_dir)["license"] == ["apache-2.0"]
    assert front_matter(exported_dir)["size_categories"] == ["n<1K"]
    shown = [tool_tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows_of(exported_dir, "chat")]
    num_tokens = [len(tool_tokenizer.encode(text, add_special_tokens=False)) for text in shown]
    assert f"| `chat` | {len(shown)} | {min(map(len, shown)):,} / " in text
    assert re.search(rf"\| `chat` \|.*\| {min(num_tokens):,} / [\d,]+ / {max(num_tokens):,} \|", text)


def test_the_card_sets_forecast_against_fact_and_names_models_sources_and_licences(tmp_path):
    run = tmp_path / "run"
    metadata = {"author": "llm", "model": "some/model", "task_id": "t/1", "source": "problems|of mine", "license": "Apache-2.0"}
    samples = [replace(reflection_sample(i), extra={"id": f"s{i}", "metadata": metadata}) for i in range(3)]
    write_jsonl(run / "build" / "reflections.jsonl", [sample.to_json() for sample in samples])
    build = {
        "author": "openai", "seed": 1, "num_problems": 1, "num_candidates": 5, "num_accepted": 3,
        "rejected": {"first_try": 2, "contaminated": 4},
        "decontamination": {"against": ["HumanEval+"], "words": 10, "behaviour": True}, "input_tokens": 900, "output_tokens": 100,
        "usd": 0.25, "duration_s": 60.5, "python": "3.12.1",
        "forecast": {"dialogues": 20, "total": 30, "tokens": 2000, "usd": 0.5, "duration_s": 90.0, "accepted": 4},
        "session": {"dialogues": 30, "tokens": 1800, "usd": 0.45, "duration_s": 60.5, "accepted": 3},
    }  # fmt: skip
    write_json(run / "build" / "build.json", build)
    assert main(["export", str(run), "--output", str(tmp_path / "out"), "--format", "chat"]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    for line in ("| tokens | 2,000 | 1,800 |", "| usd | 0.50 | 0.45 |", "| duration_s | 90.00 | 60.50 |", "| accepted | 4 | 3 |"):
        assert line in text
    assert "| llm | some/model | 3 |" in text
    assert "| problems\\|of mine | Apache-2.0 | 3 |" in text
    assert "HumanEval+, by task id and by 10 words in a row (4 left out), and by what final programs do" in text
    assert front_matter(tmp_path / "out")["license"] == ["apache-2.0"]


def test_a_build_that_was_compared_with_benchmarks_has_a_card_that_says_so(tmp_path):
    known = KnownTasks()
    known.names.append("some benchmark")
    config = BuildConfig(samples_per_problem=1)
    recipe = Recipe("b", ModelConfig("none"), build=config)
    build_reflections(recipe, tmp_path / "run" / "build", limit=3, known=known, behaviour=lambda program: None)
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "chat"]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "compared with some benchmark" in text
    assert "by what final programs do with the benchmarks' inputs (0 left out)" in text


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
    row = form.build(form.select(sample))
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
    selected = form.select(sample)
    other = form.select(
        Sample((sample.messages[0], assistant(*sample.messages[1].content, *sample.messages[1].content[-2:]), *sample.messages[2:]))
    )
    swapped = Sample((sample.messages[2], sample.messages[1], sample.messages[0], sample.messages[3]))
    changed = [form.build(form.select(swapped))]
    if name not in ("prompt-completion", "preference"):  # which show nothing of the reflection sequence
        changed.append(form.build(other))
    for renderer in (RowRenderer(), RowRenderer(tool_tokenizer)):
        check_row(form, form.build(selected), selected, renderer, "it")
        for row in changed:
            with pytest.raises(CheckFailedError, match="sample it"):
                check_row(form, row, selected, renderer, "it")


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


@pytest.mark.parametrize("value", [["x"], {"a": [1]}, 5, 1.5, True, None, "", "\ud800x"], ids=ascii)
@pytest.mark.parametrize("name", ["author", "model", "source", "license", "task_id"])
def test_odd_metadata_is_counted_and_shown(name, value, tmp_path, capsys):
    row = reflection_sample(0).to_json()
    row["metadata"] = {**row.get("metadata", {}), name: value}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["export", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    assert "1 samples" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "changed",
    [{"output_tokens": None}, {"lost_tokens": ""}, {"usd": "x", "input_tokens": 3}, {"rejected": []}, {"decontamination": {}}],
    ids=repr,
)
def test_a_build_that_says_something_else_is_named(changed, tmp_path, capsys):
    write_jsonl(tmp_path / "run" / "build" / "reflections.jsonl", [reflection_sample(0).to_json()])
    write_json(tmp_path / "run" / "build" / "build.json", {"num_accepted": 1, **changed})
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 2
    assert "is not as reflectioncoder wrote it" in capsys.readouterr().err
