"""Separates server addresses from the credentials in them, which are never shown or stored.

`ServerAddress` parses a base URL; `Secrets` removes credentials from text of other origin, such as server replies and messages of the
HTTP library.
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
_SCHEME = re.compile(r"[A-Za-z][\w+.-]{0,30}://|https?:/")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,39}")
_MIN_SECRET_CHARS = 3  # shorter strings occur in every text
_MIN_UNNAMED_CHARS = 8  # for query values not named like a credential, so that `?stream=true` is not taken for one
_REMOVED = "***"
_keys_read: set[str] = set()


@dataclass(frozen=True)
class ServerAddress:
    """A base URL, split from its credentials.

    Attributes:
        shown: scheme, host, port and path, which may be shown and stored.
        query: the URL's query string; it may hold credentials.
        user: (name, password), or None.
        identity: the part that answers depend on: the URL without user, password and query parameters named like credentials.
    """

    shown: str
    query: str
    user: tuple[str, str] | None
    identity: str

    @classmethod
    def parse(cls, base_url: str, where: str = "endpoint.base_url") -> ServerAddress:
        """Parse the address of a server.

        Raises:
            UsageError: not the http(s) URL of a server. The message shows nothing that might be a credential.
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
        if "@" in parts.path + parts.query + parts.fragment:  # a password with / ? # ends the host early
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
        """Return the URL of an endpoint below the base, with the base's query."""
        return f"{self.shown}/{path}" + (f"?{self.query}" if self.query else "")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the user, the password and possible credentials in the query, both as written in the URL and decoded."""
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


def identity_of_url(url: str) -> str:
    """Return what answers depend on in a base URL (`ServerAddress.identity`), also of a malformed one."""
    try:
        return ServerAddress.parse(url).identity if url else url
    except UsageError:
        return _REMOVED


def without_credentials(url: str) -> str:
    """Return a base URL without credentials, even if it is malformed."""
    try:
        return ServerAddress.parse(url).shown if url else url
    except UsageError:
        return _REMOVED


def scrub_urls(text: str) -> str:
    """Remove credentials from the URLs in a text, including URLs that lost a slash when parsed as a path (`https:/`)."""
    return re.sub(r"\S+", lambda word: _scrubbed(word[0]), text)


def _scrubbed(word: str) -> str:
    """Remove the credentials of the URL that a word ends with, in time proportional to the word's length."""
    scheme = _SCHEME.search(word)
    if scheme is None or not any(mark in word[scheme.end() :] for mark in "@?#"):
        return word
    return word[: scheme.start()] + without_credentials(word[scheme.start() :])


def shown_variable(name: str) -> str:
    """Return the name of an environment variable as it may be shown: it may be a key that was put in its place."""
    return name if not name or _VARIABLE.fullmatch(name) or name in os.environ else _REMOVED


def read_key(variable: str, where: str = "endpoint.api_key_env") -> str:
    """Return the stripped key from an environment variable; "" if `variable` is empty.

    Raises:
        MachineError: the variable is not set, or its value cannot be sent in a header. The message does not show the key.
    """
    if not variable:
        return ""
    # A user may put the key itself here; it must not reach a log.
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
    """Return all keys that this process has read from its environment, whatever the variables' names."""
    return frozenset(_keys_read)


class Secrets:
    """Credentials to remove: `scrub(text)` returns the text without them, in any escaped form that servers and libraries echo."""

    def __init__(self, values: Iterable[str]):
        values = {value for value in values if len(value) >= _MIN_SECRET_CHARS}
        forms = {form for value in values for form in _forms(value)}
        longest_first = [re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))]
        escaped = ["".join(map(_any_escape, value)) for value in sorted(values, key=lambda value: (-len(value), value))]
        self._pattern = re.compile("|".join([*longest_first, *escaped]), re.IGNORECASE) if forms else None

    def scrub(self, text: str) -> str:
        return self._pattern.sub(_REMOVED, text) if self._pattern else text


def _any_escape(char: str) -> str:
    """Return a pattern that matches a character in every escaping of URLs, HTML and JSON; libraries differ over `+` and `&`."""
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
