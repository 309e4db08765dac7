"""The errors that a user can cause or meet, each with the exit code that the command line returns for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_INTERRUPTED = 130


class ReflectionCoderError(Exception):
    """Base of all errors that are reported as one message, without a traceback."""

    exit_code = EXIT_CHECK_FAILED


class CheckFailedError(ReflectionCoderError):
    """Something was checked and found wrong (exit code 1)."""


class UsageError(ReflectionCoderError):
    """Wrong usage, configuration or input data (exit code 2)."""

    exit_code = EXIT_USAGE

    @classmethod
    def for_value(cls, what: str, where: str, got: object, allowed: Iterable[str] | str, hint: str | None = None) -> UsageError:
        """The message of every configuration error: what, where, got, allowed, did-you-mean.

        `allowed` is a description, or the list of allowed names (then the nearest name is suggested).
        """
        lines = [what, f"  where:   {where}", f"  got:     {got!r}"]
        if isinstance(allowed, str):
            lines.append(f"  allowed: {allowed}")
        else:
            names = list(allowed)
            lines.append(f"  allowed: {', '.join(names)}")
            close = difflib.get_close_matches(str(got), names, n=1, cutoff=0.6)
            if close and hint is None:
                hint = f"did you mean {close[0]!r}?"
        if hint:
            lines.append(f"  hint:    {hint}")
        return cls("\n".join(lines))


class MachineError(ReflectionCoderError):
    """The machine lacks something: sandbox, toolchain, GPU, package, data, disk space (exit code 3)."""

    exit_code = EXIT_ENVIRONMENT


class SandboxUnavailableError(MachineError):
    """The sandbox itself failed. Never a verdict on the program that it should have run."""


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
