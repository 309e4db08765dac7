"""Prints text safely to a terminal or a pipe: control characters are escaped, and a limited encoding is never an error."""

from __future__ import annotations

import os
import re
import shutil
import sys

# C0 and C1 control characters except tab and newline (C1 also begins terminal sequences), Unicode line separators, bidirectional
# controls, and surrogates, which cannot be encoded.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = {ord("\t"): "\\t", ord("\n"): "\\n"}
_CONTROL_OF_JSON = re.compile("[\x7f-\x9f]")


def escaped(text: str) -> str:
    """Return the text with control characters as Python escapes: ESC becomes `\\x1b`."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def in_line(name: str) -> str:
    """Return a name from data, the id of a task for instance, as part of a line for people: it cannot end it and begin another."""
    return escaped(name).translate(_BREAKS)


def escaped_json(text: str) -> str:
    """Return a JSON text with the control characters that JSON permits unescaped written as JSON escapes."""
    return _CONTROL_OF_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def use_replacements() -> None:
    """Make stdout and stderr replace characters that their encoding lacks (ASCII, Latin-1); a closed stream discards its output."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open until the process ends)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")


def speaks_unicode() -> bool:
    """Tell whether stdout's encoding covers all of Unicode."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def fits_on_screen(text: str) -> bool:
    """Tell whether a text needs no pager: it fits on the screen, or stdin or stdout is not a terminal."""
    if not (sys.stdout.isatty() and sys.stdin and sys.stdin.isatty()):
        return True
    return text.count("\n") + 2 < shutil.get_terminal_size().lines


def page(text: str) -> None:
    """Show a text through the user's pager ($PAGER, else less or more)."""
    import pydoc

    os.environ.setdefault("LESS", "FRX")  # git's setting: keep colours, and exit at once if the text fits
    pydoc.pager(text + "\n")
