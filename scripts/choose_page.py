"""What the study of choosing says on the page: tables of one outcome per way of choosing, budget and pool."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from choose_worlds import BURST, Study
from near_variants import Scores, interval
from scipy import stats

from fgvr.fieldguide.guide import all_species

WAYS = ("random", "spread", "active")
NEAR, ZERO, NEAREST = "near-lite", "zero-shot, MLLM's names", "1-NN of the named pictures"
FIGURES = {"exact": "accuracy", "cacc": "cACC", "sacc": "sACC"}
REFERENCE = 408
"""Labels of the papers' protocol here: three of each of 136 species."""


@dataclass(frozen=True)
class Bought:
    """What one way of choosing reached with one budget on one pool."""

    scores: Mapping[str, Scores]
    """By classifier."""
    species: int
    """True species among the named pictures."""
    labels: int


Runs = Mapping[str, list[Mapping[tuple[str, int], Bought]]]
"""By kind of pool, one a seed: (way, budget) -> outcome."""


def report(runs: Runs, study: Study, sizes: Mapping[str, Sequence[int]]) -> list[str]:
    """The section as Markdown lines."""
    lines = [
        "## Choosing what to have named",
        "",
        "`fgvr fit near --choose random|spread|active` at equal numbers of labels bought. *random* draws; *spread* leaves",
        "near-duplicates out and takes the medoids of as many clusters as labels; *active* spends half of the labels so and",
        "the rest in two rounds on pictures that are least certain under the names so far. No way sees a true label. Natural",
        f"pools: {np.mean(sizes['natural']):.0f} pictures, {study.distinct} of them different, species Zipf-distributed "
        f"(some with one picture), {BURST:.0%} of the",
        f"different ones in bursts. Even pools: {study.even} pictures of each of {len(all_species())} species, no bursts. "
        f"Test: {study.test} pictures of each species, the same",
        f"for all. {study.seeds} seeds (pool and choice), paired. Encoder and MLLM `fieldguide`, the paper's prompt; settings of "
        "the choice were",
        f"decided on other pictures. `scripts/choose_labels.py`, {date.today()}, {platform.machine()} CPU, float32.",
    ]
    for kind, found in runs.items():
        lines += ["", f"### {kind.capitalize()} pools", "", *reached(found, study.budgets)]
        lines += ["", *gains(found, study.budgets), "", *needed(found, study.budgets)]
        lines += ["", *unpaid(found, study.budgets)]
    return lines


def reached(found: Sequence[Mapping[tuple[str, int], Bought]], budgets: Sequence[int]) -> list[str]:
    """Means over seeds: accuracy / cACC / sACC, and species."""
    lines = [
        f"Mean {' / '.join(FIGURES.values())}, per cent:",
        "",
        row("classifier", ["chosen by", *map(str, budgets)]),
        "|---|---|" + "---|" * len(budgets),
    ]
    for classifier in (NEAR, NEAREST, ZERO):
        for way in WAYS:
            cells = [
                " / ".join(f"{100 * np.mean(values(found, way, budget, classifier, f)):.1f}" for f in FIGURES)
                for budget in budgets
            ]
            lines.append(row(classifier, [way, *cells]))
    for way in WAYS:
        cells = [f"{np.mean([run[way, budget].species for run in found]):.0f}" for budget in budgets]
        lines.append(row("species among the named", [way, *cells]))
    return lines


def gains(found: Sequence[Mapping[tuple[str, int], Bought]], budgets: Sequence[int]) -> list[str]:
    """Paired differences with intervals."""
    lines = [
        "Paired differences, points, mean ± half of the 95 % t interval:",
        "",
        row("classifier", ["figure", "difference", *map(str, budgets)]),
        "|---|---|---|" + "---|" * len(budgets),
    ]
    shown = [(NEAR, figure) for figure in FIGURES] + [(NEAREST, "exact"), (ZERO, "exact")]
    for classifier, figure in shown:
        for first, second in (("spread", "random"), ("active", "random"), ("active", "spread")):
            sides = [
                zip(
                    values(found, first, b, classifier, figure),
                    values(found, second, b, classifier, figure),
                    strict=True,
                )
                for b in budgets
            ]
            cells = [interval(one - two for one, two in side) for side in sides]
            lines.append(row(classifier, [FIGURES[figure], f"{first} - {second}", *cells]))
    return lines


def needed(found: Sequence[Mapping[tuple[str, int], Bought]], budgets: Sequence[int]) -> list[str]:
    """Labels that reach the accuracy of ``REFERENCE`` random ones, on the straight lines between budgets, by seed."""
    lines = [
        f"Labels needed for the accuracy that random reaches with {REFERENCE} (mean, least to most over seeds; "
        f"> {budgets[-1]} where not reached):",
        "",
        row("classifier", list(WAYS[1:])),
        "|---|---|---|",
    ]
    for classifier in (NEAR, NEAREST, ZERO):
        cells = []
        for way in WAYS[1:]:
            curves = zip(*(values(found, way, budget, classifier, "exact") for budget in budgets), strict=True)
            goals = values(found, "random", REFERENCE, classifier, "exact")
            cells.append(spread_of([first_at(budgets, c, g) for c, g in zip(curves, goals, strict=True)], budgets[-1]))
        lines.append(row(classifier, cells))
    return lines


def unpaid(found: Sequence[Mapping[tuple[str, int], Bought]], budgets: Sequence[int]) -> list[str]:
    """Where choosing is not better than chance beyond doubt, and where it is worse."""
    lines = ["Accuracy against random, where the 95 % t interval of the difference does not lie above zero:", ""]
    for way in WAYS[1:]:
        for classifier in (NEAR, NEAREST, ZERO):
            words = []
            for budget in budgets:
                gain = np.subtract(
                    values(found, way, budget, classifier, "exact"),
                    values(found, "random", budget, classifier, "exact"),
                )
                half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
                if gain.mean() <= half:
                    words.append(f"{budget} (worse)" if gain.mean() < -half else str(budget))
            lines.append(f"- {way}, {classifier}: {', '.join(words) or 'nowhere'}")
    return lines


def first_at(budgets: Sequence[int], curve: Sequence[float], goal: float) -> float:
    """The least budget at which the broken line through ``curve`` reaches ``goal``; infinite where it does not."""
    if curve[0] >= goal:
        return float(budgets[0])
    for (left, low), (right, high) in zip(
        zip(budgets, curve, strict=True), zip(budgets[1:], curve[1:], strict=True), strict=False
    ):
        if low < goal <= high:
            return left + (right - left) * (goal - low) / (high - low)
    return float("inf")


def spread_of(labels: Sequence[float], most: int) -> str:
    """Mean, least and most; a seed that never got there shows as more than all."""
    ends = [f"{value:.0f}" if np.isfinite(value) else f"> {most}" for value in (min(labels), max(labels))]
    mean = (
        f"{np.mean(labels):.0f}"
        if np.isfinite(labels).all()
        else f"not in {int(np.isinf(labels).sum())} of {len(labels)}"
    )
    return f"{mean} ({ends[0]} to {ends[1]})"


def values(
    found: Sequence[Mapping[tuple[str, int], Bought]], way: str, budget: int, classifier: str, figure: str
) -> list[float]:
    """One figure by seed."""
    return [float(getattr(run[way, budget].scores[classifier], figure)) for run in found]


def row(head: str, cells: Sequence[str]) -> str:
    """One row of a table."""
    return f"| {head} | {' | '.join(cells)} |"
