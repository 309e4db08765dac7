"""Functions for callers of the library that the command line does not need; `import reflectioncoder` gives them by name."""
