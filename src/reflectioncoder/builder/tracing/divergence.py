"""Finds where two runs part: the first statement at which an attempt does something else than its reference, and the variable.

Both runs are followed call by call and step by step. Steps of statements that stand in one program only are passed over; at the next
statement that both have, the variables must agree and the statement must be the same one. Calls within a step are compared before the
step's own effects. Variables that only one program has are never compared.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from reflectioncoder.builder.tracing.frames import Call, Step, Trace, trace
from reflectioncoder.builder.tracing.statements import Alignment, ProgramText, Statement, align

Kind = Literal["value", "argument", "branch", "rounds", "path", "return", "yield", "exception", "output", "endless", "syntax", "outcome"]
"""
value: a variable has another value after the statement; argument: a function is called with another one; branch: a condition comes out
differently; rounds: a `for` loop goes on in one of the runs only; path: another statement follows; return, yield: a function gives
another value; exception: one is raised, or another; output: something else is printed; endless: the attempt hangs in the statement;
syntax: the attempt is no program; outcome: the test alone tells the runs apart.
"""

_MAX_PATH = 20  # names in `call_path`


@dataclass(frozen=True)
class Divergence:
    """The place where an attempt parts from its reference.

    Attributes:
        function: the function of the attempt, `Class.method` of a method; "" at module level and in the test.
        line_attempt, line_reference: lines of the two sources; None where one has no such statement.
        statement, statement_reference: as they are written, on one line; of a compound statement the header.
        variable: the variable, `name.attribute` of an attribute; of a branch its condition.
        value_attempt, value_reference: as `repr` writes them, with `…` where something is left out; None: there is none.
        iteration: the round of the innermost loop around the statement (or that the statement is), from 1; 0 outside of loops.
        call_path: the functions from the test to the place.
        inputs: what the statement reads, by name, as it was in the attempt before it was executed.
    """

    kind: Kind
    function: str = ""
    line_attempt: int | None = None
    line_reference: int | None = None
    statement: str = ""
    statement_reference: str = ""
    variable: str = ""
    value_attempt: str | None = None
    value_reference: str | None = None
    iteration: int = 0
    call_path: tuple[str, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**vars(self)}


def diverge(attempt: str, reference: str, test: str, before: str = "") -> Divergence | None:
    """Run both programs under the tracer and return where they part, None if that is not seen.

    Args:
        test: statements that call the program, such as the failing assertion; traced.
        before: statements that run before it, such as what the tests need and the tests that passed; not traced.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    try:
        ours = ProgramText(attempt)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return Divergence("syntax", line_attempt=line, value_attempt=f"{type(error).__name__}: {getattr(error, 'msg', error)}")
    try:
        theirs = ProgramText(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return compare(ours, theirs, trace(attempt, test, before), trace(reference, test, before))


def compare(ours: ProgramText, theirs: ProgramText, attempt: Trace, reference: Trace) -> Divergence | None:
    """Return where two traces part, None if they do not."""
    comparison = _Comparison(ours, theirs, align(ours, theirs), attempt.reason)
    for a, b in ((attempt.module, reference.module), (attempt.test, reference.test)):
        if a is not None and b is not None and (found := comparison.calls(a, b, ())):
            return found
    return comparison.printed


class _Comparison:
    def __init__(self, ours: ProgramText, theirs: ProgramText, alignment: Alignment, reason: str):
        self.ours, self.theirs, self.alignment = ours, theirs, alignment
        self.is_killed = reason == "killed"
        self.printed: Divergence | None = None  # the first difference in what is printed: told if there is no other

    def calls(self, a: Call, b: Call, path: tuple[str, ...]) -> Divergence | None:
        """Compare two calls of functions that correspond, with equal arguments."""
        name = self.ours.name_of(a.function)
        path = (*path, name) if name and len(path) < _MAX_PATH else path
        if a.function in self.alignment.opaque:
            return self._from_outside(a, b, path)
        return _Walk(self, a, b, path).compare()

    def inside(self, a: Step, b: Step, path: tuple[str, ...], at: Divergence) -> Divergence | None:
        """Compare the calls that two steps make, as far as they are calls of the same functions."""
        for ours, theirs in zip(a.calls, b.calls, strict=False):
            if ours.function >= 0 and self.alignment.functions.get(ours.function) != theirs.function:
                return None
            if found := self._arguments(ours, theirs, at) or self.calls(ours, theirs, path):
                return found
        return None

    def _arguments(self, a: Call, b: Call, at: Divergence) -> Divergence | None:
        names = self.alignment.names.get(a.function, {})
        for name in self.ours.parameters(a.function):
            other = names.get(name, name)
            for ours, theirs in _both(a.arguments, b.arguments, name, other):
                value, expected = a.arguments[ours], b.arguments[theirs]
                if value != expected:
                    return replace(
                        at, kind="argument", variable=f"{self.ours.name_of(a.function)}({ours})", value_attempt=value, value_reference=expected
                    )
        return None

    def _from_outside(self, a: Call, b: Call, path: tuple[str, ...]) -> Divergence | None:
        """Compare two calls whose statements cannot be aligned: by the calls that both make, then by how they end."""
        others = [call for step in b.steps for call in step.calls]
        for ours in (call for step in a.steps for call in step.calls):
            function = self.alignment.functions.get(ours.function)
            same = next((call for call in others if call.function == function and call.arguments == ours.arguments), None)
            if same is not None:
                others.remove(same)
                if found := self.calls(ours, same, path):
                    return found
        yielded, expected = ([value for step in call.steps for value in step.yielded] for call in (a, b))
        at = self.place(a.steps[-1:], b.steps[-1:], path, a.arguments)
        for ours, theirs in zip(yielded, expected, strict=False):
            if ours != theirs:
                return replace(at, kind="yield", value_attempt=ours, value_reference=theirs)
        return self.ends(a, b, at)

    def ends(self, a: Call, b: Call, at: Divergence) -> Divergence | None:
        """Compare how two calls end."""
        if a.end == "cut":
            return replace(at, kind="endless") if self.is_killed and b.end != "cut" else None
        if b.end == "cut" or (a.end, a.value) == (b.end, b.value):
            return None
        if "leave" in (a.end, b.end):
            kind: Kind = "outcome" if a.function < 0 else "exception"
            ours, theirs = (call.value if call.end == "leave" else None for call in (a, b))
            return replace(at, kind=kind, value_attempt=ours, value_reference=theirs)
        return replace(at, kind="return", value_attempt=a.value, value_reference=b.value)

    def place(self, a: list[Step], b: list[Step], path: tuple[str, ...], state: dict[str, str], iteration: int = 0) -> Divergence:
        """Return the place of two steps, each at the end of its list, as a divergence that says nothing yet."""
        ours = self.ours.statements.get(a[-1].statement) if a else None
        theirs = self.theirs.statements.get(b[-1].statement) if b else None
        return Divergence(
            "path",
            function=self.ours.name_of(ours.function) if ours else path[-1] if path else "",
            line_attempt=ours.line if ours else None,
            line_reference=theirs.line if theirs else None,
            statement=ours.written if ours else "",
            statement_reference=theirs.written if theirs else "",
            iteration=iteration,
            call_path=path,
            inputs=_inputs(ours or theirs, state),
        )


def _inputs(statement: Statement | None, state: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, state[name]) for name in statement.reads if name in state) if statement else ()


def _both(a: dict[str, str], b: dict[str, str], name: str, other: str) -> Iterator[tuple[str, str]]:
    """Yield the paths of a variable and its attributes that both have, in each program's names."""
    for path in a:
        root, dot, rest = path.partition(".")
        there = f"{other}{dot}{rest}"
        if root == name and there in b:
            yield path, there


class _Walk:
    """Follows two calls, step by step."""

    def __init__(self, comparison: _Comparison, a: Call, b: Call, path: tuple[str, ...]):
        self._whole, self._a, self._b, self._path = comparison, a, b, path
        self._alignment = comparison.alignment
        self._partners = frozenset(self._alignment.partner.values())
        self._names = self._alignment.names.get(a.function, {})
        self._state, self._state_there = dict(a.arguments), dict(b.arguments)
        self._before = dict(self._state)  # what the attempt had before its last step
        self._dirty: list[str] = []  # of the attempt's names, in the order of their changes
        self._rounds: Counter[int] = Counter()
        self._last: Step | None = None  # the attempt's last step, passed over or not
        self._at = 0, 0
        self._skipped: tuple[list[Step], list[Step]] = ([], [])
        self._pair: tuple[Step, Step] | None = None

    def compare(self) -> Divergence | None:
        while True:
            self._pass_over()
            i, j = self._at
            a, b = (steps[at] if at < len(steps) else None for steps, at in ((self._a.steps, i), (self._b.steps, j)))
            if a is None and self._a.end == "cut":
                return self._cut(b)
            if b is None and self._b.end == "cut":
                return None
            if found := self._parting(a, b) or self._difference():
                return found
            if a is None or b is None:
                return self._whole.ends(self._a, self._b, self._end_place())
            self._skipped = ([], [])
            if found := self._step(a, b):
                return found
            self._at = i + 1, j + 1

    def _cut(self, b: Step | None) -> Divergence | None:
        return replace(self._end_place(), kind="endless") if self._whole.is_killed and b is not None and self._pair else None

    def _pass_over(self) -> None:
        """Take the effects of steps whose statements only one of the programs has."""
        i, j = self._at
        while i < len(self._a.steps) and self._a.function >= 0 and self._a.steps[i].statement not in self._alignment.partner:
            self._skipped[0].append(self._a.steps[i])
            self._apply(self._a.steps[i])
            i += 1
        while j < len(self._b.steps) and self._b.function >= 0 and self._b.steps[j].statement not in self._partners:
            self._skipped[1].append(self._b.steps[j])
            self._apply_there(self._b.steps[j])
            j += 1
        self._at = i, j

    def _apply(self, step: Step) -> None:
        self._before = dict(self._state)
        self._count(step)
        self._state.update(step.changes)
        self._dirty += step.changes
        for path in step.gone:
            self._state.pop(path, None)

    def _apply_there(self, step: Step) -> None:
        self._state_there.update(step.changes)
        back = {other: name for name, other in self._names.items()}
        for path in step.changes:
            root, dot, rest = path.partition(".")
            self._dirty.append(f"{back.get(root, root)}{dot}{rest}")
        for path in step.gone:
            self._state_there.pop(path, None)

    def _count(self, step: Step) -> None:
        """Count the rounds of loops: a loop that is reached from outside begins anew."""
        statement = self._whole.ours.statements.get(step.statement)
        if statement is not None and statement.is_loop:
            last = self._whole.ours.statements.get(self._last.statement) if self._last else None
            within = last is not None and statement.number in (*last.parents, last.number)
            self._rounds[statement.number] = self._rounds[statement.number] + 1 if within else 1
        self._last = step

    def _iteration(self, step: Step | None) -> int:
        statement = self._whole.ours.statements.get(step.statement) if step else None
        if statement is None:
            return 0
        loops = [number for number in (*statement.parents, statement.number) if self._whole.ours.statements[number].is_loop]
        return self._rounds[loops[-1]] if loops else 0

    def _step(self, a: Step, b: Step) -> Divergence | None:
        """Compare what two executions of the same statement, or of one in the other's place, do."""
        self._pair = (a, b)
        before = dict(self._state)
        self._apply(a)
        self._apply_there(b)
        at = self._whole.place([a], [b], self._path, before, self._iteration(a))
        if found := self._whole.inside(a, b, self._path, at):
            return found
        for ours, theirs in zip(a.yielded, b.yielded, strict=False):
            if ours != theirs:
                return replace(at, kind="yield", value_attempt=ours, value_reference=theirs)
        if a.error != b.error and self._a.function >= 0:
            return replace(at, kind="exception", value_attempt=a.error or None, value_reference=b.error or None)
        if a.printed != b.printed and self._whole.printed is None:
            self._whole.printed = replace(at, kind="output", value_attempt=a.printed, value_reference=b.printed)
        return None

    def _difference(self) -> Divergence | None:
        """Return the first variable whose values differ, once both runs have come to the same place."""
        dirty, self._dirty = dict.fromkeys(self._dirty), []
        step = self._skipped[0][-1] if self._skipped[0] else None if self._skipped[1] else self._pair[0] if self._pair else None
        statement = self._whole.ours.statements.get(step.statement) if step else None
        targets = statement.targets if statement else ()
        for path in sorted(dirty, key=lambda path: (root := path.partition(".")[0]) not in targets or targets.index(root)):
            root, dot, rest = path.partition(".")
            there = f"{self._names.get(root, root)}{dot}{rest}"
            ours, theirs = self._state.get(path), self._state_there.get(there)
            if ours is not None and theirs is not None and ours != theirs:
                return replace(self._change_place(path, there), kind="value", variable=path, value_attempt=ours, value_reference=theirs)
        return None

    def _change_place(self, path: str, there: str) -> Divergence:
        """Return the place where a variable got its values: a statement that is only in one program, else the last pair."""
        extra = [step for step in self._skipped[0] if path in step.changes]
        missing = [step for step in self._skipped[1] if there in step.changes]
        a, b = self._pair or (None, None)
        if not (extra or missing):
            return self._whole.place([a] if a else [], [b] if b else [], self._path, self._before, self._iteration(a))
        return self._whole.place(extra, missing, self._path, self._before, self._iteration(extra[-1] if extra else self._last))

    def _parting(self, a: Step | None, b: Step | None) -> Divergence | None:
        """Return where the runs part if different statements follow."""
        if (a is None and b is None) or (a is not None and b is not None and self._are_partners(a, b)):
            return None
        if self._skipped[1] and not self._skipped[0]:
            return self._missing(self._skipped[1][0])
        last = self._skipped[0][0] if self._skipped[0] else None
        if last is None and self._pair is not None and self._pair[0].error:
            return self._whole.ends(self._a, self._b, self._end_place())  # it is told where the exception was raised
        ours, theirs = last or (self._pair[0] if self._pair else None), None if last else self._pair[1] if self._pair else None
        statement = self._whole.ours.statements.get(ours.statement) if ours else None
        if statement is not None and isinstance(statement.node, ast.For | ast.If | ast.While) and ours is not None:
            taken = self._goes_inside(statement, ours)
            if not isinstance(statement.node, ast.For) or not (found := self._changed_otherwise(statement)):
                return self._branch(statement, ours, theirs, taken)
            return found
        if found := self._difference():
            return found
        return self._path_place(a, b)

    def _changed_otherwise(self, statement: Statement) -> Divergence | None:
        """Return a difference that a `for` loop that goes on in one run only does not explain: none in what it assigns."""
        self._dirty = [path for path in self._dirty if path.partition(".")[0] not in statement.targets]
        return self._difference()

    def _are_partners(self, a: Step, b: Step) -> bool:
        return a.statement == b.statement if self._a.function < 0 else self._alignment.partner.get(a.statement) == b.statement

    def _goes_inside(self, statement: Statement, step: Step) -> bool:
        """Tell whether the attempt goes on inside a compound statement: into its body, not its `else`."""
        steps = self._a.steps
        at = next(number for number, other in enumerate(steps) if other is step)
        return at + 1 < len(steps) and _is_in_body(self._whole.ours, statement, steps[at + 1])

    def _branch(self, statement: Statement, ours: Step, theirs: Step | None, taken: bool) -> Divergence:
        at = self._whole.place([ours], [theirs] if theirs else [], self._path, self._before, self._iteration(ours))
        node = statement.node
        if isinstance(node, ast.For):
            target = ast.unparse(node.target)
            if not isinstance(node.target, ast.Name):
                target = ""
            own, other = self._state.get(target), self._state_there.get(self._names.get(target, target))
            values = (own if taken else None, other if not taken else None)
            return replace(at, kind="rounds", variable=self._whole.ours.expression(node.target), value_attempt=values[0], value_reference=values[1])
        assert isinstance(node, ast.If | ast.While)
        expected = str(not taken) if theirs else None
        return replace(at, kind="branch", variable=self._whole.ours.expression(node.test), value_attempt=str(taken), value_reference=expected)

    def _missing(self, step: Step) -> Divergence:
        """Return the place of a statement of the reference that the attempt lacks, and that leads it elsewhere."""
        at = self._whole.place([], [step], self._path, self._state, self._iteration(self._last))
        statement = self._whole.theirs.statements[step.statement]
        if isinstance(statement.node, ast.If | ast.While):
            inside = len(self._skipped[1]) > 1 and _is_in_body(self._whole.theirs, statement, self._skipped[1][1])
            inside = inside or (len(self._skipped[1]) == 1 and self._next_is_inside(statement))
            return replace(at, kind="branch", variable=self._whole.theirs.expression(statement.node.test), value_reference=str(inside))
        return at

    def _next_is_inside(self, statement: Statement) -> bool:
        _, j = self._at
        return j < len(self._b.steps) and _is_in_body(self._whole.theirs, statement, self._b.steps[j])

    def _path_place(self, a: Step | None, b: Step | None) -> Divergence:
        """Return the place where different statements follow, though nothing before them differs."""
        if self._pair and self._pair[0].statement in self._alignment.changed:  # the changed statement ends the call in one program
            ours, theirs = self._pair
            at = self._whole.place([ours], [theirs], self._path, self._before, self._iteration(ours))
        else:
            at = self._whole.place([a] if a else [], [b] if b else [], self._path, self._state, self._iteration(self._last))
        if a is None or b is None:
            ends = (self._a.value if a is None else None, self._b.value if b is None else None)
            return replace(at, kind="path", value_attempt=ends[0], value_reference=ends[1])
        return at

    def _end_place(self) -> Divergence:
        a, b = self._pair or (None, None)
        a, b = (self._skipped[0] or [a])[-1], (self._skipped[1] or [b])[-1]
        return self._whole.place([a] if a else [], [b] if b else [], self._path, self._before, self._iteration(a))


def _is_in_body(text: ProgramText, statement: Statement, step: Step) -> bool:
    node = text.statements[step.statement]
    body = {text.numbers[id(child)] for child in getattr(statement.node, "body", [])}
    return bool(body & {*node.parents, node.number})
