"""How much of a server's throughput a build uses, and what faults cost: dialogues with a scripted server of known latency.

    python benchmarks/build.py
    python benchmarks/build.py --latency-s 1 --in-flight 32 --dialogues 200

Ideal is (requests x latency) / (requests at a time that the server takes). Faults: one request in ten gets a 429, a 5xx, an answer
that is cut off or no chat completion, a closed connection, or an answer after three seconds.
"""

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reflectioncoder.build.pipeline import build_reflections
from reflectioncoder.config import BuildConfig, EndpointConfig, ModelConfig, Recipe
from reflectioncoder.data.problems import load_problems
from tests.build.server import Script, serving

FAULTS = [429, 500, 502, 503, "garbage", "cut", "reset", "hang"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogues", type=int, default=120)
    parser.add_argument("--latency-s", type=float, default=2.0)
    parser.add_argument("--in-flight", type=int, default=16, help="that the server takes")
    args = parser.parse_args()
    problems = load_problems(("bundled:train",))[: args.dialogues]
    faults = {number: FAULTS[number // 10 % len(FAULTS)] for number in range(5, 10 * args.dialogues, 10)}
    endpoint = EndpointConfig(model="scripted", timeout_s=2 * args.latency_s, max_in_flight=args.in_flight, retries=20)
    for name, asked, script in (
        ("no faults", args.in_flight, Script(problems, args.latency_s)),
        ("asked for twice as many", 2 * args.in_flight, Script(problems, args.latency_s, most_at_once=args.in_flight)),
        ("faults", args.in_flight, Script(problems, args.latency_s, faults=faults)),
    ):
        with serving(script) as url, tempfile.TemporaryDirectory() as folder:
            settings = BuildConfig(author="openai", endpoint=replace(endpoint, base_url=url, max_in_flight=asked))
            began = time.perf_counter()
            summary = build_reflections(Recipe("b", ModelConfig("none"), build=settings), Path(folder), limit=args.dialogues)
            seconds = time.perf_counter() - began
        needed = len(script.answered)
        ideal = needed * args.latency_s / args.in_flight
        doubled = sum(count > 1 for count in script.answered.values())
        print(
            f"{name:<24} {seconds:7.1f} s, ideal {ideal:6.1f} s ({100 * ideal / seconds:3.0f} %)   {script.num_requests} requests for "
            f"{needed} answers, {doubled} twice   {summary['num_accepted']} accepted of {args.dialogues}   peak {script.peak}",
            flush=True,
        )
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()
