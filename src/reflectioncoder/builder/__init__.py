"""Builds reflection data: authors that write sequences with a real interpreter in the loop, filters, the funnel."""
