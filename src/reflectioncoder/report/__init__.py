"""Writes the report: one self-contained HTML page about runs. Needs no network, no build step and no torch."""
