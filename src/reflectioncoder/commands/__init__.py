"""One module per command: `add_arguments(parser)` and `run(args) -> Outcome`. Heavy imports happen inside `run`."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.choices import RESULT_FORMATS, RESULT_FORMATS_HELP, RULES, RULES_HELP
from reflectioncoder.errors import EXIT_INTERRUPTED
from reflectioncoder.shards import Shard

if TYPE_CHECKING:
    from reflectioncoder.cluster.crew import ClusterWanted
    from reflectioncoder.config.loading import ResolvedRecipe
    from reflectioncoder.evaluate.benchmarks import Benchmark
    from reflectioncoder.sharded.benchmarks import WantedBenchmark
    from reflectioncoder.sharded.common import ShardOutcome
    from reflectioncoder.train.ranks import Team


_MAX_WHOLE = 2**63 - 1


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command: a JSON value, lines for the user, the paths it wrote, its exit code.

    styled: the lines contain this program's own colour codes, and text from data in them is already escaped.
    paged: on a terminal, lines that do not fit on the screen go through a pager.
    """

    value: dict[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    paths: Sequence[Path] = ()
    exit_code: int = 0
    styled: bool = False
    paged: bool = False


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or the name of a shipped recipe (see: reflectioncoder recipes)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting, e.g. train.epochs=1; may be repeated"
    )
    parser.add_argument(
        "--runs-dir", type=Path, default=Path("runs"), metavar="DIR", help="folder that holds the run folders (default: runs)"
    )


def add_benchmark_arguments(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    names = (
        "bundled/seen, bundled/unseen, bundled/repair, humaneval, humaneval+, mbpp, mbpp+, humanevalfix/LANGUAGE, "
        "humanevalfix-docs/LANGUAGE, humanevalsynthesize/LANGUAGE, cruxeval-o, cruxeval-i, leetcode, "
        "bigcodebench-hard/complete, bigcodebench-hard/instruct, livecodebench, multipl-e/LANGUAGE, or "
        "file:PATH for a problem file of your own; NAME:N takes its first N tasks"
    )
    parser.add_argument("--benchmark", required=True, nargs=nargs, metavar="B", help=names)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write the results to")
    what = "of a dated benchmark (leetcode, livecodebench) take the tasks"
    parser.add_argument("--from", dest="from_date", default="", metavar="DATE", help=f"{what} of this day and later, YYYY-MM-DD")
    parser.add_argument("--to", dest="to_date", default="", metavar="DATE", help=f"{what} of this day and earlier, YYYY-MM-DD")
    add_data_dir_argument(parser)


def add_data_dir_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=_folder,
        metavar="DIR",
        help="folder with benchmark files; searched before $REFLECTIONCODER_DATA and the cache",
    )


def _folder(text: str) -> str:
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"got {text!r:.200}, allowed: a folder that is there")
    return text


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=workers, default=0, metavar="N", help="number of programs run at once; 0 (default): one per core"
    )


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    add_workers_argument(parser)
    parser.add_argument(
        "--rules", choices=RULES, default=RULES[0], help=described("rules for HumanEval(+) and MBPP(+)", RULES_HELP, RULES[0])
    )
    add_floor_argument(parser)


def add_floor_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--floor",
        type=int,
        choices=range(4),
        metavar="0-3",
        help="weakest isolation tier to accept (default: 1); at 0 programs can read your files and use the network; with --ray it also "
        "accepts nodes of different tiers",
    )


def floor_of(args: argparse.Namespace) -> int:
    """Return the weakest isolation tier that the command line accepts."""
    return 1 if args.floor is None else args.floor


def add_shard_argument(parser: argparse.ArgumentParser, where: str, default: Shard | None = None) -> None:
    """Add `--shard`. `where`: the help's wording for the location of the results."""
    text = f"do the I-th of N parts of the work, at any time on any machine; {where}"
    parser.add_argument("--shard", type=_shard, default=default, metavar="I/N", help=text)


def add_ray_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--ray`."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run the programs on the nodes of a Ray cluster: HOST:PORT of its head, auto (the cluster of this machine), or nothing: "
        "$RAY_ADDRESS, else one of this machine's cores that ends with the command (extra: ray)",
    )


def wanted_cluster(args: argparse.Namespace, workers: int) -> ClusterWanted | None:
    """Return the cluster that the command line requests, or None. `workers`: the most programs to run per node.

    Relative paths in `--data-dir` and in problem files as benchmarks become absolute, since nodes have other working directories.

    Raises:
        UsageError: the command line requests a shard too.
    """
    if args.ray is None:
        return None
    from reflectioncoder.cluster.crew import ClusterWanted
    from reflectioncoder.errors import UsageError

    if args.shard:
        raise UsageError("--shard and --ray are two ways to use several machines\n  hint:    leave one of them out")
    if getattr(args, "data_dir", None):
        args.data_dir = os.path.abspath(args.data_dir)
    if named := getattr(args, "benchmark", None):
        from reflectioncoder.evaluate.specs import with_absolute_path

        args.benchmark = with_absolute_path(named) if isinstance(named, str) else [with_absolute_path(spec) for spec in named]
    return ClusterWanted(args.ray, workers, getattr(args, "floor", None))


def shard_outcome(done: ShardOutcome) -> Outcome:
    """Return the outcome of a command that did one shard."""
    return Outcome(done.to_json(), done.lines(), [done.folder.directory])


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_format_argument(parser: argparse.ArgumentParser) -> None:
    values = "; ".join(f"{value}: {text}" for value, text in RESULT_FORMATS_HELP.items())
    parser.add_argument(
        "--format",
        action="append",
        default=[],
        choices=RESULT_FORMATS,
        help=f"also write the results as another tool does; may be repeated. {values}",
    )


def described(what: str, values: Mapping[Any, str], default: str) -> str:
    """Return the help text of a choice: its meaning, the effect of each value, the default."""
    return f"{what}. {'; '.join(f'{value}: {text}' for value, text in values.items())} (default: {default})"


def resolve_recipe(args: argparse.Namespace) -> ResolvedRecipe:
    """Load the recipe that the command line names, with `--set` and `--seed` applied."""
    from reflectioncoder.config.loading import load_recipe

    overrides = list(args.set)
    if args.seed is not None:
        overrides.append(f"seed={args.seed}")
    return load_recipe(args.recipe, overrides)


def resolve_limited_recipe(args: argparse.Namespace) -> ResolvedRecipe:
    """Load the recipe as `resolve_recipe` does, with `--limit` applied to each of its benchmarks."""
    from dataclasses import replace

    resolved = resolve_recipe(args)
    evaluate = resolved.recipe.evaluate
    benchmarks = tuple(limited(spec, args.limit) for spec in evaluate.benchmarks)
    return replace(resolved, recipe=replace(resolved.recipe, evaluate=replace(evaluate, benchmarks=benchmarks)))


def led_by_first(work: Callable[[Team | None], Outcome]) -> Outcome:
    """Do a command's work in rank 0 of the processes that a launcher started; the other ranks join its trainings."""
    from reflectioncoder.train.ranks import launched_team

    team = launched_team()
    if team is None:
        return work(None)
    if team.is_led_here:
        with team.leading():
            return work(team)
    try:
        return Outcome(exit_code=team.follow())
    except KeyboardInterrupt:  # rank 0 says how to continue
        return Outcome(exit_code=EXIT_INTERRUPTED)


def wanted_benchmark(spec: str, args: argparse.Namespace) -> Benchmark[Any]:
    """Load a benchmark that the command line names, with `--limit`, `--from` and `--to` applied."""
    from reflectioncoder.evaluate.benchmarks import load_benchmark
    from reflectioncoder.evaluate.dates import DateWindow

    return load_benchmark(limited(spec, args.limit), args.data_dir, DateWindow(args.from_date, args.to_date))


def benchmark_of_shards(spec: str, args: argparse.Namespace) -> WantedBenchmark:
    """Return the information from which `merge` loads the command line's benchmark again."""
    from reflectioncoder.sharded.benchmarks import WantedBenchmark

    return WantedBenchmark(limited(spec, args.limit), args.from_date, args.to_date, args.data_dir)


def limited(spec: str, limit: int | None) -> str:
    """Return the benchmark specification with `--limit` applied."""
    from reflectioncoder.evaluate.specs import split_spec

    base, count = split_spec(spec)
    return spec if limit is None or (count is not None and count <= limit) else f"{base}:{limit}"


def at_least(smallest: int, largest: int = _MAX_WHOLE) -> Callable[[str], int]:
    """Return an argparse type that takes whole numbers from `smallest` to `largest`."""

    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None
        if value is None or not smallest <= value <= largest:
            span = f"from {smallest} up" if largest == _MAX_WHOLE else f"from {smallest} to {largest}"
            raise argparse.ArgumentTypeError(f"got {text!r:.60}, allowed: a whole number {span}")
        return value

    return parse


def not_negative(text: str) -> float:
    """Parse a number of at least 0, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r:.60}, allowed: a number from 0 up")
    return value


def seconds(text: str) -> float:
    """Parse a number of seconds above 0, as an argparse type."""
    from reflectioncoder.config.checks import MAX_SECONDS

    if not 0 < (value := not_negative(text)) <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"got {text!r:.60}, allowed: a number above 0, at most {MAX_SECONDS:.0f}")
    return value


def workers(text: str) -> int:
    """Parse a number of programs that run at once, as an argparse type; 0 means one per core."""
    from reflectioncoder.config.checks import MAX_WORKERS

    return at_least(0, MAX_WORKERS)(text)


def percent(metric: dict[str, Any]) -> str:
    return f"{100 * metric['value']:.1f} % [{100 * metric['ci_low']:.1f}, {100 * metric['ci_high']:.1f}]"
