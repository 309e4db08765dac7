"""Holds the evidence that a text may refer to: the interpreter's output so far, the code so far, and the problem.

Everything is compared as tokens, so that spacing and quote style are ignored. Program lines echoed in a traceback are code and show no
value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from reflectioncoder import syntax

_TOKEN = re.compile(
    r"""(?P<string>[rbfuRBFU]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>(?:(?<![\w)\]}])-)?(?:\d[\d_]*(?:\.(?!\s|\Z)\d*)?(?:[eE][+-]?\d+)?j?|\.\d+))
    |(?P<name>[^\W\d]\w*)
    |(?P<comment>\#[^\n]*)
    |(?P<operator>\.\.\.|\*\*=?|//=?|>>=?|<<=?|[-+*/%@&|^!=<>]=|->|:=|[^\w\s])""",
    re.VERBOSE | re.DOTALL,
)
_TRIPLE_QUOTES = re.compile(r"\"{3}|'{3}")
_TRACE_HEAD = re.compile(r'\s*(?:Traceback \(most recent call last\):|File ".*", line \d+.*|\[Previous line repeated .*\])$')
_ECHO = re.compile(r"    \S.*$")
_MARKS = re.compile(r"\s*[~^]+[\s~^]*$")
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Iteration|Exit|Warning|Group)\b(?::.*)?$")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")

Tokens = tuple[str, ...]


def tokens_of(text: str) -> Tokens:
    """Split code or prose into Python tokens. Strings are normalized to their repr, a minus sign with no term before it is part of its
    number, and a number's token excludes the full stop of its sentence.

    Comments are dropped, as is anything after `#` in prose.
    """
    return tuple(_normal(match) for match in _TOKEN.finditer(text) if match.lastgroup != "comment")


def _normal(match: re.Match[str]) -> str:
    text = match[0]
    if match["string"] and not text.lower().startswith(("f", "rf", "fr")):
        found = syntax.literal_or(text, None)
        return text if found is None else repr(found)
    return text


def contains(whole: Sequence[str], part: Sequence[str]) -> bool:
    """Tell whether a token sequence occurs contiguously in another."""
    return bool(part) and _joined(part) in _joined(whole)


def _joined(tokens: Sequence[str]) -> str:
    """Join tokens into one string in which a substring search matches only whole tokens: no token contains the separator."""
    return "\x1f".join(("", *tokens, ""))


@dataclass
class Evidence:
    """The parts of a sample before a text.

    Attributes:
        printed: lines of execution outputs, without the traceback lines in `echoed`.
        echoed: traceback lines that echo the program, and their locations.
        code: the programs.
        problem: the request.
    """

    problem: str = ""
    code: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    echoed: list[str] = field(default_factory=list)
    _tokens: dict[str, Tokens] = field(default_factory=dict)
    _searchable: dict[str, str] = field(default_factory=dict)

    def add_execution(self, output: str) -> None:
        for line, is_echo in output_lines(output):
            (self.echoed if is_echo else self.printed).append(line)

    def is_printed(self, part: Tokens) -> bool:
        return self._has(part, self.printed)

    def is_value_printed(self, part: Tokens, *, bare: bool = False) -> bool:
        """Tell whether a value is printed on its own, not within another value; `bare`: nor after a label, as in `x=3`."""
        return any(_is_whole_value(self._of(line), part, bare) for line in self._with(part, self.printed))

    def is_text_printed(self, text: str) -> bool:
        """Tell whether a string's characters are printed as separate words, or between separators."""
        if not text.strip():
            return text == "" and any(not line for line in self.printed)
        edges = (r"(?<!\w)", r"(?!\w)") if text[:1].isalnum() else (r"(?:^|[\s:=,])", r"(?:$|[\s,.])")
        pattern = re.compile(re.escape(text).join(edges))
        return any(pattern.search(line) for line in self.printed)

    def is_written(self, part: Tokens) -> bool:
        """Tell whether tokens occur in the code, in the problem, or in any output line."""
        in_words = _TRIPLE_QUOTES.sub("\n", self.problem)  # treats docstrings as prose, not as one string
        return self._has(part, (*self.code, self.problem, in_words, *self.printed, *self.echoed))

    def is_named(self, name: str) -> bool:
        """Tell whether a name occurs anywhere, also within a dotted name or a string."""
        pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        return any(pattern.search(text) for text in (*self.code, self.problem, *self.printed, *self.echoed))

    def labelled(self, name: str) -> list[Tokens]:
        """Return the tokens printed after a name: `x = 3`, `x: 3`, `x 3`."""
        label, found = tokens_of(name), []
        for line in self._with(label, self.printed):
            tokens = self._of(line)
            for at in range(len(tokens) - len(label)):
                if tokens[at : at + len(label)] == label and not (at and tokens[at - 1] == "."):
                    rest = tokens[at + len(label) :]
                    found.append(rest[1:] if rest[:1] in (("=",), (":",), ("==",), ("is",)) else rest)
        return [rest for rest in found if rest]

    def _has(self, part: Tokens, texts: Iterable[str]) -> bool:
        return next(self._with(part, texts), None) is not None

    def _with(self, part: Tokens, texts: Iterable[str]) -> Iterator[str]:
        """Yield the texts that contain a token sequence."""
        wanted = _joined(part)
        for text in texts if part else ():
            if text not in self._searchable:
                self._searchable[text] = _joined(self._of(text))
            if wanted in self._searchable[text]:
                yield text

    def _of(self, text: str) -> Tokens:
        if text not in self._tokens:
            self._tokens[text] = tokens_of(text)
        return self._tokens[text]


def output_lines(output: str) -> list[tuple[str, bool]]:
    """Return the lines of an output, each with whether it belongs to a traceback but is not its last line."""
    found: list[tuple[str, bool]] = []
    within = False
    for line in output.split("\n"):
        if _TRACE_HEAD.match(line):
            within = True
            found.append((line, True))
        elif within and (_ECHO.match(line) or _MARKS.match(line)):
            found.append((line, True))
        else:
            within = within and not _ERROR.match(line)
            found.append((line, False))
    return found


def _is_whole_value(tokens: Tokens, part: Tokens, bare: bool) -> bool:
    depth = 0
    for at, token in enumerate(tokens):
        if depth == 0 and tokens[at : at + len(part)] == part:
            after = tokens[at + len(part)] if at + len(part) < len(tokens) else ""
            before, label = (tokens[at - back] if at >= back else "" for back in (1, 2))
            is_labelled = before in ("=", ":") and label.isidentifier()
            if after not in ("(", "[", "=") and before not in ("+", "*", "/", "%", ".") and not (bare and is_labelled):
                return True
        depth += (token in _OPENING) - (token in _CLOSING)
    return False
