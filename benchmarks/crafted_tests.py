"""How many slips the tests notice that a sample shows: the problem's own, drawn at random, against crafted ones.

    python benchmarks/crafted_tests.py              every fifth problem of bundled:train
    python benchmarks/crafted_tests.py --every 1    all of them

A sample is made of one slip of a problem. Of the problem's other slips those count that some test notices, the problem's own or a
crafted one; the others change nothing that can be seen.
"""

import argparse
import random
import time
from statistics import mean

from reflectioncoder.builder.crafted.crafting import craft_tests
from reflectioncoder.builder.crafted.selection import choose
from reflectioncoder.builder.mutation import mutations
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.data.prompts import answer_program
from reflectioncoder.progress import Progress

_SAMPLES = 4  # of a problem


def _rows(problem, tests, num_slips):
    """Yields for each sample and way of choosing: (the way, the share of the other slips that is noticed, whether the own one is)."""
    noticeable = {slip for test in tests for slip in range(num_slips) if test.failing[slip] == "1"}
    by_text = {test.text: test for test in tests}
    own = [test for test in tests if test.is_own]
    rng = random.Random(f"measure/{problem.task_id}")
    for slip in rng.sample(sorted(noticeable), min(_SAMPLES, len(noticeable))):
        others = noticeable - {slip}
        failing = "".join(test.failing[slip] for test in tests)
        for count in (3, 4):
            drawn = rng.sample(own, min(count, len(own)))
            crafted = [by_text[text] for text in choose(tests, [failing], count, rng).tests]
            for way, shown in (("own, drawn", drawn), ("own, chosen", _chosen(own, slip, count, rng)), ("crafted", crafted)):
                noticed = sum(any(test.failing[other] == "1" for test in shown) for other in others)
                yield f"{way}, {count}", noticed / max(len(others), 1), any(test.failing[slip] == "1" for test in shown)


def _chosen(own, slip, count, rng):
    by_text = {test.text: test for test in own}
    return [by_text[text] for text in choose(own, ["".join(test.failing[slip] for test in own)], count, rng).tests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=5, help="take one problem of so many")
    problems = bundled_problems("train")[:: parser.parse_args().every]
    rows, seconds, found, named = {}, [], [], []
    with Progress("problems", len(problems)) as progress:
        for number, problem in enumerate(problems):
            slips = [slip.code for slip in mutations(answer_program(problem))]
            began = time.monotonic()
            tests = craft_tests(problem, slips, f"measure/{problem.task_id}")
            seconds.append(time.monotonic() - began)
            found.append(len(tests) - sum(test.is_own for test in tests))
            named += [test.is_named for test in tests if not test.is_own]
            for way, share, is_noticed in _rows(problem, tests, len(slips)):
                rows.setdefault(way, []).append((share, is_noticed))
            progress.update(number + 1)
    print(f"{'tests shown':<20}{'other slips noticed':>22}{'own slip noticed':>20}")
    for way, pairs in sorted(rows.items()):
        print(f"{way:<20}{mean(share for share, _ in pairs):>22.1%}{mean(noticed for _, noticed in pairs):>20.1%}")
    print(f"{len(problems)} problems, {mean(found):.0f} new tests each ({mean(named):.0%} named), ", end="")
    print(f"without any: {found.count(0)}; {mean(seconds):.2f} s each, longest {max(seconds):.1f} s")


if __name__ == "__main__":
    main()
