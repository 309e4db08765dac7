"""Finds the sentence of a problem statement that a misreading got wrong, to be quoted verbatim."""

from __future__ import annotations

import ast
import re

from reflectioncoder import syntax
from reflectioncoder.data.problems import Problem

_MIN_CHARS, _MAX_CHARS = 12, 160
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_NO_QUOTE = re.compile(r"""["`\\]|>>>""")
_ABOUT: dict[str, str] = {
    "ties": r"ties?\b|equal\w*|same|first|earlie|alphabet",
    "wrong_occurrence": r"first|last|begin|start|end\b|ends\b",
    "wrong_sort_key": r"sort|order|small|large|long|short|alphabet|highest|lowest|most|least",
    "order_of_steps": r"then|after|before|first|and\b|divided|times|of the",
    "negative_numbers": r"negative|absolute|sign|below zero|number",
    "numbers_as_text": r"sort|order|largest|smallest|maximum|minimum|sum|add",
    "shifted_bounds": r"inclu|exclu|between|from|up to|at least|at most|more than|less than|below|above|exactly|over|under|than",
    "every_bound": r"inclu|exclu|between|from|up to|at least|at most|more than|less than|below|above|exactly|over|under|than",
    "early_rounding": r"round|divid|average|mean|percent|whole",
    "reset_in_loop": r"all\b|each|every|sum|add|count|number of",
    "stops_at_first": r"all\b|each|every|any\b",
    "position_for_value": r"values?|items?|numbers?|largest|smallest",
    "lost_last_part": r"words?|lines?|separat|split|comma|parts?",
    "count_for_sum": r"count|number of|how many|sum|add|total|occur",
    "any_for_all": r"all\b|any\b|both|either|or\b|and\b|every|each",
    "empty_input": r"empty|no \w+|zero|nothing|\b0\b|none",
    "early_normalisation": r"case|order|spaces?|letters?|as (?:it|they)|same|text|words?",
    "wrong_structure": r"each|every|all\b|order|different|distinct|list|sum|number of",
    "repeated_values": r"each|every|all\b|different|distinct|twice|once|repeat|duplicate",
    "changed_argument": r"new|chang|copy|sort|without|add",
    "unchanged_text": r"replac|remov|case|strip|spaces?|text",
    "removal_in_loop": r"only|without|keep|remov|leav|all\b|every",
    "index_out_of_range": r"each|every|all\b|neighbou?r|next|pair|position",
    "counted_from_one": r"index|position|number|from\b|first|second|third|last",
}


def sentence_asked(problem: Problem, family: str) -> str:
    """Return the first quotable sentence of the statement about what a family misreads; "" if there is none."""
    about = re.compile(rf"\b(?:{_ABOUT.get(family, '.')})", re.IGNORECASE)
    sentences = (" ".join(sentence.split()).rstrip(".") for sentence in _SENTENCE_END.split(_statement(problem)))
    return next(
        (text for text in sentences if _MIN_CHARS <= len(text) <= _MAX_CHARS and not _NO_QUOTE.search(text) and about.search(text)), ""
    )


def _statement(problem: Problem) -> str:
    """Return the docstring of the entry point up to its examples, or the instruction."""
    try:
        body = syntax.parse(problem.reference or problem.prompt + "    pass\n").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return problem.instruction
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == problem.entry_point and (text := ast.get_docstring(node)):
            return text.partition(">>>")[0]
    return problem.instruction
