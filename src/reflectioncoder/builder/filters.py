"""Filters the finished samples; every dropped sample is counted with a reason."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence

from rensa import RMinHash, RMinHashLSH  # pyright: ignore[reportAttributeAccessIssue] (an extension module)

from reflectioncoder.builder.outcomes import Outcomes, Rejected, Rejection, rejected_sample
from reflectioncoder.contamination.overlap import KnownTasks
from reflectioncoder.data.prompts import program_of_answer
from reflectioncoder.data.samples import Sample
from reflectioncoder.progress import Progress
from reflectioncoder.sandbox.pool import map_ordered

_NUM_HASHES, _NUM_BANDS = 128, 16
_WORDS = re.compile(r"\w+|[^\w\s]")
_SHINGLE = 5  # words


Candidate = Sample | Rejection


def filter_alone(
    outcomes: Outcomes,
    known: KnownTasks,
    behaviour: Callable[[str], str | None] | None,
    *,
    max_chars: int,
    too_many_tokens: Callable[[Sample], int | None] = lambda sample: None,
    workers: int = 0,
) -> Generator[Candidate]:
    """Yield the outcomes with contaminated and over-long samples replaced by rejections: checks that need one sample at a time.

    Args:
        behaviour: names the benchmark task that a program solves, if any.
        too_many_tokens: returns a sample's length in tokens if it is too long, else None.
    """

    def judged(outcome: Candidate) -> tuple[Candidate, Rejected | None]:
        return outcome, _contamination(outcome, known, behaviour) if isinstance(outcome, Sample) else None

    for outcome, contaminated in map_ordered(judged, outcomes, workers):
        if not isinstance(outcome, Sample):
            yield outcome
        elif contaminated is not None:
            yield rejected_sample(outcome, contaminated)
        elif (length := sum(map(len, _texts(outcome)))) > max_chars:
            yield rejected_sample(outcome, Rejected("too_long", f"{length} characters"))
        elif (num_tokens := too_many_tokens(outcome)) is not None:
            yield rejected_sample(outcome, Rejected("too_long", f"{num_tokens} tokens"))
        else:
            yield outcome


def filter_repeated(candidates: Iterable[Candidate], count: int, *, near_duplicates: float, same_problem: bool) -> Outcomes:
    """Return the outcomes with samples that repeat an earlier one rejected; memory holds only hashes of samples.

    Args:
        count: number of candidates.
        near_duplicates: estimated Jaccard similarity of two samples' shingles from which the later one is dropped; 1: off.
        same_problem: compare samples of the same problem too; false where these are variants by design.
    """
    filtered = Outcomes()
    seen: set[bytes] = set()
    near = NearDuplicates(near_duplicates, same_problem=same_problem) if near_duplicates < 1 else None
    with Progress("build: filters", count) as progress:
        for position, outcome in enumerate(candidates):
            if not isinstance(outcome, Sample):
                filtered.reject(position, outcome)
            elif (attempts := _digest_of_attempts(outcome)) in seen:
                filtered.reject(position, rejected_sample(outcome, Rejected("duplicate")))
            elif near is not None and (earlier := near.find_or_add(outcome)):
                filtered.reject(position, rejected_sample(outcome, Rejected("near_duplicate", earlier)))
            else:
                seen.add(attempts)
                filtered.accept(position, outcome)
            progress.update(position + 1, f"{filtered.num_accepted} accepted")
    return filtered


def _contamination(sample: Sample, known: KnownTasks, behaviour: Callable[[str], str | None] | None) -> Rejected | None:
    program = program_of_answer(sample.messages[-1].text)
    if found := known.find("", "", program):
        return Rejected("contaminated", found)
    if behaviour is not None and (found := behaviour(program)):
        return Rejected("behaves_like_benchmark", found)
    return None


def _texts(sample: Sample) -> list[str]:
    return [block.content for message in sample.messages for block in message.content]


def _digest_of_attempts(sample: Sample) -> bytes:
    codes = "\0".join(block.content for block in sample.messages[1].content if block.type == "code")
    return hashlib.blake2b(codes.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class NearDuplicates:
    """Finds samples whose attempts and answer nearly equal an earlier sample's: MinHash over five-word shingles."""

    def __init__(self, threshold: float, *, same_problem: bool):
        self._threshold = threshold
        self._same_problem = same_problem
        self._index = RMinHashLSH(threshold=threshold, num_perm=_NUM_HASHES, num_bands=_NUM_BANDS)
        self._kept: list[tuple[str, str, RMinHash]] = []

    def find_or_add(self, sample: Sample) -> str | None:
        """Return the id and similarity of an earlier near duplicate as text; without one add the sample and return None."""
        text = "\n".join(block.content for message in sample.messages[1::2] for block in message.content if block.type != "execution")
        words = _WORDS.findall(text)
        own = RMinHash(num_perm=_NUM_HASHES, seed=0)
        own.update([" ".join(words[start : start + _SHINGLE]) for start in range(max(1, len(words) - _SHINGLE + 1))])
        task_id = sample.extra["metadata"]["task_id"]
        for number in sorted(self._index.query(own)):
            identity, other_task, other = self._kept[number]
            similarity = own.jaccard(other)
            if similarity >= self._threshold and (self._same_problem or other_task != task_id):
                return f"{identity} ({similarity:.2f})"
        self._index.insert(len(self._kept), own)
        self._kept.append((sample.id or "", task_id, own))
        return None


def over_share(operators: Sequence[Sequence[str]], max_share: float) -> set[int]:
    """Return the indices of samples to drop, starting from the last, until no kind of slip exceeds `max_share` of all slips.

    Args:
        operators: the kinds of slips of each sample.
    """
    with_operator: dict[str, list[int]] = {}
    for index, names in enumerate(operators):
        for name in names:
            with_operator.setdefault(name, []).append(index)
    counts = Counter(name for names in operators for name in names)
    dropped: set[int] = set()
    while counts:
        operator, count = max(counts.items(), key=lambda item: (item[1], item[0]))
        if len(counts) * max_share <= 1 or count <= max(1, math.floor(max_share * counts.total())):
            break
        last = with_operator[operator].pop()
        if last not in dropped:
            dropped.add(last)
            counts -= Counter(operators[last])
    return dropped
