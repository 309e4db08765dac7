"""Finds in a text what it states: values, names, code, exceptions, and whether a value is said to be what a program really gave."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reflectioncoder import syntax

ClaimKind = Literal["value", "binding", "error", "name", "code", "tests"]
"""value: a literal; binding: a variable or a call with its value; error: an exception; name; code; tests: edge cases among the tests."""
Role = Literal["output", "expected", "none"]
"""output: said to be what a run gave; expected: said to be what it should give; none: neither."""

_KNOWN = frozenset((*dir(builtins), *keyword.kwlist, *keyword.softkwlist, "self", "cls"))
_PIECE = re.compile(
    r"""```[^\n]*\n(?P<fence>.*?)(?:```|\Z)
    |``(?P<double>[^\n]+?)``
    |`(?P<code>[^`\n]+)`
    |(?P<call>(?<![\w.`])[a-z_]\w*(?:\.\w+)*\((?:[^()\n`]|\([^()\n`]*\))*\))
    |(?P<pair>(?<![\w.`])[A-Za-z_][\w.]*(?:\[[^\]\n]*\])?[ ]?={1,2}[ ]?(?:-?\d[\d_.]*\d|-?\d|"[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\]|\{[^}\n]*\}|\([^)\n]*\)|None|True|False))
    |(?P<error>\b[A-Z]\w*(?:Error|Exception|Iteration|Interrupt)\b(?:: [^\n`]*?(?=[.;]?(?:\s|$)|,\s))?)
    |(?P<string>(?<![\w`])(?:"[^"\n`]{1,200}"|'[^'\n`]{1,80}')(?![\w`]))
    |(?P<bracket>(?<![\w`\])])(?:\[[^\[\]\n`]*(?:\[[^\[\]\n`]*\][^\[\]\n`]*)*\]|\{[^{}\n`]*\}|\((?:[^()\n`]*,[^()\n`]*)\)))
    |(?P<number>(?<![\w.`$#-])-?\d[\d_]*(?:\.\d+)?(?:e-?\d+)?(?![\w`%]|\.\d))
    |(?P<word>\b(?:None|True|False|NaN|inf)\b)""",
    re.VERBOSE | re.DOTALL,
)
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*(?:\*\*)?(?:step |attempt |case |test )?$", re.IGNORECASE)
_OF_COUNTS = re.compile(r"(?:off by|by|first|last|next|other|about|around|only|step|line|case|test|example|version|python|attempt|round)\s*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;:]\s|\n")

_EXPECTED = re.compile(
    r"\b(?:should|must|expect\w*|instead of|rather than|not|n't|needs?|has to|have to|ought|would|want\w*|supposed|require\w*|correct(?:ly)?"
    r"|right (?:result|value|answer|code)|but the (?:test|task|problem|statement)|asks? for|becomes?|replac\w+|chang\w+|wrote|write|use|using|add|adds|added)\b",
    re.IGNORECASE,
)
_HYPOTHETICAL = re.compile(r"\b(?:if|when|where|whenever|for|with|suppose|say|e\.g\.|such as|like|once|until|unless|while|than|least|most|to)\b", re.IGNORECASE)
_OUTPUT = re.compile(
    r"\b(?:returns?|returned|returning|gives?|gave|got|gets?|yields?|yielded|prints?|printed|produces?|produced|outputs?|outputted|shows?|showed"
    r"|raises?|raised|throws?|threw|evaluates?|evaluated|results? (?:is|was|in)|resulted|actual\w*|(?:output|result|answer|value) (?:is|was)"
    r"|ends? (?:up )?(?:with|as|at)|comes? (?:out|back)|came (?:out|back)|reports?|reported|stops? with|stopped with|fails? with|failed with"
    r"|computes?|computed|leaves?|left|it is|it was|is now|was now|still)\b",
    re.IGNORECASE,
)
_COPULA = re.compile(r"^[\s,]*(?:is|was|are|equals|=|==|->|→|becomes|became|ends up as|holds|contains|has the value)\s*$", re.IGNORECASE)
_OUTPUT_AFTER = re.compile(r"^[\s,]*(?:is|was|gets|got|comes|came|being)\s+(?:being )?(?:returned|printed|output|produced|raised|shown|back|the (?:actual )?(?:result|output))\b", re.IGNORECASE)
_EDGES = re.compile(r"\b(?:edge|corner|boundary|special|limit\w*|extreme) (?:case|input|value)s?\b|\bborder cases?\b", re.IGNORECASE)
_NOT_TESTED = re.compile(r"\b(?:miss\w*|forg\w+|not|n't|without|handle\w*|unhandled|treat\w*|wrong\w*|fall\w*|fail\w*)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """Something that a text states.

    Attributes:
        text: as it stands, without backticks.
        start: where it begins in the text.
        subject: of a binding the variable or call; `value` is then its value.
    """

    kind: ClaimKind
    text: str
    start: int
    role: Role = "none"
    subject: str = ""
    value: str = ""


def stated(text: str) -> list[Stated]:
    """Return what a text states, in its order."""
    found: list[Stated] = []
    last_end, last = 0, None
    for match in _PIECE.finditer(text):
        kind = match.lastgroup or ""
        before = text[last_end : match.start()]
        for piece in _pieces(match, kind, before, text):
            role = _role(piece, before, text[match.end() : match.end() + 40], last)
            found.append(_with_subject(Stated(piece.kind, piece.text, piece.start, role, piece.subject, piece.value), before, last))
            last = found[-1]
            last_end = match.end()
    return [*found, *_tests(text)]


def _pieces(match: re.Match[str], kind: str, before: str, text: str) -> Iterator[Stated]:
    start = match.start()
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
    elif kind == "string":
        if _is_value_string(match[0]):
            yield Stated("value", match[0], start)
    elif kind in ("bracket", "word"):
        if is_literal(match[0]):
            yield Stated("value", match[0], start)
    elif kind == "number":
        line = text[text.rfind("\n", 0, start) + 1 : start]
        is_item = _LIST_NUMBER.search(line) and re.match(r"[.):]\s", text[match.end() : match.end() + 2] + " ")
        if not is_item and not _OF_COUNTS.search(before) and not _counts_things(text[match.end() :]):
            yield Stated("value", match[0], start)


def _counts_things(after: str) -> bool:
    """Tell whether a noun follows a number: `3 tests`."""
    return re.match(r"(?:st|nd|rd|th)?[ -][a-z]{3,}", after) is not None and re.match(
        r" (?:is|was|but|and|instead|rather|not|for|when|where|because|which|although|however|with|from|while|since|the|are|has|should|must|would|does"
        r"|did|comes?|came|gets?|got|as|then|now|here)\b",
        after,
    ) is None


def _is_value_string(text: str) -> bool:
    """Tell whether quotation marks hold a value rather than words that are quoted."""
    inner = text[1:-1]
    return text.startswith('"') or not re.search(r"\w'\w|\s$|^\s", inner)


def _inline(text: str, start: int) -> Stated:
    """Return what code within a sentence states."""
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
    """Return the two sides of `x = 3`, `x == 3`, `f(1) == 3`, `f(1) → 3` if the right one is a literal."""
    parts = re.split(r"\s*(?:->|→|=>)\s*", text)
    if len(parts) == 2 and is_literal(parts[1]):
        return parts[0], parts[1]
    try:
        node = syntax.parse(text).body[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
        return None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        left, right = node.targets[0], node.value
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare) and [*map(type, node.value.ops)] == [ast.Eq]:
        left, right = node.value.left, node.value.comparators[0]
    else:
        return None
    value = ast.get_source_segment(text, right) or ""
    return (ast.get_source_segment(text, left) or "", value) if is_literal(value) else None


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(syntax.parse(text.strip(), "eval"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text in ("NaN", "nan", "inf", "set()")
    return True


def is_known_name(name: str) -> bool:
    """Tell whether a name is one of the language's own: of the built-ins, the keywords, and methods of built-in types."""
    parts = name.split(".")
    return all(part in _KNOWN or part in _METHODS for part in parts)


_METHODS = frozenset(name for kind in (str, list, dict, set, tuple, int, float, bytes) for name in dir(kind) if not name.startswith("_"))


def _role(piece: Stated, before: str, after: str, last: Stated | None) -> Role:
    """Tell what a value is said to be, by the words between it and what is stated before, and by those behind it."""
    if piece.kind not in ("value", "binding", "error"):
        return "none"
    sentence = _SENTENCE_END.split(before)[-1]
    if _OUTPUT_AFTER.match(after) and not _EXPECTED.search(sentence):
        return "output"
    expected, output = _last(_EXPECTED, sentence), _last(_OUTPUT, sentence)
    if expected >= 0:  # "returned, not" and "should return" alike
        return "expected" if not (output > expected and re.search(r"[,;]|\b(?:but|and|yet)\b", sentence[expected:output])) else "output"
    if output >= 0:
        return "output"
    is_subject = last is not None and (last.kind in ("code", "name") and not (last.kind == "name" and is_known_name(last.text)))
    if piece.kind == "value" and is_subject and _COPULA.match(before):
        return "output"
    if last is not None and last.kind in ("value", "error") and last.role != "none" and re.fullmatch(r"\s*(?:,|and|or|,? ?and then)\s*", before):
        return last.role
    return "none"


def _last(pattern: re.Pattern[str], text: str) -> int:
    return max((match.start() for match in pattern.finditer(text)), default=-1)


def _with_subject(piece: Stated, before: str, last: Stated | None) -> Stated:
    """Make a binding of a variable and the value that it is said to have: "`x` is `3`"."""
    if piece.kind != "value" or last is None or last.kind != "name" or piece.role != "output" or not _COPULA.match(before):
        return piece
    return Stated("binding", piece.text, piece.start, piece.role, last.text, piece.text)


def _tests(text: str) -> Iterator[Stated]:
    """Yield the claim that edge cases are tested, which openings make."""
    for match in _EDGES.finditer(text):
        begin = max((end.end() for end in _SENTENCE_END.finditer(text, 0, match.start())), default=0)
        end = _SENTENCE_END.search(text, match.end())
        sentence = text[begin : end.start() if end else len(text)]
        if re.search(r"\b(?:test\w*|assert\w*|check\w*|tried|try)\b", sentence, re.IGNORECASE) and not _NOT_TESTED.search(sentence):
            yield Stated("tests", match[0], match.start())
