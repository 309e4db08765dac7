"""Splits a problem statement into sentences that a story can repeat."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from reflectioncoder.builder.claims import Evidence, check_text
from reflectioncoder.builder.mutation.stated_words import prose_of

_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z]|\w+[\[(])")
_MAX_CHARS = 170
_NO_VERBS = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those each every all any both some no not none if when whenever in with at after before without for
    it its there then what who other others first last among always on as from to by of only empty blank inside up otherwise let
    you your we given one two three people programs words numbers names values items lines rows cells parts""",
    )
)
_VERBS = frozenset(
    re.findall(
        r"\w+",
        """return find count write take keep put draw sort add replace split compute check compare decide join multiply remove
        reverse""",
    )
)
_DETERMINERS = frozenset(re.findall(r"\w+", "a an the all each every both one two three this these its their n"))


@dataclass(frozen=True)
class Statement:
    """The repeatable sentences of a statement, without their full stops.

    Attributes:
        task: the task as it follows "to": `return the sum of the numbers`; "" if no usable sentence is a command.
        rules: the other sentences that can be quoted.
    """

    task: str
    rules: tuple[str, ...]


@lru_cache(maxsize=64)
def read_statement(request: str) -> Statement:
    """Return the sentences of a request that a text can repeat without making an unsupported claim."""
    sentences = [sentence[:-1] for sentence in _END.split(prose_of(request)) if sentence.endswith(".")]
    usable = [sentence for sentence in sentences if _is_usable(sentence, request)]
    commands = [sentence for sentence in sentences if _is_command(sentence)]
    is_first = bool(commands) and commands[0] == sentences[0]
    asked = commands[0] if commands and commands[0] in usable and (is_first or commands[0].startswith("Return ")) else ""
    rules = tuple(sentence for sentence in usable if sentence != asked and '"' not in sentence)
    return Statement(f"{asked[0].lower()}{asked[1:]}" if asked else "", rules)


def _is_command(sentence: str) -> bool:
    """Tell whether a sentence is a command: it begins with a known verb, or with a word before a determiner."""
    word, _, rest = sentence.partition(" ")
    if not re.fullmatch(r"[A-Z][a-z]+", word) or word.lower() in _NO_VERBS:
        return False
    return word.lower() in _VERBS or (not re.search(r"[^s]s$", word) and rest.split(" ")[0] in _DETERMINERS)


def _is_usable(sentence: str, request: str) -> bool:
    """Tell whether a sentence has a usable length and no code characters, and stays supported out of context."""
    if not 12 <= len(sentence) <= _MAX_CHARS or re.search(r"[`{}<>|]|\\|\.\.", sentence):
        return False
    evidence = Evidence(request)
    said = (f"The statement says: {sentence}.", f"The task is to {sentence[0].lower()}{sentence[1:]}.")
    return all(claim.status != "unsupported" for text in said for claim in check_text(text, evidence))
