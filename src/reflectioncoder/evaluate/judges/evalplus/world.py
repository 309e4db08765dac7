"""Reproduces the environment in which EvalPlus 0.3.1 runs a solution (`unsafe_execute` and `reliability_guard`), for equal verdicts.

A solution lacks here what it lacks there. None of this is protection: that is the sandbox's job.
"""

from __future__ import annotations

# Frames on the stack when EvalPlus 0.3.1, run from its command line, calls a solution (measured); recursion can use the rest.
STACK_DEPTH = 27

_ABSENT_FROM = {
    "os": "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink fchmod "
    "fchown chmod chown chroot lchflags lchmod lchown getcwd chdir",
    "shutil": "rmtree move chown",
    "subprocess": "Popen",
    "builtins": "exit quit open help",
}
ABSENT_NAMES = tuple(f"{module}.{name}" for module, names in _ABSENT_FROM.items() for name in names.split())
"""Names that EvalPlus's guard sets to None."""

ABSENT_MODULES = ("ipdb", "joblib", "resource", "psutil", "tkinter")
"""Modules that EvalPlus's guard makes unimportable."""
