"""Tiers of one suite: `make test` keeps every promise represented, CI shows every case of each, `make test-all` every combination.

Quick are, of each test, as many cases as show every value of its small parameters (each tier of isolation, each rendering, …) and one
value of its large ones (an attack of a family, a program of a table). Tests marked `long` are not quick; hypothesis tests are, with
few examples, and run again with all of theirs in the rest. The rest has as many cases as show every value of every parameter (each
attack, in one of the isolations), and every combination of those marked `product`. Of tests marked `sampled(n)`, whose cases are many
and dear, it has one case of n, hypothesis tests too; `part` takes as little of what a single test goes through. Tests marked `slow` are
in neither: isolations that are used only where they are named, all tasks of a benchmark in every language, models of real size.
`--tier` chooses: quick, rest, ci (both in one run, which collects and builds once), all.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

TIERS = ("all", "quick", "rest", "ci")
_VARIABLE = "REFLECTIONCODER_TEST_TIER"  # of this process and the workers that it starts
_FEW = 10  # times fewer examples in the quick tier
T = TypeVar("T")
MAX_SMALL = 6  # values of a parameter that are all shown


def add_option(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier",
        choices=TIERS,
        default="all",
        help="quick: every promise once; rest: what quick leaves out, but slow tests; ci: both; all",
    )


def configure(config: pytest.Config) -> None:
    """Choose how many examples hypothesis makes, before test modules are imported; on a shared machine one can take any time."""
    os.environ[_VARIABLE] = str(config.getoption("tier"))
    default = settings.default
    assert default is not None
    settings.register_profile(
        "this tier", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(default.max_examples)
    )
    settings.load_profile("this tier")


def examples(count: int) -> int:
    """Return how many examples a test makes in this tier, of `count` in all."""
    return max(5, count // _FEW) if os.environ.get(_VARIABLE) == "quick" else count


def part(items: Sequence[T], step: int) -> Sequence[T]:
    """Return what a test goes through: all in `make test-all`, otherwise one of `step`, beginning with the first."""
    return items if os.environ.get(_VARIABLE, "all") == "all" else items[::step]


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the tier that is asked for."""
    tier = str(config.getoption("tier"))
    if tier == "all":
        return
    usual = [item for item in items if item.get_closest_marker("slow") is None]
    quick, drawn = quick_tests(usual), drawn_tests(usual)
    wanted = {
        "quick": quick,
        "rest": {item.nodeid for item in usual if item.nodeid in drawn and (is_property(item) or item.nodeid not in quick)},
        "ci": quick | drawn,
    }[tier]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
    items[:] = [item for item in items if item.nodeid in wanted]


def is_property(item: pytest.Item) -> bool:
    return hasattr(getattr(item, "obj", None), "hypothesis")


def quick_tests(items: Sequence[pytest.Item]) -> set[str]:
    """Return the ids of the tests of the quick tier."""
    short = [item for item in items if item.get_closest_marker("long") is None]
    return {item.nodeid for cases in _families(short) for item in cover(cases, MAX_SMALL)}


def drawn_tests(items: Sequence[pytest.Item]) -> set[str]:
    """Return the ids of the tests that CI runs beside the quick ones, or again with more examples."""
    drawn: set[str] = set()
    for cases in _families(items):
        if sampled := cases[0].get_closest_marker("sampled"):
            drawn.update(item.nodeid for item in cases if zlib.crc32(item.nodeid.encode()) % sampled.args[0] == 0)
        else:
            drawn.update(item.nodeid for item in (cases if cases[0].get_closest_marker("product") else cover(cases, len(cases))))
    return drawn


def cover(cases: Sequence[pytest.Item], max_values: int) -> list[pytest.Item]:
    """Return as few of a test's cases as show every value of its parameters that have at most `max_values`, at least one."""
    values: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        for name, value in _values(case):
            values[name].add(value)
    left = {(name, value) for name, found in values.items() if len(found) <= max_values for value in found}
    chosen: list[pytest.Item] = []
    for case in sorted(cases, key=lambda case: zlib.crc32(case.nodeid.encode())):  # else always the first of the large ones
        shown = left & _values(case)
        if shown or not chosen:
            chosen.append(case)
            left -= shown
    return chosen


def _families(items: Sequence[pytest.Item]) -> Iterable[list[pytest.Item]]:
    """Group the cases of each test."""
    families: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        families[item.nodeid.partition("[")[0]].append(item)
    return families.values()


def _values(item: Any) -> set[tuple[str, int]]:
    """Return (parameter, identity of its value): of a product every case has the same objects, and not all can be compared."""
    return {(name, id(value)) for name, value in item.callspec.params.items()} if hasattr(item, "callspec") else set()
