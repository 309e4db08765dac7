"""The program in a completion. The raw text is always kept beside it; the reason says how the program was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reflectioncoder import syntax
from reflectioncoder.choices import CUT_RULES, CutRule
from reflectioncoder.data.prompts import OPENING_FENCE
from reflectioncoder.errors import require_choice

ExtractionReason = Literal["fenced", "open_fence", "no_code"]
"""fenced: a closed block; open_fence: the completion ended inside the block; no_code: nothing but blanks."""

_BLOCK = re.compile(r"^(`{3,})[\w+-]*[ \t]*\n(.*?)(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Extraction:
    solution: str
    reason: ExtractionReason


def extract_program(completion: str, entry_point: str, preamble: str = "", prefill: str = OPENING_FENCE) -> Extraction:
    """The first fenced block that defines `entry_point`, else the first one; with the prompt's preamble in front.

    Args:
        completion: what the model wrote after `prefill`.
        preamble: imports and helpers that the prompt has before the asked function; the program may rely on them.
    """
    text = prefill + completion
    blocks = [(match.group(2), text[match.end(2) : match.end()].strip() != "") for match in _BLOCK.finditer(text)]
    if not any(code.strip() for code, _ in blocks):
        return Extraction("", "no_code")
    defines = re.compile(rf"^\s*(async\s+)?def\s+{re.escape(entry_point)}\b", re.MULTILINE)
    code, closed = next((b for b in blocks if defines.search(b[0])), blocks[0])
    program = code.rstrip() + "\n"
    if preamble.strip():
        program = f"{preamble.strip()}\n\n\n{program}"
    return Extraction(program, "fenced" if closed else "open_fence")


def prompt_preamble(prompt: str, entry_point: str) -> str:
    """The part of a HumanEval-style prompt before the asked function."""
    match = re.search(rf"^(async\s+)?def\s+{re.escape(entry_point)}\b", prompt, re.MULTILINE)
    preamble = prompt[: match.start()] if match else ""
    try:
        syntax.parse(preamble)
    except SyntaxError:  # a decorator belongs to the function itself
        return ""
    return preamble.strip("\n")


# The authors' script: stops in place of the data's (PHP, JavaScript) or beside them, and what is put back behind the cut.
_AUTHORS_STOPS = {"cpp": ("\nint main",), "js": ("\n}",), "php": ("\n}",), "ts": ("\n}",), "rs": ("\nfn main()",)}
_AUTHORS_REPLACE = frozenset(("js", "php"))
_AUTHORS_CLOSING = frozenset(("js", "php", "ts"))


def cut_completion(completion: str, language: str, stops: Sequence[str], rule: CutRule = "multipl-e") -> str:
    """What of a completion of a MultiPL-E prompt belongs to the program.

    `multipl-e`: up to the first stop token, as MultiPL-E and bigcode-evaluation-harness cut; `reflectioncoder`: up to the last
    occurrence of each stop in turn, with stops of its own, as the authors' script does.

    Raises:
        UsageError: no such rule.
    """
    require_choice("rule for cutting completions", rule, CUT_RULES)
    if rule == "multipl-e":
        return completion[: min((at for stop in stops if (at := completion.find(stop)) >= 0), default=len(completion))]
    own = _AUTHORS_STOPS.get(language, ())
    for stop in own if language in _AUTHORS_REPLACE else (*stops, *own):
        if (at := completion.rfind(stop)) >= 0:
            completion = completion[:at]
    return completion + "\n}" if language in _AUTHORS_CLOSING else completion
