"""Describes what is wrong with the bounds of a `range`, an index or a slice."""

from __future__ import annotations

import ast
import re

from reflectioncoder.builder.mutation.fragments import Details, Fragments


def _shift(wrong: str, right: str) -> int:
    """Return by how much a bound is too high (negative: too low); 0 if unknown."""
    try:
        return int(wrong) - int(right)
    except ValueError:
        pass
    if wrong == f"{right} + 1" or right == f"{wrong} - 1":
        return 1
    return -1 if wrong == f"{right} - 1" or right == f"{wrong} + 1" else 0


def range_details(fragments: Fragments) -> Details | None:
    """Return which bound of a `range` is off by one, and in which direction."""
    pair = fragments.innermost(ast.Call)
    if pair is None:
        return None
    a, b = pair
    assert isinstance(a, ast.Call)
    assert isinstance(b, ast.Call)
    if ast.unparse(a.func) != "range" or max(len(a.args), len(b.args)) > 2:
        return None
    (start, stop), (right_start, right_stop) = (_bounds(fragments, node) for node in (a, b))
    if (start == right_start) == (stop == right_stop):
        return None
    bound, right = (start, right_start) if start != right_start else (stop, right_stop)
    shift = _shift(bound, right)
    if not shift:
        return None
    side = "start" if start != right_start else "stop"
    return f"{side}_{'late' if shift > 0 else 'early'}", {"bound": bound, "right_bound": right}


def _bounds(fragments: Fragments, node: ast.Call) -> tuple[str, str]:
    texts = [fragments.text(argument) for argument in node.args]
    return ("0", texts[0]) if len(texts) == 1 else (texts[0], texts[1])


def index_details(fragments: Fragments) -> Details | None:
    """Return which index, or which bound of a slice, is off by one or missing."""
    pair = fragments.innermost(ast.Subscript)
    if pair is None:
        return None
    a, b = pair
    assert isinstance(a, ast.Subscript)
    assert isinstance(b, ast.Subscript)
    if isinstance(a.slice, ast.Slice) and isinstance(b.slice, ast.Slice):
        return _slice(fragments, a.slice, b.slice, fragments.text(a.value))
    facts = {"index": fragments.text(a.slice), "right_index": fragments.text(b.slice), "items": fragments.text(a.value)}
    ends = {("-1", "0"): "last", ("0", "-1"): "first"}
    is_plain = all(re.fullmatch(r"-?\d+", facts[name]) for name in ("index", "right_index"))
    kind = ends.get((facts["index"], facts["right_index"]), "plain" if is_plain else "computed")
    return (kind, facts) if _shift(facts["index"], facts["right_index"]) else None


def _slice(fragments: Fragments, a: ast.Slice, b: ast.Slice, items: str) -> Details | None:
    bounds = [(fragments.text(getattr(a, side)), fragments.text(getattr(b, side))) for side in ("lower", "upper")]
    differing = [number for number, (wrong, right) in enumerate(bounds) if wrong != right]
    if len(differing) != 1:
        return None
    wrong, right = bounds[differing[0]]
    side = ("begin", "end")[differing[0]]
    if not right:
        return None
    return (
        (side, {"bound": wrong, "right_bound": right, "items": items})
        if wrong
        else (f"no_{side}", {"right_bound": right, "items": items})
    )
