"""Models of others: what they are asked, and that their own settings for generation change nothing."""

import json

import pytest
import torch

from reflectioncoder.config.declarations import GenerateConfig, ModelConfig
from reflectioncoder.data.completion_requests import Request
from reflectioncoder.errors import UsageError
from reflectioncoder.generate.transformers_backend import TransformersBackend, batch_seed
from tests.conftest import make_tokenizer
from tests.data.tokenizer_kinds import make

REQUESTS = [Request("a", 0, "Write f.", "f"), Request("b", 0, "Write a much longer function g.", "g")]
GREEDY = GenerateConfig(max_new_tokens=16, batch_size=2)
SAMPLED = GenerateConfig(max_new_tokens=16, batch_size=2, temperature=1.0, top_p=1.0)

# A value for each setting of transformers that has one to be odd with; those that only servers read are there too.
ODD = {
    "max_length": 3, "max_new_tokens": 1, "min_length": 500, "min_new_tokens": 16, "early_stopping": True, "max_time": 1e-9,
    "stop_strings": ["e", "a", " "], "do_sample": True, "num_beams": 3, "use_mtp": True, "use_cache": False,
    "cache_implementation": "static", "cache_config": {"backend": "quanto"}, "max_cache_len": 4, "temperature": 0.01, "top_k": 1,
    "top_p": 0.01, "min_p": 0.9, "top_h": 0.1, "typical_p": 0.01, "epsilon_cutoff": 0.9, "eta_cutoff": 0.9, "repetition_penalty": 50.0,
    "encoder_repetition_penalty": 50.0, "length_penalty": 9.0, "no_repeat_ngram_size": 1, "bad_words_ids": [[7], [8], [9]],
    "renormalize_logits": True, "forced_bos_token_id": 9, "forced_eos_token_id": 9, "remove_invalid_values": True,
    "exponential_decay_length_penalty": [1, 5.0], "suppress_tokens": [*range(600)], "begin_suppress_tokens": [*range(600)],
    "sequence_bias": [[[7], 50.0]], "token_healing": True, "guidance_scale": 5.0, "watermarking_config": {"bias": 50.0},
    "num_return_sequences": 2, "output_attentions": True, "output_hidden_states": True, "output_scores": True, "output_logits": True,
    "return_dict_in_generate": True, "encoder_no_repeat_ngram_size": 1, "decoder_start_token_id": 5, "is_assistant": True,
    "num_assistant_tokens": 3, "num_assistant_tokens_schedule": "heuristic", "assistant_confidence_threshold": 0.9,
    "prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 2, "assistant_early_exit": 1, "assistant_lookbehind": 3,
    "target_lookbehind": 3, "assistant_ensemble_weight": 0.5, "speculation_type": "mtp", "compile_config": {"mode": "default"},
    "disable_compile": True, "continuous_batching_config": {"block_size": 4}, "low_memory": True, "penalty_alpha": 0.6,
    "dola_layers": "low", "diversity_penalty": 5.0, "num_beam_groups": 3, "constraints": [[5]], "force_words_ids": [[5]],
    "prefill_chunk_size": 2, "custom_generate": "somebody/else", "what_nobody_knows": 7,
}  # fmt: skip
INVALID = [
    {"temperature": "hot"},
    {"cache_implementation": "none of them"},
    {"early_stopping": "maybe"},
    {"max_new_tokens": -1},
    {"watermarking_config": {"seeding_scheme": "?"}},
    {"num_return_sequences": 4},
    {"eos_token_id": "x"},
    {"pad_token_id": -1},
]


def completions(path):
    """Greedy ones and sampled ones."""
    backend = TransformersBackend(ModelConfig(str(path), device="cpu"), path)
    return [backend.complete_batch(REQUESTS, config, seed=3) for config in (GREEDY, SAMPLED)]


@pytest.fixture(scope="module")
def expected(model_dir):
    return completions(model_dir)


@pytest.fixture
def with_settings(model_dir, tmp_path):
    """The same model with other settings beside it."""

    def make_folder(settings, name="generation_config.json"):
        for file in model_dir.iterdir():
            if file.name != name:
                (tmp_path / file.name).symlink_to(file)
        there = json.loads((model_dir / name).read_text()) if name == "config.json" else {"eos_token_id": 2, "pad_token_id": 0}
        (tmp_path / name).write_text(json.dumps({**there, **settings}))
        return tmp_path

    return make_folder


def test_every_setting_of_transformers_is_among_the_odd_ones():
    from transformers import GenerationConfig

    known = {key for key in vars(GenerationConfig()) if not key.startswith("_")}
    assert known - {"pad_token_id", "bos_token_id", "eos_token_id", "transformers_version"} <= ODD.keys()


@pytest.mark.parametrize("setting", ODD)
def test_the_model_s_own_settings_change_nothing(setting, with_settings, expected):
    assert completions(with_settings({setting: ODD[setting]})) == expected


def test_all_of_them_together_change_nothing(with_settings, expected):
    assert completions(with_settings(ODD)) == expected


@pytest.mark.parametrize("settings", INVALID, ids=str)
def test_settings_that_cannot_be_loaded_change_nothing(settings, with_settings, expected):
    assert completions(with_settings(settings)) == expected


@pytest.mark.parametrize(
    "setting", ["temperature", "repetition_penalty", "num_beams", "no_repeat_ngram_size", "min_length", "max_length"]
)
def test_settings_in_the_configuration_of_old_models_change_nothing(setting, with_settings, expected):
    assert completions(with_settings({setting: ODD[setting]}, "config.json")) == expected


def test_the_model_s_own_end_tokens_end_answers(model_dir, with_settings, expected):
    tokenizer = make_tokenizer()
    backend = TransformersBackend(ModelConfig(str(model_dir), device="cpu"), model_dir)
    prompt = backend.renderer.render_request(REQUESTS[0].instruction, REQUESTS[0].prefill)
    first = backend.model(torch.tensor([prompt])).logits[0, -1].argmax().item()
    path = with_settings({"eos_token_id": [2, first]})
    backend = TransformersBackend(ModelConfig(str(path), device="cpu"), path)
    ended = backend.complete_batch(REQUESTS[:1], GREEDY, 0)[0]
    assert (ended.text, ended.finish_reason, ended.num_tokens) == ("", "stop", 1)
    assert expected[0][0].text.startswith(tokenizer.decode([first]))


def test_neighbouring_seeds_have_no_batch_in_common():
    seeds = {batch_seed(seed, number) for seed in range(30) for number in range(30)}
    assert len(seeds) == 900
    assert max(seeds) < 2**63


def test_the_second_batch_of_a_seed_is_not_the_first_of_the_next(model_dir):
    backend = TransformersBackend(ModelConfig(str(model_dir), device="cpu"), model_dir)
    requests = [Request("same", number, "Write f.", "f") for number in range(2)]
    config = GenerateConfig(max_new_tokens=16, batch_size=1, temperature=1.0)
    texts = {(seed, r.sample): c.text for seed in range(3, 6) for r, c in backend.complete(requests, frozenset(), config, seed)}
    assert len(set(texts.values())) == 6


@pytest.mark.parametrize("kind", ["byte-level", "metaspace first", "prepending", "unigram"])
@pytest.mark.parametrize(
    ("single", "begin", "end"), [("<s> $A </s>", 1, 1), ("$A </s>", 0, 1), ("<s> $A", 1, 0), ("<s> $A </s> </s>", 1, 2)]
)
def test_a_base_model_is_asked_with_bos_and_without_eos(kind, single, begin, end, tmp_path):
    from tokenizers import processors

    from reflectioncoder.data.requests import PlainRequests

    tokenizer = make(kind, template=None)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in ("<s>", "</s>")}
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=list(ids.items()))
    for text in ("Write f.", " a\n", "<s>strike</s> through", "", "</s>"):
        served = tokenizer.encode(f"{text}\n\n```python\n")
        asked = PlainRequests(tokenizer).render_request(text, "```python\n")
        if "<" not in text:
            assert asked == served[: len(served) - end]
        assert [token for token in asked if token in ids.values()] == [ids["<s>"]] * begin


QWEN3 = (
    "{%- for m in messages %}{%- if m.role == 'user' %}{{- '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}{%- else %}"
    "{%- if loop.last %}{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m.content + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + m.content + '<|im_end|>\n' }}{%- endif %}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
_ALTERNATE = "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles') }}{% endif %}"
MISTRAL = (  # no generation prompt
    "{{ bos_token }}{% for m in messages %}"
    + _ALTERNATE
    + "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|im_start|>\n' + m['content'] + '<|im_end|>\n<|im_sep|>\n' }}"
    "{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
)
USERS_ONLY = (
    "{% for m in messages %}{% if m.role != 'user' %}{{ raise_exception('only users') }}{% endif %}Q: {{ m.content }}\nA:{% endfor %}"
)
TWICE = "{{ messages[0].content }}\n\nAgain: {{ messages[0].content }}"
ONLY_TRAINING_CANNOT = {"twice": TWICE, "Qwen3": QWEN3, "Mistral": MISTRAL, "Phi-3": PHI3, "users only": USERS_ONLY}
UNUSABLE = {
    "raises": ("{{ raise_exception('not like this') }}", "not like this"),
    "does not parse": ("{% for m in messages %}{{ m.content }", "TemplateSyntaxError"),
    "unknown filter": ("{{ messages | no_such_filter }}", "no_such_filter"),
    "undefined": ("{{ messages[7].content.x }}", "UndefinedError"),
    "wrong type": ("{{ messages + 1 }}", "TypeError"),
    "not for system": ("{{ messages[0].content.no() }}", "chat template fails"),
    "content left out": ("{{ bos_token }}Hello", "leaves the content of a user message out"),
    "content changed": ("{{ messages[0].content | reverse }}", "leaves the content of a user message out"),
    "no default": ([{"name": "rag", "template": QWEN3}, {"name": "tool_use", "template": QWEN3}], "no default"),
}


@pytest.mark.parametrize("shape", ONLY_TRAINING_CANNOT)
def test_templates_that_only_training_cannot_use_are_asked_with(shape, with_settings):
    from reflectioncoder.data.render_chat import ChatRenderer

    path = with_settings({})
    tokenizer = make_tokenizer(template=ONLY_TRAINING_CANNOT[shape])
    for file in path.glob("*token*"):
        file.unlink()
    (path / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(path)
    backend = TransformersBackend(ModelConfig(str(path), device="cpu"), path)
    assert backend.renderer.name == "chat"
    text = "\n  Write f.\n"
    served = tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False)
    assert backend.renderer.render_request(text) == served
    assert len(backend.complete_batch(REQUESTS, GREEDY, 0)) == 2
    with pytest.raises(UsageError, match=r"model\.rendering: token"):
        ChatRenderer(tokenizer)


@pytest.mark.parametrize("shape", UNUSABLE)
def test_templates_that_cannot_be_used_are_named_errors_before_weights_are_loaded(shape, tmp_path):
    template, reason = UNUSABLE[shape]
    tokenizer = make_tokenizer(template=None)
    tokenizer.save_pretrained(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "chat_template": template}))
    with pytest.raises(UsageError, match=reason) as caught:
        TransformersBackend(ModelConfig(str(tmp_path), device="cpu"), tmp_path)
    assert "model.rendering" not in str(caught.value)


@pytest.mark.parametrize("said", [{"rendering": "tokens"}, {}, [], {"rendering": None}])
def test_a_marker_that_says_something_else_is_a_named_error(said, tmp_path):
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "reflectioncoder.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match=r"reflectioncoder\.json: rendering"):
        TransformersBackend(ModelConfig(str(tmp_path), device="cpu"), tmp_path)
