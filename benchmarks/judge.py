"""The judge beside EvalPlus 0.3.1: wall time, CPU time and memory on the same files, alternately in one run; launch times per tier.

    python benchmarks/judge.py verdicts --data-dir DIR --evalplus VENV/bin/evalplus.evaluate --samples FILE --benchmark mbpp+
    python benchmarks/judge.py flips --data-dir DIR --samples humaneval+=FILE mbpp+=FILE [--rounds 10] [--load 2] [--rules RULES]
    python benchmarks/judge.py launch [--rounds 50]

`verdicts` scores FILE with 2 workers each, EvalPlus with its ground truth cached by a first, unmeasured run, ours with its expected
values cached likewise; `--cold` measures first runs instead, with empty caches. Both use EvalPlus 0.3.1's limits. Memory is the peak
of the proportional set size of all processes, sampled; for ours also without the programs under test.
`flips` scores each file in each round, with or without busy loops beside, and tells wall times and the verdicts that changed.
`launch` times an empty program, one that needs numpy, and a bare fork of a warm interpreter, and counts trivial samples per second.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def processes_below(pid: int, depth: int = 0) -> list[tuple[int, int]]:
    """(depth, pid) of the process and all its descendants."""
    found = [(depth, pid)]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += processes_below(int(child), depth + 1)
    except OSError:
        pass
    return found


def proportional_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


class Memory(threading.Thread):
    """Peaks over time: of everything, and of the first two levels (judge and servers; the programs are below)."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.all_bytes, self.upper_bytes, self.stopped = pid, 0, 0, False

    def run(self):
        while not self.stopped:
            sizes = [(depth, proportional_bytes(pid)) for depth, pid in processes_below(self.pid)]
            self.all_bytes = max(self.all_bytes, sum(size for _, size in sizes))
            self.upper_bytes = max(self.upper_bytes, sum(size for depth, size in sizes if depth < 2))
            time.sleep(0.1)


def measured(command: list[str], env: dict[str, str]) -> dict[str, float]:
    began = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    memory = Memory(process.pid)
    memory.start()
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    memory.stopped = True
    if status:
        sys.exit(f"{command[0]} failed: {errors.decode()[-2000:]}")
    return {
        "wall_s": time.monotonic() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "memory_mb": memory.all_bytes / 1e6,
        "judge_mb": memory.upper_bytes / 1e6,
    }


def passed_counts(results: dict) -> tuple[int, int]:
    rows = [row for rows in results["eval"].values() for row in rows]
    base = [row for row in rows if row["base_status"] == "pass"]
    return len(base), sum(row["plus_status"] == "pass" for row in base)


def verdicts(args) -> None:
    data = {name: str(next(Path(args.data_dir).rglob(f"{name}*.jsonl.gz"))) for name in ("HumanEvalPlus", "MbppPlus")}
    dataset = args.benchmark.removesuffix("+")
    rows = {"EvalPlus 0.3.1": [], "ours": []}
    counts = {}
    with tempfile.TemporaryDirectory() as scratch:

        def evalplus(cache: str) -> dict[str, float]:
            folder = tempfile.mkdtemp(dir=scratch)
            samples = shutil.copy(args.samples, f"{folder}/samples.jsonl")
            env = {"HUMANEVAL_OVERRIDE_PATH": data["HumanEvalPlus"], "MBPP_OVERRIDE_PATH": data["MbppPlus"], "XDG_CACHE_HOME": cache}
            figures = measured([args.evalplus, "--dataset", dataset, "--samples", samples, "--parallel", "2"], env)
            counts["EvalPlus 0.3.1"] = passed_counts(json.loads(Path(f"{folder}/samples_eval_results.json").read_text()))
            return figures

        def ours(cache: str) -> dict[str, float]:
            folder = tempfile.mkdtemp(dir=scratch)
            command = [str(Path(sys.executable).with_name("reflectioncoder")), "score", args.samples, "--quiet"]
            command += ["--benchmark", args.benchmark, "--data-dir", args.data_dir, "--output", folder, "--workers", "2"]
            command += ["--rules", "evalplus-0.3.1", "--format", "evalplus"]
            figures = measured(command, {"REFLECTIONCODER_CACHE": cache})
            counts["ours"] = passed_counts(json.loads(next(Path(folder).glob("*.eval_results.json")).read_text()))
            return figures

        contenders = {"EvalPlus 0.3.1": evalplus, "ours": ours}
        if not args.cold:
            for name, run in contenders.items():
                run(f"{scratch}/{name}")
        for number in range(args.rounds):
            for name, run in contenders.items():
                cache = f"{scratch}/{name} {number}" if args.cold else f"{scratch}/{name}"
                os.makedirs(cache, exist_ok=True)
                rows[name].append(run(cache))
                print(f"{name:<15} {json.dumps({k: round(v, 1) for k, v in rows[name][-1].items()})}", flush=True)
                kept = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
                print(f"{'':<15} cache {kept / 1e6:.1f} MB, passed base and plus {counts[name]}", flush=True)
                if args.cold:
                    shutil.rmtree(cache)
    print(f"\n{args.samples}, {args.benchmark}, {'first run' if args.cold else 'warm'}, medians of {args.rounds}")
    medians = {name: {key: statistics.median(row[key] for row in found) for key in found[0]} for name, found in rows.items()}
    for key in ("wall_s", "cpu_s", "memory_mb", "judge_mb"):
        theirs, mine = medians["EvalPlus 0.3.1"][key], medians["ours"][key]
        print(f"{key:<10} EvalPlus {theirs:9.1f}   ours {mine:8.1f}   ratio {theirs / mine:6.2f}")


def flips(args) -> None:
    command = [str(Path(sys.executable).with_name("reflectioncoder")), "score", "--quiet", "--data-dir", args.data_dir]
    seconds: dict[str, list[float]] = {spec: [] for spec in args.samples}
    verdicts: dict[tuple[str, str], set[tuple[bool, bool]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        env = {**os.environ, "REFLECTIONCODER_CACHE": f"{scratch}/cache"}
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.load)]
        try:
            for number in range(-1, args.rounds):  # the first one computes expected values; its time does not count
                for spec in args.samples:
                    benchmark, _, path = spec.partition("=")
                    began = time.monotonic()
                    folder = tempfile.mkdtemp(dir=scratch)
                    options = ["--benchmark", benchmark, "--rules", args.rules, "--output", folder]
                    subprocess.run([*command, path, *options], env=env, check=True, stdout=subprocess.DEVNULL)
                    seconds[spec] += [time.monotonic() - began] if number >= 0 else []
                    for line in Path(folder, "samples.jsonl").read_text().splitlines():
                        row = json.loads(line)
                        passed = row["base_status"] == "passed", row["plus_status"] == "passed"
                        verdicts.setdefault((spec, row["task_id"]), set()).add(passed)
                    print(f"round {number}: {spec} {time.monotonic() - began:.1f} s", flush=True)
        finally:
            for loop in loops:
                loop.kill()
    for spec, values in seconds.items():
        changed = [task for (file, task), found in verdicts.items() if file == spec and len(found) > 1]
        last = [next(iter(found)) for (file, _), found in verdicts.items() if file == spec]
        base, plus = sum(passed[0] for passed in last), sum(map(all, last))  # plus counts only with base
        print(f"{spec}: median {statistics.median(values):.1f} s of {len(values)}; passed {base} {plus}")
        print(f"  flips: {', '.join(changed) or 'none'}")


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return (
        f"{1000 * statistics.median(ordered):6.2f} ms median, {1000 * ordered[int(0.95 * (len(ordered) - 1))]:6.2f} ms 95th percentile"
    )


_BARE_FORK = """
import gc, importlib, os, sys, time
for name in {modules!r}: importlib.import_module(name)
gc.freeze()
for _ in range({rounds}):
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
    print(time.perf_counter() - began)
"""


def launch(args) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from reflectioncoder.evaluate.benchmarks import Benchmark
    from reflectioncoder.evaluate.judges.base import Task
    from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
    from reflectioncoder.evaluate.judges.evalplus.data import function_tests
    from reflectioncoder.evaluate.judges.programs import ProgramsJudge, ProgramTests, request_for
    from reflectioncoder.evaluate.score import Scorer
    from reflectioncoder.sandbox.detect import detect_isolation, probe
    from reflectioncoder.sandbox.forkserver import COMMON_MODULES
    from reflectioncoder.sandbox.isolation import ISOLATIONS
    from reflectioncoder.sandbox.limits import Limits
    from reflectioncoder.sandbox.process import run_python
    from reflectioncoder.sandbox.readable import base_interpreter
    from reflectioncoder.sandbox.session import Session

    isolations = [isolation for isolation in ISOLATIONS.values() if probe(isolation) is None]
    programs = {"empty program": "pass", "numpy ready": "import numpy"}
    times = {(i.name, name): [] for i in isolations for name in programs}
    bare, fresh = [], []
    for isolation in isolations:
        for source in programs.values():
            run_python(source, Limits(), isolation)
    for _ in range(args.rounds):
        for isolation in isolations:
            for name, source in programs.items():
                began = time.perf_counter()
                run_python(source, Limits(), isolation)
                times[isolation.name, name].append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([base_interpreter(), "-I", "-c", "pass"], check=True)
        fresh.append(time.perf_counter() - began)
        source = _BARE_FORK.format(modules=COMMON_MODULES, rounds=3)
        output = subprocess.run([base_interpreter(), "-S", "-c", source], check=True, capture_output=True, text=True).stdout
        bare += [float(line) for line in output.split()]
    print(f"{'bare fork and wait of the same warm interpreter':<60} {spread(bare)}")
    print(f"{'a fresh interpreter, `python -I -c pass`':<60} {spread(fresh)}")
    for (isolation_name, name), values in times.items():
        label = f"tier {ISOLATIONS[isolation_name].tier} ({isolation_name}): {name}"
        print(f"{label:<60} {spread(values)}   {statistics.median(values) / statistics.median(bare):5.2f} x bare fork")
    with Session(Limits(), detect_isolation()) as session:
        session.run("pass")
        cells = []
        for _ in range(args.rounds):
            began = time.perf_counter()
            session.run("pass")
            cells.append(time.perf_counter() - began)
    print(f"{'one more cell of a session':<60} {spread(cells)}")

    row = {"task_id": "t/0", "prompt": "def f(x):\n", "canonical_solution": "    return x + 1\n", "atol": 0, "plus_input": []}
    tests = function_tests("humaneval", {**row, "base_input": [[n] for n in range(5)]})
    kinds = {
        "answers to inputs": (tests, EvalPlusJudge(("base",))),
        "assert programs": (ProgramTests(("assert f(1) == 2",)), ProgramsJudge()),
    }
    for name, (kind, kind_judge) in kinds.items():
        task = Task("t/0", row["prompt"], "f", kind)
        scorer = Scorer(Benchmark("t", "1", "", (task,), kind_judge, request_for))
        judge = functools.partial(scorer.judge, task)
        with ThreadPoolExecutor(2) as executor:
            list(executor.map(judge, ["def f(x):\n    return x + 1\n"] * 20))
            began = time.perf_counter()
            verdicts = list(executor.map(judge, ["def f(x):\n    return x + 1\n"] * 300))
        assert all(verdict.status == "passed" for verdict in verdicts)
        print(f"trivial samples judged per second, 2 workers, {name}: {300 / (time.perf_counter() - began):.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    compare = commands.add_parser("verdicts")
    compare.add_argument("--data-dir", required=True)
    compare.add_argument("--evalplus", required=True, help="the executable evalplus.evaluate of an environment of its own")
    compare.add_argument("--samples", required=True)
    compare.add_argument("--benchmark", required=True, choices=("humaneval+", "mbpp+"))
    compare.add_argument("--rounds", type=int, default=5)
    compare.add_argument("--cold", action="store_true")
    compare.set_defaults(run=verdicts)
    steady = commands.add_parser("flips")
    steady.add_argument("--data-dir", required=True)
    steady.add_argument("--samples", required=True, nargs="+", metavar="BENCHMARK=FILE")
    steady.add_argument("--rounds", type=int, default=10)
    steady.add_argument("--load", type=int, default=0, help="busy loops beside")
    steady.add_argument("--rules", default="evalplus-0.3.1")
    steady.set_defaults(run=flips)
    timing = commands.add_parser("launch")
    timing.add_argument("--rounds", type=int, default=50)
    timing.set_defaults(run=launch)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
