"""Selects the clauses `cause.FAMILY_KIND` for a misreading from its wrong and correct fragments."""

from __future__ import annotations

import re
from collections.abc import Callable


def misread_kind(family: str, wrong: str, correct: str, error: str = "") -> str:
    """Return the kind of clauses for a misreading within its family; "" if only the family's general clauses fit.

    Args:
        wrong: the attempt's fragment; where lines are only deleted, all of them.
        error: the exception that the failing test raises.
    """
    reader = _KINDS.get(family)
    return reader(wrong, correct, error) if reader else ""


def _occurrence(wrong: str, correct: str, error: str) -> str:
    if re.fullmatch(r"\w+ = \w+", wrong) and correct.startswith("return"):
        return "kept"
    return "last" if re.search(r"\[-\w+:?\]|\.r(?:find|partition)\(", wrong) else "first"


def _ties(wrong: str, correct: str, error: str) -> str:
    if wrong.endswith(".reverse()") or "reverse=True" in wrong:
        return "reversed"
    return "alone" if ".sort(" in wrong else "later" if re.search(r" [<>]= ", wrong) and "key=" in correct else "equal"


def _sort_key(wrong: str, correct: str, error: str) -> str:
    return "abs" if "key=abs" in wrong else "len" if "key=len" in wrong and "key=" not in correct else ""


def _text(wrong: str, correct: str, error: str) -> str:
    return "joined" if "+" in wrong else ""


def _rounding(wrong: str, correct: str, error: str) -> str:
    if "int(" in wrong and "round(" in correct:
        return "cut"
    return "nearest" if "round(" in wrong and "//" in correct else ""


def _negative(wrong: str, correct: str, error: str) -> str:
    if re.fullmatch(r"\w+ = 0", wrong):
        return "clamped" if correct.startswith("abs(") else "started" if "max(" in correct else ""
    return "remainder" if re.search(r"abs\(.*\) % ", wrong) else "quotient" if re.search(r"abs\(.*\) // ", wrong) else ""


def _bounds(wrong: str, correct: str, error: str) -> str:
    if "range(" in wrong:
        return "late" if len(wrong) > len(correct) else "early"
    return "loose" if re.search(r"[<>]=", wrong) else "strict"


def _reset(wrong: str, correct: str, error: str) -> str:
    return "unset" if error.startswith("UnboundLocalError") else ""


def _first(wrong: str, correct: str, error: str) -> str:
    if wrong == "break":
        return "broken"
    return "returned" if wrong.startswith("return") else "replaced" if re.search(r"\.replace\(.*, 1\)$", wrong) else ""


def _count(wrong: str, correct: str, error: str) -> str:
    if wrong.endswith(" = 1"):
        return "once"
    return "counted" if wrong.endswith("+= 1") and "sum(" in correct else "summed" if "+= " in wrong and "len(" in correct else ""


def _any(wrong: str, correct: str, error: str) -> str:
    if found := re.match(r"(any|all)\(", correct):
        return f"{found[1]}_items"
    has_and, has_or = (re.search(rf"\b{word}\b", correct) is not None for word in ("and", "or"))
    return "" if has_and == has_or else "all" if has_and else "any"


def _empty(wrong: str, correct: str, error: str) -> str:
    return "first" if wrong.endswith("[0]") else ""


def _normalised(wrong: str, correct: str, error: str) -> str:
    if "fromkeys" in wrong:
        return ""  # two changes, either of which can be the relevant one
    if ".lower()" in wrong:
        return "lower" if _only_lower(wrong) else "tidied"
    return "sorted" if ".sort()" in wrong else "spaces" if ".join(" in wrong else ""


def _only_lower(wrong: str) -> bool:
    return ".lower()" in wrong and ".strip()" not in wrong


def _repeated(wrong: str, correct: str, error: str) -> str:
    return "dropped" if " not in " in wrong else "kept" if "= list(" in wrong else ""


def _changed(wrong: str, correct: str, error: str) -> str:
    return "assigned" if re.match(r"\w+ = \w+\.\w+\(", wrong) else ""


def _index(wrong: str, correct: str, error: str) -> str:
    if re.search(r"range\(1, len\(\w+\) \+ 1\)", wrong):
        return "from_one"
    return "short" if re.search(r"range\(len\(\w+\) - 1\)", wrong) else "late" if re.search(r"range\(1, len\(\w+\)\)", wrong) else ""


def _structure(wrong: str, correct: str, error: str) -> str:
    return "unhashable" if error.startswith("TypeError: unhashable") else ""


_KINDS: dict[str, Callable[[str, str, str], str]] = {
    "ties": _ties,
    "wrong_occurrence": _occurrence,
    "wrong_sort_key": _sort_key,
    "negative_numbers": _negative,
    "every_bound": _bounds,
    "numbers_as_text": _text,
    "early_rounding": _rounding,
    "reset_in_loop": _reset,
    "stops_at_first": _first,
    "count_for_sum": _count,
    "any_for_all": _any,
    "empty_input": _empty,
    "early_normalisation": _normalised,
    "repeated_values": _repeated,
    "changed_argument": _changed,
    "index_out_of_range": _index,
    "wrong_structure": _structure,
}
