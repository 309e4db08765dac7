"""Defines the errors that a user can cause or meet, each with the exit code that the command line returns for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MAX_SHOWN_CHARS = 200

EXIT_DONE = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_FAULT = 70
EXIT_INTERRUPTED = 130


class ReflectionCoderError(Exception):
    """Base of all errors that are reported as one message, without a traceback."""

    exit_code = EXIT_CHECK_FAILED


class CheckFailedError(ReflectionCoderError):
    """Something was checked and found wrong (exit code 1)."""


class UsageError(ReflectionCoderError, ValueError):
    """Wrong usage, configuration or input data (exit code 2); for callers of the library a ValueError."""

    exit_code = EXIT_USAGE

    @classmethod
    def for_value(cls, what: str, where: str, got: object, allowed: Iterable[str] | str, hint: str | None = None) -> UsageError:
        """Make the message of every configuration error: what, where, got, allowed, did-you-mean.

        `allowed` is a description, or the list of allowed names (then the nearest name is suggested).
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
    """Return the value as Python writes it, cut to one readable line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list of lists of lists
        return f"a very large {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[: _MAX_SHOWN_CHARS - 1]}…"


def require_choice(what: str, value: object, allowed: Iterable[str]) -> None:
    """Refuse a name that is not among the allowed ones, so that a misspelt one never means a default.

    Raises:
        UsageError: it is not.
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise UsageError.for_value(f"unknown {what}", what, value, allowed)


class MachineError(ReflectionCoderError):
    """The machine lacks something: sandbox, toolchain, GPU, package, data, disk space (exit code 3)."""

    exit_code = EXIT_ENVIRONMENT


class SandboxUnavailableError(MachineError):
    """The sandbox itself failed. Never a verdict on the program that it should have run."""


class CannotError(MachineError):
    """Raised where a machine cannot do something, though nothing is wrong with it: it lacks a toolchain, say. Others may."""


class StoppedError(ReflectionCoderError):
    """Work has been stopped in good order because somebody asked for it; it can be continued (exit code 130)."""

    exit_code = EXIT_INTERRUPTED


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with this error."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, ReflectionCoderError):
        return error.exit_code
    return EXIT_FAULT if explained(error) is None else EXIT_ENVIRONMENT


def explained(error: BaseException) -> str | None:
    """Return the message for people about an error that is no fault of ours; None if it is one."""
    if isinstance(error, ReflectionCoderError | OSError):  # what the machine refuses and nobody further down could explain better
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's, for a GPU
        return f"not enough memory: {str(error).partition('. ')[0] or 'of the machine'}"
    return None


def require(module: str, extra: str):
    """Import an optional dependency, or say which extra brings it.

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
