"""Parses the YAML of recipes into mappings with text keys, with a line number for every key; writes a value as one-line YAML.

Anything that cannot be a recipe, by accident or on purpose (endless nesting or repetition, non-text keys), is an error with its line.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from reflectioncoder.errors import UsageError

_MAX_DEPTH = 32
_MAX_NODES = 100_000  # an alias counts each time it is used
_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """A loader of safe YAML whose plain values are those of YAML 1.2's core schema, and merge keys (YAML 1.1)."""

    bool_values: ClassVar[dict[str, bool]] = {"true": True, "false": False}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):  # an int with thousands of digits, a tag that does not fit
            raise yaml.constructor.ConstructorError(None, None, "this value cannot be read", node.start_mark) from None

    def construct_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        bases = {"0o": 8, "0x": 16}
        return int(text, bases.get(text[:2], 10))

    def construct_float(self, node: yaml.ScalarNode) -> float:
        text = self.construct_scalar(node).lower()
        return float(text.replace(".inf", "inf") if text.endswith(".inf") else "nan" if text == ".nan" else text)


_CORE = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+0123456789."),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("merge", r"<<", "<"),
)
"""Plain values that are no text: tag, pattern, first characters."""


class _Dumper(yaml.SafeDumper):
    """A dumper that puts texts in quotes which YAML 1.1 or 1.2 would read as something else."""


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_float)


def parse_yaml(text: str, where: str) -> tuple[Any, dict[str, int]]:
    """Return the value, and the line number of every dotted key.

    Raises:
        UsageError: not YAML; a key that is not text or is duplicated; nested too deeply; far too large.
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
    except (ValueError, OverflowError) as error:  # from the scanner: an escape beyond Unicode
        raise UsageError(f"{where}: not valid YAML: {error}") from None
    finally:
        loader.dispose()


class _Walk:
    """Visits all nodes, each as often as it is used, before values are constructed from them."""

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
    # Only double quotes keep newlines and other line terminators on one line.
    return text if text.isprintable() else _flow(value, '"')


def _flow(value: Any, style: str | None) -> str:
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, default_style=style, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
