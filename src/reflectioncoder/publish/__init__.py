"""Writes data sets for other trainers from what a build has made: rows, their check, and a card. No torch."""
