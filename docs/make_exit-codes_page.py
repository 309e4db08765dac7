"""Writes docs/exit-codes.md from `reflectioncoder.errors`: a code or an error that is not explained here is a KeyError."""

import inspect
from pathlib import Path

from reflectioncoder import errors

MEANINGS = {
    "EXIT_DONE": ("The command did what it was asked for.", "Nothing."),
    "EXIT_CHECK_FAILED": (
        "Something was checked and found wrong: stored outputs that differ, too few accepted samples, answers without any program, "
        "results on contaminated data.",
        "Read the message: it names what was found. The command itself worked.",
    ),
    "EXIT_USAGE": (
        "The command line, a recipe or a data file is wrong.",
        "Correct what the message names: it says what is wrong, where, what was found there and what is allowed.",
    ),
    "EXIT_ENVIRONMENT": (
        "The machine lacks something: a package, a toolchain, a GPU, benchmark data, disk space, a network, a sandbox.",
        "Run `reflectioncoder doctor`; install or free what the message names, and give the same command again.",
    ),
    "EXIT_FAULT": (
        "The program has a fault. The message holds the path of a log with the traceback; keys and passwords are removed from it.",
        "Please report it with that log. Work that was done before is kept.",
    ),
    "EXIT_INTERRUPTED": (
        "The command was interrupted, by Ctrl-C, SIGTERM or SIGHUP (a lost connection), and stopped in good order.",
        "The last line is the command that continues.",
    ),
}

INTRODUCTION = """# Exit codes

Written by `make docs` from `reflectioncoder/errors.py`. All commands have the same exit codes, so a script can tell a failed check
from a mistake on the command line and from a machine that lacks something.
"""

SCRIPTS = """## In scripts

`--json` prints the result on stdout; messages and progress always go to stderr. A command that ended with code 3 or 130 can be given
again as it is: it continues where it stopped. (`train` alone wants `--resume` for that, and says so.)

```bash
reflectioncoder check runs/tour/build/reflections.jsonl --json > check.json
case $? in
    0) echo "every program prints what it did" ;;
    1) echo "something has changed" ;;
    *) exit 1 ;;
esac
```

## In Python

The library raises these errors instead. The command line turns each into the exit code beside it.

| error | exit code | when it is raised |
|---|---|---|
"""


def page() -> str:
    names = sorted((name for name in vars(errors) if name.startswith("EXIT_")), key=lambda name: getattr(errors, name))
    rows = [f"| **{getattr(errors, name)}** | {MEANINGS[name][0]} | {MEANINGS[name][1]} |" for name in names]
    return "\n".join([INTRODUCTION, "| code | meaning | what to do |", "|---|---|---|", *rows, "", SCRIPTS + "\n".join(_errors()), ""])


def _errors() -> list[str]:
    found = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.ReflectionCoderError)]
    return [f"| `{kind.__name__}` | {kind.exit_code} | {_first_sentence(kind)} |" for kind in found]


def _first_sentence(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    Path(__file__).with_name("exit-codes.md").write_text(page(), encoding="utf-8")
