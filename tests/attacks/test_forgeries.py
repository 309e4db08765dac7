"""Forged tests: no program passes tests of MultiPL-E that it does not satisfy, whatever it does to them."""

import pytest

from reflectioncoder.evaluate.judges.multipl_e.preflight import preflight_programs
from reflectioncoder.evaluate.judges.multipl_e.programs import judge_program
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox.detect import detect_isolation
from tests.attacks.forgeries import FORGERIES

pytestmark = pytest.mark.timeout(1200)
KINDS = [(language, kind) for language, forgeries in FORGERIES.items() for kind in forgeries]
# Each language's first, and the others in the slow tier: that they work shows that the test of all of them can fail.
WORKING = [
    pytest.param(language, kind, marks=() if number == 0 else pytest.mark.slow)
    for language, forgeries in FORGERIES.items()
    for number, kind in enumerate(forgeries)
]


@pytest.fixture(scope="module")
def isolation():
    return detect_isolation()


def verdicts_on(language, kind, isolation, num_tasks):
    """On tasks of our own, which have the form of MultiPL-E's."""
    if missing := LANGUAGES[language].toolchain.missing():
        pytest.skip(f"{missing} is missing here: {LANGUAGES[language].toolchain.install}")
    rights = [program for program in preflight_programs(language) if program.kind == "right"][:num_tasks]
    wrongs = [program for program in preflight_programs(language) if program.kind == "wrong"]
    for right, wrong in zip(rights, wrongs, strict=False):
        common = next(n for n, (a, b) in enumerate(zip(right.program, wrong.program, strict=False)) if a != b)
        if language == "sh":  # whose right and wrong bodies begin alike
            common = right.program.index("() {\n") + len("() {\n")
        prompt = right.program[: right.program.rindex("\n", 0, common) + 1]
        yield judge_program(prompt + FORGERIES[language][kind], right.tests, isolation)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("language", "kind"), KINDS)
def test_a_forgery_does_not_pass(language, kind, isolation):
    verdicts = list(verdicts_on(language, kind, isolation, 2))
    assert {verdict.status for verdict in verdicts} & {"passed"} == set()


@pytest.mark.parametrize(("language", "kind"), WORKING)
def test_exit_codes_alone_would_pass_it(language, kind, isolation):
    """The forgeries work, on a task that they are made for: it is the challenge that finds them, and says what is wrong with them."""
    verdicts = list(verdicts_on(language, kind, isolation, None))
    assert any(verdict.harness_status == "OK" for verdict in verdicts), verdicts
    assert all(verdict.reason in ("unchecked", "early exit") for verdict in verdicts if verdict.harness_status == "OK"), verdicts
