"""Runs the rounds of `improve`: a model attempts fresh problems, is trained on its corrected failures, and is scored on held-out tasks.

A round's attempts are the current model's one-off answers; the failing ones become reflection samples with the reference solutions as
repairs (`build.author: attempts`). Like STaR (arXiv 2203.14465), every round trains the base model anew on the samples of all rounds
so far, so that training errors do not accumulate. The rounds end once the held-out score stops rising.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.builder.authors.registry import require_used_options
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.config.declarations import Recipe
from reflectioncoder.config.loading import ResolvedRecipe
from reflectioncoder.data.files import JsonlWriter, claim, write_json
from reflectioncoder.data.problems import Problem, iter_problems
from reflectioncoder.data.prompts import one_off_sample
from reflectioncoder.data.run_folders import IMPROVE_FILE
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.results import headline
from reflectioncoder.pipeline import Run
from reflectioncoder.progress import say
from reflectioncoder.self_samples import answers_key, sample_answers
from reflectioncoder.stage_marker import BASE, TRAINED
from reflectioncoder.stopping import StopFlag

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team

_ONE_OFF = "one_off.jsonl"


@dataclass(frozen=True)
class Round:
    """One round. `score` is the mean pass@1 over the recipe's benchmarks; round 0 is the base model."""

    number: int
    num_problems: int
    num_samples: int
    score: float
    pass_at_1: dict[str, float]
    model: str

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "pass_at_1": dict(self.pass_at_1)}


class Improvement:
    """The folder runs/<name>/ with one run per round in rounds/<number>/; each run resumes from its own files."""

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
        self.directory = runs_dir / self.recipe.name
        self._resolved = resolved
        self._data_dir = data_dir
        self._stop = stop
        self._team = team
        self._base = Run(resolved, runs_dir, data_dir)

    def run(self) -> list[Round]:
        """Score the base model, then run all rounds; improve.json is rewritten after each.

        Raises:
            UsageError: impossible settings; no problem with a reference and tests.
            CheckFailedError: too few samples in a round.
        """
        if not self.recipe.evaluate.benchmarks:
            raise UsageError("improve needs held-out tasks: evaluate.benchmarks is empty")
        if "pass_rate" not in self.recipe.evaluate.measures:
            raise UsageError.for_value(
                "improve compares rounds by their pass rate", "evaluate.measures", list(self.recipe.evaluate.measures), "pass_rate"
            )
        if (normalization := self.recipe.train.text_normalization) != "none":  # it would change the samples of earlier rounds
            what = "improve trains on samples of its own, which stay as they are"
            raise UsageError.for_value(what, "train.text_normalization", normalization, "none", "normalise the data beforehand")
        if count := self.recipe.train.self_samples:
            raise UsageError.for_value("improve corrects the model's own answers", "train.self_samples", count, "0")
        if (critic := self.recipe.build.critic) != "none":  # the rounds set endpoint.model, which the critic would use too
            raise UsageError.for_value("improve has no critic", "build.critic", critic, "none")
        self._require_sampling()
        require_used_options(self._build_of(1))
        self._base.check()
        if not self._problems(1):
            raise UsageError("build.problems holds no problem with a reference and tests: nothing to attempt")
        with self._base.prepared():
            return self._run()

    def _require_sampling(self) -> None:
        improve = self.recipe.improve
        if improve.samples > 1 and improve.temperature == 0:
            what, hint = "several attempts per problem need sampling", "set improve.temperature above 0"
            raise UsageError.for_value(what, "improve.samples", improve.samples, "1 at temperature 0", hint)

    def _run(self) -> list[Round]:
        config = self.recipe.improve
        scores = _pass_at_1(self._base.measure(BASE)[0])
        rounds = [Round(0, 0, 0, _mean(scores), scores, str(self._base.source.path))]
        self._write(rounds)
        for number in range(1, config.rounds + 1):
            if number - best(rounds).number > config.patience:
                say(f"improve: no better score for {config.patience} round(s)")
                break
            problems = self._problems(number)
            if not problems:
                say(f"improve: the problems are used up after {number - 1} rounds")
                break
            result = self._round(number, problems, Path(rounds[-1].model))
            if result is None:
                say(f"improve: none of the attempts of round {number} can be learned from")
                break
            rounds.append(result)
            self._write(rounds)
        return rounds

    def _problems(self, number: int) -> list[Problem]:
        """Return the problems of round `number`; rounds share none."""
        usable = (p for p in iter_problems(self.recipe.build.problems) if p.has_reference and p.tests)
        size = self.recipe.improve.problems_per_round
        return list(itertools.islice(usable, (number - 1) * size, number * size))

    def _build_of(self, number: int) -> BuildConfig:
        """Return the settings of a round's build: references repair the failed attempts of the previous round's model."""
        directory, build = self.directory / "rounds" / str(number), self.recipe.build
        return replace(
            build,
            author="attempts",
            attempts=str(directory / "attempts" / "completions.jsonl"),
            problems=(str(directory / "problems.jsonl"),),
            rollouts=self.recipe.improve.samples,
            min_samples=0,
            endpoint=replace(build.endpoint, model=str(number - 1)),
        )

    def _round(self, number: int, problems: list[Problem], model: Path) -> Round | None:
        """Run a round; return None if no attempt fails, or no failed attempt becomes a sample."""
        recipe = self.recipe
        directory = self.directory / "rounds" / str(number)
        file = directory / "problems.jsonl"
        with JsonlWriter(file) as written:
            for problem in problems:
                written.write(problem.to_json())
        say(f"improve: round {number}, {len(problems)} problems attempted by {model}")
        build = self._build_of(number)
        rounds = [self.directory / "rounds" / str(n) for n in range(1, number + 1)]
        earlier = [str(folder / "build" / "reflections.jsonl") for folder in rounds[:-1]]
        train = replace(recipe.train, reflection_data=(*recipe.train.reflection_data, *earlier))
        if train.generation_from_problems:  # one-off samples come from all rounds so far, as the reflections do
            with JsonlWriter(directory / _ONE_OFF) as written:
                for problem in problems:
                    written.write(one_off_sample(problem).to_json())
            plain = [str(folder / _ONE_OFF) for folder in rounds]
            train = replace(train, generation_from_problems=False, generation_data=(*train.generation_data, *plain))
        backend = replace(recipe.generate, backend=self._base.backend)  # already resolved: a fallback is reported once
        own = replace(recipe, name=str(number), build=build, train=train, generate=backend)
        rounds_dir = self.directory / "rounds"
        run = Run(replace(self._resolved, recipe=own), rounds_dir, self._data_dir, stop=self._stop, team=self._team)
        with run.prepared():
            return self._outcome(number, run, problems, model)

    def _outcome(self, number: int, run: Run, problems: list[Problem], model: Path) -> Round | None:
        self._attempt(run, problems, model)
        built = run.build()
        if not built["num_accepted"]:
            return None
        run.train()
        run.export_gguf()
        scores = _pass_at_1(run.measure(TRAINED)[0])
        run.mark_finished()
        result = Round(number, len(problems), built["num_accepted"], _mean(scores), scores, str(run.model))
        say(f"improve: round {number}: {result.num_samples} samples, held-out score {100 * result.score:.1f} %")
        return result

    def _attempt(self, run: Run, problems: list[Problem], model: Path) -> None:
        """Collect the current model's one-off answers to the problems."""
        improve = self.recipe.improve
        config = replace(self.recipe.generate, temperature=improve.temperature, num_samples=improve.samples)
        path = Path(run.recipe.build.attempts)
        asked = run.asked(model)
        key = answers_key(asked, problems, config, self.recipe)

        def work() -> dict[str, Any]:
            return sample_answers(asked, problems, config, self.recipe.seed, path, f"attempts of round {run.recipe.name}")

        if not claim(path.parent, key):  # attempts at other problems or by another model: remove what was built on them too
            shutil.rmtree(path.parent)
            shutil.rmtree(run.directory / "build", ignore_errors=True)
            claim(path.parent, key)
        run.stage("attempts", [key], [path], work, continues=[path])

    def _write(self, rounds: list[Round]) -> None:
        value = {"schema_version": 1, "rounds": [r.to_json() for r in rounds], "best": best(rounds).number}
        write_json(self.directory / IMPROVE_FILE, value)


def best(rounds: list[Round]) -> Round:
    """Return the first of the rounds with the highest held-out score."""
    return max(rounds, key=lambda r: (r.score, -r.number))


def _pass_at_1(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {spec: headline(of_benchmark)["value"] for spec, of_benchmark in results.items()}


def _mean(scores: dict[str, float]) -> float:
    return sum(scores.values()) / len(scores)
