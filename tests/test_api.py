"""What `import reflectioncoder` gives: lazy, documented, typed, with examples that run."""

import ast
import doctest
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reflectioncoder

SOURCE = Path(reflectioncoder.__file__)


def test_importing_the_package_loads_the_standard_library_and_one_module_of_ours():
    show = "import sys; before = set(sys.modules); import reflectioncoder; print(*sorted(set(sys.modules) - before))"
    loaded = set(subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split())
    assert {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names} == {"reflectioncoder"}
    assert len(loaded) < 5


def test_the_three_lists_of_public_names_are_one():
    tree = ast.parse(SOURCE.read_text())
    for_types = {
        (alias.name, node.module.removeprefix("reflectioncoder."))
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reflectioncoder.")
        for alias in node.names
    }
    assert for_types == set(reflectioncoder._MODULE_OF.items())
    assert sorted(reflectioncoder.__all__) == sorted(reflectioncoder._MODULE_OF)
    assert set(reflectioncoder.__all__) <= set(dir(reflectioncoder))


def test_the_package_says_that_it_is_typed():
    assert (SOURCE.parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'scor'"):
        _ = reflectioncoder.scor


@pytest.mark.parametrize("name", reflectioncoder.__all__)
def test_a_public_name_is_typed_and_documented_and_a_function_names_its_errors(name):
    value = getattr(reflectioncoder, name)
    signature = inspect.signature(value)
    assert all(parameter.annotation is not parameter.empty for parameter in signature.parameters.values())
    documentation = inspect.cleandoc(value.__doc__)
    assert documentation.partition("\n")[0].endswith((".", "?"))
    if inspect.isfunction(value):
        assert signature.return_annotation is not signature.empty
        assert "\nRaises:\n" in documentation


@pytest.mark.parametrize("name", reflectioncoder.__all__)
def test_the_example_of_a_public_name_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    value = getattr(reflectioncoder, name)
    (example,) = (found for found in doctest.DocTestFinder(recurse=False).find(value, name, globs={}) if found.examples)
    assert re.search(rf"from reflectioncoder import .*\b{name}\b", example.docstring or "")
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(example, out=said.append).failed
    assert not failed, "".join(said)


def test_results_are_json():
    from reflectioncoder import load_benchmark, load_problems, run_python, score

    problem = load_problems(["bundled:test_seen"])[0]
    result = score([{"task_id": problem.task_id, "solution": problem.reference}], load_benchmark("bundled/seen:1"))
    assert json.loads(json.dumps(result.to_json()))["metrics"][0]["value"] == result.pass_at_1.value == 1.0
    assert json.loads(json.dumps(run_python("print(1)").to_json()))["stdout"] == "1\n"


def test_two_results_in_memory_compare_as_their_files_do(tmp_path):
    from reflectioncoder import compare, load_benchmark, load_problems, score
    from reflectioncoder.cli import main

    problems = load_problems(["bundled:test_seen"])[:4]
    benchmark = load_benchmark("bundled/seen:4")
    solved_by_second = {problem.task_id for problem in problems[:2]}
    results, folders = [], []
    for number, solved in enumerate((set(), solved_by_second)):
        rows = [{"task_id": p.task_id, "solution": p.reference if p.task_id in solved else p.prompt + "    pass"} for p in problems]
        results.append(score(rows, benchmark))
        file, folder = tmp_path / f"{number}.jsonl", tmp_path / str(number)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["score", str(file), "--benchmark", "bundled/seen:4", "--output", str(folder), "-q"]) == 0
        folders.append(folder)
    in_memory, on_disk = compare(*results), compare(*folders)
    assert in_memory.subsets == on_disk.subsets
    assert in_memory.subsets[0].only_b == tuple(sorted(solved_by_second))
    assert in_memory.to_json()["subsets"] == on_disk.to_json()["subsets"]
