"""Retrieval and fusion: five candidates of 10,000 queries among 13,204 classes (the size of V3Det).

Protocol: random unit vectors of 512 dimensions (seed 0), four images and one text a class, queries near a random image.
``retrieve`` (scores of all rows drawn together by class, text scores, both softmaxes over all classes, pool, top 5) is
timed in turn with the bare matrix product it cannot do without (queries with images and texts), and with the plain
way: one similarity matrix of the images, then a Python loop over queries as in the released notebook, which sorts 100
neighbours, takes labels and asks no text. That one runs on 1,000 queries and is given for 10,000 by proportion (it is a
loop over queries). Memory: growth of a fresh process above the vectors; the plain way's is the similarity matrix.
Correctness: 50 random queries against a float64 reference.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.common import in_fresh_process, in_turn, table, write_section
from fgvr.methods.rar.retrieve import PlainMemory, RetrieveSettings, retrieve

DIM, SHOTS, NEIGHBOURS, K = 512, 4, 100, 5
SETTINGS = RetrieveSettings(temperature=0.02, image_temperature=0.05, text_temperature=0.05)
MAX = RetrieveSettings(aggregate="max", image_temperature=0.05, text_temperature=0.05)


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 512) float32, unit norm."""
    made = rng.standard_normal((count, DIM), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def world(queries: int, classes: int) -> tuple[np.ndarray, PlainMemory]:
    """Queries (Q, 512) and a memory of four images and one text a class."""
    rng = np.random.default_rng(0)
    images, labels = unit(rng, classes * SHOTS), np.repeat(np.arange(classes), SHOTS)
    near = images[rng.integers(0, len(images), queries)] + 0.7 * unit(rng, queries)
    asked = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    names = [str(number) for number in range(classes)]
    return asked, PlainMemory.of(names, images=(images, labels), texts=unit(rng, classes), logit_scale=20.0)


def bare_product(queries: np.ndarray, memory: PlainMemory) -> None:
    """Every cosine once, nothing looked at."""
    import torch

    asked = torch.from_numpy(queries)
    for rows in (memory.images.vectors, memory.texts.vectors):
        columns = torch.from_numpy(rows).T
        for start in range(0, len(asked), 128):
            torch.mm(asked[start : start + 128], columns)


def plain_way(queries: np.ndarray, memory: PlainMemory) -> list[list[int]]:
    """The whole similarity matrix, then query by query the labels of the nearest images, duplicates kept."""
    similarity = queries @ memory.images.vectors.T
    found = []
    for row in similarity:
        nearest = np.argsort(-row)[:NEIGHBOURS]
        found.append([int(memory.images.labels[index]) for index in nearest][:K])
    return found


def check(queries: np.ndarray, memory: PlainMemory) -> None:
    """50 random queries against float64, written plainly."""
    rows = np.random.default_rng(1).choice(len(queries), size=50, replace=False)
    asked = queries[rows].astype(np.float64)
    cosines = (asked @ memory.images.vectors.T.astype(np.float64)).reshape(50, -1, SHOTS)
    scores = 0.02 * np.log(np.exp(cosines / 0.02).sum(axis=2)) / 0.05
    texts = asked @ memory.texts.vectors.T.astype(np.float64) / 0.05
    sides = [side - np.log(np.exp(side).sum(axis=1, keepdims=True)) for side in (scores, texts)]
    pooled = SETTINGS.image_weight * sides[0] + SETTINGS.text_weight * sides[1]
    pooled -= np.log(np.exp(pooled).sum(axis=1, keepdims=True))
    found = retrieve(queries[rows], memory, SETTINGS)
    best = np.sort(pooled, axis=1)[:, ::-1][:, :K]
    np.testing.assert_allclose(found.log_probs, best, atol=1e-3)
    np.testing.assert_allclose(np.take_along_axis(pooled, found.classes, axis=1), best, atol=1e-3)


def growth_of(queries: int, classes: int) -> float:
    """MiB above the vectors and torch."""
    held = (classes * (SHOTS + 1) + queries) * DIM * 4 / 2**20
    return float(in_fresh_process(_retrieve, queries, classes, prepare=_warm).growth_mib) - held


def _warm() -> None:
    retrieve(*world(100, 50), SETTINGS)


def _retrieve(queries: int, classes: int) -> None:
    rng = np.random.default_rng(0)  # made in pieces: the making must not weigh more than the search
    parts = [unit(rng, min(10_000, classes * SHOTS - at)) for at in range(0, classes * SHOTS, 10_000)]
    images = np.empty((classes * SHOTS, DIM), dtype=np.float32)
    at = 0
    while parts:
        part = parts.pop(0)
        images[at : at + len(part)] = part
        at += len(part)
    labels = np.repeat(np.arange(classes), SHOTS)
    names = [str(number) for number in range(classes)]
    memory = PlainMemory.of(names, images=(images, labels), texts=unit(rng, classes), logit_scale=20.0)
    retrieve(unit(rng, queries), memory, SETTINGS)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    quick = parser.parse_args().quick
    count, classes, plainly = (1_000, 1_203, 200) if quick else (10_000, 13_204, 1_000)
    queries, memory = world(count, classes)
    check(queries, memory)
    times = in_turn(
        {
            "retrieval and fusion (softmax-sum, default)": lambda: retrieve(queries, memory, SETTINGS),
            "retrieval and fusion (max)": lambda: retrieve(queries, memory, MAX),
            "bare product": lambda: bare_product(queries, memory),
            "plain": lambda: plain_way(queries[:plainly], memory),
        },
        repeats=1 if quick else 3,
        warmup=0 if quick else 1,
    )
    scale = count / plainly
    plain = times.pop("plain").median * scale
    matrix = count * classes * SHOTS * 4 / 2**20
    growth = {"retrieval and fusion (softmax-sum, default)": f"{growth_of(count, classes):.0f}"}
    rows = [
        (name, time, f"{1000 * time.median / count:.3f}", f"{plain / time.median:.1f}x", growth.get(name, "-"))
        for name, time in times.items()
    ]
    title = f"plain way, images only ({plainly:,} queries timed, times {scale:g})"
    rows.append((title, f"{plain:.3g} s", f"{1000 * plain / count:.3f}", "1x", f"{matrix:.0f}"))
    header = (f"{count:,} queries, {classes:,} classes", "time", "ms a query", "faster", "memory, MiB")
    body = f"{(__doc__ or '').split('Protocol: ')[1]}\n{table(header, rows)}"
    print(body)
    if not quick:
        write_section("retrieval", "Retrieval and fusion", body)


if __name__ == "__main__":
    main()
