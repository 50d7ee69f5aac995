"""Groups among unit vectors: near-duplicates, cluster medoids, the farthest rows. Seeds decide what features do not.

Everything is computed tile by tile: beside the features, at most ``ROOM`` similarities and a sample of rows are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

SAME = 0.95
"""Cosine from which two pictures count as one. Of the embedded encoder's bursts 83 % of pairs lie above, of other
pictures of one species 0.7 %."""
ROOM = 1 << 24
"""Similarities held at once, float32 (64 MiB)."""
AT_ONCE = 1 << 25
"""Rows times clusters of one k-means; more are sought in parts of the rows (``medoids``)."""
MOST_PARTS = 256


def near_duplicates(
    features: np.ndarray, hashes: Sequence[str] = (), *, threshold: float = SAME, block: int = 1024
) -> np.ndarray:
    """The row that stands for each row, (N,) int64; a row that is kept stands for itself.

    Greedy in the order of the rows: a row is kept unless a row kept before it has the same hash or a cosine of
    ``threshold`` or more; then the nearest of these stands for it. So no two kept rows are near-duplicates, and long
    chains of slowly changing pictures are not collapsed into one, as connected components would.

    Args:
        features: (N, D) float32, unit norm.
        hashes: SHA-256 of each row's bytes; equal ones are the same picture whatever the threshold.
        threshold: cosine in (0, 1]; identical vectors may fall short of 1 by rounding.
        block: rows compared at once.

    Raises ``ValueError`` for a threshold outside (0, 1] and for hashes that do not fit.
    """
    if not 0 < threshold <= 1:
        raise ValueError("the threshold of near-duplicates lies in (0, 1]")
    first = _first_of_hash(hashes, len(features))
    stands = first.copy()
    rows = np.flatnonzero(first == np.arange(len(first)))
    kept = np.empty(0, dtype=np.int64)
    for at in range(0, len(rows), block):
        part = rows[at : at + block]
        stands[part] = _stand_ins(features, part, kept, threshold)
        kept = np.concatenate([kept, part[stands[part] == part]])
    return np.asarray(stands[first])


def medoids(features: np.ndarray, k: int, *, seed: int = 0, iterations: int = 20, at_once: int = AT_ONCE) -> np.ndarray:
    """The most central rows of ``k`` clusters, min(k, N) distinct rows, ascending, int64.

    Spherical k-means, then the member nearest to each centre. A cluster that ends empty is replaced by the row farthest
    from all that are chosen. ``features`` is (N, D) float32, unit norm. Raises ``ValueError`` for k < 1.

    Of large pools (N k above ``at_once``), so many rough clusters are made that the work does not grow, and each is
    given its share of the k by its size. 10,000 of 100,000 rows at once would be a matter of a quarter of an hour.
    """
    if k < 1:
        raise ValueError("at least one cluster is needed")
    if k >= len(features):
        return np.arange(len(features))
    parts = min(-(-len(features) * k // at_once), k, MOST_PARTS)
    if parts > 1:
        return _medoids_in_parts(features, k, parts, seed=seed, iterations=iterations, at_once=at_once)
    centres = spherical_kmeans(features, k, seed=seed, iterations=iterations)
    owner, cosine = nearest_centres(features, centres)
    order = np.lexsort((np.arange(len(owner)), -cosine, owner))
    chosen = order[np.unique(owner[order], return_index=True)[1]]
    return np.sort(np.concatenate([chosen, farthest(features, chosen, k - len(chosen))]))


def _medoids_in_parts(
    features: np.ndarray, k: int, parts: int, *, seed: int, iterations: int, at_once: int
) -> np.ndarray:
    """``medoids`` of each of ``parts`` rough clusters. Rows that k-means cannot part are parted by order."""
    owner = nearest_centres(features, spherical_kmeans(features, parts, seed=seed, iterations=iterations))[0]
    sizes = np.bincount(owner, minlength=parts)
    if sizes.max() == len(features):
        owner = np.arange(len(features)) * parts // len(features)
        sizes = np.bincount(owner, minlength=parts)
    shares = _shared_out(k, sizes)
    chosen = []
    for part in np.flatnonzero(shares):
        rows = np.flatnonzero(owner == part)
        found = medoids(features[rows], int(shares[part]), seed=seed, iterations=iterations, at_once=at_once)
        chosen.append(rows[found])
    return np.sort(np.concatenate(chosen))


def _shared_out(k: int, sizes: np.ndarray) -> np.ndarray:
    """One to each that is not empty, so that nothing rare is lost, the rest of ``k`` in proportion to what is left.

    By largest remainder, ties to the first; never more than each of ``sizes``. k is at least their number.
    """
    shares = (sizes > 0).astype(np.int64)
    rest, room = k - int(shares.sum()), sizes - shares
    quota = rest * room / max(int(room.sum()), 1)
    more = np.floor(quota).astype(np.int64)
    more[np.argsort(more - quota, kind="stable")[: rest - int(more.sum())]] += 1
    return np.asarray(shares + more)


def spherical_kmeans(
    features: np.ndarray, k: int, *, seed: int = 0, iterations: int = 20, least_sample: int = 20_000
) -> np.ndarray:
    """Centres (k, D) float32, unit norm, of k-means by cosine with a greedy k-means++ start.

    Of more than max(``least_sample``, 20 k) rows, so many are drawn by ``seed`` and clustered. Stops early when no row
    changes its cluster; a cluster without members keeps its centre.
    """
    rng = np.random.default_rng(seed)
    sample = max(least_sample, 20 * k)
    if len(features) > sample:
        features = features[np.sort(rng.choice(len(features), size=sample, replace=False))]
    centres = _starting_centres(features, k, rng)
    owner = np.full(len(features), -1)
    for _ in range(iterations):
        before, (owner, _) = owner, nearest_centres(features, centres)
        if (owner == before).all():
            break
        centres = _means(features, owner, centres)
    return centres


def farthest(features: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
    """``count`` further rows, each the farthest from all chosen before it (greedy k-center), int64."""
    closest = nearest_centres(features, features[chosen])[1]
    closest[chosen] = np.inf
    found = []
    for _ in range(min(count, len(features) - len(chosen))):
        row = int(closest.argmin())
        found.append(row)
        np.maximum(closest, features @ features[row], out=closest)
        closest[row] = np.inf
    return np.array(found, dtype=np.int64)


def nearest_centres(features: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index (N,) int64 and cosine (N,) float32 of the nearest of ``centres`` (K, D); the first of equal ones."""
    owner = np.empty(len(features), dtype=np.int64)
    cosine = np.empty(len(features), dtype=np.float32)
    for part, tile in tiles(features, centres):
        owner[part] = tile.argmax(axis=1)
        cosine[part] = tile.max(axis=1)
    return owner, cosine


def tiles(features: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosines of a few rows of ``features`` with all of ``others`` at a time: (rows, (rows, K) float32)."""
    step = max(1, ROOM // max(1, len(others)))
    for at in range(0, len(features), step):
        part = slice(at, at + step)
        yield part, features[part] @ others.T


def _first_of_hash(hashes: Sequence[str], count: int) -> np.ndarray:
    """The first row with the same hash, (N,)."""
    if len(hashes) not in (0, count):
        raise ValueError("one hash a row, or none at all")
    first: dict[str, int] = {}
    known = [first.setdefault(sha256, row) for row, sha256 in enumerate(hashes)]
    return np.array(known, dtype=np.int64) if known else np.arange(count)


def _stand_ins(features: np.ndarray, part: np.ndarray, kept: np.ndarray, threshold: float) -> np.ndarray:
    """Who stands for each row of ``part``, given the rows kept before it."""
    own = features[part]
    stands, best = _nearest_kept(own, features, kept)
    within = own @ own.T
    new: list[int] = []
    for i, row in enumerate(part):
        if new:
            nearest = new[int(within[i, new].argmax())]
            if within[i, nearest] > best[i]:
                stands[i], best[i] = part[nearest], within[i, nearest]
        if best[i] < threshold:
            stands[i] = row
            new.append(i)
    return stands


def _nearest_kept(own: np.ndarray, features: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row among ``kept`` and its cosine; -1 and -inf where nothing is kept yet."""
    stands = np.full(len(own), -1, dtype=np.int64)
    best = np.full(len(own), -np.inf, dtype=np.float32)
    step = max(1, ROOM // len(own))
    for at in range(0, len(kept), step):
        columns = kept[at : at + step]
        index, cosine = nearest_centres(own, features[columns])
        better = cosine > best
        stands[better], best[better] = columns[index[better]], cosine[better]
    return stands, best


def _starting_centres(features: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007; the best of 2 + log k candidates a step, as in their code).

    A candidate is drawn with probability proportional to 1 - cosine to its nearest centre, which is half the squared
    distance of unit vectors.
    """
    tries = 2 + int(np.log(k))
    chosen = [int(rng.integers(len(features)))]
    far = np.maximum(0, 1 - features @ features[chosen[0]])
    while len(chosen) < k:
        sums = np.cumsum(far, dtype=np.float64)
        drawn = np.minimum(np.searchsorted(sums, rng.random(tries) * sums[-1], side="right"), len(features) - 1)
        left = np.minimum(far, np.maximum(0, 1 - features[drawn] @ features.T))
        best = int(left.sum(axis=1).argmin())
        chosen.append(int(drawn[best]))
        far = left[best]
    return features[chosen].astype(np.float32)


def _means(features: np.ndarray, owner: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Normalised means of the members (k, D); the old centre where there are none."""
    order = np.argsort(owner, kind="stable")
    present, starts = np.unique(owner[order], return_index=True)
    sums = np.add.reduceat(features[order], starts, axis=0, dtype=np.float64)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    new = centres.copy()
    new[present] = np.where(norms > 0, sums / np.maximum(norms, 1e-12), centres[present])
    return new
