"""Runs all stages of a recipe: build → generate and score before → train → generate and score after → report, each resumable from its
own files.

A finished stage leaves a marker with hashes of its inputs and outputs. Changing the recipe reruns the stages that depend on the change;
changing a file reruns the stage that wrote it; an interrupted stage resumes from its files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder import __version__
from reflectioncoder.builder.authors.registry import author_of
from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.choices import RunBackend
from reflectioncoder.config.building import NOT_OF_A_REQUEST
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.limits import limits_from
from reflectioncoder.config.loading import ResolvedRecipe
from reflectioncoder.contamination.records import (
    behaviour_names,
    known_behaviour,
    known_tasks,
    record_training_data,
    refuse_contaminated,
)
from reflectioncoder.data.file_lock import alone_in
from reflectioncoder.data.files import claim, content_hash, put_aside, sha256_file, write_atomic, write_json
from reflectioncoder.environment import environment
from reflectioncoder.evaluate.benchmarks import Benchmark, split_name
from reflectioncoder.evaluate.compare import compare_folders
from reflectioncoder.evaluate.results import headline, summary_of
from reflectioncoder.evaluate.specs import known_results
from reflectioncoder.evaluation import (
    completions_key,
    evaluate_model,
    judged_benchmarks,
    verdicts_key,
)
from reflectioncoder.generate.backends import (
    AskedModel,
    asked_folder,
    model_versions,
    opened_once,
    usable_backend,
)
from reflectioncoder.generate.base import Backend, longest
from reflectioncoder.generate.gguf_check import verify_gguf
from reflectioncoder.models.digests import model_hash
from reflectioncoder.models.sources import ModelSource, resolve_model
from reflectioncoder.progress import format_duration, logging_to, say
from reflectioncoder.reference_evaluation import REFERENCE_LOSSES, evaluate_references, losses_key, losses_version, references_of
from reflectioncoder.run_checks import check_run, problem_files
from reflectioncoder.run_plan import plan_lines
from reflectioncoder.self_samples import with_self_samples
from reflectioncoder.shared_evaluations import SharedEvaluations
from reflectioncoder.stage_marker import BASE, TRAINED, WHOLE_RUN, Marker, evaluation_stage, marker_path, reference_loss_stage
from reflectioncoder.stopping import StopFlag

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team


class Run:
    """One run folder, `runs/<name>/`, and the stages that fill it: build, evaluate, train, evaluate again, report.

    A stage is skipped if its files exist and nothing that they depend on has changed, so repeating the call resumes an interrupted
    run.

    Args:
        resolved: see `load_recipe`.
        runs_dir: the folder that holds the run folder.
        data_dir: a folder with benchmark data, searched first.
        stop: a flag that ends training early, after a checkpoint; `run` then raises `StoppedError`.
        team: the processes that a launcher started, led by this one; they join the training.

    Raises:
        UsageError (from `run`): impossible settings, a missing or malformed file, a model that cannot be trained.
        CheckFailedError (from `run`): the training data holds benchmark tasks; too few samples; a gradient that is not finite.
        MachineError (from `run`): data or a device is missing.

    Example:
        >>> from pathlib import Path
        >>> from reflectioncoder import Run, load_recipe
        >>> run = Run(load_recipe("demo"), Path("runs"))
        >>> run.reflections.as_posix()
        'runs/demo/build/reflections.jsonl'
        >>> results = run.run()  # doctest: +SKIP
        >>> results["pass@1"]["bundled/seen"]["trained"]["value"]  # doctest: +SKIP
        0.147
    """

    def __init__(
        self,
        resolved: ResolvedRecipe,
        runs_dir: Path,
        data_dir: str | None = None,
        *,
        stop: StopFlag | None = None,
        team: Team | None = None,
    ):
        self.recipe: Recipe = resolved.recipe
        self.resolved = resolved
        self.data_dir = data_dir
        self.stop = stop
        self.team = team
        self.directory = runs_dir / self.recipe.name
        self._shared = SharedEvaluations(runs_dir)
        self._source: ModelSource | None = None

    @property
    def source(self) -> ModelSource:
        if self._source is None:
            self._source = resolve_model(self.recipe.model)
        return self._source

    @cached_property
    def backend(self) -> RunBackend:
        """Return the backend that runs the models here; a fallback from the recipe's choice is reported once."""
        wanted = self.recipe.generate.backend
        backend, reason = usable_backend(wanted, self.recipe.model.device)
        if reason is not None:
            say(f"generate: {reason}: {backend} is used in place of {wanted}")
        return backend

    @cached_property
    def _judged(self) -> dict[str, Benchmark]:
        """Load the benchmarks with the tasks that can be judged here, once, so that base and trained model get the same tasks."""
        return judged_benchmarks(self.recipe, self.data_dir)

    def asked(self, folder: Path) -> AskedModel:
        """Return the model in a folder, to be asked through the run's backend."""
        return asked_folder(self.recipe.model, folder, self.backend, self.recipe.generate.batch_size)

    def stage(
        self,
        name: str,
        depends_on: Sequence[Any],
        outputs: Sequence[Path],
        work: Callable[[], Any],
        *,
        continues: Sequence[Path] = (),
    ) -> Any:
        """Do `work` unless it was done with the same dependencies and its outputs are unchanged; return its JSON result.

        Args:
            continues: outputs from which `work` resumes if they exist. Changed ones are moved aside first.
        """
        path = self._marker(name)
        key = content_hash(__version__, *depends_on)
        known = Marker.read(path)
        if known is not None and known.key == key:
            changed = known.changed(self.directory)
            if not changed:
                say(f"{name}: done before ({format_duration(known.duration_s)})")
                return known.result
            say(f"{name}: done again: {changed[0]} is missing or was changed")
            for file in changed:
                if file in continues and file.exists():
                    aside = put_aside(file)
                    say(f"{name}: the earlier files are kept as {aside.name}")
        started = time.monotonic()
        result = work()
        Marker.of(key, round(time.monotonic() - started, 1), result, self.directory, outputs).write(path)
        return result

    def _marker(self, stage: str) -> Path:
        return marker_path(self.directory, stage)

    def check(self) -> None:
        """Check the configuration, the data and the model before any work.

        Raises:
            UsageError: impossible settings, unknown benchmark, missing or malformed file, a model that cannot be trained.
            CheckFailedError: the training data holds benchmark tasks.
            MachineError: benchmark data is missing; the device does not exist.
        """
        check_run(self.recipe, lambda: self.source, lambda: self.backend, self.data_dir)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Create the folder, write the resolved configuration and the environment, and log the block's messages to the run's log.

        From here to `mark_finished` the run counts as unfinished: its files may predate the settings in `config.yaml`.
        """
        with alone_in(self.directory):
            self._marker(WHOLE_RUN).unlink(missing_ok=True)
            write_atomic(self._config, self.resolved.to_yaml())
            (self.directory / "logs").mkdir(exist_ok=True)
            with logging_to(self.directory / "logs" / "run.log"):
                write_json(self.directory / "env.json", {**environment(), "model": self.source.to_json()})
                yield

    def mark_finished(self) -> None:
        """Record that every file of the run comes from the settings in `config.yaml`."""
        key = content_hash(__version__, asdict(self.recipe))
        Marker.of(key, 0.0, None, self.directory, [self._config]).write(self._marker(WHOLE_RUN))

    @property
    def _config(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def reflections(self) -> Path:
        return self.directory / "build" / "reflections.jsonl"

    @property
    def model(self) -> Path:
        return self.directory / "model"

    def _build_depends_on(self) -> list[Any]:
        recipe = self.recipe
        files = (*problem_files(recipe), *author_of(recipe.build).files(recipe.build))
        names = [known_tasks(self.data_dir).names, behaviour_names(self.data_dir)]
        build = asdict(recipe.build)
        build["endpoint"] = {name: value for name, value in build["endpoint"].items() if name not in NOT_OF_A_REQUEST}
        return [build, _limits(recipe), recipe.seed, [sha256_file(file) for file in files], names]

    @property
    def build_key(self) -> str:
        """Return the cache key of the build: runs with the same key build the same samples."""
        return content_hash(__version__, *self._build_depends_on())

    def has_build(self) -> bool:
        """Tell whether the build is done with these settings."""
        marker = Marker.read(self._marker("build"))
        return marker is not None and marker.key == self.build_key and not marker.changed(self.directory)

    def build(self) -> dict[str, Any]:
        if not self.recipe.build.problems:
            if (self.directory / "build").exists():
                say(f"build: no problems; the earlier build is kept as {put_aside(self.directory / 'build').name}")
            return {}
        known = known_tasks(self.data_dir)
        directory = self.directory / "build"
        outputs = [directory / name for name in ("reflections.jsonl", "rejected.jsonl", "build.json")]
        work = lambda: build_reflections(self.recipe, directory, known=known, behaviour=known_behaviour(self.data_dir))  # noqa: E731
        return self.stage("build", self._build_depends_on(), outputs, work, continues=outputs[:1])

    def train(self) -> dict[str, Any]:
        from reflectioncoder.train.data import data_key
        from reflectioncoder.train.job import TrainingJob
        from reflectioncoder.train.launch import carry_out
        from reflectioncoder.train.run import settings_key

        recipe = with_self_samples(self)
        job = TrainingJob(recipe, self.source, self.reflections if recipe.build.problems else None, self.directory)
        data = job.samples()

        def work() -> dict[str, Any]:
            self._remove_evaluations_of_trained()
            summary = carry_out(job, self.stop, self.team)
            record_training_data(self.model, data, self.source.path, self.data_dir, identity=data_key(data))
            return summary

        outputs = [self.model, self.directory / "train" / "train.json"]
        return self.stage("train", [settings_key(recipe, self.source, data)], outputs, work)

    def export_gguf(self) -> Path | None:
        """Write the trained model as GGUF and, if llama.cpp is installed, check it; return its path, None without `export.gguf`."""
        from reflectioncoder.models.gguf_export import write_gguf

        dtype = self.recipe.export.gguf
        if dtype == "none":
            return None
        path = self.directory / "gguf" / f"{self.model.name}-{dtype}.gguf"
        can_check = importlib.util.find_spec("xllamacpp") is not None

        def work() -> dict[str, Any]:
            write_gguf(self.model, path, dtype)
            if not can_check:
                say(f"{path.name} is not checked: llama.cpp is not installed (pip install 'reflectioncoder[local]')")
                return {"verified": None}
            return {"verified": verify_gguf(self.model, path, dtype).to_json()}

        self.stage("gguf", [dtype, model_hash(self.model), can_check], [path], work)
        return path

    def evaluate(self, which: str) -> dict[str, dict[str, Any]]:
        """Generate and score all benchmarks with the base or the trained model; return the results by benchmark.

        The model is loaded, or its server started, for the first benchmark that is not done, and released at the end.
        """
        path = self.source.path if which == BASE else self.model
        benchmarks = self._benchmarks(path)
        model = self.asked(path)
        longest_request = max((longest(benchmark.requests(1)) for benchmark in benchmarks.values()), default=0)
        with opened_once(lambda: model.open(longest_request, self.recipe.generate.max_new_tokens)) as backend:
            return {spec: self._evaluate(which, benchmark, model, backend) for spec, benchmark in benchmarks.items()}

    def _remove_evaluations_of_trained(self) -> None:
        """Remove the evaluations of a trained model that will be replaced; an equal new model gets them back from `_shared`."""
        for folder in list((self.directory / "eval").rglob(TRAINED)):
            if not any(path.is_dir() for path in folder.iterdir()):  # a benchmark may have this name too
                shutil.rmtree(folder)

    def _benchmarks(self, model: Path) -> dict[str, Benchmark]:
        """Load the benchmarks; refuse (or, if the recipe allows it, report) those whose tasks are in the model's training data."""
        for spec in self.recipe.evaluate.benchmarks:
            if note := refuse_contaminated(model, split_name(spec)[0], allow=self.recipe.evaluate.allow_contaminated):
                say(note)
        return self._judged

    def _evaluate(self, which: str, benchmark: Benchmark, model: AskedModel, backend: Callable[[], Backend]) -> dict[str, Any]:
        recipe = self.recipe
        name = evaluation_stage(benchmark.name, which)
        key = completions_key(benchmark, recipe, model)
        directory = self.directory / "eval" / benchmark.name / which
        outputs = [directory / file for file in ("completions.jsonl", "samples.jsonl", "results.json")]
        depends_on = [key, recipe.evaluate.confidence, _limits(recipe), *benchmark.not_judged]

        def work() -> dict[str, Any]:
            if not claim(directory, key):
                shutil.rmtree(directory)
                claim(directory, key)
            limits = limits_from(recipe.sandbox)
            shared_key = content_hash(depends_on, verdicts_key(benchmark, recipe, limits), model_versions(self.backend, recipe.model))
            label = f"{benchmark.name} {which}"
            evaluate = lambda: evaluate_model(backend(), benchmark, recipe, limits, directory, label)  # noqa: E731
            return self._shared.once(shared_key, name, outputs, evaluate)

        return self.stage(name, depends_on, outputs, work, continues=outputs[:2])

    def measure(self, which: str) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """Return the base or trained model's results and reference losses by benchmark; {} for a measure the recipe omits."""
        wanted = self.recipe.evaluate.measures
        return (
            self.evaluate(which) if "pass_rate" in wanted else {},
            self.reference_loss(which) if "reference_loss" in wanted else {},
        )

    def reference_loss(self, which: str) -> dict[str, dict[str, Any]]:
        """Return the loss of each benchmark's canonical programs under the base or trained model."""
        path = self.source.path if which == BASE else self.model
        benchmarks = self._benchmarks(path)
        return {spec: self._reference_loss(which, path, b) for spec, b in benchmarks.items() if references_of(b)}

    def _reference_loss(self, which: str, path: Path, benchmark: Benchmark) -> dict[str, Any]:
        config, confidence = self.recipe.model, self.recipe.evaluate.confidence
        name = reference_loss_stage(benchmark.name, which)
        directory = self.directory / "eval" / benchmark.name / which
        outputs = [directory / REFERENCE_LOSSES]
        depends_on = [losses_key(benchmark, config, model_hash(path)), confidence]

        def work() -> dict[str, Any]:
            shared_key = content_hash(*depends_on, losses_version(), model_versions("transformers", config))
            evaluate = lambda: evaluate_references(config, path, benchmark, directory, confidence)  # noqa: E731
            return self._shared.once(shared_key, name, outputs, evaluate)

        return self.stage(name, depends_on, outputs, work)

    def run(self) -> dict[str, Any]:
        """Run all stages; return the paths written and the headline numbers."""
        self.check()
        with self.prepared():
            return self._run()

    def _run(self) -> dict[str, Any]:
        say(f"model: {self.recipe.model.name} from {self.source.origin}")
        say("\n".join(plan_lines(self.recipe, self.directory, self.data_dir)))
        self.build()
        before, losses_before = self.measure(BASE)
        self.train()
        gguf = self.export_gguf()
        after, losses_after = self.measure(TRAINED)
        report = self.report()
        self.mark_finished()
        return {
            "run": str(self.directory),
            "report": str(report),
            "model": str(self.model),
            **({"gguf": str(gguf)} if gguf else {}),
            "pass@1": {s: {BASE: headline(before[s]), TRAINED: headline(after[s])} for s in before},
            "compared": {s: compare_folders(self.directory / "eval" / before[s]["benchmark"]["name"], BASE, TRAINED) for s in before},
            "summary": {s: {BASE: self._summary(BASE, before[s]), TRAINED: self._summary(TRAINED, after[s])} for s in before},
            "known": {s: found for s in before if (found := known_results(self.recipe.evaluate.known, s))},
            **({"reference_loss": {BASE: losses_before, TRAINED: losses_after}} if losses_after else {}),
        }

    def _summary(self, which: str, results: dict[str, Any]) -> dict[str, Any]:
        marker = Marker.read(self._marker(evaluation_stage(results["benchmark"]["name"], which)))
        return summary_of(results, marker.duration_s if marker else None)

    def report(self) -> Path:
        from reflectioncoder.report.html import write_report

        return write_report([self.directory], self.directory / "report.html")


def _limits(recipe: Recipe) -> dict[str, Any]:
    """Return the sandbox settings that can change a result: all but the number of workers."""
    return {**asdict(recipe.sandbox), "workers": None}
