"""Benchmarks by name: their requests, their tests, the location of their data. Each is a row of `BENCHMARKS`.

bundled/seen, bundled/unseen   the held-out problems of this package
bundled/repair                 the same problems, each with an injected slip and a failing test, to be repaired in one turn
humaneval, humaneval+          EvalPlus's HumanEval+ file; the first uses its base inputs only. If only the original HumanEval
                               file is found, `humaneval` uses that file's own tests (another `version` in the results)
mbpp, mbpp+                    EvalPlus's MBPP+ file (378 tasks); the first uses its base inputs only
humanevalfix/<language>        HumanEvalPack: repair a program with one bug, given its tests
humanevalfix-docs/<language>   the same, given the docstring instead of the tests
humanevalsynthesize/<language> HumanEvalPack: write a program from the docstring
cruxeval-o, cruxeval-i         CRUXEval: predict the output of a call, or an input that gives an output
leetcode                       LeetCodeDataset's test tasks, which are dated
bigcodebench-hard/<split>      BigCodeBench-Hard: functions that use libraries, from a docstring (complete) or a text (instruct)
livecodebench                  LiveCodeBench's tasks, which are dated, from the user's own files
multipl-e/<language>           MultiPL-E's HumanEval in another language, under MultiPL-E's language names

`file:PATH` is a problem file of the user's own; it has no row in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic

from reflectioncoder.data.completion_requests import Request
from reflectioncoder.data.files import content_hash
from reflectioncoder.data.problems import BUNDLED_DIR
from reflectioncoder.errors import UsageError
from reflectioncoder.evaluate.data_files import BenchmarkFile, DataFile, PackagedFile
from reflectioncoder.evaluate.dates import EVER, DateWindow, dates_of, within
from reflectioncoder.evaluate.facts import FACTS, OWN_FACTS, UNKNOWN_FACTS, Facts
from reflectioncoder.evaluate.judges import cruxeval, leetcode, live, programs, repair
from reflectioncoder.evaluate.judges.base import Judge, Row, T, Task
from reflectioncoder.evaluate.judges.bigcodebench import benchmark as bigcodebench
from reflectioncoder.evaluate.judges.bigcodebench import data as bigcodebench_data
from reflectioncoder.evaluate.judges.evalplus import benchmark as evalplus
from reflectioncoder.evaluate.judges.evalplus.benchmark import EvalPlusJudge
from reflectioncoder.evaluate.judges.evalplus.data import Family
from reflectioncoder.evaluate.judges.humanevalpack import benchmark as humanevalpack
from reflectioncoder.evaluate.judges.humanevalpack import data as pack_data
from reflectioncoder.evaluate.judges.multipl_e import benchmark as multipl_e
from reflectioncoder.evaluate.judges.multipl_e.benchmark import MultiPLEJudge
from reflectioncoder.evaluate.judges.multipl_e.programs import FILES, URL, language_of
from reflectioncoder.evaluate.judges.programs import OwnProblemsJudge, ProgramsJudge
from reflectioncoder.evaluate.references import References
from reflectioncoder.evaluate.specs import OWN, name_of, own_path, split_spec
from reflectioncoder.evaluate.user_files import LiveCodeBenchFiles
from reflectioncoder.sandbox.readable import keep_secret

HUMANEVAL = DataFile(
    "HumanEval.jsonl.gz",
    "original tests",
    "1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
    "88771747746422b8669027625578460c",
    164,
    "https://github.com/openai/human-eval/raw/master/data/HumanEval.jsonl.gz",
)
EVALPLUS_FILES: dict[Family, DataFile] = {
    "humaneval": DataFile(
        "HumanEvalPlus*.jsonl.gz",
        "v0.1.10",
        "42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
        "fe585eb4df8c88d844eeb463ea4d0302",
        164,
        "https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz",
    ),
    "mbpp": DataFile(
        "MbppPlus*.jsonl.gz",
        "v0.2.0",
        "b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
        "ee43ecabebf20deef4bb776a405ac5b1",
        378,
        "https://github.com/evalplus/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz",
    ),
}


CRUXEVAL = DataFile(
    "cruxeval.jsonl",
    "cruxeval, 800 programs",
    "8368b81047dc5014e4caf5a2f97604eff7644e0ecd7415e3ceeb184bbc2e0c96",
    "",
    800,
    "https://github.com/facebookresearch/cruxeval/raw/main/data/cruxeval.jsonl",
)

LEETCODE = DataFile(
    "LeetCodeDataset-v0.3.1-test.jsonl.gz",
    "v0.3.1, test",
    "aec951945feb555b4c72783519452a7a0437ca8c6e5624a83d0ae888718fa4ed",
    "",
    228,
    "https://github.com/newfacade/LeetCodeDataset/raw/main/data/LeetCodeDataset-v0.3.1-test.jsonl.gz",
)

BIGCODEBENCH: dict[bigcodebench_data.Split, DataFile] = {
    split: DataFile(
        f"{file.name}*",
        bigcodebench_data.VERSION,
        file.sha256,
        "",
        bigcodebench_data.NUM_TASKS,
        bigcodebench_data.URL.format(name=file.name),
    )
    for split, file in bigcodebench_data.FILES.items()
}


@dataclass(frozen=True)
class BenchmarkRow(Generic[T]):
    """The definition of a benchmark: its data file, the parser of the file's rows, the judge of its tests, and its requests."""

    file: BenchmarkFile
    tasks: Callable[[Sequence[Row], str], list[Task[T]]]
    """Makes tasks from the file's rows; the second argument is the rows' location, for messages."""
    judge: Judge[T]
    request: Callable[[Task[T], int], Request]
    """Makes the request for a sample of a task."""
    facts: Facts
    family: str | None = None
    """The family of tasks that training data must not hold (`contamination`); None: training data is not checked against it."""
    otherwise: BenchmarkRow[Any] | None = None
    """Replaces this row if the replacement's file is on this machine and `file` is not."""

    def on_this_machine(self, data_dir: str | None) -> BenchmarkRow[Any]:
        other = self.otherwise
        return other if other and other.file.find(data_dir) and not self.file.find(data_dir) else self


def _bundled(split: str) -> BenchmarkRow[Any]:
    file = PackagedFile(BUNDLED_DIR / f"{split}.jsonl")
    return BenchmarkRow(file, programs.bundled_tasks, ProgramsJudge(), programs.request_for, FACTS[f"bundled/{split}"])


def _repair() -> BenchmarkRow[Any]:
    file = PackagedFile(BUNDLED_DIR / "repair.jsonl")
    return BenchmarkRow(file, repair.repair_tasks, ProgramsJudge(), repair.request_for, FACTS["bundled/repair"])


def _multipl_e(name: str) -> BenchmarkRow[Any]:
    name_of_file, sha256, count = FILES[name]
    url = URL.format(file=name_of_file)
    file = DataFile(name_of_file, "humaneval, as carried by DeepSeek-Coder", sha256, "", count, url)
    language = language_of(name)
    facts = FACTS["multipl-e"].in_language(language)
    return BenchmarkRow(file, multipl_e.tasks_of(language), MultiPLEJudge(language), multipl_e.request_for, facts)


def _humanevalpack(name: str, variant: pack_data.Variant) -> BenchmarkRow[Any]:
    language, sha256 = pack_data.FILES[name]
    judge = humanevalpack.PackPythonJudge() if language == "py" else humanevalpack.PackJudge(language)
    where, url = f"humanevalpack/{name}.jsonl", pack_data.URL.format(name=name)
    file = DataFile(where, f"octopack {pack_data.REVISION}", sha256, "", pack_data.NUM_TASKS, url)
    facts = FACTS["humanevalsynthesize" if variant == "synthesize" else f"humaneval{variant}"].in_language(language)
    return BenchmarkRow(file, humanevalpack.tasks_of(language, variant), judge, humanevalpack.request_for, facts, "humaneval")


def _evalplus(
    family: Family, judge: EvalPlusJudge, request: Callable[[Task[Any], int], Request], otherwise: BenchmarkRow[Any] | None = None
) -> BenchmarkRow[Any]:
    facts = FACTS[f"{family}+" if "plus" in judge.parts else family]
    return BenchmarkRow(EVALPLUS_FILES[family], evalplus.tasks_of(family), judge, request, facts, family, otherwise)


def _cruxeval(asked: cruxeval.Asked) -> BenchmarkRow[Any]:
    facts = FACTS[f"cruxeval-{asked[0]}"]
    return BenchmarkRow(CRUXEVAL, cruxeval.tasks_of(asked), cruxeval.PredictionJudge(asked), cruxeval.request_for, facts, "cruxeval")


def _bigcodebench(split: bigcodebench_data.Split) -> BenchmarkRow[Any]:
    facts = FACTS[f"bigcodebench-hard/{split}"]
    judge = bigcodebench.UnitTestsJudge()
    return BenchmarkRow(BIGCODEBENCH[split], bigcodebench.tasks_of(split), judge, bigcodebench.request_for, facts, "bigcodebench")


_BASE, _PLUS = EvalPlusJudge(("base",)), EvalPlusJudge(("base", "plus"))
_ORIGINAL_HUMANEVAL = BenchmarkRow(
    HUMANEVAL, programs.humaneval_tasks, ProgramsJudge("base"), programs.request_for, FACTS["humaneval, original"], "humaneval"
)
BENCHMARKS: dict[str, BenchmarkRow[Any]] = {
    "bundled/seen": _bundled("test_seen"),
    "bundled/unseen": _bundled("test_unseen"),
    "bundled/repair": _repair(),
    "humaneval": _evalplus("humaneval", _BASE, programs.request_for, otherwise=_ORIGINAL_HUMANEVAL),
    "humaneval+": _evalplus("humaneval", _PLUS, programs.request_for),
    "mbpp": _evalplus("mbpp", _BASE, evalplus.mbpp_request),
    "mbpp+": _evalplus("mbpp", _PLUS, evalplus.mbpp_request),
    **{f"humanevalfix/{name}": _humanevalpack(name, "fix") for name in pack_data.FILES},
    **{f"humanevalfix-docs/{name}": _humanevalpack(name, "fix-docs") for name in pack_data.FILES},
    **{f"humanevalsynthesize/{name}": _humanevalpack(name, "synthesize") for name in pack_data.FILES},
    "cruxeval-o": _cruxeval("output"),
    "cruxeval-i": _cruxeval("input"),
    "leetcode": BenchmarkRow(
        LEETCODE, leetcode.leetcode_tasks, leetcode.MethodsJudge(), leetcode.request_for, FACTS["leetcode"], "leetcode"
    ),
    **{f"bigcodebench-hard/{split}": _bigcodebench(split) for split in bigcodebench_data.FILES},
    "livecodebench": BenchmarkRow(LiveCodeBenchFiles(), live.live_tasks, live.LiveJudge(), live.request_for, FACTS["livecodebench"]),
    **{f"multipl-e/{name}": _multipl_e(name) for name in FILES},
}


@dataclass(frozen=True)
class Benchmark(Generic[T]):
    """A benchmark with the selected tasks of its file."""

    name: str
    version: str
    sha256: str
    tasks: tuple[Task[T], ...]
    judge: Judge[T]
    request: Callable[[Task[T], int], Request]
    left_out: frozenset[str] = frozenset()
    """Tasks beyond the requested number, outside the date window, or whose references fail here; their samples are ignored."""
    md5: str = ""
    """The hash that identifies a data set in EvalPlus's result files; empty for other data."""
    url: str = ""
    facts: Facts = UNKNOWN_FACTS
    references: References | None = None
    """The references that pass and fail on this machine; None if references are not checked."""
    wanted: tuple[Task[T], ...] = ()
    """The selected tasks, including those whose references fail here; empty if references are not checked."""

    @property
    def whole(self) -> Benchmark[T]:
        """Return the benchmark including tasks whose references fail here: requests must not depend on this machine."""
        tasks = self.wanted or self.tasks
        left_out = self.left_out - {task.task_id for task in tasks}
        return replace(self, tasks=tasks, left_out=left_out, references=None, wanted=())

    @property
    def not_judged(self) -> list[str]:
        """Return the ids of the tasks whose references fail here."""
        return sorted(self.references.failed) if self.references else []

    def describe(self) -> dict[str, object]:
        said: dict[str, object] = {"name": self.name, "version": self.version, "sha256": self.sha256, "num_tasks": len(self.tasks)}
        if dates := dates_of(self.tasks):
            said["dates"] = dates
        if self.references is not None:
            said["references"] = self.references.to_json()
        return said

    def date_lines(self) -> list[str]:
        """Return a line of text about the tasks' dates; empty for tasks without dates."""
        dates = dates_of(self.tasks)
        return [f"{self.name}: {len(self.tasks)} tasks dated {dates['from']} to {dates['to']}"] if dates else []

    def requests(self, num_samples: int) -> Sequence[Request]:
        return [self.request(task, sample) for task in self.tasks for sample in range(num_samples)]


def split_name(spec: str) -> tuple[str, int | None]:
    """Split `name` or `name:N` (its first N tasks) into (name, N or None); `file:a/own.jsonl` has the name `file/own`."""
    base, limit = split_spec(spec)
    if own_path(base):
        return name_of(spec), limit
    if base not in BENCHMARKS:
        hint = None if get_close_matches(base, BENCHMARKS) else "file:PATH takes a problem file of your own"
        raise UsageError.for_value("unknown benchmark", "--benchmark", base, BENCHMARKS, hint)
    return base, limit


def _own(path: Path) -> BenchmarkRow[Any]:
    file = PackagedFile(path, version="own", origin="own")
    return BenchmarkRow(file, programs.own_tasks, OwnProblemsJudge(), programs.request_for, OWN_FACTS)


def require_distinct(specs: Iterable[str]) -> None:
    """Refuse to evaluate a benchmark twice: `name:10` and `name:40` would write into one folder.

    Raises:
        UsageError: a benchmark is named twice.
    """
    seen: dict[str, str] = {}
    for spec in specs:
        name, _ = split_name(spec)
        if name in seen:
            allowed, hint = "each benchmark once", "name:N is the first N tasks of name, in the same folder"
            if spec.startswith(OWN):
                hint = f"the results of both would be in the folder {name}: rename one of the files"
            raise UsageError.for_value("the same benchmark twice", "benchmarks", f"{seen[name]}, {spec}", allowed, hint)
        seen[name] = spec


def families_of(specs: Iterable[str]) -> set[str]:
    """Return the task families of the benchmarks; unknown names have none."""
    rows = (BENCHMARKS.get(spec.partition(":")[0]) for spec in specs)
    return {row.family for row in rows if row and row.family}


def load_benchmarks(specs: Iterable[str], data_dir: str | None = None, window: DateWindow = EVER) -> dict[str, Benchmark[Any]]:
    """Load benchmarks; the date window applies to dated ones, the others are loaded whole.

    Raises:
        UsageError: unknown name; a window although no benchmark is dated, or a window without tasks.
        MachineError: data is not found and cannot be downloaded, or differs from what was published.
    """
    loaded = {spec: load_benchmark(spec, data_dir) for spec in specs}
    if not window:
        return loaded
    dated = [spec for spec, benchmark in loaded.items() if dates_of(benchmark.tasks)]
    if loaded and not dated:
        raise UsageError(f"none of these benchmarks is dated: {', '.join(loaded)}; {window} is for leetcode and livecodebench")
    return loaded | {spec: load_benchmark(spec, data_dir, window) for spec in dated}


def load_benchmark(spec: str, data_dir: str | None = None, window: DateWindow = EVER) -> Benchmark[Any]:
    """Load a benchmark with its data.

    Args:
        spec: its name, for instance `bundled/seen`, `humaneval+`, `mbpp` or `multipl-e/js`; `name:N` takes the first N tasks.
            `file:PATH` and `file:PATH:N` name your own problems.
        data_dir: a folder with benchmark files, searched first.
        window: the date window of the tasks; `name:N` takes the first N tasks in it.

    Raises:
        UsageError: unknown name; a window for tasks without dates, or a window without tasks.
        MachineError: its data is not found and cannot be downloaded, or differs from what was published.

    Example:
        >>> from reflectioncoder import load_benchmark
        >>> benchmark = load_benchmark("bundled/seen:3")
        >>> len(benchmark.tasks), benchmark.tasks[0].prompt.startswith("def ")
        (3, True)
    """
    if data_dir:
        keep_secret(Path(data_dir))
    name, limit = split_name(spec)
    own = own_path(split_spec(spec)[0])
    if own:
        keep_secret(own.absolute().parent)
    row = _own(own) if own else BENCHMARKS[name].on_this_machine(data_dir)
    path = row.file.obtain(data_dir)
    tasks = row.tasks(row.file.read(path), str(path))
    chosen = tuple(within(tasks, window, name)[:limit])
    left_out = frozenset(task.task_id for task in tasks) - {task.task_id for task in chosen}
    sha256 = row.file.sha256 or content_hash([task.tests.key() for task in tasks])
    file = row.file
    return Benchmark(name, file.version, sha256, chosen, row.judge, row.request, left_out, file.md5, file.url, row.facts)
