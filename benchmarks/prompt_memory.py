"""Memory of a prompt-tuning step by the number of labels: all classes at once, and two-pass gradients by chunks.

Protocol. The tower, names, images and step of ``prompt_step`` (CLIP ViT-B/16 text size, random weights, float32, 16
context vectors, 32 images). One step with a given number of labels runs in a process of its own that has already run
one small step; figures are the growth of its peak resident memory, tokenising the names included, and the step's
seconds. ``CHUNK`` classes a piece; all classes at once only as far as 12 GiB reach.
"""

from __future__ import annotations

import argparse
import time
from functools import cache, partial
from typing import Any

from benchmarks.common import in_fresh_process, table, write_section
from benchmarks.prompt_step import (
    CONTEXT,
    IMAGES,
    IdTokenizer,
    TowerSize,
    class_names,
    image_batch,
    start_context,
    step,
    text_model,
)
from fgvr.encoders.prompt_tower import CausalPromptTower, chunked_features

CHUNK = 256
LABELS = (500, 1000, 2000, 5000, 20_000)
WHOLE = 5000
"""Most labels that run at once."""
SMALL = TowerSize(width=128, layers=3, heads=4, projection=128)


@cache
def model(size: TowerSize) -> Any:
    """The process's one model."""
    return text_model(size)


def warm(size: TowerSize) -> None:
    """The model, imports and the libraries' buffers, which do not belong to the labels."""
    for chunk in (None, 8):
        one_step(size, 16, chunk=chunk)


def one_step(size: TowerSize, labels: int, *, chunk: int | None) -> float:
    """Seconds of one step; names and tokens are made here too, so that their memory counts."""
    tower = CausalPromptTower(model(size), IdTokenizer(), size.positions)
    tower.set_names(class_names(labels))
    features = tower if chunk is None else partial(chunked_features, tower, chunk=chunk)
    batch = image_batch(labels, size.projection)
    started = time.perf_counter()
    step(features, start_context(size.width), *batch)
    return time.perf_counter() - started


def measured(size: TowerSize, labels: int, chunk: int | None) -> tuple[float, float]:
    """Growth in MiB and seconds of one step in a fresh process."""
    found = in_fresh_process(partial(one_step, chunk=chunk), size, labels, prepare=partial(warm, size))
    return found.growth_mib, found.result


def row(size: TowerSize, labels: int, *, chunk: int, whole: bool) -> list[object]:
    """A line of the table."""
    cells: list[object] = [f"{labels:,}"]
    for piece in (None, chunk):
        if piece is None and not whole:
            cells += ["-", "-"]
            continue
        memory, seconds = measured(size, labels, piece)
        cells += [f"{memory:,.0f}", f"{seconds:.3g}"]
    return cells


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small tower, writes nothing")
    quick = parser.parse_args().quick
    size, labels, chunk = (SMALL, (200, 1000, 5000), 64) if quick else (TowerSize(), LABELS, CHUNK)
    body = report([row(size, number, chunk=chunk, whole=number <= WHOLE) for number in labels], chunk=chunk)
    print(body)
    if not quick:
        write_section("prompt_memory", "Memory of prompt tuning by the number of labels", body)


def report(rows: list[list[object]], *, chunk: int) -> str:
    """The section's text."""
    header = ["labels", "all at once, MiB", "seconds", f"{chunk} a chunk, MiB", "seconds"]
    return "\n\n".join(
        [
            "Growth of the peak over one step, in a fresh process (CLIP ViT-B/16 text size, random weights, float32, "
            f"{CONTEXT} context vectors, {IMAGES} images). By chunks (`TuneSettings.chunk`): features of all labels "
            "without a graph, then each chunk again with the gradient that arrives at it, 1.5 times the work.",
            table(header, rows),
            "Chunks are cut from the names in order of length, so the peak is that of the longest names and stops "
            "growing once they fill a chunk. What still grows with the labels C: names and their token ids, a handful "
            "of (C, 512) matrices (2 KiB a label each), the logits of a batch (B, C). `tune` holds besides, for N "
            "support images, the candidate weights, PRODEN's weights and the mask, dense: 9 N bytes a label, 5.3 KiB "
            "for N = 600.",
        ]
    )


if __name__ == "__main__":
    main()
