"""The seam between benchmarks and kinds of tests: a judge knows one kind, everything else treats all kinds alike.

A row of `evaluate.benchmarks` names its judge; scoring, results and commands ask the judge what depends on the kind of test. What only
some kinds have (a toolchain, parts, grades, a result file of their own) has a default here, so that a judge of another kind says what
is its own: how a solution is judged, within which limits, and what identifies the tests. `docs/adding/benchmark.md` adds one.
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
"""The name of a subset in the results (None: the whole benchmark) and its rows, with the statuses that count there."""
TAIL_CHARS = 400
"""So much of what a program said is kept with its verdict."""
SHARED_FACTOR = 1.25
"""On a core of its own beside others a program gets limits longer by this: caches and memory are shared."""


class Tests(Protocol):
    """The tests of a task's solutions."""

    def key(self) -> str:
        """Identify the tests: verdicts on the same solution by tests of the same key can be reused."""
        ...


T = TypeVar("T", bound=Tests)


@dataclass(frozen=True)
class Task(Generic[T]):
    """A task of a benchmark.

    Attributes:
        part: a part of the benchmark of which the results have numbers of its own; "" if it has none.
        canonical_solution: the published program that solves the task; "" if there is none.
        date: when it was published, YYYY-MM-DD; "" if the benchmark's tasks are not dated.
        instruction: what a model is asked, where that is not made of the prompt.
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

    `hit_time_limit`: it rests on a limit of time, and counts only if the program was alone. `is_unsure`: it ended, but perhaps only
    within the longer limits that it had beside others. `base_status`, `plus_status`: of the parts of EvalPlus's tests; where there are
    no parts, `base_status` is the status.

    `tests`: outcome of each test program, where there are such. `failed_inputs`: part → number of the input at which it failed (-1:
    before any), where there are inputs. `fields`: what else the judge has found; it becomes part of the sample's row.
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
    """The judge's own notes, which it gets back if it looks at the solution again."""


@dataclass(frozen=True)
class Conditions:
    """The conditions that all verdicts of one scoring have in common.

    `limits` are those of a program with its tests; judges whose tests have limits of their own pass them over, and all but EvalPlus's
    pass over `rules`.
    """

    isolation: Isolation
    limits: Limits
    rules: Rules


@dataclass(frozen=True)
class Look:
    """The way in which a solution is looked at.

    `alone`: nothing else is running; otherwise a verdict that has hit a time limit does not count. `core`: nothing else is running
    there, but on others; what `is_unsure` then does not count. `earlier`: a verdict that does not count; what was certain in it need
    not be judged again.
    """

    alone: bool = True
    core: int | None = None
    earlier: Verdict | None = None


@dataclass(frozen=True)
class ReferenceOutcome:
    """Holds what is known of the canonical solution of a task on this machine.

    `failure`: why it fails; "" if it passes. `is_challenged`: programs that do not solve the task cannot make out which of its tests
    are wrong on purpose. `is_unsure`: it was judged beside others, and something went wrong that may go right when it is alone.
    """

    failure: str = ""
    is_challenged: bool = True
    is_unsure: bool = False


ALONE = Look()
Judging = Callable[[Task[T], str, Look], Verdict]
"""Returns the verdict on a solution of a task. Raises SandboxUnavailableError if the sandbox failed. Is called from several threads."""
ResultFile = Callable[[Sequence[Task[T]], Sequence[Row], str], dict[str, Any]]
"""Returns the content of a result file in another tool's format, from the tasks, the rows and the MD5 of the data."""


class Judge(Protocol[T]):
    """Judges the solutions of one kind of test. Has no state: it is part of a benchmark's row."""

    has_rules: ClassVar[bool] = False
    """Verdicts follow one of the named rules, which have time limits of their own."""
    runs_beside_others: ClassVar[bool] = False
    """The judge heeds `Look.core`, so that several time-outs can be judged again at once; otherwise each is judged again alone."""
    checks_references: ClassVar[bool] = False
    """Tasks whose canonical solutions fail on this machine are left out (`evaluate.references`)."""
    result_files: ClassVar[Mapping[str, ResultFile]] = {}
    """Formats of other tools in which the results can be written too."""

    @abstractmethod
    def under(self, conditions: Conditions) -> Judging[T]:
        """Return what judges solutions under these conditions."""

    @abstractmethod
    def limits(self, conditions: Conditions) -> dict[str, Any]:
        """Return the limits that hold for a solution, for people and for the key of its verdict; seconds and bytes."""

    def no_code(self) -> Verdict:
        """Return the verdict on a sample without any program."""
        return Verdict("no_code", "no_code")

    def why_skipped(self, workers: int) -> str | None:
        """Return why nothing can be judged on this machine, and how that is changed; None if it can.

        Raises:
            SandboxUnavailableError: no program can be confined here.
        """
        return None

    def prepare(self, isolation: Isolation, workers: int) -> int:
        """Make sure that verdicts can be believed; return how many programs may be judged at a time.

        Raises:
            MachineError: known programs are not judged rightly here.
        """
        return workers

    def reference_outcome(self, task: Task[T], isolation: Isolation, *, alone: bool) -> ReferenceOutcome:
        """Judge the canonical solution of a task; what is unsure is asked once more, `alone`. Is called from several threads.

        Raises:
            SandboxUnavailableError: the sandbox failed.
        """
        return ReferenceOutcome()

    def environment(self) -> dict[str, Any]:
        """Return what else of this machine verdicts depend on; it is part of the results (`sandbox`)."""
        return {}

    def subsets(self, tasks: Sequence[Task[T]], rows: Sequence[Row]) -> list[Subset]:
        """Return what the results have numbers of."""
        return [(None, rows)]

    def further_counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return what else the results count, from the rows that have a verdict."""
        return {}
