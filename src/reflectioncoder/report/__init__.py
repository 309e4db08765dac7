"""Writes the report: one self-contained HTML page about runs. No network, no build step, no torch."""
