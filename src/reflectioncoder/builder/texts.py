"""Checks a model's text between attempts: whether it explains the failure, and invents no output."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable

from reflectioncoder import syntax
from reflectioncoder.data.markdown import code_blocks, normalized
from reflectioncoder.data.python_source import parse

_MIN_WORDS = 2  # of a diagnosis, not counting words of apologies and announcements
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\d_]{2,}|\d+|[<>=!]=|[<>=%+]|\[\]|\{\}")  # one per CJK character


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE | re.MULTILINE)


_CLAUSE = _any(r"[.!?:;\n。！？：；]+(?:\s+|$)|\n+|[。！？：；]+|,\s+")
# Words of apologies and announcements, which say nothing about a failure.
_EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the this that these those it its i me my we our us you your he they them there here is are was were be been being am do
    does
    did done have has had having will would shall should can could may might must let lets ll ve re don not and or but so if then than
    as at by for from in into of on out over to up with about again also now just once more all any some both each very really
    truly deeply sincerely absolutely completely properly correctly actually indeed still yet too please below above following
    what which who how when where why because since while after before please yes no ok okay sure certainly course alright right got
    great understood hmm ah oh oops whoops well thing things way something anything everything nothing another different other new
    sorry apologize apologise apologies apology confusion inconvenience oversight mistake mistakes error errors issue issues bug bugs
    problem problems fault slip thank thanks pointing point feedback patience bad entschuldigung fehler hier ist der die das den für
    korrigierte désolé pour erreur voici le la code corrigé lo siento aquí está el código corregido
    code program function solution version implementation attempt answer response script test tests case cases assertion assertions one
    snippet approach fix fixes fixed fixing correct corrected correcting correction rewrite rewritten update updated updating revise
    revised change changed changes modify modified improve improved adjust adjusted debug debugging complete final full tested working
    works work worked run runs running python previous earlier second last initial original
    look looks looking seems seem appears realize realized realise think understand know notice noticed found find reconsider
    analyze analyse consider need needs want try trying tried make made making caused cause causes went going go gone get gets give
    provide provided passes pass passed passing fail fails failed failing failure incorrect incorrectly expected accordingly
    hope believe applied apply entire whole""",
    )
)
_SORRY = _any(r".{0,20}(?:抱歉|对不起|不好意思|申し訳|すみません|죄송|미안).{0,30}")

_MIN_PART = 8  # minimum length in characters of a partially quoted line
_OUTPUT_WORDS = frozenset(
    ("output", "console", "stdout", "stderr", "result", "results", "execution", "terminal", "traceback", "pytb", "pycon", "log")
)
_OUTPUT_LINE = _any(
    r"^[ \t>*_#-]*(?:(?:the|actual|program|interpreter|console|execution|test)(?:'s)?\s+)*"
    r"(?:output|prints?|stdout|result of running (?:it|this))\b[ \t]*(?:is|was|shows|says)?[ \t]*[:：][ \t*_]*\n?[ \t]*(?P<said>[^\n]+)"
)
_OUTPUT_HEADING = re.compile(
    r"[ \t>*_#-]*(?:(?:and|when|the|this|actual|program|interpreter|console|execution|test|running|it|i|code|gives?|get)(?:'s)?\s+)*"
    r"(?:outputs?|prints?|stdout|results?|gives|get|输出|结果)"
    r"(?:\s+(?:of|from|is|was|looks? like|the|this|it|code|program|tests?|running))*"
    r"[ \t*_]*[:：]?[ \t*_]*",
    re.IGNORECASE,
)
_UNNAMED = frozenset(("", "text", "txt", "plaintext", "bash", "shell"))
_EXAMPLE = _any(r"[ \t>*_#-]*(?:sample |example )?input\b")
_PRINTED = _any(
    r"Traceback \(most recent call last\)",
    r"^\w*(?:Error|Exception)\b(?::|$)",
    r"\ball (?:\w+ )?(?:tests?|assertions?|asserts|cases) (?:have )?(?:pass(?:ed)?|succeed(?:ed)?)\b",
    r"^Ran \d+ tests?\b",
)

_EARLIER = r"(?:first|second|third|previous|earlier|last|initial|prior|failed|original|old)"
_TEXT = r"(?:version|code|program|solution|attempt|try|draft|submission|implementation|function)"
_REFERS_BACK = _any(
    rf"\b(?:corrected|fixed|revised|improved|updated|correct) {_TEXT}\b(?! (?:of|number|string|value|point|word|call)s?\b)",
    r"^\W*(?:bug ?fix|fix|fixed|corrected|correction|changed|added|was|previously|bug)\s*(?:[:!.)]|->|=>|$)(?!\s*(?:none|number|i\b))",
    r"^\W*fix(?:es|ed)? (?:the |an? )?(?:[\w-]+ )?(?:bug|error|issue|mistake|problem|off-by-one|failing|failure)\b",
    r"^\W*(?:changed|corrected|fixed) (?:from|to|the|this|it|an?|by)\b",
    r"\bno longer (?:crash|fail|return|raise|miss|loop|throw)",
    rf"\b(?:my|our) {_EARLIER} {_TEXT}\b",
    rf"\b(?:unlike|contrary to|in contrast to|compared (?:to|with)|than in) (?:my|the|our) {_EARLIER}\b",
    rf"^\W*{_EARLIER} (?:try|attempt|draft|submission)\s*[:,-]",
    rf"\b(?:previous|earlier|original|old) {_TEXT} (?:was|were|had|did|used|failed|returned|missed|forgot|only)\b",
    r"\b(?:my|our) (?:earlier |previous |first )?(?:mistake|slip|bug|error|oversight)\b",
    r"\b(?:the |^\W*)(?:mistake|slip|bug) (?:was|is|in|from|of|here)\b",
    r"\b(?:before|earlier|previously|at first|initially|originally),? (?:i|we|it|this|the (?:code|program|function|loop|test))\b.{0,40}"
    r"\b(?:did|returned|failed|used|missed|forgot|was (?!empty|zero|none|\d))\b",
    r"\b(?:was|were) (?:wrong|missing|incorrect|too \w+) before\b|\bas before\b(?=\W*$)",
    r"\bthis time,? (?:i|we)\b",
    r"^\W*now (?:correctly |properly )?(?:handles|passes|works|returns|includes|checks|uses)\b|\bnow (?:correctly|properly) \w+s\b",
    r"\b(?:as|what) the (?:tests?|assertions?|interpreter|output) (?:showed?|said|told)\b",
    r"\b(?:failing|failed) (?:tests?|assertions?|cases?)\b",
    r"(?<!if )(?<!when )(?<!until )(?<!unless )\b(?:i|we) (?:forgot|fixed|corrected) (?:the|to|that|this|it|an?)\b",
)


def diagnoses(text: str) -> bool:
    """Tell whether a text has content besides apologies, thanks and "here is the corrected code"."""
    clauses = (clause.strip(" \t*_#>-,\"'") for clause in _CLAUSE.split(text))
    said = [word for clause in clauses if not _SORRY.fullmatch(clause) for word in _WORD.findall(clause.lower())]
    return sum(word not in _EMPTY_WORDS for word in said) >= _MIN_WORDS


def invents_output(answer: str, printed: Iterable[str], shown: str) -> str | None:
    """Return text that an answer presents as output although the interpreter never printed it; None if there is none.

    Args:
        printed: what the interpreter has printed so far.
        shown: the problem; its examples may be repeated.
    """
    known = _known_lines((*printed, shown))
    text = normalized(answer)
    lines = text.split("\n")
    for block in code_blocks(text, lambda content, word: None if word else parse(content) is not None):
        is_output = block.word in _OUTPUT_WORDS or (block.word in ("", "text", "bash") and _PRINTED.search(block.content) is not None)
        above = next((line for line in reversed(lines[: block.first_line]) if line.strip()), "")
        is_output = is_output or (
            block.word in _UNNAMED and (_OUTPUT_HEADING.fullmatch(above) is not None or block.content.lstrip().startswith(">>> "))
        )
        is_program = block.word == "" and not _OUTPUT_HEADING.fullmatch(above) and parse(block.content) is not None
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
    return bool(_PRINTED.search(text)) or syntax.is_literal(text)


def _known_lines(texts: Iterable[str]) -> frozenset[str]:
    """Return the lines of texts, and the part of each line after its last colon."""
    lines = [line for text in texts for line in normalized(text).split("\n")]
    return frozenset(_squeezed(part) for line in lines for part in (line, line.rpartition(": ")[2]))


def _is_known(text: str, known: frozenset[str]) -> bool:
    """Tell whether each line is a known line, or a long enough part of one."""
    lines = [_squeezed(line) for line in text.strip().split("\n")]
    return all(line in known or (len(line) >= _MIN_PART and any(line in other for other in known)) for line in lines)


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" :").casefold()


def repeats(code: str, earlier: str, assertions: Iterable[str], earlier_assertions: Iterable[str], programs: tuple[str, str]) -> bool:
    """Tell whether an attempt repeats an earlier one: the same code, or the same program with a superset of the tests.

    Args:
        programs: both programs without their tests.
    """
    if _meaning(code) == _meaning(earlier):
        return True
    return _meaning(programs[0]) == _meaning(programs[1]) and set(earlier_assertions) <= set(assertions)


def _meaning(code: str) -> str:
    """Return the code without comments, docstrings and layout; if it does not parse, without layout only."""
    tree = parse(code)
    if tree is None:
        return " ".join(code.split())
    try:
        tree = syntax.parse(ast.unparse(tree))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                del body[0]
        return ast.dump(tree)
    except (RecursionError, ValueError):  # ValueError: an integer exceeds the digit limit of int-to-str conversion
        return " ".join(code.split())


def refers_back(program: str) -> bool:
    """Tell whether a program, its comments or its docstrings refer to earlier attempts."""
    return any(_REFERS_BACK.search(text) for text in _remarks(program))


def _remarks(program: str) -> list[str]:
    """Return the comments, adjacent comment lines joined into one text, and the docstrings."""
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
