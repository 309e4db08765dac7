"""Keeps benchmarks out of training data: tasks are recognised by id, by words, and by what programs do. No torch."""
