"""Defines the errors that a user can cause or meet, each with the command line's exit code for it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from os import PathLike

_MAX_SHOWN_CHARS = 200
NO_PATH = (errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of the system that mean that no file can have such a path, whatever the machine."""

EXIT_DONE = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130


class ReflectionCoderError(Exception):
    """Base class of the errors that are reported as one message, without a traceback."""

    exit_code = EXIT_CHECK_FAILED


class CheckFailedError(ReflectionCoderError):
    """A check failed (exit code 1)."""


class UsageError(ReflectionCoderError, ValueError):
    """Wrong usage, configuration or input data (exit code 2). Also a ValueError, for callers of the library."""

    exit_code = EXIT_USAGE

    @classmethod
    def for_value(cls, what: str, where: str, got: object, allowed: Iterable[str] | str, hint: str | None = None) -> UsageError:
        """Return an error whose message has the parts of every configuration error: what, where, got, allowed, did-you-mean.

        `allowed` is a description or the allowed names; with names, the closest one is suggested.
        """
        lines = [what, f"  where:   {where}", f"  got:     {_shown(got)}"]
        if isinstance(allowed, str):
            lines.append(f"  allowed: {allowed}")
        else:
            names = list(allowed)
            lines.append(f"  allowed: {', '.join(names)}")
            close = difflib.get_close_matches(_shown(got).strip("'"), names, n=1, cutoff=0.6)
            if close and hint is None:
                hint = f"did you mean {close[0]!r}?"
        if hint:
            lines.append(f"  hint:    {hint}")
        return cls("\n".join(lines))


def _shown(value: object) -> str:
    """Return the value's repr, shortened to `_MAX_SHOWN_CHARS`."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int with thousands of digits, deeply nested lists
        return f"a very large {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[: _MAX_SHOWN_CHARS - 1]}…"


def require_choice(what: str, value: object, allowed: Iterable[str]) -> None:
    """Refuse a name that is not allowed, so that a misspelling never silently means a default.

    Raises:
        UsageError: `value` is not among `allowed`.
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise UsageError.for_value(f"unknown {what}", what, value, allowed)


class MachineError(ReflectionCoderError):
    """The machine lacks something: sandbox, toolchain, GPU, package, data, disk space (exit code 3)."""

    exit_code = EXIT_ENVIRONMENT


class SandboxUnavailableError(MachineError):
    """The sandbox itself failed. This is never a verdict on the program that it should have run."""


class CannotError(MachineError):
    """A healthy machine lacks something, such as a toolchain, that other machines may have."""


class UnreachableError(MachineError):
    """A server on the network, such as the model hub, does not answer; it may later."""


class StoppedError(ReflectionCoderError):
    """Work was stopped cleanly on request and can be resumed (exit code 130)."""

    exit_code = EXIT_INTERRUPTED


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that this error ends."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, ReflectionCoderError):
        return error.exit_code
    if isinstance(error, OSError) and error.errno in NO_PATH:
        return EXIT_USAGE
    return EXIT_FAULT if explained(error) is None else EXIT_ENVIRONMENT


def explained(error: BaseException) -> str | None:
    """Return the message for people about an error that is no fault of ours; None if it is one."""
    if isinstance(error, OSError) and error.errno in NO_PATH and isinstance(error.filename, str | PathLike):
        return f"{error.filename} cannot be read or written: {error.strerror}"
    if isinstance(error, ReflectionCoderError | OSError):  # what the machine refuses and nobody further down could explain better
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, for a GPU
        return f"not enough memory: {str(error).partition('. ')[0] or 'of the machine'}"
    return None


def require(module: str, extra: str):
    """Import an optional dependency, or name the extra that installs it.

    Raises:
        MachineError: the package is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MachineError(
            f"the package {module!r} is needed here and cannot be imported ({error})\n  hint:    pip install 'reflectioncoder[{extra}]'"
        ) from error
