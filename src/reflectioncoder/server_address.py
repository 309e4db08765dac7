"""Separates addresses of servers from the credentials in them, which are never shown or stored.

`ServerAddress` takes a base URL apart; `Secrets` removes credentials from texts that come from elsewhere: a server's words, the
messages of the HTTP library.
"""

from __future__ import annotations

import base64
import html
import html.entities
import json
import os
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

from reflectioncoder.errors import MachineError, UsageError

_SCHEMES = ("http", "https")
_HOST_WITHOUT_SCHEME = re.compile(r"[\w.-]+(?::\d{1,5}(?:/[\w./-]*)?|/v\d[\w./-]*)")
_CREDENTIAL_NAME = re.compile(r"key|token|secret|sig|pass|auth|cred", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,39}")
_MIN_SECRET_CHARS = 3  # shorter ones occur in every text
_MIN_UNNAMED_CHARS = 8  # of a parameter that is not named like a credential: `?stream=true` is none
_REMOVED = "***"
_keys_read: set[str] = set()


@dataclass(frozen=True)
class ServerAddress:
    """A base URL, its credentials apart.

    Attributes:
        shown: scheme, host, port and path: what may be shown and stored.
        query: the query as it stands in the URL; it may hold credentials.
        user: (name, password), None without.
        identity: what answers depend on: the URL without user, password and query parameters named like credentials.
    """

    shown: str
    query: str
    user: tuple[str, str] | None
    identity: str

    @classmethod
    def parse(cls, base_url: str, where: str = "endpoint.base_url") -> ServerAddress:
        """Take the address of a server apart.

        Raises:
            UsageError: not the http(s) URL of a server. What might be a credential is not shown.
        """
        text = base_url.strip()
        try:
            parts = urllib.parse.urlsplit(text)
            host, port, scheme = parts.hostname, parts.port, parts.scheme.lower()
        except ValueError:
            raise _refused(text, where, "it is malformed") from None
        if "://" not in text:
            raise _refused(text, where, "it has no scheme")
        if scheme not in _SCHEMES:
            raise _refused(text, where, "its scheme is another one")
        if not host:
            raise _refused(text, where, "it names no host")
        if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in text):
            raise _refused(text, where, "it holds a blank or a control character")
        if "@" in parts.path + parts.query + parts.fragment:  # of a password with / ? or #, or it would be taken for a host
            raise _refused(text, where, "an @ in path or query, and / ? # @ in a password, have to be percent-encoded")
        shown_host = f"[{host}]" if ":" in host else host
        shown = f"{scheme}://{shown_host}{'' if port is None else f':{port}'}{parts.path}".rstrip("/")
        user = None
        if "@" in parts.netloc:
            user = urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or "")
        kept = [item for item in parts.query.split("&") if item and not _CREDENTIAL_NAME.search(item.partition("=")[0])]
        plain = user is None and not parts.query
        return cls(shown, parts.query, user, text if plain else "?".join([shown, *(["&".join(kept)] if kept else [])]))

    def url(self, path: str) -> str:
        """Return the URL of an endpoint below the base, with the query of the base."""
        return f"{self.shown}/{path}" + (f"?{self.query}" if self.query else "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return user, password and what may be one in the query, as they are written in the URL and decoded."""
        items = [item.partition("=") for item in self.query.split("&")]
        values = [value for name, _, value in items if _CREDENTIAL_NAME.search(name) or len(value) >= _MIN_UNNAMED_CHARS]
        values += [urllib.parse.unquote_plus(value) for value in values]
        if self.user:
            values += [*self.user, base64.b64encode(":".join(self.user).encode()).decode()]
        return tuple(value for value in values if value)


def _refused(text: str, where: str, why: str) -> UsageError:
    got = text if _HOST_WITHOUT_SCHEME.fullmatch(text) else "(not shown: it may hold credentials)"
    return UsageError(
        f"this is not the URL of a server: {why}\n  where:   {where}\n  got:     {got}\n"
        "  allowed: http://HOST or https://HOST, with port, path and query, such as http://127.0.0.1:8080/v1"
    )


def without_credentials(url: str) -> str:
    """Return a base URL as it may be shown, also a malformed one."""
    try:
        return ServerAddress.parse(url).shown if url else url
    except UsageError:
        return _REMOVED


def scrub_urls(text: str) -> str:
    """Return a text with the URLs in it as they may be shown, also those of which a path has taken a slash."""
    return re.sub(r"(?:[A-Za-z][\w+.-]*://|https?:/)\S*[@?#]\S*", lambda url: without_credentials(url[0]), text)


def read_key(variable: str, where: str = "endpoint.api_key_env") -> str:
    """Return the key in an environment variable, without blanks around it; "" without a variable.

    Raises:
        MachineError: the variable is not set, or holds what no header can carry. The key is not shown.
    """
    if not variable:
        return ""
    # Whoever puts the key itself here must not find it in a log.
    name = variable if _VARIABLE.fullmatch(variable) else "(not shown: it may be the key itself)"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise MachineError(
            f"the environment variable {name} is not set\n  where:   {where}, which names the variable that holds the key\n"
            "  hint:    leave it empty if no key is needed"
        )
    if not all(0x21 <= ord(char) <= 0x7E for char in key):
        raise MachineError(
            f"the key in the environment variable {name} cannot be sent: it holds a blank, a line break or a character outside of "
            f"ASCII\n  where:   {where}\n  hint:    set the variable anew; the key is not shown"
        )
    _keys_read.add(key)
    return key


def keys_read() -> frozenset[str]:
    """Return all keys that this process has taken from its environment, whatever their variables are called."""
    return frozenset(_keys_read)


class Secrets:
    """Credentials to be removed: `scrub(text)` returns the text without them, in whatever form servers and libraries repeat them."""

    def __init__(self, values: Iterable[str]):
        values = {value for value in values if len(value) >= _MIN_SECRET_CHARS}
        forms = {form for value in values for form in _forms(value)}
        longest_first = [re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))]
        escaped = ["".join(map(_any_escape, value)) for value in sorted(values, key=lambda value: (-len(value), value))]
        self._pattern = re.compile("|".join([*longest_first, *escaped]), re.IGNORECASE) if forms else None

    def scrub(self, text: str) -> str:
        return self._pattern.sub(_REMOVED, text) if self._pattern else text


def _any_escape(char: str) -> str:
    """Return a pattern for a character as URLs, HTML and the JSON of any library write it; some escape `+` or `&`, others do not."""
    if char.isalnum() or ord(char) > 0x7E:
        return re.escape(char)
    code = ord(char)
    names = "".join(f"|&{name};" for name in html.entities.codepoint2name.get(code, "").split())
    return rf"(?:\\*{re.escape(char)}|\\+(?:u00|x){code:02x}|%(?:25)*{code:02x}|&\#0*{code};|&\#x0*{code:x};{names})"


def _forms(value: str) -> set[str]:
    quoted = urllib.parse.quote(value, safe=""), urllib.parse.quote(value), urllib.parse.quote_plus(value)
    encoded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
    escaped = html.escape(value), json.dumps(value)[1:-1], repr(value)[1:-1], json.dumps(value).replace("/", "\\/")[1:-1]
    return {value, *quoted, encoded, encoded.rstrip("="), *escaped}
