"""Generates one-off programs: takes requests, returns raw completions and the programs extracted from them."""
