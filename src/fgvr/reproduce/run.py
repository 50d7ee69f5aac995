"""Running a recipe: ``fgvr.compare`` on what is there, scored as published, beside the published figures."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fgvr.compare import Collection, Draw, Row, Terms, compare
from fgvr.compare.replies import ledgers, paid
from fgvr.compare.run import folder_name
from fgvr.errors import FgvrError, RunError
from fgvr.mllm.cache import ResponseCache
from fgvr.reproduce.lines import Line, side_by_side
from fgvr.reproduce.planning import Plan
from fgvr.reproduce.scoring import Scored, scored

Compare = Callable[..., list[Row]]


@dataclass(frozen=True)
class Outcome:
    """What came of a recipe."""

    plan: Plan
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    sentence_encoder: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-like."""
        recipe = self.plan.recipe
        return {
            "recipe": recipe.name,
            "title": recipe.title,
            "source": asdict(recipe.source),
            "method": recipe.method,
            "datasets": list(self.plan.datasets),
            "missing": [asdict(one) for one in self.plan.missing],
            "differs": list(self.plan.differs),
            "faults": list(recipe.faults),
            "notes": list(recipe.notes),
            "sentence_encoder": self.sentence_encoder,
            "lines": [{**asdict(line), "difference": line.difference} for line in self.lines],
            "runs": [_row(row) for row in self.rows],
        }


def reproduce(
    plan: Plan,
    collections: Mapping[str, Collection],
    *,
    terms: Terms,
    out: Path,
    seeds: Sequence[int] = (0,),
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
    told: Callable[[Row], None] = lambda row: None,
    compare: Compare = compare,
) -> Outcome:
    """Run what the plan can run and set it beside what was published.

    Args:
        collections: of the plan's data sets, by name.
        out: folder of the comparison, which is gone on with where it is there already; a curve has one for each number
            of shots below it.

    A data set that fails gives lines that say so. Raises ``RunError`` for a plan that cannot be run, and what
    ``compare`` raises.
    """
    if not plan.runnable:
        needed = [one for one in plan.missing if one.stops or not plan.datasets]
        remedy = " ".join(f"{one.what}: {one.remedy}" for one in needed)
        raise RunError("nothing of this recipe can be run with what is there", remedy=remedy, recipe=plan.recipe.name)
    found: dict[tuple[int | None, str], list[Scored]] = {}
    failed: dict[tuple[int | None, str], str] = {}
    rows: list[Row] = []
    with _points(plan, terms, out) as points:
        for point in points:
            several = compare(
                [collections[name] for name in plan.datasets],
                (plan.recipe.method,),
                terms=point.terms(),
                out=point.folder,
                # Methods without a support set are given one image a class, which they do not look at.
                draw=Draw("balanced", point.shots or 1),
                seeds=seeds,
                report=report,
                told=told,
            )
            rows += several
            for row in several:
                _keep(row, collections[row.collection], point, terms, found=found, failed=failed)
    ours = None if terms.sentence_encoder is None else terms.sentence_encoder.name
    return Outcome(plan, tuple(side_by_side(plan, found, ours, failed=failed)), tuple(rows), ours)


@dataclass(frozen=True)
class _Point:
    """One number of shots: a comparison of its own."""

    shots: int | None
    folder: Path
    shared: Terms
    others: tuple[Path, ...] = ()
    """The folders of the other points."""

    def terms(self) -> Terms:
        """What the others paid, in this session or before, is no longer there to be spent."""
        if self.shared.budget is None:
            return self.shared
        spent = sum(paid(ledgers(folder)) for folder in self.others)
        return replace(self.shared, budget=max(0.0, self.shared.budget - spent))


@contextlib.contextmanager
def _points(plan: Plan, terms: Terms, out: Path) -> Iterator[list[_Point]]:
    """One comparison in ``out``, or for a curve one below it for each number of shots.

    A curve's comparisons share features, answers and the spending cap: the support images of few shots are among those
    of more.
    """
    curve = plan.recipe.protocol.shots
    if len(curve) < 2:
        yield [_Point(curve[0] if curve else None, out, terms)]
        return
    folders = {shots: out / f"shots-{shots}" for shots in curve}
    with ResponseCache(out / "replies.sqlite") as cache:
        shared = replace(terms, store=terms.store or out / "features", asking={"cache": cache, **terms.asking})
        yield [
            _Point(shots, folder, shared, tuple(one for other, one in folders.items() if other != shots))
            for shots, folder in folders.items()
        ]


def _keep(
    row: Row,
    collection: Collection,
    point: _Point,
    terms: Terms,
    *,
    found: dict[tuple[int | None, str], list[Scored]],
    failed: dict[tuple[int | None, str], str],
) -> None:
    """Score a row; one that failed or cannot be scored says why and does not cost the others."""
    place = (point.shots, row.collection)
    if row.status != "done":
        failed[place] = row.error or "stopped by the spending cap"
        return
    try:
        found.setdefault(place, []).append(_scored(row, collection, point.folder, terms))
    except FgvrError as error:
        failed[place] = str(error)


def _scored(row: Row, collection: Collection, folder: Path, terms: Terms) -> Scored:
    """The row's names, read back from the comparison's folder, scored as published and as they should be."""
    place = folder / folder_name(row.collection) / f"seed-{row.seed}" / folder_name(row.method) / "named.jsonl"
    named = {line["item"]: line["name"] for line in map(json.loads, place.read_text("utf-8").splitlines())}
    truth = [item for item in collection.test if item.id in named]
    return scored(
        [named[item.id] for item in truth],
        truth,
        row.collection,
        sentence_encoder=terms.sentence_encoder,
        resamples=terms.resamples,
        seed=row.seed,
    )


def _row(row: Row) -> dict[str, Any]:
    """Of a row what is not in the lines."""
    kept = (
        "collection",
        "method",
        "seed",
        "status",
        "error",
        "images",
        "answered",
        "support",
        "names",
        "paid",
        "seconds",
    )
    return {**{key: getattr(row, key) for key in kept}, "usage": asdict(row.usage), "notes": list(row.notes)}
