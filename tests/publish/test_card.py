"""The card of a data set says what its builds say."""

import json
import re
from dataclasses import replace

import pytest

from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.cli import main
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.files import write_json, write_jsonl
from tests.conftest import generation_sample, reflection_sample
from tests.publish.exported import front_matter, rows_of


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


def test_the_card_says_what_texts_are_like_as_the_build_does(exported_dir, run_dir):
    texts = json.loads((run_dir / "build" / "build.json").read_text())["texts"]
    text = (exported_dir / "README.md").read_text()
    claims, chars, changed = texts["claims"], texts["chars"], texts["lines_changed_per_repair"]
    assert f"| {chars['min']:,} / {chars['median']:,.0f} / {chars['max']:,} |" in text
    assert f"median / largest | {changed['min']} / {changed['median']:.0f} / {changed['max']} |" in text
    assert f"| words in the texts | {texts['num_words']:,}, {texts['num_distinct_words']:,} of them different |" in text
    assert f"sentence patterns | {texts['share_of_10_commonest_patterns']:.1%} |" in text
    assert f"{claims['num_claims']:,} names, values and pieces of code are stated, {claims['num_unsupported']:,} of them" in text
    output = claims["values"]["output"]
    assert f"| said to be an output | {output['num']} | {output['num_shown']} | {output['num_unsupported']} |" in text
    executions = re.findall(r"^\| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert sum(int(count) for _, count in executions) == texts["num_samples"]


def test_a_data_set_without_reflection_samples_has_a_card_without_their_measures(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [generation_sample(1).to_json()])
    assert main(["export", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "out"), "--format", "chat"]) == 0
    assert "## Reflection samples" not in (tmp_path / "out" / "README.md").read_text()


class _KnowsOne:
    names = ("another benchmark",)

    def __call__(self, program):
        return None


def test_a_build_that_was_compared_with_benchmarks_has_a_card_that_says_so(tmp_path):
    known = KnownTasks()
    known.names.append("some benchmark")
    config = BuildConfig(samples_per_problem=1)
    recipe = Recipe("b", ModelConfig("none"), build=config)
    build_reflections(recipe, tmp_path / "run" / "build", limit=3, known=known, behaviour=_KnowsOne())
    assert main(["export", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "chat"]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "compared with some benchmark" in text
    assert "by what final programs do with the inputs and tests of another benchmark (0 left out)" in text


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
