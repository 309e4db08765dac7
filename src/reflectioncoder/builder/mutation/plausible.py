"""Tells which slips and misreadings are mistakes that people and models make, and which of them are rare.

The operators make every program of their form, including some that nobody writes and that teach nothing: a sum instead of a length, a
comparison of a value with itself, a guard against inputs that the task does not mention.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from reflectioncoder import syntax
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.builder.mutation.stated_words import StatedWords

RARITY: Mapping[str, int] = {
    "recursion_without_end": 4, "counted_from_one": 3, "empty_input": 3, "wrong_structure": 2, "syntax_slip": 5, "misspelt_name": 4,
    "printed_not_returned": 4, "missing_return": 5, "position_for_value": 3, "wrong_variable": 2,
}  # fmt: skip
"""Operators that should be rarer than others, each with the factor by which they are."""

_UNLIKE = {
    ("sum", "len"), ("len", "sum"), ("sorted", "reversed"), ("gcd", "max"), ("zip", "enumerate"), ("join", "split"), ("pop", "append"),
    ("count", "find"), ("index", "count"), ("chr", "str"), ("set", "list"),
}  # fmt: skip
_TWO_STEPS = re.compile(r"\b\d+ [+-] 1\b|[+-] \d+ [+-] \d+")  # `n - 1 + 1`, `2 + 1`
_LARGE = 50  # from here on an extra zero is a plausible typo
_IDLE = re.compile(r"^ *(\w+) = \1$", re.MULTILINE)
_INVENTED_ANSWERS = ("return None", "return -1", "return True")
_TYPE_ERRORS = (
    "wrong_operator",
    "wrong_method",
    "wrong_variable",
    "swapped_arguments",
    "wrong_comparison",
    "inverted_comparison",
    "off_by_one_index",
)


def is_plausible(slip: Mutation) -> bool:
    """Tell whether a mistake is plausible by itself; returning an example's answer never is."""
    if slip.operator == "hard_coded_example":
        return False
    check = _CHECKS.get(slip.operator)
    return not _IDLE.search(slip.code) and (check is None or check(slip))


def is_plausible_failure(operator: str, error: str) -> bool:
    """Tell whether a slip may plausibly fail with this error: nobody subtracts strings, confuses a variable with one that does not
    exist yet, or calls a function that cannot take the value."""
    if operator == "wrong_variable" and error.startswith(("NameError", "UnboundLocalError")):
        return False
    return operator not in _TYPE_ERRORS or not error.startswith(("TypeError", "AttributeError"))


def plausible(slips: list[Mutation], words: StatedWords) -> list[Mutation]:
    """Return the slips that someone who has read the task could make, in order."""
    return [slip for slip in slips if is_plausible(slip) and words.allow(slip)]


def _is_like_a_method(slip: Mutation) -> bool:
    return (_called(slip.correct), _called(slip.wrong)) not in _UNLIKE


def _called(call: str) -> str:
    """Return the last name of a call's callee."""
    node = _expression(call)
    func = node.func if isinstance(node, ast.Call) else None
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _expression(text: str) -> ast.expr | None:
    try:
        return syntax.parse(f"({text})").body[0].value  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, IndexError, RecursionError, MemoryError):
        return None


def _is_one_step(slip: Mutation) -> bool:
    """Tell whether a moved bound looks natural: no `n - 1 + 1`, no full-copy slice, no range from a negative number."""
    is_odd = _TWO_STEPS.search(slip.wrong) and not _TWO_STEPS.search(slip.correct)
    return not is_odd and "[:]" not in slip.wrong and not slip.wrong.startswith("range(-")


def _is_sound(slip: Mutation) -> bool:
    """Tell whether two variables could be confused: as far as the code shows, they have the same type and role, and the slip combines
    no value with itself.
    """
    tree = _module(slip.code)
    return (
        tree is not None
        and _has_its_part(slip, tree)
        and len(list(_with_itself(slip.code))) <= len(list(_with_itself(_restored(slip))))
        and _is_of_its_type(slip, tree)
    )


def _restored(slip: Mutation) -> str:
    return slip.code.replace(slip.wrong, slip.correct)


def _module(program: str) -> ast.Module | None:
    try:
        return syntax.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _with_itself(program: str) -> Iterator[ast.AST]:
    """Yield operations with equal operands: `x < x`, `min(a, a)`."""
    tree = _module(program)
    for node in ast.walk(tree) if tree is not None else ():
        match node:
            case ast.Compare(left=left, comparators=others):
                operands = [left, *others]
            case ast.BinOp(left=left, right=right):
                operands = [left, right]
            case ast.Call(args=args) if len(args) > 1:
                operands = args
            case ast.Tuple(elts=elts) if len(elts) > 1 and isinstance(node.ctx, ast.Load):
                operands = elts
            case ast.BoolOp(values=values):
                operands = values
            case _:
                continue
        texts = [ast.dump(operand) for operand in operands if not isinstance(operand, ast.Constant)]
        if len(texts) > len(set(texts)):
            yield node


def _has_its_part(slip: Mutation, tree: ast.Module) -> bool:
    """Tell whether two variables have similar roles: an iterable is not confused with its items, nor an accumulator with others."""
    gone, come = (Counter(re.findall(r"\b[A-Za-z_]\w*\b", text)) for text in (slip.correct, slip.wrong))
    before, after = set(gone - come), set(come - gone)
    over: dict[str, set[str]] = {}
    sums = {node.target.id for node in ast.walk(tree) if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            items, whole = ({name.id for name in ast.walk(part) if isinstance(name, ast.Name)} for part in (node.target, node.iter))
            for item in items:
                over.setdefault(item, set()).update(whole, *(over.get(name, ()) for name in whole))
    is_whole = any(one in over.get(other, ()) for pair in ((before, after), (after, before)) for one in pair[0] for other in pair[1])
    return not is_whole and not (before and after and bool(before & sums) != bool(after & sums))


def _is_of_its_type(slip: Mutation, tree: ast.Module) -> bool:
    gone, come = (Counter(re.findall(r"\b[A-Za-z_]\w*\b", text)) for text in (slip.correct, slip.wrong))
    before, after = set(gone - come), set(come - gone)
    kinds = _kinds(tree)
    known = [{kinds[name] for name in names if name in kinds} for names in (before, after)]
    return not (before and after) or not all(known) or bool(known[0] & known[1])


def _kinds(tree: ast.Module) -> dict[str, str]:
    """Return the types of names that annotations, literals or constructor calls show."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                found[name] = ast.unparse(annotation).partition("[")[0]
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value):
                if kind := _kind_of(value):
                    found.setdefault(name, kind)
    return found


def _kind_of(value: ast.expr) -> str:
    match value:
        case ast.Constant():
            return type(value.value).__name__
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Call(func=ast.Name(id=("len" | "sum" | "int" | "abs"))):
            return "int"
        case ast.Call(func=ast.Name(id=("list" | "sorted"))):
            return "list"
        case ast.Call(func=ast.Name(id=("dict" | "set" | "str") as kind)):
            return kind
    return ""


def _is_first_value(slip: Mutation) -> bool:
    return not slip.wrong.endswith(("= [0]", "= None"))


def _is_forgotten(slip: Mutation) -> bool:
    """Tell whether a conversion is one that people forget: `len` only within `range(len(…))`."""
    return "len(" not in slip.correct or slip.correct.count("len(") == slip.wrong.count("len(") or "range(len(" in slip.correct


def _is_direction_kept(slip: Mutation) -> bool:
    return "-=" not in slip.wrong


def _is_tidying(slip: Mutation) -> bool:
    """Tell whether the input is normalized as people do: spaces and case, not order or repetitions."""
    return ".sort()" not in slip.code or (".sort()" not in slip.wrong and "dict.fromkeys" not in slip.wrong)


def _is_sign_lost_by_accident(slip: Mutation) -> bool:
    """Tell whether negative numbers are merely forgotten, not removed or negated on entry."""
    return bool(slip.correct)


def _is_answer_of_a_guard(slip: Mutation) -> bool:
    """Tell whether a guard is a habitual one, which returns an empty value for an empty input."""
    return slip.wrong not in _INVENTED_ANSWERS and not (slip.wrong.startswith("return ") and " == 0:\n" in slip.code)


def _is_remembered(slip: Mutation) -> bool:
    """Tell whether a constant can be misremembered: no changed zero or step of one, no tenfold value, no emptied or uppercased text."""
    if re.search(r"\"\"|''", slip.wrong) and not re.search(r"\"\"|''", slip.correct):
        return False
    if re.search(r"[\"'][A-Z ]{3,}[\"']", slip.wrong) and not re.search(r"[\"'][A-Z ]{3,}[\"']", slip.correct):
        return False
    gone, come = (Counter(re.findall(r"\b\d+\b", text)) for text in (slip.correct, slip.wrong))
    change = (next(iter(gone - come), ""), next(iter(come - gone), ""))
    small = all(number.isdigit() for number in change) and min(map(int, change)) < _LARGE
    is_ten_times = small and 10 in (_ratio(*change), _ratio(*change[::-1]))
    is_spaced = re.search(r"[\"'].* [\"']", slip.wrong) and not re.search(r"[\"'].*, ?[\"']", slip.correct)
    is_step = change in (("0", "2"), ("0", "1"), ("1", "2"))
    return not is_step and not is_ten_times and not is_spaced and not re.search(r"[-+]= 1$|% \d+ == 1\b", slip.correct)


def _ratio(one: str, other: str) -> float:
    return int(one) / int(other) if int(other) else 0.0


def _is_arithmetic_confused(slip: Mutation) -> bool:
    """Tell whether an operator can be confused: nobody adds a number above 3 that should be multiplied."""
    numbers = [int(number) for number in re.findall(r"\b\d+\b", slip.correct)]
    return not ("*" in slip.correct and slip.correct.count("*") > slip.wrong.count("*") and any(number > 3 for number in numbers))


def _is_order_confused(slip: Mutation) -> bool:
    """Tell whether two operands could be swapped: not the arguments of `range`, and not with a constant, as in `10 % n` for `n % 10` or
    `get(0, key)` for `get(key, 0)`.
    """
    node = _expression(slip.correct)
    values = [node.left, node.right] if isinstance(node, ast.BinOp) else node.args[:2] if isinstance(node, ast.Call) else []
    is_fixed = any(isinstance(value, ast.Constant) for value in values)
    return not slip.correct.startswith(("isinstance(", "range(")) and not is_fixed


def _is_a_step(slip: Mutation) -> bool:
    """Tell whether an intermediate step is one that a person would compute first."""
    return not slip.wrong.startswith(("step = ", "intermediate = ", "digits = ", "joined = "))


def _is_division_of_values(slip: Mutation) -> bool:
    return not re.search(r"\b\d+ // \d+\b", slip.code)


def _is_like_counting(slip: Mutation) -> bool:
    return not slip.correct.startswith("len(")


_CHECKS = {
    "wrong_method": _is_like_a_method,
    "off_by_one_range": _is_one_step,
    "off_by_one_index": _is_one_step,
    "shifted_bounds": _is_one_step,
    "every_bound": _is_one_step,
    "index_out_of_range": _is_one_step,
    "counted_from_one": _is_one_step,
    "wrong_variable": _is_sound,
    "swapped_arguments": _is_order_confused,
    "wrong_operator": _is_arithmetic_confused,
    "wrong_initial_value": _is_first_value,
    "missing_conversion": _is_forgotten,
    "wrong_update": _is_direction_kept,
    "wrong_constant": _is_remembered,
    "early_normalisation": _is_tidying,
    "negative_numbers": _is_sign_lost_by_accident,
    "empty_input": _is_answer_of_a_guard,
    "count_for_sum": _is_like_counting,
    "order_of_steps": _is_a_step,
    "numbers_as_text": _is_a_step,
    "early_rounding": _is_division_of_values,
}
