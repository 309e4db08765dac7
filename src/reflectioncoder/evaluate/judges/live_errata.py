"""LiveCodeBench's published errata: tasks whose tests reject correct programs. As in the official scores, these tasks count.

The results also report scores without them.
"""

from __future__ import annotations

_SEVERAL_ANSWERS = "several answers are right, the tests know one"
_INTERACTIVE = "interactive: the tests cannot be passed"
_WRONG_TESTS = "wrong tests"
ERRATA: dict[str, str] = {
    **dict.fromkeys(("abc311_c", "abc326_d", "abc327_b", "abc333_e", "abc343_e", "abc362_c"), _SEVERAL_ANSWERS),
    **dict.fromkeys(("find-words-containing-character", "find-the-peaks"), _SEVERAL_ANSWERS),
    "generate-binary-strings-without-adjacent-zeros": _SEVERAL_ANSWERS,
    **dict.fromkeys(("abc337_e", "abc355_e"), _INTERACTIVE),
    "abc350_c": _WRONG_TESTS,
}
"""Id or title of a task → its error (ERRATA.md of the official repository at 174aacf)."""


def erratum_of(question_id: str, title: str) -> str:
    """Return a task's known error; "" if there is none."""
    return ERRATA.get(question_id) or ERRATA.get(title.strip().lower().replace(" ", "-"), "")
