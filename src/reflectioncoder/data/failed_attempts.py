"""Finds the failed attempts of a reflection sequence: code blocks whose output reports an error.

A model should not learn to write them. The authors train on them as on all code; `train.failed_attempts: context` does not.
"""

from __future__ import annotations

import itertools
import re

from reflectioncoder.data.samples import Sample

_PYTHON = re.compile(
    r"^Traceback \(most recent call last\):$|^\s*[\w.]*(?:Error|Exception|KeyboardInterrupt|SystemExit)\b(?::.*)?\Z", re.M
)
_NODE = re.compile(r"^(?:Uncaught )?\w*(?:Error|Exception)\b.*\n(?:.*\n)*?\s+at .+:\d+|^Node\.js v\d[\w.-]*\Z", re.M)
_COMPILED = re.compile(r":\d+(?::\d+)?: (?:fatal )?error: |^terminate called |Assertion .*failed|^Segmentation fault", re.M)

RAN_TOO_LONG = "the program ran too long and was stopped"
ENDED_BY_SIGNAL = "the program was ended by signal"
LOST_STATE = "; the interpreter was restarted and its state is lost"  # ends what a session says of every cell that it lost
_STOPPED = re.compile(rf"(?:{RAN_TOO_LONG}|{ENDED_BY_SIGNAL} \d+|{LOST_STATE})\Z")


def reports_failure(output: str) -> bool:
    """Tell whether a program's output reports its failure.

    That is a traceback, an exception that nobody caught, an error of a compiler, or our own words about a program that was stopped.
    """
    text = output.strip("\n")
    return any(pattern.search(text) for pattern in (_PYTHON, _NODE, _COMPILED, _STOPPED))


def failed_attempts(sample: Sample) -> frozenset[tuple[int, int]]:
    """Return (message, block) of every code block of a reflection sequence whose output reports a failure."""
    if sample.type != "reflection":
        return frozenset()
    blocks = sample.messages[1].content
    return frozenset(
        (1, number)
        for number, (block, after) in enumerate(itertools.pairwise(blocks))
        if block.type == "code" and after.type == "execution" and reports_failure(after.content)
    )
