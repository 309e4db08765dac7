"""The end of a build: drops surplus samples, and writes every candidate to one of two files and counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflectioncoder.builder.diagnoses import DiagnosisCounts
from reflectioncoder.builder.filters import over_share
from reflectioncoder.builder.lengths import TokenCounter
from reflectioncoder.builder.outcomes import Outcomes, Rejected, Rejection, rejected_sample
from reflectioncoder.builder.reasons import Reason
from reflectioncoder.builder.text_measures import TextMeasures
from reflectioncoder.config.building import BuildConfig
from reflectioncoder.data.files import JsonlWriter
from reflectioncoder.data.samples import Sample
from reflectioncoder.errors import CheckFailedError


@dataclass(frozen=True)
class Funnel:
    """Counts of samples and rejections, and measures of the samples. `rejected`: counts by reason; `operators`: slips by kind; both in
    descending order.
    """

    num_accepted: int
    num_two_slip: int
    num_problems_with_samples: int
    rejected: dict[str, int]
    operators: dict[str, int]
    diagnoses: DiagnosisCounts
    texts: TextMeasures
    stories: StoryCounts

    def to_json(self) -> dict[str, Any]:
        stories = {"stories": self.stories.to_json()} if self.stories.kinds else {}
        counted = {name: value for name, value in vars(self).items() if name != "stories"}
        return {**counted, "diagnoses": self.diagnoses.to_json(), "texts": self.texts.to_json(), **stories}


@dataclass
class StoryCounts:
    """Counts samples that tell a story.

    Attributes:
        kinds: number of samples by kind of story.
        rounds: number of cells run before the passing one, by kind.
        num_rounds: number of samples by the number of such cells.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    num_rounds: Counter[int] = field(default_factory=Counter)

    def add(self, sample: Sample) -> None:
        metadata = sample.metadata
        if "kind" in metadata:
            self.kinds[metadata["kind"]] += 1
            self.rounds.update(metadata["rounds"])
            self.num_rounds[len(metadata["rounds"])] += 1

    def to_json(self) -> dict[str, Any]:
        num_rounds = {str(number): self.num_rounds[number] for number in sorted(self.num_rounds)}
        return {"kinds": dict(self.kinds.most_common()), "rounds": dict(self.rounds.most_common()), "num_rounds": num_rounds}


def write_outcomes(outcomes: Outcomes, output_dir: Path, config: BuildConfig, count_tokens: TokenCounter | None = None) -> Funnel:
    """Write reflections.jsonl and rejected.jsonl. With `count_tokens`, also measure the lengths of samples in tokens.

    Raises:
        CheckFailedError: there are fewer samples than `min_samples`; only rejected.jsonl has been written.
    """
    left_out = _left_out(outcomes, config)
    reasons: Counter[str] = Counter()
    with JsonlWriter(output_dir / "rejected.jsonl") as written:
        for row in _rejections(outcomes, left_out):
            reasons[row.reason] += 1
            written.write(row.to_json())
    if (num_accepted := outcomes.num_accepted - len(left_out)) < config.min_samples:
        raise CheckFailedError(
            f"only {num_accepted} reflection samples, build.min_samples is {config.min_samples}\n"
            f"  rejected: {dict(reasons.most_common())} (see {output_dir / 'rejected.jsonl'})"
        )
    kinds: Counter[str] = Counter()
    tasks: set[str] = set()
    num_two_slip = 0
    diagnoses, texts, stories = DiagnosisCounts(), TextMeasures(count_tokens), StoryCounts()
    with JsonlWriter(output_dir / "reflections.jsonl") as written:
        for number, sample in enumerate(_samples(outcomes)):
            if number not in left_out:
                metadata = sample.extra["metadata"]
                tasks.add(metadata["task_id"])
                kinds.update(metadata["operators"])
                num_two_slip += len(metadata["operators"]) > 1
                diagnoses.add(sample)
                texts.add(sample)
                stories.add(sample)
                written.write(sample.to_json())
    rejected, operators = dict(reasons.most_common()), dict(kinds.most_common())
    return Funnel(num_accepted, num_two_slip, len(tasks), rejected, operators, diagnoses, texts, stories)


def _samples(outcomes: Outcomes) -> Iterator[Sample]:
    return (outcome for outcome in outcomes if isinstance(outcome, Sample))


def _left_out(outcomes: Outcomes, config: BuildConfig) -> dict[int, Reason]:
    """Map the numbers of surplus samples to the reason for dropping them."""
    left_out: dict[int, Reason] = {}
    num_of_problem: Counter[str] = Counter()
    operators: dict[int, list[str]] = {}
    for number, sample in enumerate(_samples(outcomes)):
        metadata = sample.extra["metadata"]
        num_of_problem[metadata["task_id"]] += 1
        if config.samples_per_problem is not None and num_of_problem[metadata["task_id"]] > config.samples_per_problem:
            left_out[number] = "samples_per_problem"
        else:
            operators[number] = metadata["operators"]
    if config.max_operator_share < 1:
        numbers = list(operators)
        dropped = over_share(list(operators.values()), config.max_operator_share)
        left_out |= dict.fromkeys((numbers[index] for index in dropped), "operator_share")
    return left_out


def _rejections(outcomes: Outcomes, left_out: dict[int, Reason]) -> Iterator[Rejection]:
    """Yield the rejections, dropped samples included, in the order of the candidates."""
    number = -1
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            yield outcome
            continue
        number += 1
        if number in left_out:
            yield rejected_sample(outcome, Rejected(left_out[number]))
