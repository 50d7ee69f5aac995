"""Figures by group: classes that were trained on, classes that were not, all of them, and the mean of the first two.

Paper: section 4; a data set's classes are divided 60 / 40, and "Avg" is the mean of the two groups' accuracies.

1. *Groups.* ``all`` weighs pictures, ``average`` weighs the two groups equally and is the paper's Avg of one data set.
   Without a division there is ``all`` alone.
2. *Intervals.* The paper prints none ("average of 3 trials" of a greedy, seeded evaluator). Here every figure has a
   bootstrap interval, over pictures or over classes.
3. *Unanswered.* An item without a reply counts in no figure; each figure tells how many items it is over, and what
   share of its group that is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgvr.labels.normalise import normalise
from fgvr.metrics.bootstrap import Interval
from fgvr.metrics.strata import Unit, bootstrap_strata

SEEN, UNSEEN, ALL, AVERAGE = "seen", "unseen", "all", "average"
GROUPS = (SEEN, UNSEEN, AVERAGE, ALL)

Seen = Collection[str] | Mapping[str, bool] | None
"""Names of the classes trained on; or class name to whether it was; ``None``: no division."""


@dataclass(frozen=True)
class Figure:
    """One figure of one group."""

    interval: Interval
    n: int
    """Items it is over."""
    coverage: float
    """Share of the group's items that it is over, in [0, 1]."""

    @property
    def value(self) -> float:
        """In [0, 1]."""
        return self.interval.value

    def text(self) -> str:
        """``63.5 [61.2, 65.7]``, in per cent; with the coverage where it is not whole."""
        covered = "" if self.coverage >= 1 else f" ({100 * self.coverage:.1f} covered)"
        return self.interval.percent() + covered

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {**vars(self.interval), "n": self.n, "coverage": self.coverage}


Figures = dict[str, dict[str, Figure]]
"""By group, then by the figure's key."""


def divided(names: Sequence[str], seen: Seen, marked: Sequence[bool | None] | None = None) -> list[bool | None]:
    """For each item's class name whether it was trained on; ``None`` where that is not known.

    Names are compared after normalising. ``marked``: what the data itself says of each item; it counts where ``seen``
    is ``None``.
    """
    if seen is None:
        return list(marked) if marked is not None else [None] * len(names)
    known = [name for name, was in seen.items() if was] if isinstance(seen, Mapping) else list(seen)
    forms = {normalise(name) for name in known}
    return [normalise(name) in forms for name in names]


def grouped(flags: Sequence[bool | None]) -> dict[str, list[int]]:
    """Positions of the items of ``seen``, ``unseen`` and ``all``; groups without an item are left out."""
    found = {
        SEEN: [place for place, flag in enumerate(flags) if flag is True],
        UNSEEN: [place for place, flag in enumerate(flags) if flag is False],
        ALL: list(range(len(flags))),
    }
    return {group: places for group, places in found.items() if places}


def figures_of(
    scores: Mapping[str, Sequence[float]],
    flags: Sequence[bool | None],
    classes: Sequence[str],
    *,
    unit: Unit = "items",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Figures:
    """Every score in every group.

    Args:
        scores: for each figure one number an item; NaN where the item does not count for it.
        flags: whether each item's class was trained on.
        classes: each item's class, for ``unit="classes"``.

    A figure that no item of a group counts for is left out there; ``average`` needs both groups.
    """
    groups = grouped(flags)
    found: Figures = {group: {} for group in GROUPS if group in groups}
    if SEEN in groups and UNSEEN in groups:
        found = {group: {} for group in GROUPS}
    for key, values in scores.items():
        kept = {group: [at for at in places if not math.isnan(values[at])] for group, places in groups.items()}
        parts = {group: [group] for group in groups} | ({AVERAGE: [SEEN, UNSEEN]} if AVERAGE in found else {})
        for group, members in parts.items():
            if not all(kept[member] for member in members):
                continue
            interval = bootstrap_strata(
                [[values[at] for at in kept[member]] for member in members],
                classes=[[classes[at] for at in kept[member]] for member in members] if unit == "classes" else None,
                resamples=resamples,
                level=level,
                seed=seed,
            )
            counted = sum(len(kept[member]) for member in members)
            found[group][key] = Figure(interval, counted, counted / sum(len(groups[member]) for member in members))
    return found
