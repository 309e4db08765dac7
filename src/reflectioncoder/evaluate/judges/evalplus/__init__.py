"""Judges functions by their answers to inputs, under EvalPlus's rules: HumanEval(+) and MBPP(+)."""
