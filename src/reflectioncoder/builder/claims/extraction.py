"""Extracts from a text what it states: values, names, code, exceptions, and whether a value is presented as actual output."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from reflectioncoder import syntax

ClaimKind = Literal["value", "binding", "error", "name", "code", "tests"]
"""value: a literal; binding: a variable or call with its value; error: an exception; name; code; tests: that edge cases are tested."""
Role = Literal["output", "expected", "none"]
"""output: presented as a run's actual output; expected: presented as the wanted output; none: neither."""
ROLES: tuple[Role, ...] = get_args(Role)

_KNOWN = frozenset((*dir(builtins), *keyword.kwlist, *keyword.softkwlist, "self", "cls"))
_METHODS = frozenset(name for kind in (str, list, dict, set, float, bytes) for name in dir(kind) if not name.startswith("_"))
_LITERAL = r"""(?:-?\d[\d_.]*\d|-?\d|"[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\]|\{[^}\n]*\}|\([^)\n]*\)|None\b|True\b|False\b)"""
_PIECE = re.compile(
    rf"""```[^\n]*\n(?P<fence>.*?)(?:```|\Z)
    |``(?P<double>[^\n]+?)``
    |`(?P<code>[^`\n]+)`
    |(?P<call>(?<![\w.`])[a-z_]\w*(?:\.\w+)*\((?:[^()\n`]|\([^()\n`]*\))*\))
    |(?P<pair>(?<![\w.`])[A-Za-z_][\w.]*(?:\[[^\]\n]*\])?[ ]?={{1,2}}[ ]?{_LITERAL}(?![ ]?[-+*/%]|\w))
    |(?P<error>\b[A-Z]\w*(?:Error|Exception|Iteration|Interrupt)\b(?::[ ][^\n`]*?(?=[.;]?(?:\s|$)|,\s))?)
    |(?P<string>(?<![\w`])(?:"[^"\n`]{{1,200}}"|'[^'\n`]{{1,80}}')(?![\w`]))
    |(?P<bracket>(?<![\w`\])])(?:\[[^\[\]\n`]*(?:\[[^\[\]\n`]*\][^\[\]\n`]*)*\]|\{{[^{{}}\n`]*\}}|\((?:[^()\n`]*,[^()\n`]*)\)))
    |(?P<number>(?<![\w.`$\#-])-?\d[\d_]*(?:\.\d+)?(?:e-?\d+)?(?![\w`%]|\.\d))
    |(?P<word>\b(?:None|True|False|NaN|inf)\b)""",
    re.VERBOSE | re.DOTALL,
)
_SENTENCE_END = re.compile(r"[.!?;:]\s|\n")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*(?:\*\*)?(?:step |attempt |case |test )?$", re.IGNORECASE)
_NO_VALUE = re.compile(
    r"\b(?:by|first|last|next|other|about|around|only|step|line|lines|case|test|example|version|python|attempt|round)\s*$",
    re.IGNORECASE,
)


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)


_EXPECTED = _words(
    "should", "must", r"expect\w*", "instead of", "rather than", "not", "needs?", "has to", "have to", "ought", "would", r"want\w*",
    r"supposed", r"require\w*", "correct(?:ly)?", "right (?:result|value|answer|code)", "but the (?:test|task|problem)", "asks? for",
    "becomes?", r"replac\w+", r"chang\w+", "wrote", "write", "use", "using", "add", "adds", "added",
)  # fmt: skip
_OUTPUT = _words(
    "return(?:s|ed|ing)?", "gives?", "gave", "got", "gets?", "yield(?:s|ed)?", "print(?:s|ed)?", "produce[sd]?", "outputs?",
    "show(?:s|ed)?", "raise[sd]?", "throws?", "threw", "evaluate[sd]?", "result(?:s|ed|ing)? in", r"actual\w*", "report(?:s|ed)?",
    "ends? (?:up )?(?:with|as|at)", "comes? (?:out|back)", "came (?:out|back)", "stop(?:s|ped) with", "fail(?:s|ed) with",
    "compute[sd]?", "leaves?", "left",
)  # fmt: skip
_OUTPUT_IS = re.compile(
    r"\b(?:(?:output|result|answer|value)s?\b[^,;]{0,40}|it)\b\s*(?:is|was)(?: (?:an?|now|then|just|only|still))?\s*$", re.IGNORECASE
)
_COPULA = re.compile(r"[\s,]*(?:is|was|are|equals|=|==|->|→|holds|contains|has the value)\s*", re.IGNORECASE)
_AND = re.compile(r"\s*(?:,|and|or|, and|and then)\s*")
_OUTPUT_AFTER = re.compile(
    r"[\s,]*(?:is|was|gets|got|comes|came|being)\s+(?:being )?(?:returned|printed|output|produced|raised|shown|back)\b", re.IGNORECASE
)
_GOES_ON = _words(
    "is", "was", "but", "and", "instead", "rather", "not", "for", "when", "where", "because", "which", "although", "however", "with",
    "from", "while", "since", "the", "are", "has", "should", "must", "would", "does", "did", "comes?", "came", "gets?", "got", "as",
    "then", "now", "here", "after", "before", "at", "in", "on", "to", "by", "so", "if", "or", "than",
)  # fmt: skip
_EDGES = _words(r"(?:edge|corner|boundary|special|limit\w*|extreme|border) (?:case|input|value)s?")
_OF_TESTS = re.compile(r"\b(?:test|assert|check|tried|try)", re.IGNORECASE)
_NOT_TESTED = re.compile(r"\b(?:miss|forg|not\b|without|handle|unhandled|treat|wrong|fall|fail)|n't\b", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """Something that a text states.

    Attributes:
        text: the quoted source text, without backticks.
        start: offset in the text.
        subject: the variable or call to which the text attributes the value, if clear.
        value: the value of a binding.
    """

    kind: ClaimKind
    text: str
    start: int
    role: Role = "none"
    subject: str = ""
    value: str = ""


def stated(text: str) -> list[Stated]:
    """Return what a text states, in order."""
    found: list[Stated] = []
    last_end, last, subject = 0, None, ""
    for match in _PIECE.finditer(text):
        before, after = text[last_end : match.start()], text[match.end() : match.end() + 40]
        if re.search(r"\.\s|\n", before):
            subject = ""
        for piece in _pieces(match, before, text):
            last = _in_context(piece, before, after, last, subject)
            subject = piece.text if piece.kind in ("code", "name") else subject
            found.append(last)
            last_end = match.end()
    return sorted([*found, *_tests(text)], key=lambda item: item.start)


def _pieces(match: re.Match[str], before: str, text: str) -> Iterator[Stated]:
    kind, start = match.lastgroup or "", match.start()
    if kind == "fence":
        for line in match["fence"].split("\n"):
            if line.strip():
                yield Stated("code", line.strip(), start)
    elif kind in ("double", "code"):
        yield _inline(match[kind].strip(), start)
    elif kind in ("call", "pair"):
        yield _inline(match[0], start)
    elif kind == "error":
        yield Stated("error", match[0].strip(), start)
    elif kind == "number":
        line = text[text.rfind("\n", 0, start) + 1 : start]
        is_item = _LIST_NUMBER.search(line) and re.match(r"[.):]\s", f"{text[match.end() : match.end() + 2]} ")
        if not is_item and not _NO_VALUE.search(before) and not _counts_things(text[match.end() :]):
            yield Stated("value", match[0], start)
    elif _is_value_string(match[0]) if kind == "string" else is_literal(match[0]):
        yield Stated("value", match[0], start)


def _counts_things(after: str) -> bool:
    """Tell whether a number is followed by a noun or an ordinal suffix: `3 tests`, `2nd`."""
    return re.match(r"(?:st|nd|rd|th)\b|[ -][a-z]{3,}", after) is not None and not _GOES_ON.match(after.lstrip(" "))


def _is_value_string(text: str) -> bool:
    """Tell whether quotation marks enclose a value and not words between two apostrophes."""
    return text.startswith('"') or not re.search(r"\w'\w|^\s|\s$", text[1:-1])


def _inline(text: str, start: int) -> Stated:
    """Classify code within a sentence."""
    if re.match(r"[A-Z]\w*(?:Error|Exception|Iteration|Interrupt|Exit)\b", text) and not text.endswith(")"):
        return Stated("error", text, start)
    if is_literal(text):
        return Stated("value", text, start)
    if re.fullmatch(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\))?", text):
        return Stated("name", text.removesuffix("()"), start)
    if pair := _binding(text):
        return Stated("binding", text, start, subject=pair[0], value=pair[1])
    return Stated("code", text, start)


def _binding(text: str) -> tuple[str, str] | None:
    """Return the two sides of `x = 3`, `x == 3`, `f(1) == 3`, `f(1) → 3` if the right side is a literal."""
    parts = re.split(r"\s*(?:->|→|=>)\s*", text)
    if len(parts) == 2 and is_literal(parts[1]):
        return parts[0], parts[1]
    try:
        node = syntax.parse(text).body[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
        return None
    match node:
        case ast.Assign(targets=[left], value=right) | ast.Expr(value=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
            value = ast.get_source_segment(text, right) or ""
            return (ast.get_source_segment(text, left) or "", value) if is_literal(value) else None
    return None


def is_literal(text: str) -> bool:
    return syntax.is_literal(text.strip()) or text in ("NaN", "nan", "inf", "set()")


def is_known_name(name: str) -> bool:
    """Tell whether a name is a built-in, a keyword, or a method of a built-in type."""
    return all(part in _KNOWN or part in _METHODS for part in name.split("."))


def _in_context(piece: Stated, before: str, after: str, last: Stated | None, subject: str) -> Stated:
    """Return a piece with its role, and with the variable or call whose value it is.

    Args:
        last: the previous stated piece.
        subject: the last code or name in the same sentence.
    """
    role = _role(piece, before, after, last)
    if piece.kind != "value":
        return replace(piece, role=role)
    if last is not None and last.kind == "name" and _COPULA.fullmatch(before) and not is_known_name(last.text):  # "`x` is `3`"
        return replace(piece, kind="binding", role=role, subject=last.text, value=piece.text)
    return replace(piece, role=role, subject=subject)


def _role(piece: Stated, before: str, after: str, last: Stated | None) -> Role:
    """Return a value's role, from the words between the previous piece and it, and the words after it."""
    if piece.kind not in ("value", "binding", "error"):
        return "none"
    sentence = _SENTENCE_END.split(before)[-1]
    expected, output = _last(_EXPECTED, sentence), max(_last(_OUTPUT, sentence), _last(_OUTPUT_IS, sentence))
    if expected >= 0:  # "should return" is expected, "not as expected, returned" is not
        is_apart = output > expected and re.search(r"[,;]|\b(?:but|and|yet)\b", sentence[expected:output])
        return "output" if is_apart else "expected"
    if output >= 0 or _OUTPUT_AFTER.match(after) or (piece.kind == "error" and ":" in piece.text):
        return "output"
    if piece.kind == "value" and last is not None and last.kind == "code" and "(" in last.text and _COPULA.fullmatch(before):
        return "output"
    if last is not None and last.kind in ("value", "error") and _AND.fullmatch(before):
        return last.role
    return "none"


def _last(pattern: re.Pattern[str], text: str) -> int:
    return max((match.start() for match in pattern.finditer(text)), default=-1)


def _tests(text: str) -> Iterator[Stated]:
    """Yield claims that edge cases are tested, as openings make them."""
    begin = 0
    for end in (*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)):
        sentence = text[begin:end]
        if (found := list(_EDGES.finditer(sentence))) and _OF_TESTS.search(sentence) and not _NOT_TESTED.search(sentence):
            yield from (Stated("tests", match[0], begin + match.start()) for match in found)
        begin = end
