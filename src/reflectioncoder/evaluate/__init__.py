"""Evaluates programs: benchmarks, scoring in the sandbox, pass@k with intervals. No model, no torch."""
