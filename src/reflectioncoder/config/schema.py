"""Makes the JSON Schema of recipes, for editors: the keys, their meaning and the allowed values (`reflectioncoder recipes schema`)."""

from __future__ import annotations

import dataclasses
import types
from dataclasses import Field, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin

from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.settings import field_types

_SIMPLE = {int: "integer", float: "number", str: "string", bool: "boolean"}


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a recipe. It does not cover a field's `check`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ReflectionCoder recipe", **_section(Recipe)}


def _section(cls: type) -> dict[str, Any]:
    types_of = field_types(cls)
    required = [f.name for f in fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    properties = {spec.name: _property(spec, types_of[spec.name]) for spec in fields(cls)}
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": required} if required else {})


def _property(spec: Field, annotation: Any) -> dict[str, Any]:
    bounds = {"minimum": spec.metadata.get("low"), "maximum": spec.metadata.get("high")}
    schema = _type(annotation, {name: bound for name, bound in bounds.items() if bound is not None})
    default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
    values = [f"{value}: {text}." for value, text in spec.metadata.get("values", {}).items()]
    return {
        "description": "\n".join([spec.metadata["doc"], *values]),
        **({} if default is dataclasses.MISSING else {"default": default}),
        **schema,
    }


def _type(annotation: Any, bounds: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if a is type(None) else _type(a, bounds) for a in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return {"type": "array", "items": _type(args[0], {})}
    if origin is dict:
        return {"type": "object"}
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _section(annotation)
    return {"type": _SIMPLE[annotation], **bounds}
