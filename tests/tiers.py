"""Tiers of one suite: `make test` keeps every promise represented, CI runs the rest too, `make test-all` everything.

Quick are, of each test, as many cases as show every value of its small parameters (each tier of isolation, each rendering, …) and one
value of its large ones (an attack of a family, a program of a table). Tests marked `long` are not quick; hypothesis tests are, with
few examples, and run again with all of theirs in the rest. Tests marked `slow` are in neither: isolations that are used only where they
are named, all tasks of a benchmark in every language, models of real size. Of tests marked `sampled(n)`, whose cases are many and
dear, the rest has one case of n, hypothesis tests too. `--tier` chooses: quick, rest, ci (both in one run, which collects and builds
once), all.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

TIERS = ("all", "quick", "rest", "ci")
_VARIABLE = "REFLECTIONCODER_TEST_EXAMPLES"  # of this process and the workers that it starts
_FEW = 10  # times fewer examples in the quick tier
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
    few = config.getoption("tier") == "quick"
    os.environ[_VARIABLE] = "few" if few else "all"
    default = settings.default
    assert default is not None
    settings.register_profile(
        "this tier", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(default.max_examples)
    )
    settings.load_profile("this tier")


def examples(count: int) -> int:
    """Return how many examples a test makes in this tier, of `count` in all."""
    return max(5, count // _FEW) if os.environ.get(_VARIABLE) == "few" else count


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the tier that is asked for."""
    tier = str(config.getoption("tier"))
    if tier == "all":
        return
    usual = [item for item in items if item.get_closest_marker("slow") is None]
    quick = quick_tests(usual)
    is_quick = {item: item.nodeid in quick for item in usual}
    wanted = {
        "quick": {item for item in usual if is_quick[item]},
        "rest": {item for item in usual if is_drawn(item) and (is_property(item) or not is_quick[item])},
        "ci": {item for item in usual if is_drawn(item) or is_quick[item]},
    }[tier]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = [item for item in items if item in wanted]


def is_drawn(item: pytest.Item) -> bool:
    """Tell whether a case is among those of its test that CI runs."""
    marker = item.get_closest_marker("sampled")
    return marker is None or zlib.crc32(item.nodeid.encode()) % marker.args[0] == 0


def is_property(item: pytest.Item) -> bool:
    return hasattr(getattr(item, "obj", None), "hypothesis")


def quick_tests(items: Sequence[pytest.Item]) -> set[str]:
    """Return the ids of the tests of the quick tier."""
    families: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("long") is None:
            families[item.nodeid.partition("[")[0]].append(item)
    return {item.nodeid for cases in families.values() for item in quick_cases(cases)}


def quick_cases(cases: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return as few of a test's cases as show every value of its small parameters, at least one."""
    values: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        for name, index in _indices(case).items():
            values[name].add(index)
    left = {(name, index) for name, found in values.items() if len(found) <= MAX_SMALL for index in found}
    chosen: list[pytest.Item] = []
    for case in sorted(cases, key=lambda case: zlib.crc32(case.nodeid.encode())):  # else always the first of the large ones
        shown = left & set(_indices(case).items())
        if shown or not chosen:
            chosen.append(case)
            left -= shown
    return chosen


def _indices(item: Any) -> dict[str, int]:
    return item.callspec.indices if hasattr(item, "callspec") else {}
