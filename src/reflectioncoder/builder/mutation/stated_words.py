"""Recognises slips that contradict the words of a task: nobody who has read "the product" writes a sum.

The words are data in `stated_words.yaml` and are matched without grammar: a word anywhere in the statement asks for its code. For a
program of several statements, a slip is contradicted only if the task has no word for the wrong code.
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
_INVERTED = ("negated_condition", "inverted_comparison")  # contradict any sentence that is coded as a single statement
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
"""Misreadings too roundabout for a sentence that needs one expression, or that ignore half of it."""

_EVERYWHERE = ("0", "1", "-1")  # in longer programs these mostly have no word in the task


def prose_of(request: str) -> str:
    """Return the prose of a request on one line: that of the first docstring, else all of it, without code and examples."""
    found = _DOCSTRING.search(request)
    text = found[2] if found else _FENCE.sub("", request.removeprefix(REFLECT))
    if example := _EXAMPLES.search(text):
        text = text[: example.start()]
    return " ".join(text.split())


@dataclass(frozen=True)
class StatedWords:
    """The words of a task. `is_single`: whether its reference is a single statement, so that every word refers to a part of it."""

    prose: str
    is_single: bool

    @classmethod
    def of(cls, request: str, reference: str) -> StatedWords:
        return cls(prose_of(request), num_statements(reference) <= 1)

    def allow(self, slip: Mutation) -> bool:
        """Tell whether someone who has read the task could make a slip."""
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
        """Tell whether the statement contains a word for a code token, or the token itself: a number, a name, a quoted text."""
        if token[:1] in "'\"":
            text = syntax.literal(token)
            return len(text) > 0 and any(f"{mark}{text}{mark}" in self.prose for mark in "'\"")
        if token.isalnum() and re.search(rf"(?<![\w.]){token}(?!\w|\.\d)", self.prose):
            return True
        words = _table("asks").get(token, "")
        return bool(words) and self._has(words)

    def _orders(self, slip: Mutation) -> bool:
        """Tell whether a word in the task fixes the order of the swapped operands."""
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
    """Return the number of statements of a program, without definitions, imports and docstrings; 0 if it does not parse."""
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
    """Tell whether an index is off by one because people count from one: the second item at 2, the third at 3."""
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
