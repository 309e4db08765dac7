"""Which tasks and toolchains of other languages the tests take, and a program that runs instead of one."""

from dataclasses import replace

import pytest

from reflectioncoder.languages import LANGUAGES

BROKEN_TASKS = {  # in the data: no program can pass them
    "HumanEval_137_compare_one": "cpp",
    "HumanEval_51_remove_vowels": "js",
    "HumanEval_87_get_row": "go",
    "HumanEval_95_check_dict_case": "d",
    "HumanEval_23_strlen": "php",
}


def needs(name):
    if missing := LANGUAGES[name].toolchain.missing():
        pytest.skip(f"{missing} is missing here: {LANGUAGES[name].toolchain.install}")


def run_instead(monkeypatch, *command):
    """Another command line for Bash."""
    row = LANGUAGES["sh"]
    monkeypatch.setitem(LANGUAGES, "sh", replace(row, toolchain=replace(row.toolchain, run=command)))
