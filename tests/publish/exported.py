"""An exported folder is read again: its rows, and the front matter of its card."""

import yaml

from reflectioncoder.data.files import read_jsonl


def rows_of(directory, name):
    return [row for _, row in read_jsonl(directory / f"{name}.jsonl")]


def front_matter(directory):
    return yaml.safe_load((directory / "README.md").read_text().split("---")[1])
