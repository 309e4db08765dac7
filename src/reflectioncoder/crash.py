"""Reports a bug in this program: the traceback goes to a log file, and the message shown to the user names that file."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

from reflectioncoder import __version__
from reflectioncoder.paths import cache_dir
from reflectioncoder.progress import log_of
from reflectioncoder.server_address import Secrets, keys_read, scrub_urls

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|PASS$|CRED|_AUTH(?!OR)|_PAT(?![A-Z])", re.IGNORECASE)
_MIN_SECRET_CHARS = 6


def say_fault(error: BaseException) -> str:
    """Write the traceback to a log file and return the message that names it."""
    place = _write(f"reflectioncoder {__version__}, Python {sys.version.split()[0]}\n{trace_of(error)}", log_of(error))
    return f"error: this is a fault of reflectioncoder, not of its input: {in_a_line(error)}\n  details: {place}"


def in_a_line(error: BaseException) -> str:
    """Return the kind and the first line of an error, without secrets."""
    return without_secrets(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")[:300]


def trace_of(error: BaseException) -> str:
    """Return the traceback of an error, without secrets."""
    return without_secrets("".join(traceback.format_exception(error)))


def _write(text: str, log: Path | None) -> str:
    name = f"fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    folders = [*([log.parent] if log else []), cache_dir() / "logs", Path(tempfile.gettempdir())]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return str(folder / name)
    return f"nowhere: none of {', '.join(map(str, folders))} can be written; -v prints them"


def without_secrets(text: str) -> str:
    """Return the text without secrets.

    Secrets are the API keys used so far, credentials in URLs, and the values of environment variables with a secret-like name
    (absolute paths excepted).
    """
    named = (value.strip() for name, value in os.environ.items() if _SECRET.search(name))
    values = [value for value in named if len(value) >= _MIN_SECRET_CHARS and not value.startswith("/")]
    return scrub_urls(Secrets([*values, *keys_read()]).scrub(text))
