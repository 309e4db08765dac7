"""Judges BigCodeBench-Hard (arXiv 2406.15877): functions that use libraries, tested with `unittest`."""
