"""Judges programs in other languages, whose tests stand in the program's own file: MultiPL-E."""
