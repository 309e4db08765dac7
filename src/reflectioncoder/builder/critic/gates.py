"""Decides whether a model's text may replace a diagnosis: it must say the same, and nothing that was not observed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace

from reflectioncoder.builder import checks, texts
from reflectioncoder.builder.claims import check_blocks, inventions
from reflectioncoder.builder.critic.counts import Refusal
from reflectioncoder.builder.critic.diagnoses import Diagnosis
from reflectioncoder.builder.prose_language import is_in_another_language
from reflectioncoder.data.samples import Block

_MAX_RATIO = 2  # new to old length in characters
_CODE = re.compile(r"``([^\n]+?)``|`([^`\n]+)`")
_BLOCKS = re.compile(r"```|~~~|^\s*(?:#{1,6} |[-*+] |\d+[.)] )", re.MULTILINE)
_OF_THE_TASK = re.compile(
    r"\b(?:(?:re)?phras\w*|rewrit(?:e|ten|ing) (?:of|explanation|diagnosis|text|version)|in (?:my|your|other) (?:own )?words|own words"
    r"|(?:the|this|your|that|given|correct|above|original) (?:explanation|diagnosis)|here(?:'s| is| are) (?:the|a|my|an)\b"
    r"|as (?:an? )?(?:ai|language model)|the (?:programmer|user|author|student)\b|your (?:code|program|function|attempt)"
    r"|you (?:wrote|should|need|have|can)|(?:sure|certainly|of course)[!,.:])",
    re.IGNORECASE,
)


def refusal(request: str, blocks: Sequence[Block], diagnosis: Diagnosis, text: str) -> Refusal | None:
    """Return why a text may not replace a diagnosis of a sample; None if it may."""
    if not text.strip():
        return "empty_answer"
    if checks.spells_special_token(text):
        return "special_tokens"
    if _BLOCKS.search(text):
        return "has_code_block"
    if _squeezed(text) == _squeezed(diagnosis.text):
        return "unchanged"
    if not texts.diagnoses(text):
        return "no_diagnosis"
    if is_in_another_language(text, f"{request}\n{diagnosis.text}"):
        return "other_language"
    if _phrases(text) - _phrases(diagnosis.text):
        return "speaks_of_the_task"
    if len(text) > _MAX_RATIO * len(diagnosis.text):
        return "too_long"
    if _loses_code(diagnosis, text):
        return "code_lost"
    return _unseen(request, blocks, diagnosis, text)


def _phrases(text: str) -> set[str]:
    """Return the phrases of a text that refer to the rewriting task or address the reader."""
    return {found[0].lower() for found in _OF_THE_TASK.finditer(text)}


def _unseen(request: str, blocks: Sequence[Block], diagnosis: Diagnosis, text: str) -> Refusal | None:
    number = diagnosis.block
    changed = [*blocks[:number], replace(blocks[number], content=text), *blocks[number + 1 :]]
    if any(block == number for block, _ in inventions(request, changed)):
        return "invented_output"
    old, new = ({claim.stated.text for claim in _unsupported(request, version)} for version in (blocks, changed))
    return None if new <= old else "unsupported_claim"


def _unsupported(request: str, blocks: Sequence[Block]):
    return (claim for claim in check_blocks(request, blocks) if claim.status == "unsupported")


def quoted(text: str) -> list[str]:
    """Return the code spans in backticks."""
    return [match[1] or match[2] for match in _CODE.finditer(text)]


def _loses_code(diagnosis: Diagnosis, text: str) -> bool:
    """Tell whether a text lacks a code span that names the change, or has none of the spans that the diagnosis quotes."""
    kept, pieces = ({_squeezed(code) for code in quoted(said)} for said in (text, diagnosis.text))
    return not needed_code(diagnosis) <= kept or (bool(pieces) and not pieces & kept)


def needed_code(diagnosis: Diagnosis) -> set[str]:
    """Return the code spans of a diagnosis that name the change: those in only one of the two attempts, or equal to a changed line."""
    before, after = (_squeezed(program) for program in (diagnosis.attempt, diagnosis.corrected))
    lines = difflib.ndiff(diagnosis.attempt.split("\n"), diagnosis.corrected.split("\n"))
    changed = [_squeezed(line[2:]) for line in lines if line.startswith(("- ", "+ "))]
    pieces = {_squeezed(code) for code in quoted(diagnosis.text)}
    return {piece for piece in pieces if (piece in before) != (piece in after) or piece in changed}


def _squeezed(text: str) -> str:
    return " ".join(text.split())
