"""Problems in the form of LiveCodeBench's files, written for these tests, and programs for them."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def packed(cases: Any) -> str:
    """Return test cases as the hub has the private ones."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def problem(name: str, public: Sequence[tuple[str, str]], private: Any, method: str = "", **more: Any) -> dict[str, Any]:
    """Return a row; `private` is text as it stands, or pairs that are packed."""
    kind = "functional" if method else "stdin"
    cases = [{"input": given, "output": output, "testtype": kind} for given, output in public]
    if not isinstance(private, str):
        private = packed([{"input": given, "output": output, "testtype": kind} for given, output in private])
    row = {
        "question_title": name,
        "question_content": f"The problem {name}.",
        "platform": "leetcode" if method else "atcoder",
        "question_id": name,
        "contest_id": "c",
        "contest_date": "2025-01-04T00:00:00",
        "starter_code": f"class Solution:\n    def {method}(self, values: List[int]) -> int:\n        " if method else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(cases),
        "private_test_cases": private,
        "metadata": json.dumps({"func_name": method} if method else {}),
    }
    return {**row, **more}


def write(folder: Path, rows: Sequence[dict[str, Any]], name: str = "test.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


MEAN = problem("mean", [("2\n1 2\n", "1.5\nsum 3\n")], [("1\n7\n", "7\nsum 7"), ("3\n1 1 1\n", "1.0\nsum 3\n")])
LARGEST = problem("largest", [("[1, 5, 2]\n2", "[5, 2]")], [("[3]\n1", "[3]"), ("[4, 4, 9]\n1", "[9]")], "largest", difficulty="hard")
MEAN_PROGRAM = "n = int(input())\nvalues = list(map(int, input().split()))\nprint(sum(values) / n)\nprint('sum', sum(values))\n"
LARGEST_PROGRAM = (
    "class Solution:\n    def largest(self, values: List[int], k: int) -> List[int]:\n        return sorted(values, reverse=True)[:k]\n"
)
