"""Every command that reads JSON names what is wrong with it, file and line, and ends with code 2."""

import json
import os
import shutil

import pytest

from reflectioncoder.cli import main
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.files import write_json, write_jsonl
from reflectioncoder.data.problems import bundled_problems
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from tests.conftest import make_model, make_tokenizer, reflection_sample
from tests.data.test_files import BAD_JSON

SAMPLE = reflection_sample(1).to_json()
PROBLEM = bundled_problems("train")[0].to_json()
SCORED = {"task_id": "t", "sample": 0, "status": "passed", "base_status": None, "plus_status": None}
RESULTS = {"schema_version": 1, "status": "done", "benchmark": {"name": "b", "sha256": "x"}, "metrics": [], "counts": {}}


def reading_commands(folder, task):
    """Command → (the file it reads, a good row, its command line)."""
    file = folder / "rows.jsonl"
    of_a_model = {"author": "attempts", "endpoint.model": "m", "two_slip_share": BuildConfig().two_slip_share}
    model_of_attempts = [part for key, value in of_a_model.items() for part in ("--set", f"build.{key}={value}")]
    compared = ["--set", "evaluate.benchmarks=[humaneval]"]  # with which the data is compared before the model is looked for
    runs, out = ["--runs-dir", str(folder / "runs")], ["--output", str(folder / "out")]
    return {
        "inspect": (file, SAMPLE, ["inspect", str(file), "--limit", "9"]),
        "check": (file, SAMPLE, ["check", str(file)]),
        "export": (file, SAMPLE, ["export", str(file), *out]),
        "train": (file, SAMPLE, ["train", "demo", "--set", f"train.reflection_data=[{file}]", *compared, *runs]),
        "build": (file, PROBLEM, ["build", "demo", "--set", f"build.problems=[{file}]", *runs]),
        "attempts": (
            file, {"task_id": PROBLEM["task_id"], "solution": "x"},
            ["build", "demo", *model_of_attempts, "--set", f"build.attempts={file}", *runs],
        ),
        "problems": (file, PROBLEM, ["problems", str(file), *out]),
        "score": (file, {"task_id": task, "solution": "x"}, ["score", str(file), "--benchmark", "bundled/seen", *out]),
    }  # fmt: skip


COMMANDS = ("inspect", "check", "export", "train", "build", "attempts", "problems", "score")


@pytest.fixture
def command(request, tmp_path):
    return reading_commands(tmp_path, load_benchmark("bundled/seen:1").tasks[0].task_id)[request.param]


def refused(argv, capsys, *parts):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for part in parts:
        assert str(part) in error
    return error


@pytest.mark.parametrize("bad", BAD_JSON)
@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_a_line_that_is_no_json_is_named(command, bad, capsys):
    file, row, argv = command
    content, _ = BAD_JSON[bad]
    start = b"" if bad.startswith("UTF-16") else json.dumps(row).encode() + b"\n"
    file.write_bytes(start + content + b"\n")
    refused(argv, capsys, f"{file}:{1 if bad.startswith('UTF-16') else 2}")


@pytest.mark.parametrize("value", [["x"], {"a": 1}, True, 1.5, [[]]], ids=repr)
@pytest.mark.parametrize(
    ("command", "field"),
    [
        *((name, "id") for name in ("inspect", "check", "export", "train")),
        *((name, "messages") for name in ("inspect", "check", "export", "train")),
        *((name, "type") for name in ("inspect", "check", "export", "train")),
        *(("build", field) for field in ("task_id", "prompt", "entry_point", "tests", "language", "canonical_solution")),
        *(("attempts", field) for field in ("task_id", "solution", "sample")),
        *(("score", field) for field in ("task_id", "solution")),
    ],
    indirect=["command"],
)
def test_a_field_of_another_type_is_named(command, field, value, capsys):
    file, row, argv = command
    write_jsonl(file, [{**row, field: value}])
    refused(argv, capsys, f"{file}:1")


@pytest.mark.parametrize("name", BAD_JSON)
def test_problems_reads_arrays_as_strictly(tmp_path, name, capsys):
    path = tmp_path / "rows.json"
    path.write_bytes(BAD_JSON[name][0])
    refused(["problems", str(path), "--output", str(tmp_path / "out.jsonl")], capsys, path)


@pytest.mark.parametrize("name", BAD_JSON)
def test_compare_names_the_file(tmp_path, name, capsys):
    for side in "ab":
        write_jsonl(tmp_path / side / "samples.jsonl", [SCORED])
        write_json(tmp_path / side / "results.json", RESULTS)
    argv = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(argv) == 0
    path = tmp_path / "b" / "results.json"
    path.write_bytes(BAD_JSON[name][0])
    refused(argv, capsys, path)
    path.write_text(json.dumps(RESULTS))
    path = tmp_path / "b" / "samples.jsonl"
    with open(path, "ab") as file:
        file.write(BAD_JSON[name][0] + b"\n")
    refused(argv, capsys, path, ":2")


@pytest.mark.parametrize(
    "changed",
    [{"benchmark": 3}, {"benchmark": {"name": []}, "sandbox": "x"}, {"metrics": 5}, {"metrics": [5]}, {"sandbox": {"isolation": [1]}}],
    ids=repr,
)
def test_compare_names_a_results_file_of_another_form(tmp_path, changed, capsys):
    for side, extra in (("a", {}), ("b", changed)):
        write_jsonl(tmp_path / side / "samples.jsonl", [SCORED])
        write_json(tmp_path / side / "results.json", {**RESULTS, **extra})
    refused(["compare", str(tmp_path / "a"), str(tmp_path / "b")], capsys, tmp_path / "b")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"5", b'{"num_candidates": 1}', b"\xff", b"[" * 5000])
def test_report_and_export_name_a_damaged_run(tmp_path, content, capsys):
    run = tmp_path / "run"
    write_jsonl(run / "build" / "reflections.jsonl", [SAMPLE])
    (run / "config.yaml").write_text("name: run\n")
    (run / "build" / "build.json").write_bytes(content)
    refused(["report", str(run), "--output", str(tmp_path / "r.html")], capsys, run)
    refused(["export", str(run), "--output", str(tmp_path / "out")], capsys, run)


VERDICT = {"task_id": "t", "sample": 0, "status": "passed", "base_status": "passed", "plus_status": None, "solution": "x", "tests": []}
METRIC = {"name": "pass@1", "subset": None, "value": 1.0, "ci_low": 0.2, "ci_high": 1.0, "num_tasks": 1, "num_samples": 1}
DAMAGED = [
    ("eval/b/base/samples.jsonl", {key: value for key, value in VERDICT.items() if key != "status"}),
    *(("eval/b/base/samples.jsonl", {**VERDICT, "tests": tests}) for tests in (5, [{}], [5])),
    *(("eval/b/base/samples.jsonl", {**VERDICT, "solution": solution}) for solution in (5, {"a": 1})),
    ("eval/b/base/samples.jsonl", {**VERDICT, "status": "failed", "stderr_tail": None}),
    ("eval/b/base/completions.jsonl", {"task_id": "t", "completion": 5}),
    ("eval/b/base/results.json", {"metrics": [{**METRIC, "name": "pass@5"}]}),
    ("eval/b/base/results.json", {"metrics": [{**METRIC, "value": "x"}]}),
    ("eval/b/base/results.json", {"confidence": "x"}),
    *(("stages/x.json", {"duration_s": seconds}) for seconds in ("x", None, True)),
]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_report_names_the_run_or_the_file_that_was_changed(tmp_path, name, content, capsys):
    run = tmp_path / "run"
    (run / "eval/b/base").mkdir(parents=True)
    (run / "config.yaml").write_text("name: run\n")
    isolation = {"name": "namespaces", "tier": 2, "network": False, "memory": "", "syscalls": ""}
    results = {**RESULTS, "metrics": [METRIC], "confidence": 0.95, "sandbox": {"isolation": isolation, "limits": {}, "safe": True}}
    write_json(run / "eval/b/base/results.json", results)
    write_jsonl(run / "eval/b/base/samples.jsonl", [VERDICT])
    argv = ["report", str(run), "--output", str(tmp_path / "r.html")]
    if (name, content) == DAMAGED[0]:
        assert main(argv) == 0
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(json.dumps({**results, **content} if name.endswith("results.json") else content) + "\n")
    refused(argv, capsys, run / name if name.endswith(".jsonl") or name.startswith("stages") else run)


def test_generate_names_a_damaged_file_of_completions(tmp_path, capsys):
    tokenizer = make_tokenizer()
    make_model("llama", len(tokenizer), dtype="float32").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    argv = ["generate", str(tmp_path / "model"), "--benchmark", "bundled/seen:1", "--output", str(out), "--max-new-tokens", "4"]
    assert main(argv) == 0
    capsys.readouterr()
    (out / "completions.jsonl").write_text('{"task_id": "x"}\n')
    refused(argv, capsys, out / "completions.jsonl")
    (out / "settings.json").write_text("[]")
    refused(argv, capsys, out / "settings.json")
    shutil.rmtree(out)


@pytest.fixture
def places(tmp_path):
    """Paths that no file can have."""
    (tmp_path / "loop").symlink_to("loop")
    return {"a loop": tmp_path / "loop", "a long name": tmp_path / ("n" * 300), "below a loop": tmp_path / "loop" / "x.jsonl"}


BAD_PATHS = {
    "score a file": lambda path: ["score", __file__, "--benchmark", f"file:{path}", "--output", "out"],
    "score samples": lambda path: ["score", str(path), "--benchmark", "bundled/seen:1", "--output", "out"],
    "compare": lambda path: ["compare", str(path), str(path)],
    "inspect": lambda path: ["inspect", str(path)],
    "report": lambda path: ["report", str(path), "--output", "r.html"],
    "export": lambda path: ["export", str(path), "--output", "out"],
    "export a model": lambda path: ["export", str(path), "--model", "--output", "out"],
    "export as GGUF": lambda path: ["export", str(path), "--gguf", "f16", "--output", "out"],
    "evaluate": lambda path: ["evaluate", str(path), "--benchmark", "bundled/seen:1", "--output", "out"],
    "build": lambda path: ["build", str(path)],
    "merge": lambda path: ["merge", str(path), "--output", "out"],
}


@pytest.mark.parametrize("command", BAD_PATHS)
def test_a_path_that_no_file_can_have_is_named(command, places, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path in places.values():
        error = refused(BAD_PATHS[command](path), capsys, path)
        assert "Errno" not in error


@pytest.mark.parametrize("command", [["benchmarks"], ["doctor"], ["score", "x", "--benchmark", "bundled/seen", "--output", "out"]])
def test_a_data_dir_that_is_no_folder_is_refused(command, places, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nope", tmp_path / "file", *places.values()):
        with pytest.raises(SystemExit, match="2"):
            main([*command, "--data-dir", str(path)])
        error = capsys.readouterr().err
        assert "--data-dir" in error
        assert "a folder that is there" in error


def test_what_cannot_be_a_file_of_data_is_not_found(tmp_path):
    (tmp_path / "HumanEval.jsonl.gz").mkdir()
    os.mkfifo(tmp_path / "HumanEvalPlus-v1.jsonl.gz")
    (tmp_path / "cruxeval.jsonl").symlink_to("nothing")
    (tmp_path / "livecodebench").write_text("")
    for name in ("humaneval", "humaneval+", "cruxeval-o", "livecodebench"):
        row = BENCHMARKS[name]
        for file in (row.file, *([row.otherwise.file] if row.otherwise else [])):
            found = file.find(str(tmp_path))
            assert found is None or tmp_path not in found.parents
