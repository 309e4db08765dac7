"""How long the offline author takes for a sample: templates beside traced stories, crafted tests, misreadings and all of them together.

    python benchmarks/authors.py --problems 20 --runs 5

Every arrangement builds from the same bundled problems, each time anew in an empty folder, in turn with the others. Given are medians
of the seconds and of the processor time that a sample takes, the programs that are run for it, and the largest memory of a process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TRACED = ("build.diagnoses=traced",)
CRAFTED = ("build.tests=crafted",)
MISREAD = ("build.misreading_share=0.4", "build.interacting_slips=true")
ARRANGEMENTS = {
    "templates": (),
    "traced": TRACED,
    "traced, crafted tests": (*TRACED, *CRAFTED),
    "traced, crafted tests, misreadings": (*TRACED, *CRAFTED, *MISREAD),
}


@dataclass(frozen=True)
class Build:
    """What one build took: seconds, seconds of processor time, programs run, MiB, for so many samples."""

    num_samples: int
    wall_s: float
    cpu_s: float
    num_programs: int
    memory_mib: float


def build(settings: tuple[str, ...], num_problems: int) -> Build:
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "reflectioncoder", "build", "demo", "--limit", str(num_problems), "--runs-dir", folder, "-q"]
        for setting in ("name=b", "build.min_samples=1", "build.samples_per_problem=1", *settings):
            argv += ["--set", setting]
        started = time.perf_counter()
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(argv)}: exit code {process.returncode}")
        said = json.loads(Path(folder, "b/build/build.json").read_text(encoding="utf-8"))
    return Build(said["num_accepted"], wall_s, usage.ru_utime + usage.ru_stime, said["num_executions"], usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20, metavar="N", help="build from the first N bundled problems (default: 20)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="builds of each arrangement (default: 5)")
    args = parser.parse_args()
    builds: dict[str, list[Build]] = {name: [] for name in ARRANGEMENTS}
    for _ in range(args.runs):
        for name, settings in ARRANGEMENTS.items():
            builds[name].append(build(settings, args.problems))
    first = {of: median(builds["templates"], of) for of in ("wall_s", "cpu_s", "num_programs")}
    print(f"{'a sample of':<36} {'samples':>7} {'seconds':>16} {'CPU seconds':>16} {'programs':>16} {'MiB':>6}")
    for name, found in builds.items():
        cells = [f"{median(found, of):7.2f} {median(found, of) / first[of]:6.2f} x" for of in first]
        memory = max(each.memory_mib for each in found)
        print(f"{name:<36} {found[0].num_samples:>7} {cells[0]:>16} {cells[1]:>16} {cells[2]:>16} {memory:6.0f}")


def median(builds: list[Build], of: str) -> float:
    return statistics.median(getattr(each, of) / each.num_samples for each in builds)


if __name__ == "__main__":
    main()
