"""Writes the table in docs/benchmarks.md from the rows of the registry: it can never disagree with the code."""

import re
from pathlib import Path

from reflectioncoder.evaluate.catalogue import table

PAGE = Path(__file__).with_name("benchmarks.md")
_TABLE = re.compile(r"(?<=<!-- written by `make docs` -->\n\n).*?(?=\n\n)", re.DOTALL)


def page() -> str:
    """Return the page with the table as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    if _TABLE.search(text) is None:
        raise ValueError("the page has no place for the table")
    return _TABLE.sub(lambda _: table(), text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
