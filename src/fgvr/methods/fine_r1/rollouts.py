"""One step's replies: ask about anchors and positives, reward, keep the prompts that teach something (section 3.3).

1. *Groups.* The replies to the anchor and to the positive of a triplet form one group (intra-class augmentation).
2. *Dynamic sampling* (DAPO): a group whose replies are all right or all wrong has no advantage and is replaced.
3. *Replies that never end* are scored as they are: without the closing tag they have no answer.
4. *A picture that cannot be read* takes its triplet out (anchor), or the positive's place goes to the anchor; its id is
   noted once and the step goes on with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fgvr.errors import NoImagesError
from fgvr.methods.fine_r1.dynamic import Collection, goes_on, taken
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.rewards import Reward, reward
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.training.order import step_seed
from fgvr.training.rollout import Engine, Sampled
from fgvr.training.sights import Sight

Source = Literal["anchor", "positive"]
Group = tuple["Reply", ...]


@dataclass(frozen=True)
class Reply:
    """One reply to one picture of a triplet."""

    triplet: Triplet
    source: Source
    sampled: Sampled
    reward: Reward

    @property
    def picture(self) -> Path:
        """What the model saw."""
        return self.triplet.picture(self.source == "positive")

    def record(self, *, step: int, attempt: int, advantage: float | None, kept: bool) -> dict[str, Any]:
        """A line of ``rollouts.jsonl``."""
        one, said, got = self.triplet, self.sampled, self.reward
        return {
            "step": step,
            "try": attempt,
            "prompt_id": one.id,
            "source": self.source,
            "image": str(self.picture),
            "negative": "" if one.negative is None else str(one.negative),
            "category": one.category,
            "negative_category": one.negative_category,
            "question": one.question,
            "reply": said.text,
            "tokens": len(said.tokens),
            "ended": said.ended,
            "accuracy": got.accuracy,
            "format": got.format,
            "reward": got.total,
            "reason": got.reason,
            "advantage": advantage,
            "kept": kept,
        }


@dataclass
class Collected:
    """The replies of one step."""

    progress: Collection
    position: int = 0
    """How far in the order of triplets the step has read."""
    kept: list[tuple[int, Group]] = field(default_factory=list)
    """(try, group) of what is learned from."""
    others: list[tuple[int, Group]] = field(default_factory=list)
    """What was filtered out, or came when there was enough."""

    @property
    def groups(self) -> list[Group]:
        """All of them, the kept ones first."""
        return [group for _, group in (*self.kept, *self.others)]

    @property
    def replies(self) -> list[Reply]:
        """Those of all groups."""
        return [reply for group in self.groups for reply in group]


def order(count: int, *, seed: int, position: int) -> Iterator[int]:
    """Indices of triplets from ``position`` on, endlessly; every epoch in an order of its own."""
    epoch, place = divmod(position, count)
    while True:
        yield from map(int, np.random.default_rng([seed, epoch]).permutation(count)[place:])
        epoch, place = epoch + 1, 0


def collect(
    triplets: Sequence[Triplet],
    engine: Engine,
    settings: PolicySettings,
    *,
    seed: int,
    step: int,
    position: int,
    readable: Callable[[Path], bool] = lambda _: True,
    rank: int = 0,
    size: int = 1,
    gather: Callable[[list[Group]], list[list[Group]]] = lambda mine: [mine],
    report: Callable[[int, int], None] | None = None,
) -> Collected:
    """Groups of replies for one step, ``rollout_batch`` kept ones if the number of tries allows.

    Raises ``NoImagesError`` when no anchor can be read.

    Args:
        position: where in the order of triplets to go on.
        rank, size, gather: this process among all; ``gather`` gives every process all of them's groups.
        report: called with (prompts kept, prompts wanted).
    """
    found = Collected(Collection(wanted=settings.rollout_batch), position)
    while goes_on(found.progress, settings.dynamic):
        tried = found.progress.tries
        wanted, found.position = _next(triplets, settings.mini_rollout, seed, found.position, readable)
        if not wanted:
            remedy = "Check that the pictures are where they were."
            raise NoImagesError("not one anchor can be read any more", remedy=remedy, triplets=len(triplets))
        mine = _asked(wanted[rank::size], engine, settings, step_seed(seed, step * 1000 + tried, rank), readable)
        parts = gather(mine)
        groups = [parts[index % size][index // size] for index in range(len(wanted))]
        scored = [(group[0].triplet.id, [one.reward.accuracy for one in group]) for group in groups]
        found.progress, chosen = taken(found.progress, scored, settings.dynamic)
        found.kept += [(tried, groups[place]) for place in chosen]
        found.others += [(tried, group) for place, group in enumerate(groups) if place not in set(chosen)]
        if report is not None:
            report(len(found.kept), settings.rollout_batch)
    return found


def _next(
    triplets: Sequence[Triplet], count: int, seed: int, position: int, readable: Callable[[Path], bool]
) -> tuple[list[Triplet], int]:
    """The next ``count`` triplets whose anchors can be read, and the position behind them; fewer where none is left."""
    found: list[Triplet] = []
    for tried, index in enumerate(order(len(triplets), seed=seed, position=position), start=1):
        if readable(triplets[index].anchor):
            found.append(triplets[index])
        if len(found) == count or tried == max(count, len(triplets)) * 2:
            return found, position + tried
    raise AssertionError  # the order has no end


def _asked(
    triplets: Sequence[Triplet],
    engine: Engine,
    settings: PolicySettings,
    seed: int,
    readable: Callable[[Path], bool],
) -> list[Group]:
    """The rewarded replies to both pictures of each triplet."""

    def sight(one: Triplet, picture: Path) -> Sight:
        return Sight(train_prompt(one.question, style=settings.style, thinking=settings.thinking), picture)

    n1, n2 = settings.replies
    asked: list[tuple[int, Source, int]] = []
    for place, one in enumerate(triplets):
        pair = n2 > 0 and one.positive is not None and readable(one.positive)
        asked += [(place, "anchor", n1), (place, "positive", n2)] if pair else [(place, "anchor", n1 + n2)]
    sights = [sight(triplets[place], triplets[place].picture(source == "positive")) for place, source, _ in asked]
    replies = engine(sights, [count for _, _, count in asked], settings.sampling, seed)
    groups: list[list[Reply]] = [[] for _ in triplets]
    for (place, source, _), said in zip(asked, replies, strict=True):
        groups[place] += [_rewarded(triplets[place], source, each, settings) for each in said]
    return [tuple(group) for group in groups]


def _rewarded(one: Triplet, source: Source, said: Sampled, settings: PolicySettings) -> Reply:
    got = reward(
        said.text,
        one.category,
        accepted=one.accepted,
        rule=settings.rule,
        ended=said.ended,
        thinking=settings.thinking,
    )
    return Reply(one, source, said, got)
