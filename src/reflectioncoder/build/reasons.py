"""The names of the reasons for which a candidate is no sample; `gates.REASONS` says what each means."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "no_code",
    "refused",
    "answer_cut_off",
    "unresolved",
    "session_lost",
    "first_try",
    "no_assertion",
    "assertions_weakened",
    "output_too_long",
    "answer_without_program",
    "answer_has_tests",
    "answer_refers_back",
    "answer_fails_own_tests",
    "answer_fails_tests",
    "not_deterministic",
    "not_understood",
    "outside_world",
    "special_tokens",
    "vacuous_tests",
    "too_long",
    "duplicate",
    "near_duplicate",
    "contaminated",
    "behaves_like_benchmark",
    "not_python",
    "no_reference",
    "reference_fails",
    "attempt_passes",
    "repair_changes_nothing",
    "operator_share",
    "samples_per_problem",
]
