"""Loads recipes from YAML as `declarations.Recipe`, with dotted overrides and the provenance of every value.

An unknown key is an error with a suggestion, never ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from reflectioncoder.config.credentials import shown_setting
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.settings import Origins, describe, field_types, section
from reflectioncoder.config.yaml_text import one_line, parse_yaml
from reflectioncoder.errors import UsageError

RECIPES_DIR = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with the origin of every value: dotted key → "recipe FILE:LINE" or "--set"; an absent key has its default."""

    recipe: Recipe
    provenance: dict[str, str]

    def to_yaml(self) -> str:
        """Return the whole configuration as YAML that loads as a recipe, each line with its origin and meaning."""
        lines: list[str] = []
        _dump(self.recipe, "", self.provenance, lines)
        return "\n".join(lines) + "\n"


def leaves(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings by dotted keys, those of a section one by one: {train: {epochs: 2}} sets train.epochs and leaves the rest.

    A setting that is a mapping itself, such as build.round_kinds, is yielded whole.
    """
    for dotted, value in settings.items():
        if isinstance(value, Mapping) and value and _is_section(dotted):
            yield from leaves({f"{dotted}.{name}": inner for name, inner in value.items()})
        else:
            yield dotted, value


def _is_section(dotted: str) -> bool:
    section_type: type | None = Recipe
    for name in dotted.split("."):
        section_type = None if section_type is None else _section_in(field_types(section_type).get(name))
    return section_type is not None


def _section_in(annotation: Any) -> type | None:
    """Return the section that a field holds, or may hold beside null; None if it holds none."""
    return next((a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and is_dataclass(a)), None)


def _set(values: dict[str, Any], dotted: str, value: Any, origin: str) -> None:
    """Set the value of a dotted key.

    Raises:
        UsageError: a section in the dotted key is a plain value.
    """
    *sections, name = dotted.split(".")
    for depth, name_of_section in enumerate(sections, start=1):
        inner = values.get(name_of_section)
        if inner is not None and not isinstance(inner, dict):
            outer = ".".join(sections[:depth])
            raise UsageError(f"{outer} is a value and has no keys\n  where:   {origin}\n  allowed: {outer}: VALUE")
        values[name_of_section] = values = dict(inner or {})  # a copy: an alias may stand for it elsewhere
    if value != {} or not _is_section(dotted):
        values[name] = value
    elif values.get(name) is None:  # {} takes a section with its defaults where there is none
        values[name] = {}


def load_recipe(source: str | Path, overrides: list[str] | None = None) -> ResolvedRecipe:
    """Load a recipe and apply overrides. The result's `recipe` is the `Recipe`, its `provenance` the origin of each value.

    Args:
        source: the path of a YAML file, or the name of a recipe that comes with the package.
        overrides: `section.key=value` each; values are YAML. Of a section, those keys are set that are given.

    Raises:
        UsageError: no such recipe; bad YAML; unknown key; wrong type; out of range.

    Example:
        >>> from reflectioncoder import load_recipe
        >>> loaded = load_recipe("demo", ["train.epochs=2"])
        >>> loaded.recipe.train.epochs, loaded.provenance["train.epochs"]
        (2.0, '--set train.epochs=2')
    """
    path = find_recipe(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {error}") from None
    values, lines = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a recipe is a mapping, got {type(values).__name__}")
    where = {key: f"{path}:{line}" for key, line in lines.items()}
    for override in overrides or []:
        dotted, equals, raw = override.partition("=")
        if not equals or not dotted:
            raise UsageError.for_value("malformed override", "--set", override, "key.subkey=value")
        value, _ = parse_yaml(raw, f"--set {dotted}")
        # What is set may be a key, or a URL with a password: messages and config.yaml name the key alone.
        may_be_secret = "://" in raw or "endpoint" in override
        origin = f"--set {dotted}" if may_be_secret else f"--set {override}"
        for key, inner in leaves({dotted: None if raw.strip() in ("", "null", "~") else value}):
            where = _override(values, where, key, inner, origin)
    return ResolvedRecipe(section(Recipe, values, "", Origins(where, field_docs())), where)


def _override(values: dict[str, Any], where: Mapping[str, str], dotted: str, value: Any, origin: str) -> dict[str, str]:
    """Set the value of a dotted key, and return where all values come from now."""
    _set(values, dotted, value, origin)
    is_replaced = value != {} or not _is_section(dotted)
    return {key: said for key, said in where.items() if not (is_replaced and key.startswith(f"{dotted}."))} | {dotted: origin}


def with_settings(resolved: ResolvedRecipe, settings: Mapping[str, Any], origins: Mapping[str, str]) -> ResolvedRecipe:
    """Return the recipe with other values of some dotted keys; `origins`: what messages and config.yaml say of where each comes from.

    Raises:
        UsageError: unknown key; wrong type; out of range.
    """
    values = dataclasses.asdict(resolved.recipe)
    where = dict(resolved.provenance)
    for dotted, value in settings.items():
        where = _override(values, where, dotted, value, origins[dotted])
    return ResolvedRecipe(section(Recipe, values, "", Origins(where, field_docs())), where)


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe from its `dataclasses.asdict`, read back from JSON.

    Raises:
        UsageError: unknown key; wrong type; out of range.
    """
    return section(Recipe, dict(values), "", Origins({}, field_docs()))


def find_recipe(source: str | Path) -> Path:
    """Return a recipe's path for a path or the name of a shipped recipe."""
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


def _dump(settings: Any, prefix: str, provenance: dict[str, str], lines: list[str]) -> None:
    indent = "  " * prefix.count(".")
    for spec in fields(settings):
        value, key = getattr(settings, spec.name), f"{prefix}{spec.name}"
        if is_dataclass(value):
            lines.append(f"{indent}{spec.name}:")
            _dump(value, key + ".", provenance, lines)
        else:
            origin = " ".join(provenance.get(key, "default").split())  # an override may have had newlines
            lines.append(f"{indent}{spec.name}: {one_line(shown_setting(key, value))}  # [{origin}] {spec.metadata['doc']}")


@dataclass(frozen=True)
class KeyDoc:
    """The documentation of one key of a recipe. `values`: the effect of each value of a choice; empty if the key is not a choice."""

    type: str
    default: str
    meaning: str
    values: Mapping[str, str] = field(default_factory=dict)


def field_docs() -> dict[str, KeyDoc]:
    """Return the documentation of every key by its dotted name, from which `docs/recipes.md` is generated."""
    result: dict[str, KeyDoc] = {}

    def walk(cls: type, prefix: str) -> None:
        hints = field_types(cls)
        for spec in fields(cls):
            annotation, key = hints[spec.name], f"{prefix}{spec.name}"
            inner = _section_in(annotation)
            default = "" if spec.default is dataclasses.MISSING else one_line(spec.default)
            if get_origin(annotation) is dict:
                default = "{}"
            if inner:
                if default:
                    result[key] = KeyDoc("section or null", default, spec.metadata["doc"])
                walk(inner, key + ".")
            else:
                required = spec.default is spec.default_factory is dataclasses.MISSING
                default = "required" if required else default
                result[key] = KeyDoc(describe(annotation), default, spec.metadata["doc"], spec.metadata.get("values", {}))

    walk(Recipe, "")
    return result
