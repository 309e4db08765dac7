"""Judges, one for each kind of test, behind the protocol of `judges.base`."""
