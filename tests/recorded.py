"""Make the files that must not change when code is only moved: a fixed run, two builds, scorings of five benchmarks.

What depends on the machine, the clock, other packages or the sources is left out: durations, memory, versions, isolation, hashes of the
judge's code and trained numbers (losses and weights, which depend on the processor; names, shapes, steps, mask rates and token counts
stay).

    python -m tests.recorded FOLDER     writes the files into FOLDER, trained numbers included: compare two versions by `diff -r`
    python -m tests.recorded            records the hashes that `test_recorded` compares with
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HASHES = Path(__file__).parent / "recorded.json"

VOLATILE = re.compile(
    r".*duration_s|.*_per_s|peak_.*|.*memory.*|env|environment|settings|isolation|sandbox|reflectioncoder|versions?|.*sha256|key|date"
    r"|path|origin|device|transformers_version"
)
# Written by other packages, or of what the trained model says.
OTHERS = re.compile(
    r"run/\.evaluations/|run/fixed/(eval/|train/checkpoint-|model/(config|generation_config|tokenizer|tokenizer_config)\.json)"
)
TRAINED = re.compile(r"loss|.*_loss|ce|kl|grad_norm|perplexity|history|total_flos|epoch")
RUN = """
name: fixed
seed: 5
model: {name: world/model, rendering: chat, device: cpu, dtype: float32}
build: {problems: [world/problems.jsonl], samples_per_problem: 2, max_operator_share: 0.5}
train:
  epochs: 2
  generation_from_problems: true
  global_batch_size: 4
  learning_rate: 1e-3
generate: {batch_size: 4, max_new_tokens: 12}
evaluate: {benchmarks: ["bundled/seen:3"]}
"""
SCORED = ("humaneval+", "mbpp+")
LANGUAGES = ("js", "sh", "php")
NUM_TASKS = 6


def run(folder: Path) -> None:
    """The whole pipeline on a tiny model, in the token rendering's and the chat template's way of training."""
    from reflectioncoder.cli import main
    from reflectioncoder.data.files import write_jsonl
    from reflectioncoder.data.problems import bundled_problems
    from tests.conftest import make_model, make_tokenizer

    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(folder / "world" / "model")
    tokenizer.save_pretrained(folder / "world" / "model")
    write_jsonl(folder / "world" / "problems.jsonl", [p.to_json() for p in bundled_problems("train")[:8]])
    (folder / "run.yaml").write_text(RUN)
    assert main(["run", "run.yaml", "--runs-dir", "run", "-q"]) == 0
    shutil.rmtree(folder / "world")


def builds(folder: Path) -> None:
    """A build by the offline author, and one by a scripted model behind a server."""
    from dataclasses import replace

    from reflectioncoder.builder.pipeline import build_reflections
    from reflectioncoder.config.building import BuildConfig
    from reflectioncoder.config.declarations import ModelConfig, Recipe, SandboxConfig
    from tests.builder.scripted_recipe import ENDPOINT, PROBLEMS, make_recipe
    from tests.builder.server import Script, serving

    with serving(Script(PROBLEMS)) as url:
        build_reflections(
            make_recipe(url, endpoint=replace(ENDPOINT, base_url=url, max_in_flight=1)), folder / "build" / "dialogue", limit=6
        )
    offline = Recipe("r", ModelConfig("none"), build=BuildConfig(author="mutation", min_samples=0), sandbox=SandboxConfig(workers=2))
    build_reflections(offline, folder / "build" / "mutation", limit=12)


def scorings(folder: Path, data: Path) -> None:
    """Published completions of HumanEval+ and MBPP+; in three languages the prompts themselves and programs that end early."""
    from reflectioncoder.cli import main
    from reflectioncoder.data.files import write_jsonl
    from reflectioncoder.evaluate.benchmarks import load_benchmark

    for benchmark in SCORED:
        published = data / "generations" / "ReflectionCoder-DS-6.7B" / f"{benchmark.rstrip('+')}.jsonl"
        rows = published.read_text().splitlines()[:NUM_TASKS]
        samples = folder / "samples" / f"{benchmark}.jsonl"
        samples.parent.mkdir(exist_ok=True)
        samples.write_text("\n".join(rows) + "\n")
        _score(main, samples, f"{benchmark}:{NUM_TASKS}", folder)
    for language in LANGUAGES:
        benchmark = f"multipl-e/{language}"
        tasks = load_benchmark(f"{benchmark}:{NUM_TASKS}", str(data)).tasks
        samples = folder / "samples" / f"{language}.jsonl"
        bodies = [{"js": "return [];\n}", "sh": "  echo 1\n}", "php": "return 0;\n}"}[language], "exit"]
        write_jsonl(samples, [{"task_id": task.task_id, "completion": body} for task in tasks for body in bodies])
        _score(main, samples, f"{benchmark}:{NUM_TASKS}", folder)


def _score(main: Any, samples: Path, benchmark: str, folder: Path) -> None:
    output = folder / "score" / benchmark.partition(":")[0]
    argv = ["score", str(samples), "--benchmark", benchmark, "--output", str(output), "--partial", "-q"]
    assert main([*argv, *(["--format", "evalplus"] if benchmark.partition(":")[0] in SCORED else [])]) == 0


def make(folder: Path, data: Path) -> None:
    """Make all files in an empty folder; the working directory changes, for paths are written into some of them."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        run(Path())
        builds(Path())
        scorings(Path(), data)
    finally:
        os.chdir(before)


def normal_files(folder: Path, *, exact: bool = False) -> Iterator[tuple[str, str]]:
    """(path, content without what may differ from machine to machine) of each file that counts; `exact`: on this machine."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix not in (".json", ".jsonl", ".safetensors", ".yaml", ".md", ".jinja") or name.startswith(
            ("samples/", "run/fixed/stages/")
        ):
            continue
        if path.name == "env.json" or (not exact and OTHERS.match(name)):
            continue
        yield name, _content(path, exact)


def _content(path: Path, exact: bool) -> str:
    if path.suffix == ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest() if exact else _shapes(path)
    text = path.read_text()
    if path.suffix == ".jsonl":
        return "\n".join(json.dumps(_stable(json.loads(line), exact), sort_keys=True) for line in text.splitlines())
    if path.suffix == ".json":
        return json.dumps(_stable(json.loads(text), exact), indent=1, sort_keys=True)
    if path.suffix == ".yaml":
        return re.sub(r"(?m)^\s*#.*\n|\s+#.*$", "", text)
    return re.sub(r"\d+(\.\d+)?", "N", text)


def _stable(node: Any, exact: bool) -> Any:
    if isinstance(node, dict):
        kept = {key: value for key, value in node.items() if not VOLATILE.fullmatch(key) and (exact or not TRAINED.fullmatch(key))}
        return {key: _stable(value, exact) for key, value in kept.items()}
    if isinstance(node, list):
        return [_stable(value, exact) for value in node]
    return node


def _shapes(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return "\n".join(f"{name} {file.get_slice(name).get_shape()}" for name in sorted(file.keys()))


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256(content.encode()).hexdigest()[:16] for name, content in normal_files(folder)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        make(Path(made), Path(os.environ["REFLECTIONCODER_DATA"]).resolve())
        if len(sys.argv) > 1:
            for name, content in normal_files(Path(made), exact=True):
                target = Path(sys.argv[1]) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        else:
            HASHES.write_text(json.dumps(hashes(Path(made)), indent=1) + "\n")
