"""Differential tracing finds the place where an attempt parts from its reference, whatever the programs do."""

import pytest

from reflectioncoder.builder.tracing import diverge
from tests.builder.tracing_cases import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_place_and_the_variable_are_found(case):
    found = diverge(case.attempt, case.reference, case.test, case.before)
    assert found is not None
    assert {name: getattr(found, name) for name in case.expected} == case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_program_does_not_part_from_itself(case):
    assert diverge(case.reference, case.reference, case.test, case.before) is None
