"""Our rules of comparison against EvalPlus 0.3.1 itself: each answer is judged by both, in every kind of task.

EvalPlus judges in its own process, where answer and expected value meet as objects. Here an answer travels as bytes first; that
must change no verdict. The deliberate exceptions are in `DELIBERATE`, with their reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.evaluate.answers_beside_evalplus import PAIRS, WORLDS, World, ours, verdicts_of_evalplus

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

_OWN = "an answer's own __eq__ or __iter__ is not asked: it could say anything"
_CAP = "of 200,000 values that are not plain nothing is sent"
# (answer, our verdict, reason): where ours is another than EvalPlus's. Each must be needed.
DELIBERATE: list[tuple[str, bool, str]] = [
    # Answers that no task has: they are sent as objects, which equal nothing and raise nothing.
    ('np.array([(1, 2)], dtype="i4,i4")', True, "a type that is not sent; there its comparison raises"),
    ("nested(190, Int(1))", False, "nested deeper than is sent for types that are not plain"),
    ('{"a": [1], "b": 2}.items()', True, "unhashable items are not sent; there the comparison raises"),
    *((answer, False, _OWN) for answer in ("Yes()", "YesInt(2)", "YesFloat(2.0)", "YesList([3])", "YesTuple((3,))", "YesDict()")),
    *((answer, False, _OWN) for answer in ("[Yes(), Yes()]", "[YesInt(5), YesInt(6)]", "YesList()", "[Yes()] * 3000", "Number(1)")),
    *((answer, False, _OWN) for answer in ('YesStr("ba")', '{"a": Yes(), "b": Yes()}')),
    *((answer, True, _OWN) for answer in ("NoInt(1)", "NoList([1, 2])", "Shown([1, 2])", "Raises()")),
    ("list(map(np.int64, range(200_001)))", False, _CAP),
]


@pytest.fixture(scope="module")
def all_verdicts(evalplus: Any) -> dict[World, dict[tuple[str, str], bool]]:
    return {world: verdicts_of_evalplus(evalplus, PAIRS, world) for world in WORLDS}


@dataclass(frozen=True)
class Difference:
    answer: str
    expected: str
    world: World
    ours: bool


def assert_same(differences: Iterable[Difference]) -> None:
    """None but the deliberate ones."""
    unknown: dict[str, list[str]] = {}
    for different in differences:
        if (different.answer, different.ours) not in [known[:2] for known in DELIBERATE]:
            verdicts = f"EvalPlus {not different.ours}, ours {different.ours}"
            unknown.setdefault(f"{different.answer} for {different.expected}: {verdicts}", []).append(str(different.world))
    if unknown:
        pytest.fail("\n".join(f"{case} in {len(worlds)}: {', '.join(worlds[:3])}" for case, worlds in unknown.items()), pytrace=False)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("answer", dict.fromkeys(answer for answer, _ in PAIRS))
def test_an_answer_is_judged_as_by_evalplus_in_every_kind_of_task(all_verdicts, answer):
    differences = [
        Difference(*pair, world, verdict)
        for pair in PAIRS
        if pair[0] == answer
        for world, verdicts in all_verdicts.items()
        if (verdict := ours(world, *pair)) != verdicts[pair]
    ]
    assert_same(differences)
    known = {verdict for other, verdict, _ in DELIBERATE if other == answer}
    assert {different.ours for different in differences} >= known, "a difference that is none any more"


@pytest.mark.parametrize(
    ("answer", "expected", "world"),
    [
        ("list(map(np.int64, range(200_001)))", "list(range(200_001))", WORLDS[0]),
        ("np.arange(50_000)", "list(range(50_000))", World("mbpp", "Diff")),
        ("list(range(500_000))", "list(range(500_000))", WORLDS[0]),
        ("[*range(499_999), 499_999.0]", "list(range(500_000))", WORLDS[0]),
        ("[*range(499_999), 499_998]", "list(range(500_000))", World("mbpp", "Diff")),
    ],
)
def test_very_long_answers_are_judged_as_by_evalplus(evalplus, answer, expected, world):
    (their_verdict,) = verdicts_of_evalplus(evalplus, [(answer, expected)], world).values()
    verdict = ours(world, answer, expected)
    assert_same([Difference(answer, expected, world, verdict)] if verdict != their_verdict else [])
