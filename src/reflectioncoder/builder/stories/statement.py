"""Reads the statement of a problem sentence by sentence, so that a story can say what is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from reflectioncoder.builder.claims import Evidence, check_text
from reflectioncoder.data.prompts import REFLECT

_DOCSTRING = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)
_FENCE = re.compile(r"```.*?```", re.DOTALL)
_EXAMPLES = re.compile(r"(?m)^\s*(?:>>>|Examples?:|Args:|Arguments:|Parameters:|Returns:|Raises:|:param)")
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_MAX_CHARS = 170
_NO_VERBS = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those each every all any both some no not none if when whenever in with at after before without for
    it its there then what who other others first last among always on as from to by of only empty blank inside up otherwise let
    you your we given one two three people programs words numbers names values items lines rows cells parts""",
    )
)
_LOWERED = _NO_VERBS | {"return", "replace", "split", "find", "write", "sort", "count", "add", "spaces", "letters", "equal", "days"}


@dataclass(frozen=True)
class Statement:
    """The sentences of a statement that can be repeated, without their full stops.

    Attributes:
        task: what is to be done, as it follows "to": `return the sum of the numbers`; "" if the first sentence is no command.
        rules: the other sentences.
    """

    task: str
    rules: tuple[str, ...]


@lru_cache(maxsize=64)
def read_statement(request: str) -> Statement:
    """Return the sentences of a request, as far as a text that repeats them states nothing without support."""
    found = _DOCSTRING.search(request)
    text = found[2] if found else _FENCE.sub("", request.removeprefix(REFLECT))
    if example := _EXAMPLES.search(text):
        text = text[: example.start()]
    sentences = [sentence.rstrip(".") for sentence in _END.split(" ".join(text.split())) if sentence.endswith(".")]
    usable = [sentence for sentence in sentences if _is_usable(sentence, request)]
    first = sentences[0] if sentences else ""
    task = f"{first[0].lower()}{first[1:]}" if first in usable and _is_command(first) else ""
    return Statement(task, tuple(sentence for sentence in usable if sentence != first or not task))


def _is_command(sentence: str) -> bool:
    word = sentence.split()[0]
    return re.fullmatch(r"[A-Z][a-z]+", word) is not None and word.lower() not in _NO_VERBS and not sentence.startswith("Returns ")


def _is_usable(sentence: str, request: str) -> bool:
    """Tell whether a sentence is short, is no list, and is supported where it stands alone."""
    if not 12 <= len(sentence) <= _MAX_CHARS or re.search(r"[`{}<>|]|\\|\.\.\.", sentence):
        return False
    evidence = Evidence(request)
    said = (f"The statement says: {sentence}.", f"The task is to {sentence[0].lower()}{sentence[1:]}.")
    return all(claim.status != "unsupported" for text in said for claim in check_text(text, evidence))


def lowered(sentence: str) -> str:
    """Return a sentence as it follows "that", "" if its first word may be a name."""
    word = sentence.split()[0]
    return f"{sentence[0].lower()}{sentence[1:]}" if word.lower() in _LOWERED and (word[1:].islower() or len(word) == 1) else ""
