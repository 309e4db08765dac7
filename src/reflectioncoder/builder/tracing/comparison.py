"""Finds where two runs diverge: the first statement at which an attempt behaves differently from its reference, and the variable.

Both runs are compared call by call and step by step (`walk`). Calls within a step are compared before the step's own effects.
Calls whose statements cannot be aligned are compared by the calls that both make and by their results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reflectioncoder.builder.tracing.alignment import Alignment, align
from reflectioncoder.builder.tracing.divergence import Divergence, Kind
from reflectioncoder.builder.tracing.frames import Call, Step, Trace, trace
from reflectioncoder.builder.tracing.statements import ProgramText, Statement
from reflectioncoder.builder.tracing.states import States
from reflectioncoder.builder.tracing.walk import Walk

_MAX_PATH = 20  # names in `call_path`
_MAX_DEPTH = 150  # of nested calls compared step by step; deeper calls are compared only by their results


def diverge(attempt: str, reference: str, test: str, before: str = "") -> Divergence | None:
    """Run both programs under the tracer and return where they diverge; None if no divergence is seen.

    Args:
        test: statements that call the program, such as the failing assertion; traced.
        before: statements that run first, such as the tests' setup and the passing tests; not traced.

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
    """Return where two traces diverge; None if they do not."""
    comparison = Comparison(ours, theirs, align(ours, theirs), attempt)
    for a, b in ((attempt.module, reference.module), (attempt.test, reference.test)):
        if a is not None and b is not None and (found := comparison.calls(a, b, ())):
            break
    else:
        found = comparison.printed
    return found and replace(found, ends=attempt.reason == "done")


class Comparison:
    """Compares two programs. `printed`: the first difference in their output, used if there is no other."""

    def __init__(self, ours: ProgramText, theirs: ProgramText, alignment: Alignment, attempt: Trace):
        self.ours, self.theirs, self.alignment = ours, theirs, alignment
        self.is_killed = attempt.reason == "killed"
        self.printed: Divergence | None = None
        self._attempt = attempt
        self._depth = 0

    def calls(self, a: Call, b: Call, path: tuple[str, ...]) -> Divergence | None:
        """Compare two calls of corresponding functions with equal arguments."""
        name = self.ours.name_of(a.function)
        path = (*path, name) if name and len(path) < _MAX_PATH else path
        if self._depth >= _MAX_DEPTH:
            return self.ends(a, b, self._last_place(a, b, path))
        self._depth += 1
        try:
            return self._from_outside(a, b, path) if a.function in self.alignment.opaque else Walk(self, a, b, path).compare()
        finally:
            self._depth -= 1

    def inside(self, a: Step, b: Step, path: tuple[str, ...], at: Callable[[], Divergence]) -> Divergence | None:
        """Compare the calls that two steps make, up to the first calls of different functions. `at`: returns the place of the steps."""
        for ours, theirs in zip(a.calls, b.calls, strict=False):
            if ours.function >= 0 and self.alignment.functions.get(ours.function) != theirs.function:
                return None
            if found := self._arguments(ours, theirs, at) or self.calls(ours, theirs, path):
                return found
        return None

    def _arguments(self, a: Call, b: Call, at: Callable[[], Divergence]) -> Divergence | None:
        states = States(a, b, self.alignment.names.get(a.function, {}))
        states.apply(Step(a.function, a.arguments))
        parameters = self.ours.parameters(a.function)
        others = {path.partition(".")[0] for path in a.arguments} - set(parameters)
        if found := states.difference(parameters, but=others):
            variable = f"{self.ours.name_of(a.function)}({found.path})"
            place = at()
            if place.line_attempt is None:  # called by the test: a default value differs
                place = self.place(Step(a.function), Step(b.function), (), a.arguments)
            return replace(place, kind="argument", variable=variable, value_attempt=found.ours, value_reference=found.theirs)
        return None

    def _from_outside(self, a: Call, b: Call, path: tuple[str, ...]) -> Divergence | None:
        """Compare two calls whose statements cannot be aligned: by the calls that both make, their yields, and their results."""
        others = [call for step in b.steps for call in step.calls]
        for ours in (call for step in a.steps for call in step.calls):
            function = self.alignment.functions.get(ours.function)
            same = next((call for call in others if call.function == function and call.arguments == ours.arguments), None)
            if same is not None:
                others.remove(same)
                if found := self.calls(ours, same, path):
                    return found
        yielded, expected = ([value for step in call.steps for value in step.yielded] for call in (a, b))
        at = self._last_place(a, b, path)
        for ours, theirs in zip(yielded, expected, strict=False):
            if ours != theirs:
                return replace(at, kind="yield", value_attempt=ours, value_reference=theirs)
        return self.ends(a, b, at)

    def ends(self, a: Call, b: Call, at: Divergence) -> Divergence | None:
        """Compare the results of two calls: returned values or exceptions."""
        if a.end == "cut":
            return replace(at, kind="endless") if self.is_killed and b.end != "cut" else None
        if b.end == "cut" or (a.end, a.value) == (b.end, b.value):
            return None
        if "leave" in (a.end, b.end):
            kind: Kind = "outcome" if a.function < 0 else "exception"
            ours, theirs = (call.value if call.end == "leave" else None for call in (a, b))
            return replace(at, kind=kind, value_attempt=ours, value_reference=theirs)
        return replace(at, kind="return", value_attempt=a.value, value_reference=b.value)

    def _last_place(self, a: Call, b: Call, path: tuple[str, ...]) -> Divergence:
        return self.place(a.steps[-1] if a.steps else None, b.steps[-1] if b.steps else None, path, a.arguments)

    def place(
        self,
        a: Step | None,
        b: Step | None,
        path: tuple[str, ...],
        state: dict[str, str],
        iteration: int = 0,
        last: Step | None = None,
    ) -> Divergence:
        """Return the place of two steps as a divergence to be completed; `last`: the attempt's preceding step."""
        ours = self.ours.statements.get(a.statement) if a else None
        theirs = self.theirs.statements.get(b.statement) if b else None
        before = self.ours.statements.get(last.statement) if last else None
        if before is None and theirs is not None:  # no step yet: the place is the start of the function
            back = {other: own for own, other in self.alignment.functions.items()}
            before = self.ours.statements.get(back.get(theirs.function, 0))
        place = ours or before
        return Divergence(
            "path",
            function=self.ours.name_of(ours.function) if ours else path[-1] if path else "",
            line_attempt=ours.line if ours else None,
            line_reference=theirs.line if theirs else None,
            statement=ours.written if ours else "",
            statement_reference=theirs.written if theirs else "",
            iteration=iteration,
            call_path=path,
            inputs=self._inputs(ours or theirs, place, state),
            line_before=before.line if before else None,
            visits=self._attempt.visits(place.number) if place else 0,
        )

    def _inputs(self, statement: Statement | None, place: Statement | None, state: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the values of the names that a statement reads and that the innermost loop around the place assigns."""
        names = list(statement.reads if statement else ())
        around = [self.ours.statements[number] for number in (place.parents if place else ())]
        names += next((item.targets for item in reversed(around) if item.is_loop), ())
        return tuple((name, state[name]) for name in dict.fromkeys(names) if name in state)
