"""Reads recipes: YAML → `declarations.Recipe`, with dotted overrides and the provenance of every value.

An unknown key is an error with a suggestion, never ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.settings import Origins, describe, field_types, section
from reflectioncoder.config.yaml_text import one_line, parse_yaml
from reflectioncoder.errors import UsageError
from reflectioncoder.server_address import without_credentials

RECIPES_DIR = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with the origin of every value: dotted key → "recipe FILE:LINE", "--set", or "default" (absent)."""

    recipe: Recipe
    provenance: dict[str, str]

    def to_yaml(self) -> str:
        """Return the whole configuration as YAML, each line with its origin and meaning; it loads as a recipe again."""
        lines: list[str] = []
        _dump(self.recipe, "", self.provenance, lines)
        return "\n".join(lines) + "\n"


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set the value of a dotted key.

    Raises:
        UsageError: there is no section of this name, but a value.
    """
    *sections, name = dotted.split(".")
    for depth, name_of_section in enumerate(sections, start=1):
        inner = values.get(name_of_section)
        if inner is not None and not isinstance(inner, dict):
            outer = ".".join(sections[:depth])
            raise UsageError(f"{outer} is a value and has no keys\n  where:   --set {dotted}\n  allowed: --set {outer}=VALUE")
        values[name_of_section] = values = dict(inner or {})  # a copy: an alias may stand for it elsewhere
    values[name] = value


def load_recipe(source: str | Path, overrides: list[str] | None = None) -> ResolvedRecipe:
    """Load a recipe and apply overrides. The result's `recipe` is the `Recipe`; its `provenance` says where each value comes from.

    Args:
        source: the path of a YAML file, or the name of a recipe that comes with the package.
        overrides: `section.key=value` each; values are YAML.

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
        _set(values, dotted, None if raw.strip() in ("", "null", "~") else value)
        where = {key: origin for key, origin in where.items() if not key.startswith(f"{dotted}.")}
        # What is set may be a key, or a URL with a password: messages and config.yaml name the key alone.
        may_be_secret = "://" in raw or "endpoint" in override
        where[dotted] = f"--set {dotted}" if may_be_secret else f"--set {override}"
    return ResolvedRecipe(section(Recipe, values, "", Origins(where, field_docs())), where)


def with_settings(resolved: ResolvedRecipe, settings: Mapping[str, Any], origin: str) -> ResolvedRecipe:
    """Return the recipe with other values of some dotted keys; `origin` is what messages and config.yaml say of where they come from.

    Raises:
        UsageError: unknown key; wrong type; out of range.
    """
    values = dataclasses.asdict(resolved.recipe)
    where = dict(resolved.provenance)
    for dotted, value in settings.items():
        _set(values, dotted, value)
        where = {key: said for key, said in where.items() if not key.startswith(f"{dotted}.")}
        where[dotted] = origin
    return ResolvedRecipe(section(Recipe, values, "", Origins(where, field_docs())), where)


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe whose `dataclasses.asdict` was kept as JSON.

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
            shown = without_credentials(value) if spec.name == "base_url" else value
            lines.append(f"{indent}{spec.name}: {one_line(shown)}  # [{origin}] {spec.metadata['doc']}")


@dataclass(frozen=True)
class KeyDoc:
    """The documentation of one key of a recipe. `values`: what each value of a choice does; empty if the key is no choice."""

    type: str
    default: str
    meaning: str
    values: Mapping[str, str] = field(default_factory=dict)


def field_docs() -> dict[str, KeyDoc]:
    """Return every key of a recipe by its dotted name. `docs/recipes.md` is made from it."""
    result: dict[str, KeyDoc] = {}

    def walk(cls: type, prefix: str) -> None:
        hints = field_types(cls)
        for spec in fields(cls):
            annotation, key = hints[spec.name], f"{prefix}{spec.name}"
            inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and is_dataclass(a)]
            default = "" if spec.default is dataclasses.MISSING else one_line(spec.default)
            if get_origin(annotation) is dict:
                default = "{}"
            if inner:
                if default:
                    result[key] = KeyDoc("section or null", default, spec.metadata["doc"])
                walk(inner[0], key + ".")
            else:
                required = spec.default is spec.default_factory is dataclasses.MISSING
                default = "required" if required else default
                result[key] = KeyDoc(describe(annotation), default, spec.metadata["doc"], spec.metadata.get("values", {}))

    walk(Recipe, "")
    return result
