"""Measure what shards and Ray cost: units a second, CPU and the driver's memory against one process on the same cores.

    python benchmarks/scale.py [--units 1000 10000 100000] [--programs 300]

A unit is a sample to be scored. Its program costs the same everywhere; what differs is what is around it. So units without a program
are counted by thousands, and tell what a unit costs beside its program, and some with programs tell how much that is of a usual unit.
Ray's own processes count. The first line of each kind, a sample for each task, tells what starting costs; it is taken off the others.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems

WAYS = ("one process", "two shards", "Ray")
_PR_SET_CHILD_SUBREAPER = 36
_BENCHMARK = "bundled/seen"


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time and of CPU, all processes together; peak memory of the process that the command line starts."""

    wall_s: float
    cpu_s: float
    driver_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[1000, 10_000, 100_000], help="units without a program")
    parser.add_argument("--programs", type=int, default=300, help="units with a program")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # processes that others leave come to us, and their CPU time with them
    print(f"cores: {len(os.sched_getaffinity(0))}, load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    num_tasks = len(bundled_problems("test_seen"))
    print(f"{'units':>16} {'way':<12} {'wall s':>8} {'CPU s':>8} {'driver MB':>10} {'units/s':>9} {'CPU ms a unit, less starting':>30}")
    for kind, counts in (("no program", [num_tasks, *args.units]), ("programs", [num_tasks, max(2 * num_tasks, args.programs)])):
        starting: dict[str, Cost] = {}
        for count in counts:
            for way in args.ways:
                cost = measure(way, count, has_programs=kind == "programs")
                first = starting.setdefault(way, cost)
                num_more = count - counts[0]
                each = f"{1000 * (cost.cpu_s - first.cpu_s) / num_more:.2f}" if num_more else ""
                print(
                    f"{count:>7} {kind:>8} {way:<12} {cost.wall_s:>8.1f} {cost.cpu_s:>8.1f} {cost.driver_bytes / 2**20:>10.0f} "
                    f"{count / cost.wall_s:>9.1f} {each:>30}",
                    flush=True,
                )


def measure(way: str, count: int, *, has_programs: bool) -> Cost:
    """Score `count` samples in one of the ways, from nothing to `results.json`."""
    with tempfile.TemporaryDirectory(prefix="rc") as name:
        folder = Path(name)
        problems = bundled_problems("test_seen")
        taken = (problems[number % len(problems)] for number in range(count))
        samples = folder / "samples.jsonl"
        write_jsonl(samples, [{"task_id": p.task_id, "solution": p.reference if has_programs else ""} for p in taken])
        score = ["score", str(samples), "--benchmark", _BENCHMARK, "-q", "--output", str(folder / "out")]
        if way == "two shards":
            shards = [folder / "out" / f"shard-{index}-of-2" for index in (1, 2)]
            cost = _cost([[*score, "--workers", "1", "--shard", f"{index}/2"] for index in (1, 2)])
            merging = _cost([["merge", *map(str, shards), "--output", str(folder / "out"), "-q"]])
            cost = Cost(cost.wall_s + merging.wall_s, cost.cpu_s + merging.cpu_s, max(cost.driver_bytes, merging.driver_bytes))
        else:
            cost = _cost([[*score, *(["--ray"] if way == "Ray" else [])]])
        counted = json.loads((folder / "out" / "results.json").read_text())["counts"]
        assert counted == {"passed" if has_programs else "no_code": count}, counted
        return cost


def _cost(commands: Sequence[Sequence[str]]) -> Cost:
    """Run commands at once."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    processes = [subprocess.Popen([sys.executable, "-m", "reflectioncoder", *argv], stdout=subprocess.DEVNULL) for argv in commands]
    peak, of_nodes_s = 0, 0.0
    while any(process.poll() is None for process in processes):
        for process in processes:
            peak = max(peak, _peak_bytes(process.pid))
            of_nodes_s = max(of_nodes_s, _cpu_s_of_nodes(process.pid))
        time.sleep(0.1)
    wall_s = time.monotonic() - began
    assert all(process.returncode in (0, 1) for process in processes), "a command failed"  # 1: no sample has a program
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + of_nodes_s, peak)


def _cpu_s_of_nodes(pid: int) -> float:
    """Return the CPU seconds of all that Ray's nodes below a process have started: nobody waits for these, so they are not ours."""
    seconds = 0.0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            if child.name() == "raylet":
                for process in child.children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        seconds += sum(process.cpu_times()[:4])  # with those of children that it has waited for
    return seconds


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


if __name__ == "__main__":
    main()
