"""Runs an ablation: one run per cell, in RUNS_DIR/NAME/cells/, each of which resumes from its own files.

Builds with the same settings are made once and copied; all runs of a folder share the base model's evaluations
(`shared_evaluations`). `ablation.json` and `report.html` are updated after every cell, so an interrupted ablation has
results.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectioncoder.ablation.design import CELL_FILE, Cell, Design, design_of
from reflectioncoder.ablation.identity import identity_of
from reflectioncoder.ablation.metrics import metrics_of
from reflectioncoder.ablation.results import finish, finished_cells, summarize
from reflectioncoder.ablation.statistics import detectable_share, mean_of
from reflectioncoder.config.loading import ResolvedRecipe
from reflectioncoder.data.file_lock import in_turn
from reflectioncoder.data.files import put_aside, read_json, write_atomic, write_json
from reflectioncoder.data.run_folders import ABLATION_FILE
from reflectioncoder.environment import environment
from reflectioncoder.pipeline import Run
from reflectioncoder.progress import format_duration, say
from reflectioncoder.report.html import write_report
from reflectioncoder.shards import WHOLE, Shard
from reflectioncoder.stage_marker import BASE, marker_path
from reflectioncoder.stopping import StopFlag

if TYPE_CHECKING:
    from reflectioncoder.train.ranks import Team


class Ablation:
    """The folder RUNS_DIR/NAME/ of an ablation.

    Args:
        shard: the part of the cells to run, to split them over machines or over time.

    Raises:
        UsageError: see `design_of`.
    """

    def __init__(
        self,
        resolved: ResolvedRecipe,
        runs_dir: Path,
        data_dir: str | None = None,
        *,
        shard: Shard = WHOLE,
        stop: StopFlag | None = None,
        team: Team | None = None,
    ):
        self.design: Design = design_of(resolved)
        self.directory = runs_dir / resolved.recipe.name
        self.cells_dir = self.directory / "cells"
        self._resolved = resolved
        self._cells = self.design.shard(shard)
        self._data_dir = data_dir
        self._stop = stop
        self._team = team

    def run(self) -> dict[str, Any]:
        """Run all unfinished cells; return the content of `ablation.json`.

        Raises:
            The errors of `Run.run`; finished cells stay finished.
        """
        self._check_arms()
        write_atomic(self.directory / "config.yaml", self._resolved.to_yaml())
        write_json(self.directory / "env.json", environment())
        todo = [cell for cell in self._cells if not cell.is_finished(self.cells_dir)]
        say(f"ablate: {len(self.design.arms)} arms, {len(self.design.seeds)} seeds: {len(todo)} of {len(self._cells)} runs to do")
        durations = self._known_durations()
        for number, cell in enumerate(todo):
            if number == 0:
                self._announce(cell, len(todo), durations)
            elif durations:
                say(f"ablate: about {format_duration(_mean(durations) * (len(todo) - number))} left")
            started = time.monotonic()
            self._run(cell)
            durations.append(time.monotonic() - started)
            self.write()
        return self.write()

    def check(self) -> list[dict[str, Any]]:
        """Check all arms as a run would, without running anything; return this shard's runs and whether each is finished.

        Raises:
            The errors of `Run.check`.
        """
        self._check_arms()
        return [
            {"run": cell.name, "arm": cell.arm, "seed": cell.seed, "finished": cell.is_finished(self.cells_dir)} for cell in self._cells
        ]

    def _check_arms(self) -> None:
        """Check every arm before the first run, so that no error of a later arm appears halfway."""
        checked: set[str] = set()
        for cell in self._cells:
            if cell.arm not in checked and not cell.is_finished(self.cells_dir):
                self._of(cell).check()
                checked.add(cell.arm)

    def _of(self, cell: Cell) -> Run:
        return Run(cell.resolved, self.cells_dir, self._data_dir, stop=self._stop, team=self._team)

    def _run(self, cell: Cell) -> None:
        say(f"ablate: {cell.arm}, seed {cell.seed}")
        run = self._of(cell)
        identity = identity_of(cell.resolved.recipe)
        started = time.monotonic()
        with run.prepared():
            self._build(run)
        run.run()
        finish(cell, run.directory, identity, round(time.monotonic() - started, 1))

    def _build(self, run: Run) -> None:
        """Build, or copy the build of another cell; wait for another shard that makes the same build."""
        with in_turn(self.directory, f"build-{run.build_key}.lock", "build"):
            self._share_build(run)
            run.build()

    def _share_build(self, run: Run) -> None:
        """Copy the build of another cell with the same build settings, if there is one and this cell has no build."""
        if run.has_build():
            return
        for other in self.design.cells:
            candidate = self._of(other)
            if candidate.directory != run.directory and candidate.build_key == run.build_key and candidate.has_build():
                _copy_build(candidate.directory, run.directory)
                say(f"build: copied from {candidate.directory}: the same settings and problems")
                return

    def _known_durations(self) -> list[float]:
        paths = [self.cells_dir / cell.name / CELL_FILE for cell in self.design.cells if cell.is_finished(self.cells_dir)]
        return [float(read_json(path)["duration_s"]) for path in paths]

    def _announce(self, first: Cell, num_runs: int, durations: Sequence[float]) -> None:
        """Before the first training, report how small a difference can be found and how long the runs take."""
        run = self._of(first)
        with run.prepared():
            self._build(run)
            run.measure(BASE)
        base = metrics_of(run.directory, first.resolved.recipe.evaluate, BASE)
        recipe, num_seeds = self._resolved.recipe, len(self.design.seeds)
        for metric, values in base.items():
            if metric.higher_is_better:
                share = detectable_share(
                    mean_of([values]), len(values), num_seeds, recipe.generate.num_samples, recipe.evaluate.confidence
                )
                found = f"{len(values)} tasks, {num_seeds} seed(s): a difference of {100 * share:.1f} points would be found"
                say(f"ablate: {metric.kind} on {metric.benchmark}: {found}")
        time_left = format_duration(_mean(durations) * num_runs) if durations else "not known before the first one is done"
        say(f"ablate: time for {num_runs} runs: {time_left}")

    def write(self) -> dict[str, Any]:
        """Write `ablation.json` about all finished cells, including those of other shards, and return its content."""
        finished = finished_cells(self.design, self.cells_dir)
        summary = summarize(self.design, finished, self._resolved.recipe.evaluate.confidence)
        write_json(self.directory / ABLATION_FILE, summary)
        write_report([self.directory], self.directory / "report.html")
        return summary


def _copy_build(source: Path, target: Path) -> None:
    """Copy a finished build completely or not at all; its marker is written last. A build with other settings is moved aside."""
    whole, partial = target / "build", target / "build.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if whole.exists():
        put_aside(whole)
    shutil.copytree(source / "build", partial)
    partial.rename(whole)
    write_atomic(marker_path(target, "build"), marker_path(source, "build").read_bytes())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
