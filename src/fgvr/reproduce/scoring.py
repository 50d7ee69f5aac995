"""Scores as the published tables have them, and as they should be.

1. *Names.* Published figures are against one listed name a class, typing errors included. Here that is ``published``;
   ``accepted`` takes the corrected names, and every accepted one.
2. *cACC.* The released code counts clusters of label indices, one for each spelling; ``published`` compares raw
   strings, ``accepted`` normalised ones.
3. *sIOU.* ``published`` is CaSED's, which deletes hyphens; ``accepted`` splits at them.
4. *Cars.* The released code scores against the name of the class before. ``published`` does the same for sACC and sIOU
   on cars; ``unshifted`` is the same figure against the right class. cACC is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgvr.data.benchmarks.names import LISTED, class_names, find_listed, published_name, shifted_names
from fgvr.errors import InputError
from fgvr.metrics import Interval, evaluate
from fgvr.types import ImageItem

CARS = "cars196"
_PUBLISHED = {"sacc": "sacc", "cacc": "cacc_raw", "siou": "siou_cased"}
_ACCEPTED = {"sacc": "sacc", "cacc": "cacc", "siou": "siou_split"}


@dataclass(frozen=True)
class Scored:
    """One method's names on one data set; metric (``sacc``, ``cacc``, ``siou``) to figure, shares."""

    published: Mapping[str, Interval]
    accepted: Mapping[str, Interval]
    images: int
    answered: int
    unshifted: Mapping[str, Interval] = field(default_factory=dict)
    """Cars only."""


def scored(
    names: Sequence[str | None],
    truth: Sequence[ImageItem],
    dataset: str,
    *,
    sentence_encoder: Any = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Scored:
    """Score ``names`` (N, ``None`` where unanswered) against ``truth`` (N).

    sACC is left out without a ``sentence_encoder``. Raises ``EvaluationError`` where nothing is answered.
    """
    how: dict[str, Any] = {"sentence_encoder": sentence_encoder, "resamples": resamples, "seed": seed}

    def figures(true: Sequence[Any], keys: Mapping[str, str]) -> dict[str, Interval]:
        found = evaluate(names, true, allow_missing=True, **how)
        return {metric: found.figures[key] for metric, key in keys.items() if key in found.figures}

    listed = published_truth(truth, dataset)
    strict = figures(listed, _PUBLISHED)
    generous = figures([(str(item.label), *item.accepted) for item in truth], _ACCEPTED)
    answered = sum(name is not None for name in names)
    if dataset != CARS:
        return Scored(strict, generous, len(names), answered)
    unshifted: dict[str, Interval] = {m: strict[m] for m in ("sacc", "siou") if m in strict}
    shifted = figures(before(listed), _PUBLISHED)
    return Scored({**strict, **{m: shifted[m] for m in unshifted}}, generous, len(names), answered, unshifted)


def published_truth(truth: Sequence[ImageItem], dataset: str) -> list[str]:
    """(N) true names letter by letter as in the lists behind the published tables; others' as they are."""
    if dataset not in LISTED:
        return [str(item.label) for item in truth]
    known: dict[str, str] = {}
    for label in {str(item.label) for item in truth}:
        listed = find_listed(label, dataset)
        if listed is None:
            raise InputError(f"{dataset} has no class {label!r}", remedy="Read the folder with its own reader.")
        known[label] = published_name(listed, dataset)
    return [known[str(item.label)] for item in truth]


def before(listed: Sequence[str], dataset: str = CARS) -> list[str]:
    """(N) for each name of the list the one that stands before it; before the first stands the last."""
    spelled = class_names(dataset, original=True)
    shifted = dict(zip(spelled, shifted_names(spelled), strict=True))
    return [shifted[name] for name in listed]
