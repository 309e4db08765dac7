"""A tokenizer of words and blanks for viewing samples without a model; it implements the part of the interface that `render` uses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reflectioncoder.data.render import ADDED_TOKENS

_WORDS = re.compile(r"\n+|[^\S\n]*\w+|[^\S\n]*[^\w\s]|[^\S\n]+")


@dataclass(frozen=True)
class _AddedToken:
    content: str
    special: bool = True


class WordTokenizer:
    """Assigns ids in order of appearance; decoding returns the text."""

    bos_token, eos_token = "<BOS>", "<EOS>"
    chat_template = None

    def __init__(self) -> None:
        specials = (self.bos_token, self.eos_token, *ADDED_TOKENS)
        self._vocab = {token: number for number, token in enumerate(specials)}
        self._texts = list(specials)
        self.added_tokens_decoder = {number: _AddedToken(token) for token, number in self._vocab.items()}
        self.all_special_tokens = list(specials)
        self.bos_token_id, self.eos_token_id = 0, 1

    def get_vocab(self) -> dict[str, int]:
        return dict(self._vocab)

    def convert_tokens_to_ids(self, token: str) -> int:
        return self._vocab[token]

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        ids = []
        for word in _WORDS.findall(text):
            key = f"word:{word}"  # a word is never a special token
            if key not in self._vocab:
                self._vocab[key] = len(self._texts)
                self._texts.append(word)
            ids.append(self._vocab[key])
        return ids

    def __call__(self, texts: list[str], **kwargs: bool) -> dict[str, list[list[int]]]:
        return {"input_ids": [self.encode(text) for text in texts]}

    def decode(self, ids: list[int]) -> str:
        return "".join(self._texts[i] for i in ids)
