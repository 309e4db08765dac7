"""Programs of other languages, compiled and run: right, wrong, broken, too long, too big, and ended before their tests."""

import os
import subprocess
from dataclasses import replace

import pytest

from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.benchmarks import load_benchmark
from reflectioncoder.evaluate.judges.multipl_e import preflight
from reflectioncoder.evaluate.judges.multipl_e.harness import status_of_build, status_of_run
from reflectioncoder.evaluate.judges.multipl_e.preflight import EXPECTED, preflight_programs, require_preflight
from reflectioncoder.evaluate.judges.multipl_e.programs import judge_program
from reflectioncoder.languages import LANGUAGES
from reflectioncoder.sandbox import execution
from reflectioncoder.sandbox.detect import probe
from reflectioncoder.sandbox.execution import execute, trim_builds, warm_up
from reflectioncoder.sandbox.isolation import LANDLOCK
from reflectioncoder.sandbox.limits import RunResult
from tests.evaluate.multipl_e_tasks import BROKEN_TASKS, needs, run_instead
from tests.tiers import part

STUBS = {  # bodies that compile for any signature and raise
    "cpp": 'throw std::runtime_error("stub");',
    "java": 'throw new RuntimeException("stub");',
    "cs": 'throw new Exception("stub");',
    "scala": 'throw new RuntimeException("stub")',
    "rs": 'panic!("stub")',
    "go": 'panic("stub")\n}',
    "d": '{ throw new Exception("stub"); }',
    "js": "throw new Error('stub');\n}",
    "ts": "throw new Error('stub');\n}",
    "php": "throw new Error('stub');\n}",
    "lua": "error('stub')\nend",
    "rb": "raise 'stub'\nend",
    "pl": "die 'stub';\n}",
    "r": "\n stop('stub')\n}",
    "rkt": '(error "stub"))',
    "sh": "no_such_command",
    "py": "\n    raise RuntimeError('stub')",
}
pytestmark = pytest.mark.timeout(1200)  # of compilers that take 20 s a program on a busy machine


@pytest.mark.parametrize("name", LANGUAGES)
def test_programs_with_known_verdicts_get_them(name, isolation, tmp_path, monkeypatch):
    """Five tasks by hand, right and wrong; what does not compile, raises, loops, fills memory, ends early, disarms its tests."""
    needs(name)
    programs = preflight_programs(name)
    assert len({program.task for program in programs}) >= 5
    assert {program.kind for program in programs} == {*preflight.EXPECTED}
    monkeypatch.setattr(preflight, "cache_dir", lambda: tmp_path)
    assert require_preflight(name, isolation)["num_programs"] == len(programs)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", [name for name, language in LANGUAGES.items() if language.toolchain.lowest_tier <= 1])
def test_a_container_without_privileges_is_enough(name):
    """Tier 1: no file system of its own, no change of modes and times, no /proc."""
    needs(name)
    if reason := probe(LANDLOCK):
        pytest.skip(f"landlock does not work here: {reason}")
    programs = [program for program in preflight_programs(name) if program.kind != "timeout"]
    verdicts = [judge_program(program.program, program.tests, LANDLOCK) for program in programs[: len(EXPECTED) - 1]]
    for program, verdict in zip(programs, verdicts, strict=False):
        assert verdict.reason in program.expected, (program.kind, verdict.detail)


def test_a_language_that_is_judged_wrongly_is_not_scored(isolation, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "cache_dir", lambda: tmp_path)
    run_instead(monkeypatch, "bash", "-n", "main.sh")  # reads it, runs nothing
    with pytest.raises(MachineError, match=r"positive_sum, right: expected passed, got early exit") as error:
        require_preflight("sh", isolation)
    assert "positive_sum, timeout: expected timeout" in str(error.value)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.long
def test_what_held_is_remembered_for_this_toolchain_only(isolation, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "cache_dir", lambda: tmp_path)
    held = require_preflight("sh", isolation)
    monkeypatch.setattr(preflight, "judge_program", None)
    assert require_preflight("sh", isolation) == held
    run_instead(monkeypatch, "bash", "--posix", "main.sh")
    with pytest.raises(TypeError):
        require_preflight("sh", isolation)


@pytest.mark.long
def test_exit_codes_alone_pass_what_is_not_passed(isolation):
    """The usual harness's verdict stays beside ours: it takes programs that end early or whose tests hold nothing."""
    fooled = {}
    for name in ("cpp", "js", "sh"):
        needs(name)
        for program in preflight_programs(name):
            if program.kind in ("right", "wrong", "early_exit", "unchecked"):
                verdict = judge_program(program.program, program.tests, isolation)
                fooled.setdefault(program.kind, set()).add((verdict.harness_status == "OK", verdict.status == "passed"))
    assert fooled == {"right": {(True, True)}, "wrong": {(False, False)}, "early_exit": {(True, False)}, "unchecked": {(True, False)}}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", [name for name in LANGUAGES if name != "scala"])  # seconds for each compilation
def test_the_harness_says_of_our_run_what_it_says_of_a_plain_one(name, isolation, tmp_path):
    """MultiPL-E's way, without a sandbox."""
    needs(name)
    rule = LANGUAGES[name].multipl_e.harness
    programs = [program for program in preflight_programs(name) if program.kind not in ("timeout", "memory")]
    for program in programs[: len(EXPECTED) - 2]:
        folder = tmp_path / program.kind
        folder.mkdir()
        plain = plainly(LANGUAGES[name].toolchain, f"{program.program}\n{program.tests.tests}", folder)
        ours = judge_program(program.program, program.tests, isolation)
        expected = status_of_build(plain, rule) if plain.reason == "build" else status_of_run(plain, rule)
        assert ours.harness_status == expected, (program.kind, ours.detail, plain.stderr)


def plainly(toolchain, program, folder):
    """The program compiled and run as plain subprocesses; `reason` says what it ended in."""
    (folder / toolchain.source).write_text(program)
    for beside, text in toolchain.beside.items():
        (folder / beside).write_text(text)
    warm = warm_up(toolchain)
    env = {**os.environ, **toolchain.env, "HOME": str(folder), "GOCACHE": str(folder / "go")}

    def run(argv):
        command = toolchain.command(tuple(part.format(warm=warm) for part in argv))
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)

    built = run(toolchain.build) if toolchain.build else None
    done, ended_in = (built, "build") if built and built.returncode else (run(toolchain.run), "run")
    status = "ok" if done.returncode == 0 else "failed"
    signal = -done.returncode if done.returncode < 0 else None
    code = None if signal else done.returncode
    return RunResult(status, code, signal, done.stdout, done.stderr, len(done.stdout), len(done.stderr), 0.0, 0.0, 0, ended_in)


@pytest.mark.long
@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STUBS)
def test_a_program_that_raises_is_told_from_one_that_does_not_compile(name, every, data_dir, isolation):
    needs(name)
    some = load_benchmark(f"multipl-e/{name}").tasks[:: 4 * every if name == "scala" else every]
    verdicts = {task.task_id: judge_program(task.prompt + STUBS[name], task.tests, isolation) for task in some}
    assert {
        task: verdict.detail for task, verdict in verdicts.items() if verdict.reason != "exception" and BROKEN_TASKS.get(task) != name
    } == {}


@pytest.mark.long
def test_the_canonical_solutions_pass(data_dir, isolation):
    """HumanEval's own solutions, in the language that they are written in."""
    right = {task.task_id.partition("/")[2]: task.tests.canonical_solution for task in load_benchmark("humaneval").tasks}
    tasks = {task.task_id.partition("/")[2]: task.tests for task in part(load_benchmark("multipl-e/py").tasks, 3)}
    verdicts = {number: judge_program(right[number], tests, isolation) for number, tests in tasks.items()}
    assert {task: verdict.reason for task, verdict in verdicts.items() if verdict.status != "passed"} == {}


def test_builds_are_kept_by_content_and_removed_when_they_are_many(isolation, tmp_path, monkeypatch):
    needs("cpp")
    monkeypatch.setattr(execution, "cache_dir", lambda: tmp_path)
    plain = replace(LANGUAGES["cpp"].toolchain, build=("g++", "main.cpp", "-o", "main"), warm="")
    program = '#include <cstdio>\nint main() { puts("%s"); }'
    first, again, other = (execute(plain, program % word, isolation) for word in ("x", "x", "y"))
    assert [done.built is None for done in (first, again, other)] == [False, True, False]
    assert [done.ran and done.ran.stdout for done in (first, again, other)] == ["x\n", "x\n", "y\n"]
    kept = sorted((tmp_path / "builds").glob("*/*.tar"), key=lambda path: path.stat().st_mtime)
    trim_builds(kept[1].stat().st_size)
    assert [path.exists() for path in kept] == [False, True]
