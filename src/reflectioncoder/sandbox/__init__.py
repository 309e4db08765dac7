"""Runs untrusted programs: limits and typed results, isolation, one run, many runs, stateful sessions."""
