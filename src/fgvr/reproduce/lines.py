"""Published figures and ours, line by line.

A difference is given only where both are the same measure on the same images. sACC of another sentence encoder gets
lines of its own; a folder that is not as distributed, or a part of the test images, gets a remark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fgvr.reproduce.planning import Plan, same_model
from fgvr.reproduce.recipe import METRICS, Recipe
from fgvr.reproduce.scoring import Scored

Scores = Mapping[tuple[int | None, str], Sequence[Scored]]
"""(shots, data set) to the scores of each seed."""
Failed = Mapping[tuple[int | None, str], str]
"""(shots, data set) to what went wrong."""


@dataclass(frozen=True)
class Line:
    """One figure, theirs and ours; all in per cent."""

    shots: int | None
    dataset: str
    """``mean``: over the data sets that were run."""
    metric: str
    encoder: str | None
    """Sentence encoder, of sACC."""
    published: float | None
    ours: float | None
    """Scored as published (``scoring.py``); mean over the seeds."""
    low: float | None = None
    high: float | None = None
    """Of one seed the interval over images; of several the least and the greatest."""
    unshifted: float | None = None
    """Cars: against the right class's name."""
    accepted: float | None = None
    """With corrected and accepted names."""
    remark: str = ""
    comparable: bool = True
    """Both are the same measure on the same images."""

    @property
    def difference(self) -> float | None:
        """Ours minus theirs, in points; ``None`` where they are not comparable."""
        if self.published is None or self.ours is None or not self.comparable:
            return None
        return self.ours - self.published


def side_by_side(
    plan: Plan, scores: Scores, sentence_encoder: str | None, *, failed: Failed | None = None
) -> list[Line]:
    """The lines of every number of shots, data set and metric, with a mean over the data sets that were run."""
    lines = []
    for shots in plan.recipe.protocol.shots or (None,):
        for metric in METRICS:
            several = [
                _line(plan, shots, name, metric, scores.get((shots, name), ()), sentence_encoder, failed or {})
                for name in plan.recipe.protocol.datasets
            ]
            several = [line for line in several if line.published is not None or line.ours is not None]
            mean = _mean(plan.recipe, shots, metric, several)
            for line in [*several, *([mean] if mean else [])]:
                lines += _kept_apart(plan.recipe, line, sentence_encoder)
    return lines


def _line(
    plan: Plan,
    shots: int | None,
    dataset: str,
    metric: str,
    several: Sequence[Scored],
    encoder: str | None,
    failed: Failed,
) -> Line:
    theirs = plan.recipe.published.get(metric, {}).get(dataset)
    name = encoder if metric == "sacc" else None
    got = [one.published[metric] for one in several if metric in one.published]
    if not got:
        return Line(shots, dataset, metric, name, theirs, None, remark=failed.get((shots, dataset), "not run"))
    values = [100 * figure.value for figure in got]
    low, high = (100 * got[0].low, 100 * got[0].high) if len(got) == 1 else (min(values), max(values))
    unanswered = sum(one.images - one.answered for one in several)
    remarks = [f"{unanswered} images without an answer are left out"] if unanswered else []
    if dataset in plan.incomparable:
        remarks.append(plan.incomparable[dataset])
    return Line(
        shots,
        dataset,
        metric,
        name,
        theirs,
        _average(values),
        low,
        high,
        _average([100 * one.unshifted[metric].value for one in several if metric in one.unshifted]),
        _average([100 * one.accepted[metric].value for one in several]),
        "; ".join(remarks),
        comparable=dataset not in plan.incomparable,
    )


def _mean(recipe: Recipe, shots: int | None, metric: str, lines: Sequence[Line]) -> Line | None:
    """Over the data sets that were run, theirs over the same ones; theirs alone where fewer than two were run."""
    used = [line for line in lines if line.ours is not None]
    names = tuple(line.dataset for line in used)
    if len(used) < 2:
        theirs = recipe.mean(metric) if len(recipe.protocol.datasets) > 1 else None
        return None if theirs is None else Line(shots, "mean", metric, None, theirs, None, remark="not run on all")
    straight = [line.ours if line.unshifted is None else line.unshifted for line in used]
    shifted = any(line.unshifted is not None for line in used)
    return Line(
        shots,
        "mean",
        metric,
        used[0].encoder,
        recipe.mean(metric, names),
        _average([line.ours for line in used]),
        unshifted=_average(straight) if shifted else None,
        accepted=_average([line.accepted for line in used]),
        remark=_of_mean(recipe, metric, names),
        comparable=all(line.comparable for line in used),
    )


def _of_mean(recipe: Recipe, metric: str, names: tuple[str, ...]) -> str:
    """What must be said of a mean over ``names``."""
    if set(names) != set(recipe.protocol.datasets):
        return f"over {', '.join(names)}"
    wrong = next((one for one in recipe.disagreements() if one.metric == metric), None)
    return f"printed as {wrong.printed:.1f}, which its own figures do not give" if wrong else ""


def _kept_apart(recipe: Recipe, line: Line, encoder: str | None) -> list[Line]:
    """One line, or two where ours and theirs are sACC of two sentence encoders."""
    theirs = recipe.protocol.sentence_encoder
    if line.metric != "sacc":
        return [line]
    published = Line(line.shots, line.dataset, "sacc", theirs, line.published, None, remark="not comparable with ours")
    if line.ours is None:
        return [] if line.published is None else [replace(published, remark=line.remark)]
    if same_model(encoder, theirs):
        return [line]
    own = replace(line, published=None)
    return [own] if line.published is None else [published, own]


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
