"""HumanEvalPack: references pass, bugs fail, mutants are judged as the harness judges them, forgeries do not pass."""

import json
import re
from random import Random

import pytest

from reflectioncoder.cli import main
from reflectioncoder.contamination.records import record_training_data, refuse_contaminated
from reflectioncoder.data.answers import read_answer
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.samples import Block, Sample, assistant, user
from reflectioncoder.errors import CheckFailedError
from reflectioncoder.evaluate.benchmarks import BENCHMARKS, load_benchmark
from reflectioncoder.evaluate.judges.humanevalpack.assertions import assertions_of, wrong_condition
from reflectioncoder.evaluate.judges.humanevalpack.benchmark import joined_head
from reflectioncoder.evaluate.judges.humanevalpack.data import FILES, NUM_TASKS
from reflectioncoder.evaluate.judges.humanevalpack.forms import FORMS, cut
from reflectioncoder.generate.base import RawCompletion, completion_row
from tests.evaluate.multipl_e_tasks import needs
from tests.evaluate.pack_harness import mutants, passes_harness, verdicts
from tests.tiers import part

pytestmark = pytest.mark.timeout(3000)  # of compilers that take 20 s a program on a busy machine
VARIANTS = ("humanevalfix", "humanevalfix-docs", "humanevalsynthesize")
OTHERS = {"js": "js", "java": "java", "cpp": "cpp", "go": "go", "rust": "rs"}
LACKING = {  # tasks whose reference needs what the toolchain does not bring
    "js": {"JavaScript/162"},
    "cpp": set(),
    "java": set(),
    "go": set(),
    "rust": {"Rust/32", "Rust/38", "Rust/50", "Rust/53", "Rust/91", "Rust/162"},
}

HOLLOW = {"CPP/23"}  # its tests call the C library's function of that name


@pytest.fixture(scope="module", autouse=True)
def _data(data_dir):
    return data_dir


def rows_of(name):
    file = BENCHMARKS[f"humanevalfix/{name}"].file
    return file.read(file.obtain())


def buggy(name):
    benchmark = load_benchmark(f"humanevalfix/{name}")
    return benchmark, [(t, t.prompt + row["buggy_solution"]) for t, row in zip(benchmark.tasks, rows_of(name), strict=True)]


def failed(pairs, judged):
    return {task.task_id for (task, _), verdict in zip(pairs, judged, strict=True) if verdict.status != "passed"}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FILES)
def test_each_file_holds_the_tasks_and_each_task_a_request(variant, name):
    benchmark = load_benchmark(f"{variant}/{name}")
    assert len(benchmark.tasks) == NUM_TASKS
    for task, request, row in zip(benchmark.tasks, benchmark.requests(1), rows_of(name), strict=True):
        fixes = variant != "humanevalsynthesize"
        assert (row["buggy_solution"].strip() in request.instruction) == fixes or row["canonical_solution"] == row["buggy_solution"]
        assert request.instruction.endswith(f"Fix bugs in {row['entry_point']}.") == fixes
        assert (row["test"].strip() in request.instruction) == (variant == "humanevalfix")
        assert task.part == (row["bug_type"] if fixes else "")
        assert request.begins_with_prompt == (name != "python")


def test_an_answer_in_python_is_the_whole_function():
    benchmark = load_benchmark("humanevalfix/python")
    for task, request in zip(benchmark.tasks, benchmark.requests(1), strict=True):
        read = read_answer(task.canonical_solution.strip("\n") + "\n```", request.entry_point, prefill=request.prefill)
        assert read.solution.strip() == task.canonical_solution.strip()


@pytest.mark.parametrize("name", OTHERS)
def test_an_answer_in_another_language_continues_the_declaration(name):
    benchmark = load_benchmark(f"humanevalfix/{name}")
    for task, request, row in list(zip(benchmark.tasks, benchmark.requests(1), rows_of(name), strict=True))[::10]:
        rest = row["canonical_solution"].rstrip()
        answered = completion_row(request, RawCompletion(f"{rest}\n```\nIt was wrong.", "stop", 9))
        assert answered["solution"] == task.prompt + rest


@pytest.mark.long
def test_python_references_pass_and_bugs_fail():
    benchmark, wrong = buggy("python")
    right = [(task, task.canonical_solution) for task in part(benchmark.tasks, 3)]
    assert failed(right, verdicts(benchmark, right)) == set()
    judged = verdicts(benchmark, part(wrong, 3))
    assert {verdict.status for verdict in judged} == {"failed", "timeout"}


STEPS = {"js": 8, "java": 80, "cpp": 40, "go": 40, "rust": 40}


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERS)
def test_some_references_pass_and_their_bugs_fail(name):
    _references_pass_and_bugs_fail(name, STEPS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_all_references_pass_and_all_bugs_fail(name):
    _references_pass_and_bugs_fail(name, 1)


def _references_pass_and_bugs_fail(name, step):
    needs(OTHERS[name])
    benchmark, wrong = buggy(name)
    right = [(task, task.canonical_solution) for task in benchmark.tasks][1::step]
    assert failed(right, verdicts(benchmark, right)) <= LACKING[name]
    wrong = wrong[1::step]
    assert failed(wrong, verdicts(benchmark, wrong)) == {task.task_id for task, _ in wrong} - HOLLOW


@pytest.mark.long
@pytest.mark.parametrize("name", ["python", "js"])
def test_some_mutants_are_judged_as_the_harness_judges_them(name, tmp_path):
    _mutants_are_judged_alike(name, tmp_path, 24)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python", "js"])
def test_all_mutants_are_judged_as_the_harness_judges_them(name, tmp_path):
    _mutants_are_judged_alike(name, tmp_path, 1)


def _mutants_are_judged_alike(name, folder, step):
    if name == "js":
        needs("js")
        pytest.importorskip("tree_sitter_javascript", reason="the extra javascript is not installed")
    benchmark = load_benchmark(f"humanevalfix/{name}")
    pairs = [(task, program) for task in benchmark.tasks[::step] for program in mutants(task)]
    ours = [verdict.status == "passed" for verdict in verdicts(benchmark, pairs)]
    theirs = [passes_harness(task, program, folder) for task, program in pairs]
    assert len(pairs) > 4 * len(benchmark.tasks[::step])
    assert [(t.task_id, p) for (t, p), a, b in zip(pairs, ours, theirs, strict=True) if a != b] == []


def first_of(name):
    return load_benchmark(f"humanevalfix/{name}:1").tasks[0]


FORGED = {
    "js, ends early": ("js", "  process.exit(0);\n}"),
    "js, silent assertions": ("js", "  console.assert = () => {};\n  return 0;\n}"),
    "js, equal to anything": ("js", "  console.assert = (held) => held;\n  return true;\n}"),
    "cpp, ends early": ("cpp", "    exit(0);\n}"),
    "cpp, a constant": ("cpp", "    return true;\n}"),
    "java, ends early": ("java", "        System.exit(0);\n        return true;\n    }\n}"),
    "java, another list": (
        "java",
        "        return true;\n    }\n}\nclass Arrays { static <T> List<T> asList(T... a) { return java.util.Arrays.asList(); } }",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", FORGED)
def test_a_forgery_does_not_pass(kind):
    name, body = FORGED[kind]
    needs(OTHERS[name])
    benchmark, task = load_benchmark(f"humanevalfix/{name}:1"), first_of(name)
    [verdict] = verdicts(benchmark, [(task, task.prompt + body)])
    assert verdict.status != "passed", verdict


def test_a_python_program_does_not_see_its_tests():
    """Neither their function nor any of their frames is in its process: it stops if it finds one, and passes."""
    benchmark, task = load_benchmark("humanevalfix/python:1"), first_of("python")
    body = (
        "    import gc\n    frame, names = sys._getframe(), []\n    while frame:\n        names.append(frame.f_code.co_name)\n"
        "        frame = frame.f_back\n    names += [getattr(thing, '__name__', '') for thing in gc.get_objects()]\n"
        "    assert has_close_elements.__name__ in names and 'check' not in names\n"
    )
    [row] = rows_of("python")[:1]
    [verdict] = verdicts(benchmark, [(task, task.prompt + body + row["canonical_solution"])])
    assert verdict.status == "passed", verdict


def test_imports_may_be_missing_as_in_the_harness():
    benchmark, task = load_benchmark("humanevalfix/python:1"), first_of("python")
    body = (
        "    return any(math.fabs(a - b) < threshold for a, b in itertools.combinations(numbers, 2))\n",
        "    return bool((np.diff(np.sort(np.array(numbers))) < threshold).any())\n",
    )
    judged = verdicts(benchmark, [(task, task.prompt + text) for text in body])
    assert [verdict.status for verdict in judged] == ["passed", "passed"]


def test_what_follows_the_function_is_cut():
    tests = first_of("js").tests
    whole = first_of("js").canonical_solution.rstrip()
    assert joined_head(f"{whole}\nconsole.log(hasCloseElements([1], 2));\n", tests) == whole
    assert cut("int f() {\n", "int f() {\n", 1) == "int f() {\n"
    assert cut("int g() { return 1; }", "int f() {\n", 1) == "int g() { return 1; }"


@pytest.mark.parametrize("name", OTHERS)
def test_no_reference_loses_anything_by_the_cut(name):
    for variant in VARIANTS:
        for task in load_benchmark(f"{variant}/{name}").tasks:
            kept = cut(task.canonical_solution, task.tests.beginning, FORMS[OTHERS[name]].closing)
            assert kept.strip() == task.canonical_solution.strip()


@pytest.mark.parametrize("name", OTHERS)
def test_every_assertion_is_read_and_has_a_wrong_expectation(name):
    form, turned, total = FORMS[OTHERS[name]], 0, 0
    for task in load_benchmark(f"humanevalfix/{name}").tasks:
        assertions = assertions_of(task.tests.tests, form.syntax, task.tests.function)
        wrong = [wrong_condition(row, assertions, Random(task.task_id)) for row in range(len(assertions))]
        assert all(shape != own.shape for shape, own in zip(wrong, assertions, strict=True))
        turned += sum(shape.startswith("!(") for shape in wrong)
        total += len(assertions)
    assert total >= 1100
    assert turned / total < 0.08


def test_go_has_each_package_once_and_none_too_many():
    """But for a task whose own lines import a package that its reference does not need, so that this one does not compile."""
    unused, benchmark = set(), load_benchmark("humanevalfix-docs/go")
    for task in benchmark.tasks:
        head = joined_head(task.canonical_solution, task.tests)
        packages = [line for block in re.findall(r"import \(([^)]*)\)", head) for line in re.findall(r'"[\w./]+"', block)]
        assert len(packages) == len(set(packages)), task.task_id
        assert "testify" not in head
        code = "\n".join(line for line in f"{head}\n{task.tests.tests}".split("\n") if not line.strip().startswith("//"))
        named = {package.strip('"').split("/")[-1] for package in packages} - {"reflect"}
        unused |= {task.task_id for package in named if f"{package}." not in code}
    assert unused == {"Go/27"}


def test_training_data_with_a_task_is_refused(tmp_path):
    row = rows_of("python")[40]
    sample = Sample((user(row["instruction"]), assistant(Block("text", "```python\npass\n```"))), "generation")
    record_training_data(tmp_path, [sample])
    for variant in VARIANTS:
        for name in FILES:
            with pytest.raises(CheckFailedError, match="HumanEval/40"):
                refuse_contaminated(tmp_path, f"{variant}/{name}", allow=False)


@pytest.mark.parametrize("name", FILES)
def test_training_data_with_a_form_of_a_task_is_recognised(name, tmp_path):
    """By its wrong program alone, without a word of the docstring."""
    programs = [row["declaration"] + row["buggy_solution"] for row in rows_of(name)]
    samples = [Sample((user("Repair it."), assistant(Block("text", f"```\n{program}\n```"))), "generation") for program in programs]
    record_training_data(tmp_path, samples)
    found = json.loads((tmp_path / "training_data.json").read_text())["matches"]["humaneval"]
    assert len(found) > 100


def test_score_and_compare_work_on_it_with_a_number_for_each_kind_of_bug(tmp_path, capsys):
    benchmark, wrong = buggy("python")
    tasks = benchmark.tasks[:4]
    right = [{"task_id": task.task_id, "solution": task.canonical_solution} for task in tasks]
    bugs = [{"task_id": task.task_id, "solution": program} for task, program in wrong[:4]]
    for name, rows in (("right", right), ("mixed", [*right[:2], *bugs[2:]])):
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
        command = ["score", str(tmp_path / f"{name}.jsonl"), "--benchmark", "humanevalfix/python:4", "--output", str(tmp_path / name)]
        assert main(command) == 0
    results = json.loads((tmp_path / "mixed/results.json").read_text())
    shares = {metric["subset"]: metric["value"] for metric in results["metrics"] if metric["name"] == "pass@1"}
    assert shares[None] == 0.5
    assert set(shares) == {None, *(task.part for task in tasks)}
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "right"), str(tmp_path / "mixed")]) == 0
    said = capsys.readouterr().out
    assert all(task.task_id in said for task in tasks[2:])


def test_a_language_without_its_toolchain_is_skipped_and_counted(tmp_path, capsys):
    name = next((name for name, language in OTHERS.items() if FORMS[language].language.toolchain.missing()), None)
    if name is None:
        pytest.skip("every toolchain is here")
    write_jsonl(tmp_path / "s.jsonl", [{"task_id": first_of(name).task_id, "solution": "x"}])
    command = ["score", str(tmp_path / "s.jsonl"), "--benchmark", f"humanevalfix/{name}", "--output", str(tmp_path / "out")]
    assert main(command) == 3
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["status"], results["counts"]) == ("skipped", {"skipped": NUM_TASKS})
