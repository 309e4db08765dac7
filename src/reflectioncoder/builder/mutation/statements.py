"""Makes slips in statements: something is left out, misplaced, or a syntax error."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import libcst as cst

from reflectioncoder.builder.mutation.program import Mutation, Program


def _only_small(line: cst.CSTNode) -> cst.BaseSmallStatement | None:
    """Return the only small statement of a line; None for other statements."""
    if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1:
        return line.body[0]
    return None


def _blocks(program: Program) -> Iterator[tuple[cst.IndentedBlock, Sequence[cst.BaseStatement]]]:
    for node in program.nodes:
        if isinstance(node, cst.IndentedBlock):
            yield node, node.body


def wrong_initial_value(program: Program) -> Iterator[Mutation]:
    """Start a counter or accumulator with the wrong value."""
    for node in program.nodes:
        line = program.parent.get(node)
        if not isinstance(node, cst.Assign) or not isinstance(node.targets[0].target, cst.Name):
            continue
        in_function_body = line is not None and isinstance(program.parent.get(program.parent[line]), cst.FunctionDef)
        if not in_function_body:
            continue
        value = node.value
        others: list[cst.BaseExpression] = []
        if isinstance(value, cst.Integer):
            others = [cst.Integer("1" if value.value == "0" else "0")]
        elif isinstance(value, cst.Subscript):
            others = [cst.Integer("0")]
        elif isinstance(value, cst.SimpleString) and value.raw_value == "":
            others = [cst.SimpleString('" "')]
        elif isinstance(value, cst.Name) and value.value in ("True", "False"):
            others = [cst.Name("False" if value.value == "True" else "True")]
        elif isinstance(value, cst.List) and not value.elements:
            others = [cst.List([cst.Element(cst.Integer("0"))]), cst.Name("None")]
        elif isinstance(value, cst.Dict) and not value.elements:
            others = [cst.List([])]
        for other in others:
            yield program.replace("wrong_initial_value", node, node.with_changes(value=other))


def missing_guard(program: Program) -> Iterator[Mutation]:
    """Leave out an `if` that returns, continues or breaks for a special case (in functions that do not recurse)."""
    for node, name in _guards(program):
        function = program.enclosing_function(node)
        if function is not None and not _recursive(program, function):
            yield program.replace("missing_guard", node, cst.RemoveFromParent(), name)


def missing_base_case(program: Program) -> Iterator[Mutation]:
    """Leave out a base case of a recursive function."""
    for node, name in _guards(program):
        function = program.enclosing_function(node)
        if function is not None and _recursive(program, function):
            yield program.replace("missing_base_case", node, cst.RemoveFromParent(), name)


def _guards(program: Program) -> Iterator[tuple[cst.If, cst.CSTNode]]:
    """Yield the `if` statements without `else` whose body is a single return, continue, break or raise, and that are not alone in
    their block."""
    for block, body in _blocks(program):
        for node in body:
            if isinstance(node, cst.If) and node.orelse is None and len(body) > 1 and block is not None:
                lines = node.body.body
                small = _only_small(lines[0]) if len(lines) == 1 else None
                if isinstance(small, (cst.Return, cst.Continue, cst.Break, cst.Raise)):
                    yield node, node.test


def _recursive(program: Program, function: cst.FunctionDef) -> bool:
    name = function.name.value
    return any(
        isinstance(n, cst.Call) and isinstance(n.func, cst.Name) and n.func.value == name and function in program.ancestors(n)
        for n in program.nodes
    )


def early_return(program: Program) -> Iterator[Mutation]:
    """Move the `return` after a loop into it, so that only the first item counts."""
    for block, body in _blocks(program):
        for loop, after in itertools.pairwise(body):
            small = _only_small(after)
            if not isinstance(loop, (cst.For, cst.While)) or not isinstance(small, cst.Return):
                continue
            if not isinstance(loop.body, cst.IndentedBlock):
                continue
            inside = loop.with_changes(body=loop.body.with_changes(body=[*loop.body.body, after]))
            kept = [inside if line is loop else line for line in body if line is not after]
            module = program.module.deep_replace(block, block.with_changes(body=kept))
            assert isinstance(module, cst.Module)
            yield Mutation("early_return", module.code, f"{program.text(after)}", f"{program.text(after)}")


def printed_not_returned(program: Program) -> Iterator[Mutation]:
    """Print the result instead of returning it."""
    for node in program.nodes:
        if isinstance(node, cst.Return) and node.value is not None:
            call = cst.Expr(cst.Call(cst.Name("print"), [cst.Arg(node.value)]))
            yield program.replace("printed_not_returned", node, call)


def missing_return(program: Program) -> Iterator[Mutation]:
    """Leave out the word `return`, so that the value is computed and lost."""
    for node in program.nodes:
        if isinstance(node, cst.Return) and node.value is not None:
            value = node.value
            if isinstance(value, (cst.Tuple, cst.GeneratorExp)):
                continue
            yield program.replace("missing_return", node, cst.Expr(value))


def negated_condition(program: Program) -> Iterator[Mutation]:
    """Negate the condition of an `if`."""
    for node in program.nodes:
        if isinstance(node, (cst.If, cst.IfExp)):
            test = node.test
            if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
                new: cst.BaseExpression = test.expression
            elif isinstance(test, (cst.Name, cst.Call, cst.Attribute, cst.Subscript)):
                new = cst.UnaryOperation(cst.Not(), test)
            else:
                continue
            yield program.replace("negated_condition", test, new)


def missing_step(program: Program) -> Iterator[Mutation]:
    """Leave out an update or a call in the body of a `for` loop, an `if` or a function."""
    for block, body in _blocks(program):
        owner = program.parent.get(block)
        if len(body) < 2 or not isinstance(owner, (cst.For, cst.If, cst.FunctionDef)):
            continue
        if any(isinstance(a, cst.While) for a in program.ancestors(block)):
            continue  # a while loop without its step is mostly endless
        for line in body:
            small = _only_small(line)
            is_method_call = isinstance(small, cst.Expr) and isinstance(small.value, cst.Call)
            if isinstance(small, cst.AugAssign) or is_method_call:
                yield program.replace("missing_step", line, cst.RemoveFromParent())


def wrong_update(program: Program) -> Iterator[Mutation]:
    """Overwrite an accumulator instead of updating it, or update it in the wrong direction."""
    for node in program.nodes:
        if not isinstance(node, cst.AugAssign) or any(isinstance(a, cst.While) for a in program.ancestors(node)):
            continue
        yield program.replace("wrong_update", node, cst.Assign([cst.AssignTarget(node.target)], node.value))
        if isinstance(node.operator, cst.AddAssign):
            yield program.replace("wrong_update", node, node.with_changes(operator=cst.SubtractAssign()))


def mutable_default(program: Program) -> Iterator[Mutation]:
    """Turn a result list or dict into a default argument, which persists across calls."""
    for function in program.functions:
        if (
            not isinstance(function.body, cst.IndentedBlock)
            or isinstance(function.params.star_arg, (cst.Param, cst.ParamStar))
            or function.params.kwonly_params
        ):
            continue
        for line in function.body.body:
            small = _only_small(line)
            if not isinstance(small, cst.Assign) or not isinstance(small.targets[0].target, cst.Name):
                continue
            if not isinstance(small.value, (cst.List, cst.Dict)) or small.value.elements:
                continue
            name = small.targets[0].target
            param = cst.Param(name, default=small.value, equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")))
            params = function.params.with_changes(params=[*function.params.params, param])
            body = [other for other in function.body.body if other is not line]
            new = function.with_changes(params=params, body=function.body.with_changes(body=body))
            module = program.module.deep_replace(function, new)
            assert isinstance(module, cst.Module)
            shown = f"{name.value}={program.text(small.value)}"
            yield Mutation("mutable_default", module.code, program.text(small), shown)
            break


def missing_import(program: Program) -> Iterator[Mutation]:
    """Leave out the import of a module that is used."""
    for line in program.module.body:
        small = _only_small(line)
        if isinstance(small, (cst.Import, cst.ImportFrom)):
            module = program.module.with_changes(body=[other for other in program.module.body if other is not line])
            code = module.code.lstrip("\n")
            yield program.rewritten("missing_import", code, program.text(small), "")


def syntax_slip(program: Program) -> Iterator[Mutation]:
    """Leave out a colon or a closing parenthesis, or write `=` for `==`."""
    lines = program.source.split("\n")
    for number, line in enumerate(lines):
        stripped = line.strip()
        variants = []
        if re.match(r"(def|if|for|while|elif|else)\b", stripped) and stripped.endswith(":"):
            variants.append(line[:-1])
        if stripped.startswith("return") and stripped.endswith(")"):
            variants.append(line[:-1])
        if re.match(r"(if|while|elif)\b", stripped) and stripped.count(" == ") == 1:
            variants.append(line.replace(" == ", " = "))
        for variant in variants:
            code = "\n".join([*lines[:number], variant, *lines[number + 1 :]])
            yield program.rewritten("syntax_slip", code, stripped, variant.strip())
