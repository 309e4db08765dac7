"""How much of a server's throughput a build uses, what faults cost, and what memory it takes: a scripted server of known latency.

    python benchmarks/build.py                        three servers: without faults, with room for half of what is asked, with faults
    python benchmarks/build.py --problems 1000 10000 100000        peak memory by the number of problems

Ideal is (answers x latency) / (requests at a time that the server takes). The server is busy for 100 % where it always has as many as
it takes: on a machine whose cores the programs occupy an answer takes longer than its latency. Faults: one request in ten gets a 429,
a 5xx, an answer that is cut off or no chat completion, a closed connection, or an answer after three seconds. The server is a process
of its own.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reflectioncoder.builder.pipeline import build_reflections
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.config.declarations import ModelConfig, Recipe
from reflectioncoder.data.files import JsonlWriter
from reflectioncoder.data.problems import load_problems
from tests.builder.server import Script, serving

FAULTS = [429, 500, 502, 503, "garbage", "cut", "reset", "hang"]
PROBLEMS = load_problems(("bundled:train",))
PROCESSES = multiprocessing.get_context("fork")


def _serve(connection, script):
    with serving(script) as url:
        connection.send(url)
        connection.recv()
        doubled = sum(count > 1 for count in script.answered.values())
        connection.send((script.num_requests, len(script.answered), doubled, script.peak, script.busy_s))


@contextmanager
def served(script):
    """Gives (the base URL, what the server has counted so far: ends it)."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_serve, args=(theirs, script), daemon=True)
    process.start()

    def counts():
        ours.send("enough")
        return ours.recv()

    try:
        yield ours.recv(), counts
    finally:
        process.kill()


def build(url, folder, endpoint, **settings):
    config = BuildConfig(author="openai", endpoint=replace(endpoint, base_url=url), near_duplicates=1.0, **settings)
    return build_reflections(Recipe("b", ModelConfig("none"), build=config), Path(folder))


def throughput(args):
    rollouts = -(-args.dialogues // len(PROBLEMS))
    faults = {number: FAULTS[number // 10 % len(FAULTS)] for number in range(5, 10 * args.dialogues, 10)}
    endpoint = EndpointConfig(model="scripted", timeout_s=20 * args.latency_s, retries=20)
    for name, asked, script in (
        ("no faults", args.in_flight, Script(PROBLEMS, args.latency_s)),
        ("asked for twice as many", 2 * args.in_flight, Script(PROBLEMS, args.latency_s, most_at_once=args.in_flight)),
        ("faults", args.in_flight, Script(PROBLEMS, args.latency_s, faults=faults)),
    ):
        if args.only and not name.startswith(args.only):
            continue
        with served(script) as (url, counts), tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            summary = build(url, folder, replace(endpoint, max_in_flight=asked), rollouts=rollouts)
            seconds = time.perf_counter() - began
            requests, needed, doubled, peak, busy_s = counts()
        ideal = needed * args.latency_s / args.in_flight
        print(
            f"{name:<24} {seconds:7.1f} s, ideal {ideal:6.1f} s ({100 * ideal / seconds:3.0f} %), "
            f"the server busy {100 * busy_s / args.in_flight / seconds:3.0f} %   {requests} requests for {needed} "
            f"answers, {doubled} twice   {summary['num_accepted']} accepted of {summary['num_candidates']}   peak {peak}",
            flush=True,
        )


def memory(counts):
    """Each count in a process of its own; the problems differ in their text, their programs are run once."""
    for count in counts:
        process = PROCESSES.Process(target=_memory_of, args=(count,))
        process.start()
        process.join()


def _memory_of(count):
    problem = PROBLEMS[0]
    with served(Script([problem])) as (url, _), tempfile.TemporaryDirectory() as folder:
        with JsonlWriter(Path(folder) / "problems.jsonl") as problems:
            for number in range(count):
                problems.write(replace(problem, task_id=f"p/{number}", instruction=f"Variant {number}.").to_json())
        began = time.perf_counter()
        endpoint = EndpointConfig(model="scripted", max_in_flight=8)
        summary = build(url, folder, endpoint, problems=(str(Path(folder) / "problems.jsonl"),), min_samples=0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"{count:>8,} problems: {summary['num_requests']:>8,} requests, {summary['num_candidates']:>8,} candidates, "
            f"{time.perf_counter() - began:6.0f} s, peak {peak:.0f} MB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=int, default=650)
    parser.add_argument("--latency-s", type=float, default=1.0)
    parser.add_argument("--in-flight", type=int, default=16, help="that the server takes")
    parser.add_argument("--only", help="the line that begins with this")
    parser.add_argument("--problems", type=int, nargs="+", help="measure memory instead")
    args = parser.parse_args()
    if args.problems:
        memory(args.problems)
    else:
        throughput(args)


if __name__ == "__main__":
    main()
