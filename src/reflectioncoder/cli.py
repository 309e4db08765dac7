"""The command table. Imports the chosen command's module and nothing heavy; turns errors into one message and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType

from reflectioncoder import __version__
from reflectioncoder.commands import Outcome, at_least
from reflectioncoder.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INTERRUPTED, ReflectionCoderError
from reflectioncoder.progress import Progress
from reflectioncoder.server_address import scrub_urls

COMMANDS = {
    "run": "the whole pipeline of a recipe; running it again continues where it stopped",
    "recipes": "list, show or copy the recipes that come with the package",
    "problems": "turn a data set, a package's doctests or a file into problems for build",
    "build": "make reflection data with a real interpreter in the loop",
    "check": "run the programs of a data set again and compare what they print",
    "inspect": "look at samples: what teacher, student and loss see, token by token",
    "train": "fine-tune with reflection self-distillation",
    "improve": "rounds of attempts, repairs, training and scoring, until the held-out score stops rising",
    "generate": "one-off completions for a benchmark",
    "score": "run completions against a benchmark's tests in a sandbox",
    "evaluate": "generate and score",
    "compare": "paired statistics of two scoring runs: who solves what, and is the difference real",
    "report": "one self-contained HTML page about one or more runs",
    "export": "data sets for other trainers, with a card",
    "doctor": "what this machine can do: sandbox, packages, GPU, disk, data",
}


def _global_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("global options")
    group.add_argument("--json", action="store_true", help="machine-readable result on stdout; logs stay on stderr")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, no notes")
    group.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    group.add_argument("--seed", type=int, metavar="N", help="overrides the recipe's seed")
    group.add_argument("--limit", type=at_least(1), metavar="N", help="only the first N problems, samples or tasks")
    group.add_argument("--offline", action="store_true", help="never use the network")
    return options


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "commands:\n" + "\n".join(lines) + "\n\n`reflectioncoder COMMAND --help` tells more."


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, ModuleType]:
    top = argparse.ArgumentParser(
        prog="reflectioncoder",
        description="Make a code model better at one-off generation by learning from reflection sequences.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="reflectioncoder COMMAND [options]",
    )
    top.add_argument("--version", action="version", version=f"reflectioncoder {__version__}")
    top.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    head = [a for a in argv[:1] if a in ("-h", "--help", "--version") or not a.startswith("-")]
    if not head:
        top.print_help(sys.stderr)
        raise SystemExit(2)
    command = top.parse_args(head).command
    module = importlib.import_module(f"reflectioncoder.commands.{command}")
    parser = argparse.ArgumentParser(
        prog=f"reflectioncoder {command}",
        description=COMMANDS[command],
        parents=[_global_options()],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=module.__doc__,
    )
    module.add_arguments(parser)
    return parser.parse_args(argv[1:]), module


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 check failed, 2 usage, 3 environment, 130 interrupted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args, module = _parse(argv)
    Progress.quiet, Progress.log_path = args.quiet, None
    if args.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        with _terminated_as_interrupted():
            outcome = module.run(args)
        _print_outcome(outcome, as_json=args.json)
    except ReflectionCoderError as error:
        if args.verbose:
            traceback.print_exc()
        print(f"error: {scrub_urls(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        again = [*argv, "--resume"] if argv[0] == "train" and "--resume" not in argv else argv
        print(f"\ninterrupted; to continue: reflectioncoder {shlex.join(map(scrub_urls, again))}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone: nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        # What the machine refuses and nobody further down could explain better.
        if args.verbose:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ENVIRONMENT
    return outcome.exit_code


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which schedulers send, ends a command as Ctrl-C does: what was answered is kept."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if os.environ.get("RANK", "0") != "0":  # of several processes (torchrun) the first one speaks
        return
    if as_json:
        lines = [json.dumps({**outcome.value, "paths": [str(p) for p in outcome.paths]}, indent=2, ensure_ascii=False)]
    else:
        lines = [*outcome.lines, *(f"wrote {path}" for path in outcome.paths)]
    for line in lines:
        print(line)
    sys.stdout.flush()
