"""Writes a tokenizer into a GGUF file so that llama.cpp encodes as transformers does, or refuses it.

llama.cpp has two tokenizers that matter for code models. "gpt2" merges pairs of byte-level tokens inside words, and splits words by a
rule that it knows by name (`tokenizer.ggml.pre`). "llama" (SentencePiece) merges the pair with the best score, and falls back to bytes
for text without a token. A tokenizer's behaviour is read from its parts, never from the model's name.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectioncoder.data.chat_template import ChatTemplate
from reflectioncoder.data.json_text import parse_json
from reflectioncoder.errors import UsageError, require
from reflectioncoder.models.load import load_tokenizer, plain_generation_config
from reflectioncoder.models.tokens import make_requests
from reflectioncoder.progress import say

_NAMED_ENDS = ("eos", "eot", "eom")  # the end tokens that GGUF has names for

Part = tuple[Any, ...]


def _split(pattern: str) -> Part:
    return "Split", pattern, "Isolated", False


_BYTES_OF_WORDS, _BYTES = ("ByteLevel", False, True), ("ByteLevel", False, False)
_QWEN_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DEEPSEEK_WORDS = ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+")
# llama.cpp's name → parts of the pre-tokenizer. Llama 3's also leaves a word that is a token unsplit (ignore_merges).
_WORD_RULES: dict[str, tuple[Part, ...]] = {
    "gpt-2": (_BYTES_OF_WORDS,),
    "smollm": (("Digits", True), _BYTES_OF_WORDS),
    "qwen2": (_split(_QWEN_WORDS), _BYTES),
    "llama-bpe": (_split(_QWEN_WORDS.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)), _BYTES),
    "deepseek-coder": (*map(_split, _DEEPSEEK_WORDS), ("Digits", True), _BYTES),
}
_TAKES_WHOLE_WORDS = ("llama-bpe",)


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as stored in GGUF.

    Attributes:
        model: "gpt2" or "llama".
        word_rule: llama.cpp's name of the pre-tokenizer, which splits text into words.
        tokens: token texts, one for each row of the embeddings.
        types: token types, numbered as in `gguf.TokenType`.
        merges: gpt2: pairs of tokens in the order of merging.
        scores: llama: token scores; the pair with the best-scored result is merged first.
        adds_blank: llama: whether a space is put before a text.
        adds_bos: whether servers put BOS before a text that does not begin with it.
        special: ids of special tokens, by GGUF's name of their role.
        chat_template: None for base models.
    """

    model: str
    word_rule: str
    tokens: list[str]
    types: list[int]
    merges: list[str] | None
    scores: list[float] | None
    adds_blank: bool
    adds_bos: bool
    special: Mapping[str, int]
    chat_template: str | None

    @classmethod
    def of(cls, folder: Path, num_rows: int) -> Vocabulary:
        """Read the tokenizer of a model folder.

        Args:
            num_rows: rows of the embeddings; those after the last token get placeholder names.

        Raises:
            UsageError: llama.cpp has no tokenizer that encodes the same, or there are more tokens than rows.
        """
        tokenizer = load_tokenizer(folder)
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise _refused(f"a {type(tokenizer).__name__} has no parts that could be read (tokenizer.json)")
        parts = parse_json(tokenizer.backend_tokenizer.to_str(), "tokenizer.json")
        if parts["model"]["type"] != "BPE":
            raise _refused(f"its model is {parts['model']['type']}, expected BPE")
        template = ChatTemplate(tokenizer) if tokenizer.chat_template else None
        request = template([{"role": "user", "content": "a"}], ask=True) if template else None
        byte_level = not parts["model"].get("byte_fallback")
        word_rule = _word_rule(parts) if byte_level else "default"
        adds_blank = not byte_level and _adds_blank(parts, request or "")
        tokens, types = _tokens(parts, num_rows)
        merges = _merges(parts)
        return cls(
            model="gpt2" if byte_level else "llama",
            word_rule=word_rule,
            tokens=tokens,
            types=types,
            merges=[" ".join(pair) for pair in merges] if byte_level else None,
            scores=None if byte_level else _scores(tokens, types, merges),
            adds_blank=adds_blank,
            adds_bos=_adds_bos(tokenizer, request),
            special=_special(folder, tokenizer),
            chat_template=_default(tokenizer.chat_template),
        )

    def write(self, writer: Any) -> None:
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.word_rule)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        writer.add_add_space_prefix(self.adds_blank)
        writer.add_add_bos_token(self.adds_bos)
        writer.add_add_eos_token(False)
        for name, token in self.special.items():
            getattr(writer, f"add_{name}_token_id")(token)
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)


def _refused(reason: str) -> UsageError:
    return UsageError(f"GGUF cannot be written: llama.cpp has no tokenizer that encodes as this one does: {reason}")


def _tokens(parts: dict[str, Any], num_rows: int) -> tuple[list[str], list[int]]:
    """Return the text and the type of each row's token."""
    types = require("gguf", "train").TokenType
    byte_fallback = parts["model"].get("byte_fallback")
    found = {i: (text, types.NORMAL) for text, i in parts["model"]["vocab"].items()}
    if byte_fallback:
        found |= {i: (text, types.BYTE) for i, (text, _) in found.items() if len(text) == 6 and text.startswith("<0x")}
        unknown = parts["model"]["vocab"].get(parts["model"].get("unk_token"))
        found |= {} if unknown is None else {unknown: (found[unknown][0], types.UNKNOWN)}
    changes_text = any(part["type"] != "NFC" for part in _listed(parts["normalizer"], "normalizers"))
    for token in parts["added_tokens"]:
        if token["normalized"] and changes_text:
            raise _refused(f"the token {token['content']!r} is looked for in a changed text")
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise _refused(f"the token {token['content']!r} takes blanks beside it away, or is found between blanks only")
        if found.get(token["id"], ("", None))[1] != types.UNKNOWN:
            found[token["id"]] = token["content"], types.CONTROL if token["special"] else types.USER_DEFINED
    if max(found) >= num_rows:
        raise UsageError(f"GGUF cannot be written: the tokenizer has {max(found) + 1} tokens, the embeddings have {num_rows} rows")
    taken = {text for text, _ in found.values()}
    for row in range(num_rows):
        if row not in found:
            name = next(name for bars in range(num_rows) if (name := f"[PAD{row}]" + "|" * bars) not in taken)
            found[row] = name, types.UNUSED
    rows = [found[row] for row in range(num_rows)]
    return [text for text, _ in rows], [int(kind) for _, kind in rows]


def _merges(parts: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in parts["model"]["merges"])
    return [(left, right) for left, right in pairs]


def _scores(tokens: list[str], types: list[int], merges: list[tuple[str, str]]) -> list[float]:
    """Return scores that make SentencePiece encode as the merges do: 0 for the token merged first, −1 for the next one, …

    BPE applies the first merge of its list. llama.cpp's SentencePiece joins two neighbours whenever the result is a token, the one with
    the best score first. So the list must contain every pair that makes a token, and list all pairs of a token consecutively; the list
    of a tokenizer that was trained as BPE does not.
    """
    made = [left + right for left, right in merges]
    order = {text: rank for rank, text in enumerate(dict.fromkeys(made))}
    if any(order[one] > order[other] for one, other in itertools.pairwise(made)):
        raise _refused("its merges of a token do not stand together")
    known, listed = set(tokens), set(merges)
    normal = (text for text, kind in zip(tokens, types, strict=True) if kind == require("gguf", "train").TokenType.NORMAL)
    for text in normal:
        for pair in ((text[:at], text[at:]) for at in range(1, len(text))):
            if known.issuperset(pair) and pair not in listed:
                raise _refused(f"its merges leave out {pair[0]!r} + {pair[1]!r}, which together are a token")
    return [float(-order.get(text, len(order))) for text in tokens]


def _listed(part: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """Return the parts of a normalizer or pre-tokenizer in order, with sequences flattened."""
    if part is None:
        return []
    return [other for one in part[inner] for other in _listed(one, inner)] if part["type"] == "Sequence" else [part]


def _word_rule(parts: dict[str, Any]) -> str:
    """Return llama.cpp's name for the pre-tokenizer of a byte-level tokenizer."""
    for normalizer in _listed(parts["normalizer"], "normalizers"):
        if normalizer["type"] != "NFC":  # NFC only changes decomposed characters, and llama.cpp's "qwen2" omits it
            raise _refused(f"it changes texts before it encodes them ({normalizer['type']})")
    shape = tuple(_shape(part) for part in _listed(parts["pre_tokenizer"], "pretokenizers"))
    name = next((name for name, known in _WORD_RULES.items() if known == shape), None)
    if name is None:
        raise _refused(f"its rule for words is none of {', '.join(_WORD_RULES)}\n  got:     {shape}")
    if bool(parts["model"].get("ignore_merges")) != (name in _TAKES_WHOLE_WORDS):
        raise _refused(f"its rule for words is that of {name}, but ignore_merges is {parts['model'].get('ignore_merges')}")
    return name


def _shape(part: dict[str, Any]) -> Part:
    match part["type"]:
        case "ByteLevel":
            return "ByteLevel", part["add_prefix_space"], part.get("use_regex", True)
        case "Digits":
            return "Digits", part["individual_digits"]
        case "Split":
            return "Split", part["pattern"].get("Regex"), part["behavior"], part["invert"]
        case other:
            return other, {key: value for key, value in part.items() if key != "type"}


def _adds_blank(parts: dict[str, Any], request: str) -> bool:
    """Tell whether a SentencePiece tokenizer puts a space before a text; llama.cpp then also puts one after every special token.

    Args:
        request: a request in the model's chat template; "" for base models.
    """
    normalizers = [(part["type"], part) for part in _listed(parts["normalizer"], "normalizers")]
    pre = parts["pre_tokenizer"]
    if [kind for kind, _ in normalizers] == ["Prepend", "Replace"] and pre is None:
        return True
    if [kind for kind, _ in normalizers] == ["Replace"] and pre is None:
        return False
    if not normalizers and pre is not None and pre["type"] == "Metaspace" and not pre.get("split", True):
        match pre["prepend_scheme"]:
            case "never":
                return False
            case "first":  # only at the start of the text, unless an added token stands there
                return not any(request.startswith(token["content"]) for token in parts["added_tokens"])
    raise _refused(f"it is not known how it marks beginnings\n  got:     {parts['normalizer']}, {pre}")


def _adds_bos(tokenizer: Any, request: str | None) -> bool:
    """Tell whether servers must put BOS before a text: as the chat template does; for base models, as the tokenizer does.

    llama.cpp adds no second BOS to a text that begins with one.
    """
    bos: str | None = tokenizer.bos_token
    if bos is None or tokenizer.encode("a")[:1] != [tokenizer.bos_token_id]:
        return False
    return request is None or request.startswith(bos)


def _special(folder: Path, tokenizer: Any) -> dict[str, int]:
    """Return the ids of the BOS, padding, unknown and end tokens by role."""
    of_config = plain_generation_config(folder).eos_token_id
    listed = of_config if isinstance(of_config, list) else [of_config]
    ends = dict.fromkeys([tokenizer.eos_token_id, *make_requests(folder, tokenizer).stop_token_ids, *listed])
    known = [token for token in ends if token is not None]
    if len(known) > len(_NAMED_ENDS):
        say(f"of the {len(known)} tokens that end an answer GGUF has room for the first {len(_NAMED_ENDS)}: {known}")
    roles = {"bos": tokenizer.bos_token_id, "pad": tokenizer.pad_token_id, "unk": tokenizer.unk_token_id}
    roles |= dict(zip(_NAMED_ENDS, known, strict=False))
    return {name: token for name, token in roles.items() if token is not None}


def _default(template: str | dict[str, str] | None) -> str | None:
    return template["default"] if isinstance(template, dict) else template
