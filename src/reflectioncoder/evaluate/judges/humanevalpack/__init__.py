"""Judges HumanEvalPack: HumanEval's tasks in six languages, to repair (HumanEvalFix) or to write (HumanEvalSynthesize)."""
