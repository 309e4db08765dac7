"""Reads YAML as recipes use it, mappings with text keys and a line number for every key; writes a value as one-line YAML.

What is not a recipe, by accident or on purpose (nested or repeated without end, keys that are no text), is one error with its line.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from reflectioncoder.errors import UsageError

_MAX_DEPTH = 32
_MAX_NODES = 100_000  # aliases count as often as they are used
_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """A loader of safe YAML that reads 1e-4 as a number and dates as text (YAML 1.2)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # a number of thousands of digits, a tag that does not fit
            raise yaml.constructor.ConstructorError(None, None, "this value cannot be read", node.start_mark) from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> tuple[Any, dict[str, int]]:
    """Return the value, and the line number of every dotted key.

    Raises:
        UsageError: no YAML; a key that is no text or is given twice; nested too deeply; far too large.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line, character = text.count("\n", 0, error.position) + 1, text[error.position]
        raise UsageError(f"{where}:{line}: not valid YAML: the character {character!a} is not allowed") from None
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        lines = _Walk(where).lines_of(node)
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply for a recipe") from None
    except (ValueError, OverflowError) as error:  # of the scanner: an escape beyond Unicode
        raise UsageError(f"{where}: not valid YAML: {error}") from None
    finally:
        loader.dispose()


class _Walk:
    """Goes through all nodes as often as they are used, before anything is made of them."""

    def __init__(self, where: str):
        self._where = where
        self._num_nodes = 0
        self._lines: dict[str, int] = {}

    def lines_of(self, node: yaml.Node) -> dict[str, int]:
        self._visit(node, "", 0)
        return self._lines

    def _fail(self, node: yaml.Node, what: str) -> UsageError:
        return UsageError(f"{self._where}:{node.start_mark.line + 1}: {what}")

    def _visit(self, node: yaml.Node, prefix: str, depth: int) -> None:
        self._num_nodes += 1
        if depth > _MAX_DEPTH:
            raise self._fail(node, "nested too deeply for a recipe")
        if self._num_nodes > _MAX_NODES:
            raise self._fail(node, "too much for a recipe; are its aliases meant to repeat this often?")
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._visit(item, prefix, depth + 1)
        elif isinstance(node, yaml.MappingNode):
            self._visit_mapping(node, prefix, depth)

    def _visit_mapping(self, node: yaml.MappingNode, prefix: str, depth: int) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            if key.tag == _MERGE:
                self._visit(value, prefix, depth + 1)
                continue
            if key.tag != _STR:
                shown = f", got {key.value!r}" if isinstance(key, yaml.ScalarNode) else ""
                raise self._fail(key, f"a key must be text{shown}")
            if key.value in seen:
                raise self._fail(key, f"the key {prefix + key.value!r} is given twice")
            seen.add(key.value)
            self._lines[prefix + key.value] = key.start_mark.line + 1
            self._visit(value, f"{prefix}{key.value}.", depth + 1)


def one_line(value: Any) -> str:
    """Return the value as YAML on one line."""
    if isinstance(value, tuple):
        value = list(value)
    text = _flow(value, None)
    # Only double quotes keep newlines, and what else ends a line, on one line.
    return text if text.isprintable() else _flow(value, '"')


def _flow(value: Any, style: str | None) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, default_style=style, width=float("inf"), allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
