"""From rows to the table: one line a collection and method, over its draws, and one over all collections.

Intervals: over two or more draws, mean ± half of the 95 % t interval over draws; with one draw, or where no draw
changes a figure, the bootstrap interval over images. Differences are paired by draw, in these two cases by image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fgvr.compare.row import FIGURES, Row
from fgvr.metrics.bootstrap import Interval
from fgvr.types import Usage

EVERY = "all collections"


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    collection: str
    method: str
    title: str
    draws: int
    """Finished ones."""
    wanted: int
    figures: Mapping[str, Interval] = field(default_factory=dict)
    coverage: float = 0.0
    """Share of test images answered, mean over draws."""
    names: float = 0.0
    truth_covered: float | None = None
    usage: Usage = field(default_factory=Usage)
    """Mean over draws of what it took, had it run alone."""
    paid: float = 0.0
    """In this comparison, all draws together."""
    seconds: float = 0.0
    status: str = "done"
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sentence_encoder: str | None = None

    @property
    def whole(self) -> bool:
        """Whether every draw was finished and every image answered: figures of other lines may be compared with it."""
        return self.status == "done" and self.coverage == 1.0 and self.draws == self.wanted


def lines(rows: Sequence[Row]) -> list[Line]:
    """A line for each (collection, method) in order of first appearance; then the means over collections, if several.

    A mean over collections takes only methods that are finished on all of them.
    """
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.collection, row.method), []).append(row)
    found = [_line(group) for group in grouped.values()]
    collections = list(dict.fromkeys(row.collection for row in rows))
    if len(collections) < 2:
        return found
    for method in dict.fromkeys(row.method for row in rows):
        parts = [line for line in found if line.method == method]
        if len(parts) == len(collections) and all(part.draws for part in parts):
            found.append(_mean(parts, [grouped[name, method] for name in collections]))
    return found


def _line(rows: Sequence[Row]) -> Line:
    scored = [row for row in rows if row.figures]
    first, states = rows[0], [row.status for row in rows]
    status = "failed" if "failed" in states else "stopped" if "stopped" in states else "done"
    known = [row.truth_covered for row in scored if row.truth_covered is not None]
    return Line(
        collection=first.collection,
        method=first.method,
        title=first.title,
        draws=len(scored),
        wanted=len(rows),
        figures=_figures(scored),
        coverage=_mean_of(row.coverage for row in scored),
        names=_mean_of(row.names for row in scored),
        truth_covered=_mean_of(known) if known else None,
        usage=_mean_usage([row.usage for row in scored]),
        paid=sum(row.paid for row in rows),
        seconds=_mean_of(row.seconds for row in scored),
        status=status,
        errors=tuple(dict.fromkeys(row.error for row in rows if row.error)),
        notes=tuple(dict.fromkeys(text for row in rows for text in row.notes)),
        sentence_encoder=next((row.sentence_encoder for row in scored), None),
    )


def _figures(rows: Sequence[Row]) -> dict[str, Interval]:
    if len(rows) == 1:
        return dict(rows[0].figures)
    shared = [key for key in (rows[0].figures if rows else ()) if all(key in row.figures for row in rows)]
    values = {key: [row.figures[key].value for row in rows] for key in shared}
    return {
        key: over_draws(each) if len(set(each)) > 1 else rows[0].figures[key]  # draws that change nothing tell nothing
        for key, each in values.items()
    }


def _mean(parts: Sequence[Line], rows: Sequence[Sequence[Row]]) -> Line:
    """The unweighted mean over collections, as the papers have it; its interval from the means of each draw."""
    seeds = set.intersection(*({row.seed for row in group if row.figures} for group in rows))
    keys = [key for key in FIGURES if all(key in part.figures for part in parts)]
    figures = {}
    for key in keys:
        of_seed = [
            _mean_of(next(row for row in group if row.seed == seed).figures[key].value for group in rows)
            for seed in sorted(seeds)
        ]
        figures[key] = over_draws(of_seed) if len(of_seed) > 1 else _bare(_mean_of(p.figures[key].value for p in parts))
    states = [part.status for part in parts]
    return Line(
        collection=EVERY,
        method=parts[0].method,
        title=parts[0].title,
        draws=min(part.draws for part in parts),
        wanted=max(part.wanted for part in parts),
        figures=figures,
        coverage=_mean_of(part.coverage for part in parts),
        names=_mean_of(part.names for part in parts),
        usage=sum((part.usage for part in parts), Usage()),
        paid=sum(part.paid for part in parts),
        seconds=sum(part.seconds for part in parts),
        status=next((state for state in ("failed", "stopped") if state in states), "done"),
        sentence_encoder=parts[0].sentence_encoder,
    )


def over_draws(values: Sequence[float]) -> Interval:
    """Mean over two or more draws with its 95 % t interval; ``resamples`` is 0 there."""
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2:
        return _bare(mean)
    half = float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))
    return Interval(mean, mean - half, mean + half, 0.95, 0)


def _bare(value: float) -> Interval:
    return Interval(value, value, value, 0.95, 0)


def _mean_of(values: Iterable[float]) -> float:
    array = list(values)
    return float(np.mean(array)) if array else 0.0


def _mean_usage(usages: Sequence[Usage]) -> Usage:
    if not usages:
        return Usage()
    total, count = sum(usages, Usage()), len(usages)
    return Usage(
        round(total.calls / count),
        round(total.input_tokens / count),
        round(total.output_tokens / count),
        total.seconds / count,
        None if total.cost is None else total.cost / count,
    )
