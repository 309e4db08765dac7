"""Writes sentences from a grammar that is data: alternatives are drawn, facts are put in, nothing else is said.

`traced.yaml` has what is said of every attempt, `misreadings.yaml` what is said of those that misread their task.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

Grammar = Mapping[str, list[str]]
GRAMMARS = ("traced", "misreadings")
_SYMBOL = re.compile(r"<([a-z_]+(?:\.[a-z_]+)?)>")
_FIELD = re.compile(r"\{([a-z_]+)\}")
_BEGINNING = re.compile(r"(\A|[.?] )([a-z])")


@cache
def traced_grammar() -> Grammar:
    """Return the grammar of traced diagnoses: the alternatives of every symbol."""
    files = (Path(__file__).parent / f"{name}.yaml" for name in GRAMMARS)
    return {symbol: texts for file in files for symbol, texts in yaml.safe_load(file.read_text(encoding="utf-8")).items()}


def say(symbol: str, facts: Mapping[str, str], rng: random.Random) -> str:
    """Draw a text of a symbol's; "" if none can be said with these facts. Its sentences begin with capital letters.

    `<cause>` stands for the causes of the slip that `facts["operator"]` names.

    Raises:
        KeyError: there is no such symbol.
    """
    template = _expand(symbol, facts, rng)
    if template is None:
        return ""
    begun = _BEGINNING.sub(lambda match: match[1] + match[2].upper(), template)
    return _FIELD.sub(lambda match: facts[match[1]], begun)


def _expand(symbol: str, facts: Mapping[str, str], rng: random.Random) -> str | None:
    usable = [text for text in _alternatives(symbol, facts) if _is_usable(text, facts)]
    if not usable:
        return None
    return _SYMBOL.sub(lambda match: _expand(match[1], facts, rng) or "", rng.choice(usable))


def _alternatives(symbol: str, facts: Mapping[str, str]) -> list[str]:
    return traced_grammar()[f"cause.{facts['operator']}" if symbol == "cause" else symbol]


def _is_usable(text: str, facts: Mapping[str, str]) -> bool:
    """Tell whether all facts that a text needs are known, and of each of its symbols those of an alternative."""
    if not all(field in facts for field in _FIELD.findall(text)):
        return False
    return all(any(_is_usable(other, facts) for other in _alternatives(symbol, facts)) for symbol in _SYMBOL.findall(text))
