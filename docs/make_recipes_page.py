"""Writes docs/recipes.md from the declarations in `reflectioncoder.config.declarations`: the page can never disagree with the code."""

from pathlib import Path

from reflectioncoder.config.loading import field_docs, load_recipe, shipped_recipes


def page() -> str:
    lines = ["# Recipes", "", "Written by `make docs` from the declarations in `config.py`.", "", "## Shipped", ""]
    lines += [f"- `{name}`: {load_recipe(path).recipe.description}" for name, path in shipped_recipes().items()]
    lines += [
        "",
        "## In an editor",
        "",
        "`reflectioncoder recipes schema > recipe.schema.json` writes the JSON Schema of recipes. With the first line",
        "`# yaml-language-server: $schema=recipe.schema.json` editors that use the YAML language server complete and check keys and",
        "values.",
        "",
        "## In Python",
        "",
        "`reflectioncoder.config.declarations` has a dataclass for each section. Each checks its values when it is made, as recipes are checked.",
    ]
    lines += ["", "## Keys", "", "| key | type | default | meaning |", "|---|---|---|---|"]
    for key, (kind, default, text) in field_docs().items():
        kind, default = kind.replace("|", "\\|"), default.replace("|", "\\|")
        lines.append(f"| `{key}` | {kind} | {f'`{default}`' if default else ''} | {text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("recipes.md").write_text(page(), encoding="utf-8")
