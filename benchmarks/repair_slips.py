"""Slips of the benchmark bundled/repair. Training never sees them: they are kept apart from `builder.mutation.OPERATORS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import libcst as cst

from reflectioncoder.builder.mutation import Mutation, Program

_KEYWORDS = ("key", "reverse", "default", "start", "strict")
_TIGHTER = (cst.Multiply, cst.Divide, cst.FloorDivide, cst.Modulo, cst.Power, cst.LeftShift, cst.RightShift)


def dropped_term(program: Program) -> Iterator[Mutation]:
    """Leave out an operand: `a & b` for `(a & b) + 1`."""
    for node in program.nodes:
        if isinstance(node, cst.BinaryOperation):
            for kept in (node.left, node.right):
                if not isinstance(kept, (cst.Integer, cst.SimpleString)):
                    yield program.replace("dropped_term", node, kept, program.enclosing_expression(node))


def wrong_grouping(program: Program) -> Iterator[Mutation]:
    """Forget the parentheses around a sum: `a + b * c` for `(a + b) * c`."""
    for node in program.nodes:
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, _TIGHTER):
            for side in (node.left, node.right):
                if isinstance(side, cst.BinaryOperation) and side.lpar:
                    yield program.replace(
                        "wrong_grouping", side, side.with_changes(lpar=[], rpar=[]), program.enclosing_expression(node)
                    )


def dropped_filter(program: Program) -> Iterator[Mutation]:
    """Forget the `if` of a comprehension."""
    for node in program.nodes:
        if isinstance(node, cst.CompFor) and node.ifs:
            yield program.replace("dropped_filter", node, node.with_changes(ifs=node.ifs[:-1]), program.enclosing_expression(node))


def dropped_condition(program: Program) -> Iterator[Mutation]:
    """Check one of two conditions only."""
    for node in program.nodes:
        if isinstance(node, cst.BooleanOperation):
            for kept in (node.left, node.right):
                yield program.replace("dropped_condition", node, kept, program.enclosing_expression(node))


def dropped_bound(program: Program) -> Iterator[Mutation]:
    """Check one end of a range only: `x < b` for `a <= x < b`."""
    for node in program.nodes:
        if isinstance(node, cst.Comparison) and len(node.comparisons) == 2:
            first, second = node.comparisons
            yield program.replace("dropped_bound", node, node.with_changes(comparisons=[first]))
            yield program.replace("dropped_bound", node, node.with_changes(left=first.comparator, comparisons=[second]))


def dropped_branch(program: Program) -> Iterator[Mutation]:
    """Forget an `elif` or `else`."""
    for node in program.nodes:
        if isinstance(node, cst.If) and node.orelse is not None:
            after = node.orelse.orelse if isinstance(node.orelse, cst.If) else None
            yield program.replace("dropped_branch", node, node.with_changes(orelse=after))


def wrong_jump(program: Program) -> Iterator[Mutation]:
    """Leave a loop where its next round was meant, or the reverse."""
    for node in program.nodes:
        if isinstance(node, (cst.Break, cst.Continue)):
            other = cst.Continue() if isinstance(node, cst.Break) else cst.Break()
            yield program.replace("wrong_jump", node, other)


def exchanged_targets(program: Program) -> Iterator[Mutation]:
    """Take two values that come together in the wrong order: `for value, index in enumerate(...)`."""
    for node in program.nodes:
        if (
            isinstance(node, cst.Tuple)
            and len(node.elements) == 2
            and isinstance(program.parent.get(node), (cst.For, cst.CompFor, cst.AssignTarget))
        ):
            first, second = node.elements
            new = node.with_changes(elements=[first.with_changes(value=second.value), second.with_changes(value=first.value)])
            yield program.replace("exchanged_targets", node, new, program.enclosing_expression(node))


def one_after_the_other(program: Program) -> Iterator[Mutation]:
    """Assign one after the other what has to be assigned at once: `a = b; b = a + b`."""
    for node in program.nodes:
        if not isinstance(node, cst.Assign) or len(node.targets) != 1:
            continue
        targets, values = node.targets[0].target, node.value
        if isinstance(targets, cst.Tuple) and isinstance(values, cst.Tuple) and len(targets.elements) == len(values.elements) == 2:
            line = program.parent[node]
            if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1:
                pairs = zip(targets.elements, values.elements, strict=True)
                lines = [
                    cst.SimpleStatementLine([cst.Assign([cst.AssignTarget(t.value)], v.value)])
                    for t, v in pairs
                    if isinstance(t.value, cst.BaseAssignTargetExpression)
                ]
                yield _with_lines("one_after_the_other", program, line, lines)


def dropped_slice(program: Program) -> Iterator[Mutation]:
    """Take the whole where a part was meant."""
    for node in program.nodes:
        if isinstance(node, cst.Subscript) and any(isinstance(e.slice, cst.Slice) for e in node.slice):
            yield program.replace("dropped_slice", node, node.value, program.enclosing_expression(node))


def wrong_separator(program: Program) -> Iterator[Mutation]:
    """Join or split with another separator."""
    for node in program.nodes:
        if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
            continue
        function, args = node.func, node.args
        if function.attr.value == "join" and isinstance(function.value, cst.SimpleString):
            other = cst.SimpleString('" "' if function.value.raw_value == "" else '""')
            yield program.replace("wrong_separator", function.value, other, program.enclosing_expression(node))
        if function.attr.value in ("split", "rsplit") and len(args) == 1:
            yield program.replace("wrong_separator", node, node.with_changes(args=[]))


def shared_rows(program: Program) -> Iterator[Mutation]:
    """Make a table whose rows are one list: `[[0] * n] * m`."""
    for node in program.nodes:
        if isinstance(node, cst.ListComp) and isinstance(node.for_in.iter, cst.Call) and not node.for_in.ifs:
            call = node.for_in.iter
            is_range = isinstance(call.func, cst.Name) and call.func.value == "range" and len(call.args) == 1
            if is_range and isinstance(node.elt, (cst.BinaryOperation, cst.ListComp, cst.List)):
                new = cst.BinaryOperation(cst.List([cst.Element(node.elt)]), cst.Multiply(), call.args[0].value)
                yield program.replace("shared_rows", node, new)


def dropped_keyword(program: Program) -> Iterator[Mutation]:
    """Forget a keyword argument: `key=`, `reverse=`, `default=`."""
    for node in program.nodes:
        if isinstance(node, cst.Call):
            for number, arg in enumerate(node.args):
                if arg.keyword is not None and arg.keyword.value in _KEYWORDS and number == len(node.args) - 1:
                    args = [*node.args[:number]]
                    if args:
                        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                    yield program.replace("dropped_keyword", node, node.with_changes(args=args))


def wrong_fallback(program: Program) -> Iterator[Mutation]:
    """Give another fallback to `get`, `setdefault`, `sum` or `next`."""
    for node in program.nodes:
        if isinstance(node, cst.Call) and len(node.args) == 2:
            name = (
                node.func.attr.value
                if isinstance(node.func, cst.Attribute)
                else node.func.value
                if isinstance(node.func, cst.Name)
                else ""
            )
            fallback = node.args[1].value
            if name in ("get", "setdefault", "pop", "sum", "next", "reduce"):
                other: cst.BaseExpression = (
                    cst.Integer("1") if not isinstance(fallback, cst.Integer) or fallback.value == "0" else cst.Integer("0")
                )
                args = [node.args[0], node.args[1].with_changes(value=other)]
                yield program.replace("wrong_fallback", node, node.with_changes(args=args))


def lost_nesting(program: Program) -> Iterator[Mutation]:
    """Dedent the last statement of a loop's or branch's body."""
    for node in program.nodes:
        if isinstance(node, (cst.For, cst.While, cst.If)) and isinstance(node.body, cst.IndentedBlock) and len(node.body.body) > 1:
            last = node.body.body[-1]
            if getattr(node, "orelse", None) is None and not isinstance(program.parent.get(node), (cst.If, cst.Else)):
                shorter = node.with_changes(body=node.body.with_changes(body=node.body.body[:-1]))
                yield _with_lines("lost_nesting", program, node, [shorter, last])


def _with_lines(operator: str, program: Program, old: cst.CSTNode, lines: Sequence[cst.BaseStatement]) -> Mutation:
    """Return the mutation that puts several statements in the place of one."""
    module = program.module.deep_replace(old, cst.FlattenSentinel(lines))  # pyright: ignore[reportArgumentType]
    assert isinstance(module, cst.Module)
    return program.rewritten(operator, module.code, program.text(old), "\n".join(program.text(line) for line in lines))


SLIPS: dict[str, Callable[[Program], Iterator[Mutation]]] = {
    slip.__name__: slip
    for slip in (
        dropped_term, wrong_grouping, dropped_filter, dropped_condition, dropped_bound, dropped_branch, wrong_jump, exchanged_targets,
        one_after_the_other, dropped_slice, wrong_separator, shared_rows, dropped_keyword, wrong_fallback, lost_nesting,
    )
}  # fmt: skip
