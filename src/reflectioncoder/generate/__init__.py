"""Generates one-off programs: requests in, raw completions and extracted programs out."""
