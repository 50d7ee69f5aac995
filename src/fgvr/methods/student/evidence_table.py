"""The names in question for every asked image, its replies and its neighbours, as padded arrays.

Letters: M asked images, O replies with a name, W names in question (the last column: every other name), k neighbours,
C names. Nothing is M x C.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fgvr.memory import nearest_others
from fgvr.methods.student.noise import TINY, Replies, standardised
from fgvr.methods.student.opinions import Opinions, first_labels
from fgvr.methods.student.settings import EvidenceSettings

USUAL = 1e-3
"""Least similarity mass of a name with the others; one without kin gets no large ratio out of almost nothing."""
SMOOTHING = 1.0
"""Added to every name's count among the labels."""


@dataclass(frozen=True)
class Table:
    """Everything the free numbers act on."""

    names: np.ndarray
    """(M, W) int64, ascending, -1 behind the last; the last column stands for all other names and is -1 too."""
    prior: np.ndarray
    """(M, W) float64 log-probabilities, -inf where there is no name; every row's sum to one."""
    replies: Replies
    near: np.ndarray
    """(M, k) int64 into the images, -1 for none."""
    cosine: np.ndarray
    """(M, k) float64, standardised; 0 for none."""
    weight: np.ndarray
    """(M, k) float64: 1, or 0.5 for a neighbour one way, or 0 for none."""
    place: np.ndarray
    """(M, k, W) int64: where the neighbour's part of an (M, W) table holds the name of this column, flat."""
    kin: np.ndarray
    """(M, k, W) float32: likelihood ratio of the neighbour's label where its true name is one like this column's."""
    agreement: np.ndarray
    """(M,) float64, standardised: agreement of the neighbours among themselves."""


def evidence_table(
    features: np.ndarray,
    image: np.ndarray,
    opinions: Opinions,
    num_names: int,
    settings: EvidenceSettings,
    similarity: np.ndarray | None,
) -> Table:
    """Of the asked images: ``features`` (M, D), ``image`` (O,) their row of each opinion; ``similarity`` (C, C)."""
    order = np.argsort(image, kind="stable")
    order = order[opinions.labels[order] >= 0]
    image, opinions = image[order], opinions.taken(order)
    similarity = similarity if settings.names else None
    first = first_labels(replace(opinions, rows=image), np.arange(len(features)))
    near, cosines = nearest_others(features, k=settings.k, allowed=first >= 0)
    mentioned = _mentioned(image, opinions, listed=settings.alternatives)
    names = _padded(*_with_neighbours(*mentioned, near), len(features))
    counts = np.bincount(first[first >= 0], minlength=num_names).astype(np.float64)
    known = near >= 0
    alike = Alike(similarity, counts)
    return Table(
        names=names,
        prior=_prior(names, counts, first),
        replies=_replies(names, image, opinions, counts, first, settings, alike),
        near=near,
        cosine=standardised(np.where(known, cosines, np.nan).ravel(), np.zeros(near.size)).reshape(near.shape),
        weight=_weights(near, mutual=settings.mutual),
        place=_places(names, near, num_names),
        kin=_kin(names, near, first, alike),
        agreement=_agreement(near, first),
    )


def _mentioned(image: np.ndarray, opinions: Opinions, *, listed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (image, name) of every name that a reply has, images ascending."""
    sizes = np.array([len(some) if listed else 0 for some in opinions.alternatives], dtype=np.int64)
    further = np.array([name for some in opinions.alternatives for name in some if listed], dtype=np.int64)
    images = np.concatenate([image, np.repeat(image, sizes)])
    order = np.argsort(images, kind="stable")
    return images[order], np.concatenate([opinions.labels, further])[order]


def _with_neighbours(image: np.ndarray, name: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (image, name), and each neighbour's names as the image's own."""
    start = np.searchsorted(image, np.arange(len(near) + 1))
    owner, other = np.repeat(np.arange(len(near)), near.shape[1]), near.ravel()
    owner, other = owner[other >= 0], other[other >= 0]
    sizes = np.diff(start)[other]
    offsets = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    heard = name[np.repeat(start[:-1][other], sizes) + offsets]
    return np.concatenate([image, np.repeat(owner, sizes)]), np.concatenate([name, heard])


def _padded(image: np.ndarray, name: np.ndarray, count: int) -> np.ndarray:
    """Pairs to rows of distinct names, ascending, with one free column at the end."""
    pairs = np.unique(np.stack([image, name], axis=1), axis=0)
    sizes = np.bincount(pairs[:, 0], minlength=count)
    names = np.full((count, int(sizes.max(initial=0)) + 1), -1, dtype=np.int64)
    names[pairs[:, 0], np.arange(len(pairs)) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = pairs[:, 1]
    return names


def _shares(counts: np.ndarray, names: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Smoothed share of ``names`` among the labels, with one label of name ``left_out`` (or -1) taken away."""
    own = (names == left_out) & (names >= 0)
    total = counts.sum() - (left_out >= 0) + SMOOTHING * len(counts)
    return np.asarray((counts[names] - own + SMOOTHING) / np.maximum(total, TINY))


def _prior(names: np.ndarray, counts: np.ndarray, first: np.ndarray) -> np.ndarray:
    shares = np.where(names >= 0, _shares(counts, names, first[:, None]), 0.0)
    shares[:, -1] = np.maximum(1.0 - shares.sum(axis=1), TINY)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(shares / shares.sum(axis=1, keepdims=True)))


def _replies(
    names: np.ndarray,
    image: np.ndarray,
    opinions: Opinions,
    counts: np.ndarray,
    first: np.ndarray,
    settings: EvidenceSettings,
    alike: Alike,
) -> Replies:
    columns, said = names[image], opinions.labels[:, None]
    confidence = opinions.confidence if settings.confidence else np.full(len(image), np.nan)
    return Replies(
        image=image,
        source=opinions.source,
        confidence=standardised(confidence, opinions.source),
        share=_shares(counts, opinions.labels, first[image]),
        same=columns == said,
        alike=alike.ratios(opinions.labels, columns),
        listed=_listed(columns, opinions, alike, on=settings.alternatives),
    )


class Alike:
    """How much likelier a label is under another true name that is like it: ``s(l, z) / n(z)``, 0 for itself.

    ``similarity`` (C, C) or ``None`` (then every ratio is 1); ``counts`` (C,) of the names among the labels.
    """

    def __init__(self, similarity: np.ndarray | None, counts: np.ndarray) -> None:
        self.share = (counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts))
        self.similarity = similarity
        if similarity is not None:
            own = np.diagonal(similarity)
            self.usual = np.maximum(similarity.T @ self.share - own * self.share, USUAL)
            spread = self.share / self.usual
            self.mean = similarity @ spread - own * spread  # over all true names but the label itself

    def ratios(self, labels: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(O, W) for ``labels`` (O,) under the names ``columns`` (O, W); the last column: all names not among them."""
        if self.similarity is None:
            return np.ones(columns.shape)
        other = (columns >= 0) & (columns != labels[:, None])
        ratios = np.where(other, self.similarity[labels[:, None], columns] / self.usual[columns], 0.0)
        share = np.where(other, self.share[columns], 0.0)
        rest = np.maximum(1.0 - share.sum(axis=1) - self.share[labels], USUAL)
        ratios[:, -1] = np.maximum(self.mean[labels] - (share * ratios).sum(axis=1), 0.0) / rest
        return np.asarray(ratios)


def _kin(names: np.ndarray, near: np.ndarray, first: np.ndarray, alike: Alike) -> np.ndarray:
    kin = np.ones((*near.shape, names.shape[1]), dtype=np.float32)
    for place in range(near.shape[1]):
        known = np.flatnonzero(near[:, place] >= 0)
        kin[known, place] = alike.ratios(first[near[known, place]], names[known])
    return kin


def _listed(columns: np.ndarray, opinions: Opinions, alike: Alike, *, on: bool) -> np.ndarray:
    """(O, W): the part of the further names that is this one, over its chance were it unrelated; NaN: no list.

    Further names have equal parts, or those of their chances where several replies were drawn; others 0.
    """
    out = np.full(columns.shape, np.nan)
    several = opinions.chances or ((),) * len(opinions.labels)
    for at, (label, some, chances) in enumerate(zip(opinions.labels, opinions.alternatives, several, strict=True)):
        further = [name for name in some if name != label]
        if not on or not further:
            continue
        parts = np.array(chances[1:] or [1.0] * len(further))
        chance = alike.share[further]
        if alike.similarity is not None:
            like = alike.similarity[label]
            chance = (chance + like[further] / max(float(like.sum()) - 1.0, 1.0)) / 2
        out[at] = 0.0
        for name, part, usual in zip(further, parts / parts.sum(), chance, strict=True):
            out[at][columns[at] == name] = part / max(float(usual), TINY)
    return out


def _weights(near: np.ndarray, *, mutual: bool) -> np.ndarray:
    weight = (near >= 0).astype(np.float64)
    if mutual:
        back = (near[near] == np.arange(len(near))[:, None, None]).any(axis=2)
        weight[~back] *= 0.5
    return weight


def _places(names: np.ndarray, near: np.ndarray, num_names: int) -> np.ndarray:
    """Where neighbour j holds the name of each column of image i: its last column where it has no such name."""
    count, width = names.shape
    keys = np.where(names >= 0, names, num_names) + np.arange(count)[:, None] * (num_names + 1)
    other = np.maximum(near, 0)
    wanted = np.where(names >= 0, names, num_names)[:, None, :] + other[:, :, None] * (num_names + 1)
    flat = keys.ravel()
    found = np.minimum(np.searchsorted(flat, wanted), flat.size - 1)
    rest = np.broadcast_to(other[:, :, None] * width + width - 1, wanted.shape)
    return np.where((flat[found] == wanted) & (names >= 0)[:, None, :], found, rest)


def _agreement(near: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Share of pairs of neighbours with one label, standardised; images with fewer than two neighbours are usual."""
    labels = np.where(near >= 0, first[near], -1)
    k = near.shape[1]
    one, two = np.triu_indices(k, 1)
    both = (labels[:, one] >= 0) & (labels[:, two] >= 0)
    agree = both & (labels[:, one] == labels[:, two])
    pairs = both.sum(axis=1)
    share = np.where(pairs > 0, agree.sum(axis=1) / np.maximum(pairs, 1), np.nan)
    return standardised(share, np.zeros(len(share)))
