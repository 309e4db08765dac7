"""Writes docs/cli.md from the parsers of all commands: the page can never disagree with `--help`."""

import argparse
import importlib
import inspect
import re
from pathlib import Path

from reflectioncoder.cli import COMMANDS, LIMIT, SEED, parser_of

INTRODUCTION = """# Commands

Written by `make docs` from the parsers. `reflectioncoder COMMAND --help` prints the same on a terminal. The result of a command goes
to stdout, messages go to stderr, and every command ends with the paths that it wrote. [Exit codes](exit-codes.md) are the same for
all of them.

`reflectioncoder --print-completion bash` (or `zsh`, `tcsh`) prints a script that lets the shell complete commands and options.
"""

GLOBAL_OPTIONS = "global options"
_PAGE = re.compile(r"docs/([\w/-]+\.md)")


def page() -> str:
    contents = "\n".join(f"- [`{name}`](#{name}): {text}" for name, text in COMMANDS.items())
    return "\n".join([INTRODUCTION, contents, "", _global_options(), *map(_section, COMMANDS)])


def _global_options() -> str:
    parser, seed, limit = parser_of("run"), ", ".join(f"`{name}`" for name in SEED), ", ".join(f"`{name}`" for name in LIMIT)
    group = next(group for group in parser._action_groups if group.title == GLOBAL_OPTIONS)
    rows = [action for action in _shown(group) if action.dest not in ("seed", "limit")]
    lines = [*_table(rows), f"| `--seed N` | seed of everything drawn at random; for {seed} |"]
    lines.append(f"| `--limit N` | take only the first N of what the command works on; for {limit} |")
    return "\n".join(["## Global options", "", "They may stand before or behind the command.", "", *lines, ""])


def _section(command: str) -> str:
    parser = parser_of(command)
    parts = [f"## {command}", "", f"{_sentence(COMMANDS[command])}", "", "```text", _usage(parser, command), "```", ""]
    groups = {group.title or "": _shown(group) for group in parser._action_groups if group.title != GLOBAL_OPTIONS}
    own = groups.pop("positional arguments") + groups.pop("options")
    for title, actions in {"": own, **groups}.items():
        if actions:
            parts += [*([f"With `{title}`:", ""] if title else []), *_table(actions), ""]
    parts += [_epilog(command), ""]
    if command in LIMIT:
        parts += [f"`--limit N` takes the first N {LIMIT[command]}.", ""]
    return "\n".join(parts)


def _shown(group: argparse._ArgumentGroup) -> list[argparse.Action]:
    return [a for a in group._group_actions if not isinstance(a, argparse._HelpAction) and a.help != argparse.SUPPRESS]


def _usage(parser: argparse.ArgumentParser, command: str) -> str:
    """Return positional arguments and required options; the others are in the table."""
    formatter = argparse.HelpFormatter("")
    positional = [_values(formatter, action) for action in parser._actions if not action.option_strings]
    required = [action for action in parser._actions if action.option_strings and action.required]
    options = [f"{action.option_strings[-1]} {_values(formatter, action)}" for action in required]
    return " ".join([f"reflectioncoder {command}", *positional, *options, "[options]"])


def _values(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    default = formatter._get_default_metavar_for_optional if action.option_strings else formatter._get_default_metavar_for_positional
    return formatter._format_args(action, default(action))


def _table(actions: list[argparse.Action]) -> list[str]:
    lines = ["| option | meaning |", "|---|---|"]
    formatter = argparse.HelpFormatter("")
    for action in actions:
        values = _values(formatter, action) if action.nargs != 0 else ""
        names = ", ".join(action.option_strings)
        named = f"{names} {values}".strip() if names else values
        lines.append(f"| `{_cell(named)}` | {_cell(formatter._expand_help(action))} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _epilog(command: str) -> str:
    """Return the rest of a command's help: paragraphs of words as they are, aligned lists as code."""
    text = inspect.cleandoc(importlib.import_module(f"reflectioncoder.commands.{command}").__doc__ or "")
    paragraphs = []
    for paragraph in text.split("\n\n"):
        aligned = re.search(r"\S {2,}\S", paragraph) is not None
        paragraphs.append(f"```text\n{paragraph}\n```" if aligned else _PAGE.sub(r"[\1](\1)", _cell(" ".join(paragraph.split()))))
    return "\n\n".join(paragraphs)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(page(), encoding="utf-8")
