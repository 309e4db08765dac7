"""Generates sentences from a grammar stored as data: draws alternatives and fills in facts.

The grammar is the union of all `*.yaml` files of this folder, one per topic. Each symbol is defined in exactly one of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from reflectioncoder.config.yaml_text import parse_yaml

Grammar = Mapping[str, list[str]]
_SYMBOL = re.compile(r"<([a-z_]+(?:\.[a-z_]+)?)>")
_FIELD = re.compile(r"\{([a-z_]+)\}")
_BEGINNING = re.compile(r"(\A|[.?] )([a-z])")


@cache
def traced_grammar() -> Grammar:
    """Return the grammar of traced diagnoses: a map from symbols to alternatives."""
    return merged({path.name: path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.yaml"))})


def merged(files: Mapping[str, str]) -> Grammar:
    """Merge the grammars of several files, given as a map from file name to text.

    Raises:
        ValueError: a symbol is defined twice.
    """
    grammar: dict[str, list[str]] = {}
    origin: dict[str, str] = {}
    for name, text in files.items():
        for symbol, alternatives in parse_yaml(text, name)[0].items():
            if symbol in origin:
                raise ValueError(f"the symbol {symbol} is defined in {origin[symbol]} and in {name}")
            origin[symbol], grammar[symbol] = name, alternatives
    return grammar


def say(symbol: str, facts: Mapping[str, str], rng: random.Random, grammar: Grammar | None = None) -> str:
    """Draw a text for a symbol, with capitalized sentences; "" if no alternative is usable with these facts.

    `<cause>` stands for the causes of the slip in `facts["operator"]`. `grammar`: defaults to that of traced diagnoses.

    Raises:
        KeyError: unknown symbol.
    """
    template = _expand(symbol, facts, rng, traced_grammar() if grammar is None else grammar)
    if template is None:
        return ""
    begun = _BEGINNING.sub(lambda match: match[1] + match[2].upper(), template)
    return _FIELD.sub(lambda match: facts[match[1]], begun)


def _expand(symbol: str, facts: Mapping[str, str], rng: random.Random, grammar: Grammar) -> str | None:
    usable = [text for text in _alternatives(symbol, facts, grammar) if _is_usable(text, facts, grammar)]
    if not usable:
        return None
    return _SYMBOL.sub(lambda match: _expand(match[1], facts, rng, grammar) or "", rng.choice(usable))


def _alternatives(symbol: str, facts: Mapping[str, str], grammar: Grammar) -> list[str]:
    return grammar[f"cause.{facts['operator']}" if symbol == "cause" else symbol]


def _is_usable(text: str, facts: Mapping[str, str], grammar: Grammar) -> bool:
    """Tell whether all facts in a text are known, and every symbol in it has a usable alternative."""
    if not all(field in facts for field in _FIELD.findall(text)):
        return False
    parts = [_alternatives(symbol, facts, grammar) for symbol in _SYMBOL.findall(text)]
    return all(any(_is_usable(other, facts, grammar) for other in others) for others in parts)
