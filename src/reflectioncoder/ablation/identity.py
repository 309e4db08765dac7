"""Defines what a cell's run depends on, so that a finished run is recognised later, by newer versions and without its models.

Settings are compared one by one: a setting added to the package later makes no run stale while it has its default, but a changed
default does. Of the user's own files only those that exist now are compared: results may outlive the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reflectioncoder.builder.authors.registry import author_of
from reflectioncoder.config.building import NOT_OF_A_REQUEST
from reflectioncoder.config.credentials import shown_setting
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.config.differences import flattened
from reflectioncoder.data.files import content_hash
from reflectioncoder.evaluate.specs import own_path, split_spec
from reflectioncoder.generate.reference_loss import MEASURED
from reflectioncoder.models.digests import file_digest, model_hash
from reflectioncoder.run_checks import problem_files
from reflectioncoder.server_address import identity_of_url
from reflectioncoder.train.run import HOW_IT_RUNS

_URL = "build.endpoint.base_url"  # of another server another run is made, though not of another password
_KNOWN_ELSEWHERE = "evaluate.known."  # shown beside a run's numbers, and changes none of them
_WITHOUT_EFFECT = {
    "description",
    "sandbox.workers",
    *(f"train.{name}" for name in HOW_IT_RUNS),
    *(f"build.endpoint.{name}" for name in NOT_OF_A_REQUEST),
} - {_URL}


def identity_of(recipe: Recipe) -> dict[str, Any]:
    """Return what a run depends on, as JSON: the measure, all settings, and keys of the contents of the files that they name."""
    return {"measured": MEASURED, "settings": dict(_settings(recipe)), "inputs": dict(_inputs(recipe))}


def is_same(known: Mapping[str, Any], recipe: Recipe) -> bool:
    """Tell whether a run with the identity `known` is a run of this recipe with the files as they are now."""
    settings, defaults = dict(_settings(recipe)), dict(_settings(Recipe(recipe.name, ModelConfig(recipe.model.name))))
    kept = dict(_stored(known["settings"].items()))
    if known["measured"] != MEASURED or not kept.keys() <= settings.keys():
        return False
    if any(kept.get(key, defaults.get(key)) != value for key, value in settings.items()):
        return False
    return all(known["inputs"].get(name, digest) == digest for name, digest in _inputs(recipe))


def _settings(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values that change numbers, as they are read from JSON."""
    settings = flattened(json.loads(json.dumps(asdict(recipe))))
    yield from _stored(settings.items())


def _stored(settings: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the settings that change numbers, as they may be stored: addresses without credentials."""
    for key, value in settings:
        if key not in _WITHOUT_EFFECT and not f"{key}.".startswith(_KNOWN_ELSEWHERE):
            yield key, identity_of_url(value) if key == _URL else shown_setting(key, value)


def _inputs(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield the files and folders that a recipe names, if they exist, with keys of their contents."""
    benchmarks = (own_path(split_spec(spec)[0]) for spec in recipe.evaluate.benchmarks)
    paths = {
        *(path for path in benchmarks if path),
        *problem_files(recipe),
        *author_of(recipe.build).files(recipe.build),
        *map(Path, (*recipe.train.reflection_data, *recipe.train.generation_data)),
    }
    for path in sorted(paths):
        if path.is_file():
            yield str(path), file_digest(path)
        elif path.is_dir():
            yield str(path), content_hash([(file.name, file_digest(file)) for file in sorted(path.iterdir()) if file.is_file()])
    if (folder := Path(recipe.model.name)).is_dir():
        yield str(folder), model_hash(folder)
