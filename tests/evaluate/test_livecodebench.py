"""livecodebench: scripts and methods are judged as by the official rule; their tests are unpacked without unpickling."""

import base64
import hashlib
import json
import pickle
import zlib
from dataclasses import replace

import pytest

from benchmarks.answer_benchmarks import mutants, official_live
from reflectioncoder.cli import main
from reflectioncoder.data.answer_forms import read_script
from reflectioncoder.data.prompts import OPENING_FENCE
from reflectioncoder.errors import MachineError
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.dates import DateWindow
from reflectioncoder.evaluate.judges import live
from reflectioncoder.evaluate.judges.base import ALONE, Conditions
from reflectioncoder.evaluate.judges.live import LiveJudge, live_tasks, request_for, same_output
from reflectioncoder.evaluate.user_files import BrokenTestsError, LiveCodeBenchFiles, unpack_cases
from reflectioncoder.sandbox.limits import Limits
from tests.evaluate.live_problems import LARGEST, LARGEST_PROGRAM, MEAN, MEAN_PROGRAM, packed, problem, write


def verdict(row, program, isolation, tmp_path):
    write(tmp_path / "livecodebench", [row])
    file = LiveCodeBenchFiles()
    (task,) = live_tasks(file.read(tmp_path / "livecodebench"), "here")
    return LiveJudge().under(Conditions(isolation, Limits(), "strict"))(task, program, ALONE)


def officially(row, program, isolation, wall_s=6.0):
    cases = [(c["input"], c["output"]) for name in ("public", "private") for c in unpack_cases(row[f"{name}_test_cases"])]
    return official_live(cases, json.loads(row["metadata"]).get("func_name", ""), program, isolation, wall_s)


def method(body):
    return f"class Solution:\n    def largest(self, values, k):\n        {body}\n"


@pytest.mark.parametrize(("row", "program"), [(MEAN, MEAN_PROGRAM), (LARGEST, LARGEST_PROGRAM)], ids=["script", "method"])
def test_a_right_program_passes_and_its_mutants_as_officially(row, program, isolation, tmp_path):
    assert verdict(row, program, isolation, tmp_path).status == "passed"
    assert officially(row, program, isolation)
    for kind, code in mutants(program):
        assert (verdict(row, code, isolation, tmp_path).status == "passed") == officially(row, code, isolation), kind


SAME_VERDICTS = [
    (MEAN, MEAN_PROGRAM.replace("sum(values) / n", "f'  {sum(values) / n:.4f} '") + "print()\n", "passed"),
    (MEAN, MEAN_PROGRAM + "exit(3)\n", "passed"),
    (MEAN, MEAN_PROGRAM.replace("int(input())", "int(sys.stdin.readline())"), "passed"),
    (
        MEAN,
        f"def main():\n{MEAN_PROGRAM.replace(chr(10), chr(10) + '    ').join(('    ', ''))}\nif __name__ == '__main__':\n    main()\n",
        "passed",
    ),
    (MEAN, MEAN_PROGRAM + "print('more')\n", "failed"),
    (MEAN, MEAN_PROGRAM.replace("'sum'", "'SUM'"), "failed"),
    (MEAN, MEAN_PROGRAM.replace("sum(values) / n", "sum(values) / n + 1e-9"), "failed"),
    (MEAN, MEAN_PROGRAM + "1 / 0\n", "failed"),
    (MEAN, "", "failed"),
    (MEAN, "print(1.5)\nprint('sum 3')\n", "failed"),
    (MEAN, "n = = 1\n", "compile_error"),
    (LARGEST, method("return tuple(nlargest(k, values))"), "passed"),
    (LARGEST, method("print(values); return nlargest(k, values)"), "passed"),
    (LARGEST, "def largest(values, k):\n    return nlargest(k, values)\n", "passed"),
    (LARGEST, method("return [float(x) for x in nlargest(k, values)]"), "passed"),
    (LARGEST, method("return nlargest(k, values)[::-1]"), "failed"),
    (LARGEST, method("return deque(nlargest(k, values))"), "failed"),
    (LARGEST, method("raise ValueError"), "failed"),
    (LARGEST, method("return nlargest(k, values)").replace("largest(self", "smallest(self"), "failed"),
    (LARGEST, "class Solution\n", "compile_error"),
]


@pytest.mark.parametrize(("row", "program", "expected"), SAME_VERDICTS)
def test_verdicts_are_those_of_the_official_rule(row, program, expected, isolation, tmp_path):
    assert verdict(row, program, isolation, tmp_path).status == expected
    assert officially(row, program, isolation) == (expected == "passed")


@pytest.mark.parametrize(("row", "program"), [(MEAN, "while True: pass"), (LARGEST, method("while True: pass"))])
def test_an_endless_program_is_a_time_out(row, program, isolation, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MAX_TEST_S", 0.5)
    monkeypatch.setattr(live, "LIMITS", Limits(wall_s=0.5))
    found = verdict(row, program, isolation, tmp_path)
    assert (found.status, found.hit_time_limit) == ("timeout", True)
    assert not officially(row, program, isolation, 0.3)


@pytest.mark.parametrize(
    ("row", "program", "expected"),
    [
        (MEAN, "import os\nos.abort()", "crashed"),
        (MEAN, "x = bytearray(10 ** 12)", "memory"),
        (MEAN, MEAN_PROGRAM + "print('x' * 10 ** 8)", "failed"),
        (LARGEST, method("import os; os.abort()"), "crashed"),
        (LARGEST, method("return [0] * 10 ** 12"), "memory"),
    ],
)
def test_crashes_and_floods_have_their_verdicts(row, program, expected, isolation, tmp_path):
    assert verdict(row, program, isolation, tmp_path).status == expected


FORGERIES = [
    (LARGEST, method("return type('', (), {'__eq__': lambda a, b: True})()")),
    (LARGEST, "import os\nos._exit(0)\n"),
    (LARGEST, method("raise SystemExit(0)")),
    (LARGEST, "import os\nos.write(4, b'L\\0\\0\\0\\0' + b'V\\0\\0\\0\\0' * 9)\nos._exit(0)\n"),
    (MEAN, "import os\nos._exit(0)\n"),
    (MEAN, "import sys\nsys.stdout = sys.__stdout__ = None\nraise SystemExit(0)\n"),
    (MEAN, "for line in open('main.py'):\n    print(line)\n"),
    (MEAN, "import glob\nfor name in glob.glob('**', recursive=True) + ['/proc/self/environ']:\n    print(open(name).read())\n"),
]


@pytest.mark.parametrize(("row", "program"), FORGERIES)
def test_a_forgery_does_not_pass(row, program, isolation, tmp_path):
    assert verdict(row, program, isolation, tmp_path).status in ("failed", "crashed")


LOOKING = """
import gc, os, sys
subject = "a word of the program"
seen = repr(gc.get_objects()) + repr(sys._getframe().f_globals) + "".join(open(name).read() for name in os.listdir())
answer = "".join(reversed("546372819")) if "".join(reversed(WANTED)) in seen else "0"
class Solution:
    find = lambda self, x: int(answer)
"""


@pytest.mark.parametrize("kind", ["script", "method"])
def test_the_programs_process_holds_no_expected_value(kind, isolation, tmp_path):
    row = problem("secret", [("[20250104]", "918273645")], [], "find" if kind == "method" else "")
    program = LOOKING + ("" if kind == "method" else "print(answer)\n")
    hidden, own = program.replace("WANTED", "'546372819'"), program.replace("WANTED", "'margorp eht fo drow a'")
    assert verdict(row, hidden, isolation, tmp_path).status == "failed"
    assert verdict(row, own, isolation, tmp_path).status == "passed"


OUTPUTS = [
    ("1\n2\n", "1\n2", True),
    ("\n 1 \n2", "1\n2", True),
    ("1.50 2", "1.5  2.0", True),
    ("1e3", "1000", True),
    ("50000000000000001", "50000000000000000", False),
    ("0.1", "0.10000001", False),
    ("1\n\n2", "1\n2", False),
    ("1 2", "1\n2", False),
    ("YES", "Yes", False),
    ("1 a", "1.0 a", False),
    ("nan", "NaN", False),
    ("", "\n", True),
    ("1 ", "1 2", False),
]


@pytest.mark.parametrize(("printed", "expected", "same"), OUTPUTS)
def test_outputs_are_compared_line_by_line(printed, expected, same):
    assert same_output(printed, expected) is same


CASES = [{"input": "1", "output": "2", "testtype": "stdin"}]


@pytest.mark.parametrize("form", [CASES, json.dumps(CASES), packed(CASES)], ids=["list", "JSON", "packed"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_tests_are_unpacked(form, protocol):
    assert unpack_cases(form) == CASES
    pickled = pickle.dumps(json.dumps(CASES), protocol)
    assert unpack_cases(base64.b64encode(zlib.compress(pickled)).decode()) == CASES


class Harm:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def packing(content):
    return base64.b64encode(zlib.compress(content)).decode()


BROKEN = [
    packing(pickle.dumps(Harm())),
    packing(pickle.dumps(["[]"])),
    packing(pickle.dumps(("[]", "[]"))),
    packing(pickle.dumps(b"[]")),
    packing(b"cos\nsystem\n(S'true'\ntR."),
    packing(b"\x80\x04\x8c\x02[]r\xff\xff\xff\xff"),
    packing(b""),
    packing(pickle.dumps("no JSON")),
    packing(pickle.dumps('{"input": 1}')),
    base64.b64encode(zlib.compress(pickle.dumps("[]"))[:-3]).decode(),
    base64.b64encode(b"not compressed").decode(),
    "neither",
    "3",
    7,
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_packed_text_is_refused_and_never_run(text):
    with pytest.raises(BrokenTestsError):
        unpack_cases(text)


def test_files_are_found_by_name_and_read_together(tmp_path):
    file = LiveCodeBenchFiles()
    write(tmp_path / "other", [{"question": "grade school"}])
    write(tmp_path, [{"question": "grade school"}])
    assert file.find(str(tmp_path)) is None
    write(tmp_path, [MEAN], "test6.jsonl")
    assert file.find(str(tmp_path)) == tmp_path
    write(tmp_path / "deep" / "livecodebench", [MEAN], "a.jsonl")
    write(tmp_path / "deep" / "livecodebench", [LARGEST, MEAN], "b.jsonl")
    folder = file.obtain(str(tmp_path))
    assert folder == tmp_path / "deep" / "livecodebench"
    rows = file.read(folder)
    assert [row["question_id"] for row in rows] == ["mean", "largest"]
    assert [len(row["tests"].load()) for row in rows] == [3, 3]
    assert not any("private_test_cases" in row for row in rows)


def test_files_that_are_missing_damaged_or_changed_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("REFLECTIONCODER_DATA", raising=False)
    file = BENCHMARKS["livecodebench"].file
    with pytest.raises(MachineError, match="code_generation_lite into a folder livecodebench"):
        file.obtain(str(tmp_path))
    path = write(tmp_path / "livecodebench", [MEAN, {"private_test_cases": "[]"}])
    with pytest.raises(MachineError, match=r"test.jsonl:2: .* question_id"):
        file.read(path.parent)
    write(path.parent, [problem("broken", [], packing(pickle.dumps(Harm())))])
    with pytest.raises(MachineError, match=r"test.jsonl:1: the tests of broken cannot be read"):
        file.read(path.parent)
    write(path.parent, [MEAN, problem("broken", [("1", "1")], packing(pickle.dumps(Harm())))])
    row = file.read(path.parent)[1]
    with pytest.raises(MachineError, match=r"test.jsonl:2: the tests of broken cannot be read"):
        row["tests"].load()
    write(path.parent, [MEAN])
    with pytest.raises(MachineError, match="has changed"):
        row["tests"].load()


ROWS_THAT_ARE_NONE = [
    ({"public_test_cases": "[]", "private_test_cases": "[]"}, "mean has no tests"),
    ({"public_test_cases": [], "private_test_cases": packed([])}, "mean has no tests"),
    ({"public_test_cases": json.dumps([{"input": 5, "output": "1"}])}, "the tests of mean cannot be read"),
    ({"public_test_cases": json.dumps([{"input": "5", "output": 1}])}, "the tests of mean cannot be read"),
    ({"public_test_cases": json.dumps([["5", "1"]])}, "the tests of mean cannot be read"),
    ({"question_id": ["mean"]}, "question_id is text"),
    ({"question_id": ""}, "question_id is text"),
    ({"question_content": None}, "question_content is text"),
    ({"starter_code": 5}, "starter_code is text"),
    ({"difficulty": ["easy"]}, "difficulty is text"),
    ({"metadata": '{"func_name": 5}'}, "the func_name of mean is no name: 5"),
    ({"metadata": "[1]"}, "the metadata of mean is no JSON object"),
    ({"metadata": "[" * 100_000}, "the metadata of mean is no JSON"),
    ({"contest_date": None}, "contest_date is text"),
    ({"contest_date": 5}, "contest_date is text"),
    ({"contest_date": "soon"}, "contest_date begins with a day"),
    ({"contest_date": "2025-02-30"}, "contest_date begins with a day"),
]


@pytest.mark.parametrize(("fields", "said"), ROWS_THAT_ARE_NONE)
@pytest.mark.parametrize("row", [MEAN, LARGEST], ids=["script", "method"])
def test_a_row_without_tests_or_with_fields_of_other_kinds_is_refused_by_its_place(row, fields, said, tmp_path):
    write(tmp_path / "livecodebench", [problem("first", [("1", "1")], "[]"), {**row, "question_id": "mean", **fields}])
    with pytest.raises(MachineError, match=said) as refused:
        load_benchmark("livecodebench", str(tmp_path))
    assert "test.jsonl:2: " in str(refused.value)


def test_nesting_without_end_is_refused_by_its_place(isolation, tmp_path):
    folder = write(tmp_path / "livecodebench", [MEAN]).parent
    (folder / "test.jsonl").write_text(json.dumps(MEAN) + '\n{"question_id": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    with pytest.raises(MachineError, match=r"test.jsonl:2: nested too deeply"):
        load_benchmark("livecodebench", str(tmp_path))
    row = problem("deep", [("[" * 300 + "]" * 300, "1")], "[]", "largest")
    with pytest.raises(MachineError, match=r"the tests of largest are no values: .*test.jsonl:1: nested too deeply"):
        verdict(row, LARGEST_PROGRAM, isolation, tmp_path)


def test_private_tests_that_turn_out_to_be_none_are_no_verdict(tmp_path):
    (tests,) = (row["tests"] for row in LiveCodeBenchFiles().read(write(tmp_path / "livecodebench", [MEAN]).parent))
    path = write(tmp_path / "livecodebench", [problem("mean", [], "[]")])
    changed = replace(tests, length=path.stat().st_size, digest=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(MachineError, match=r"test.jsonl:1: mean has no tests"):
        changed.load()


def test_the_benchmark_has_windows_parts_and_errata(tmp_path):
    early = problem("abc311_c", [("1", "1")], "[]", contest_date="2023-07-22T00:00:00")
    titled = problem("2942", [("1", "1")], "[]", question_title="Find Words Containing Character", contest_date="2023-11-25T00:00:00")
    write(tmp_path / "livecodebench", [MEAN, LARGEST, early, titled])
    whole = load_benchmark("livecodebench", str(tmp_path))
    assert [task.task_id.partition("/")[2] for task in whole.tasks] == ["abc311_c", "2942", "largest", "mean"]
    assert whole.describe()["dates"] == {"from": "2023-07-22", "to": "2025-01-04"}
    assert whole.sha256
    rows = [{"task_id": task.task_id, **({"erratum": task.tests.erratum} if task.tests.erratum else {})} for task in whole.tasks]
    sizes = {name: len(counted) for name, counted in whole.judge.subsets(whole.tasks, rows)}
    assert sizes == {None: 4, "easy": 3, "hard": 1, "without errata": 2}
    assert set(whole.judge.further_counts(rows)["errata"]) == {"livecodebench/abc311_c", "livecodebench/2942"}
    late = load_benchmark("livecodebench:1", str(tmp_path), DateWindow("2024-01-01"))
    assert [task.task_id for task in late.tasks] == ["livecodebench/largest"]
    assert late.sha256 == whole.sha256
    assert live_tasks([], "here") == []


def test_score_judges_both_kinds_and_names_the_errata(tmp_path, capsys):
    known = problem("abc350_c", [("1", "1")], [("2", "2")])
    write(tmp_path / "data" / "livecodebench", [MEAN, LARGEST, known])
    programs = {"mean": MEAN_PROGRAM, "largest": LARGEST_PROGRAM, "abc350_c": "print(1)"}
    samples = tmp_path / "samples.jsonl"
    answers = [{"task_id": f"livecodebench/{name}", "solution": f"So:\n```python\n{code}\n```"} for name, code in programs.items()]
    samples.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
    arguments = ["score", str(samples), "--benchmark", "livecodebench", "--output", str(tmp_path / "out"), "--extract"]
    assert main([*arguments, "--data-dir", str(tmp_path / "data")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rates = {m["subset"]: round(m["value"], 2) for m in results["metrics"] if m["name"] == "pass@1"}
    assert rates == {None: 0.67, "easy": 0.5, "hard": 1.0, "without errata": 1.0}
    assert results["errata"] == {"livecodebench/abc350_c": "wrong tests"}
    assert "livecodebench: 3 tasks dated 2025-01-04 to 2025-01-04" in capsys.readouterr().out
    assert results["benchmark"]["dates"] == {"from": "2025-01-04", "to": "2025-01-04"}


def test_requests_show_the_problem_and_say_how_to_answer(tmp_path):
    write(tmp_path / "livecodebench", [MEAN, LARGEST])
    largest, mean = (request_for(task, 0) for task in load_benchmark("livecodebench", str(tmp_path)).tasks)
    assert (mean.form, mean.entry_point) == ("script", "")
    assert "standard input" in mean.instruction
    assert (largest.form, largest.entry_point) == ("definition", "Solution")
    assert LARGEST["starter_code"].strip() in largest.instruction


ANSWERS = [
    ("n = input()\nprint(n)\n```\nDone.", OPENING_FENCE, "fenced", "n = input()\nprint(n)"),
    ("print(1)", OPENING_FENCE, "open_fence", "print(1)"),
    ("First\n```python\nprint(1)\n```\nbetter\n```python\nprint(2)\n```\nIt prints\n```\n2\n```", "", "fenced", "print(2)"),
    ("```\nprint(1)\n```", "", "fenced", "print(1)"),
    ("print(1)\n", "", "bare", "print(1)"),
    ("```python\nprint(1\n```", "", "invalid", "print(1"),
    ("Nothing comes to mind!", "", "no_code", ""),
    ("<think>\n```python\nprint(1)\n```", "", "unfinished_thought", ""),
    ("", "", "empty", ""),
]


@pytest.mark.parametrize(("text", "prefill", "reason", "expected"), ANSWERS)
def test_a_script_is_read_from_an_answer(text, prefill, reason, expected):
    read = read_script(text, prefill)
    assert (read.reason, read.solution.strip()) == (reason, expected)
