"""Writes docs/recipes.md from the declarations in `reflectioncoder.config.declarations`: the page can never disagree with the code."""

from pathlib import Path

from reflectioncoder.config.loading import KeyDoc, field_docs, load_recipe, shipped_recipes

INTRODUCTION = """# Recipes and settings

A recipe is a YAML file that says everything about a run. Every key has a default except `name` and `model.name`, so a recipe
holds only what differs. `--set KEY=VALUE` overrides one key on the command line, as in `--set train.epochs=1`. Of a section,
`--set 'train={epochs: 1, lora: {rank: 8}}'` overrides the keys that it names; a setting that is a mapping itself, such as
`build.round_kinds`, is replaced whole.

This page is written by `make docs` from the declarations in `config/declarations.py`; `reflectioncoder recipes keys` prints
the same on a terminal.
"""

OTHER_WAYS = """## In an editor

`reflectioncoder recipes schema > recipe.schema.json` writes the JSON Schema of recipes. With the first line
`# yaml-language-server: $schema=recipe.schema.json` editors that use the YAML language server complete and check keys and
values.

## In Python

`reflectioncoder.config.declarations` has a dataclass for each section. It checks its values when it is made, by the same rules
as a recipe file.
"""

CHOICES = """## Choices

What each value of a choice does. The default is in bold.
"""


def page() -> str:
    docs = field_docs()
    parts = [INTRODUCTION, _shipped(), OTHER_WAYS, _table(docs), CHOICES, *_choices(docs)]
    return "\n".join(parts)


def _shipped() -> str:
    lines = [f"- `{name}`: {load_recipe(path).recipe.description}" for name, path in shipped_recipes().items()]
    return "\n".join(["## Shipped recipes", "", *lines, ""])


def _table(docs: dict[str, KeyDoc]) -> str:
    """Return a table for each section of a recipe, and one for the keys outside of all sections."""
    sections: dict[str, dict[str, KeyDoc]] = {}
    for key, about in docs.items():
        sections.setdefault(key.partition(".")[0] if "." in key else "", {})[key] = about
    ordered = sorted(sections, key=bool)  # those outside come first
    lines = ["## Keys", ""]
    for section in ordered:
        title = f"Section `{section}`" if section else "The run"
        lines += [f"### {title}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        for key, about in sections[section].items():
            kind, default = (_escaped("choice, see below" if about.values else about.type), _escaped(about.default))
            lines.append(f"| `{key}` | {kind} | {f'`{default}`' if default else ''} | {_escaped(about.meaning)} |")
        lines.append("")
    return "\n".join(lines)


def _choices(docs: dict[str, KeyDoc]) -> list[str]:
    return [_choice(key, about) for key, about in docs.items() if about.values]


def _choice(key: str, about: KeyDoc) -> str:
    kind = "a list of these values" if about.type.startswith("a list") else "one of these values"
    rows = [f"- {_marked(value, about.default)}: {text}" for value, text in about.values.items()]
    return "\n".join([f"### `{key}`", "", f"{about.meaning} It is {kind}:", "", *rows, ""])


def _marked(value: str, default: str) -> str:
    return f"**`{value}`**" if value == default or default == f"[{value}]" else f"`{value}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(__file__).with_name("recipes.md").write_text(page(), encoding="utf-8")
