"""Shards that do not make a whole: one clear error each, its exit code, and nothing lost."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from reflectioncoder.ablation.design import design_of
from reflectioncoder.cli import main
from reflectioncoder.config.loading import load_recipe
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.errors import UsageError
from reflectioncoder.shard_folders import ShardFolder, Work
from reflectioncoder.shards import Shard

NUM_TASKS = 4
BENCHMARK = f"bundled/seen:{NUM_TASKS}"


def score(folder, shard, *more):
    argv = ["score", str(folder / "samples.jsonl"), "--benchmark", BENCHMARK, "--output", str(folder), "--workers", "1", "-q"]
    return main([*argv, "--shard", shard, *more])


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    problems = bundled_problems("test_seen")[:NUM_TASKS]
    write_jsonl(folder / "samples.jsonl", [{"task_id": p.task_id, "solution": p.reference} for p in problems])
    for index in (1, 2):
        assert score(folder, f"{index}/2") == 0
    return folder


@pytest.fixture
def shards(scored, tmp_path):
    """Two finished shards of a folder of this test, and the samples that they have scored."""
    shutil.copytree(scored, tmp_path / "s")
    for index in (1, 2):
        change(tmp_path / "s", index, paths={"samples": str(tmp_path / "s" / "samples.jsonl")})
    return tmp_path / "s"


def change(folder, index, **values):
    """Change the manifest of a shard, and mark it as done anew: as if it had been made so."""
    there = ShardFolder.read(folder / Shard(index, 2).folder)
    changed = {name: {**getattr(there.work, name), **value} for name, value in values.items()}
    made = replace(there, work=replace(there.work, **changed))
    made.write()
    made.finish([made.directory / "samples.jsonl"], {})


def merge(folder, *names, code, capsys):
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["merge", *(str(folder / name) for name in names), "--output", str(folder / "whole"), "-q"]) == code
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files, "merge has written something"
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


FIRST, SECOND = Shard(1, 2).folder, Shard(2, 2).folder


def test_control_the_shards_make_a_whole(shards, capsys):
    assert main(["merge", str(shards / FIRST), str(shards / SECOND), "--output", str(shards / "whole"), "-q"]) == 0
    assert "passed 4" in capsys.readouterr().out


def test_a_missing_shard_is_named(shards, capsys):
    assert "1 of 2 shards are missing: 2\n" in merge(shards, FIRST, code=2, capsys=capsys)


def test_a_doubled_shard_is_named_with_its_folders(shards, capsys):
    shutil.copytree(shards / FIRST, shards / "copy")
    error = merge(shards, FIRST, "copy", SECOND, code=2, capsys=capsys)
    assert f"shard 1/2 is given 2 times: {shards / FIRST}, {shards / 'copy'}" in error


def test_a_folder_without_a_shard_is_none(shards, capsys):
    (shards / "empty").mkdir()
    assert "holds no shard" in merge(shards, FIRST, "empty", code=2, capsys=capsys)
    assert "holds no shard" in merge(shards, FIRST, "nowhere", code=2, capsys=capsys)


def test_a_shard_that_is_not_finished_is_to_be_run_again(shards, capsys):
    (shards / SECOND / "done.json").unlink()
    assert "shard 2/2 is not finished\n  hint:    run score --shard 2/2 again" in merge(shards, FIRST, SECOND, code=2, capsys=capsys)
    assert score(shards, "2/2") == 0
    test_control_the_shards_make_a_whole(shards, capsys)


@pytest.mark.parametrize("cut", [1, 40, 10**6])
def test_a_log_that_is_not_what_was_written_is_noticed_and_can_be_mended(cut, shards, capsys):
    log = shards / SECOND / "samples.jsonl"
    log.write_bytes(log.read_bytes()[:-cut])
    assert "samples.jsonl is not what shard 2/2 has written" in merge(shards, FIRST, SECOND, code=2, capsys=capsys)
    assert score(shards, "2/2") == 0
    test_control_the_shards_make_a_whole(shards, capsys)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"index": 1}', b"[]", b"\xff", b'{"index": 2, "count": 1}'])
@pytest.mark.parametrize("name", ["shard.json", "done.json"])
def test_a_damaged_manifest_is_no_shard(name, damage, shards, capsys):
    (shards / SECOND / name).write_bytes(damage)
    error = merge(shards, FIRST, SECOND, code=2, capsys=capsys)
    assert str(shards / SECOND) in error


@pytest.mark.parametrize(("section", "code"), [("settings", 2), ("data", 2), ("finishing", 2), ("versions", 3)])
def test_shards_of_other_work_are_refused_and_the_difference_is_named(section, code, shards, capsys):
    name = next(iter(getattr(ShardFolder.read(shards / SECOND).work, section)))
    change(shards, 2, **{section: {name: "other"}})
    error = merge(shards, FIRST, SECOND, code=code, capsys=capsys)
    assert f"{name}: " in error
    assert "'other'" in error


@pytest.mark.parametrize("name", ["python", "reflectioncoder", "packages"])
def test_shards_of_other_versions_than_those_here_are_refused(name, shards, capsys):
    for index in (1, 2):
        change(shards, index, versions={name: "other"})
    assert f"{name}: 'other'" in merge(shards, FIRST, SECOND, code=3, capsys=capsys)


def test_other_numbers_of_shards_do_not_fit_together(shards, capsys):
    assert score(shards, "1/3") == 0
    assert "is one of 2 shards" in merge(shards, SECOND, Shard(1, 3).folder, code=2, capsys=capsys)


def test_shards_of_another_command_are_refused(shards, capsys):
    there = ShardFolder.read(shards / SECOND)
    replace(there, work=replace(there.work, command="build")).write()
    assert "command: 'score', and 'build'" in merge(shards, FIRST, SECOND, code=2, capsys=capsys)


def test_samples_that_are_not_those_of_the_shards_are_refused(shards, capsys):
    rows = [json.loads(line) for line in (shards / "samples.jsonl").read_text().splitlines()]
    write_jsonl(shards / "samples.jsonl", [{**rows[0], "solution": "pass"}, *rows[1:]])
    error = merge(shards, FIRST, SECOND, code=2, capsys=capsys)
    assert f"not that of the shards: samples\n  where:   {shards / 'samples.jsonl'}\n" in error
    assert score(shards, "1/2") == 2
    assert "data.samples" in capsys.readouterr().err


@pytest.mark.parametrize(("recorded", "named"), [("there", "there"), (None, "$REFLECTIONCODER_DATA")])
def test_other_benchmark_data_is_refused_and_the_shards_place_of_it_is_named(recorded, named, shards, capsys):
    """`merge` has no --data-dir to be advised."""
    for index in (1, 2):
        change(shards, index, data={"benchmark": "other"}, paths={"data_dir": recorded})
    error = merge(shards, FIRST, SECOND, code=2, capsys=capsys)
    assert "not that of the shards: benchmark\n  where:   " + named in error
    assert "--data-dir" not in error


def test_a_difference_in_what_may_hold_a_credential_is_named_and_not_shown(tmp_path):
    works = [Work("build", {"build": {"endpoint": {"extra_body": {"token": token}}}}, {}, 1) for token in ("hunter1", "hunter2")]
    with ShardFolder.begun(tmp_path / "s", Shard(1, 2), works[0]):
        pass
    other = ShardFolder.begun(tmp_path / "s", Shard(1, 2), works[1])
    with pytest.raises(UsageError, match=r"settings\.build\.endpoint\.extra_body\.token: ") as refused, other:
        pass
    assert "hunter" not in str(refused.value)


def test_other_results_are_not_replaced(shards, capsys):
    (shards / "whole").mkdir()
    write_jsonl(shards / "whole" / "samples.jsonl", [{"task_id": "mine"}])
    assert "holds other results" in merge(shards, FIRST, SECOND, code=2, capsys=capsys)


def test_a_folder_of_something_else_gets_no_shard(shards, capsys):
    (shards / Shard(1, 3).folder).mkdir()
    (shards / Shard(1, 3).folder / "mine").touch()
    assert score(shards, "1/3") == 2
    assert "is not empty, and holds no shard" in capsys.readouterr().err


def test_more_shards_than_tasks_are_fine(shards, capsys):
    for index in range(1, NUM_TASKS + 2):
        assert score(shards, f"{index}/{NUM_TASKS + 1}") == 0
    folders = [str(shards / Shard(index, NUM_TASKS + 1).folder) for index in range(1, NUM_TASKS + 2)]
    assert main(["merge", *folders, "--output", str(shards / "whole"), "-q"]) == 0
    assert "passed 4" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1/0", "1 /2", "1/9999999", "١/٢"])
def test_what_is_no_shard_is_refused(text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", "x", "--benchmark", BENCHMARK, "--output", "x", f"--shard={text}"])
    assert ended.value.code == 2
    assert "I/N with I from 1 to N" in capsys.readouterr().err


@pytest.mark.parametrize("num_units", [0, 1, 5, 12])
@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_each_unit_is_in_one_shard(num_units, count):
    shards = [Shard(index, count) for index in range(1, count + 1)]
    dealt = [[unit for unit in range(num_units) if shard.takes(unit)] for shard in shards]
    blocks = [shard.block(range(num_units)) for shard in shards]
    for parts in (dealt, blocks):
        assert sorted(unit for part in parts for unit in part) == list(range(num_units))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [unit for part in blocks for unit in part] == list(range(num_units))


def test_an_ablation_takes_its_shards_from_the_same_place():
    design = design_of(load_recipe("demo", ["ablate.grid={train.epochs: [1, 2]}", "ablate.seeds=[1, 2]"]))
    assert [cell.seed for cell in design.shard(Shard(1, 2))] == [1, 1]


def test_two_processes_in_one_folder_are_refused(shards, capsys):
    work = ShardFolder.read(shards / FIRST).work
    with ShardFolder.begun(shards / FIRST, Shard(1, 2), work):
        assert score(shards, "1/2") == 3
    assert "another process is at work" in capsys.readouterr().err
    assert score(shards, "1/2") == 0


def test_merging_needs_neither_torch_nor_a_sandbox(shards, monkeypatch):
    monkeypatch.setenv("REFLECTIONCODER_ISOLATION", "none that there is")  # which whoever looks for an isolation refuses
    code = "import sys; from reflectioncoder.cli import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    argv = ["merge", str(shards / FIRST), str(shards / SECOND), "--output", str(shards / "whole"), "-q"]
    assert subprocess.run([sys.executable, "-c", code, *argv], stdout=subprocess.DEVNULL, check=False).returncode == 0
