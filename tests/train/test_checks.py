"""What a training can be refused for is found before any work: the folders of these models hold no weights."""

import json
from typing import Any

import pytest
import torch
import transformers

from reflectioncoder.choices import RENDERINGS, Rendering
from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, TrainConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.errors import CheckFailedError, MachineError, UsageError
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.train.checks import check_model, check_recipe
from reflectioncoder.train.run import train_model
from reflectioncoder.train.trainer import training_arguments
from tests.conftest import generation_sample, make_model, make_tokenizer, reflection_sample

SAMPLES = [reflection_sample(n) for n in range(3)] + [generation_sample(1)]
SIZES = {"vocab_size": 800, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "bos_token_id": 3, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
ONLY_LAST = "{{ messages[-1]['content'] + '<|im_end|>' }}"


def without_weights(folder, kind="Llama", template=None, **settings):
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **settings})
    config.architectures = [f"{kind}ForCausalLM"]
    config.save_pretrained(folder)
    (make_tokenizer(template=template) if template else make_tokenizer()).save_pretrained(folder)
    return folder


def recipe_for(folder, rendering: Rendering = "chat", device="cpu", **train):
    return Recipe("r", ModelConfig(str(folder), rendering=rendering, device=device), train=TrainConfig(epochs=1, **train))


REFUSED = {
    "dropout": ({"attention_dropout": 0.1}, {}, {}, "cannot be trained exactly"),
    "capped logits": ({"kind": "Gemma2", "head_dim": 8}, {}, {}, "cannot be trained exactly"),
    "scaled logits": ({"kind": "Granite", "logits_scaling": 2.0}, {}, {}, "cannot be trained exactly"),
    "state space": ({"kind": "Mamba"}, {}, {}, "cannot be trained exactly"),
    "no such layers": ({}, {"lora": LoraConfig(target_modules=("q_prj",))}, {}, r"train\.lora\.target_modules"),
    "layers without weights": ({}, {"lora": LoraConfig(target_modules=("mlp",))}, {}, r"train\.lora\.target_modules"),
    "a LoRA on the output layer": ({}, {"lora": LoraConfig(target_modules=("lm_head",))}, {}, "output layer"),
    "too many layers": ({}, {"freeze_layers": 3}, {}, "freeze"),
    "frozen embeddings": ({}, {"freeze_layers": 1}, {"rendering": "token"}, "untrained"),
    "template that rewrites": ({"template": ONLY_LAST}, {}, {}, "rewrites earlier messages"),
    "template that fails": ({"template": "{{ raise_exception('not me') }}"}, {}, {}, "not me"),
    "template that does not parse": ({"template": "{% if %}"}, {}, {}, "TemplateSyntaxError"),
    "too short": ({}, {"max_length": 16}, {}, "max_length"),
    "two devices": ({}, {}, {"device": "cuda:1"}, "CUDA_VISIBLE_DEVICES=1"),
    "unknown device": ({}, {}, {"device": "gpu"}, r"(?i)model(Config)?\.device"),
    "device of another kind": ({}, {}, {"device": "mps:0"}, r"(?i)model(Config)?\.device"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_before_weights_are_looked_for(case, tmp_path):
    model, train, more, message = REFUSED[case]
    folder = without_weights(tmp_path / "base", **model)
    with pytest.raises(UsageError, match=message):
        train_model(recipe_for(folder, **more, **train), ModelSource(folder, "local"), SAMPLES, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", REFUSED)
def test_a_dry_run_refuses_the_same(case, tmp_path, capsys):
    from reflectioncoder.cli import main

    model, train, more, message = REFUSED[case]
    folder = without_weights(tmp_path / "base", **model)
    write_jsonl(tmp_path / "samples.jsonl", [sample.to_json() for sample in SAMPLES])
    settings = {"model.name": folder, "train.reflection_data": f"[{tmp_path / 'samples.jsonl'}]", "model.device": "cpu"}
    settings |= {f"model.{key}": value for key, value in more.items()}
    if "lora" in train:
        settings["train.lora.target_modules"] = f"[{train['lora'].target_modules[0]}]"
    settings |= {f"train.{key}": value for key, value in train.items() if key != "lora"}
    argv = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    (tmp_path / "recipe.yaml").write_text("name: r\nmodel: {name: x}\n")
    assert main(["train", str(tmp_path / "recipe.yaml"), "--runs-dir", str(tmp_path / "runs"), "--dry-run", *argv]) == 2
    import re

    assert re.search(message, capsys.readouterr().err)


def test_a_gpu_that_is_not_there_is_an_error_of_the_machine(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(MachineError, match="sees no GPU"):
        check_recipe(recipe_for(tmp_path, device="cuda"))


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "nothing_known"}', "{}"])
def test_a_configuration_that_cannot_be_read_is_named(text, tmp_path):
    folder = without_weights(tmp_path)
    (folder / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"configuration of the model"):
        check_model(recipe_for(folder), ModelSource(folder, "local"))


def test_what_can_be_trained_passes_and_leaves_nothing_behind(tmp_path):
    folder = without_weights(tmp_path)
    before = sorted(path.name for path in folder.iterdir())
    state = torch.get_rng_state()
    for rendering in RENDERINGS:
        for lora in (None, LoraConfig()):
            tokenizer = check_model(recipe_for(folder, rendering, lora=lora), ModelSource(folder, "local"))
            assert ("<|user|>" in tokenizer.get_vocab()) == (rendering == "token")
    assert sorted(path.name for path in folder.iterdir()) == before
    assert torch.equal(torch.get_rng_state(), state)


def with_weights(folder, dtype="float32", generation=None, **settings):
    tokenizer = make_tokenizer()
    model = make_model("llama", len(tokenizer), dtype=dtype, **settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.mark.parametrize(
    "generation",
    [
        {"temperature": 0.6},
        {"top_p": 0.9, "top_k": 5, "do_sample": False},
        {"num_beams": 1, "early_stopping": True, "length_penalty": 2.0},
        {"cache_implementation": "nothing known", "max_new_tokens": 0},
        {"num_return_sequences": 3},
        {"pad_token_id": -1, "eos_token_id": [2]},
        {"temperature": 0.6, "do_sample": True, "repetition_penalty": 1.1},
    ],
    ids=str,
)
def test_a_base_whose_settings_for_generation_cannot_be_saved_is_trained_and_saved(generation, tmp_path):
    folder = with_weights(tmp_path / "base", generation=generation)
    train_model(recipe_for(folder), ModelSource(folder, "local"), SAMPLES, tmp_path)
    saved = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert saved.keys() <= {"eos_token_id", "pad_token_id", "bos_token_id", "transformers_version", "_from_model_config"}
    assert saved["eos_token_id"] == [2]
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").generation_config.validate(strict=True)


def test_a_model_that_cannot_be_saved_is_refused_before_training(tmp_path, monkeypatch):
    folder = without_weights(tmp_path / "base")

    def refuse(*args, **kwargs):
        raise ValueError("not to be saved")

    monkeypatch.setattr(transformers.LlamaForCausalLM, "save_pretrained", refuse)
    with pytest.raises(UsageError, match=r"LlamaConfig cannot be saved \(ValueError: not to be saved\)"):
        train_model(recipe_for(folder), ModelSource(folder, "local"), SAMPLES, tmp_path / "run")


@pytest.mark.parametrize("where", ["lm_head", "norm", "layers"])
@pytest.mark.parametrize("rendering", ["chat", "token"])
def test_a_base_model_that_gives_no_number_is_reported_as_that(where, rendering, tmp_path):
    folder = with_weights(tmp_path / "base", tied=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        {"lm_head": model.lm_head.weight, "norm": model.model.norm.weight, "layers": model.model.layers[0].mlp.up_proj.weight}[
            where
        ].fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(
        CheckFailedError, match=r"gradient of step 1 is nan\n  samples: .*\n  losses:  nan.*\n  hint:    nothing has been"
    ):
        train_model(recipe_for(folder, rendering), ModelSource(folder, "local"), SAMPLES, tmp_path)


@pytest.mark.parametrize("rendering", ["chat", "token"])
def test_a_lora_on_a_model_whose_output_layer_has_a_bias_is_saved_as_it_was_trained(rendering, tmp_path):
    """Phi's: the loss of the last checkpoint's weights, merged, is the loss that training goes on from."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    settings: dict[str, Any] = {**SIZES, "vocab_size": len(tokenizer), "partial_rotary_factor": 0.5, "tie_word_embeddings": False}
    config = transformers.PhiConfig(**settings)
    model = transformers.PhiForCausalLM(config)
    with torch.no_grad():
        model.lm_head.bias.normal_(std=3.0)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    source = ModelSource(tmp_path / "base", "local")
    recipe = recipe_for(tmp_path / "base", rendering, lora=LoraConfig(rank=4), learning_rate=1e-2, kl_weight=0.0)
    summary = train_model(recipe, source, SAMPLES, tmp_path)
    after = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(after.lm_head.bias[: len(tokenizer)], model.lm_head.bias.detach())
    assert summary["history"][0]["loss"] < 30


@pytest.mark.parametrize(
    ("ratio", "steps", "expected"), [(0.05, 3, 1), (0.05, 20, 1), (0.05, 21, 2), (0.1, 25, 3), (0.0, 9, 0), (0.5, 5, 3)]
)
def test_warm_up_is_rounded_up(ratio, steps, expected, tmp_path, token_tokenizer):
    from reflectioncoder.data.render import TokenRenderer

    config = TrainConfig(epochs=1, global_batch_size=1, warmup_ratio=ratio)
    renderer = TokenRenderer(token_tokenizer)
    plan = RunPlan([renderer.render(generation_sample(n)) for n in range(steps)], config, seed=1)
    assert plan.total_steps == steps
    args = training_arguments(config, plan, tmp_path, 1, use_cpu=True)
    assert args.get_warmup_steps(steps) == expected
    if ratio:  # as transformers does with a ratio
        assert (
            transformers.TrainingArguments(output_dir=str(tmp_path), warmup_steps=ratio, use_cpu=True).get_warmup_steps(steps)
            == expected
        )
