"""The memory: storing, exact search and HNSW among 1,000 to 1,000,000 vectors of 512 dimensions.

Protocol: vectors of N / 100 classes drawn like CLIP's: a common direction of length 0.74, classes about it and images
about their class (62 and 38 % of the variance), with power-law spectra, all as measured on 1,965 real CLIP ViT-B/16
vectors of five data sets. They are made, added and saved in chunks; 250 queries are further draws of the same classes.
Each size runs in fresh processes: one stores, one loads and searches exactly, one builds the graph (default settings,
all cores) and compares the searches in turn. Growth is the peak above what the process held before; pages of mapped
files count as resident though the system may drop them, so the peak without them stands beside it. `ef 0.99`: the
smallest search width (a power of two) with recall@5 of at least 0.99. Pays after: queries that make up for the build.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import in_fresh_process, in_turn, table, write_section
from fgvr.memory import Exact, Memory, nearest, recall
from fgvr.memory.hnsw import Hnsw
from fgvr.memory.reduce import PcaSearch, Pq, fit_pca

SIZES = (1_000, 10_000, 100_000, 1_000_000)
DIM = 512
CHUNK = 25_000
PER_CLASS = 100
QUERIES = 250
SINGLE = 20
"""Queries asked one by one."""
K = 5
WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
COMMON, BETWEEN = 0.74, 0.62
"""Length of the mean vector; share of the variance about it that lies between classes."""


def spectrum(slope: float, *, seed: int) -> np.ndarray:
    """(D,) standard deviations, squares falling with the power ``slope`` and summing to 1, on axes shuffled by seed."""
    variances = np.arange(1, DIM + 1) ** -slope
    return np.sqrt(variances / variances.sum())[np.random.default_rng(seed).permutation(DIM)].astype(np.float32)


def draw(classes: np.ndarray, *, seed: int) -> np.ndarray:
    """(N, 512) float32, unit norm: one image of each class in ``classes`` (N,). A class is the same in every call."""
    kinds, at = np.unique(classes, return_inverse=True)
    centres = np.stack([np.random.default_rng([1, kind]).standard_normal(DIM, dtype=np.float32) for kind in kinds])
    images = np.random.default_rng([2, seed]).standard_normal((len(classes), DIM), dtype=np.float32)
    spread = np.float32(np.sqrt(1 - COMMON**2))
    made = spread * np.float32(np.sqrt(BETWEEN)) * (centres * spectrum(1.4, seed=3))[at]
    made += spread * np.float32(np.sqrt(1 - BETWEEN)) * images * spectrum(0.9, seed=4)
    made[:, 0] += COMMON
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def queries(count: int) -> np.ndarray:
    """(250, 512): images of random classes, none of them stored."""
    return draw(np.random.default_rng(5).integers(max(1, count // PER_CLASS), size=QUERIES), seed=10**6)


def store(folder: str, count: int) -> float:
    """Add and save in chunks; seconds without the making."""
    memory, seconds = Memory.create("drawn", "0" * 64, DIM, 100.0), 0.0
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        classes = rows % max(1, count // PER_CLASS)
        vectors = draw(classes, seed=start)
        names = [f"class {label}" for label in classes]
        sources, hashes = [f"images/{row}.jpg" for row in rows], [f"{row:064x}" for row in rows]
        began = time.perf_counter()
        memory.add("image", names, vectors, sources=sources, hashes=hashes)
        memory.save(folder)
        seconds += time.perf_counter() - began
    return seconds


def search_exactly(folder: str, count: int) -> tuple[float, float]:
    """Load and search; seconds of loading, MiB of mapped pages at the end."""
    asked = queries(count)
    began = time.perf_counter()
    memory = Memory.load(folder)
    loading = time.perf_counter() - began
    nearest(asked, memory.images.pieces, k=K)
    nearest(asked[:1], memory.images.pieces, k=K)
    return loading, file_pages()


def compare(folder: str, count: int, *, repeats: int) -> dict[str, Any]:
    """Build the graph, find the width for 0.99, time the searches in turn."""
    rows, asked = Memory.load(folder).images, queries(count)
    began = time.perf_counter()
    index = Hnsw.build(rows.pieces, ids=rows.ids, threads=len(os.sched_getaffinity(0)))
    found: dict[str, Any] = {"build": time.perf_counter() - began, "pages": file_pages()}
    recalls = {}
    for width in WIDTHS:
        index.ef_search = width
        recalls[width] = recall(index, rows.pieces, queries=asked, k=K).value
        if recalls[width] >= 0.99:
            break
    exact = Exact(rows.pieces)
    alternatives = {"exact": partial(ask, exact, asked, None), "exact single": partial(one_by_one, exact, asked, None)}
    for name, enough in (("ef 16", WIDTHS[0]), ("ef 0.99", width)):
        alternatives[name] = partial(ask, index, asked, enough)
        alternatives[f"{name} single"] = partial(one_by_one, index, asked, enough)
    times = in_turn(alternatives, repeats=repeats)
    for name, timing in times.items():
        found[name] = timing.median * 1000 / (SINGLE if name.endswith("single") else QUERIES)
    index.save(Path(folder) / "image.hnsw.safetensors")
    return {**found, "width": width, "recall 16": recalls[WIDTHS[0]], "recall": recalls[width]}


def ask(searcher: Any, asked: np.ndarray, width: int | None) -> None:
    """All queries at once."""
    if width is not None:
        searcher.ef_search = width
    searcher.search(asked, K)


def one_by_one(searcher: Any, asked: np.ndarray, width: int | None) -> None:
    """The first few queries, each alone."""
    for query in asked[:SINGLE]:
        ask(searcher, query[None], width)


def file_pages() -> float:
    """MiB of mapped files in this process's resident memory."""
    return int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0]) / 1024


def warm() -> None:
    """Imports and the libraries' buffers."""
    vectors = draw(np.arange(200), seed=0)
    nearest(vectors, vectors, k=K)
    Hnsw.build(vectors).search(vectors, K)


def mebibytes(folder: str, pattern: str) -> float:
    """Of the files that match."""
    return sum(path.stat().st_size for path in Path(folder).glob(pattern)) / 2**20


def measured(count: int, *, repeats: int) -> dict[str, Any]:
    """Everything about one size."""
    with tempfile.TemporaryDirectory(prefix="fgvr-memory-") as folder:
        storing = in_fresh_process(store, folder, count, prepare=warm)
        exact = in_fresh_process(search_exactly, folder, count, prepare=warm)
        pages = file_pages_of_a_warm_process()
        graph = in_fresh_process(partial(compare, repeats=repeats), folder, count, prepare=warm)
        loading, held = exact.result
        return {
            "rows": count,
            "store": storing.result,
            "store growth": storing.growth_mib,
            "load": loading,
            "exact growth": exact.growth_mib,
            "exact growth alone": exact.growth_mib - (held - pages),
            "graph growth": graph.growth_mib,
            "graph growth alone": graph.growth_mib - (graph.result["pages"] - pages),
            "memory file": mebibytes(folder, "image-*"),
            "graph file": mebibytes(folder, "*.hnsw.*"),
            **graph.result,
        }


def file_pages_of_a_warm_process() -> float:
    """MiB of mapped files that every measured process holds before it starts: its libraries."""
    return float(in_fresh_process(file_pages, prepare=warm).result)


def pays_after(found: Mapping[str, Any], how: str) -> str:
    """Queries whose saved time makes up for building the graph."""
    saved = (found[f"exact{how}"] - found[f"ef 0.99{how}"]) / 1000
    return f"{found['build'] / saved:,.0f}" if saved > 0 else "never"


def reductions(count: int) -> str:
    """PCA and product quantisation of ``count`` vectors: what they save and what they cost."""
    classes = np.arange(count) % max(1, count // PER_CLASS)
    vectors, asked = draw(classes, seed=0), queries(count)
    rows = [("none", 4 * DIM, "-", *searching(Exact(vectors), vectors, asked))]
    for dim in (256, 128, 64):
        began = time.perf_counter()
        made = PcaSearch(fit_pca(vectors, dim=dim), vectors)
        rows.append((f"PCA to {dim}", 4 * dim, f"{time.perf_counter() - began:.3g}", *searching(made, vectors, asked)))
    for parts in (128, 64):
        began = time.perf_counter()
        coded = Pq.fit(vectors, parts=parts)
        seconds = f"{time.perf_counter() - began:.3g}"
        rows.append((f"product quantisation, {parts} parts", parts, seconds, *searching(coded, vectors, asked)))
    return table((f"{count:,} vectors", "bytes each", "fit, s", "batched, ms/query", f"recall@{K}"), rows)


def searching(searcher: Any, vectors: np.ndarray, asked: np.ndarray) -> tuple[str, str]:
    """Milliseconds a query, batched, and recall."""
    times = in_turn({"search": partial(ask, searcher, asked, None)}, repeats=3)
    value = recall(searcher, vectors, queries=asked, k=K).value
    return f"{times['search'].median * 1000 / QUERIES:.3g}", f"{value:.3f}"


def report(found: list[dict[str, Any]], reduced: str) -> str:
    """The section's text."""
    files = [
        (
            f"{f['rows']:,}",
            f"{f['store']:.3g}",
            f"{f['store growth']:.0f}",
            f"{f['load']:.3g}",
            f"{f['memory file']:,.0f}",
            f"{f['exact growth']:,.0f} ({f['exact growth alone']:,.0f})",
            f"{f['build']:.3g}",
            f"{f['graph growth']:,.0f} ({f['graph growth alone']:,.0f})",
            f"{f['graph file']:,.0f}",
        )
        for f in found
    ]
    speeds = [
        (
            f"{f['rows']:,}",
            f"{f['exact single']:.3g}",
            f"{f['exact']:.3g}",
            f"{f['ef 16 single']:.3g}",
            f"{f['ef 16']:.3g}",
            f"{f['recall 16']:.3f}",
            f["width"],
            f"{f['ef 0.99 single']:.3g}",
            f"{f['ef 0.99']:.3g}",
            f"{f['recall']:.3f}",
            pays_after(f, " single"),
            pays_after(f, ""),
        )
        for f in found
    ]
    first = ("rows", "store, s", "growth, MiB", "load, s", "file, MiB", "exact search: growth", "HNSW build, s")
    second = ("rows", "exact, single", f"{QUERIES} at once", "ef 16, single", "at once", f"recall@{K}", "ef 0.99")
    return "\n\n".join(
        [
            (__doc__ or "").split("Protocol: ")[1].strip(),
            table((*first, "growth", "index file, MiB"), files),
            f"faiss {version('faiss-cpu')}. Growth in brackets: without pages of mapped files. Searches in "
            "milliseconds a query:",
            table((*second, "single", "at once", f"recall@{K}", "pays after, single", "at once"), speeds),
            "The five real sets have 111 to 600 vectors: HNSW finds everything there, and there is nothing to "
            "win. Reductions, searched among all vectors:",
            reduced,
        ]
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 10,000 rows; writes nothing")
    quick = parser.parse_args().quick
    sizes = SIZES[:2] if quick else SIZES
    found = [measured(count, repeats=3 if count >= 10**6 else 5) for count in sizes]
    body = report(found, reductions(10_000 if quick else 100_000))
    print(body)
    if not quick:
        write_section("memory", "Memory: exact search and HNSW", body)


if __name__ == "__main__":
    main()
