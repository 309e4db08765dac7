"""Finds invented outputs: values and exceptions that a text attributes to a run although nothing before it shows them.

A value counts as known if an execution shows it, even within another value, or if the request or an assertion contains it, unless that
assertion has just failed. Statements about the program in the present tense may also use its literals; reports of a run may not.
Statements about what may, should or will happen are not reports.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reflectioncoder import syntax
from reflectioncoder.builder.claims.checking import Claim, check_text
from reflectioncoder.builder.claims.evidence import Evidence, Tokens, output_lines, tokens_of
from reflectioncoder.data.python_source import parse
from reflectioncoder.data.samples import Block

_KINDS = ("value", "binding", "error")
_REPORT = re.compile(
    r"\b(?:returned|printed|gave|got|showed|shown|raised|threw|produced|yielded|outputted|reported|evaluated|computed|came|was|ended|failed"
    r"|interpreter|console|terminal|traceback|stdout|the output|ran|running|run)\b",
    re.IGNORECASE,
)
_NO_REPORT = re.compile(
    r"\b(?:will|would|should|shall|must|'ll|expect\w*|ought|supposed"
    r"|(?:problem|statement|task|docstring|example|assertion|test)s?\b.{0,20}\b(?:says?|demands?|wants?|states?|requires?|asks?))\b",
    re.IGNORECASE,
)
_CHANGED = re.compile(r"\b(?:now|after|once|with (?:this|that|the|it)|then|this way|so that|corrected|fixed|new)\b", re.IGNORECASE)
_POSSIBLE = re.compile(
    r"\b(?:if|when|whenever|unless|can|could|may|might|for an?|on an?|for empty|on empty|otherwise)\b", re.IGNORECASE
)
_PAST_ERROR = re.compile(r"\b(?:raised|threw|ended|stopped|failed|crashed|got|was|reported|showed|gave|printed)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;]\s|\n")
_SPEAKING = (ast.Return, ast.Yield, ast.Raise, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.FunctionDef, ast.IfExp)


def invented_output(problem: str, blocks: Iterable[Block]) -> str | None:
    """Return the first value that a text of an answer attributes to a run although nothing shows it; None if there is none."""
    return next((text for _, text in inventions(problem, blocks)), None)


def inventions(problem: str, blocks: Iterable[Block]) -> Iterator[tuple[int, str]]:
    """Yield all invented values with the indices of their blocks."""
    blocks = list(blocks)
    seen = _Seen(Evidence(problem))
    for number, block in enumerate(blocks):
        if block.type == "code":
            seen.evidence.code.append(block.content)
        elif block.type == "execution":
            seen.add_execution(block.content)
        else:
            following = next((later.content for later in blocks[number + 1 :] if later.type == "code"), "")
            for claim in check_text(block.content, seen.evidence, following):
                if seen.is_invented(claim, _sentence(block.content, claim.stated.start), following):
                    yield number, claim.stated.text


def _sentence(text: str, start: int) -> str:
    begin = max((match.end() for match in _SENTENCE_END.finditer(text, 0, start)), default=0)
    end = _SENTENCE_END.search(text, start)
    return text[begin : end.start() if end else len(text)]


@dataclass
class _Seen:
    """The evidence before a text. `failed`: the two sides of the assertions at which the last cell with assertions stopped."""

    evidence: Evidence
    failed: list[tuple[Tokens, Tokens]] = field(default_factory=list)

    def add_execution(self, output: str) -> None:
        self.evidence.add_execution(output)
        code = self.evidence.code[-1] if self.evidence.code else ""
        stopped = "AssertionError" in output
        if stopped or "assert " in code:
            echoed = [line for line, is_echo in output_lines(output) if is_echo]
            self.failed = [sides for line in echoed if (sides := _sides(line))] if stopped else []

    def is_invented(self, claim: Claim, sentence: str, following: str) -> bool:
        item = claim.stated
        if item.kind not in _KINDS or item.role != "output" or _NO_REPORT.search(sentence):
            return False
        if self._has_just_failed(item.subject, item.value or item.text) and not _CHANGED.search(sentence):
            return True
        if claim.status == "shown":
            return False
        if item.kind == "error":
            return self._is_invented_error(item.text, sentence)
        value = item.value or item.text
        if item.kind == "binding" and (labelled := self.evidence.labelled(item.subject)):  # must match a printed value
            return not any(rest[: len(tokens_of(value))] == tokens_of(value) for rest in labelled)
        programs = [*self.evidence.code, *([following] if following else [])]
        is_report = _REPORT.search(sentence) is not None and not _CHANGED.search(sentence)
        return not self._is_known(value, programs, is_report)

    def _is_invented_error(self, text: str, sentence: str) -> bool:
        name, _, message = text.partition(":")
        if _POSSIBLE.search(sentence) and not _PAST_ERROR.search(sentence):
            return False
        if message.strip(" ."):
            return not self.evidence.is_written(tokens_of(text.rstrip(".")))
        return not self.evidence.is_named(name)

    def _is_known(self, value: str, programs: list[str], is_report: bool) -> bool:
        part = tokens_of(value)
        if not part or self.evidence.is_value_printed(part) or ((len(part) > 1 or not is_report) and self.evidence.is_printed(part)):
            return True
        lines = [line for program in programs for line in _lines(program, is_report)]
        said = Evidence(printed=[*self.evidence.problem.split("\n"), *lines])
        if said.is_value_printed(part) or (len(part) > 1 and said.is_printed(part)):  # `[1, 2]` is weak evidence for `2`
            return True
        if _is_text_within(value, [*self.evidence.printed, *said.printed]):
            return True
        if value in ("True", "False"):
            return any(_speaks_of_truth(program) for program in programs)
        return value == "None" and any(_may_return_none(program) for program in programs)

    def _has_just_failed(self, subject: str, value: str) -> bool:
        """Tell whether the last cell failed at the assertion that the subject has this value."""
        return bool(subject) and (tokens_of(subject), tokens_of(value)) in self.failed


def _sides(line: str) -> tuple[Tokens, Tokens] | None:
    """Return the two sides of `assert call == value`."""
    tree = parse(line.strip())
    match tree and tree.body:
        case [ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]))]:
            return tokens_of(ast.unparse(left)), tokens_of(ast.unparse(right))
        case [ast.Assert(test=ast.Call() as call)]:
            return tokens_of(ast.unparse(call)), ("True",)
    return None


def _lines(program: str, is_report: bool) -> Iterator[str]:
    """Yield the parts of a program that a text may take values from: its assertions and, unless the text is a report, its outputs."""
    tree = parse(program)
    if tree is None:
        yield from program.split("\n")
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield from (ast.unparse(part) for part in _values(node.test))
        elif not is_report and isinstance(node, _SPEAKING):
            yield from map(ast.unparse, node.args.defaults if isinstance(node, ast.FunctionDef) else [node])
        elif not is_report and isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield from map(ast.unparse, node.args)


def _values(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the operands of an assertion, and the arguments of its calls."""
    for node in (test.left, *test.comparators) if isinstance(test, ast.Compare) else (test,):
        yield node
        for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
            yield from call.args


def _is_text_within(value: str, texts: list[str]) -> bool:
    found = syntax.literal_or(value, None)
    return isinstance(found, str) and bool(found.strip()) and any(found in text for text in texts)


def _speaks_of_truth(program: str) -> bool:
    """Tell whether a program asserts or returns a truth value, or contains a boolean literal."""
    tree = parse(program)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return True
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Call | ast.UnaryOp | ast.Name):
            return True
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Compare | ast.BoolOp | ast.UnaryOp):
            return True
    return False


def _may_return_none(program: str) -> bool:
    """Tell whether a function of a program can return None."""
    tree = parse(program)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)] if tree else []
    return any(_falls_through(node.body) or any(_is_bare(inner) for inner in ast.walk(node)) for node in functions)


def _is_bare(node: ast.AST) -> bool:
    return isinstance(node, ast.Return) and (node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None))


def _falls_through(body: list[ast.stmt]) -> bool:
    last = body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return False
    if isinstance(last, ast.If):
        return not last.orelse or _falls_through(last.body) or _falls_through(last.orelse)
    if isinstance(last, ast.With):
        return _falls_through(last.body)
    if isinstance(last, ast.Try):
        return any(_falls_through(part) for part in (last.body, *(handler.body for handler in last.handlers)))
    return not (isinstance(last, ast.While) and isinstance(last.test, ast.Constant) and last.test.value)
