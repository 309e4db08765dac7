"""Facts for choosing a benchmark, in words: what it measures, its licence, its language."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reflectioncoder.languages import LANGUAGES, PYTHON

_OWN, _EVALPLUS = "Apache-2.0", "Apache-2.0"
_FROM_DOCSTRING = "writing a function from its docstring"
_FROM_SENTENCE = "writing a short function from a sentence and an assertion"


@dataclass(frozen=True)
class Facts:
    """`measures`: one line. `license`: the data's licence as its source names it. `language`: the programs' language."""

    measures: str
    license: str
    language: str = PYTHON.title

    def in_language(self, name: str) -> Facts:
        """Return these facts for a benchmark in another language, given by its MultiPL-E name."""
        return replace(self, language=LANGUAGES[name].title)


FACTS = {
    "bundled/test_seen": Facts("writing functions, on topics of the training problems", _OWN),
    "bundled/test_unseen": Facts("writing functions, on topics that no training problem has", _OWN),
    "bundled/repair": Facts("correcting a function from the failure of a test, in one turn", _OWN),
    "humaneval, original": Facts(_FROM_DOCSTRING, "MIT"),
    "humaneval": Facts(_FROM_DOCSTRING, _EVALPLUS),
    "humaneval+": Facts(f"{_FROM_DOCSTRING}, with many tests", _EVALPLUS),
    "mbpp": Facts(_FROM_SENTENCE, _EVALPLUS),
    "mbpp+": Facts(f"{_FROM_SENTENCE}, with many tests", _EVALPLUS),
    "humanevalfix": Facts("repairing a function with a bug, its tests shown", "MIT"),
    "humanevalfix-docs": Facts("repairing a function with a bug, its docstring shown", "MIT"),
    "humanevalsynthesize": Facts("writing HumanEval's functions, translated by hand", "MIT"),
    "cruxeval-o": Facts("saying what a call returns", "MIT"),
    "cruxeval-i": Facts("finding an input for an output", "MIT"),
    "leetcode": Facts("solving problems of contests, which are dated, by methods", "MIT, the texts are LeetCode's"),
    "livecodebench": Facts("solving problems of contests, which are dated, by scripts and methods", "that of your files"),
    "bigcodebench-hard/complete": Facts("writing a function that uses libraries, from its docstring", "Apache-2.0"),
    "bigcodebench-hard/instruct": Facts("writing a function that uses libraries, from a text", "Apache-2.0"),
    "multipl-e": Facts("continuing HumanEval's functions, translated by rules", "BSD-3-Clause, MIT"),
}
"""Facts by the name of a benchmark, or of a family with one member per language."""
OWN_FACTS = Facts("writing the functions of a problem file of your own", "that of your file")
UNKNOWN_FACTS = Facts("", "")
"""The facts of a benchmark that is not in the registry."""
