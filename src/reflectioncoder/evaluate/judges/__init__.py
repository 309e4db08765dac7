"""Judges, one per kind of test, behind the protocol in `judges.base`."""
