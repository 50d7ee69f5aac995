"""Hyper-parameters chosen on the support set only, by cross-fitting. Not in the paper, which names none.

Held-out predictions (``cross_fit.py``) are judged against the votes of the images' neighbourhoods (own label and two
neighbours, whatever sets were trained on), which carry the MLLM's noise but no test data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.methods.near.calibrate import fit_temperature, log_likelihood
from fgvr.methods.near.cross_fit import assign_folds as assign_folds
from fgvr.methods.near.cross_fit import cross_fit as cross_fit
from fgvr.methods.near.cross_fit import held_out_votes as held_out_votes
from fgvr.methods.near.settings import FAST, LITE, RefineSettings, SetSettings, TuneSettings

if TYPE_CHECKING:
    from fgvr.encoders.base import PromptTower

logger = logging.getLogger(__name__)

SMALL_GRID: dict[str, TuneSettings] = {
    "fast": FAST,
    "fast-soft": replace(FAST, weight_temperature=10.0),
    "fast-near-style": replace(FAST, refine=RefineSettings()),
    "lite": LITE,
    "lite-short": replace(LITE, epochs=20),
    "lite-near-style": replace(LITE, refine=RefineSettings()),
}
"""Tried by ``select`` when no candidates are given: full-batch steps throughout, so that trying costs seconds."""


@dataclass(frozen=True)
class Score:
    """How one candidate did on held-out support images."""

    name: str
    likelihood: float
    """Mean log-likelihood of the neighbourhood's votes at the best temperature, in nats."""
    agreement: float
    """Mean vote share of the predicted name, in [0, 1]."""
    own_agreement: float
    """Share of held-out images whose prediction is the MLLM's own name for them."""


@dataclass(frozen=True)
class Selection:
    """The chosen settings, all scores, and the winner's held-out cosines (N, C) for calibration."""

    name: str
    settings: TuneSettings
    scores: tuple[Score, ...]
    cosines: np.ndarray
    votes: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """JSON-like, without the arrays."""
        return {"chosen": self.name, "scores": [vars(score) for score in self.scores]}


def select(
    features: np.ndarray,
    labels: np.ndarray,
    tower: PromptTower | None,
    names: Sequence[str],
    *,
    text_features: np.ndarray,
    candidates: Mapping[str, TuneSettings] | None = None,
    sets: SetSettings | None = None,
    folds: int = 3,
    logit_scale: float = 100.0,
    seed: int = 0,
    folder: Path | None = None,
) -> Selection:
    """Cross-fit every candidate and keep the one of highest held-out likelihood; ties go to the earlier one.

    Args:
        features: (N, D) or (N, V, D), unit norm.
        labels: (N,) indices into ``names``, -1 for unnamed.
        tower: needed by candidates with the prompt head.
        text_features: (C, D) zero-shot features, for ``lite``.
        folder: where finished folds are kept, see ``cross_fit``.
    """
    candidates = SMALL_GRID if candidates is None else candidates
    if not candidates:
        raise ValueError("no candidates to choose from")
    votes = held_out_votes(features, labels, len(names))
    best: tuple[Score, np.ndarray] | None = None
    scores = []
    for name, settings in candidates.items():
        cosines = cross_fit(
            features,
            labels,
            tower,
            names,
            settings,
            text_features=text_features,
            sets=sets,
            folds=folds,
            logit_scale=logit_scale,
            seed=seed,
            folder=folder,
        )
        score = judge(name, cosines, votes, labels, logit_scale=logit_scale)
        logger.info("%s: held-out log-likelihood %.3f, agreement %.3f", name, score.likelihood, score.agreement)
        scores.append(score)
        if best is None or score.likelihood > best[0].likelihood:
            best = (score, cosines)
    assert best is not None
    return Selection(best[0].name, candidates[best[0].name], tuple(scores), best[1], votes)


def judge(name: str, cosines: np.ndarray, votes: np.ndarray, labels: np.ndarray, *, logit_scale: float) -> Score:
    """Score held-out cosines (N, C) against votes (N, C) and own labels (N,)."""
    used = votes.sum(axis=1) > 0
    logits = logit_scale * cosines[used].astype(np.float64)
    predicted = logits.argmax(axis=1)
    named = labels[used] >= 0
    return Score(
        name=name,
        likelihood=log_likelihood(logits, votes[used], fit_temperature(logits, votes[used])),
        agreement=float(votes[used][np.arange(len(predicted)), predicted].mean()),
        own_agreement=float((predicted == labels[used])[named].mean()) if named.any() else 0.0,
    )
