"""Holds the command table, imports only the chosen command's module, and turns errors into a message and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

from reflectioncoder import __version__
from reflectioncoder.commands import Outcome, at_least
from reflectioncoder.crash import say_fault, without_secrets
from reflectioncoder.errors import EXIT_DONE, EXIT_INTERRUPTED, StoppedError, exit_code_of, explained
from reflectioncoder.progress import Reporter, reporting
from reflectioncoder.server_address import scrub_urls
from reflectioncoder.terminal import escaped, escaped_json, fits_on_screen, page, speaks_unicode, use_replacements
from reflectioncoder.waiting import wait_briefly

COMMANDS = {
    "run": "build, evaluate, train, evaluate again and report, as a recipe says; running it again continues",
    "recipes": "list, show or copy the shipped recipes; document every setting",
    "problems": "make a problem file for build from data sets, doctests of packages, or files",
    "build": "make reflection data, with a real interpreter in the loop",
    "check": "run the programs of a data set again and compare their output",
    "inspect": "show what teacher, student and loss see of a sample, token by token",
    "train": "fine-tune a model with reflection self-distillation",
    "improve": "repeat attempts, repairs, training and scoring until the held-out score stops rising",
    "ablate": "run the arms of a comparison with several seeds; paired differences with intervals",
    "benchmarks": "list the benchmarks: sizes, languages, licences, what they measure, whether their data is here",
    "generate": "write one-off completions for a benchmark",
    "score": "judge completions by a benchmark's tests, in a sandbox",
    "evaluate": "generate completions and score them",
    "merge": "make the results of one machine of those of several shards",
    "compare": "compare two scoring runs task by task, with paired statistics",
    "report": "write one self-contained HTML page about one or more runs",
    "export": "write data sets for other trainers, or the trained model for the hub, with a card",
    "doctor": "show what this machine can do: sandbox, packages, GPU, disk, data, languages",
}

# Global options that only some commands take, and what `--limit` counts in each.
SEED = ("run", "build", "inspect", "train", "improve", "ablate", "generate", "evaluate", "compare")
LIMIT = {
    "run": "tasks of each benchmark",
    "problems": "problems",
    "build": "problems",
    "check": "samples",
    "inspect": "samples",
    "train": "samples",
    "improve": "tasks of each benchmark",
    "ablate": "tasks of each benchmark",
    "generate": "tasks",
    "score": "tasks",
    "evaluate": "tasks of each benchmark",
    "compare": "tasks",
    "export": "samples",
}
_FLAGS = ("--json", "-q", "--quiet", "-v", "--verbose", "--offline")
_WITH_VALUE = ("--seed", "--limit")
_CREDENTIAL_OPTION = re.compile(r"(--\S*(?:key|token|secret|passw|auth)[^\s=]*[=\s])\S+", re.IGNORECASE)


class _Parser(argparse.ArgumentParser):
    """A parser whose messages never contain terminal control characters or credentials, whatever the command line holds."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments"):
            message = _CREDENTIAL_OPTION.sub(r"\1***", message)
        super().error(scrub_urls(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(escaped(message), file)


def _add_global_options(parser: argparse.ArgumentParser, command: str) -> None:
    group = parser.add_argument_group("global options")
    group.add_argument("--json", action="store_true", help="print the result as JSON on stdout; messages stay on stderr")
    group.add_argument("-q", "--quiet", action="store_true", help="print no progress and no notes")
    group.add_argument("-v", "--verbose", action="store_true", help="print the traceback of an error")
    group.add_argument("--offline", action="store_true", help="never download anything")
    seed = {"inspect": "0", "compare": "0", "generate": "3407", "evaluate": "3407"}.get(command, "the recipe's")
    text = f"seed of everything drawn at random (default: {seed})"
    group.add_argument("--seed", type=at_least(0, 2**32 - 1), metavar="N", help=text if command in SEED else argparse.SUPPRESS)
    limit = f"take only the first N {LIMIT[command]}" if command in LIMIT else argparse.SUPPRESS
    group.add_argument("--limit", type=at_least(1), metavar="N", help=limit)


def _refuse_meaningless(parser: argparse.ArgumentParser, args: argparse.Namespace, command: str) -> None:
    for name, commands in (("seed", SEED), ("limit", tuple(LIMIT))):
        if getattr(args, name) is not None and command not in commands:
            parser.error(f"--{name} means nothing to {command}; it is for: {', '.join(commands)}")


_FIRST_STEPS = {
    "reflectioncoder doctor": "what this machine can do, and how to get what is missing",
    "reflectioncoder run demo": "trains a small model on the CPU and writes runs/demo/report.html",
    "reflectioncoder build demo": "makes reflection data without a model",
    "reflectioncoder score SAMPLES --benchmark humaneval+ --output DIR": "judges programs that you have",
    "reflectioncoder --help": "lists all commands",
}


def _table(rows: Mapping[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items())


def _overview() -> str:
    return (
        f"commands:\n{_table(COMMANDS)}\n\nOptions of a command: `reflectioncoder COMMAND --help`.\n"
        "Completion of commands and options: `reflectioncoder --print-completion bash` (or zsh, tcsh) prints a script for the shell."
    )


class _PrintCompletion(argparse.Action):
    """Prints a shell script that completes commands and their options, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None) -> NoReturn:
        import shtab

        whole = argparse.ArgumentParser("reflectioncoder")
        commands = whole.add_subparsers(dest="command")
        for name, text in COMMANDS.items():
            commands.add_parser(name, help=text, parents=[parser_of(name)], add_help=False)
        print(shtab.complete(whole, values))
        parser.exit()


def _command_first(argv: Sequence[str]) -> list[str]:
    """Return the command line with global options moved behind the command; users may write them on either side."""
    before = 0
    while before < len(argv) and argv[before].startswith("-"):
        if argv[before] in _WITH_VALUE:
            before += 1
        elif argv[before].partition("=")[0] not in (*_FLAGS, *_WITH_VALUE) and not set(argv[before][1:]) <= {"q", "v"}:
            break  # not a global option: the top-level parser reports it
        before += 1
    return [*argv[before : before + 1], *argv[:before], *argv[before + 1 :]]


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, ModuleType]:
    """Parse a command line that begins with the command (`_command_first`)."""
    top = _Parser(
        prog="reflectioncoder",
        description="Make a code model better at one-off generation by letting it learn from reflection sequences.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="reflectioncoder [global options] COMMAND [options]",
    )
    top.add_argument("--version", action="version", version=f"reflectioncoder {__version__}")
    top.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help="print a script that completes commands and options in bash, zsh or tcsh, and exit",
    )
    top.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    if not argv:
        print(f"{top.description}\n\nfirst steps:\n{_table(_FIRST_STEPS)}", file=sys.stderr)
        raise SystemExit(2)
    own = argv[0].partition("=")[0]
    if own.startswith("-") and own not in ("-h", "--help", "--version", "--print-completion"):
        top.error(f"{argv[0]}: only global options stand before the command; options of a command stand behind it")
    command = top.parse_args(argv[:2] if own == "--print-completion" else argv[:1]).command
    parser = parser_of(command)
    args = parser.parse_args(argv[1:])
    _refuse_meaningless(parser, args, command)
    return args, _module_of(command)


def parser_of(command: str) -> argparse.ArgumentParser:
    """Make the parser for a command's own options and the global ones."""
    module = _module_of(command)
    parser = _Parser(
        prog=f"reflectioncoder {command}",
        description=COMMANDS[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=module.__doc__,
    )
    _add_global_options(parser, command)
    module.add_arguments(parser)
    return parser


def _module_of(command: str) -> ModuleType:
    return importlib.import_module(f"reflectioncoder.commands.{command}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 a check failed, 2 usage or configuration, 3 the machine lacks something, 70 a bug in this program, 130 interrupted.
    """
    use_replacements()
    wait_briefly()
    argv = _command_first(sys.argv[1:] if argv is None else argv)
    args, module = _parse(argv)
    if args.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    with reporting(Reporter(quiet=args.quiet)):
        return _run(args, module, argv)


def _run(args: argparse.Namespace, module: ModuleType, argv: Sequence[str]) -> int:
    """Run the command, print its outcome or what went wrong, and return the exit code."""
    try:
        with _terminated_as_interrupted():
            outcome = module.run(args)
        _print_outcome(outcome, as_json=args.json)
        return outcome.exit_code
    except (KeyboardInterrupt, StoppedError):
        again = [*argv, "--resume"] if argv[0] == "train" and "--resume" not in argv else argv
        _complain(f"\ninterrupted; to continue: reflectioncoder {shlex.join(map(scrub_urls, again))}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe (`| head`) has exited: not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception as error:  # noqa: BLE001 (the outermost handler: every error becomes a message and an exit code)
        if args.verbose:
            _complain(without_secrets(traceback.format_exc()))
        return _explain(error)


def _explain(error: Exception) -> int:
    """Print one message about what went wrong and return its exit code."""
    message = explained(error)
    _complain(say_fault(error) if message is None else f"error: {message}")
    return exit_code_of(error)


def _complain(message: str) -> None:
    with contextlib.suppress(OSError):  # the disk may be full; the exit code still reports the error
        print(escaped(scrub_urls(message)), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Make SIGTERM (schedulers) and SIGHUP (lost connections) end a command as Ctrl-C does, so that received answers are kept.

    Signals that are ignored (nohup) or already have a handler are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if os.environ.get("RANK", "0") != "0":  # under torchrun only rank 0 prints
        return
    if as_json:
        value = {**outcome.value, "paths": [str(p) for p in outcome.paths]}
        lines = [escaped_json(json.dumps(value, indent=2, ensure_ascii=not speaks_unicode()))]
    else:
        lines = [line if outcome.styled else escaped(line) for line in outcome.lines]
        lines += [escaped(f"wrote {path}") for path in outcome.paths]
    if outcome.paged and not as_json and not fits_on_screen(text := "\n".join(lines)):
        page(text)
        return
    for line in lines:
        print(line)
    sys.stdout.flush()
