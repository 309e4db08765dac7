"""Checks what the texts of a reflection sequence state against what precedes them.

A claim is *shown* if an earlier execution shows it, *written* if the code or the problem contains it, else *unsupported*. A value
presented as a program's output must be shown. Code that a text announces may be in the next code block.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, get_args

from reflectioncoder import syntax
from reflectioncoder.builder.claims.evidence import Evidence, Tokens, tokens_of
from reflectioncoder.builder.claims.extraction import ROLES, Role, Stated, is_known_name, stated
from reflectioncoder.data.python_source import parse
from reflectioncoder.data.samples import Block, Sample

Status = Literal["shown", "written", "unsupported"]
STATUSES: tuple[Status, ...] = get_args(Status)
_VALUES = ("value", "binding", "error")  # kinds of claims about a program's output
_ELISION = ("…", "...")
_SMALL = (0, 1, 2)  # constants allowed as an index or step


@dataclass(frozen=True)
class Claim:
    """A statement of a text, with its support.

    Attributes:
        block: index of the text block in its message.
    """

    stated: Stated
    status: Status
    block: int = 0

    @property
    def is_invented_output(self) -> bool:
        """Tell whether the claim presents a value as output although no execution shows it."""
        return self.stated.role == "output" and self.status != "shown"

    @property
    def missing(self) -> str:
        """Explain why the claim is unsupported."""
        if self.stated.kind == "tests":
            return "the program that follows asserts nothing about an edge case"
        if self.is_invented_output:
            return "it is said to be an output, and no execution before it shows it"
        return "it stands neither in the problem, nor in a program, nor in an output before it"


def check_sample(sample: Sample) -> list[Claim]:
    """Return the claims of all texts of a sample's reflection sequence."""
    if len(sample.messages) < 2:
        return []
    return check_blocks(sample.messages[0].text, sample.messages[1].content)


def check_blocks(problem: str, blocks: Iterable[Block]) -> list[Claim]:
    """Return the claims of all text blocks of an answer."""
    blocks = list(blocks)
    evidence = Evidence(problem)
    claims: list[Claim] = []
    for number, block in enumerate(blocks):
        if block.type == "text":
            following = next((later.content for later in blocks[number + 1 :] if later.type == "code"), "")
            claims += [Claim(item.stated, item.status, number) for item in check_text(block.content, evidence, following)]
        elif block.type == "code":
            evidence.code.append(block.content)
        else:
            evidence.add_execution(block.content)
    return claims


def check_text(text: str, evidence: Evidence, following: str = "") -> list[Claim]:
    """Return the claims of one text.

    Args:
        following: the code block that the text announces.
    """
    after = Evidence(code=[following]) if following else Evidence()
    return [Claim(item, _status(item, evidence, after, following)) for item in stated(text)]


def _status(item: Stated, evidence: Evidence, after: Evidence, following: str) -> Status:
    if item.kind == "tests":
        return "written" if tests_edge_cases(following) else "unsupported"
    if item.kind == "name":
        return _name(item.text, evidence, after)
    if item.kind == "error":
        return _error(item, evidence, after)
    if item.kind == "binding":
        return _binding(item, evidence, after)
    if item.kind == "value":
        return _value(item, evidence, after)
    return _code(item.text, evidence, after)


def _name(name: str, evidence: Evidence, after: Evidence) -> Status:
    if any(_has_name(line, name) for line in evidence.printed):
        return "shown"
    return "written" if evidence.is_named(name) or after.is_named(name) or is_known_name(name) else "unsupported"


def _has_name(line: str, name: str) -> bool:
    return name in tokens_of(line)


def _error(item: Stated, evidence: Evidence, after: Evidence) -> Status:
    if evidence.is_printed(tokens_of(item.text.rstrip("."))):
        return "shown"
    if item.role == "output":
        return "unsupported"
    name = item.text.partition(":")[0]
    return "written" if name == item.text and (evidence.is_named(name) or after.is_named(name)) else "unsupported"


def _value(item: Stated, evidence: Evidence, after: Evidence) -> Status:
    part = tokens_of(item.text)
    text = _string(item.text)
    if evidence.is_value_printed(part, bare="(" in item.subject) or (text is not None and evidence.is_text_printed(text)):
        return "shown"
    if item.role == "output":
        return "unsupported"
    if evidence.is_written(part) or after.is_written(part):
        return "written"
    texts = (evidence.problem, " ".join(evidence.problem.split()), *evidence.code, *evidence.printed)  # a sentence may span lines
    quoted = text is not None and text.strip() and any(text in other for other in texts)
    return "written" if quoted else "unsupported"


def _string(text: str) -> str | None:
    found = syntax.literal_or(text, None)
    return found if isinstance(found, str) else None


def _binding(item: Stated, evidence: Evidence, after: Evidence) -> Status:
    value = tokens_of(item.value)
    labelled = evidence.labelled(item.subject)
    if any(rest[: len(value)] == value for rest in labelled):
        return "shown"
    if not labelled and evidence.is_value_printed(value, bare=True):
        return "shown"
    if item.role == "output":
        return "unsupported"
    if _code(item.text, evidence, after) != "unsupported":
        return "written"
    is_of_name = item.role == "none" and item.subject.isidentifier() and not labelled
    return "written" if is_of_name and evidence.is_named(item.subject) and evidence.is_written(value) else "unsupported"


def _code(text: str, evidence: Evidence, after: Evidence) -> Status:
    """Return the status of code; all parts of elided code must be supported."""
    parts: list[Tokens] = []
    for is_mark, tokens in groupby(tokens_of(text), key=_ELISION.__contains__):
        parts += [] if is_mark else [tuple(tokens)]
    if parts and all(evidence.is_printed(part) for part in parts):
        return "shown"
    if all(evidence.is_written(part) or after.is_written(part) or len(part) == 1 for part in parts):
        return "written"
    return "written" if len(parts) == 1 and _is_of_known_parts(text, evidence, after) else "unsupported"


def _is_of_known_parts(text: str, evidence: Evidence, after: Evidence) -> bool:
    """Tell whether an expression uses only known names and values, such as `xs[0]`; calls of own functions need a variable."""
    tree = parse(text)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Name) and not (is_known_name(node.id) or evidence.is_named(node.id) or after.is_named(node.id)):
            return False
        if isinstance(node, ast.Constant) and node.value not in _SMALL:
            part = tokens_of(repr(node.value))
            forms = (part, (f"-{part[0]}",)) if len(part) == 1 and type(node.value) in (int, float) else (part,)
            if not any(evidence.is_written(form) or after.is_written(form) for form in forms):
                return False
    own = [node for node in nodes if isinstance(node, ast.Call) and not is_known_name(_last_name(node.func))]
    return all(any(isinstance(inner, ast.Name) for argument in call.args for inner in ast.walk(argument)) for call in own)


def _last_name(callee: ast.expr) -> str:
    """Return the last name of a callee; "" if it has none."""
    return callee.id if isinstance(callee, ast.Name) else callee.attr if isinstance(callee, ast.Attribute) else ""


def tests_edge_cases(code: str) -> bool:
    """Tell whether an assertion of a cell passes an edge case to a call: None, zero, a negative number, or at most one item."""
    tree = parse(code)
    asserted = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)] if tree is not None else []
    calls = [node for test in asserted for node in ast.walk(test) if isinstance(node, ast.Call)]
    return any(_is_edge(argument) for call in calls for argument in (*call.args, *(item.value for item in call.keywords)))


def _is_edge(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=None | bool()):
            return node.value is None
        case ast.Constant(value=int() | float() as number):
            return number == 0
        case ast.Constant(value=str() | bytes() as text):
            return len(text) <= 1
        case ast.List() | ast.Tuple() | ast.Set():
            return len(node.elts) <= 1
        case ast.Dict():
            return not node.keys
        case ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Call(func=ast.Name(id="set" | "dict" | "list" | "tuple" | "frozenset")):
            return not node.args
    return False


@dataclass
class ClaimCounts:
    """Counts the claims of samples by status, and those about values also by role."""

    num_samples: int = 0
    num_supported_samples: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    values: Counter[tuple[Role, Status]] = field(default_factory=Counter)

    def add(self, claims: list[Claim]) -> None:
        self.num_samples += 1
        self.num_supported_samples += all(claim.status != "unsupported" for claim in claims)
        self.statuses.update(claim.status for claim in claims)
        self.values.update((claim.stated.role, claim.status) for claim in claims if claim.stated.kind in _VALUES)

    def to_json(self) -> dict[str, Any]:
        num_values = self.values.total()
        num_shown = sum(self.values[role, "shown"] for role in ROLES)
        return {
            "num_samples": self.num_samples,
            "num_supported_samples": self.num_supported_samples,
            "num_claims": self.statuses.total(),
            "num_shown": self.statuses["shown"],
            "num_written": self.statuses["written"],
            "num_unsupported": self.statuses["unsupported"],
            "share_of_values_shown": round(num_shown / num_values, 3) if num_values else None,
            "values": {role: self._of_role(role) for role in ROLES},
        }

    def _of_role(self, role: Role) -> dict[str, int]:
        shown, written, unsupported = (self.values[role, status] for status in STATUSES)
        return {"num": shown + written + unsupported, "num_shown": shown, "num_unsupported": unsupported}


def count_claims(samples: Iterable[Sample]) -> ClaimCounts:
    counts = ClaimCounts()
    for sample in samples:
        counts.add(check_sample(sample))
    return counts
