"""The summary of a finished build, which becomes `build.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reflectioncoder.builder.author import DialogueStats
from reflectioncoder.builder.critic import CriticCounts
from reflectioncoder.builder.funnel import Funnel
from reflectioncoder.builder.log import BuildLog
from reflectioncoder.config.building import BuildConfig, EndpointConfig
from reflectioncoder.generate.budget import Budget
from reflectioncoder.sandbox.limits import Limits


@dataclass(frozen=True)
class LogCounts:
    """Counts of executions and requests, both new in this process and replayed from the log. Tokens cover all answers in the log.

    Attributes:
        lost_tokens: tokens paid, possibly, for answers that never arrived.
        usd: price of all tokens, lost ones included.
    """

    num_executions: int
    num_replayed: int
    num_requests: int
    num_replayed_requests: int
    input_tokens: int
    output_tokens: int
    lost_tokens: int
    usd: float

    @classmethod
    def of(cls, log: BuildLog, endpoint: EndpointConfig) -> LogCounts:
        (read, written), lost = log.used("request"), log.used("lost")
        return cls(
            num_executions=log.num_new["execution"],
            num_replayed=log.num_replayed["execution"],
            num_requests=log.num_new["request"],
            num_replayed_requests=log.num_replayed["request"],
            input_tokens=read,
            output_tokens=written,
            lost_tokens=sum(lost),
            usd=round(Budget(endpoint).usd(read + lost[0], written + lost[1]), 4),
        )


@dataclass(frozen=True)
class BuildSummary:
    """A finished build.

    Attributes:
        decontaminated_against: benchmarks that problems and samples were compared with.
        compared_behaviour: benchmarks whose inputs or tests the programs were also run on.
    """

    config: BuildConfig
    seed: int
    num_problems: int
    decontaminated_against: list[str]
    compared_behaviour: Sequence[str]
    num_candidates: int
    funnel: Funnel
    log: LogCounts
    dialogues: DialogueStats
    critic: CriticCounts | None
    duration_s: float
    python: str
    limits: Limits

    def to_json(self) -> dict[str, Any]:
        config, log, dialogues = self.config, self.log, self.dialogues
        return {
            "schema_version": 1,
            "author": config.author,
            "hybrid": config.hybrid,
            "model": config.endpoint.model or None,
            "seed": self.seed,
            "problems": list(config.problems),
            "num_problems": self.num_problems,
            "decontamination": {"against": self.decontaminated_against, "words": 10, "behaviour": list(self.compared_behaviour)},
            "num_candidates": self.num_candidates,
            **self.funnel.to_json(),
            **({"critic": self.critic.to_json()} if self.critic else {}),
            "num_executions": log.num_executions,
            "num_replayed": log.num_replayed,
            "num_requests": log.num_requests,
            "num_replayed_requests": log.num_replayed_requests,
            "num_retries": dialogues.num_retries,
            "input_tokens": log.input_tokens,
            "output_tokens": log.output_tokens,
            "lost_tokens": log.lost_tokens,
            "usd": log.usd,
            "forecast": asdict(dialogues.forecast) if dialogues.forecast else None,
            "session": asdict(dialogues.session) if dialogues.session else None,
            "duration_s": self.duration_s,
            "python": self.python,
            "limits": asdict(self.limits),
        }
