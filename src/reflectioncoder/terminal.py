"""Prints text for people, on a terminal or in a pipe: no text controls the terminal, and no encoding is a failure."""

from __future__ import annotations

import os
import re
import shutil
import sys

# Control characters but tab and newline (also the C1 ones, with which terminals begin sequences too), what ends a line unseen or turns
# its direction, and surrogates, which have no encoding.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_OF_JSON = re.compile("[\x7f-\x9f]")


def escaped(text: str) -> str:
    """Return the text with control characters as Python writes them: ESC is `\\x1b`."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def escaped_json(text: str) -> str:
    """Return a JSON text in which the control characters that JSON allows are escaped, as JSON does it."""
    return _CONTROL_OF_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def use_replacements() -> None:
    """Let stdout and stderr replace what their encoding does not have (ASCII, Latin-1) instead of failing; a closed one takes all."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open until the process ends)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def speaks_unicode() -> bool:
    """Tell whether stdout can take any character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def fits_on_screen(text: str) -> bool:
    """Tell whether a text needs no pager: there is room for it, or nobody sits before a screen."""
    if not (sys.stdout.isatty() and sys.stdin and sys.stdin.isatty()):
        return True
    return text.count("\n") + 2 < shutil.get_terminal_size().lines


def page(text: str) -> None:
    """Show a text through the user's pager ($PAGER, else less or more)."""
    import pydoc

    os.environ.setdefault("LESS", "FRX")  # as git does: colours are kept, and what fits is only printed
    pydoc.pager(text + "\n")
