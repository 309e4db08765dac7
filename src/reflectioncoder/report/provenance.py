"""Reads the runs' `config.yaml` for the page: each setting with its origin, and the settings in which runs differ."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reflectioncoder.config.yaml_text import one_line, parse_yaml
from reflectioncoder.errors import UsageError

# `key: value  # [origin] What the setting does.`; an origin may contain brackets itself.
_ORIGIN = re.compile(r"  # \[(.*?)\](?: (?=[A-Z])|$)")
_OWN_OF_EACH_RUN = ("name", "description")
UNSET = "—"


@dataclass(frozen=True)
class Setting:
    """A setting as text. `origin`: a file with a line, `default`, or a `--set`; "" if the file does not say."""

    value: str
    origin: str = ""

    @property
    def is_default(self) -> bool:
        return self.origin == "default"


@dataclass(frozen=True)
class Difference:
    key: str
    settings: tuple[Setting, ...]


def settings_of(text: str, where: str) -> tuple[dict[str, Setting], dict[str, Any]]:
    """Return (the settings of a `config.yaml` as text, by their dotted keys; its content).

    Raises:
        UsageError: not YAML, or not a mapping.
    """
    value, line_of = parse_yaml(text, where)
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not as reflectioncoder wrote it: it is no mapping")
    lines = text.splitlines()
    origins = {key: found[1] for key, line in line_of.items() if line <= len(lines) and (found := _ORIGIN.search(lines[line - 1]))}
    settings = {key: Setting(one_line(content), origins.get(key, "")) for key, content in _leaves(value, origins)}
    return settings, value


def _leaves(value: dict[str, Any], origins: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, content in value.items():
        # A setting whose value is a mapping has an origin; a section has none.
        if isinstance(content, dict) and content and prefix + key not in origins:
            yield from _leaves(content, origins, f"{prefix}{key}.")
        else:
            yield prefix + key, content


def differences(runs: Sequence[dict[str, Setting]]) -> list[Difference]:
    """Return the settings whose values differ between runs, in file order, except the runs' names."""
    keys = dict.fromkeys(key for run in runs for key in run)
    rows = [Difference(key, tuple(run.get(key, Setting(UNSET)) for run in runs)) for key in keys if key not in _OWN_OF_EACH_RUN]
    return [row for row in rows if len({setting.value for setting in row.settings}) > 1]


def chosen(settings: dict[str, Setting]) -> dict[str, Setting]:
    """Return the settings that are not defaults."""
    return {key: setting for key, setting in settings.items() if not setting.is_default}
