"""The folder of an evaluation belongs to a model once there is an answer of it, and not before."""

import json

from reflectioncoder.cli import main
from reflectioncoder.data.problems import bundled_problems
from tests.builder.server import Script, serving

PROBLEMS = bundled_problems("test_seen")[:2]


def evaluate(url, output, *options, benchmarks=("bundled/seen:2",)):
    command = ["evaluate", "m", "--backend", "openai", "--base-url", url, "--output", str(output), "--benchmark", *benchmarks]
    return main([*command, *options])


def test_after_a_wrong_address_or_option_the_right_one_may_follow_in_the_same_folder(tmp_path, capsys):
    assert evaluate("http://127.0.0.1:9/v1", tmp_path, "--timeout", "1") == 3
    assert (tmp_path / "bundled" / "seen" / "settings.json").is_file()
    with serving(Script(PROBLEMS)) as url:
        assert evaluate(url, tmp_path) == 0
        first = (tmp_path / "bundled" / "seen" / "results.json").read_bytes()
        capsys.readouterr()
        assert evaluate(url, tmp_path, "--max-new-tokens", "100") == 2
    assert "completions.jsonl is of another model or of other settings" in capsys.readouterr().err
    assert (tmp_path / "bundled" / "seen" / "results.json").read_bytes() == first


def test_a_window_of_dates_leaves_benchmarks_without_dates_whole(tmp_path, capsys, data_dir):
    options = ["--from", "2025-01-01", "--to", "2025-01-31", "--json", "--data-dir", str(data_dir)]

    class Anything(Script):
        def reply(self, payload):
            return "```python\nclass Solution:\n    pass\n```"

    with serving(Anything(PROBLEMS)) as url:
        assert evaluate(url, tmp_path / "both", *options, "--limit", "2", benchmarks=("bundled/seen", "leetcode")) == 0
        said = json.loads(capsys.readouterr().out)
        assert {name: results["summary"]["num_tasks"] for name, results in said.items() if name != "paths"} == {
            "bundled/seen": 2,
            "leetcode": 2,
        }
        assert evaluate(url, tmp_path / "none", *options, benchmarks=("bundled/seen",)) == 2
    assert "none of these benchmarks is dated: bundled/seen" in capsys.readouterr().err
