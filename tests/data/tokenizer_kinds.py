"""Tokenizers of the kinds that models have, made on the spot, and the shapes of their chat templates."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AddedToken, LlamaTokenizer, PreTrainedTokenizerFast

from reflectioncoder.data.problems import bundled_problems

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMMED = (  # as Llama 3 and Gemma
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n\n' + m['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)
PLAIN_HEADERS = (  # as Zephyr and TinyLlama
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
BARE_MARKERS = (  # as Phi 4: nothing between a special token and the content
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '<|im_sep|>' + m['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
WORDS = (  # as DeepSeek-Coder and Alpaca
    "{{ bos_token }}You answer with programs.\n{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '### Instruction:\n' + m['content'] + '\n' }}{% else %}{{ '### Response:\n' + m['content'] + '\n<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)
TEMPLATES = {"chatml": CHATML, "trimmed": TRIMMED, "plain headers": PLAIN_HEADERS, "bare markers": BARE_MARKERS, "words": WORDS}

_SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_sep|>"]
_QWEN_WORDS = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_TEXTS = [text for p in bundled_problems("train") for text in (p.reference, p.prompt, f" {p.instruction}\n\n  {p.prompt}")]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _trained(core: Tokenizer, trainer: Any) -> Tokenizer:
    core.train_from_iterator(_TEXTS, trainer)
    return core


def _byte_level(add_prefix_space: bool = False, words: Regex | None = None, normalizer: Any = None) -> Tokenizer:
    core = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=words is None)
    core.pre_tokenizer = level if words is None else pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), level])
    core.decoder = decoders.ByteLevel()
    if normalizer is not None:
        core.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(core, trainers.BpeTrainer(vocab_size=700, special_tokens=_SPECIALS, initial_alphabet=alphabet, show_progress=False))


def _sentencepiece(scheme: str, *, split: bool = False) -> Tokenizer:
    """BPE over "▁" with bytes for what it has no tokens for, as Llama's and Mistral's tokenizers."""
    core = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = [*_SPECIALS, *_BYTES]
    _trained(core, trainers.BpeTrainer(vocab_size=900, special_tokens=specials, max_token_length=12, show_progress=False))
    made = json.loads(core.to_str())  # the bytes are in the vocabulary now, and no special tokens
    made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] not in _BYTES]
    return Tokenizer.from_str(json.dumps(made))


def _prepending() -> Tokenizer:
    """As the tokenizer.json of Llama 2, Code Llama and Phi 3: a normalizer puts "▁" before every stretch between special tokens."""
    core = _sentencepiece("never")
    core.pre_tokenizer = None  # pyright: ignore[reportAttributeAccessIssue]
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return core


def _unigram() -> Tokenizer:
    core = Tokenizer(models.Unigram())
    core.normalizer = normalizers.NFKC()
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=_SPECIALS, unk_token="<unk>", show_progress=False)
    return _trained(core, trainer)


def _word_pieces() -> Tokenizer:
    core = Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return _trained(core, trainers.WordPieceTrainer(vocab_size=500, special_tokens=_SPECIALS, show_progress=False))


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": _byte_level,
    "byte-level with a blank before": lambda: _byte_level(add_prefix_space=True),
    "byte-level with Qwen's words": lambda: _byte_level(words=_QWEN_WORDS),
    "byte-level, composed": lambda: _byte_level(normalizer=normalizers.NFC()),
    "byte-level, stripped": lambda: _byte_level(normalizer=normalizers.Strip()),
    "metaspace first": lambda: _sentencepiece("first"),
    "metaspace always": lambda: _sentencepiece("always"),
    "metaspace never": lambda: _sentencepiece("never"),
    "metaspace first, words": lambda: _sentencepiece("first", split=True),
    "prepending": _prepending,
    "unigram": _unigram,
    "word pieces": _word_pieces,
}
LLAMA_KINDS = {"Llama": False, "legacy Llama": True}
TAKES_BLANKS = "prepending, markers take blanks"  # as Phi 3
ALL_KINDS = [*KINDS, *LLAMA_KINDS, TAKES_BLANKS]
LOSES_TEXT = {"byte-level, composed", "byte-level, stripped", "unigram", "word pieces"}


@functools.cache
def _core(kind: str) -> str:
    return KINDS[kind]().to_str()


def make(kind: str, template: str | None = CHATML) -> Any:
    """A new tokenizer of the kind. Its special tokens are <s>, </s>, <|im_start|>, <|im_end|> and <|im_sep|>."""
    names: dict[str, Any] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    markers = ["<|im_start|>", "<|im_end|>", "<|im_sep|>"]
    if kind in LLAMA_KINDS:
        core = Tokenizer.from_str(_core("metaspace first"))
        vocab, merges = core.get_vocab(), _merges(core)
        tokenizer = LlamaTokenizer(vocab=vocab, merges=merges, legacy=LLAMA_KINDS[kind], **names)
        tokenizer.add_special_tokens({"additional_special_tokens": markers})
    else:
        core = Tokenizer.from_str(_core("prepending" if kind == TAKES_BLANKS else kind))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False, **names)
        added = [AddedToken(m, rstrip=kind == TAKES_BLANKS, normalized=False, special=True) for m in markers]
        tokenizer.add_special_tokens({"additional_special_tokens": added})
    tokenizer.add_tokens([AddedToken("<|fim_prefix|>", special=False)])
    tokenizer.chat_template = template
    return tokenizer


def _merges(core: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(core.to_str())["model"]["merges"]]
