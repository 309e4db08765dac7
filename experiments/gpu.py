"""Measures on a machine with one GPU and no network what this project could not measure without one.

    python experiments/gpu.py --output runs/gpu --stage tests
    python experiments/gpu.py --output runs/gpu --tiny          all stages with tiny shapes on a CPU, about a minute

Each stage takes at most --limit-s seconds; the same command goes on where it stopped. Every unit that is done, or that failed, is a
line of results.jsonl in the output folder. Needs torch, transformers and peft, and none of this project's other packages; pytest, for
the stage `tests`, is looked for in OUTPUT/wheels too. docs/experiments.md describes the stages.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # neither has to be installed

from experiments import checks, head, matmul, training  # noqa: E402
from experiments.runner import Settings, add_arguments, guarded, opened, require_gpu, run_groups  # noqa: E402
from experiments.tables import summary  # noqa: E402
from reflectioncoder.errors import UsageError  # noqa: E402

STAGES = {"tests": checks.groups, "matmul": matmul.groups, "training": training.groups, "head": head.groups}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--stage", choices=[*STAGES, "summary"], help="a single stage; default: all, one after another")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes on the CPU, to try the experiments out")
    parser.add_argument("--smollm2", help="folder with SmolLM2-135M; default: random weights of its shape")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> bool:
    """Run the stages that are asked for; return False if the time was over before.

    Raises:
        MachineError: there is no GPU, or the results are in use.
        UsageError: a folder is missing, or the results are those of other settings.
    """
    if args.smollm2 and not (Path(args.smollm2) / "config.json").is_file():
        raise UsageError.for_value("no model is here", "--smollm2", args.smollm2, "a folder with config.json and weights")
    settings = Settings(args.tiny, args.smollm2, args.memory_gb)
    if args.stage != "summary":
        require_gpu(settings)
    done = True
    with opened(args.output, settings) as results:
        for name in STAGES if args.stage is None else [args.stage]:
            if name in STAGES:
                done &= run_groups(STAGES[name](settings), settings, args.output, results, args.limit_s)
        if args.stage in (None, "summary"):
            print(summary(results.rows))
    return done


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    sys.path.append(str(args.output.resolve() / "wheels"))
    return guarded(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
