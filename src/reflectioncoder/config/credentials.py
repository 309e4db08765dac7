"""Takes credentials out of settings before these are shown, stored or made into names.

They are users and passwords in URLs, and keys that stand in place of the names of variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reflectioncoder.server_address import scrub_urls, shown_variable, without_credentials


def shown_setting(key: str, value: Any) -> Any:
    """Return the value of a setting without credentials.

    Args:
        key: its dotted key. Values of a mapping, such as `ablate.arms`, are known by their own keys, those of a list by its key.
    """
    if isinstance(value, Mapping):
        return {name: shown_setting(f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(shown_setting(key, item) for item in value)
    if not isinstance(value, str):
        return value
    name = key.rpartition(".")[2]
    if name == "base_url":
        return without_credentials(value)
    return shown_variable(value) if name == "api_key_env" else scrub_urls(value)
