"""Launch time of one sandboxed program against a bare interpreter, alternately in one run.

    python benchmarks/sandbox.py [--rounds 20]

Prints medians in milliseconds and their ratio. The bare interpreter confines nothing; it is the floor.
"""

import argparse
import statistics
import subprocess
import sys
import time

from reflectioncoder.sandbox.isolation import ISOLATIONS, probe
from reflectioncoder.sandbox.limits import Limits
from reflectioncoder.sandbox.process import run_python
from reflectioncoder.sandbox.session import Session


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    contenders = {"bare `python -I -c pass`": lambda: subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)}
    for name, isolation in ISOLATIONS.items():
        if probe(isolation) is None:
            contenders[f"run_python, {name}"] = lambda isolation=isolation: run_python("pass", Limits(), isolation)
    with Session() as session:
        contenders["one more cell of a session"] = lambda: session.run("pass")
        session.run("pass")
        times = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, work in contenders.items():
                times[name].append(seconds(work))
    floor = statistics.median(times["bare `python -I -c pass`"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<28} {1000 * median:7.1f} ms median of {rounds}   {median / floor:5.2f} x bare")


if __name__ == "__main__":
    main()
