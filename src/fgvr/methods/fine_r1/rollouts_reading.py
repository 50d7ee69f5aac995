"""Saved rollouts, read twice without ever lying in memory: once for the figures of every step, once for those shown.

``rollouts.jsonl`` has a line a reply. Which replies a page shows is decided by whole groups (the replies to one prompt
at one step and try), since an advantage means nothing without its group:

1. all, where there are at most ``most`` replies and their texts fit ``most_bytes``;
2. otherwise one half from the end of the run backwards, the other half from the groups before, drawn by ``seed`` and
   dealt out in turn over the steps, so that no step is left out before another has its second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.runs import Ledger

MOST_SHOWN = 2000
TEXT_BYTES = 4_000_000
"""Of the replies on one page."""

Key = tuple[int, int, str]
"""Step, try, prompt: what replies of one group share."""


@dataclass(frozen=True)
class Rollout:
    """A line of ``rollouts.jsonl``."""

    step: int
    attempt: int
    """The draw of dynamic sampling (``try``)."""
    prompt_id: str
    source: str
    """Whose picture was shown: ``anchor`` or ``positive``."""
    image: str
    negative: str
    category: str
    negative_category: str
    question: str
    reply: str
    tokens: int
    ended: bool
    accuracy: float
    format: float
    reward: float
    reason: str
    advantage: float | None
    """``None`` where the group was filtered out."""
    kept: bool

    @property
    def key(self) -> Key:
        return self.step, self.attempt, self.prompt_id

    @property
    def right(self) -> bool:
        return self.accuracy >= 0.5


@dataclass
class GroupTally:
    """How much of a group there is."""

    replies: int = 0
    bytes: int = 0


@dataclass
class StepTally:
    """Sums over the replies of a step."""

    replies: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def row(self, step: int) -> dict[str, float]:
        """Means under the names of the log, with ``step`` and ``replies``."""
        return {"step": step, "replies": self.replies, **{key: s / self.replies for key, s in self.sums.items()}}


@dataclass
class Scan:
    """What the first reading found."""

    steps: dict[int, StepTally] = field(default_factory=dict)
    groups: dict[Key, GroupTally] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    skipped: int = 0
    """Lines that are no rollouts."""

    @property
    def replies(self) -> int:
        return len(self.lengths)

    def rows(self) -> list[dict[str, float]]:
        """One mapping a step, in order."""
        return [self.steps[step].row(step) for step in sorted(self.steps)]


def rollouts(path: Path, found: Scan | None = None) -> Iterator[Rollout]:
    """The rollouts of a file, oldest first; lines that are none are left out and counted in ``found``."""
    ledger = Ledger(path)
    for record in ledger:
        one = read_rollout(record)
        if one is not None:
            yield one
        elif found is not None:
            found.skipped += 1
    if found is not None:
        found.skipped += ledger.skipped


def scan(path: Path) -> Scan:
    """The first reading."""
    found = Scan()
    for one in rollouts(path, found):
        step = found.steps.setdefault(one.step, StepTally())
        step.replies += 1
        figures = {
            "reward": one.reward, "accuracy": one.accuracy, "format": one.format, "length": one.tokens,
            "ended": one.ended, "filtered": not one.kept,
        }  # fmt: skip
        for name, value in figures.items():
            step.sums[name] = step.sums.get(name, 0.0) + float(value)
        group = found.groups.setdefault(one.key, GroupTally())
        group.replies += 1
        group.bytes += len(one.reply.encode("utf-8", "surrogatepass"))
        found.lengths.append(one.tokens)
        found.right.append(one.right)
    return found


def chosen_groups(
    groups: Mapping[Key, GroupTally], *, most: int = MOST_SHOWN, most_bytes: int = TEXT_BYTES, seed: int = 0
) -> list[Key]:
    """Groups to show, newest first; the rule is the module docstring's. At least the newest group, however large."""
    newest = [key for _, key in sorted(enumerate(groups), key=lambda pair: (pair[1][:2], pair[0]), reverse=True)]
    replies, size = _fit(newest, groups)
    if replies <= most and size <= most_bytes:
        return newest
    taken = _taken(newest, groups, most // 2, most_bytes // 2) or newest[:1]
    replies, size = _fit(taken, groups)
    earlier = _dealt(newest[len(taken) :], seed=seed)
    drawn = _taken(earlier, groups, most - replies, most_bytes - size)
    kept = {*taken, *drawn}
    return [key for key in newest if key in kept]


def read_groups(path: Path, keys: Sequence[Key]) -> dict[Key, list[Rollout]]:
    """The second reading: the replies of ``keys``, in the order of ``keys`` and of the file."""
    found: dict[Key, list[Rollout]] = {key: [] for key in keys}
    for one in rollouts(path):
        if one.key in found:
            found[one.key].append(one)
    return found


def read_rollout(record: Mapping[str, Any]) -> Rollout | None:
    """A line as a rollout; ``None`` where a figure is missing, no number or not finite."""
    try:
        advantage = record.get("advantage")
        advantage = None if advantage is None else _finite(advantage)
        texts = {name: str(record.get(name) or "") for name in _TEXTS}
        return Rollout(
            step=int(record["step"]),
            attempt=int(record.get("try", 0)),
            tokens=int(record["tokens"]),
            ended=bool(record.get("ended", True)),
            accuracy=_finite(record["accuracy"]),
            format=_finite(record["format"]),
            reward=_finite(record["reward"]),
            advantage=advantage,
            kept=bool(record.get("kept", True)),
            prompt_id=texts["prompt_id"],
            source=texts["source"],
            image=texts["image"],
            negative=texts["negative"],
            category=texts["category"],
            negative_category=texts["negative_category"],
            question=texts["question"],
            reply=texts["reply"],
            reason=texts["reason"],
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


_TEXTS = (
    "prompt_id", "source", "image", "negative", "category", "negative_category", "question", "reply", "reason",
)  # fmt: skip


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _fit(keys: Sequence[Key], groups: Mapping[Key, GroupTally]) -> tuple[int, int]:
    return sum(groups[key].replies for key in keys), sum(groups[key].bytes for key in keys)


def _taken(keys: Sequence[Key], groups: Mapping[Key, GroupTally], most: int, most_bytes: int) -> list[Key]:
    """The first of ``keys`` that fit both limits."""
    taken: list[Key] = []
    for key in keys:
        most, most_bytes = most - groups[key].replies, most_bytes - groups[key].bytes
        if most < 0 or most_bytes < 0:
            break
        taken.append(key)
    return taken


def _dealt(keys: Sequence[Key], *, seed: int) -> list[Key]:
    """The groups in a drawn order: every step's first before any step's second."""
    drawn = np.random.default_rng(seed).permutation(len(keys))
    turn: dict[int, int] = {}
    order: list[tuple[int, int, Key]] = []
    for place in drawn:
        key = keys[int(place)]
        order.append((turn.setdefault(key[0], 0), len(order), key))
        turn[key[0]] += 1
    return [key for *_, key in sorted(order, key=lambda entry: entry[:2])]
