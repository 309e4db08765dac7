"""Keeps benchmarks out of training data: recognises tasks by id, by words, and by what programs do. No torch."""
