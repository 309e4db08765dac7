"""The world in which EvalPlus 0.3.1 runs a solution (`unsafe_execute` and `reliability_guard`), for equal verdicts.

What a solution does not find there it does not find here either. None of it protects anything: that is the sandbox's business.
"""

from __future__ import annotations

# Frames on the stack when EvalPlus 0.3.1, started by its command, calls a solution (measured): recursion has the rest.
STACK_DEPTH = 27

_ABSENT_FROM = {
    "os": "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink fchmod "
    "fchown chmod chown chroot lchflags lchmod lchown getcwd chdir",
    "shutil": "rmtree move chown",
    "subprocess": "Popen",
    "builtins": "exit quit open help",
}
ABSENT_NAMES = tuple(f"{module}.{name}" for module, names in _ABSENT_FROM.items() for name in names.split())
"""Set to None by EvalPlus's guard."""

ABSENT_MODULES = ("ipdb", "joblib", "resource", "psutil", "tkinter")
"""Kept from being imported by EvalPlus's guard."""
