"""Runs programs and cells in the sandbox, at the strongest isolation that holds on this machine."""

from __future__ import annotations

from collections.abc import Mapping

from reflectioncoder.sandbox import process, session
from reflectioncoder.sandbox.detect import detect_isolation, require_floor
from reflectioncoder.sandbox.limits import Limits, RunResult


def run_python(source: str, limits: Limits | None = None, *, files: Mapping[str, str] | None = None, floor: int = 1) -> RunResult:
    """Run a Python program in the sandbox, as `python main.py` would, and wait until it ends.

    The result is always about the program: its status (`ok`, `failed`, `timeout`, `memory` or `crashed`), its exit code, its output
    (capped, in characters), its own time in seconds and its peak memory in bytes.

    Args:
        source: the program.
        limits: in seconds and bytes; by default 10 s of wall time, 5 s of CPU time and 1 GiB of memory.
        files: further files in its private directory, name → content.
        floor: the weakest isolation tier accepted, 0 to 3; at tier 0 programs can read your files and use the network.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program, or no isolation of this machine reaches `floor`.

    Example:
        >>> from reflectioncoder import run_python
        >>> result = run_python("print(6 * int(open('seven').read()))", files={"seven": "7"})
        >>> result.status, result.stdout
        ('ok', '42\\n')
        >>> run_python("import sys; sys.exit(3)").exit_code
        3
    """
    isolation = detect_isolation()
    require_floor(isolation, floor)
    return process.run_python(source, limits or Limits(), isolation, files=dict(files or {}))


class Session(session.Session):
    """A stateful interpreter in the sandbox: cells run one after another, and names stay defined, as in a notebook.

    Use it as a context manager. `run(code)` returns a `CellResult` with a status (`ok`, `failed`, `timeout` or `crashed`), the output
    as a terminal would show it, the name of the exception class and the duration in seconds.

    Args:
        limits: in seconds and bytes; `limits.wall_s` applies to each cell, the others to the life of the interpreter.
        replay: after a restart of the interpreter, first run the cells again that succeeded.
        file_name: the name of every cell in tracebacks; empty: `<cell N>`.
        floor: the weakest isolation tier accepted, 0 to 3; at tier 0 programs can read your files and use the network.

    Raises:
        SandboxUnavailableError: the sandbox failed, not the program, or no isolation of this machine reaches `floor`.

    Example:
        >>> from reflectioncoder import Session
        >>> with Session() as session:
        ...     session.run("def double(x): return 2 * x").status
        ...     session.run("assert double(2) == 5").error
        ...     session.run("print(double(21))").output
        'ok'
        'AssertionError'
        '42\\n'
    """

    def __init__(self, limits: Limits | None = None, *, replay: bool = False, file_name: str = "main.py", floor: int = 1):
        isolation = detect_isolation()
        require_floor(isolation, floor)
        super().__init__(limits or Limits(), isolation, replay=replay, file_name=file_name)
