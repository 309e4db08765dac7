"""Writes docs/reasons.md from `reflectioncoder.builder.reasons`: a reason without a remedy here is a KeyError."""

from pathlib import Path

from reflectioncoder.builder.reasons import REASONS, Reason

KEEP = "Nothing: it keeps the data clean."
TESTS = "Look at the problem's tests; drop problems whose tests say something else than the statement."

REMEDIES: dict[Reason, str] = {
    "no_attempt": "Sample more completions, or set `build.rollouts` to the number that each problem has.",
    "no_code": "Use a stronger model, or `build.hybrid: true`.",
    "refused": "Shorten the problems, or give the server a longer context.",
    "empty_answer": "Raise `endpoint.max_tokens`, or turn the reasoning down by `endpoint.extra_body`.",
    "no_answer": "Build again, perhaps with a higher `endpoint.retries` or `endpoint.timeout_s`: only what is missing is asked.",
    "answer_cut_off": "Raise `endpoint.max_tokens`.",
    "unresolved": "Raise `build.max_executions` or `build.rollouts`; for weak models `build.hybrid: true`.",
    "session_lost": "Single cases are normal. Many: `reflectioncoder doctor`, and `build.cell_timeout_s`.",
    "first_try": "Harder problems, or a weaker model. `build.keep_first_try: true` keeps these dialogues.",
    "no_diagnosis": "Another model or other prompts (`build.prompts`).",
    "repeated_attempt": "Raise `endpoint.temperature`.",
    "invented_output": "Another model; with `endpoint.assistant_prefix` the output stands in the model's own turn.",
    "other_language": "Say in `build.prompts` in which language the model writes.",
    "no_assertion": "Another model or other prompts; with `build.hybrid: true` the tests are the problem's.",
    "assertions_weakened": KEEP,
    "output_too_long": KEEP,
    "answer_without_program": "Another model or other prompts.",
    "answer_has_tests": "Another model or other prompts.",
    "answer_refers_back": "Another model or other prompts.",
    "answer_fails_own_tests": KEEP,
    "answer_fails_tests": TESTS,
    "not_deterministic": "Leave out problems about chance, time and the order of sets.",
    "not_understood": "Write the reference as plain functions at the top level.",
    "outside_world": "Leave out problems that need files, input, the network or the clock.",
    "special_tokens": "Take the special token out of the problem's text.",
    "vacuous_tests": "Lower `build.min_killed_mutants` only if you trust the problem's own tests.",
    "too_long": "Raise `build.max_chars` or `build.max_tokens`.",
    "duplicate": "More problems rather than more samples of the same ones.",
    "near_duplicate": "More varied problems, or a higher `build.near_duplicates`.",
    "contaminated": "Nothing: a model trained on it could not be scored on that benchmark.",
    "behaves_like_benchmark": "Nothing: a model trained on it could not be scored on that benchmark.",
    "not_python": "Use `mutation` (Python, JavaScript), `attempts` or `build.hybrid` for other languages.",
    "no_reference": "Add reference and tests, or choose an author that does without: `openai`, `local`, `vllm`.",
    "reference_fails": TESTS,
    "attempt_passes": "Raise `build.shown_tests`, or `build.tests: crafted`.",
    "repair_changes_nothing": KEEP,
    "implausible_attempt": KEEP,
    "unsupported_claim": KEEP,
    "unexplained": "nothing to do: another slip takes its place; with many of them leave `build.max_tokens` out or raise it",
    "operator_share": "More problems, or a higher `build.max_operator_share`.",
    "samples_per_problem": "Raise `build.samples_per_problem` if you want more of each problem.",
}

INTRODUCTION = """# Rejection reasons

Written by `make docs` from `builder/reasons.py`.

A build keeps a candidate only if every check holds. What is turned away stands in `rejected.jsonl` with one of these reasons, and
`build.json` counts them: this is the funnel that `build` prints and that the card of an export shows.

Rejections are normal: of a model that solves half of its problems at the first try, half of the dialogues are rejected as `first_try`.
Look at the commonest reason first, and at a few of its rows:

```bash
grep '"reason": "unresolved"' runs/NAME/build/rejected.jsonl | head -n 3
```

The checks that need more words are explained under [what is checked](checks.md).

| reason | meaning | what helps |
|---|---|---|
"""


def page() -> str:
    return INTRODUCTION + "".join(f"| `{reason}` | {meaning} | {REMEDIES[reason]} |\n" for reason, meaning in REASONS.items())


if __name__ == "__main__":
    Path(__file__).with_name("reasons.md").write_text(page(), encoding="utf-8")
