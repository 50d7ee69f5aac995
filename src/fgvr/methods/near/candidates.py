"""Candidate label sets from visual neighbours (workshop paper, section 3.1).

``S_i = (l_i, l_1, ..., l_{k-1})``: the image's own label and those of its k-1 nearest support images by cosine.

Deviations and choices where the paper is silent:

1. The paper writes a tuple. Here repeats are either votes (``vote``, the default: agreement between neighbours is the
   signal the manifold assumption uses), collapsed (``set``), or the own label counts more (``own``).
2. The image itself is always the first of the k, even when exact duplicates of it are in the support set.
3. An image the MLLM could not name has label -1. It offers nothing to others and takes its neighbours' labels; the
   k-1 neighbours are sought among named images. With every image named this is the paper's rule.
4. ``mutual`` and ``floor`` thin out doubtful neighbours; both off in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fgvr.memory import nearest_others
from fgvr.methods.near.settings import SetSettings

Policy = Literal["set", "vote", "own"]


@dataclass(frozen=True)
class CandidateSets:
    """N candidate sets in compressed rows: set i is ``members[offsets[i]:offsets[i + 1]]``.

    An unnamed image without named neighbours has an empty set; it takes no part in tuning.
    """

    members: np.ndarray
    """Label indices, ascending inside a set, int64."""
    offsets: np.ndarray
    """(N + 1,) int64."""
    values: np.ndarray
    """Initial weight of each member, float32; each non-empty set sums to one."""
    neighbours: np.ndarray
    """(N, k) int64 image indices, the image itself first; -1 where a neighbour was dropped or there was none."""
    similarities: np.ndarray
    """(N, k) float32 cosines to ``neighbours``; NaN where -1."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, image: int) -> np.ndarray:
        """The distinct labels of one image's set."""
        if not 0 <= image < len(self):
            raise IndexError(image)
        return self.members[self.offsets[image] : self.offsets[image + 1]]

    @property
    def sizes(self) -> np.ndarray:
        """Distinct labels per image, (N,) int64."""
        return np.diff(self.offsets)

    def weights(self, num_labels: int) -> np.ndarray:
        """Initial PRODEN weights, (N, C) float32: rows sum to one on the set and are zero off it."""
        if self.members.size and int(self.members.max()) >= num_labels:
            raise ValueError(f"a candidate lies outside a label space of {num_labels}")
        dense = np.zeros((len(self), num_labels), dtype=np.float32)
        dense[np.repeat(np.arange(len(self)), self.sizes), self.members] = self.values
        return dense


def candidate_sets(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    k: int = 3,
    policy: Policy = "vote",
    own_weight: float = 2.0,
    mutual: bool = False,
    floor: float | None = None,
    block: int = 2048,
) -> CandidateSets:
    """Candidate sets of all support images. Exact search, see ``fgvr.memory``.

    Args:
        features: (N, D), unit norm.
        labels: (N,) label indices; -1 for an image without a name.
        k: size of the neighbourhood, the image itself included.
        policy: initial weights. ``vote``: by multiplicity; ``set``: uniform over distinct labels; ``own``: as ``vote``
            with the image's own label counted ``own_weight`` times.
        mutual: keep a neighbour only if the image is also among that neighbour's k.
        floor: keep a neighbour only at this cosine or above.
        block: images per tile of the similarity matrix.

    Ties go to the lower index. Raises ``ValueError`` for shapes that do not fit, k < 1, or features not unit norm.
    """
    labels = _checked(features, labels, k)
    neighbours, similarities = nearest(features, k=k, allowed=labels >= 0, block=block)
    if floor is not None:
        neighbours[:, 1:][similarities[:, 1:] < floor] = -1
    if mutual:
        reach = np.nanmin(similarities, axis=1)  # cosine of each image's own k-th neighbour
        neighbours[:, 1:][similarities[:, 1:] < reach[neighbours[:, 1:]]] = -1
    similarities[neighbours < 0] = np.nan
    return _gathered(labels, neighbours, similarities, policy, own_weight)


def random_sets(
    labels: np.ndarray,
    *,
    k: int = 3,
    num_labels: int | None = None,
    policy: Policy = "vote",
    own_weight: float = 2.0,
    seed: int = 0,
) -> CandidateSets:
    """Ablation "Random CS" (Table 3): the own label and k-1 others drawn without replacement from the label space.

    ``neighbours`` holds the image itself only. An unnamed image gets k-1 random labels.
    """
    labels = np.asarray(labels, dtype=np.int64)
    space = int(labels.max(initial=-1)) + 1 if num_labels is None else num_labels
    rng = np.random.default_rng(seed)
    rows = []
    for own in labels:
        others = np.setdiff1d(np.arange(space), [own])
        drawn = rng.choice(others, size=min(k - 1, len(others)), replace=False)
        rows.append(np.concatenate([[own], drawn, np.full(k - 1 - len(drawn), -1, dtype=np.int64)]))
    slots = np.asarray(rows, dtype=np.int64).reshape(len(labels), k)
    alone = np.arange(len(labels), dtype=np.int64)[:, None]
    return _compressed(
        slots, _slot_weights(slots, policy, own_weight), policy, alone, np.ones_like(alone, dtype=np.float32)
    )


def no_sets(labels: np.ndarray) -> CandidateSets:
    """Ablation: the own label only, so that PRODEN is plain cross-entropy on the MLLM's label."""
    return random_sets(labels, k=1)


def make_sets(
    features: np.ndarray, labels: np.ndarray, settings: SetSettings, *, num_labels: int, seed: int = 0
) -> CandidateSets:
    """Sets of the asked kind: from neighbours, or one of the ablations. ``seed`` matters to random sets only."""
    if settings.kind == "none":
        return no_sets(labels)
    if settings.kind == "random":
        return random_sets(
            labels,
            k=settings.k,
            num_labels=num_labels,
            policy=settings.policy,
            own_weight=settings.own_weight,
            seed=seed,
        )
    return candidate_sets(
        features,
        labels,
        k=settings.k,
        policy=settings.policy,
        own_weight=settings.own_weight,
        mutual=settings.mutual,
        floor=settings.floor,
    )


def coverage(sets: CandidateSets, true: np.ndarray) -> float:
    """Share of images whose true label (index, -1 where the label space lacks it) is in their candidate set."""
    true = np.asarray(true)
    if len(true) != len(sets) or not len(true):
        raise ValueError("one true label per candidate set is needed")
    owner = np.repeat(np.arange(len(sets)), sets.sizes)
    covered = np.zeros(len(sets), dtype=bool)
    covered[owner[sets.members == true[owner]]] = True
    return float(covered.mean())


def nearest(
    features: np.ndarray, *, k: int, allowed: np.ndarray | None = None, block: int = 2048
) -> tuple[np.ndarray, np.ndarray]:
    """Each image, then its k-1 nearest ``allowed`` others: indices (N, k), -1 where too few, and float32 cosines."""
    found, similar = nearest_others(features, k=k - 1, allowed=allowed, block=block)
    own = np.arange(len(features), dtype=np.int64)[:, None]
    return np.hstack([own, found]), np.hstack([np.ones_like(own, dtype=np.float32), similar])


def _gathered(
    labels: np.ndarray, neighbours: np.ndarray, similarities: np.ndarray, policy: Policy, own_weight: float
) -> CandidateSets:
    slots = np.where(neighbours >= 0, labels[neighbours], -1)
    return _compressed(slots, _slot_weights(slots, policy, own_weight), policy, neighbours, similarities)


def _slot_weights(slots: np.ndarray, policy: Policy, own_weight: float) -> np.ndarray:
    if policy not in ("set", "vote", "own"):
        raise ValueError(f"unknown policy {policy!r}: choose set, vote or own")
    if own_weight <= 0:
        raise ValueError("own_weight must be positive")
    weights = np.ones(slots.shape, dtype=np.float64)
    if policy == "own":
        weights[:, 0] = own_weight
    return weights


def _compressed(
    slots: np.ndarray, weights: np.ndarray, policy: Policy, neighbours: np.ndarray, similarities: np.ndarray
) -> CandidateSets:
    """Slots (N, k) of labels, -1 for none, to compressed rows of distinct labels with normalised weights."""
    count, k = slots.shape
    owner = np.repeat(np.arange(count), k)
    flat, mass = slots.ravel(), weights.ravel()
    named = flat >= 0
    pairs, where = np.unique(np.stack([owner[named], flat[named]], axis=1), axis=0, return_inverse=True)
    votes = np.bincount(where.ravel(), weights=mass[named], minlength=len(pairs))
    if policy == "set":
        votes = np.ones_like(votes)
    totals = np.bincount(pairs[:, 0], weights=votes, minlength=count)
    sizes = np.bincount(pairs[:, 0], minlength=count)
    return CandidateSets(
        members=pairs[:, 1].astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        values=(votes / totals[pairs[:, 0]]).astype(np.float32),
        neighbours=neighbours,
        similarities=similarities,
    )


def _checked(features: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    labels = np.asarray(labels, dtype=np.int64)
    if features.ndim != 2 or labels.shape != (len(features),):
        raise ValueError(f"features (N, D) and labels (N,) do not fit: {features.shape} and {labels.shape}")
    if k < 1:
        raise ValueError("k counts the image itself and is at least 1")
    norms = np.linalg.norm(features, axis=1)
    if not np.allclose(norms, 1.0, atol=1e-2):
        raise ValueError("features must have unit norm")
    return labels
