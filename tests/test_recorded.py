"""A fixed run, build and scoring write what they wrote when their hashes were recorded (`python -m tests.recorded`)."""

import json

import pytest

from tests.recorded import HASHES, hashes, make


@pytest.mark.long
def test_what_a_fixed_run_build_and_scoring_write_has_not_changed(data_dir, tmp_path):
    make(tmp_path, data_dir.resolve())
    assert hashes(tmp_path) == json.loads(HASHES.read_text())
