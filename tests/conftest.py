"""Fixtures: a real byte-level BPE tokenizer and tiny random models, made on the spot; benchmark data where it is given."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from pathlib import Path

import pytest

from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.waiting import wait_briefly
from tests import skips, tiers

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou answer with programs.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def pytest_addoption(parser):
    tiers.add_option(parser)


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats.get("skipped", [])
    for line in skips.summary(str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)):
        terminalreporter.write_line(line)


# Compiling with torch needs setuptools, which refuses to be imported after the standard library's distutils, as some tests do.
with contextlib.suppress(ImportError):
    import setuptools  # noqa: F401


def pytest_configure(config):
    tiers.configure(config)
    wait_briefly()
    _use_a_cache_of_its_own(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as under `nohup make test &`: children would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["HF_HUB_OFFLINE"] = "1"


def _use_a_cache_of_its_own(config):
    """Nothing is read from or left in the user's caches; what is expensive is kept from one test run to the next."""
    cache = (
        Path(config.cache.mkdir("reflectioncoder"))
        if hasattr(config, "cache")
        else Path(tempfile.mkdtemp(prefix="tests-of-reflectioncoder-"))
    )
    os.environ["REFLECTIONCODER_CACHE"] = str(cache / "reflectioncoder")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    os.environ["HF_HOME"] = str(cache / "huggingface")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "inductor")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with benchmark files; in CI it must be there."""
    place = os.environ.get("REFLECTIONCODER_DATA")
    if place and Path(place).is_dir():
        return Path(place)
    if os.environ.get("CI"):
        pytest.fail("REFLECTIONCODER_DATA must name the benchmark data in CI")
    pytest.skip("benchmark data is not here: set REFLECTIONCODER_DATA")


def make_tokenizer(bos: bool = True, eos: bool = True, pad: bool = True, template: str | None = CHATML):
    """A byte-level BPE tokenizer trained on the bundled problems, with ChatML tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AddedToken, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator([p.reference for p in bundled_problems("train")], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>" if bos else None,
        eos_token="<|im_end|>" if eos else None,
        pad_token="<|endoftext|>" if pad else None,
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken("<|fim_prefix|>", special=False)])  # as Qwen2.5-Coder has them
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="session")
def chat_tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def token_tokenizer():
    from reflectioncoder.models.tokens import add_tokens_to

    tokenizer = make_tokenizer()
    add_tokens_to(tokenizer)
    return tokenizer


def make_model(kind: str, vocab_size: int, *, tied: bool = True, dtype: str = "float64", seed: int = 0, **settings):
    """A tiny random causal language model with grouped-query attention; a mistral's attention reaches back 40 tokens."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    name = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "mistral": "Mistral", "gemma": "Gemma", "gemma2": "Gemma2",
            "gpt2": "GPT2", "granite": "Granite", "mamba": "Mamba"}[kind]  # fmt: skip
    config_class = getattr(transformers, f"{name}Config")
    model_class = getattr(transformers, f"{name}LMHeadModel" if kind == "gpt2" else f"{name}ForCausalLM")
    special = {"gemma": {"head_dim": 8}, "gemma2": {"head_dim": 8}, "qwen3": {"head_dim": 8}, "mistral": {"sliding_window": 40},
               "granite": {"logits_scaling": 2.0}}  # fmt: skip
    config = config_class(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=tied,
        initializer_range=0.3,  # far from uniform, so that errors show
        bos_token_id=3,
        eos_token_id=2,
        pad_token_id=0,
        **special.get(kind, {}),
        **settings,
    )
    return model_class(config).to(getattr(torch, dtype))


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A folder with a tiny Llama in float32 and its tokenizer."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def reflection_sample(number: int = 0, steps: int = 1) -> Sample:
    """A short reflection sample; lengths vary with `number`."""
    blocks = [Block("text", f"Attempt {number}. " + "I try. " * (number % 3))]
    for step in range(steps):
        blocks += [
            Block("code", f"def f(x):\n    return x + {number + step}\n\nassert f(1) == {number}"),
            Block("execution", "AssertionError" + "!" * (number % 5)),
            Block("text", f"The constant {number} is wrong."),
        ]
    blocks += [Block("code", "def f(x):\n    return x\n\nassert f(1) == 1"), Block("execution", "ok")]
    return Sample(
        (
            user(f"Solve and test: f of {number}"),
            assistant(*blocks),
            user(f"Write f of {number}."),
            assistant(Block("text", f"```python\ndef f(x):\n    return x * {number}\n```")),
        ),
        "reflection",
        {"id": f"sample-{number}"},
    )


def generation_sample(number: int = 0) -> Sample:
    return Sample(
        (user(f"Write g of {number}."), assistant(Block("text", f"```python\ndef g(x):\n    return x - {number}\n```"))),
        "generation",
        {"id": f"plain-{number}"},
    )


# Attacks that get through where docs/sandbox.md says so: the tests run at the stronger tiers.
_DISK_WATCHED = "not promised at tier 1: files without a name are not seen by the watch"
_SIDE_CHANNEL = "not promised: programs that run at once can signal to each other, here by locks on files that both may read"
NOT_PROMISED = {
    "test_a_disk_bomb_goes_out[landlock-deleted files]": _DISK_WATCHED,
    "test_a_disk_bomb_goes_out[landlock-files without a name]": _DISK_WATCHED,
    "test_a_disk_bomb_goes_out[bubblewrap-deleted files]": _DISK_WATCHED,
    "test_a_disk_bomb_goes_out[bubblewrap-files without a name]": _DISK_WATCHED,
    "test_programs_that_run_at_once_do_not_see_each_other_s_locks[flock]": _SIDE_CHANNEL,
    "test_programs_that_run_at_once_do_not_see_each_other_s_locks[lockf]": _SIDE_CHANNEL,
}
# Behind a wrapper a program of root's stays root's outside, and the kernel does not limit root's processes.
_PROCESSES_OF_ROOT = (
    *(f"test_a_fork_bomb_goes_out[bubblewrap-{kind}]" for kind in ("fork and wait", "children that have no parent", "zombies")),
    *(f"test_a_thread_bomb_goes_out[bubblewrap-{kind}]" for kind in ("threading", "_thread")),
    "test_with_the_first_process_ends[bubblewrap-children that go on to fork]",
)
# With the interpreter in a private directory of root's a program at tier 1 keeps one capability, to reach it; Landlock still decides.
_ONE_CAPABILITY = (
    "test_a_program_has_no_capabilities[landlock]",
    "test_a_program_cannot_raise_a_capability[landlock]",
    "test_a_program_cannot[landlock-keep a capability]",
)


def pytest_collection_modifyitems(config, items):
    from reflectioncoder.sandbox.isolation import LANDLOCK

    reasons = dict(NOT_PROMISED)
    if LANDLOCK.world("/nonexistent", []).keep_read_search:
        reasons |= dict.fromkeys(_ONE_CAPABILITY, "the interpreter lies in a private directory: one capability is kept, to reach it")
    if os.getuid() == 0:
        reasons |= dict.fromkeys(_PROCESSES_OF_ROOT, "not promised for root: the number of its processes is watched, not limited")
    for item in items:
        if item.name in reasons:
            item.add_marker(pytest.mark.skip(reason=reasons[item.name]))
    tiers.select(config, items)
