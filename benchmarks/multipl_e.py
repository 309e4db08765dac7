"""MultiPL-E here: what the judge costs for each language, and the usual way beside it.

    python benchmarks/multipl_e.py table                                              every language: its known programs
    python benchmarks/multipl_e.py speed --samples runs/multipl-e --languages cpp js  ours beside the usual way

`--samples` holds cpp.jsonl, js.jsonl …: completions, as `reflectioncoder generate` and others write them.

The usual way is that of MultiPL-E's evaluators: one program after another, a compiler and a program as plain subprocesses, without
a sandbox, a precompiled header or kept builds. Ours runs with `--workers` programs at a time in the sandbox, and with one. All
three judge the same programs, in turns; kept builds are thrown away before each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.data.completions import cut_completion
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.judges.multipl_e.preflight import preflight_programs
from reflectioncoder.evaluate.judges.multipl_e.programs import LanguageTests, judge_program
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox.detect import detect_isolation
from reflectioncoder.sandbox.execution import trim_builds, warm_up
from reflectioncoder.sandbox.pool import map_ordered

USUAL = {  # build, run and the limit of each: facts of MultiPL-E's evaluators
    "cpp": ("main.cpp", ["g++", "main.cpp", "-o", "main", "-std=c++17"], ["./main"], 15),
    "js": ("main.js", None, ["node", "main.js"], 5),
    "java": ("Problem.java", ["javac", "-encoding", "UTF8", "-cp", "/usr/share/java/javatuples.jar", "Problem.java"],
             ["java", "-ea", "-cp", "/usr/share/java/javatuples.jar:.", "Problem"], 15),
    "ts": ("main.ts", ["tsc", "--target", "esnext", "--strict", "false", "main.ts"], ["node", "main.js"], 15),
    "sh": ("main.sh", None, ["bash", "main.sh"], 15),
}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One way over all programs: seconds of the wall and of processors, the largest process, and how many passed."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    passed: int


def table(args: argparse.Namespace) -> None:
    """Right programs of the preflight: what they cost when they are built and run for the first time."""
    isolation = detect_isolation()
    print("| language | toolchain | known programs | CPU s a program | wall s a program | peak MB |\n|---|---|---|---|---|---|")
    for name, language in LANGUAGES.items():
        toolchain = language.toolchain
        if missing := toolchain.missing():
            print(f"| {language.title} | {missing} is missing | not run | | | |")
            continue
        held, costs = [], []
        for program in preflight_programs(name):
            trim_builds(0)
            verdict = judge_program(program.program, program.tests, isolation, run_s=3.0 if program.kind == "timeout" else None)
            held.append(verdict.reason in program.expected)
            if program.kind == "right":
                costs.append((verdict.cpu_s, verdict.duration_s, verdict.peak_memory_bytes))
        cpu, wall, peak = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"| {language.title} | {toolchain.needs[0]} {toolchain.version()} | {sum(held)} of {len(held)} | {cpu:.2f} | {wall:.2f} |"
              f" {peak / 1e6:.0f} |", flush=True)  # fmt: skip


def usual_way(name: str, programs: list[str]) -> Turn:
    source, build, run, limit_s = USUAL[name]
    started, cpu_s, peak, passed = time.monotonic(), 0.0, 0, 0
    for program in programs:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / source).write_text(program)
            for command in [part for part in (build, run) if part]:
                status, usage = _wait_for(command, folder, limit_s)
                cpu_s += usage.ru_utime + usage.ru_stime
                peak = max(peak, usage.ru_maxrss * 1024)
                if status:
                    break
            else:
                passed += 1
    return Turn(time.monotonic() - started, cpu_s, peak, passed)


def _wait_for(command: list[str], folder: str, limit_s: float) -> tuple[int, resource.struct_rusage]:
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    timer = threading.Timer(limit_s, process.kill)
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
    process.returncode = status
    return status, usage


def our_way(judged: list[tuple[str, LanguageTests]], workers: int) -> Turn:
    isolation, started = detect_isolation(), time.monotonic()
    trim_builds(0)
    verdicts = list(map_ordered(lambda item: judge_program(*item, isolation), judged, workers))
    passed = sum(verdict.harness_status == "OK" for verdict in verdicts)
    peak = max(verdict.peak_memory_bytes for verdict in verdicts)
    return Turn(time.monotonic() - started, sum(verdict.cpu_s for verdict in verdicts), peak, passed)


def speed(args: argparse.Namespace) -> None:
    for name in args.languages:
        tasks = {task.task_id: task for task in load_benchmark(f"multipl-e/{name}", args.data_dir).tasks}
        rows = [json.loads(line) for line in (args.samples / f"{name}.jsonl").read_text().splitlines()][: args.limit]
        judged = []
        for row in rows:
            task = tasks[row["task_id"]]
            cut = task.prompt + cut_completion(row["completion"], name, task.tests.stop_tokens)
            judged.append((row.get("solution", cut), task.tests))
        plain = [f"{solution}\n{tests.tests}" for solution, tests in judged]
        warm_up(LANGUAGES[name].toolchain)
        ways = {
            "usual": lambda name=name, plain=plain: usual_way(name, plain),
            f"ours, {args.workers} at a time": lambda judged=judged: our_way(judged, args.workers),
            "ours, one at a time": lambda judged=judged: our_way(judged, 1),
        }
        turns: dict[str, list[Turn]] = {way: [] for way in ways}
        for _ in range(args.repeats):
            for way, take in ways.items():
                turns[way].append(take())
        print(f"\n{LANGUAGES[name].title}, {len(plain)} programs, medians of {args.repeats}")
        print("| way | wall s | CPU s a program | largest process, MB | passed by exit code |\n|---|---|---|---|---|")
        for way, taken in turns.items():
            wall, cpu = statistics.median(t.wall_s for t in taken), statistics.median(t.cpu_s for t in taken)
            peak, passed = max(t.peak_bytes for t in taken) / 1e6, sorted({t.passed for t in taken})
            print(f"| {way} | {wall:.1f} | {cpu / len(plain):.3f} | {peak:.0f} | {passed} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "speed"))
    parser.add_argument("--languages", nargs="+", default=["cpp", "js"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--samples", type=Path, default=Path("runs/multipl-e"))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:  # kept builds are thrown away here, and nobody else's
        os.environ["REFLECTIONCODER_CACHE"] = cache
        {"table": table, "speed": speed}[args.what](args)


if __name__ == "__main__":
    main()
