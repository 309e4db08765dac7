"""Evaluation: benchmarks, scoring in the sandbox, pass@k with intervals. No model, no torch."""
