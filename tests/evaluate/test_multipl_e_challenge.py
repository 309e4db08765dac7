"""A program that passes is challenged by tests of which some are wrong: cheats fail it, and right programs stand it."""

import os
import re
import time
import tomllib
from random import Random

import pytest

from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.multipl_e import preflight
from reflectioncoder.evaluate.judges.multipl_e import programs as multipl_e
from reflectioncoder.evaluate.judges.multipl_e.assertions import assertions_of, surely_differ, wrong_shape
from reflectioncoder.evaluate.judges.multipl_e.challenge import challenges, num_pairs
from reflectioncoder.evaluate.judges.multipl_e.preflight import preflight_programs
from reflectioncoder.evaluate.judges.multipl_e.programs import FILES, LanguageTests, judge_program
from reflectioncoder.languages import LANGUAGES, PYTHON
from reflectioncoder.sandbox import execution, process
from tests.evaluate.known_answers import FRAMES, program_by_heart
from tests.evaluate.multipl_e_tasks import BROKEN_TASKS, needs

pytestmark = pytest.mark.timeout(1200)  # of compilers that take 20 s a program on a busy machine


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


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
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
