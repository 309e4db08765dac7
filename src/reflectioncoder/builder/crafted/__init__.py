"""Crafted tests: few inputs, each a named case, that detect most slips of a problem; the reference gives the expected values."""
