"""Is one method better than another? Paired differences on the same draws, or with one draw on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.compare.cell import named
from fgvr.compare.row import Row
from fgvr.compare.summary import over_draws
from fgvr.metrics.bootstrap import Interval, bootstrap_difference
from fgvr.types import ImageItem

COMPARED = ("cacc", "sacc", "synonym")


@dataclass(frozen=True)
class Difference:
    """``method`` minus ``against`` on one collection."""

    collection: str
    method: str
    against: str
    figures: dict[str, Interval]
    paired: str
    """``draws`` or ``images``."""

    def clear(self, key: str) -> bool:
        """Whether the interval leaves zero out."""
        figure = self.figures[key]
        return figure.low > 0 or figure.high < 0


def differences(
    rows: Sequence[Row],
    against: str,
    *,
    root: Path | None = None,
    truth: Mapping[str, Sequence[ImageItem]] | None = None,
    sentence_encoder: Any = None,
) -> list[Difference]:
    """Every method minus ``against``, each collection; only draws on which both are whole (every image answered).

    ``root`` and ``truth`` (collection to its test images) serve comparisons with one draw, and methods whose figures no
    draw changes: the names are read from the comparison's folder and paired by image. Without them these give none.
    """
    found = []
    for collection in dict.fromkeys(row.collection for row in rows):
        here = [row for row in rows if row.collection == collection and row.status == "done" and row.coverage == 1]
        bases = {row.seed: row for row in here if row.method == against}
        for method in dict.fromkeys(row.method for row in here if row.method != against):
            pairs = [(row, bases[row.seed]) for row in here if row.method == method and row.seed in bases]
            if _vary(pairs):
                found.append(_by_draw(pairs))
            elif pairs and root is not None and truth is not None:
                found += _by_image(*pairs[0], root, truth[collection], sentence_encoder)
    return found


def paired_by(found: Sequence[Difference]) -> str:
    """How the differences of one table are paired, in words."""
    kinds = {one.paired for one in found}
    return "draws (±) and, where no draw changes anything, images (brackets)" if len(kinds) > 1 else "".join(kinds)


def _vary(pairs: Sequence[tuple[Row, Row]]) -> bool:
    """Whether some figure of either side differs between draws."""
    sides = [
        [tuple(row.figures[key].value for key in COMPARED if key in row.figures) for row in side]
        for side in zip(*pairs)
    ]
    return any(len(set(side)) > 1 for side in sides)


def _by_draw(pairs: Sequence[tuple[Row, Row]]) -> Difference:
    keys = [key for key in COMPARED if all(key in row.figures for pair in pairs for row in pair)]
    figures = {key: over_draws([a.figures[key].value - b.figures[key].value for a, b in pairs]) for key in keys}
    return Difference(pairs[0][0].collection, pairs[0][0].method, pairs[0][1].method, figures, "draws")


def _by_image(one: Row, other: Row, root: Path, truth: Sequence[ImageItem], encoder: Any) -> list[Difference]:
    """One difference; none where the names of either are gone from the folder."""
    by_id = {item.id: item for item in truth}
    names = [named(root, row) for row in (one, other)]
    ids = [item for item in names[0] if item in names[1] and item in by_id]
    if not ids:
        return []
    accepted = [(str(by_id[item].label), *by_id[item].accepted) for item in ids]
    scores = [per_image([side[item] or "" for item in ids], accepted, encoder) for side in names]
    figures = {key: bootstrap_difference(scores[0][key], scores[1][key]) for key in scores[0]}
    return [Difference(one.collection, one.method, other.method, figures, "images")]


def per_image(names: Sequence[str], truth: Sequence[tuple[str, ...]], encoder: Any) -> dict[str, np.ndarray]:
    """(N,) of each figure: for cACC whether the image lies in its class's matched cluster."""
    from fgvr.metrics.accuracy import hits
    from fgvr.metrics.clustering import matched_hits
    from fgvr.metrics.semantic import semantic_scores

    found = {"cacc": matched_hits(names, truth), "synonym": np.asarray(hits(names, truth), dtype=np.float64)}
    if encoder is not None:
        found["sacc"] = np.asarray(semantic_scores(names, truth, encoder), np.float64)
    return found
