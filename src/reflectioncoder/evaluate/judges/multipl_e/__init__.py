"""Judges programs in other languages, with their tests in the program's own file: MultiPL-E."""
