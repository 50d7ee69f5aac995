"""One model's figures over several data sets, each weighing the same (Fine-R1's tables: six data sets).

Seen is the unweighted mean over the data sets' seen classes, unseen likewise, and the paper's Avg is the mean of the
two. A data set without a figure in a group would change what the mean is over, so such a mean is not made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fgvr.errors import InputError
from fgvr.methods.fine_r1.figures import ALL, AVERAGE, SEEN, UNSEEN, Figure, Figures, grouped
from fgvr.methods.fine_r1.parts import Measured, Part
from fgvr.metrics.strata import Unit, bootstrap_strata


def macro(
    parts: Sequence[Part],
    *,
    unit: Unit = "items",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Figures:
    """Figures of the mean over ``parts``, the same part of one model on several data sets, each redrawn on its own.

    Raises ``InputError`` for no parts, or a mixture of closed and open ones.
    """
    if len({part.name for part in parts}) != 1:
        raise InputError("a mean needs one kind of part", remedy="Give closed ones or open ones.", parts=len(parts))
    measured = [part.measured for part in parts]
    keys = [key for key in measured[0].scores if all(key in one.scores for one in measured)]
    found: Figures = {}
    for group, members in {SEEN: (SEEN,), UNSEEN: (UNSEEN,), AVERAGE: (SEEN, UNSEEN), ALL: (ALL,)}.items():
        for key in keys:
            strata = [_stratum(one, key, member) for member in members for one in measured]
            if not all(kept for kept, _ in strata):
                continue
            interval = bootstrap_strata(
                [[scores.scores[key][at] for at in kept] for (kept, _), scores in zip(strata, measured * len(members))],
                classes=[[one.classes[at] for at in kept] for (kept, _), one in zip(strata, measured * len(members))]
                if unit == "classes"
                else None,
                resamples=resamples,
                level=level,
                seed=seed,
            )
            counted, asked = sum(len(kept) for kept, _ in strata), sum(size for _, size in strata)
            found.setdefault(group, {})[key] = Figure(interval, counted, counted / asked)
    return found


def _stratum(measured: Measured, key: str, group: str) -> tuple[list[int], int]:
    """Positions of a group's items that count for a figure, and how many items the group has."""
    places = grouped(measured.flags).get(group, [])
    return [at for at in places if not math.isnan(measured.scores[key][at])], len(places)
