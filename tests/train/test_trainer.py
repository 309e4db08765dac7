"""The Trainer subclass: resume is bitwise, workers and accumulation change nothing, LoRA and frozen layers train."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from reflectioncoder.config.declarations import LoraConfig, ModelConfig, Recipe, TrainConfig
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.render import TokenRenderer
from reflectioncoder.errors import CheckFailedError, MachineError, StoppedError, UsageError
from reflectioncoder.method.plan import RunPlan
from reflectioncoder.stopping import StopFlag
from reflectioncoder.train.checks import check_settings
from reflectioncoder.train.run import train_model
from reflectioncoder.train.trainer import ReflectionTrainer, resumable_checkpoint, seed_everything, training_arguments
from tests.conftest import generation_sample, make_model, make_tokenizer, reflection_sample

SAMPLES = [reflection_sample(n) for n in range(6)] + [generation_sample(n) for n in range(2)]


def trained(
    tmp_path, token_tokenizer, *, dtype="float32", resume_from=None, stop_at=None, adapter=False, checkpointing=False, **settings
):
    config = TrainConfig(
        **{"epochs": 2, "global_batch_size": 4, "learning_rate": 1e-3, "save_steps": 2, "mask_strategy": ("random_token",), **settings}
    )
    renderer = TokenRenderer(token_tokenizer)
    plan = RunPlan([renderer.render(s) for s in SAMPLES], config, seed=3)
    seed_everything(3)
    model = make_model("llama", len(token_tokenizer), dtype=dtype)
    if adapter:
        import peft

        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"))
    args = training_arguments(config, plan, tmp_path, 3, use_cpu=True, gradient_checkpointing=checkpointing)
    trainer = ReflectionTrainer(model, args, plan)
    if stop_at is not None:
        from transformers import TrainerCallback

        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop = state.global_step >= stop_at

        trainer.add_callback(Stop())
    trainer.train(resume_from_checkpoint=resume_from)
    return trainer


def state(trainer):
    return {k: v.clone() for k, v in trainer.model.state_dict().items()}


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, token_tokenizer, adapter):
    whole = trained(tmp_path / "whole", token_tokenizer, adapter=adapter)
    assert whole.state.global_step == 4
    trained(tmp_path / "cut", token_tokenizer, stop_at=2, adapter=adapter)
    checkpoint = resumable_checkpoint(tmp_path / "cut")
    assert checkpoint == tmp_path / "cut" / "checkpoint-2"
    resumed = trained(tmp_path / "cut", token_tokenizer, resume_from=str(checkpoint), adapter=adapter)
    expected, found = state(whole), state(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (whole, resumed)]
    assert losses[0] == losses[1]


def test_workers_and_micro_batches_do_not_change_the_weights(tmp_path, token_tokenizer):
    runs = [
        trained(tmp_path / "a", token_tokenizer, dtype="float64"),
        trained(tmp_path / "b", token_tokenizer, dtype="float64", dataloader_workers=2),
        trained(tmp_path / "c", token_tokenizer, dtype="float64", micro_batch_tokens=10_000),
        trained(tmp_path / "d", token_tokenizer, dtype="float64", micro_batch_tokens=400, checkpointing=True),
    ]
    expected = state(runs[0])
    for run in runs[1:]:
        for name, value in state(run).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-10)
    rates = [e["mask_rate"] for e in runs[1].state.log_history if "loss" in e]
    assert rates == [0.25, 0.5, 0.75, 1.0]


def test_the_logged_loss_is_ce_plus_weighted_kl_of_the_step(tmp_path, token_tokenizer):
    trainer = trained(tmp_path, token_tokenizer, dtype="float64", kl_weight=0.5)
    entries = [e for e in trainer.state.log_history if "loss" in e]
    for entry in entries:
        assert entry["loss"] == pytest.approx(entry["ce"] + 0.5 * entry["kl"], abs=2e-4)
    assert sum(e["tokens"] for e in entries) == trainer.plan.num_tokens


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_samples(tmp_path, token_tokenizer):
    with pytest.raises(CheckFailedError, match=r"gradient of step [1-4] is (nan|inf)\n  samples: #\d, #\d"):
        trained(tmp_path, token_tokenizer, learning_rate=1e30, max_grad_norm=0.0, warmup_ratio=0.0)


def test_an_unfinished_checkpoint_is_not_resumed(tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{}")
    assert resumable_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


@pytest.mark.parametrize("micro_batch_tokens", [0, 4096])
def test_held_out_answers_are_evaluated_as_at_inference(tmp_path, model_dir, micro_batch_tokens):
    """The evaluation before any update moves a weight is the cross-entropy of the bare request and its answer, by the model itself."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from reflectioncoder.data.files import write_jsonl
    from reflectioncoder.data.render_chat import ChatRenderer
    from reflectioncoder.models.sources import ModelSource

    held_out = [reflection_sample(20), reflection_sample(21, steps=2), generation_sample(22)]
    write_jsonl(tmp_path / "held-out.jsonl", [sample.to_json() for sample in held_out])
    config = TrainConfig(
        epochs=1, global_batch_size=3, learning_rate=0.0, eval_data=(str(tmp_path / "held-out.jsonl"),), eval_steps=2,
        micro_batch_tokens=micro_batch_tokens,
    )  # fmt: skip
    recipe = Recipe("r", ModelConfig(str(model_dir), rendering="chat", device="cpu"), train=config)
    summary = train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path)
    assert summary["total_steps"] == 3
    assert [entry["step"] for entry in summary["evaluations"]] == [2, 3]
    rows = [json.loads(line) for line in (tmp_path / "train" / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], "eval_loss" in row) for row in rows] == [(1, False), (2, False), (2, True), (3, False), (3, True)]

    tokenizer, model = AutoTokenizer.from_pretrained(model_dir), AutoModelForCausalLM.from_pretrained(model_dir)
    total, count = 0.0, 0
    for sample in held_out:
        request, answer = (message.text for message in sample.messages[-2:])
        prompt = ChatRenderer(tokenizer).render_request(request)
        ids = prompt + tokenizer.encode(answer + "<|im_end|>", add_special_tokens=False)
        with torch.no_grad():
            log_p = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        total -= sum(log_p[at - 1, ids[at]].item() for at in range(len(prompt), len(ids)))
        count += len(ids) - len(prompt)
    assert summary["evaluations"][0]["eval_loss"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("amx", [True, False])
def test_mixed_weights_are_float32_and_products_bfloat16_where_the_processor_multiplies_them(tmp_path, model_dir, monkeypatch, amx):
    from reflectioncoder.models import load
    from reflectioncoder.models.sources import ModelSource

    monkeypatch.setattr(load, "has_amx", lambda: amx)
    losses = {}
    for dtype in ("float32", "mixed"):
        train = TrainConfig(epochs=2, global_batch_size=4, learning_rate=1e-3)
        recipe = Recipe("r", ModelConfig(str(model_dir), device="cpu", dtype=dtype), train=train)
        summary = train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path / dtype)
        assert summary["autocast"] == ("bfloat16" if amx and dtype == "mixed" else None)
        losses[dtype] = [entry["loss"] for entry in summary["history"]]
    assert losses["mixed"] == pytest.approx(losses["float32"], rel=2e-2 if amx else 0)
    assert (losses["mixed"] != losses["float32"]) == amx
    weights = {name: load_file(next((tmp_path / name).rglob("model.safetensors"))) for name in losses}
    assert all(tensor.dtype == torch.float32 for tensor in weights["mixed"].values())


def test_how_a_run_is_carried_out_may_change_when_it_is_continued_and_what_is_computed_may_not(model_dir):
    from reflectioncoder.models.sources import ModelSource
    from reflectioncoder.train.run import settings_key

    def key(**settings):
        recipe = Recipe("r", ModelConfig(str(model_dir), device="cpu"), train=TrainConfig(**settings))
        return settings_key(recipe, ModelSource(model_dir, "local"), SAMPLES)

    assert key() == key(gradient_checkpointing="always", micro_batch_tokens=4096, save_steps=7, dataloader_workers=2)
    assert key(reflection_data=("here/a.jsonl",)) == key(reflection_data=("there/b.jsonl",))  # the content is in the key
    assert key() != key(learning_rate=1e-4)


def test_a_numbered_gpu_is_refused_with_the_way_to_choose_one(tmp_path, model_dir):
    from reflectioncoder.models.sources import ModelSource

    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES=1"):
        train_model(Recipe("r", ModelConfig(str(model_dir), device="cuda:1")), ModelSource(model_dir, "local"), SAMPLES, tmp_path)


def test_frozen_embeddings_are_refused_for_the_token_rendering(tmp_path, model_dir):
    from reflectioncoder.models.sources import ModelSource

    recipe = Recipe("r", ModelConfig(str(model_dir), rendering="token", device="cpu"), train=TrainConfig(freeze_layers=1))
    with pytest.raises(UsageError, match="untrained"):
        train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path)


@pytest.mark.parametrize(
    ("rendering", "how"), [("chat", "full"), ("chat", "lora"), ("chat", "frozen"), ("token", "full"), ("token", "lora")]
)
def test_the_stage_trains_and_saves_a_model_that_answers_requests(tmp_path, model_dir, rendering, how):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from reflectioncoder.config.declarations import GenerateConfig
    from reflectioncoder.data.completion_requests import Request
    from reflectioncoder.generate.transformers_backend import TransformersBackend
    from reflectioncoder.models.sources import ModelSource

    settings = {"lora": {"lora": LoraConfig(rank=4)}, "frozen": {"freeze_layers": 1}, "full": {}}[how]
    config = TrainConfig(epochs=1, global_batch_size=4, learning_rate=1e-2, **settings)
    recipe = Recipe("r", ModelConfig(str(model_dir), rendering=rendering, device="cpu"), train=config)
    summary = train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path)
    assert summary["total_steps"] == 2
    assert (summary["trained_parameters"] < summary["parameters"]) == (how != "full")
    base = AutoModelForCausalLM.from_pretrained(model_dir)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    changed = [n for n, p in base.named_parameters() if not torch.equal(p, after.get_parameter(n)[: p.shape[0]])]
    assert any("layers.1" in name for name in changed)
    if rendering == "token":  # the new rows have learned
        start, learned = base.get_input_embeddings().weight, after.get_input_embeddings().weight
        assert isinstance(start, torch.Tensor)
        assert isinstance(learned, torch.Tensor)
        ids = AutoTokenizer.from_pretrained(model_dir).encode("<|user|>", add_special_tokens=False)
        row = learned[AutoTokenizer.from_pretrained(tmp_path / "model").convert_tokens_to_ids("<|user|>")]
        assert not torch.equal(row, start[ids].mean(0))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["use_cache"]
    if how == "frozen":
        assert not any("layers.0" in name or "embed" in name for name in changed)
    backend = TransformersBackend(recipe.model, tmp_path / "model")
    assert backend.renderer.name == rendering
    requests = [Request("a", 0, "Write f.", "f"), Request("b", 0, "Write a much longer function g.", "g")]
    together = backend.complete_batch(requests, GenerateConfig(max_new_tokens=12), seed=0)
    alone = [backend.complete_batch([r], GenerateConfig(max_new_tokens=12), seed=0)[0] for r in requests]
    assert together == alone  # left padding changes nothing
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    served = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Write f."}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert served == backend.renderer.render_request("Write f.")


TRAIN_ALONE = """
import json, sys
from pathlib import Path
from reflectioncoder.config.declarations import ModelConfig, Recipe, TrainConfig
from reflectioncoder.errors import StoppedError
from reflectioncoder.models.sources import ModelSource
from reflectioncoder.stopping import SigtermFlag
from reflectioncoder.train.run import train_model
from tests.train.test_trainer import SAMPLES
model, run_dir, epochs = sys.argv[1:]
config = TrainConfig(epochs=float(epochs), global_batch_size=4, save_steps=1000)
recipe = Recipe("r", ModelConfig(model, device="cpu"), train=config)
try:
    train_model(recipe, ModelSource(Path(model), "local"), SAMPLES, Path(run_dir), stop=SigtermFlag())
except StoppedError as error:
    sys.exit(error.exit_code)
"""


def said_by(process: subprocess.Popen) -> str | bytes:
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.long
def test_sigterm_saves_a_checkpoint_and_the_run_goes_on_as_if_nothing_had_been(tmp_path, model_dir):
    def start(run_dir):
        return subprocess.Popen([sys.executable, "-c", TRAIN_ALONE, str(model_dir), str(run_dir), "20"], stderr=subprocess.PIPE)

    def rows(run_dir):
        path = run_dir / "train" / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    cut = start(tmp_path / "cut")
    while not rows(tmp_path / "cut"):
        assert cut.poll() is None, said_by(cut)
        time.sleep(0.02)
    cut.send_signal(signal.SIGTERM)
    assert cut.wait(60) == 130, said_by(cut)
    done = len(rows(tmp_path / "cut"))
    assert 0 < done < 40
    assert resumable_checkpoint(tmp_path / "cut" / "train") == tmp_path / "cut" / "train" / f"checkpoint-{done}"
    for name in ("cut", "whole"):
        process = start(tmp_path / name)
        assert process.wait(120) == 0, said_by(process)
    cut_rows, whole_rows = rows(tmp_path / "cut"), rows(tmp_path / "whole")
    assert [row["step"] for row in cut_rows] == list(range(1, 41))
    assert [row["loss"] for row in cut_rows] == [row["loss"] for row in whole_rows]
    assert all(row["tokens_per_s"] > 0 and row["peak_memory_bytes"] > 0 for row in cut_rows)
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_a_library_call_leaves_signals_alone_and_stops_on_request_with_a_checkpoint(tmp_path, model_dir, monkeypatch):
    from transformers import TrainerCallback

    from reflectioncoder.models.sources import ModelSource

    flag, handlers = StopFlag(), set()

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            handlers.add(signal.getsignal(signal.SIGTERM))
            if state.global_step == 1:
                flag.set()

    class Watched(ReflectionTrainer):
        def __init__(self, *args, callbacks, **kwargs):
            super().__init__(*args, callbacks=[*callbacks, Watch()], **kwargs)

    recipe = Recipe("r", ModelConfig(str(model_dir), device="cpu"), train=TrainConfig(epochs=9, global_batch_size=4))
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("reflectioncoder.train.trainer.ReflectionTrainer", Watched)
    with pytest.raises(StoppedError, match="stopped after step 2"):
        train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path, stop=flag)
    assert handlers == {before} == {signal.getsignal(signal.SIGTERM)}
    assert resumable_checkpoint(tmp_path / "train") == tmp_path / "train" / "checkpoint-2"
    assert not (tmp_path / "model").exists()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_train_command_ends_with_130_on_a_signal_and_continues(number, tmp_path, model_dir):
    write_jsonl(tmp_path / "samples.jsonl", [sample.to_json() for sample in SAMPLES])
    (tmp_path / "r.yaml").write_text(
        f"name: r\nmodel: {{name: {model_dir}, device: cpu}}\n"
        f"train: {{reflection_data: [{tmp_path / 'samples.jsonl'}], epochs: 200, global_batch_size: 4}}\n"
    )
    metrics = tmp_path / "runs" / "r" / "train" / "metrics.jsonl"
    argv = [sys.executable, "-m", "reflectioncoder", "train", str(tmp_path / "r.yaml"), "--runs-dir", str(tmp_path / "runs")]
    heard = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)  # noqa: E731 (under nohup it would be ignored)
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, said_by(process)
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    step = len(metrics.read_text().splitlines())
    assert f"train: stopped after step {step}, its checkpoint is complete" in said
    assert said.rstrip().endswith("--resume")
    assert resumable_checkpoint(metrics.parent) == metrics.parent / f"checkpoint-{step}"


def test_a_tokenizer_without_bos_and_pad_trains_and_generates(tmp_path):
    from reflectioncoder.config.declarations import GenerateConfig
    from reflectioncoder.data.completion_requests import Request
    from reflectioncoder.generate.transformers_backend import TransformersBackend
    from reflectioncoder.models.sources import ModelSource

    tokenizer = make_tokenizer(bos=False, pad=False)
    make_model("qwen2", len(tokenizer), dtype="float32").save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    recipe = Recipe("r", ModelConfig(str(tmp_path / "base"), device="cpu"), train=TrainConfig(epochs=1, global_batch_size=8))
    train_model(recipe, ModelSource(tmp_path / "base", "local"), SAMPLES, tmp_path)
    backend = TransformersBackend(recipe.model, tmp_path / "model")
    requests = [Request("a", 0, "Write f.", "f"), Request("b", 0, "Write a much longer function g.", "g")]
    assert len(backend.complete_batch(requests, GenerateConfig(max_new_tokens=4), seed=0)) == 2


def test_a_base_model_without_template_is_asked_in_plain_text(tmp_path):
    from reflectioncoder.config.declarations import GenerateConfig
    from reflectioncoder.data.completion_requests import Request
    from reflectioncoder.generate.transformers_backend import TransformersBackend

    tokenizer = make_tokenizer(bos=False, pad=False, eos=False, template=None)
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backend = TransformersBackend(ModelConfig(str(tmp_path), device="cpu"), tmp_path)
    asked = tokenizer.decode(backend.renderer.render_request("Write f.", "```python\n"))
    assert asked == "Write f.\n\n```python\n"
    requests = [Request("a", 0, "Write f.", "f"), Request("b", 0, "Write a longer g.", "g")]
    assert [c.finish_reason for c in backend.complete_batch(requests, GenerateConfig(max_new_tokens=4), seed=0)] == ["length", "length"]


def test_sampling_depends_on_the_seed_alone(model_dir):
    from reflectioncoder.config.declarations import GenerateConfig
    from reflectioncoder.data.completion_requests import Request
    from reflectioncoder.generate.transformers_backend import TransformersBackend

    backend = TransformersBackend(ModelConfig(str(model_dir), device="cpu"), model_dir)
    config = GenerateConfig(max_new_tokens=16, temperature=1.0, num_samples=2)
    requests = [Request("a", n, "Write f.", "f") for n in range(2)]
    first, again, other = (backend.complete_batch(requests, config, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first[0] != first[1]


def test_nothing_that_fits_is_an_error(tmp_path, model_dir):
    from reflectioncoder.models.sources import ModelSource

    recipe = Recipe("r", ModelConfig(str(model_dir), device="cpu"), train=TrainConfig(max_length=16))
    with pytest.raises(UsageError, match=r"longer than train\.max_length"):
        train_model(recipe, ModelSource(model_dir, "local"), SAMPLES, tmp_path)


def test_a_tracker_that_is_not_installed_is_named_before_any_work():
    with pytest.raises(MachineError, match="wandbee is not installed"):
        check_settings(TrainConfig(report_to=("wandbee",)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_strategy": ("random_blok",)}, "did you mean 'random_block'"),
        ({"mask_strategy": ()}, "at least one"),
        ({"mask_block_order": ("text", "code")}, "each once, in any order"),
        ({"lora": LoraConfig(), "freeze_layers": 2}, "exclude each other"),
    ],
)
def test_impossible_settings_are_refused_before_any_work(settings, message):
    with pytest.raises(UsageError, match=message):
        check_settings(TrainConfig(**settings))
