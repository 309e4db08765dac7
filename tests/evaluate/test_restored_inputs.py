"""Inputs of MBPP+ are restored from its data as EvalPlus restores them."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from reflectioncoder.evaluate.data_files import matching
from reflectioncoder.evaluate.judges.evalplus.data import restore_inputs

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def typed(value: Any) -> Any:
    """With the types of everything in it, NaN equal to NaN."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    return type(value), repr(value)


def test_inputs_are_restored_as_by_evalplus(evalplus, data_dir):
    """All of MBPP+. Its module is loaded by path: the package around it wants what is not installed, for downloads."""
    path = Path(evalplus.__file__).parent.parent / "data" / "mbpp.py"
    with mock.patch.dict("sys.modules", {"wget": mock.Mock(), "evalplus.data.utils": mock.Mock()}):
        spec = importlib.util.spec_from_file_location("evalplus_mbpp", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    file = matching("MbppPlus*.jsonl.gz", str(data_dir))[0]
    assert file is not None
    with gzip.open(file, "rt") as handle:
        rows = [json.loads(line) for line in handle]
    changed = 0
    for row in rows:
        for part in ("base_input", "plus_input"):
            wanted = module.mbpp_deserialize_inputs(row["task_id"], row[part])
            restored = restore_inputs(row["task_id"], list(row[part]))
            assert typed(restored) == typed(list(wanted)), row["task_id"]
            changed += typed(restored) != typed(list(row[part]))
    assert len(rows) == 378
    assert changed > 100
