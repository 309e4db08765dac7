"""HumanEvalPack's files, one per language, and its requests. Source: OctoPack, arXiv 2308.07124."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from reflectioncoder.languages import LANGUAGES

Variant = Literal["fix", "fix-docs", "synthesize"]


class PackFile(NamedTuple):
    """A language's file: this package's name for the language (MultiPL-E's) and the SHA-256 of the content."""

    language: str
    sha256: str


FILES: dict[str, PackFile] = {
    "python": PackFile("py", "b1376d72be4bd016a62ad043d9de3846edb8d63edf1222da802a31330c14c3a7"),
    "js": PackFile("js", "04c86c1fac5f33818d9187cba278ed1dfc66cc259372dd8342126aa580fb7569"),
    "java": PackFile("java", "a8d077d300bbdc2eda91e1a733deb2944678bce8fcc7eb272214626516768cc1"),
    "go": PackFile("go", "0ee2cdca46d70afb33d913a0d4b205624fe4ded2f28c2efdb241727221837993"),
    "cpp": PackFile("cpp", "891a390c1b9d2cb85dd8fbebcf1d88dbdd565734a6b2b3259f9ddb3fe95e33d7"),
    "rust": PackFile("rs", "01ece28eaf490d7af037ce53095083dacfd38022cf5b82662ccb78024dc269a1"),
}
"""The files, by the part of a benchmark's name after the slash."""
NUM_TASKS = 164
REVISION = "e17a8f6"
URL = f"https://github.com/bigcode-project/octopack/raw/{REVISION}/evaluation/create/humaneval-x/data/{{name}}/data/humanevalpack.jsonl"
_RUST_MAIN = "fn main(){}\n"


def beginning_of(row: dict[str, Any], variant: Variant, language: str) -> str:
    """Return the beginning of the program: the declaration, with its docstring unless tests are shown instead."""
    if variant != "fix":
        return row["prompt"]
    return (_RUST_MAIN if language == "rs" else "") + row["declaration"]


def instruction_for(row: dict[str, Any], variant: Variant, language: str) -> str:
    """Return OctoPack's request: for a repair, the wrong program (with the tests, if the docstring is hidden) and the instruction."""
    if variant == "synthesize":
        return row["instruction"].strip()
    shown = beginning_of(row, variant, language) + row["buggy_solution"]
    tests = f"\n{row['test']}" if variant == "fix" else ""
    return f"{shown}{tests}\nFix bugs in {row['entry_point']}.".strip()


def prefill(language: str, beginning: str) -> str:
    """Return the beginning of the answer: a fence and the declaration, which the harness appends to the request."""
    return f"```{LANGUAGES[language].fence}\n{beginning}"
