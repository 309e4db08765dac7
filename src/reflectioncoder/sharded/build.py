"""Runs `build` in shards. The unit is a problem; the logs are `log.sqlite`, as without shards, and `candidates.jsonl`.

A shard decides what depends on one sample alone (contamination, length). `merge` decides what depends on earlier samples (near
duplicates, shares of slips, samples per problem): it reads the candidates of all shards in the order in which one machine would have
written them.

If an author's candidates depend on other problems (`Traits.heeds_other_problems`), a shard has to guess the outcomes of the problems in
other shards. `merge` joins the shards' logs and builds: executions for right guesses are in the logs, the others run then.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reflectioncoder.builder.author import DialogueStats
from reflectioncoder.builder.authors.registry import author_of, check_author
from reflectioncoder.builder.critic import CriticCounts
from reflectioncoder.builder.earlier import require_same_author
from reflectioncoder.builder.lengths import token_counter
from reflectioncoder.builder.log import LOG_NAME, BuildLog
from reflectioncoder.builder.outcomes import Outcomes, Rejection
from reflectioncoder.builder.pipeline import (
    WrittenCandidates,
    build_reflections,
    limits_of,
    read_problems,
    write_samples,
    written_candidates,
)
from reflectioncoder.builder.summary import BuildSummary, LogCounts
from reflectioncoder.config.building import NOT_OF_A_REQUEST, BuildConfig
from reflectioncoder.config.declarations import AblateConfig, Recipe
from reflectioncoder.config.loading import recipe_of
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.contamination.records import behaviour_names, known_behaviour, known_tasks
from reflectioncoder.data.files import JsonlWriter, content_hash, read_jsonl, sha256_file, write_json
from reflectioncoder.data.samples import parse_sample
from reflectioncoder.progress import say
from reflectioncoder.server_address import without_credentials
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.sharded.common import ShardOutcome, require_same_data
from reflectioncoder.shards import Shard

_TESTS = "tests of benchmarks"
CANDIDATES = "candidates.jsonl"
_PACKAGES = ("libcst", "rensa")
"""The packages that make slips and find near duplicates."""


def run_shard(recipe: Recipe, directory: Path, shard: Shard, limit: int | None, data_dir: str | None) -> ShardOutcome:
    """Write the candidates of this shard's problems into `directory`. Each shard gets an equal part of the budget.

    Raises:
        The errors of `build_reflections` and `ShardFolder.begun`.
    """
    check_author(recipe.build)
    known, behaviour = known_tasks(data_dir), known_behaviour(data_dir)
    work = _work(recipe, limit, data_dir, known)
    own = replace(recipe, build=_with_part_of_budget(recipe.build, shard))
    with ShardFolder.begun(directory, shard, work) as folder:
        with written_candidates(own, directory, limit, known=known, behaviour=behaviour, shard=shard) as written:
            num_samples = _keep(written, directory / CANDIDATES)
            result = {
                "num_units": sum(shard.takes(index) for index in range(written.build.problems.count)),
                "log": asdict(LogCounts.of(written.build.log, recipe.build.endpoint)),
                "num_retries": written.dialogues.num_retries,
                "critic": written.critic and written.critic.to_json(),
            }
        folder.finish([directory / CANDIDATES, directory / LOG_NAME], result)
    return ShardOutcome(folder, result["num_units"], f"{num_samples} samples of {written.count} candidates", directory.parent)


def _keep(written: WrittenCandidates, path: Path) -> int:
    """Write the candidates with their positions; return how many of them are samples."""
    num_samples = 0
    with JsonlWriter(path) as kept:
        for position, candidate in zip(written.positions, written.alone, strict=True):
            is_rejected = isinstance(candidate, Rejection)
            num_samples += not is_rejected
            kept.write({"position": position, "rejected" if is_rejected else "sample": candidate.to_json()})
    return num_samples


def merge(shards: Sequence[ShardFolder], directory: Path) -> dict[str, Any]:
    """Write what one machine would have written; return the content of `build.json`.

    Raises:
        The errors of `build_reflections`.
        UsageError: problems or benchmark data differ from the shards'.
    """
    work = shards[0].work
    recipe = recipe_of(work.paths["recipe"])
    limit, data_dir = work.paths["limit"], work.paths["data_dir"]
    known = known_tasks(data_dir)
    require_same_data(_work(recipe, limit, data_dir, known), work)
    config = recipe.build
    require_same_author(directory, config.author, config.hybrid, config.endpoint.model or None, fork=False)
    with closing(BuildLog(directory / LOG_NAME)) as log:  # a build of the whole resumes from it
        for shard in shards:
            log.absorb(shard.directory / LOG_NAME)
    if not author_of(config).traits.heeds_other_problems:
        return _finish(shards, directory, recipe, known)
    summary = build_reflections(recipe, directory, limit, known=known, behaviour=known_behaviour(data_dir))
    new, known_already = summary["num_executions"], summary["num_replayed"]
    say(f"merge: {known_already} executions were in the shards' logs, {new} that they had not foreseen were made here")
    return summary


def _finish(shards: Sequence[ShardFolder], directory: Path, recipe: Recipe, known: KnownTasks) -> dict[str, Any]:
    config, done = recipe.build, [shard.done() for shard in shards]
    count_tokens = token_counter(recipe)
    with closing(Outcomes()) as outcomes:
        for shard in shards:
            for _, row in read_jsonl(shard.directory / CANDIDATES):
                if "sample" in row:
                    outcomes.accept(row["position"], parse_sample(row["sample"]))
                else:
                    outcomes.reject(row["position"], Rejection(**row["rejected"]))
        funnel = write_samples(outcomes, len(outcomes), directory, recipe, count_tokens)
        summary = BuildSummary(
            config=config,
            seed=recipe.seed,
            num_problems=shards[0].work.num_units or 0,
            decontaminated_against=known.names,
            compared_behaviour=shards[0].work.data[_TESTS],
            num_candidates=len(outcomes),
            funnel=funnel,
            log=_sum_of_logs([shard.result for shard in done]),
            dialogues=DialogueStats(num_retries=sum(shard.result["num_retries"] for shard in done)),
            critic=_sum_of_critics([shard.result for shard in done]),
            duration_s=round(sum(shard.duration_s for shard in done), 2),
            python=platform.python_version(),
            limits=limits_of(recipe),
        ).to_json()
    write_json(directory / "build.json", summary)
    return summary


def _work(recipe: Recipe, limit: int | None, data_dir: str | None, known: KnownTasks) -> Work:
    author, problems = author_of(recipe.build), read_problems(recipe, limit, known)
    settings = {name: value for name, value in asdict(recipe.build).items() if name != "problems"}
    settings["endpoint"] = {name: value for name, value in settings["endpoint"].items() if name not in NOT_OF_A_REQUEST}
    sandbox = {name: value for name, value in asdict(recipe.sandbox).items() if name != "workers"}
    model = {"name": recipe.model.name, "revision": recipe.model.revision}  # its tokenizer may count tokens
    files = {str(number): sha256_file(path) for number, path in enumerate(author.files(recipe.build))}
    endpoint = replace(recipe.build.endpoint, base_url=without_credentials(recipe.build.endpoint.base_url))
    if extra := settings["endpoint"]["extra_body"]:  # it may hold a credential
        settings["endpoint"]["extra_body"] = content_hash(extra)
        if not author.traits.heeds_other_problems:  # otherwise merge builds, and needs it to look up the critic's answers
            endpoint = replace(endpoint, extra_body={})
    return Work(
        "build",
        {
            "build": settings,
            "sandbox": sandbox,
            "seed": recipe.seed,
            "model": model,
            "packages": [f"{name}=={version(name)}" for name in _PACKAGES],
        },
        {"problems": problems.digest, "benchmarks": known.names, _TESTS: behaviour_names(data_dir), "files": files},
        num_units=problems.count,
        paths={
            "recipe": asdict(replace(recipe, build=replace(recipe.build, endpoint=endpoint), ablate=AblateConfig())),
            "limit": limit,
            "data_dir": data_dir and os.path.abspath(data_dir),
            "problems": ", ".join(recipe.build.problems),
            "files": ", ".join(map(str, author.files(recipe.build))),
        },
    )


def _with_part_of_budget(config: BuildConfig, shard: Shard) -> BuildConfig:
    """Return the settings with an equal part of the budget, since shards do not know what the others spend."""
    tokens, usd = config.budget_tokens, config.budget_usd
    return replace(config, budget_tokens=tokens and tokens // shard.count, budget_usd=usd and usd / shard.count)


def _sum_of_logs(results: Sequence[dict[str, Any]]) -> LogCounts:
    return LogCounts(**{spec.name: sum(result["log"][spec.name] for result in results) for spec in fields(LogCounts)})


def _sum_of_critics(results: Sequence[dict[str, Any]]) -> CriticCounts | None:
    counts = [result["critic"] for result in results if result["critic"]]
    if not counts:
        return None
    refused = sum((Counter(count["refused"]) for count in counts), Counter())
    num_asked, num_accepted = (sum(count[name] for count in counts) for name in ("num_asked", "num_accepted"))
    return CriticCounts(counts[0]["model"], num_asked, num_accepted, refused)
