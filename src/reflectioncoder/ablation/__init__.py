"""Compares settings: one run per arm and seed, and paired differences to a control with intervals over tasks and seeds."""
