"""The most similar picture of another class: exact, in bounded memory, the same for any order of the rows.

Cosines are screened tile by tile in float32 and decided in float64, pair by pair, so that the result does not depend on
the tiling; ties go to the place that the caller ranks first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

_TILE = 2**24
"""Cosines held at once: 64 MB of float32."""
_MARGIN = 2e-5
"""Float32 cosines of unit vectors err by less than half of this; whatever lies within it is computed again."""
SAME_PICTURE = 1 - 1e-6
"""A cosine from which two pictures are taken for one: a class's picture filed under another class is no negative."""

Found = tuple[int, float]
"""(place, cosine); place -1 where there is none."""


def nearest_pictures(
    vectors: np.ndarray,
    anchors: np.ndarray,
    pool: np.ndarray,
    barred: Mapping[int, np.ndarray],
    labels: np.ndarray,
    order: np.ndarray,
) -> Iterator[Found]:
    """For each anchor the most similar place of ``pool`` whose class is not barred for the anchor's class.

    Args:
        vectors: (N, D) float32, unit norm.
        anchors: (A,) int, places asked about.
        pool: (P,) int ascending, places that may be taken.
        barred: class number to the columns of ``pool`` that may not be taken for it, its own class among them.
        labels: (N,) int, class of each place.
        order: (N,) int, all distinct: of two places that tie the one with the smaller number is taken.

    Memory: the pool's vectors once more and a tile of 64 MB. Time: A x P x D multiplications.
    """
    held = vectors[pool]
    block = max(1, _TILE // max(1, len(pool)))
    for start in range(0, len(anchors), block):
        part = anchors[start : start + block]
        cosines = vectors[part] @ held.T
        for row, place in enumerate(part):
            cosines[row, barred[int(labels[place])]] = -np.inf
            yield _best(vectors[place], held, pool, order, cosines[row])


def nearest_named(
    vectors: np.ndarray,
    anchors: np.ndarray,
    texts: np.ndarray,
    rivals: Mapping[int, np.ndarray],
    labels: np.ndarray,
    members: Mapping[int, np.ndarray],
    order: np.ndarray,
) -> Iterator[Found]:
    """For each anchor the most similar picture of the rival class whose name is nearest to the anchor.

    ``texts``: (C, D) unit norm, one a class; ``rivals``: class number to the numbers of classes that may be taken;
    ``members``: class number to its places that may be taken. The next class follows where all pictures of a class are
    the anchor's own.
    """
    for place in anchors:
        allowed = rivals[int(labels[place])]
        nearest_names = np.argsort(-exact(texts[allowed], vectors[place]), kind="stable")
        ranked = (
            _best(vectors[place], vectors[own], own, order)
            for own in (members[int(allowed[at])] for at in nearest_names)
        )
        yield next((found for found in ranked if found[0] >= 0), (-1, float("nan")))


def exact(vectors: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """(K,) dot products in float64, each summed in the same order, so that equal vectors tie exactly."""
    dots: np.ndarray = np.multiply(vectors, anchor, dtype=np.float64).sum(axis=1)
    return dots


def is_copy(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two (D,) vectors are taken to be of one picture."""
    return bool(exact(one[None], other)[0] >= SAME_PICTURE)


def _best(
    anchor: np.ndarray, held: np.ndarray, places: np.ndarray, order: np.ndarray, cosines: np.ndarray | None = None
) -> Found:
    """Of ``held`` (K, D) the most similar that is not the anchor's own picture; ``cosines`` is written into."""
    screened = held @ anchor if cosines is None else cosines
    while len(screened) and (top := screened.max()) > -np.inf:
        close = np.flatnonzero(screened >= top - _MARGIN)
        dots = exact(held[close], anchor)
        same = dots >= SAME_PICTURE
        if not same.any():
            tied = places[close[dots == dots.max()]]
            return int(tied[order[tied].argmin()]), float(dots.max())
        screened[close[same]] = -np.inf
    return -1, float("nan")
