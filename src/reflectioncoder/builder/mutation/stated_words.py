"""Tells slips that contradict the very words of a task: who has read "the product" does not write a sum.

The words are data, `stated_words.yaml`. They are read without their grammar: a word that stands anywhere in the statement asks for its
code. Where a program has several statements, a slip contradicts only if the statement has no word for what is written instead.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from reflectioncoder import syntax
from reflectioncoder.builder.claims.evidence import tokens_of
from reflectioncoder.builder.mutation.fragments import SIGNS, Fragments, is_same
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.config.yaml_text import parse_yaml
from reflectioncoder.data.prompts import REFLECT

_FILE = Path(__file__).with_suffix(".yaml")
_DOCSTRING = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)
_FENCE = re.compile(r"```.*?```", re.DOTALL)
_EXAMPLES = re.compile(r"(?m)^\s*(?:>>>|Examples?:|Args:|Arguments:|Parameters:|Returns:|Raises:|:param)")
_INVERTED = ("negated_condition", "inverted_comparison")  # a sentence that a single statement puts into code says what holds
_REPLACING = (
    "wrong_operator", "wrong_method", "wrong_constant", "wrong_division", "inverted_comparison", "off_by_one_index", "off_by_one_range",
    "wrong_update", "wrong_variable", "wrong_occurrence", "count_for_sum", "any_for_all", "shifted_bounds",
)  # fmt: skip
_OF_LONGER_PROGRAMS = (
    "numbers_as_text",
    "repeated_values",
    "early_normalisation",
    "wrong_structure",
    "wrong_occurrence",
    "wrong_sort_key",
)
"""Misreadings that take a detour to a sentence which needs one expression, or leave out half of that sentence."""

_EVERYWHERE = ("0", "1", "-1")  # in longer programs these mostly stand for something that no word names


def prose_of(request: str) -> str:
    """Return the sentences of a request on one line: of the first docstring, else all, without code and examples."""
    found = _DOCSTRING.search(request)
    text = found[2] if found else _FENCE.sub("", request.removeprefix(REFLECT))
    if example := _EXAMPLES.search(text):
        text = text[: example.start()]
    return " ".join(text.split())


@dataclass(frozen=True)
class StatedWords:
    """The words of a task. `is_single`: its reference is one statement, so that each word stands for a piece of it."""

    prose: str
    is_single: bool

    @classmethod
    def of(cls, request: str, reference: str) -> StatedWords:
        return cls(prose_of(request), num_statements(reference) <= 1)

    def allow(self, slip: Mutation) -> bool:
        """Tell whether somebody who has read the task could make a slip."""
        if self.is_single and slip.operator in (*_INVERTED, *_OF_LONGER_PROGRAMS):
            return False
        if slip.operator == "swapped_arguments":
            return not (self.is_single and self._orders(slip))
        return slip.operator not in _REPLACING or not self._is_contradicted(slip)

    def _is_contradicted(self, slip: Mutation) -> bool:
        right, wrong = (Counter(_tokens(text)) for text in (slip.correct, slip.wrong))
        gone, come = list(right - wrong), list(wrong - right)
        if not gone or not come or _is_counted_from_one(slip.operator, gone, come):
            return False
        asked = [token for token in gone if self._asks_for(token) and not _are_confused(token, come)]
        if self.is_single:
            return bool(asked)
        is_telling = slip.operator != "wrong_variable" and any(token not in _EVERYWHERE for token in asked)
        return is_telling and not any(self._asks_for(token) for token in come)

    def _asks_for(self, token: str) -> bool:
        """Tell whether the statement has a word for a token of code, or has the token itself: a number, a name, a quoted text."""
        if token[:1] in "'\"":
            text = syntax.literal(token)
            return len(text) > 0 and any(f"{mark}{text}{mark}" in self.prose for mark in "'\"")
        if token.isalnum() and re.search(rf"(?<![\w.]){token}(?!\w|\.\d)", self.prose):
            return True
        words = _table("asks").get(token, "")
        return bool(words) and self._has(words)

    def _orders(self, slip: Mutation) -> bool:
        """Tell whether a word says which operand comes first."""
        signs = [
            SIGNS.get(type(a.op), "")
            for a, b in Fragments(slip.wrong, slip.correct).pairs
            if isinstance(a, ast.BinOp) and isinstance(b, ast.BinOp) and is_same(a.left, b.right)
        ]
        return any(self._has(_table("between").get(sign, r"(?!)")) for sign in signs)

    def _has(self, words: str) -> bool:
        return re.search(rf"\b(?:{words})\b", self._lowered) is not None

    @cached_property
    def _lowered(self) -> str:
        return self.prose.lower()


def num_statements(program: str) -> int:
    """Return the number of statements of a program's functions, without docstrings; 0 of what is no Python."""
    try:
        tree = syntax.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef)]
    texts = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return len([node for node in statements if not isinstance(node, ast.Import | ast.ImportFrom)]) - len(texts)


def _tokens(code: str) -> list[str]:
    return [f"'{token[1:]}" if token[:1] == '"' and "'" not in token else token for token in tokens_of(code)]


def _is_counted_from_one(operator: str, gone: Sequence[str], come: Sequence[str]) -> bool:
    """Tell whether the second item is looked for at 2, the third one at 3: people count from one."""
    is_one_step = len(gone) == len(come) == 1 and gone[0].isdigit() and come[0].isdigit() and int(come[0]) == int(gone[0]) + 1
    return operator == "off_by_one_index" and is_one_step and int(gone[0]) > 0


def _are_confused(token: str, come: Sequence[str]) -> bool:
    return any(token in pair and set(come) & set(pair) for pair in _confused())


@cache
def _data() -> Mapping[str, object]:
    return parse_yaml(_FILE.read_text(encoding="utf-8"), _FILE.name)[0]


@cache
def _table(name: str) -> Mapping[str, str]:
    table = _data()[name]
    assert isinstance(table, dict)
    return table


@cache
def _confused() -> list[list[str]]:
    pairs = _data()["confused"]
    assert isinstance(pairs, list)
    return pairs
