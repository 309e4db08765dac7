"""Recipes: YAML → `config.Recipe`, with dotted overrides and the provenance of every value.

An unknown key is an error with a suggestion, never ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from reflectioncoder.config import Recipe
from reflectioncoder.errors import UsageError
from reflectioncoder.server_address import without_credentials

RECIPES_DIR = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with the origin of every value: dotted key → "recipe FILE:LINE", "--set", or "default" (absent)."""

    recipe: Recipe
    provenance: dict[str, str]

    def to_yaml(self) -> str:
        """The whole configuration, each line with its origin and meaning; loads as a recipe again."""
        lines: list[str] = []
        _dump(self.recipe, "", self.provenance, lines)
        return "\n".join(lines) + "\n"


# --- YAML with line numbers ---------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and reads 1e-4 as a number (YAML 1.2), not as text (YAML 1.1)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$"),
    list("-+0123456789."),
)


def _parse_yaml(text: str, where: str) -> tuple[Any, dict[str, int]]:
    """The value, and the line number of every dotted key."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[str] = set()
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            if dotted in seen:
                raise UsageError(f"{where}:{key.start_mark.line + 1}: the key {dotted!r} is given twice")
            seen.add(dotted)
            lines[dotted] = key.start_mark.line + 1
            walk(value, dotted + ".")

    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        walk(node, "")
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    finally:
        loader.dispose()


# --- typed construction -------------------------------------------------------------------------------------------------


def _describe(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _describe(a) for a in args)
    if origin is tuple:
        return f"a list of {_describe(args[0])}"
    if origin is dict:
        return "a mapping"
    if is_dataclass(annotation):
        return "a section"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


def _convert(value: Any, annotation: Any, key: str, where: dict[str, str]) -> Any:
    """`value` as `annotation` says, or a UsageError that names key, place, value and what is allowed."""
    origin, args = get_origin(annotation), get_args(annotation)
    place = f"{key} ({where.get(key, 'default')})"
    if isinstance(annotation, type) and is_dataclass(annotation):
        if isinstance(value, dict):
            return _construct(annotation, value, key + ".", where)
    elif origin in (Union, types.UnionType):
        if value is None:
            return None
        return _convert(value, next(a for a in args if a is not type(None)), key, where)
    elif origin is Literal:
        if value in args:
            return value
        raise UsageError.for_value("this value is not allowed", place, value, [str(a) for a in args])
    elif origin is dict:
        if isinstance(value, dict):
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_convert(item, args[0], key, where) for item in value)
    elif (annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool)) or (type(value) is annotation):
        return annotation(value)
    elif annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    raise UsageError.for_value("this value has the wrong type", place, value, _describe(annotation))


def _construct(cls: type, values: dict[str, Any], prefix: str, where: dict[str, str]) -> Any:
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in known:
            dotted = f"{prefix}{name}"
            raise UsageError.for_value(
                "unknown key in the recipe", where.get(dotted, "recipe"), dotted, known, _suggest(name, known, prefix)
            )
    result: dict[str, Any] = {}
    for name, spec in known.items():
        key = f"{prefix}{name}"
        if name not in values:
            if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                raise UsageError(f"the recipe lacks {key}\n  what:    {spec.metadata['doc']}")
            continue
        result[name] = _convert(values[name], hints[name], key, where)
        low, high = spec.metadata.get("low"), spec.metadata.get("high")
        number = result[name]
        if isinstance(number, (int, float)) and ((low is not None and number < low) or (high is not None and number > high)):
            span = f"{low if low is not None else '-∞'} to {high if high is not None else '∞'}"
            raise UsageError.for_value("this value is out of range", f"{key} ({where.get(key, '?')})", number, span)
    return cls(**result)


def _suggest(name: str, known: dict[str, Any], prefix: str) -> str | None:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    elsewhere = [key for key in field_docs() if key.rsplit(".", 1)[-1] == name]
    return f"did you mean {elsewhere[0]}?" if elsewhere else None


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            inner = values[section] = {}
        values = inner
    values[name] = value


def load_recipe(source: str | Path, overrides: list[str] | None = None) -> ResolvedRecipe:
    """Load a recipe file, or a shipped recipe by its name, and apply `a.b=value` overrides (values are YAML).

    Raises:
        UsageError: no such recipe; bad YAML; unknown key; wrong type; out of range.
    """
    path = find_recipe(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from None
    values, lines = _parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a recipe is a mapping, got {type(values).__name__}")
    where = {key: f"{path}:{line}" for key, line in lines.items()}
    for override in overrides or []:
        dotted, equals, raw = override.partition("=")
        if not equals or not dotted:
            raise UsageError.for_value("malformed override", "--set", override, "key.subkey=value")
        value, _ = _parse_yaml(raw, f"--set {dotted}")
        _set(values, dotted, None if raw.strip() in ("", "null", "~") else value)
        # What is set may be a URL with a password: messages and config.yaml name the key alone.
        where[dotted] = f"--set {dotted}" if "://" in raw else f"--set {override}"
    return ResolvedRecipe(_construct(Recipe, values, "", where), where)


def find_recipe(source: str | Path) -> Path:
    """A recipe's path from a path or the name of a shipped recipe."""
    path = Path(source)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    name = str(source).removeprefix("recipes/").removesuffix(".yaml")
    if name in shipped:
        return shipped[name]
    raise UsageError.for_value("no such recipe", "RECIPE", str(source), [*shipped, "or the path of a YAML file"])


def shipped_recipes() -> dict[str, Path]:
    return {path.stem: path for path in sorted(RECIPES_DIR.glob("*.yaml"))}


# --- printing -----------------------------------------------------------------------------------------------------------


def _scalar(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _dump(section: Any, prefix: str, provenance: dict[str, str], lines: list[str]) -> None:
    indent = "  " * prefix.count(".")
    for spec in fields(section):
        value, key = getattr(section, spec.name), f"{prefix}{spec.name}"
        if is_dataclass(value):
            lines.append(f"{indent}{spec.name}:")
            _dump(value, key + ".", provenance, lines)
        else:
            shown = without_credentials(value) if spec.name == "base_url" else value
            lines.append(f"{indent}{spec.name}: {_scalar(shown)}  # [{provenance.get(key, 'default')}] {spec.metadata['doc']}")


def field_docs() -> dict[str, tuple[str, str, str]]:
    """Every key of a recipe: dotted name → (type, default, meaning). The source of `docs/recipes.md`."""
    result: dict[str, tuple[str, str, str]] = {}

    def walk(cls: type, prefix: str) -> None:
        hints = typing.get_type_hints(cls)
        for spec in fields(cls):
            annotation, key = hints[spec.name], f"{prefix}{spec.name}"
            inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and is_dataclass(a)]
            default = "" if spec.default is dataclasses.MISSING else _scalar(spec.default)
            if get_origin(annotation) is dict:
                default = "{}"
            if inner:
                if default:
                    result[key] = ("section or null", default, spec.metadata["doc"])
                walk(inner[0], key + ".")
            else:
                required = spec.default is spec.default_factory is dataclasses.MISSING
                result[key] = (_describe(annotation), "required" if required else default, spec.metadata["doc"])

    walk(Recipe, "")
    return result
