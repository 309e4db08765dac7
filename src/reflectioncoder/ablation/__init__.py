"""Compares settings: a run for every arm and seed, paired differences to a control with intervals over tasks and seeds."""
