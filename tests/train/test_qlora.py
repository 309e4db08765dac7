"""LoRA over weights in 4 bits: the loss is that of the plain doubled batch of the same weights, the saved model is whole."""

import json

import pytest
import torch

from reflectioncoder.choices import Rendering
from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, TrainConfig
from reflectioncoder.data.render import TokenRenderer
from reflectioncoder.data.render_chat import ChatRenderer
from reflectioncoder.errors import UsageError
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.train.prepare import prepare_model
from reflectioncoder.train.run import train_model
from tests.conftest import make_model, make_tokenizer
from tests.train.test_exactness import our_loss_and_gradients, plain_loss_and_gradients
from tests.train.test_trainer import SAMPLES

pytest.importorskip("bitsandbytes")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer()
    make_model("llama", 768, dtype="float32").save_pretrained(path)  # room for the added tokens: nothing is padded
    tokenizer.save_pretrained(path)
    return path


def make_recipe(model_dir, rendering: Rendering = "token", **settings):
    config = TrainConfig(
        **{"epochs": 2, "global_batch_size": 4, "learning_rate": 1e-2, "lora": LoraConfig(rank=4, quantization="nf4"), **settings}
    )
    return Recipe("r", ModelConfig(str(model_dir), rendering=rendering, device="cpu"), train=config)


def test_loss_and_gradients_are_those_of_the_doubled_batch(model_dir):
    recipe = make_recipe(model_dir, mask_schedule="constant", mask_constant_rate=0.5, global_batch_size=8)
    model, tokenizer, vocab_size = prepare_model(recipe, ModelSource(model_dir, "local"))
    quantized = [p for p in model.parameters() if p.dtype == torch.uint8]
    assert len(quantized) == 14  # all linear layers of two blocks, not the output layer
    model.train()
    with torch.no_grad():  # else half of the gradients are zero
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    plan = RunPlan([TokenRenderer(tokenizer).render(sample) for sample in SAMPLES], recipe.train, seed=1)
    loss, gradients = our_loss_and_gradients(model, plan, vocab_size=vocab_size)
    plain_loss, plain_gradients = plain_loss_and_gradients(model, plan, tokenizer)
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    assert gradients.keys() == plain_gradients.keys() != set()
    floor = 1e-3 * max(float(g.norm()) for g in plain_gradients.values())
    for name, expected in plain_gradients.items():
        assert float((gradients[name] - expected).norm()) <= 1e-4 * max(float(expected.norm()), floor), name


@pytest.mark.parametrize("rendering", ["chat", "token"])
def test_the_saved_model_is_whole_and_holds_what_was_trained(tmp_path, model_dir, rendering):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = make_recipe(model_dir, rendering, epochs=6)
    summary = train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not hasattr(model.config, "quantization_config")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    # On the base weights as they are the updates do what they did on the rounded ones: the answers have become likelier.
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    renderer = {"chat": ChatRenderer, "token": TokenRenderer}[rendering](tokenizer)
    request, answer = (message.text for message in SAMPLES[0].messages[-2:])
    prompt = renderer.render_request(request)
    ids = torch.tensor([prompt + tokenizer.encode(answer, add_special_tokens=False)])
    labels = ids.clone()
    labels[0, : len(prompt)] = -100
    with torch.no_grad():
        after = model(input_ids=ids, labels=labels).loss.item()
    assert after < summary["history"][0]["ce"] - 0.5
    rows = [json.loads(line) for line in (tmp_path / "train" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["ce"] < rows[0]["ce"] - 0.5


def test_weights_in_4_bits_are_not_spread_over_processes(model_dir, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="4 bits cannot be spread"):
        prepare_model(make_recipe(model_dir), ModelSource(model_dir, "local"))
