"""Reads programs made of a prompt and its continuation: what precedes the requested function, and where a continuation ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reflectioncoder import syntax
from reflectioncoder.choices import CUT_RULES, CutRule
from reflectioncoder.data.answers import ReadAnswer
from reflectioncoder.data.markdown import normalized
from reflectioncoder.data.prompts import CLOSING_FENCE
from reflectioncoder.data.thoughts import after_thoughts
from reflectioncoder.errors import require_choice
from reflectioncoder.languages import LANGUAGES

_BEGINS_WITH_MARK = re.compile(r"\s*(?:[<\[◁]\|?\w*think|<\|channel|<\|START)", re.IGNORECASE)
_FIRST_FENCE = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)\n", re.MULTILINE)


def read_continuation(text: str, prompt: str, language: str, stops: Sequence[str]) -> ReadAnswer:
    """Read the program that continues `prompt` after an opening fence: prompt and text up to the closing fence or a stop.

    A model that opens its own fence, with or without words before it, has either started the program again or continues it there.
    """
    text = normalized(text)
    if not text.strip():
        return ReadAnswer("", "empty")
    if _BEGINS_WITH_MARK.match(text):
        answer = after_thoughts(text, lambda _: [])
        if answer is None:
            return ReadAnswer("", "unfinished_thought")
        text = answer
    fence = _FIRST_FENCE.search(text)
    if fence and (fence["info"].strip() or not text[: fence.start()].strip()) and text[fence.end() :].strip():
        inside = text[fence.end() :]
        code, closing, _ = inside.partition(f"\n{fence['fence']}")
        begun, code = _begun_anew(code, prompt)
    else:
        code, closing, _ = text.partition(CLOSING_FENCE)
        begun = prompt
    return ReadAnswer(begun + cut_completion(code, language, stops), "fenced" if closing else "open_fence")


def _begun_anew(code: str, prompt: str) -> tuple[str, str]:
    """Return (start of the program in a fence, which no stop may cut; the rest)."""
    lines = [line.strip() for line in prompt.split("\n") if line.strip()]
    signature = lines[-1] if lines else ""
    at = code.find(signature) if signature else -1
    if at < 0:
        return prompt, code
    end = at + len(signature)
    return (code[:end] if lines[0] in code else prompt.rstrip()), code[end:]


def prompt_preamble(prompt: str, entry_point: str) -> str:
    """Return the part of a HumanEval-style prompt before the requested function."""
    match = re.search(rf"^(async\s+)?def\s+{re.escape(entry_point)}\b", prompt, re.MULTILINE)
    preamble = prompt[: match.start()] if match else ""
    try:
        syntax.parse(preamble)
    except SyntaxError:  # a decorator belongs to the function itself
        return ""
    return preamble.strip("\n")


def cut_completion(completion: str, language: str, stops: Sequence[str], rule: CutRule = "multipl-e") -> str:
    """Return the part of a completion of a MultiPL-E prompt that belongs to the program.

    `multipl-e`: up to the first stop token, as MultiPL-E and bigcode-evaluation-harness cut; `reflectioncoder`: up to the last
    occurrence of each stop in turn, with the stops of the authors' script.

    Raises:
        UsageError: unknown rule.
    """
    require_choice("rule for cutting completions", rule, CUT_RULES)
    if rule == "multipl-e":
        return completion[: min((at for stop in stops if (at := completion.find(stop)) >= 0), default=len(completion))]
    cut = LANGUAGES[language].multipl_e.authors_cut
    for stop in cut.stops if cut.instead else (*stops, *cut.stops):
        if (at := completion.rfind(stop)) >= 0:
            completion = completion[:at]
    return completion + "\n}" if cut.closes else completion
