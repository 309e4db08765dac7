"""Programs of other languages, compiled and run: right, wrong, broken, too long, too big, and ended before their tests."""

import json
import os
import re
import subprocess
import time
import tomllib
from dataclasses import replace
from random import Random

import pytest

from reflectioncoder.cli import main
from reflectioncoder.data.completions import cut_completion
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.multipl_e import preflight
from reflectioncoder.evaluate.judges.multipl_e import programs as multipl_e
from reflectioncoder.evaluate.judges.multipl_e.assertions import assertions_of, surely_differ, wrong_shape
from reflectioncoder.evaluate.judges.multipl_e.challenge import challenges, num_pairs
from reflectioncoder.evaluate.judges.multipl_e.harness import status_of_build, status_of_run
from reflectioncoder.evaluate.judges.multipl_e.preflight import EXPECTED, preflight_programs, require_preflight
from reflectioncoder.evaluate.judges.multipl_e.programs import FILES, LanguageTests, judge_program
from reflectioncoder.generate.base import RawCompletion, completion_row
from reflectioncoder.languages import LANGUAGES, PYTHON
from reflectioncoder.sandbox import execution, process
from reflectioncoder.sandbox.detect import detect_isolation, probe
from reflectioncoder.sandbox.execution import execute, trim_builds, warm_up
from reflectioncoder.sandbox.isolation import LANDLOCK
from reflectioncoder.sandbox.limits import RunResult
from tests.evaluate.known_answers import FRAMES, program_by_heart

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
BROKEN_TASKS = {  # in the data: no program can pass them
    "HumanEval_137_compare_one": "cpp",
    "HumanEval_51_remove_vowels": "js",
    "HumanEval_87_get_row": "go",
    "HumanEval_95_check_dict_case": "d",
    "HumanEval_23_strlen": "php",
}
TASK = "HumanEval_23_strlen"
RIGHT_SH, WRONG_SH = "    echo ${#1}\n", "    echo 7\n"


def needs(name):
    if missing := LANGUAGES[name].toolchain.missing():
        pytest.skip(f"{missing} is missing here: {LANGUAGES[name].toolchain.install}")


def run_instead(monkeypatch, *command):
    """Another command line for Bash."""
    row = LANGUAGES["sh"]
    monkeypatch.setitem(LANGUAGES, "sh", replace(row, toolchain=replace(row.toolchain, run=command)))


@pytest.fixture(scope="module")
def isolation():
    return detect_isolation()


@pytest.mark.parametrize("name", LANGUAGES)
def test_programs_with_known_verdicts_get_them(name, isolation, tmp_path, monkeypatch):
    """Five tasks by hand, right and wrong; what does not compile, raises, loops, fills memory, ends early, disarms its tests."""
    needs(name)
    programs = preflight_programs(name)
    assert len({program.task for program in programs}) >= 5
    assert {program.kind for program in programs} == {*preflight.EXPECTED}
    monkeypatch.setattr(preflight, "cache_dir", lambda: tmp_path)
    assert require_preflight(name, isolation)["num_programs"] == len(programs)


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


@pytest.mark.slow
def test_what_held_is_remembered_for_this_toolchain_only(isolation, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "cache_dir", lambda: tmp_path)
    held = require_preflight("sh", isolation)
    monkeypatch.setattr(preflight, "judge_program", None)
    assert require_preflight("sh", isolation) == held
    run_instead(monkeypatch, "bash", "--posix", "main.sh")
    with pytest.raises(TypeError):
        require_preflight("sh", isolation)


@pytest.mark.slow
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
    for reason, argv in (("build", toolchain.build), ("run", toolchain.run)):
        if argv:
            argv = toolchain.command(tuple(part.format(warm=warm) for part in argv))
            done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
            ended_in = reason
            if done.returncode:
                break
    status = "ok" if done.returncode == 0 else "failed"
    signal = -done.returncode if done.returncode < 0 else None
    code = None if signal else done.returncode
    return RunResult(status, code, signal, done.stdout, done.stderr, len(done.stdout), len(done.stderr), 0.0, 0.0, 0, ended_in)


FORGED = {
    "expectations that are all the same": ("go", "\treturn 0 }; const true = false", "bool"),
    "tests in an and-list": ("sh", "    echo 5; }\nshopt -s expand_aliases\nalias '[['='false && [['\nu() {\n:\n", ""),
    "no errexit": ("sh", "    echo 5; }\nset() { :; }\nu() {\n:\n", ""),
    "loose equality": (
        "py",
        "    return Any(7)\nclass Any(int):\n    def __eq__(self, other): return other != 0 or self.zero()\n"
        "    def zero(self): return True\n    __hash__ = int.__hash__\n",
        "",
    ),
    "listeners taken away": (
        "cs",
        "        return Quiet.Zero;\n    }\n"
        "    static class Quiet { public static long Zero = -1; static Quiet() { Debug.Listeners.Clear(); }",
        "",
    ),
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_was_tried_against_the_judge_does_not_pass(kind, isolation):
    """Found by people who were asked to beat it."""
    name, body, result = FORGED[kind]
    needs(name)
    program = preflight_programs(name)[0]
    prompt = program.program[: program.program.index(program_body(name))]
    tests = program.tests
    if result == "bool":
        prompt = prompt.replace(" int {", " bool {")
        tests = LanguageTests(
            name, re.sub(r"expected: (\d+)", lambda m: f"expected: {'true' if m[1] == '7' else 'false'}", tests.tests), ()
        )
        body = body.replace("return 0", "return false")
    verdict = judge_program(prompt + body, tests, isolation)
    assert verdict.status != "passed", verdict


SUM = {  # right answers to the first task
    "cpp": "    long sum = 0;\n    for (long n : numbers) sum += std::max(n, 0L);\n    return sum;",
    "java": "        return numbers.stream().filter(n -> n > 0).mapToLong(n -> n).sum();",
    "js": "  return numbers.filter(n => n > 0).reduce((sum, n) => sum + n, 0);\n}",
    "py": "    return sum(n for n in numbers if n > 0)\n",
    "php": "    return array_sum(array_filter($numbers, fn($n) => $n > 0));\n}",
    "sh": "    local sum=0 n\n    for n in $1; do (( n > 0 )) && (( sum += n )); done\n    echo $sum\n",
    "rs": "    numbers.iter().filter(|&&n| n > 0).sum()",
    "rb": "  numbers.select { |n| n > 0 }.sum\nend",
    "go": "\tsum := 0\n\tfor _, n := range numbers {\n\t\tif n > 0 {\n\t\t\tsum += n\n\t\t}\n\t}\n\treturn sum\n}",
    "lua": "  local sum = 0\n  for _, n in ipairs(numbers) do if n > 0 then sum = sum + n end end\n  return sum\nend",
    "r": "\n  sum(numbers[numbers > 0])\n}",
}
MIB = "'x'.repeat(1 << 20)"
HONEST = {
    "1 MB of output": ("py", "    print('x' * 2**20)\n" + SUM["py"]),
    "silenced output": ("py", "    sys.stdout = io.StringIO()\n" + SUM["py"] + "import io, sys\n"),
    "closed streams": ("py", SUM["py"] + "import os\n[os.close(fd) for fd in (0, 1, 2)]\n"),
    "an exit handler": ("py", SUM["py"] + "import atexit\natexit.register(print, 'x' * 2**20)\n"),
    "no second call with the same": (
        "py",
        "    seen = calls.setdefault(tuple(numbers), [])\n    assert not seen\n    seen += [1]\n" + SUM["py"] + "calls = {}\n",
    ),
    "arguments emptied": ("py", "    total = sum(n for n in numbers if n > 0)\n    numbers.clear()\n    return total\n"),
    "another folder": ("py", SUM["py"] + "import os\nos.mkdir('elsewhere')\nos.chdir('elsewhere')\n"),
    "a result of its own class": ("py", "    return Sum(sum(n for n in numbers if n > 0))\nclass Sum(int):\n    pass\n"),
    "wide output": ("cpp", '    std::wcout << L"x";\n' + SUM["cpp"]),
    "much wide output": ("cpp", "    std::wcout << std::wstring(1 << 20, L'x') << std::endl;\n" + SUM["cpp"]),
    "a handler of its own": ("cpp", "    signal(SIGABRT, [](int) { _exit(3); });\n" + SUM["cpp"]),
    "a stream that is closed": ("cpp", "    std::fclose(stdout);\n" + SUM["cpp"]),
    "no console": ("js", "  console.log = () => {};\n" + SUM["js"]),
    "20 kB on the console": ("js", "  console.log('x'.repeat(20480));\n" + SUM["js"]),
    "1 MB on the console": ("js", f"  console.log({MIB});\n" + SUM["js"]),
    "many lines": ("js", "  for (let i = 0; i < 3000; i++) console.log('a line of the log with its number', i);\n" + SUM["js"]),
    "1 MB of errors": ("js", f"  console.error({MIB});\n" + SUM["js"]),
    "the console and its descriptor": ("js", f"  console.log({MIB});\n  require('fs').writeSync(1, {MIB});\n" + SUM["js"]),
    "output after the end": ("js", f"  setTimeout(() => console.log({MIB}), 1);\n" + SUM["js"]),
    "frozen prototypes": ("js", SUM["js"] + "\nObject.freeze(Array.prototype); Object.freeze(Object.prototype);"),
    "a console that is another": (
        "java",
        "        System.setOut(new java.io.PrintStream(new java.io.ByteArrayOutputStream()));\n" + SUM["java"],
    ),
    "closed output": ("java", "        System.out.close(); System.err.close();\n" + SUM["java"]),
    "buffered output": ("php", '    ob_start();\n    echo str_repeat("x", 1 << 20);\n' + SUM["php"]),
    "errors made exceptions": ("php", SUM["php"] + "\nset_error_handler(function ($n, $text) { throw new ErrorException($text); });\n"),
    "strict types": ("php", "    if (count($numbers) > 99) die();\n" + SUM["php"]),
    "no second call": (
        "pl",
        "    my ($numbers) = @_;\n    die if $seen{join ',', @$numbers}++;\n    my $sum = 0;\n"
        "    $_ > 0 and $sum += $_ for @$numbers;\n    return $sum;\n}",
    ),
    "separators": (
        "pl",
        '    $, = "-"; $\\ = "!\\n"; $| = 1;\n    my $sum = 0;\n    $_ > 0 and $sum += $_ for @{$_[0]};\n    return $sum;\n}',
    ),
    "words to the debugger": ("cs", '        Debug.WriteLine("here");\n        return numbers.Where(n => n > 0).Sum();'),
    "unset names": ("sh", SUM["sh"] + "}\nset -u\nu() {\n:\n"),
    "pipes that fail": ("sh", "    set +e\n" + SUM["sh"] + "}\nset -euo pipefail -C\nshopt -s extglob nullglob\nu() {\n:\n"),
    "a trap at the end": ("sh", SUM["sh"] + "}\ntrap 'echo over' EXIT\nIFS=,\nIFS=' '\nu() {\n:\n"),
    "many words": ("sh", "    head -c 1000000 /dev/zero >&2\n" + SUM["sh"]),
    "a hook for panics": ("rs", "    std::panic::set_hook(Box::new(|_| std::process::exit(1)));\n" + SUM["rs"]),
    "an output of its own": ("rb", "  $stdout = StringIO.new\n  puts 'x' * (1 << 20)\n" + SUM["rb"] + "\nrequire 'stringio'\n"),
    "an exit of its own": ("rb", SUM["rb"] + "\nat_exit { puts 'over' }\n"),
    "a log": ("go", '\tfmt.Println(len(numbers))\n\tfmt.Printf("%v\\n", numbers)\n' + SUM["go"]),
    "another output": ("lua", "  io.output(io.tmpfile())\n  io.write(('x'):rep(1 << 20))\n" + SUM["lua"]),
    "messages": ("r", "\n  message('here')\n  options(digits = 3, warn = 2)\n" + SUM["r"]),
    "a diversion": ("r", "\n  sink(tempfile())\n  print(numbers)\n" + SUM["r"]),
}


@pytest.mark.parametrize("kind", HONEST)
def test_a_right_program_with_odd_habits_passes(kind, isolation):
    name, body = HONEST[kind]
    needs(name)
    program = preflight_programs(name)[0]
    prompt = program.program[: program.program.index(program_body(name))]
    verdict = judge_program(prompt + body, program.tests, isolation)
    assert verdict.status == "passed", verdict


@pytest.mark.parametrize("body", [body for name, body in HONEST.values() if name == "js"])
def test_what_javascript_prints_does_not_depend_on_who_reads_it(body, isolation, monkeypatch):
    """A reader that comes for a little now and then: the pipe is full for nearly all of the run."""
    needs("js")

    class SlowReader:
        def __getattr__(self, name):
            return getattr(os, name)

        def read(self, fd, size):
            time.sleep(0.01)
            return os.read(fd, size)

    monkeypatch.setattr(process, "os", SlowReader())
    program = preflight_programs("js")[0]
    prompt = program.program[: program.program.index(program_body("js"))]
    assert judge_program(prompt + body, program.tests, isolation).status == "passed"


def program_body(name):
    """The right body of a language's first task."""
    return tomllib.loads(preflight.text_of(name))["tasks"][0]["right"]


@pytest.mark.parametrize(
    ("kind", "status", "last"),
    [("right", "passed", True), ("wrong", "failed", True), ("compile_error", "compile_error", True), ("timeout", "timeout", False)],
)
def test_right_expectations_alone_are_seen_in_the_last_run_or_never(kind, status, last, isolation, monkeypatch):
    """Notes between runs would tell a program what to answer in a challenge."""
    order = []
    for name in ("execute", "execute_recording"):
        run = getattr(execution, name)
        monkeypatch.setattr(multipl_e, name, lambda *args, run=run, name=name, **kwargs: order.append(name) or run(*args, **kwargs))
    program = next(program for program in preflight_programs("sh") if program.kind == kind)
    verdict = judge_program(program.program, program.tests, isolation, run_s=1.0)
    assert (verdict.status, verdict.hit_time_limit) == (status, status == "timeout")
    assert order[0] == "execute_recording"
    assert [number for number, name in enumerate(order) if name == "execute"] == ([len(order) - 1] if last else [])


def test_a_program_that_fails_its_challenge_is_not_judged_again_for_its_time(isolation):
    """Its run has shown it what is right."""
    program = preflight_programs("sh")[0]
    prompt = program.program[: program.program.index(program_body("sh"))]
    waits = '    [ -n "$REFLECTIONCODER_OUTCOMES" ] || sleep 30\n    echo 1234\n'
    verdict = judge_program(prompt + waits, program.tests, isolation, run_s=1.0)
    assert (verdict.status, verdict.hit_time_limit) == ("timeout", False)


def test_an_object_that_is_equal_to_anything_does_not_pass(isolation):
    needs("cpp")
    tests = LanguageTests(
        "cpp", "}\nint main() {\n    auto candidate = f;\n    assert(candidate(1) == 2);\n    assert(candidate(2) == 3);\n}\n", ()
    )
    honest = "#include <bits/stdc++.h>\n#include <cassert>\nint f(int n) {\n    return n + 1;"
    equal = honest.replace(
        "int f(int n) {\n    return n + 1;", "struct Any { bool operator==(int) const { return true; } };\nAny f(int) {\n    return {};"
    )
    assert judge_program(honest, tests, isolation).status == "passed"
    assert (judge_program(equal, tests, isolation).reason, judge_program(equal, tests, isolation).harness_status) == ("unchecked", "OK")


ASSERTIONS = {  # one of each assertion's own words
    "java": r"\bassert\(",
    "scala": r"\bassert\(",
    "cs": r"Debug\.Assert\(",
    "d": r"\bassert\(",
    "swift": r"^assert\(",
    "pl": r"candidate->\(",
    "php": r"if \(candidate\(",
    "rb": r"candidate\.call",
    "sh": r"\$\(candidate ",
    "py": r"^ *assert (?!True)",
    "rkt": r"\(candidate\b",
}


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name.startswith("multipl-e/")])
def test_every_assertion_of_every_task_can_be_made_wrong(name, data_dir):
    tasks = load_benchmark(name).tasks
    assert len(tasks) == FILES[name.partition("/")[2]][2]
    for task in tasks:
        language, text = task.tests.language, task.tests.tests
        assertions = assertions_of(text, LANGUAGES[language])
        assert len(assertions) == len(re.findall(ASSERTIONS.get(language, r"\bcandidate\b[^=\n]*\("), text, re.MULTILINE)), task.task_id
        for row, own in enumerate(assertions):
            wrong = wrong_shape(row, assertions, Random(row))
            assert own.in_loop or surely_differ(own.shape, wrong), (task.task_id, wrong)
            assert own.condition() in text


@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FRAMES)
def test_a_program_that_knows_all_answers_stands_the_challenge(name, every, data_dir, isolation):
    """Right programs for nearly all tasks of all languages, whatever is drawn: a false alarm would show here."""
    needs(name)
    some = load_benchmark(f"multipl-e/{name}").tasks[:: 4 * every if name == "scala" else every]
    programs = {task.task_id: (task, program_by_heart(task, name)) for task in some}
    verdicts = {task_id: judge_program(program, task.tests, isolation) for task_id, (task, program) in programs.items() if program}
    assert len(verdicts) >= 0.8 * len(programs)
    broken = {task for task, language in BROKEN_TASKS.items() if language == name}
    assert {task: verdict for task, verdict in verdicts.items() if verdict.status != "passed" and task not in broken} == {}


def test_guessing_passes_in_one_of_a_thousand_cases_at_most():
    """As many rows as there are assertions, held or not at random; and always the same, which never passes."""
    random, passed = Random(0), []
    for number in (1, 2, 3, 4, 5, 9):
        rows = "".join(f"    assert f({n}) == {n}\n" for n in range(number))
        tests = f"def check(f):\n{rows}\ncheck(f)"
        for _ in range(300):
            drawn = list(challenges("def f(n): return n", tests, PYTHON, random))
            assert len(drawn) == 2 * num_pairs(number)
            passed.append(not any(c.missed_by("".join(f"{n} {random.randrange(2)}\n" for n in range(number))) for c in drawn))
            for held in "01":
                assert any(c.missed_by("".join(f"{n} {held}\n" for n in range(number))) for c in drawn)
    assert sum(passed) <= 0.004 * len(passed)


def test_outcomes_are_those_that_were_drawn_and_no_others():
    tests = "def check(f):\n    assert f(1) == 1\n    assert f(2) == 2\n\ncheck(f)"
    challenge = next(challenges("", tests, PYTHON, Random(3)))
    right = [f"{row} {held:d}" for row, held in enumerate(challenge.drawn)]
    turned = [f"{row} {not held:d}" for row, held in enumerate(challenge.drawn)]
    for lines, missed in [
        (right, None),
        (right * 2, None),
        (right[:1], "early exit"),
        ([], "early exit"),
        (turned, "unchecked"),
        ([*right, turned[1]], "unchecked"),
        ([*right, "2 1"], "unchecked"),
        ([*right, "x"], "unchecked"),
    ]:
        assert challenge.missed_by("\n".join(lines)) == missed, lines


@pytest.mark.slow
@pytest.mark.parametrize("every", [20, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STUBS)
def test_a_program_that_raises_is_told_from_one_that_does_not_compile(name, every, data_dir, isolation):
    needs(name)
    some = load_benchmark(f"multipl-e/{name}").tasks[:: 4 * every if name == "scala" else every]
    verdicts = {task.task_id: judge_program(task.prompt + STUBS[name], task.tests, isolation) for task in some}
    assert {
        task: verdict.detail for task, verdict in verdicts.items() if verdict.reason != "exception" and BROKEN_TASKS.get(task) != name
    } == {}


@pytest.mark.slow
def test_the_canonical_solutions_pass(data_dir, isolation):
    """HumanEval's own solutions, in the language that they are written in."""
    right = {task.task_id.partition("/")[2]: task.tests.canonical_solution for task in load_benchmark("humaneval").tasks}
    tasks = {task.task_id.partition("/")[2]: task.tests for task in load_benchmark("multipl-e/py").tasks}
    verdicts = {number: judge_program(right[number], tests, isolation) for number, tests in tasks.items()}
    assert {task: verdict.reason for task, verdict in verdicts.items() if verdict.status != "passed"} == {}


def test_builds_are_kept_by_content_and_removed_when_they_are_many(isolation, tmp_path, monkeypatch):
    needs("cpp")
    monkeypatch.setattr(execution, "cache_dir", lambda: tmp_path)
    plain = replace(LANGUAGES["cpp"].toolchain, build=("g++", "main.cpp", "-o", "main"), warm="")
    program = '#include <cstdio>\nint main() { puts("%s"); }'
    first, again, other = (execute(plain, program % word, isolation) for word in ("x", "x", "y"))
    assert [done.built is None for done in (first, again, other)] == [False, True, False]
    assert [done.ran.stdout for done in (first, again, other)] == ["x\n", "x\n", "y\n"]
    kept = sorted((tmp_path / "builds").glob("*/*.tar"), key=lambda path: path.stat().st_mtime)
    trim_builds(kept[1].stat().st_size)
    assert [path.exists() for path in kept] == [False, True]


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
    benchmark = load_benchmark("multipl-e/cpp")
    task, request = benchmark.tasks[0], benchmark.requests(1)[0]
    assert request.instruction.startswith("Write a complete C++ function for the problem.\n```cpp\n")
    assert request.prefill == f"```cpp\n{task.prompt}"
    row = completion_row(request, RawCompletion("    return 1;\n}\nint x;\n```", "stop", 9))
    assert row["solution"] == f"{task.prompt}    return 1;"


@pytest.mark.slow
def test_score_takes_completions_and_whole_programs(data_dir, tmp_path, capsys):
    needs("sh")
    task = next(task for task in load_benchmark("multipl-e/sh").tasks if task.task_id == TASK)
    rows = [{"task_id": TASK, "completion": RIGHT_SH + "}\nrm x"}, {"task_id": TASK, "solution": task.prompt + WRONG_SH}]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--partial", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    judged = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [row["status"] for row in judged] == ["passed", "failed"]
    assert [row["reason"] for row in judged] == ["", "wrong answer"]


def test_the_authors_rule_can_be_chosen(data_dir, tmp_path):
    """A second function: the first stop token cuts in front of it, the last one behind it."""
    needs("sh")
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": RIGHT_SH + "}\nstrlen() {\n    echo 7\n}\n"}) + "\n")
    statuses = []
    for cut in ("multipl-e", "reflectioncoder"):
        out = tmp_path / cut
        command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--partial", "--cut", cut, "--output", str(out)]
        assert main(command) == 0
        statuses += [json.loads(line)["status"] for line in (out / "samples.jsonl").read_text().splitlines()]
    solutions = [json.loads((tmp_path / cut / "samples.jsonl").read_text())["solution"] for cut in ("multipl-e", "reflectioncoder")]
    assert [solution.count("echo") for solution in solutions] == [1, 2]
    assert statuses == ["passed", "failed"]


def test_a_language_that_is_judged_wrongly_is_skipped_before_anything_is_generated(data_dir, tmp_path, monkeypatch, capsys):
    needs("sh")
    monkeypatch.setenv("REFLECTIONCODER_CACHE", str(tmp_path / "cache"))
    run_instead(monkeypatch, "bash", "-n", "main.sh")
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": RIGHT_SH}) + "\n")
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", "multipl-e/sh", "--output", str(tmp_path / "out")]
    assert main(command) == 3
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["status"], results["metrics"]) == ("skipped", [])
    assert "positive_sum, right: expected passed, got early exit" in results["reason"]


def test_a_language_without_its_toolchain_is_skipped_and_counted(data_dir, tmp_path, capsys):
    name = next(name for name in LANGUAGES if LANGUAGES[name].toolchain.missing() and f"multipl-e/{name}" in BENCHMARKS)
    (tmp_path / "s.jsonl").write_text(json.dumps({"task_id": TASK, "completion": "x"}) + "\n")
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", f"multipl-e/{name}", "--output", str(tmp_path / "out")]
    assert main(command) == 3
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["status"] == "skipped"
    assert results["counts"] == {"skipped": FILES[name].num_tasks}
    assert results["metrics"] == []
    assert LANGUAGES[name].toolchain.install in capsys.readouterr().out
