"""Programs of other languages, compiled and run: right, wrong, broken, too long, too big, and ended before their tests."""

import json

import pytest

from reflectioncoder.cli import main
from reflectioncoder.evaluate.benchmarks import MULTIPL_E, load_benchmark
from reflectioncoder.evaluate.multipl_e import FILES, judge_program
from reflectioncoder.generate.base import RawCompletion, completion_row
from reflectioncoder.generate.extract import cut_completion
from reflectioncoder.sandbox.isolation import detect_isolation
from reflectioncoder.sandbox.languages import LANGUAGES

TASK = "HumanEval_23_strlen"  # for PHP another: there a function of this name exists
PHP_TASK = "HumanEval_27_flip_case"
RIGHT = {
    "cpp": "    return string.size();\n",
    "java": "        return (long) string.length();\n",
    "js": "    return string.length;\n}",
    "ts": "    return string.length;\n}",
    "sh": "    echo ${#1}\n",
    "pl": "    return length($string);\n}",
    "php": "    return strtolower($string) ^ strtoupper($string) ^ $string;\n}",
    "rb": "    string.length\nend",
    "lua": "    return #string\nend",
    "go": "    return len(myString)\n}\n",
    "rs": "    string.len() as isize\n",
    "d": "{\n    return cast(long) string.length;\n}",
    "r": "\n    nchar(string)\n}",
    "rkt": "  (string-length string))",
    "cs": "        return s.Length;\n",
}
WRONG = {
    "cpp": "    return 7;\n",
    "java": "        return 7L;\n",
    "js": "    return 7;\n}",
    "ts": "    return 7;\n}",
    "sh": "    echo 7\n",
    "pl": "    return 7;\n}",
    "php": "    return 'x';\n}",
    "rb": "    7\nend",
    "lua": "    return 7\nend",
    "go": "    return 7\n}\n",
    "rs": "    7\n",
    "d": "{\n    return 7;\n}",
    "r": "\n    7\n}",
    "rkt": "  7)",
}
ENDS_EARLY = {
    "cpp": "    std::exit(0);\n",
    "java": "        System.exit(0); return 0;\n",
    "js": "    process.exit(0);\n}",
    "ts": "    declare_exit(); return 0;\n}\ndeclare var process: any;\nfunction declare_exit() { process.exit(0); }",
    "pl": "    exit(0);\n}",
    "php": "    exit(0);\n}",
    "rb": "    exit!(0)\nend",
    "rs": "    std::process::exit(0);\n",
    "r": "\n    quit(status = 0)\n}",
    "rkt": "  (exit 0))",
}
RAISES = {
    "cpp": '    throw std::runtime_error("x");\n',
    "java": '        throw new RuntimeException("x");\n',
    "js": "    throw new Error('x');\n}",
    "sh": "    no_such_command_here\n    return 3\n",
    "pl": "    die 'x';\n}",
    "php": "    throw new Error('x');\n}",
    "rb": "    raise 'x'\nend",
    "lua": "    error('x')\nend",
    "go": '    panic("x")\n}\n',
    "rs": '    panic!("x");\n',
    "r": "\n    stop('x')\n}",
}
LOOPS = {
    "cpp": '    while (true) { asm volatile(""); }\n',
    "js": "    while (true) {}\n}",
    "sh": "    while true; do :; done\n",
    "pl": "    while (1) {}\n}",
}
FILLS_MEMORY = {
    "cpp": "    std::vector<std::string> v; while (true) v.push_back(std::string(1 << 20, 'x'));\n",
    "java": "        List<long[]> l = new ArrayList<>(); while (true) l.add(new long[1 << 20]);\n",
    "js": "    let l = []; while (true) l.push(new Array(1 << 20).fill(1.5));\n}",
    "pl": "    my @l; while (1) { push @l, 'x' x (1 << 22); }\n}",
    "php": "    $l = []; while (true) $l[] = str_repeat('x', 1 << 22);\n}",
    "rb": "    l = []; loop { l << 'x' * (1 << 22) }\nend",
}
COMPILED = frozenset(name for name, language in LANGUAGES.items() if language.build)


def needs(name):
    if missing := LANGUAGES[name].missing():
        pytest.skip(f"{missing} is missing here: {LANGUAGES[name].install}")


@pytest.fixture(scope="module")
def judged(data_dir):
    """`judged(language, completion)`: the verdict on the prompt, the completion and the tests of a task."""
    isolation = detect_isolation()

    def judge(name, completion):
        wanted = PHP_TASK if name == "php" else TASK
        task = next(task for task in load_benchmark(f"multipl-e/{name}").tasks if task.task_id == wanted)
        return judge_program(task.prompt + completion, task.tests, isolation)

    return judge


@pytest.mark.parametrize("name", RIGHT)
def test_right_and_wrong_and_broken_programs_are_told_apart(judged, name):
    needs(name)
    right = judged(name, RIGHT[name])
    assert (right.status, right.harness_status) == ("passed", "OK"), right.detail
    if name in WRONG:
        wrong = judged(name, WRONG[name])
        assert (wrong.status, wrong.reason, wrong.harness_status) == ("failed", "wrong answer", "Exception"), wrong.detail
    broken = judged(name, "  ((( \n")
    assert broken.status == ("compile_error" if name in COMPILED else "failed"), broken.detail
    assert broken.harness_status == ("SyntaxError" if name in COMPILED else "Exception")


@pytest.mark.parametrize("name", ENDS_EARLY)
def test_a_program_that_ends_before_its_tests_has_not_passed_them(judged, name):
    needs(name)
    verdict = judged(name, ENDS_EARLY[name])
    assert (verdict.status, verdict.reason) == ("failed", "early exit"), verdict.detail
    assert verdict.harness_status == "OK"  # what the usual harness says


@pytest.mark.parametrize("name", RAISES)
def test_an_exception_is_no_wrong_answer(judged, name):
    needs(name)
    verdict = judged(name, RAISES[name])
    assert verdict.status in ("failed", "crashed")
    assert verdict.reason in ("exception", "crashed"), verdict.detail
    assert verdict.harness_status == "Exception"


@pytest.mark.parametrize("name", FILLS_MEMORY)
def test_memory_that_runs_out_is_named(judged, name):
    needs(name)
    assert judged(name, FILLS_MEMORY[name]).status == "memory"


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_without_end_is_a_timeout(judged, name, monkeypatch):
    needs(name)
    from dataclasses import replace

    monkeypatch.setitem(LANGUAGES, name, replace(LANGUAGES[name], run_s=1.0))
    verdict = judged(name, LOOPS[name])
    assert (verdict.status, verdict.harness_status) == ("timeout", "Timeout")


def test_the_tests_of_every_task_get_their_end(data_dir):
    """Where the end of the tests is looked for there must be one, in each task of each language."""
    for name, file in MULTIPL_E.items():
        tasks = load_benchmark(name).tasks
        assert len(tasks) == FILES[file][2]
        for task in tasks:
            ended = LANGUAGES[task.tests.language].with_end(task.tests.tests, "MARK-OF-THE-END")
            assert ended.count("MARK-OF-THE-END") == 1, (name, task.task_id)


@pytest.mark.parametrize(
    ("language", "completion", "stops", "multipl_e", "authors"),
    [
        ("cpp", "  return 1;\n}\nint main() {}\n}\n", ("\n}",), "  return 1;", "  return 1;\n}"),
        ("js", "  return 1;\n}\nfoo();\n}", ("\nfunction ", "\n//"), "  return 1;\n}\nfoo();\n}", "  return 1;\n}\nfoo();\n}"),
        ("sh", "  echo 1\n}\necho", ("\n}",), "  echo 1", "  echo 1"),
        ("ts", "  return 1;\n}\n// x\n}", ("\n//",), "  return 1;\n}", "  return 1;\n}"),
        ("py", "  return 1", (), "  return 1", "  return 1"),
    ],
)
def test_completions_are_cut_by_named_rules(language, completion, stops, multipl_e, authors):
    assert cut_completion(completion, language, stops) == multipl_e
    assert cut_completion(completion, language, stops, "reflectioncoder") == authors


def test_the_answer_begins_with_the_prompt_and_the_program_too(data_dir):
    task = load_benchmark("multipl-e/cpp").tasks[0]
    request = task.request(0)
    assert request.instruction.startswith("Write a complete C++ function for the problem.\n```cpp\n")
    assert request.prefill == f"```cpp\n{task.prompt}"
    row = completion_row(request, RawCompletion("    return 1;\n}\nint x;\n```", "stop", 9))
    assert row["solution"] == f"{task.prompt}    return 1;"


def test_score_takes_completions_and_whole_programs(data_dir, tmp_path, capsys):
    needs("sh")
    task = next(task for task in load_benchmark("multipl-e/sh").tasks if task.task_id == TASK)
    rows = [{"task_id": TASK, "completion": RIGHT["sh"] + "}\nrm x"}, {"task_id": TASK, "solution": task.prompt + WRONG["sh"]}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--partial", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    judged = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [row["status"] for row in judged] == ["passed", "failed"]
    assert [row["reason"] for row in judged] == ["", "wrong answer"]


def test_a_language_without_its_toolchain_is_skipped_and_counted(data_dir, tmp_path, capsys):
    name = next(name for name in LANGUAGES if LANGUAGES[name].missing() and f"multipl-e/{name}" in MULTIPL_E)
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": "x"}) + "\n")
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", f"multipl-e/{name}", "--output", str(tmp_path / "out")]
    assert main(command) == 3
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["status"] == "skipped"
    assert results["counts"] == {"skipped": FILES[name][2]}
    assert results["metrics"] == []
    assert LANGUAGES[name].install in capsys.readouterr().out
