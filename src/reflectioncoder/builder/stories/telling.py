"""Tells a story: draws a kind, runs its rounds in one session, and words their outputs.

Texts state only what an output shows. If an output does not show what its round is for, the next candidate replaces the round, the
round is dropped, or another kind is tried. Finally, `claims` checks the text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reflectioncoder.builder.claims import check_blocks
from reflectioncoder.builder.executions import Executions
from reflectioncoder.builder.mutation import Mutation
from reflectioncoder.builder.outcomes import Rejected
from reflectioncoder.builder.stories.kinds.registry import KINDS
from reflectioncoder.builder.stories.story import Draft, Place, Round, Saying, Story
from reflectioncoder.builder.stories.wording import Manner, spoken
from reflectioncoder.choices import ROUND_KINDS, RoundKind
from reflectioncoder.data.samples import Block

_MAX_SESSIONS = 5  # for one draft
_FALLBACKS: tuple[RoundKind, ...] = ("look", "direct")


@dataclass(frozen=True)
class StorySettings:
    """Settings for drawing a story's kind and length.

    Attributes:
        shares: relative frequency of each kind; kinds not listed are never drawn.
        max_rounds: maximum number of cells before the passing one.
    """

    shares: Mapping[RoundKind, float] = field(default_factory=lambda: {"look": 1.0})
    max_rounds: int = 5


@dataclass(frozen=True)
class Told:
    """A story in words.

    Attributes:
        kind: kind of the story as finally told.
        rounds: kinds of its cells before the passing one.
    """

    blocks: tuple[Block, ...]
    kind: RoundKind
    rounds: tuple[str, ...]
    slips: tuple[Mutation, ...]

    @property
    def unexplained(self) -> str:
        """Return the output of a failing assertion that no look follows; "" if there is none."""
        outputs = [block.content for block in self.blocks if block.type == "execution"]
        for kind, following, output in zip(self.rounds, (*self.rounds[1:], "attempt"), outputs, strict=False):
            if kind == following == "attempt" and output.endswith("AssertionError"):
                return output
        return ""


@dataclass(frozen=True)
class _Ran:
    """An executed round with its output and the sentences about it."""

    round: Round
    output: str
    after: Sequence[Saying]


def tell(story: Story, execute: Executions, seed: str, settings: StorySettings, manner: Manner | None = None) -> Told | Rejected:
    """Return the story as the first kind, in drawn order, that these attempts allow; or the rejection.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    manner = manner or Manner()
    rejected = Rejected("unsupported_claim", "no kind of story can be told")
    for kind in _kinds(seed, settings):
        told = _told(kind, story, execute, seed, settings, manner)
        if isinstance(told, Told):
            return told
        rejected = told or rejected
    return rejected


def _kinds(seed: str, settings: StorySettings) -> Iterator[RoundKind]:
    """Yield kinds drawn by their shares without replacement, then the fallbacks, which nearly all attempts allow."""
    rng = random.Random(f"kinds/{seed}")
    left: dict[RoundKind, float] = {kind: settings.shares[kind] for kind in ROUND_KINDS if settings.shares.get(kind, 0) > 0}
    order: list[RoundKind] = []
    while left:
        drawn: RoundKind = rng.choices(tuple(left), tuple(left.values()))[0]
        order.append(drawn)
        del left[drawn]
    for kind in dict.fromkeys((*order, *_FALLBACKS)):
        if KINDS[kind].min_rounds <= settings.max_rounds:
            yield kind


def _told(
    kind: RoundKind, story: Story, execute: Executions, seed: str, settings: StorySettings, manner: Manner
) -> Told | Rejected | None:
    """Return the story told as a given kind; None if these attempts do not allow it."""
    draft = KINDS[kind].draft(story, execute, random.Random(f"{kind}/{seed}"), manner)
    ran = draft and _run(_within(draft, settings.max_rounds), execute)
    if not draft or ran is None:
        return None
    unsupported, blocks = "", []
    for words in (manner, replace(manner, extras=0.0)):
        blocks = _blocks(ran, draft, random.Random(f"words/{seed}"), words)
        claims = check_blocks(story.request, blocks)
        unsupported = ", ".join(claim.stated.text for claim in claims if claim.status == "unsupported")
        if not unsupported:
            break
    if unsupported:
        return Rejected("unsupported_claim", unsupported)
    rounds = tuple(item.round.kind for item in ran)
    is_direct = kind == "look" and "look" not in rounds
    return Told(tuple(blocks), "direct" if is_direct else kind, rounds, draft.slips)


def _within(draft: Draft, max_rounds: int) -> Draft:
    """Drop optional places, first ones first, until the draft has at most `max_rounds`."""
    places = [place for place in draft.places if place.candidates]
    while (
        len(places) > max_rounds and (index := next((at for at, place in enumerate(places) if not place.is_needed), None)) is not None
    ):
        del places[index]
    return replace(draft, places=tuple(places))


def _run(draft: Draft, execute: Executions) -> list[_Ran] | None:
    """Run the session with the first usable round of each place; None if a needed place has none."""
    left = [list(place.candidates) for place in draft.places]
    for _ in range(_MAX_SESSIONS):
        if any(place.is_needed and not rounds for place, rounds in zip(draft.places, left, strict=True)):
            return None
        chosen = [rounds[0] if rounds else None for rounds in left]
        cells = [item.cell for item in chosen if item is not None]
        outputs = [ran.output.rstrip("\n") for ran in execute([*cells, draft.last_cell])]
        answers = iter(outputs)
        ran = [item and _Ran(item, output := next(answers), item.read(output) or ()) for item in chosen]
        failed = [at for at, item in enumerate(ran) if item is not None and not item.after]
        if not failed and outputs[-1] == draft.last_output:
            return [item for item in ran if item is not None]
        left = _without(left, failed, draft.places, is_last_wrong=outputs[-1] != draft.last_output)
    return None


def _without(left: list[list[Round]], failed: list[int], places: Sequence[Place], *, is_last_wrong: bool) -> list[list[Round]]:
    """Return the remaining rounds after some have failed.

    If an attempt's output differs from that of its run alone, the optional rounds between the attempts caused it and are dropped.
    """
    is_disturbed = is_last_wrong or any(places[at].is_needed and len(places[at].candidates) == 1 for at in failed)
    if is_disturbed and any(rounds and not place.is_needed for place, rounds in zip(places, left, strict=True)):
        return [rounds if place.is_needed else [] for place, rounds in zip(places, left, strict=True)]
    if is_disturbed:
        return [[] for _ in left]
    return [rounds[1:] if at in failed else rounds for at, rounds in enumerate(left)]


def _blocks(ran: Sequence[_Ran], draft: Draft, rng: random.Random, manner: Manner) -> list[Block]:
    blocks: list[Block] = []
    after: Sequence[Saying] = ()
    for item in ran:
        text = spoken([*after, *item.round.before], rng, manner)
        blocks += [Block("text", text), Block("code", item.round.cell)]
        blocks.append(Block("execution", item.output))
        after = item.after
    text = spoken([*after, *draft.closing], rng, manner)
    return [*blocks, Block("text", text), Block("code", draft.last_cell), Block("execution", draft.last_output)]


def traced_blocks(story: Story, execute: Executions, seed: str) -> list[Block] | Rejected:
    """Return the blocks of a story in which a look and a correction follow each attempt, or the rejection.

    Raises:
        SandboxUnavailableError: the sandbox failed, not a program.
    """
    told = tell(story, execute, seed, StorySettings())
    return told if isinstance(told, Rejected) else list(told.blocks)
