"""The interface between benchmarks and kinds of tests: a judge handles one kind, all other code treats the kinds alike.

A row of `evaluate.benchmarks` names its judge; scoring, results and commands ask the judge for everything that depends on the kind of
test. Optional features (a toolchain, parts, grades, a result file format) have defaults here, so a new judge defines only how a
solution is judged, its limits, and the key of the tests. `docs/adding/benchmark.md` walks through adding one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from reflectioncoder.choices import Rules
from reflectioncoder.sandbox.isolation import Isolation
from reflectioncoder.sandbox.limits import Limits

Status = Literal["passed", "failed", "timeout", "memory", "compile_error", "crashed", "no_code", "sandbox_error"]
Row = dict[str, Any]
"""A sample's row in `samples.jsonl`."""
Subset = tuple[str | None, Sequence[Row]]
"""The name of a subset in the results (None: the whole benchmark) and its rows, with the statuses that count in it."""
TAIL_CHARS = 400
"""Maximum length of a program's output that is kept with its verdict."""
SHARED_FACTOR = 1.25
"""Factor on the time limits of a program that has a core to itself but shares caches and memory with others."""


class Tests(Protocol):
    """The tests of a task's solutions."""

    def key(self) -> str:
        """Return the tests' cache key: verdicts on a solution by tests with the same key can be reused."""
        ...


T = TypeVar("T", bound=Tests)


@dataclass(frozen=True)
class Task(Generic[T]):
    """A task of a benchmark.

    Attributes:
        part: the task's part of the benchmark, which has its own score in the results; "" if there are no parts.
        canonical_solution: the published program that solves the task; "" if there is none.
        date: the publication date, YYYY-MM-DD; "" if the benchmark's tasks are not dated.
        instruction: the request to the model, if it is not derived from the prompt.
    """

    task_id: str
    prompt: str
    entry_point: str
    tests: T
    topic: str = ""
    grade: int = 0
    part: str = ""
    canonical_solution: str = field(default="", repr=False)
    date: str = ""
    instruction: str = field(default="", repr=False)


@dataclass(frozen=True)
class Verdict:
    """The verdict on one solution.

    `hit_time_limit`: the verdict depends on a time limit, and is final only if the program ran alone. `is_unsure`: the program ended,
    but perhaps only thanks to the longer limits it has while others run. `base_status`, `plus_status`: the statuses of EvalPlus's
    parts; without parts, `base_status` is the status.

    `tests`: outcome of each test program, if there are any. `failed_inputs`: part → index of the input that failed (-1: before the
    first), if there are inputs. `fields`: further findings of the judge, added to the sample's row.
    """

    status: Status
    base_status: Status
    plus_status: Status | None = None
    duration_s: float = 0.0
    detail: str = ""
    hit_time_limit: bool = False
    tests: tuple[dict[str, Any], ...] = ()
    failed_inputs: dict[str, int] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    is_unsure: bool = False
    kept: Any = field(default=None, repr=False)
    """The judge's private state, passed back to it if the solution is judged again."""


@dataclass(frozen=True)
class Conditions:
    """The conditions that all verdicts of a scoring share.

    `limits` apply to a program with its tests; judges whose tests define their own limits ignore them. Only EvalPlus's judge uses
    `rules`.
    """

    isolation: Isolation
    limits: Limits
    rules: Rules


@dataclass(frozen=True)
class Look:
    """The circumstances of judging a solution.

    `alone`: no other program is running; otherwise a verdict that hits a time limit is provisional. `core`: the program has this core
    to itself while others run elsewhere; a verdict that `is_unsure` is then provisional. `earlier`: a provisional verdict, whose
    certain parts need not be judged again.
    """

    alone: bool = True
    core: int | None = None
    earlier: Verdict | None = None


@dataclass(frozen=True)
class ReferenceOutcome:
    """The outcome of judging a task's canonical solution on this machine.

    `failure`: why it fails; "" if it passes. `is_challenged`: programs that do not solve the task cannot make out which of its tests
    are wrong on purpose. `is_unsure`: it was judged beside others, and something went wrong that may go right when it is alone.
    `is_missing`: the task has none.
    """

    failure: str = ""
    is_challenged: bool = True
    is_unsure: bool = False
    is_missing: bool = False


ALONE = Look()
Judging = Callable[[Task[T], str, Look], Verdict]
"""Returns the verdict on a solution of a task. Raises SandboxUnavailableError if the sandbox failed. Called from several threads."""
ResultFile = Callable[[Sequence[Task[T]], Sequence[Row], str], dict[str, Any]]
"""Returns the content of a result file in another tool's format, given the tasks, the rows and the MD5 of the data."""


class Judge(Protocol[T]):
    """Judges solutions by one kind of test. Stateless, since it is part of a benchmark's row."""

    has_rules: ClassVar[bool] = False
    """Verdicts follow one of the named rules, which define their own time limits."""
    runs_beside_others: ClassVar[bool] = False
    """The judge respects `Look.core`, so that several time-outs can be judged again in parallel; otherwise one at a time."""
    checks_references: ClassVar[bool] = False
    """Tasks whose canonical solutions fail on this machine are excluded (`evaluate.references`)."""
    result_files: ClassVar[Mapping[str, ResultFile]] = {}
    """Other tools' formats that the results can be written in."""

    @abstractmethod
    def under(self, conditions: Conditions) -> Judging[T]:
        """Return the function that judges solutions under these conditions."""

    @abstractmethod
    def limits(self, conditions: Conditions) -> dict[str, Any]:
        """Return the limits on a solution in seconds and bytes, for display and for the cache key of its verdict."""

    def no_code(self) -> Verdict:
        """Return the verdict on a sample without a program."""
        return Verdict("no_code", "no_code")

    def why_skipped(self, workers: int) -> str | None:
        """Return why this machine cannot judge anything, and how to change that; None if it can.

        Raises:
            SandboxUnavailableError: no program can be confined here.
        """
        return None

    def prepare(self, isolation: Isolation, workers: int) -> int:
        """Check that verdicts are reliable here; return how many programs to judge at a time.

        Raises:
            MachineError: known programs get wrong verdicts here.
        """
        return workers

    def reference_outcome(self, task: Task[T], isolation: Isolation, *, alone: bool) -> ReferenceOutcome:
        """Judge a task's canonical solution; an unsure outcome is judged once more, `alone`. Called from several threads.

        Raises:
            SandboxUnavailableError: the sandbox failed.
        """
        return ReferenceOutcome()

    def environment(self) -> dict[str, Any]:
        """Return further properties of this machine that verdicts depend on, recorded in the results under `sandbox`."""
        return {}

    def subsets(self, tasks: Sequence[Task[T]], rows: Sequence[Row]) -> list[Subset]:
        """Return the subsets that the results have scores for."""
        return [(None, rows)]

    def further_counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return further counts for the results, from the rows with a verdict."""
        return {}
