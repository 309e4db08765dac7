"""Whose rules decide about HumanEval(+) and MBPP(+): named here for the command line, recipes and `evaluate.oracles` alike."""

from typing import Literal, get_args

Rules = Literal["evalplus-head", "evalplus-0.3.1"]
RULES: tuple[Rules, ...] = get_args(Rules)  # the first is the default
