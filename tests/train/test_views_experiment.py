"""`experiments/views.py`: what is said of teacher and student equals full rows with a mask that hides, and Markdown comes out."""

import json
import math
import random

import torch

from experiments import views
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.method.masking import hidden_positions
from reflectioncoder.models.load import load_model
from reflectioncoder.models.tokens import make_renderer
from tests.conftest import reflection_sample


def distributions(model, ids, visible):
    """Log probabilities (T, vocabulary) where only `visible` positions are attended to, at dense positions; row by row, no packing."""
    kept = [place for place in range(len(ids)) if place in visible]
    mask = torch.ones(1, 1, len(kept), len(kept), dtype=torch.bool).tril()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[ids[p] for p in kept]]), attention_mask=mask).logits[0].float()
    return dict(zip(kept, logits.log_softmax(-1), strict=True))


def test_sums_are_those_of_full_rows(model_dir):
    model, tokenizer = load_model(ModelConfig(name=str(model_dir), dtype="float32"), model_dir)
    sample = make_renderer("chat", tokenizer).render(reflection_sample(steps=2))
    known = views.known_answers(model.eval(), [sample], "")
    ids, answer = sample.input_ids, range(sample.answer_start, min(sample.answer_end, len(sample.input_ids) - 1))
    everything = set(range(len(ids)))
    round_one = {p for span in sample.spans if span.message in (0, 1) for p in range(span.start, span.end)}
    blocks = {p for span in sample.reflection_blocks() for p in range(span.start, span.end)}
    teacher = distributions(model, ids, everything)
    for view in known:
        seen = everything
        if view != "teacher":
            rate = float(view.split()[-1])
            hidden = hidden_positions(sample.reflection_blocks(), rate, ["block_type"], random.Random(0)) if rate else set()
            seen = everything - (round_one - blocks) - hidden
        student = distributions(model, ids, seen)
        expected = views.Knowledge(
            len(answer),
            -sum(float(student[p][ids[p + 1]]) for p in answer),
            -sum(float((student[p].exp() * student[p]).sum()) for p in answer),
            sum(float((teacher[p].exp() * (teacher[p] - student[p])).sum()) for p in answer),
        )
        for name, value in expected.per_token().items():
            assert math.isclose(known[view].per_token()[name], value, abs_tol=2e-4), (view, name)
    assert known["teacher"].kl == 0
    assert known["student at 1"].kl > 0


def test_a_table_and_a_file_are_written(model_dir, tmp_path, capsys):
    write_jsonl(tmp_path / "data.jsonl", [reflection_sample(number).to_json() for number in range(3)])
    assert views.main([str(tmp_path / "data.jsonl"), "--model", str(model_dir), "--output", str(tmp_path / "out.json")]) == 0
    assert capsys.readouterr().out.count("| student at ") == len(views.RATES)
    assert json.loads((tmp_path / "out.json").read_text())[str(model_dir)]["teacher"]["kl"] == 0


def test_data_without_reflections_is_refused(model_dir, tmp_path, capsys):
    write_jsonl(tmp_path / "data.jsonl", [])
    assert views.main([str(tmp_path / "data.jsonl"), "--model", str(model_dir)]) == 2
    assert "no reflection sample" in capsys.readouterr().err
