"""The loss of known programs: which tokens it is of, and that it is that of the model's own probabilities."""

import pytest
import torch

from experiments import answer_parts
from reflectioncoder.config.declarations import ModelConfig
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import one_off_answer, one_off_request
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.generate.reference_loss import Reference, reference_losses
from reflectioncoder.models.load import load_model
from reflectioncoder.models.tokens import add_tokens, make_renderer
from reflectioncoder.reference_evaluation import references_of
from tests.conftest import make_model, make_tokenizer

PROGRAMS = [problem.reference for problem in bundled_problems("train")[:40:4]] + [
    "x = 1",
    "@cache\ndef f(): ...\n",
    "# ü\n    \nprint('```')\n",
    "s = '''\n```\n'''\n",
]


@pytest.fixture(scope="module", params=["chat", "token"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(str(folder), rendering=request.param, device="cpu"), folder


@pytest.fixture(scope="module")
def loaded(model):
    config, folder = model
    network, tokenizer = load_model(config, folder)
    if config.rendering == "token":
        add_tokens(network, tokenizer)
    return network.eval(), tokenizer, make_renderer(config.rendering, tokenizer)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_counted_tokens_spell_the_program_and_its_closing_fence(program, loaded):
    _, tokenizer, renderer = loaded
    reference = Reference("t", one_off_request("def f():"), program)
    ids = renderer.render(reference.sample).input_ids
    start, end = reference.program_bounds(renderer, ids)
    assert tokenizer.decode(list(ids[start:end])) == program.strip("\n") + "\n```"


def test_the_loss_is_that_of_a_program_behind_what_generation_is_given(model, loaded):
    network, _, renderer = loaded
    config, folder = model
    references = [Reference(str(number), one_off_request("def f():"), program) for number, program in enumerate(PROGRAMS)]
    for reference, found in zip(references, reference_losses(config, folder, references, "loss"), strict=True):
        given = renderer.render_request(reference.instruction, "```python\n")
        whole = renderer.render_request(reference.instruction, one_off_answer(reference.program))
        assert whole[: len(given)] == given
        with torch.inference_mode():
            log_p = network(torch.tensor([whole])).logits[0].log_softmax(-1)
        expected = -sum(log_p[at - 1, whole[at]].item() for at in range(len(given), len(whole)))
        assert found.num_tokens == len(whole) - len(given)
        assert found.loss == pytest.approx(expected / found.num_tokens, abs=1e-4)


def test_the_parts_of_an_answer_add_up(model):
    config, folder = model
    parts = answer_parts.losses_by_part(config, "bundled/repair", 3)
    rows = reference_losses(config, folder, references_of(load_benchmark("bundled/repair:3")), "loss")
    assert parts["program"][1] == sum(row.num_tokens for row in rows)
    assert parts["program"][0] == pytest.approx(sum(row.loss * row.num_tokens for row in rows), rel=1e-4)
    frame = parts["before"][0] + parts["behind"][0]
    assert frame == pytest.approx(sum(row.frame_loss * row.num_frame_tokens for row in rows), rel=1e-4)
    assert parts["before"][1] > 0 < parts["behind"][1]
