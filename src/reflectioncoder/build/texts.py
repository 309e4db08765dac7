"""Checks of what a model says between its attempts: does it explain, in the dialogue's language, and invent nothing?"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable

from reflectioncoder.data.markdown import code_blocks, normalized
from reflectioncoder.data.python_source import parse

_MIN_WORDS = 3  # of a diagnosis, besides apologies and announcements
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]{2,}|\d+")  # of Chinese each character


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.MULTILINE)


_CLAUSE = _any(r"[.!?:;\n。！？：；]+\s*", r",\s+(?=(?:here|let me|i will|i'll|and here)\b)", r"^\s*(?:sorry|oops|apologies),\s*")
_THING = r"(?:code|program|function|solution|version|implementation|attempt|answer|response|script|tests?|cases?|assertions?|one)"
_FAULT = r"(?:issues?|errors?|mistakes?|bugs?|problems?)"
_FILLER = _any(
    # apologies and thanks
    r"(?:(?:i|we)(?:'m| am| are)? )?(?:(?:so|very|really|truly|deeply|sincerely|do) )*"
    r"(?:sorry|apologi[sz]e|my apologies|apologies|my (?:mistake|bad|fault)|oops|whoops)\b(?:,? (?:for|about|on) .{0,80})?",
    r"(?:thank you|thanks)\b.{0,80}",
    r"(?:you're|you are) (?:absolutely |completely )?right.{0,40}",
    r".{0,20}(?:抱歉|对不起|不好意思|申し訳|すみません|죄송|미안).{0,30}",
    # announcements
    rf"(?:here(?:'s| is| are|)|this is|below is|see|find) (?:below )?(?:the |my |an? |your )?.{{0,60}}\b{_THING}\b.{{0,40}}",
    rf"(?:the )?(?:(?:corrected|fixed|updated|revised|complete|final|new|full|improved|tested|python|and) )+{_THING}.{{0,30}}",
    rf"(?:let me|let's|i will|i'll|i am going to|i(?:'ve| have)|we(?:'ll| will)) (?:now )?"
    rf"(?:try|fix|fixed|correct|corrected|rewrite|update|updated|revise|revised|change)"
    rf"(?: (?:it|that|this|again|once more|the (?:\w+ )?(?:{_THING}|{_FAULT})))*.{{0,20}}",
    r"(?:sure|certainly|of course|okay|ok|alright|right|got it|understood|i see|yes|absolutely|great)(?: thing)?",
)

_MIN_PART = 8  # characters of a line that may be quoted in part
_OUTPUT_WORDS = frozenset(("output", "console", "stdout", "stderr", "result", "results", "execution", "terminal", "traceback", "pytb"))
_OUTPUT_LINE = _any(
    r"^[ \t>*_#-]*(?:(?:the|actual|program|interpreter|console|execution|test)(?:'s)?\s+)*"
    r"(?:output|prints?|stdout|result of running (?:it|this))\b[ \t]*(?:is|was|shows|says)?[ \t]*[:：][ \t*_]*\n?[ \t]*(?P<said>[^\n]+)"
)
_EXAMPLE = _any(r"[ \t>*_#-]*(?:sample |example )?input\b")
_PRINTED = _any(r"Traceback \(most recent call last\)", r"^\w*(?:Error|Exception)\b(?::|$)", r"\ball (?:\w+ )?tests? pass(?:ed)?\b")

_REFERS_BACK = _any(
    r"\b(?:corrected|fixed|previous|earlier|updated|revised|improved|original) "
    r"(?:version|code|program|solution|attempt|implementation|function)\b",
    r"#\s*(?:fix|fixed|corrected|correction|bug)\b(?![- ](?:size|sized|length|width|point|number|cost|window|order|set|seed)s?\b)",
)
_EARLIER = r"(?:first|second|third|previous|earlier|last|initial|prior|failed|original|old)"
_REMARK_REFERS_BACK = _any(
    rf"\b{_EARLIER} (?:try|tries|attempts?|drafts?|submission)\b",
    rf"\b(?:unlike|contrary to|in contrast to|compared (?:to|with)) (?:my|the|our) {_EARLIER}\b",
    r"\b(?:my|our) (?:earlier |previous |first )?(?:mistake|slip|bug|error|oversight)\b",
    r"\bthe (?:mistake|slip|bug) (?:was|is|in|from|of)\b",
    r"\b(?:before|earlier|previously|at first|initially|originally),? (?:i|we|it|this|the (?:code|program|function|loop|test))\b.{0,40}"
    r"\b(?:was|were|did|returned|failed|used|missed|forgot)\b",
    r"\bthis time,? (?:i|we)\b",
    r"\bnow (?:correctly|properly|passes)\b",
    r"\b(?:as|what) the (?:tests?|assertions?|interpreter|output) (?:showed?|said|told)\b",
    r"\b(?:bug ?fix|corrected|fixed):",
    r"\b(?:i|we) (?:forgot|missed|fixed|corrected|changed)\b",
)


def diagnoses(text: str) -> bool:
    """Whether a text says anything besides apologies, thanks and "here is the corrected code"."""
    clauses = (clause.strip(" \t*_#>-,\"'") for clause in _CLAUSE.split(text))
    said = [word for clause in clauses if not _FILLER.fullmatch(clause) for word in _WORD.findall(clause)]
    return len(said) >= _MIN_WORDS


def invents_output(answer: str, printed: Iterable[str], shown: str) -> str | None:
    """What an answer gives as an output that no interpreter printed, if anything.

    Args:
        printed: what the interpreter has printed so far.
        shown: the problem; its examples may be repeated.
    """
    known = _known_lines((*printed, shown))
    text = normalized(answer)
    lines = text.split("\n")
    for block in code_blocks(text, lambda content, word: None if word else parse(content) is not None):
        is_output = block.word in _OUTPUT_WORDS or (block.word in ("", "text", "bash") and _PRINTED.search(block.content) is not None)
        is_program = block.word == "" and parse(block.content) is not None
        if block.kind == "fence" and is_output and not is_program and not _is_known(block.content, known):
            return block.content.strip()
        lines[block.first_line : block.end_line] = [""] * (block.end_line - block.first_line)
    prose = "\n".join(lines)
    for match in _OUTPUT_LINE.finditer(prose):
        above = prose[: match.start()].rstrip("\n").rsplit("\n", 1)[-1]
        is_example = _EXAMPLE.match(above) is not None
        said = match["said"].strip(" \t*_`")
        if not is_example and _looks_printed(said) and not _is_known(said, known):
            return said
    found = re.search(r"Traceback \(most recent call last\)", prose)
    return found[0] if found and not _is_known(found[0], known) else None


def _looks_printed(text: str) -> bool:
    if _PRINTED.search(text):
        return True
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _known_lines(texts: Iterable[str]) -> frozenset[str]:
    """The lines of texts, and what of them follows a colon."""
    lines = [line for text in texts for line in normalized(text).split("\n")]
    return frozenset(_squeezed(part) for line in lines for part in (line, line.rpartition(": ")[2]))


def _is_known(text: str, known: frozenset[str]) -> bool:
    """Whether each line is a known one, or a longer part of one."""
    lines = [_squeezed(line) for line in text.strip().split("\n")]
    return all(line in known or (len(line) >= _MIN_PART and any(line in other for other in known)) for line in lines)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def repeats(code: str, earlier: str, assertions: Iterable[str], earlier_assertions: Iterable[str], programs: tuple[str, str]) -> bool:
    """Whether an attempt is an earlier one again: the same code, or the same program under the same tests and more.

    Args:
        programs: both without their tests.
    """
    if _meaning(code) == _meaning(earlier):
        return True
    return _meaning(programs[0]) == _meaning(programs[1]) and set(earlier_assertions) <= set(assertions)


def _meaning(code: str) -> str:
    """The code without comments, docstrings and layout; only without layout where it does not parse."""
    tree = parse(code)
    if tree is None:
        return " ".join(code.split())
    try:
        tree = ast.parse(ast.unparse(tree))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                del body[0]
        return ast.dump(tree)
    except RecursionError:
        return " ".join(code.split())


def refers_back(program: str) -> bool:
    """Whether a program, its comments or its docstrings speak of earlier attempts."""
    return _REFERS_BACK.search(program) is not None or any(_REMARK_REFERS_BACK.search(text) for text in _remarks(program))


def _remarks(program: str) -> list[str]:
    """The comments, those of neighbouring lines as one text, and the docstrings."""
    remarks: list[str] = []
    last = -1
    try:
        for token in tokenize.generate_tokens(io.StringIO(program).readline):
            if token.type == tokenize.COMMENT:
                text = token.string.lstrip("# ")
                if token.start[0] == last + 1:
                    remarks[-1] += f" {text}"
                else:
                    remarks.append(text)
                last = token.start[0]
    except (tokenize.TokenError, SyntaxError):
        remarks.append("\n".join(re.findall(r"#.*", program)))
    tree = parse(program)
    nodes = ast.walk(tree) if tree is not None else ()
    documented = (node for node in nodes if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)))
    return remarks + [text for node in documented if (text := ast.get_docstring(node))]
