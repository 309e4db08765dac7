"""`run`: build → generate and score before → train → generate and score after → report, each stage resumable from its own files.

A finished stage leaves a marker with the hash of what it depended on. A changed recipe makes the stages that depend on the change
run again; a stage that was interrupted continues from its files.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder import __version__
from reflectioncoder.build.pipeline import build_reflections, limits_from
from reflectioncoder.config import Recipe, ResolvedRecipe
from reflectioncoder.data.files import content_hash, read_json, sha256_file, write_atomic, write_json
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.benchmarks import Benchmark, load_benchmark, requests_for
from reflectioncoder.evaluate.results import headline, require_sandbox, summarize
from reflectioncoder.evaluate.score import read_samples_to_score, score_samples
from reflectioncoder.generate.base import Backend, generate
from reflectioncoder.model_source import ModelSource, model_hash, resolve_model
from reflectioncoder.progress import format_duration, say

BASE, TRAINED = "base", "trained"


class Run:
    """One run folder, `runs/<name>/`, and the stages that fill it."""

    def __init__(self, resolved: ResolvedRecipe, runs_dir: Path, data_dir: str | None = None):
        self.recipe: Recipe = resolved.recipe
        self.resolved = resolved
        self.data_dir = data_dir
        self.directory = runs_dir / self.recipe.name
        self._source: ModelSource | None = None

    @property
    def source(self) -> ModelSource:
        if self._source is None:
            self._source = resolve_model(self.recipe.model)
        return self._source

    # --- stages -------------------------------------------------------------------------------------------------------

    def stage(self, name: str, depends_on: Sequence[Any], work: Callable[[], Any]) -> Any:
        """Do `work` unless it was done with the same dependencies; its JSON result is kept in the marker."""
        marker = self.directory / "stages" / f"{name.replace('/', '-')}.json"
        key = content_hash(__version__, *depends_on)
        if marker.exists():
            known = read_json(marker)
            if known["key"] == key:
                say(f"{name}: done before ({format_duration(known['duration_s'])})")
                return known["result"]
        started = time.monotonic()
        result = work()
        write_json(marker, {"key": key, "duration_s": round(time.monotonic() - started, 1), "result": result})
        return result

    def prepare(self) -> None:
        """The folder, the resolved configuration, the environment."""
        write_atomic(self.directory / "config.yaml", self.resolved.to_yaml())
        write_json(self.directory / "env.json", {**environment(), "model": self.source.to_json()})

    def build(self) -> dict[str, Any]:
        recipe = self.recipe
        problem_files = [sha256_file(s) for s in recipe.build.problems if not s.startswith("bundled:")]
        depends_on = [asdict(recipe.build), asdict(recipe.sandbox), recipe.seed, problem_files]
        return self.stage("build", depends_on, lambda: build_reflections(recipe, self.directory / "build"))

    def train(self) -> dict[str, Any]:
        from reflectioncoder.train.stage import train_model, training_samples

        reflections = self.directory / "build" / "reflections.jsonl"
        files = [reflections, *map(Path, (*self.recipe.train.reflection_data, *self.recipe.train.generation_data))]
        for file in files:
            if not file.is_file():
                raise UsageError(f"file not found: {file}")
        depends_on = [
            asdict(self.recipe.train), asdict(self.recipe.model), self.recipe.seed, model_hash(self.source.path),
            [sha256_file(file) for file in files],
        ]  # fmt: skip
        key = content_hash(*depends_on)

        def work() -> dict[str, Any]:
            self._put_foreign_checkpoints_aside(key)
            return train_model(self.recipe, self.source, training_samples(self.recipe, reflections), self.directory)

        return self.stage("train", depends_on, work)

    def _put_foreign_checkpoints_aside(self, key: str) -> None:
        """Checkpoints of other settings must not be resumed."""
        train_dir = self.directory / "train"
        owner = train_dir / "settings.json"
        if owner.exists() and read_json(owner)["key"] != key:
            train_dir.rename(self.directory / f"train-{read_json(owner)['key']}")
            say("train: the settings have changed; earlier checkpoints are kept aside")
        write_json(owner, {"key": key})

    def evaluate(self, which: str, spec: str) -> dict[str, Any]:
        """Generate and score one benchmark with the base or the trained model."""
        benchmark = load_benchmark(spec, self.data_dir)
        path = self.source.path if which == BASE else self.directory / "model"
        recipe = self.recipe
        depends_on = [
            benchmark.describe(), [t.task_id for t in benchmark.tasks], asdict(recipe.generate), asdict(recipe.evaluate),
            asdict(recipe.sandbox), recipe.seed, model_hash(path),
        ]  # fmt: skip
        directory = self.directory / "eval" / benchmark.name / which
        return self.stage(
            f"eval-{benchmark.name}-{which}",
            depends_on,
            lambda: evaluate_model(
                lambda: self._backend(path),
                benchmark,
                recipe,
                directory,
                f"{benchmark.name} {which}",
                content_hash(*depends_on),
            ),
        )

    def _backend(self, path: Path) -> Backend:
        from reflectioncoder.generate.transformers_backend import TransformersBackend

        return TransformersBackend(self.recipe.model, path)

    def run(self) -> dict[str, Any]:
        """All stages; returns the paths that were written and the headline numbers."""
        self.prepare()
        say(f"model: {self.recipe.model.name} from {self.source.origin}")
        self.build()
        before = {spec: self.evaluate(BASE, spec) for spec in self.recipe.evaluate.benchmarks}
        self.train()
        after = {spec: self.evaluate(TRAINED, spec) for spec in self.recipe.evaluate.benchmarks}
        report = self.report()
        return {
            "run": str(self.directory),
            "report": str(report),
            "model": str(self.directory / "model"),
            "pass@1": {s: {BASE: headline(before[s]), TRAINED: headline(after[s])} for s in before},
        }

    def report(self) -> Path:
        from reflectioncoder.report.html import write_report

        return write_report([self.directory], self.directory / "report.html")


def evaluate_model(
    backend: Callable[[], Backend], benchmark: Benchmark, recipe: Recipe, directory: Path, label: str, key: str
) -> dict[str, Any]:
    """Completions (resumed if `key` says that they are of the same settings) → verdicts → results.json.

    Raises:
        MachineError: too many samples could not be run in the sandbox.
    """
    owner = directory / "settings.json"
    completions = directory / "completions.jsonl"
    if not owner.exists() or read_json(owner)["key"] != key:
        completions.unlink(missing_ok=True)
        (directory / "samples.jsonl").unlink(missing_ok=True)
        write_json(owner, {"key": key})
    model = backend()
    requests = requests_for(benchmark, recipe.generate.num_samples)
    generate(model, requests, recipe.generate, recipe.seed, completions, f"generate {label}")
    limits = limits_from(recipe.sandbox)
    samples = read_samples_to_score(completions, benchmark)
    rows = score_samples(samples, directory / "samples.jsonl", limits, recipe.sandbox.workers, f"score {label}")
    results = summarize(
        benchmark,
        rows,
        limits,
        recipe.evaluate.confidence,
        model.describe(),
        {**asdict(recipe.generate), "seed": recipe.seed},
    )
    write_json(directory / "results.json", results)
    require_sandbox(results)
    return results


def environment() -> dict[str, Any]:
    """Versions and hardware that a result depends on. Imports nothing heavy."""
    import importlib.metadata as metadata
    import os

    versions = {}
    for name in ("torch", "transformers", "peft", "accelerate", "tokenizers", "libcst"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "reflectioncoder": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": versions,
    }
