"""Embeds data into a page as JSON that no text in it can terminate."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup


def embedded_json(value: Any) -> Markup:
    """Return JSON that cannot close the script element around it, whatever text a model wrote."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
