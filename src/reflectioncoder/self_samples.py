"""Samples a model's one-off answers to training problems, unfiltered: `improve` corrects them, and a run trains on them unverified.

The second use is a control: how much of a gain comes from training on the model's own answers alone (SSD, arXiv 2604.01193).
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.config.declarations import GenerateConfig, Recipe
from reflectioncoder.data.completion_requests import problem_request
from reflectioncoder.data.files import JsonlWriter, claim, content_hash, read_jsonl
from reflectioncoder.data.problems import Problem, iter_problems
from reflectioncoder.data.prompts import one_off_sample
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.evaluation import sampling_settings
from reflectioncoder.generate.backends import AskedModel
from reflectioncoder.generate.base import generate, longest
from reflectioncoder.languages import PYTHON

if TYPE_CHECKING:
    from reflectioncoder.pipeline import Run


def sample_answers(
    asked: AskedModel, problems: Sequence[Problem], config: GenerateConfig, seed: int, path: Path, label: str
) -> dict[str, Any]:
    """Ask for `config.num_samples` one-off answers to each problem, into `path`; return counts. What is there stays."""
    requests = [problem_request(problem, sample) for problem in problems for sample in range(config.num_samples)]
    with asked.open(longest(requests), config.max_new_tokens) as backend:
        return generate(backend, requests, config, seed, path, label)


def answers_key(asked: AskedModel, problems: Sequence[Problem], config: GenerateConfig, recipe: Recipe) -> str:
    """Return the cache key of the answers."""
    sampling = sampling_settings(config, in_batches=asked.in_batches)
    return content_hash([problem.to_json() for problem in problems], sampling, vars(recipe.model), recipe.seed, asked.key)


def with_self_samples(run: Run) -> Recipe:
    """Return the run's recipe; with `train.self_samples`, sample the answers first and add them to its training data.

    Truncated answers and answers without a program are dropped and counted; programs are not checked for correctness.

    Raises:
        CheckFailedError: no usable answer is left.
    """
    recipe = run.recipe
    if not recipe.train.self_samples:
        return recipe
    problems = [p for p in iter_problems(recipe.build.problems) if p.has_reference and p.language == PYTHON.name]
    config = replace(recipe.generate, temperature=recipe.train.self_temperature, num_samples=recipe.train.self_samples)
    folder, asked = run.directory / "self_samples", run.asked(run.source.path)
    answers, samples = folder / "completions.jsonl", folder / "samples.jsonl"
    key = answers_key(asked, problems, config, recipe)

    def work() -> dict[str, Any]:
        if not claim(folder, key):
            shutil.rmtree(folder)
            claim(folder, key)
        sample_answers(asked, problems, config, recipe.seed, answers, "self samples")
        counts = _write_samples(answers, problems, samples)
        if not counts["written"]:
            raise CheckFailedError(f"train.self_samples: no answer of {recipe.model.name} holds a whole program: {dict(counts)}")
        return dict(counts)

    run.stage("self_samples", [key], [answers, samples], work, continues=[answers])
    data = (*recipe.train.generation_data, str(samples))
    return replace(recipe, train=replace(recipe.train, self_samples=0, generation_from_problems=False, generation_data=data))


def _write_samples(answers: Path, problems: Sequence[Problem], path: Path) -> Counter[str]:
    """Write the usable answers as one-off samples, in the problems' order; return counts."""
    rows = {(row["task_id"], row["sample"]): row for _, row in read_jsonl(answers)}
    number_of = {problem.task_id: number for number, problem in enumerate(problems)}
    counts: Counter[str] = Counter()
    with JsonlWriter(path) as written:
        for task_id, sample in sorted(rows, key=lambda key: (number_of[key[0]], key[1])):
            row = rows[task_id, sample]
            if row["finish_reason"] != "stop" or not row["solution"].strip():
                counts["cut off" if row["finish_reason"] == "length" else "no program"] += 1
                continue
            problem = problems[number_of[task_id]]
            written.write(one_off_sample(problem, row["solution"], f"self:{task_id}:{sample}", "self").to_json())
            counts["written"] += 1
    return counts
