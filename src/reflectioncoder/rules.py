"""Whose rules decide about HumanEval(+) and MBPP(+), and whose cut completions of MultiPL-E: for command line and code alike."""

from typing import Literal, get_args

Rules = Literal["evalplus-head", "evalplus-0.3.1"]
RULES: tuple[Rules, ...] = get_args(Rules)  # the first is the default

CutRule = Literal["multipl-e", "reflectioncoder"]
CUT_RULES: tuple[CutRule, ...] = get_args(CutRule)
