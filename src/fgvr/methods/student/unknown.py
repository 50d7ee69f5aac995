"""Classes that no label covers: images that lie together and away from every labelled one, as groups to be named.

Letters: N pool images, C names, M labelled images, k neighbours.

1. *Distance.* Naming an image would move its neighbours closer to a label: the *gain* of naming j is, over its
   neighbours i, the sum of ``cos(i, j) - cos(i, nearest labelled)`` where that is more than ``margin``. A single odd
   picture is far from everything, and naming it gains nothing; a class without a label gains much.
2. *Groups.* Greedily: the image with the highest gain is a group's medoid, the neighbours it gains are its members;
   these leave, and the next one is looked for. This is facility location on the neighbour graph, where each image is
   served once; the medoid is what to have named next.
3. *Disagreement.* A label that does not belong spreads unevenly: the gain times 1 + the entropy of the names that the
   members got (over log C) is the score, and groups come in its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fgvr.methods.student.graph import NeighbourGraph
from fgvr.naming.choose_clusters import nearest_centres

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class UnknownGroup:
    """Images that lie together and that no label covers."""

    rows: np.ndarray
    """(G,) int64 into the pool: the medoid, then the others, the nearest to it first."""
    medoid: int
    """The row that stands for the group: name it first."""
    cohesion: float
    """Mean cosine of the other members to the medoid, in [-1, 1]; 1 for a group of one."""
    distance: float
    """1 - cosine of the medoid to the nearest labelled image, in [0, 2]; 2 where nothing is labelled."""
    names: tuple[tuple[int, float], ...]
    """(index of a name, mean share over the members in [0, 1]), most first."""
    score: float
    """Gain of naming it, weighed by disagreement; above 0."""


def unknown_groups(
    features: np.ndarray,
    labelled: np.ndarray,
    soft: csr_matrix,
    graph: NeighbourGraph,
    *,
    least: int = 3,
    most: int = 20,
    margin: float = 0.05,
    names: int = 5,
) -> tuple[UnknownGroup, ...]:
    """At most ``most`` groups of at least ``least`` images that no label covers, the likeliest first; often none.

    Args:
        features: (N, D) float32, unit norm, of the whole pool.
        labelled: (M,) int64 rows that have a name of the teacher's; images that it could not name are none of them.
        soft: (N, C), values >= 0: what every image is taken for.
        graph: nearest others; groups cannot be larger than its edges allow, so that k of 10 or more is advised.
        least: images a group needs at least, the medoid among them.
        most: groups at most.
        margin: cosine by which a member is nearer to the medoid than to any labelled image.
        names: names told of a group at most.

    Raises ``ValueError`` for ``least`` or ``most`` below 1, a negative margin and sizes that do not fit.
    """
    if least < 1 or most < 1 or margin < 0:
        raise ValueError("groups need least and most >= 1 and a margin >= 0")
    if not len(features) == soft.shape[0] == len(graph.indices):
        raise ValueError("features, soft labels and graph are of one pool")
    nearest = _nearest(features, np.asarray(labelled, dtype=np.int64))
    found = _groups(_gains(graph, nearest, margin), least, most)
    told = [_told(features, rows, gain, nearest, soft, names) for rows, gain in found]
    return tuple(sorted(told, key=lambda one: (-one.score, one.medoid)))


def _nearest(features: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Cosine of each image to the nearest labelled one, (N,) float32: 1 for these themselves, -1 without any."""
    if not len(labelled):
        return np.full(len(features), -1, dtype=np.float32)
    nearest = nearest_centres(features, features[labelled])[1]
    nearest[labelled] = np.inf
    return nearest


def _gains(graph: NeighbourGraph, nearest: np.ndarray, margin: float) -> csr_matrix:
    """(N, N): at (j, i) how much nearer a label image i is once j is named, for neighbours either way and i = j."""
    from scipy.sparse import coo_matrix

    count, k = graph.indices.shape
    there = graph.indices.ravel() >= 0
    source, target = np.repeat(np.arange(count), k)[there], graph.indices.ravel()[there]
    cosine = graph.cosines.ravel()[there].astype(np.float64)
    own = np.arange(count)
    medoid, member = np.concatenate([source, target, own]), np.concatenate([target, source, own])
    gain = np.concatenate([cosine, cosine, np.ones(count)]) - nearest[member]
    keep = (gain > margin) & (1 - nearest[medoid] > margin)  # a medoid is a member of its own group
    medoid, member, gain = medoid[keep], member[keep], gain[keep]
    first = np.unique(medoid * count + member, return_index=True)[1]  # an edge both ways is one edge
    return coo_matrix((gain[first], (medoid[first], member[first])), shape=(count, count)).tocsr()


def _groups(gains: csr_matrix, least: int, most: int) -> list[tuple[np.ndarray, float]]:
    """(rows with the medoid first and the others by gain, total gain) of disjoint groups, greedily."""
    columns = gains.tocsc()
    free = np.ones(gains.shape[0], dtype=bool)
    total = np.asarray(gains.sum(axis=1)).ravel()
    sizes = np.diff(gains.indptr).astype(np.int64)
    found: list[tuple[np.ndarray, float]] = []
    while len(found) < most:
        possible = np.where(free & (sizes >= least), total, 0.0)
        medoid = int(possible.argmax()) if len(possible) else -1
        if medoid < 0 or possible[medoid] <= 0:
            break
        part = slice(gains.indptr[medoid], gains.indptr[medoid + 1])
        rows, gain = gains.indices[part], gains.data[part]
        rows, gain = rows[free[rows]], gain[free[rows]]
        found.append((np.concatenate([[medoid], rows[rows != medoid]]).astype(np.int64), float(gain.sum())))
        free[rows] = False
        gone = columns[:, rows]
        total -= np.asarray(gone.sum(axis=1)).ravel()
        sizes -= np.bincount(gone.indices, minlength=len(sizes))
    return found


def _told(
    features: np.ndarray, rows: np.ndarray, gain: float, nearest: np.ndarray, soft: csr_matrix, names: int
) -> UnknownGroup:
    """What there is to say of a group whose medoid is its first row."""
    medoid, others = int(rows[0]), rows[1:]
    cosines = features[others] @ features[medoid]
    shares = np.asarray(soft[rows].mean(axis=0), dtype=np.float64).ravel()
    ranked = [int(name) for name in np.argsort(-shares, kind="stable")[:names] if shares[name] > 0]
    return UnknownGroup(
        rows=np.concatenate([rows[:1], others[np.argsort(-cosines, kind="stable")]]),
        medoid=medoid,
        cohesion=float(cosines.mean()) if len(others) else 1.0,
        distance=float(1 - nearest[medoid]),
        names=tuple((name, float(shares[name])) for name in ranked),
        score=gain * (1 + disagreement(shares)),
    )


def disagreement(shares: np.ndarray) -> float:
    """Entropy of the names' shares (C,) over its most, log C: 0 where all agree or nothing is known, 1 at most."""
    total = float(shares.sum())
    if total <= 0 or len(shares) < 2:
        return 0.0
    p = shares[shares > 0] / total
    return float(-(p * np.log(p)).sum() / np.log(len(shares)))
