"""Ranking the candidates of boxes with an MLLM, and what becomes of their scores.

AP compares scores between boxes, and a ranker gives none, or others than the retriever's. Two named ways:

1. ``fused`` (default): log p of retrieval and ``weight`` times the MLLM's evidence are added over the k candidates
   (``fgvr.methods.rar.fuse``); together they keep the probability that retrieval gave the k. There are no labelled
   boxes to learn the weight from: without ``weight`` it is the one under which the two agree most
   (``agreement_weight``), which is 0, retrieval alone, where they do not agree beyond chance.
2. ``rank-consistent``: the classes take the MLLM's order, the falling scores stay where they are. So the ranker moves
   no box against another; it is believed blindly, as in the paper. The only way for written orders (``generate``).

A box that was not asked about, or whose reply was unusable, keeps what retrieval said. With ``ask`` below 1 only the
boxes of smallest margin between their two best classes are asked about (the cascade of ``fgvr.methods.rar.cascade``).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fgvr.errors import ImageError, InputError
from fgvr.images import content_hash
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.cascade import margins
from fgvr.methods.rar.fuse import Weight, agreement_weight, fuse
from fgvr.methods.rar.rank import Ranked, Ranking, RankSettings, rank
from fgvr.mllm.base import Mllm
from fgvr.types import ImageItem

Scores = Literal["fused", "rank-consistent"]


@dataclass(frozen=True)
class RegionRankSettings:
    """How boxes are ranked. Raises ``InputError`` for values out of range."""

    scores: Scores = "fused"
    weight: float | None = None
    """Of the MLLM's evidence in the fusion (beta); ``None``: learned from the boxes themselves, without labels."""
    ask: float = 1.0
    """Share of the boxes to ask about, in [0, 1]: those with the smallest margin."""

    def __post_init__(self) -> None:
        if self.scores not in ("fused", "rank-consistent"):
            raise InputError("unknown way of scoring", remedy="Use fused or rank-consistent.", scores=self.scores)
        if not 0 <= self.ask <= 1 or not (self.weight is None or self.weight >= 0):
            remedy = "ask lies in [0, 1], weight is not negative."
            raise InputError("a setting is out of range", remedy=remedy, ask=self.ask, weight=self.weight)


@dataclass(frozen=True)
class RankedRegions:
    """The first k candidates of N boxes after ranking."""

    head: Candidates
    """(N, k), in their new order and with their new log-probabilities."""
    asked: np.ndarray
    """(N,) bool"""
    ranked: Ranked
    """Of the boxes asked about, in order."""
    weight: Weight | None
    """What the MLLM's word counted; ``None`` with ``rank-consistent``."""


def rank_regions(
    found: Candidates,
    crops: Sequence[ImageItem],
    names: Sequence[str],
    mllm: Mllm,
    *,
    settings: RegionRankSettings = RegionRankSettings(),
    ranking: RankSettings = RankSettings(),  # noqa: B008
    **asking: Any,
) -> RankedRegions:
    """Ask about the crops of boxes and put their candidates into the MLLM's order.

    Args:
        found: (N, k) candidates of N boxes.
        crops: N items, as ``region_features`` with a ``crop_folder`` returns them.
        names: of all classes.
        asking: what ``ask_all`` takes: ledger, cache, concurrency, budget, progress, ...
    """
    if settings.scores == "fused" and ranking.mode == "generate":
        remedy = "Use rank-consistent scores, or let the MLLM score."
        raise InputError("written orders have no probabilities to fuse", remedy=remedy)
    asked = to_ask(found, settings.ask)
    rows = np.flatnonzero(asked)
    items = [crops[row] for row in rows.tolist()]
    ranked = rank(items, found.rows(rows).names(names), mllm, settings=ranking, hashes=_hashes(items), **asking)
    if settings.scores == "rank-consistent":
        return RankedRegions(rank_consistent(found, rows, ranked.rankings), asked, ranked, None)
    said = np.full(found.classes.shape, np.nan)
    said[rows] = ranked.log_probs(found.k)
    if settings.weight is not None:
        weight = Weight(settings.weight)
    else:
        weight = learned_weight(found.log_probs, said, placeless=mllm.local and ranking.ask == "names")
    return RankedRegions(fused(found, said, weight=weight.weight), asked, ranked, weight)


def learned_weight(retrieved: np.ndarray, said: np.ndarray, *, placeless: bool, seed: int = 0) -> Weight:
    """The weight under which retrieval and MLLM (N, k both) agree most; 0 where they do not agree beyond chance.

    ``agreement_weight`` guards against an MLLM that prefers the first place of a list, and so cannot tell it from one
    that knows what retrieval knows. ``placeless``: the MLLM saw no list (a local model that scores whole names), so the
    guard is needless; each row's candidates are dealt out anew, which takes from it what places could explain.
    """
    if placeless:
        order = np.random.default_rng(seed).permuted(np.tile(np.arange(said.shape[1]), (len(said), 1)), axis=1)
        retrieved, said = np.take_along_axis(retrieved, order, axis=1), np.take_along_axis(said, order, axis=1)
    return agreement_weight(retrieved, said)


def to_ask(found: Candidates, share: float) -> np.ndarray:
    """(N,) bool: the ``share`` of boxes with the smallest margins; never those with a single candidate. Ties: the
    earlier.
    """
    several = found.sizes > 1
    most = int(np.ceil(share * len(found)))
    order = np.argsort(np.where(several, margins(found.log_probs), np.inf), kind="stable")[:most]
    chosen = np.zeros(len(found), dtype=bool)
    chosen[order] = True
    return chosen & several


def rank_consistent(found: Candidates, rows: np.ndarray, rankings: Sequence[Ranking]) -> Candidates:
    """Candidates (N, k) whose classes in ``rows`` (A,) stand in the order of their rankings, scores left in place."""
    classes = found.classes.copy()
    for row, ranking in zip(rows, rankings, strict=True):
        classes[row, : len(ranking.order)] = found.classes[row, list(ranking.order)]
    return Candidates(classes, found.log_probs)


def fused(found: Candidates, said: np.ndarray, *, weight: float) -> Candidates:
    """Candidates (N, k) by retrieval and ``said`` (N, k, natural log, NaN where not asked) together, best first.

    Log-probabilities are over all classes: the candidates share what retrieval gave them together.
    """
    together = np.logaddexp.reduce(found.log_probs.astype(np.float64), axis=1, keepdims=True)
    scores = (fuse(found.log_probs, said, weight) + together).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")
    return Candidates(np.take_along_axis(found.classes, order, axis=1), np.take_along_axis(scores, order, axis=1))


def _hashes(items: Sequence[ImageItem]) -> list[str]:
    """SHA-256 of every crop; empty for one that vanished (asking about it will fail and say so)."""

    def one(item: ImageItem) -> str:
        try:
            return content_hash(item.path)
        except ImageError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, items))
