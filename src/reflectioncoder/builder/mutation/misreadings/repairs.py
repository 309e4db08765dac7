"""Repairs a misread program in its own style: a line changes, disappears or moves.

The repairs are only proposals, to be checked by running them. If none is right, the reference replaces the whole part.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from reflectioncoder.builder.mutation.misreadings.reading import INDENT
from reflectioncoder.builder.mutation.program import Mutation
from reflectioncoder.data.python_source import parse

Lines = list[str]
_BASES = {
    "add_up": ("if not values:", "return 0"),
    "largest_of": ("if len(values) == 1:", "return values[0]"),
    "smallest_of": ("if len(values) == 1:", "return values[0]"),
    "one_holds": ("if not values:", "return False"),
    "all_hold": ("if not values:", "return True"),
    "turned_around": ("if not values:", "return values"),
}


def small_repairs(slip: Mutation) -> list[Mutation]:
    """Return proposals as slips whose `code` is the repaired program; where a line only moves, `correct` equals `wrong`."""
    family = _FAMILIES.get(slip.operator)
    lines = slip.code.split("\n")
    whole = (number for number, line in enumerate(lines) if line.strip().rstrip(":") == slip.wrong)
    at = next(whole, next((number for number, line in enumerate(lines) if slip.wrong in line), None))
    if family is None or at is None:
        return []
    found = {"\n".join(repaired): repaired for repaired in family(lines, at, slip)}
    is_move = slip.operator == "reset_in_loop"
    return [replace(slip, code=code, correct=slip.wrong if is_move else slip.correct) for code in found if code != slip.code]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _with(lines: Lines, at: int, *new: str, count: int = 1) -> Lines:
    """Replace `count` lines from `at` by new lines at the indentation of the first."""
    return [*lines[:at], *(_indent(lines[at]) + line for line in new), *lines[at + count :]]


def _header(lines: Lines, at: int) -> list[int]:
    """Return the line numbers of the headers of the loops around a line, innermost first."""
    found, indent = [], len(_indent(lines[at]))
    for number in reversed(range(at)):
        if lines[number].strip() and len(_indent(lines[number])) < indent:
            indent = len(_indent(lines[number]))
            found += [number] if lines[number].lstrip().startswith(("for ", "while ")) else []
    return found


def _argument(correct: str) -> ast.expr | None:
    """Return the first argument of a call; None if there is none."""
    tree = parse(correct)
    node = getattr(tree.body[0], "value", None) if tree is not None and tree.body else None
    return node.args[0] if isinstance(node, ast.Call) and node.args else None


def _stops_at_first(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    if slip.wrong == "break":
        yield from ([*lines[:number], *lines[number + 1 :]] for number, line in enumerate(lines) if line.strip() == "break")
    elif slip.wrong.endswith(", 1)"):
        yield _with(lines, at, lines[at].strip().replace(", 1)", ")"))
    elif slip.wrong.startswith("return ") and lines[at + 1].strip() in ("return True", "return False"):
        is_any, value = lines[at + 1].strip() == "return False", slip.wrong.removeprefix("return ")
        yield _with(lines, at, f"if {value}:" if is_any else f"if not ({value}):", f"{INDENT}return {is_any}")


def _reset_in_loop(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    for header in _header(lines, at):
        yield [*lines[:header], _indent(lines[header]) + lines[at].strip(), *lines[header:at], *lines[at + 1 :]]


def _removal_in_loop(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    for header in _header(lines, at)[:1]:
        yield _with(lines, header, re.sub(r" in (\w+):$", r" in list(\1):", lines[header].strip()))


def _count_for_sum(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    name, _, added = slip.wrong.partition(" += ")
    items = _argument(slip.correct)
    targets = [lines[header].split()[1] for header in _header(lines, at)[:1]]
    if added == "1":
        values = [ast.unparse(items.elt)] if isinstance(items, ast.GeneratorExp | ast.ListComp) else targets
        yield from (_with(lines, at, f"{name} += {value}") for value in values)
    elif added:
        yield _with(lines, at, f"{name} += 1")


def _repeated_values(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    if " not in " in slip.wrong:
        yield _with(lines, at, lines[at + 1].strip(), count=2)
    elif " = list(" in slip.wrong:
        yield _with(lines, at, lines[at].strip().replace(" = list(", " = set(", 1))


def _index_out_of_range(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    line = lines[at].strip()
    found = re.search(r"range\((?:1, )?len\((\w+)\)(?: [-+] 1)?\)", line)
    if found:
        for bounds in (f"len({found[1]})", f"len({found[1]}) - 1", f"1, len({found[1]})"):
            yield _with(lines, at, line.replace(found[0], f"range({bounds})"))
    elif index := re.search(r"\[([^\[\]]* % [^\[\]]*)\]$", slip.correct):
        yield _with(lines, at, f"{slip.wrong.partition(' = ')[0]} = {index[1]}")


def _counted_from_one(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    line = lines[at].strip()
    if slip.wrong.endswith(" += 1"):
        yield [*lines[:at], *lines[at + 1 :]]
    elif line.endswith(" - 1"):
        yield _with(lines, at, line.removesuffix(" - 1"))
    elif found := re.fullmatch(r"(\w+ = )(-?\d+)", line):
        yield _with(lines, at, f"{found[1]}{int(found[2]) + 1}")
    else:
        yield _with(lines, at, line.replace(", 1)", ")"))


def _unchanged_text(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    yield _with(lines, at, f"{slip.wrong.partition('.')[0]} = {slip.wrong}")


def _changed_argument(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    if found := re.fullmatch(r"(\w+ = )(\w+)\.sort\((.*)\)", slip.wrong):
        yield _with(lines, at, f"{found[1]}sorted({found[2]}{', ' if found[3] else ''}{found[3]})")
    elif found := re.fullmatch(r"(\w+ = \w+)\.reverse\(\)", slip.wrong):
        yield _with(lines, at, f"{found[1]}[::-1]")
    elif found := re.fullmatch(r"(\w+ = \w+)\.extend\((.*)\)", slip.wrong):
        yield _with(lines, at, f"{found[1]} + {found[2]}")
    elif found := re.fullmatch(r"(\w+ = )(\w+)", slip.wrong):
        yield _with(lines, at, f"{found[1]}list({found[2]})")
    elif found := re.match(r"(\w+)\.(?:sort|reverse|pop)\(", slip.wrong):
        yield _with(lines, at, f"{found[1]} = list({found[1]})", lines[at].strip())


def _position_for_value(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    for header in _header(lines, at)[:1]:
        if found := re.match(r"for (\w+), (\w+) in enumerate\(", lines[header].strip()):
            yield _with(lines, at, re.sub(rf"\b{found[1]}\b", found[2], lines[at].strip()))


def _lost_last_part(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    for header in _header(lines, at)[:1]:
        end = next((n for n in range(header + 1, len(lines)) if len(_indent(lines[n])) <= len(_indent(lines[header]))), len(lines))
        yield [*lines[:end], _indent(lines[header]) + slip.wrong, *lines[end:]]


def _ties(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    if "best" in slip.wrong or "chosen" in slip.wrong:
        yield _with(lines, at, re.sub(r" ([<>])= ", r" \1 ", lines[at].strip()))
    else:
        yield from _replaced(lines, at, slip)


def _replaced(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    if "\n" not in slip.correct:
        yield _with(lines, at, lines[at].strip().replace(slip.wrong, slip.correct))


def _any_for_all(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    part = [line.strip() for line in lines[at : at + 5]]
    if slip.correct.startswith(("any(", "all(")):
        test = part[0].removeprefix("if ").removesuffix(":")
        other = test[5:-1] if test.startswith("not (") else f"not ({test})"
        swapped = {"return True": "return False", "return False": "return True"}
        if part[1] in swapped and part[2] in swapped:
            after = _indent(lines[at + 2]) + swapped[part[2]]
            yield [*_with(lines[: at + 2], at, f"if {other}:", INDENT + swapped[part[1]], count=2), after, *lines[at + 3 :]]
    elif len(part) == 5 and part[1] == part[3]:
        yes, no = (part[4], part[1]) if part[0].startswith("if not (") and part[2].startswith("if not (") else (part[1], part[4])
        yield _with(lines, at, f"if {slip.correct}:", INDENT + yes, no, count=5)


def _negative_numbers(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    if not re.fullmatch(r"\w+ = 0", slip.wrong):
        return
    name = slip.wrong.split()[0]
    if slip.correct.startswith("abs("):
        yield _with(lines, at, f"{name} = -{name}")
    elif found := re.match(r"for \w+ in (\w+):", lines[at + 1].strip()):
        yield _with(lines, at, f"{name} = {found[1]}[0]")


def _early_rounding(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    line = lines[at].strip()
    if " // " in slip.wrong:
        yield _with(lines, at, line.replace(" // ", " / "))
    elif found := re.match(r"(\w+) = int\((.*)\)$", line):
        yield _with(lines, at, f"{found[1]} = round({found[2]})")
    elif " / " in lines[at - 1]:
        yield _with(lines, at - 1, lines[at - 1].strip().replace(" / ", " // "))


def _numbers_as_text(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    yield _with(lines, at, re.sub(r"\b(sorted|max|min)\((\w+)(, [^()]*)?\)", r"\1(\2, key=int\3)", lines[at].strip(), count=1))


def _wrong_sort_key(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    tree = parse(slip.correct)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree is not None else []
    keys = [ast.get_source_segment(slip.correct, word.value) for call in calls for word in call.keywords if word.arg == "key"]
    yield _with(lines, at, re.sub(r"\.sort\(.*\)$", f".sort(key={keys[0]})" if keys else ".sort()", lines[at].strip()))


def _wrong_occurrence(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    line = lines[at].strip()
    for one, other in ((".rfind(", ".find("), (".rpartition(", ".partition("), (".find(", ".rfind("), (".partition(", ".rpartition(")):
        if one in line:
            yield _with(lines, at, line.replace(one, other))
            return
    if slip.correct.startswith("return "):
        yield _with(lines, at, slip.correct)
    elif found := re.fullmatch(r"(.*)\[-(\w+):\]", line):
        yield _with(lines, at, f"{found[1]}[:{found[2]}]")
    elif found := re.fullmatch(r"(.* = .*)\[:(\w+)\]", line):
        yield _with(lines, at, f"{found[1]}[-{found[2]}:]")
    elif "[-1]" in slip.wrong and "_one" not in slip.wrong:
        yield _with(lines, at, line.replace(slip.wrong, slip.wrong.replace("[-1]", "[0]")))
    elif "[0]" in slip.wrong and "_one" not in slip.wrong:
        yield _with(lines, at, line.replace(slip.wrong, slip.wrong.replace("[0]", "[-1]")))


def _wrong_structure(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    name = slip.wrong.partition(".add(")[0]
    if ".add(" in slip.wrong:
        code = "\n".join(lines).replace(f"{name} = set()", f"{name} = []").replace(f"{name}.add(", f"{name}.append(")
        yield code.replace(f"sorted({name})", name).split("\n")
        yield code.split("\n")
    elif found := re.fullmatch(r"(\w+ = )set\((.*)\)", slip.wrong):
        yield _with(lines, at, f"{found[1]}list({found[2]})")
    elif found := re.fullmatch(r"(\w+ = )\{(.*)\}", slip.wrong):
        yield _with(lines, at, f"{found[1]}[{found[2]}]")


def _recursion_without_end(lines: Lines, at: int, slip: Mutation) -> Iterator[Lines]:
    found = re.match(r"def (\w+)\(values\):", lines[at - 1].strip()) if at else None
    if found and found[1] in _BASES:
        test, answer = _BASES[found[1]]
        yield _with(lines, at, test, INDENT + answer, lines[at].strip())


_FAMILIES: dict[str, Callable[[Lines, int, Mutation], Iterator[Lines]]] = {
    "stops_at_first": _stops_at_first,
    "reset_in_loop": _reset_in_loop,
    "removal_in_loop": _removal_in_loop,
    "count_for_sum": _count_for_sum,
    "repeated_values": _repeated_values,
    "index_out_of_range": _index_out_of_range,
    "counted_from_one": _counted_from_one,
    "unchanged_text": _unchanged_text,
    "changed_argument": _changed_argument,
    "position_for_value": _position_for_value,
    "lost_last_part": _lost_last_part,
    "ties": _ties,
    "shifted_bounds": _replaced,
    "any_for_all": _any_for_all,
    "negative_numbers": _negative_numbers,
    "early_rounding": _early_rounding,
    "numbers_as_text": _numbers_as_text,
    "wrong_sort_key": _wrong_sort_key,
    "wrong_occurrence": _wrong_occurrence,
    "wrong_structure": _wrong_structure,
    "recursion_without_end": _recursion_without_end,
}
