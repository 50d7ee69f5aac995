"""All figures of one set of predictions, each with its interval, under one honest protocol.

An item without an answer (``None``) is never scored as wrong: it stops the evaluation, or with ``allow_missing`` it is
left out and the coverage says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgvr.errors import EvaluationError
from fgvr.metrics.accuracy import hits, top_k_hits
from fgvr.metrics.bootstrap import Interval, bootstrap_contingency, bootstrap_counts, bootstrap_mean
from fgvr.metrics.calibration import RiskCoverage, risk_coverage, weighted_aurc, weighted_calibration_error
from fgvr.metrics.clustering import (
    Contingency,
    contingency_of,
    match,
    matched_share,
    mutual_information_of,
    rand_index_of,
)
from fgvr.metrics.names import Truth, accepted_names
from fgvr.metrics.semantic import TextEncoder, semantic_scores
from fgvr.metrics.siou import iou_scores


@dataclass(frozen=True)
class Evaluation:
    """Figures with intervals, and what they were measured on."""

    n: int
    """Items, answered or not."""
    scored: int
    """Items answered; every figure is over these."""
    classes: int
    """Distinct true names among them."""
    names: int
    """Distinct predicted names among them, after normalising."""
    figures: dict[str, Interval]
    sentence_encoder: str | None
    """Whose sACC this is; ``None`` where sACC was left out."""
    protocol: tuple[str, ...]
    """One line for each choice that a reader of the figures must know."""
    curve: RiskCoverage | None = field(default=None, compare=False, repr=False)

    @property
    def coverage(self) -> float:
        """Share of items answered."""
        return self.scored / self.n

    def rows(self) -> list[tuple[str, str]]:
        """(label, "value [low, high]" in per cent) pairs for a table, coverage first."""
        label = {key: LABELS.get(key, key) for key in self.figures}
        if self.sentence_encoder is not None:
            label["sacc"] = f"sACC ({self.sentence_encoder})"
            label["sacc_first"] = f"sACC, class name only ({self.sentence_encoder})"
        head = ("coverage", f"{100 * self.coverage:.1f} ({self.scored} of {self.n})")
        return [head, *((label[key], figure.percent()) for key, figure in self.figures.items())]

    def as_dict(self) -> dict[str, object]:
        """Everything but the curve, as plain JSON types."""
        figures = {
            key: {"value": f.value, "low": f.low, "high": f.high, "level": f.level, "resamples": f.resamples}
            for key, f in self.figures.items()
        }
        return {
            "n": self.n,
            "scored": self.scored,
            "coverage": self.coverage,
            "classes": self.classes,
            "names": self.names,
            "sentence_encoder": self.sentence_encoder,
            "protocol": list(self.protocol),
            "figures": figures,
        }


LABELS = {
    "cacc": "cACC",
    "cacc_raw": "cACC, raw strings",
    "cacc_macro": "cACC, macro",
    "nmi": "NMI",
    "ari": "ARI",
    "sacc": "sACC",
    "siou_cased": "sIOU (as CaSED)",
    "siou_split": "sIOU (hyphens split)",
    "exact": "exact name",
    "synonym": "exact or accepted name",
    "ece": "calibration error",
    "aurc": "area under risk-coverage",
}


def evaluate(
    predicted: Sequence[str | None],
    true: Sequence[Truth],
    *,
    accepted: Sequence[Sequence[str]] | None = None,
    sentence_encoder: TextEncoder | None = None,
    probabilities: ArrayLike | None = None,
    top: Sequence[Sequence[str | tuple[str, float]]] | None = None,
    k: int = 5,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    allow_missing: bool = False,
) -> Evaluation:
    """Score predicted names against true ones.

    ``predicted``: N names, ``None`` where unanswered. ``true``: N names or tuples of names (first = the class's own).
    ``accepted``: N sequences of further names that count as right. ``probabilities``: (N,) of the predicted name, adds
    calibration error and risk-coverage (right = accepted name). ``top``: N best-first lists of names or of (name,
    probability), adds top-k. Without a ``sentence_encoder`` sACC is left out, and the protocol says so.

    Raises `EvaluationError` on unequal lengths, on nothing to score, and on unanswered items unless ``allow_missing``.
    """
    _check(predicted, true, accepted=accepted, probabilities=probabilities, top=top, allow_missing=allow_missing)
    kept = [i for i, name in enumerate(predicted) if name is not None]
    names = [name for name in predicted if name is not None]
    truths = [_with_accepted(true[i], accepted[i] if accepted is not None else ()) for i in kept]
    scored = _Scored(names, truths, resamples, level, seed)
    figures = scored.by_cluster() | scored.by_name(sentence_encoder)
    curve = None
    if top is not None:
        best = [[item if isinstance(item, str) else item[0] for item in top[i]] for i in kept]
        figures[f"top{k}"] = scored.mean(top_k_hits(best, truths, k=k))
    if probabilities is not None:
        probability = np.asarray(probabilities, dtype=np.float64)[kept]
        curve = risk_coverage(probability, hits(names, truths))
        figures |= scored.by_probability(probability)
    return Evaluation(
        n=len(predicted),
        scored=len(kept),
        classes=scored.table.shape[1],
        names=scored.table.shape[0],
        figures=figures,
        sentence_encoder=sentence_encoder.name if sentence_encoder is not None else None,
        protocol=_protocol(len(kept), len(predicted), sentence_encoder, resamples, level, seed),
        curve=curve,
    )


class _Scored:
    """The answered items, and the figures of each kind."""

    def __init__(
        self, names: list[str], truths: list[tuple[str, ...]], resamples: int, level: float, seed: int
    ) -> None:
        self.names, self.truths = names, truths
        self.resamples, self.level, self.seed = resamples, level, seed
        self.table = contingency_of(names, truths)

    def mean(self, scores: NDArray[np.float64]) -> Interval:
        return bootstrap_mean(scores, resamples=self.resamples, level=self.level, seed=self.seed)

    def by_cluster(self) -> dict[str, Interval]:
        """cACC with the matching held fixed: refitting it on every redraw would flatter small classes."""
        best = match(self.table)
        figures = self.of_table(
            self.table,
            cacc=partial(matched_share, matching=best),
            cacc_macro=partial(matched_share, average="macro", matching=best),
            nmi=mutual_information_of,
            ari=rand_index_of,
        )
        raw = contingency_of(self.names, self.truths, normalise=False)
        if raw.same_as(self.table):  # the rule, and half the work
            return figures | {"cacc_raw": figures["cacc"]}
        return figures | self.of_table(raw, cacc_raw=partial(matched_share, matching=match(raw)))

    def of_table(self, table: Contingency, **metrics: Callable[[Contingency], float]) -> dict[str, Interval]:
        return bootstrap_contingency(metrics, table, resamples=self.resamples, level=self.level, seed=self.seed)

    def by_name(self, encoder: TextEncoder | None) -> dict[str, Interval]:
        several = any(len(truth) > 1 for truth in self.truths)
        figures = {}
        if encoder is not None:
            figures["sacc"] = self.mean(semantic_scores(self.names, self.truths, encoder))
            if several:
                figures["sacc_first"] = self.mean(semantic_scores(self.names, self.truths, encoder, accepted=False))
        for variant in ("cased", "split"):
            figures[f"siou_{variant}"] = self.mean(iou_scores(self.names, self.truths, variant))
        figures["exact"] = self.mean(hits(self.names, self.truths, accepted=False))
        figures["synonym"] = self.mean(hits(self.names, self.truths))
        return figures

    def by_probability(self, probability: NDArray[np.float64]) -> dict[str, Interval]:
        right = hits(self.names, self.truths)
        metrics = {
            "ece": weighted_calibration_error(probability, right),
            "aurc": weighted_aurc(probability, right),
        }
        return bootstrap_counts(metrics, len(right), resamples=self.resamples, level=self.level, seed=self.seed)


def _check(
    predicted: Sequence[str | None],
    true: Sequence[Truth],
    *,
    accepted: Sequence[Sequence[str]] | None,
    probabilities: ArrayLike | None,
    top: Sequence[object] | None,
    allow_missing: bool,
) -> None:
    n = len(predicted)
    lengths = {"true": len(true), "accepted": n if accepted is None else len(accepted)}
    lengths["probabilities"] = n if probabilities is None else len(np.asarray(probabilities))
    lengths["top"] = n if top is None else len(top)
    for what, length in lengths.items():
        if length != n:
            raise EvaluationError(f"{n} predictions but {length} entries in {what!r}", remedy="Give one per item.")
    missing = sum(name is None for name in predicted)
    if n == missing:
        raise EvaluationError("nothing to score", remedy="At least one item needs a predicted name.", items=n)
    if missing and not allow_missing:
        raise EvaluationError(
            f"{missing} of {n} items have no answer, and an unanswered item is not a wrong one",
            remedy="Finish the run, or allow missing answers to score the answered items and print the coverage.",
        )


def _with_accepted(truth: Truth, more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*accepted_names(truth), *more)))


def _protocol(
    scored: int,
    n: int,
    encoder: TextEncoder | None,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[str, ...]:
    return (
        f"scored {scored} of {n} items; unanswered items are left out, never counted as wrong",
        "names compared after normalising (case, signs, apostrophes, leading article); 'raw strings' without",
        f"sentence encoder: {encoder.name}" if encoder is not None else "sACC left out: no sentence encoder available",
        f"{100 * level:g} % percentile bootstrap over items, {resamples} resamples, seed {seed}; matching held fixed",
        "sIOU and sACC take the best accepted name of a class where it has several",
    )
