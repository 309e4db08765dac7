"""The grid of experiments/grid.yaml for a machine with one GPU and no network: more tokens, more seeds, a second model.

    python experiments/grid.py --output runs/gpu-grid --smollm2 FOLDER_OR_GGUF --stage smollm2
    python experiments/grid.py --output runs/gpu-grid --qwen FOLDER_OR_GGUF --stage qwen
    python experiments/grid.py --output runs/tiny-grid --smollm2 FOLDER_OR_GGUF --tiny        a few tokens and tasks on a CPU

A stage takes at most --limit-s seconds; the same command goes on where it stopped, in the middle of a run too. Every run that is done,
or that failed, is a line of results.jsonl in the output folder; runs/ below it has what `reflectioncoder ablate` writes.
docs/experiments.md describes what the machine needs.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # neither has to be installed

from experiments.runner import Group, Measure, Rows, Settings, add_arguments, guarded, opened, require_gpu, run_groups  # noqa: E402
from reflectioncoder.errors import UsageError  # noqa: E402

RECIPE = ROOT / "experiments" / "grid.yaml"
_COMMON = (
    "ablate.seeds=[1, 2, 3, 4, 5]",
    "train.max_tokens=2000000",
    "ablate.arms.one-off, half as long.train.max_tokens=1000000",
    "train.epochs=200",
    "train.global_batch_size=16",
    "train.micro_batch_tokens=16384",
    "train.save_steps=25",
    "generate.backend=transformers",
    "generate.batch_size=128",
    "evaluate.benchmarks=[bundled/seen, bundled/unseen, bundled/repair, humaneval, mbpp+, humanevalfix/python]",
)
MODELS: dict[str, tuple[str, ...]] = {
    "smollm2": (*_COMMON, "train.lora=null", "train.learning_rate=1e-4"),
    "qwen": (*_COMMON, "train.learning_rate=2e-4"),
}
"""Stage → the settings in which its grid differs from the recipe. smollm2: SmolLM2-135M-Instruct, all weights; qwen:
Qwen2.5-Coder-1.5B-Instruct, a LoRA."""
_TINY = (
    "model.device=cpu",
    "ablate.seeds=[1]",
    "train.max_tokens=6000",
    "ablate.arms.one-off, half as long.train.max_tokens=3000",
    "train.micro_batch_tokens=0",
    "train.global_batch_size=4",
    "build.diagnoses=templates",
    "build.tests=problem",
    "build.misreading_share=0",
    "build.interacting_slips=false",
    "build.max_operator_share=0.5",
    "generate.batch_size=8",
    "generate.max_new_tokens=100",
    "evaluate.benchmarks=[bundled/seen:3]",
)
_NUM_TINY_PROBLEMS = 8


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--stage", choices=[*MODELS, "summary"], help="a single stage; default: all whose model is named")
    parser.add_argument("--tiny", action="store_true", help="few tokens and tasks on the CPU, to try the grid out")
    parser.add_argument("--smollm2", help="SmolLM2-135M-Instruct: a folder with config.json and weights, or a GGUF file")
    parser.add_argument("--qwen", help="Qwen2.5-Coder-1.5B-Instruct, likewise")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> bool:
    """Run the stages that are asked for; return False if the time was over before.

    Raises:
        MachineError: there is no GPU, or the results are in use.
        UsageError: a model is missing, or the results are those of other settings.
    """
    settings, given = Settings(args.tiny, memory_gb=args.memory_gb), {"smollm2": args.smollm2, "qwen": args.qwen}
    if args.stage in MODELS and not given[args.stage]:
        raise UsageError(f"--stage {args.stage} needs the model: --{args.stage} FOLDER_OR_GGUF")
    models = {name: Path(model) for name, model in given.items() if model and args.stage in (None, name)}
    for name, model in models.items():
        _require_model(name, model)
    if models:
        require_gpu(settings)
    with opened(args.output, settings) as results:
        done = [run_groups([group_of(*one, settings)], settings, args.output, results, args.limit_s) for one in models.items()]
    if args.stage in (None, "summary"):
        print("\n".join(_summary(args.output)) or "no run is finished")
    return all(done)


def _require_model(name: str, model: Path) -> None:
    if not (model / "config.json").is_file() and not (model.suffix == ".gguf" and model.is_file()):
        raise UsageError.for_value("no model is here", f"--{name}", str(model), "a folder with config.json and weights, or a GGUF file")


def group_of(name: str, model: Path, settings: Settings) -> Group:
    from reflectioncoder.ablation.design import design_of

    cells = design_of(recipe_of(name, str(model), settings)).cells
    return Group(f"grid/{name}", tuple(cell.name for cell in cells), partial(start, model.resolve()), resumes=True)


def recipe_of(name: str, model: str, settings: Settings, problems: Path | None = None) -> Any:
    """Return the recipe of a stage. `problems`: a file to take in place of the recipe's."""
    from reflectioncoder.config.loading import load_recipe

    overrides = [f"name={name}", f"model.name={json.dumps(model)}", *MODELS[name], *(_TINY if settings.tiny else ())]
    return load_recipe(RECIPE, overrides + ([f"build.problems=[{json.dumps(str(problems))}]"] if problems else []))


def start(model: Path, settings: Settings, directory: Path, group: str, rows: Rows) -> Measure:
    """Return what carries out a run of the grid: the part of an ablation that consists of this run alone."""
    from reflectioncoder.ablation.design import CELL_FILE
    from reflectioncoder.ablation.runs import Ablation
    from reflectioncoder.data.files import read_json
    from reflectioncoder.models.packaged import convert_gguf
    from reflectioncoder.shards import Shard

    if model.suffix == ".gguf":
        model = convert_gguf(model, directory.resolve() / "models" / model.stem)
    problems = _tiny_problems(directory) if settings.tiny else None
    resolved = recipe_of(group.removeprefix("grid/"), str(model), settings, problems)

    def measure(unit: str) -> dict[str, Any]:
        cells = Ablation(resolved, directory / "runs").design.cells
        number = [cell.name for cell in cells].index(unit) + 1
        ablation = Ablation(resolved, directory / "runs", shard=Shard(number, len(cells)))
        ablation.run()
        said = read_json(ablation.cells_dir / unit / CELL_FILE)
        return {**said["train"], "duration_s": said["duration_s"]}

    return measure


def _tiny_problems(directory: Path) -> Path:
    from reflectioncoder.data.files import write_jsonl
    from reflectioncoder.data.problems import bundled_problems

    path = directory.resolve() / "problems.jsonl"
    write_jsonl(path, [problem.to_json() for problem in bundled_problems("train")[:_NUM_TINY_PROBLEMS]])
    return path


def _summary(directory: Path) -> list[str]:
    from reflectioncoder.ablation.results import lines_of
    from reflectioncoder.data.files import read_json
    from reflectioncoder.data.run_folders import ABLATION_FILE

    files = [directory / "runs" / name / ABLATION_FILE for name in MODELS]
    return [line for file in files if file.is_file() for line in (f"{file.parent}:", *lines_of(read_json(file)))]


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    sys.path.append(str(args.output.resolve() / "wheels"))
    return guarded(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
