"""A run that trains on its own unverified answers, on a tiny random model, most of whose answers never end."""

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.files import read_json, read_jsonl, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import one_off_answer, one_off_request
from reflectioncoder.data.samples import read_samples
from tests.conftest import make_model, make_tokenizer

RECIPE = """
name: own
seed: 5
model: {{name: {folder}/model, rendering: chat, device: cpu}}
build: {{problems: [{folder}/problems.jsonl], max_operator_share: 0.5}}
train:
  epochs: 1
  generation_from_problems: true
  self_samples: 3
  self_temperature: 1.5
  reflection_token_share: 0
  global_batch_size: 4
generate: {{batch_size: 24, max_new_tokens: 200}}
evaluate: {{benchmarks: ["bundled/seen:2"], measures: [reference_loss]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_jsonl(folder / "problems.jsonl", [problem.to_json() for problem in bundled_problems("train")[:8]])
    (folder / "r.yaml").write_text(RECIPE.format(folder=folder))
    return folder


@pytest.mark.long
def test_whole_answers_are_trained_on_as_they_come_and_the_references_are_not(folder):
    argv = ["run", str(folder / "r.yaml"), "--runs-dir", str(folder / "runs"), "-q"]
    assert main(argv) == 0
    run = folder / "runs" / "own"
    answers = [row for _, row in read_jsonl(run / "self_samples/completions.jsonl")]
    assert len(answers) == 3 * 8
    whole = {(r["task_id"], r["sample"]): r for r in answers if r["finish_reason"] == "stop" and r["solution"].strip()}
    assert 0 < len(whole) < len(answers)
    samples = list(read_samples(run / "self_samples/samples.jsonl"))
    problems = {problem.task_id: problem for problem in bundled_problems("train")[:8]}
    for sample, (task_id, number) in zip(samples, sorted(whole, key=lambda key: (list(problems).index(key[0]), key[1])), strict=True):
        problem = problems[task_id]
        assert sample.id == f"self:{task_id}:{number}"
        assert sample.messages[0].text == one_off_request(problem.prompt, problem.instruction)
        assert sample.messages[1].text == one_off_answer(whole[task_id, number]["solution"])
    trained = read_json(run / "train/train.json")
    assert (trained["generation_visits"], trained["reflection_visits"]) == (len(samples), 0)
    before = (run / "self_samples/completions.jsonl").stat().st_mtime_ns
    assert main(argv) == 0
    assert (run / "self_samples/completions.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize(("command", "what"), [("train", "sampled in a run"), ("improve", "corrects the model's own answers")])
def test_a_training_alone_and_improve_say_that_they_sample_no_answers(command, what, folder, capsys):
    argv = [command, str(folder / "r.yaml"), "--runs-dir", str(folder / "none"), "-q"]
    assert main([*argv, "--set", "evaluate.measures=[pass_rate]"]) == 2
    assert what in capsys.readouterr().err
