"""Evaluates programs: benchmarks, scoring in the sandbox, pass@k with intervals. Needs no model and no torch."""
