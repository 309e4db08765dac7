"""Judges HumanEvalPack: HumanEval's tasks in six languages, to be repaired (HumanEvalFix) or written (HumanEvalSynthesize)."""
