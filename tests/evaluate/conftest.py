"""Fixtures of several files: EvalPlus itself, a scorer by its tests, and the isolation of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reflectioncoder.evaluate.benchmarks import Benchmark
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
from reflectioncoder.evaluate.judges.programs import request_for
from reflectioncoder.evaluate.score import Scorer
from reflectioncoder.sandbox.detect import detect_isolation


@pytest.fixture(scope="module")
def evalplus() -> Iterator[Any]:
    module = pytest.importorskip("evalplus.eval", reason="evalplus 0.3.1 is not installed")
    with pytest.MonkeyPatch.context() as patch:
        # Its limit is on the address space that the forked process already has.
        patch.setenv("EVALPLUS_MAX_MEMORY_BYTES", "-1")
        yield module


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> Iterator[Scorer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFLECTIONCODER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Scorer(Benchmark("t", "1", "", (), EvalPlusJudge(("base", "plus")), request_for))


@pytest.fixture(scope="module")
def isolation():
    return detect_isolation()
