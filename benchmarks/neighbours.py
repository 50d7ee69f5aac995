"""Candidate sets: exact nearest neighbours among N unit vectors of 512 dimensions.

Protocol: vectors around N / 10 random centres (seed 0). ``nearest_others`` (exact, blocked, re-ranked in float64) is
timed in turn with the bare matrix product it cannot do without, which visits every pair of blocks once, and with a
plain NumPy reference (product, ``argpartition``) where that is bearable. Correctness: 200 random rows against float64
brute force. Memory: growth of a fresh process above the vectors themselves.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.common import in_fresh_process, in_turn, table, write_section
from fgvr.memory import nearest_others

BLOCK = 2048
NEIGHBOURS = 2
SIZES = (1_000, 10_000, 30_000, 100_000)
NUMPY_UP_TO = 30_000


def vectors(count: int, *, seed: int = 0) -> np.ndarray:
    """(N, 512) float32, unit norm, clustered."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, count // 10), 512), dtype=np.float32)
    made = centres[rng.integers(len(centres), size=count)] + rng.standard_normal((count, 512), dtype=np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def bare_product(features: np.ndarray) -> None:
    """Every pair of blocks multiplied once, nothing looked at."""
    import torch

    data = torch.from_numpy(features)
    room = torch.empty(BLOCK * BLOCK)
    for start in range(0, len(data), BLOCK):
        rows = data[start : start + BLOCK]
        for at in range(start, len(data), BLOCK):
            columns = data[at : at + BLOCK]
            torch.mm(rows, columns.T, out=room[: len(rows) * len(columns)].view(len(rows), len(columns)))


def plain_numpy(features: np.ndarray) -> np.ndarray:
    """What one would write first: row blocks against everything, then a partial sort."""
    found = np.empty((len(features), NEIGHBOURS), dtype=np.int64)
    for start in range(0, len(features), BLOCK):
        tile = features[start : start + BLOCK] @ features.T
        tile[np.arange(len(tile)), start + np.arange(len(tile))] = -np.inf
        found[start : start + len(tile)] = np.argpartition(-tile, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return found


def ours(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The library's search."""
    return nearest_others(features, k=NEIGHBOURS, block=BLOCK)


def check(features: np.ndarray) -> None:
    """200 random rows against brute force in float64."""
    rows = np.random.default_rng(1).choice(len(features), size=min(200, len(features)), replace=False)
    cosines = features[rows].astype(np.float64) @ features.T.astype(np.float64)
    cosines[np.arange(len(rows)), rows] = -np.inf
    expected = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
    np.testing.assert_array_equal(ours(features)[0][rows], expected)


def growth_of(count: int) -> float:
    """MiB above the vectors and torch."""
    return float(in_fresh_process(_search, count, prepare=_warm).growth_mib) - count * 512 * 4 / 2**20


def _warm() -> None:
    ours(vectors(200))


def _search(count: int) -> None:
    features = np.empty((count, 512), dtype=np.float32)
    for start in range(0, count, 10_000):  # the making must not weigh more than the search
        features[start : start + 10_000] = vectors(min(10_000, count - start), seed=start)
    ours(features)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    quick = parser.parse_args().quick
    rows = []
    for count in SIZES[:2] if quick else SIZES:
        features = vectors(count)
        check(features)
        runs = {"search": lambda f=features: ours(f), "product": lambda f=features: bare_product(f)}
        if count <= NUMPY_UP_TO:
            runs["numpy"] = lambda f=features: plain_numpy(f)
        times = in_turn(runs, repeats=1 if quick else 3 if count >= NUMPY_UP_TO else 5, warmup=count < NUMPY_UP_TO)
        search, product = times["search"], times["product"]
        against = f"{times['numpy'].median / search.median:.1f}x" if "numpy" in times else "-"
        rows.append(
            (f"{count:,}", search, product, f"{product.median / search.median:.0%}", against, f"{growth_of(count):.0f}")
        )
    header = ("vectors", "exact search", "bare product", "of its speed", "faster than plain NumPy", "memory, MiB")
    body = f"{(__doc__ or '').split('Protocol: ')[1]}\n{table(header, rows)}"
    print(body)
    if not quick:
        write_section("neighbours", "Exact neighbours (candidate sets)", body)


if __name__ == "__main__":
    main()
