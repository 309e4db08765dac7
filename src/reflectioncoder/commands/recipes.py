"""Actions:

recipes list             name and description of each shipped recipe
recipes show NAME        print a recipe
recipes copy NAME DEST   copy a recipe, to change it
recipes keys             every setting: default, meaning, what each value of a choice does
recipes schema           the JSON Schema of recipes, for editors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from reflectioncoder.commands import Outcome
from reflectioncoder.errors import UsageError

if TYPE_CHECKING:
    from reflectioncoder.config.loading import KeyDoc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "show", "copy", "keys", "schema"), default="list", help="see below")
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of a shipped recipe (show, copy)")
    parser.add_argument("dest", nargs="?", type=Path, metavar="DEST", help="file or folder to copy to (copy)")


def run(args: argparse.Namespace) -> Outcome:
    from reflectioncoder.config.loading import field_docs, find_recipe, load_recipe, shipped_recipes
    from reflectioncoder.config.schema import recipe_schema
    from reflectioncoder.data.files import write_atomic

    if args.action == "list":
        found = {name: load_recipe(path).recipe.description for name, path in shipped_recipes().items()}
        return Outcome({"recipes": found}, [f"{name:<24} {text}" for name, text in found.items()])
    if args.action == "keys":
        docs = field_docs()
        lines = [line for key, about in docs.items() for line in _key_lines(key, about)]
        value = {k: {"type": d.type, "default": d.default, "doc": d.meaning, "values": dict(d.values)} for k, d in docs.items()}
        return Outcome({"keys": value}, lines)
    if args.action == "schema":
        schema = recipe_schema()
        return Outcome(schema, json.dumps(schema, indent=2, ensure_ascii=False).splitlines())
    if not args.name:
        raise UsageError(f"recipes {args.action} needs the NAME of a recipe; see: reflectioncoder recipes list")
    path = find_recipe(args.name)
    text = path.read_text(encoding="utf-8")
    if args.action == "show":
        return Outcome({"name": args.name, "yaml": text}, [text.rstrip("\n")])
    if args.dest is None:
        raise UsageError("recipes copy needs a DEST")
    dest = args.dest / path.name if args.dest.is_dir() else args.dest
    if dest.exists():
        raise UsageError(f"{dest} exists already; it is not overwritten")
    return Outcome({}, [], [write_atomic(dest, text)])


def _key_lines(key: str, about: KeyDoc) -> list[str]:
    values = [f"{'':<32}   {value}: {text}" for value, text in about.values.items()]
    return [f"{key:<32} {about.default or about.type:<28} {about.meaning}", *values]
