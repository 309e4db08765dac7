"""The improve loop on a tiny random model: every attempt fails, every round repairs, trains and scores, and everything continues."""

import shutil

import pytest

from reflectioncoder.builder.authors.attempts import AttemptsFile
from reflectioncoder.builder.rollouts import Rollout, SampleNames
from reflectioncoder.cli import main
from reflectioncoder.data.completion_requests import problem_request
from reflectioncoder.data.files import read_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems, load_problems
from reflectioncoder.data.prompts import one_off_answer, one_off_sample
from reflectioncoder.data.samples import read_samples
from reflectioncoder.generate.base import RawCompletion, completion_row
from reflectioncoder.improve import Round, best
from tests.conftest import make_model, make_tokenizer

RECIPE = """
name: better
seed: 5
model: {{name: {folder}/first/model, rendering: chat, device: cpu}}
build: {{problems: [{folder}/problems.jsonl], min_samples: 1}}
train: {{epochs: 1, generation_from_problems: true, global_batch_size: 4, learning_rate: 1e-3}}
generate: {{batch_size: 4, max_new_tokens: 120}}
evaluate: {{benchmarks: ["bundled/seen:4"]}}
improve: {{rounds: 3, problems_per_round: 5, patience: 2}}
"""


FIRST = """
name: first
seed: 5
model: {{name: {folder}/random, rendering: chat, device: cpu}}
train: {{reflection_data: [{folder}/one_off.jsonl], epochs: 40, global_batch_size: 4, learning_rate: 5e-3, save_steps: 1000}}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "random")
    tokenizer.save_pretrained(folder / "random")
    write_jsonl(folder / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:12]])
    # A model that knows how a program begins and ends, and no more.
    write_jsonl(folder / "one_off.jsonl", [one_off_sample(p).to_json() for p in bundled_problems("train")[:12]])
    (folder / "first.yaml").write_text(FIRST.format(folder=folder))
    (folder / "r.yaml").write_text(RECIPE.format(folder=folder))
    return folder


@pytest.fixture(scope="module")
def improved(world):
    assert main(["train", str(world / "first.yaml"), "--runs-dir", str(world), "-q"]) == 0
    assert main(["improve", str(world / "r.yaml"), "--runs-dir", str(world / "runs"), "-q"]) == 0
    return world


@pytest.mark.long
def test_every_round_attempts_fresh_problems_with_the_model_of_the_round_before(improved):
    directory = improved / "runs" / "better"
    result = read_json(directory / "improve.json")
    assert [r["number"] for r in result["rounds"]] == [0, 1, 2]  # nothing is solved: the second round is the last
    tasks = [{problem.task_id for problem in load_problems([str(directory / f"rounds/{n}/problems.jsonl")])} for n in (1, 2)]
    assert all(len(names) == 5 for names in tasks)
    assert not tasks[0] & tasks[1]
    for number in (1, 2):
        samples = list(read_samples(directory / f"rounds/{number}/build/reflections.jsonl"))
        assert result["rounds"][number]["num_samples"] == len(samples) >= 1
        assert all(s.extra["metadata"]["passes"] == [False, True] for s in samples)
        assert {s.extra["metadata"]["model"] for s in samples} == {str(number - 1)}
    # The second round trains on both rounds' samples, and on the references of both.
    both = sum(r["num_samples"] + r["num_problems"] for r in result["rounds"])
    assert read_json(directory / "rounds/2/train/train.json")["num_samples"] == both


def test_a_second_call_does_nothing_again(improved):
    files = [p for p in (improved / "runs").rglob("*") if p.name in ("completions.jsonl", "model.safetensors", "samples.jsonl")]
    before = {p: p.stat().st_mtime_ns for p in files}
    assert len(before) >= 8
    assert main(["improve", str(improved / "r.yaml"), "--runs-dir", str(improved / "runs"), "-q"]) == 0
    assert {p: p.stat().st_mtime_ns for p in files} == before


def test_the_rounds_can_be_exported(improved, tmp_path):
    directory = improved / "runs" / "better"
    assert main(["export", str(directory), "--output", str(tmp_path), "--format", "canonical"]) == 0
    exported = [s.id for s in read_samples(tmp_path / "canonical.jsonl")]
    assert exported == [s.id for n in (1, 2) for s in read_samples(directory / f"rounds/{n}/build/reflections.jsonl")]
    card = (tmp_path / "README.md").read_text()
    assert "How better, round 1 was built" in card
    assert "How better, round 2 was built" in card


def test_the_report_shows_every_round(improved, tmp_path):
    page = improved / "runs" / "better" / "report.html"
    page.unlink(missing_ok=True)
    assert main(["report", str(page.parent)]) == 0  # its place by default
    text = page.read_text()
    assert "held-out pass@1" in text
    for title in ("better", "better, round 1", "better, round 2"):
        assert f"<h1>{title}</h1>" in text


def test_a_damaged_improve_file_is_named(improved, tmp_path, capsys):
    directory = shutil.copytree(improved / "runs" / "better", tmp_path / "better")
    for content in ("{}", '{"rounds": 5}', '{"rounds": [5]}', "[]", "{", '{"rounds": [{"number": 1}]}'):
        (directory / "improve.json").write_text(content)
        assert main(["report", str(directory), "--output", str(tmp_path / "r.html")]) == 2
        assert "better" in capsys.readouterr().err
    (directory / "improve.json").write_text('{"rounds": []}')
    shutil.rmtree(directory / "rounds")
    assert main(["export", str(directory), "--output", str(tmp_path / "out")]) == 2
    assert "finished build" in capsys.readouterr().err


def test_several_attempts_without_sampling_are_refused_before_anything_is_scored(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(RECIPE.format(folder=tmp_path))
    argv = ["improve", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs"), "-q"]
    assert main([*argv, "--set", "improve.samples=2", "--set", "improve.temperature=0"]) == 2
    assert "improve.samples" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("language", ["js", "cpp", "train"])
def test_attempts_are_asked_for_in_the_language_of_the_problem(language, tmp_path):
    problem = bundled_problems(language)[0]
    request = problem_request(problem, 2)
    assert request.instruction == one_off_sample(problem).messages[0].text
    completion = problem.canonical_solution if request.begins_with_prompt else problem.reference
    row = completion_row(request, RawCompletion(f"{completion}```\nIt is right.", "stop", 9))
    write_jsonl(tmp_path / "a.jsonl", [row])
    rollout = Rollout(problem, 2, 0, SampleNames("attempts", "x"), 0)
    answer = AttemptsFile(str(tmp_path / "a.jsonl")).attempt(rollout)
    assert answer.text == one_off_answer(problem.reference, problem.language)


def test_the_best_round_is_the_first_of_equals():
    rounds = [Round(n, 0, 0, score, {}, "") for n, score in enumerate((0.2, 0.4, 0.4))]
    assert best(rounds).number == 1


def test_impossible_settings_are_named(world, capsys):
    for change, message in (("evaluate.benchmarks=[]", "held-out tasks"), ("build.problems=[none.jsonl]", "none.jsonl")):
        model = f"model.name={world / 'random'}"
        assert main(["improve", str(world / "r.yaml"), "--runs-dir", str(world / "x"), "--set", model, "--set", change]) == 2
        assert message in capsys.readouterr().err


def test_texts_of_earlier_rounds_are_not_normalised(tmp_path, capsys):
    assert main(["improve", "improve-smollm2", "--runs-dir", str(tmp_path), "--set", "train.text_normalization=reflectioncoder"]) == 2
    assert "train.text_normalization" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
