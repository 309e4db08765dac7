"""Builds reflection data: authors write sequences with a real interpreter in the loop, filters drop bad ones, the funnel counts all."""
