"""Mined triplets as one offline HTML page, hardest first: is the negative another class, and a confusable one?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.methods.fine_r1.triplets import Mined, Triplet
from fgvr.report.render import rendered
from fgvr.report.thumbs import Thumbnail, Thumbnails, decoded_thumbnail
from fgvr.report.words import NONE, name_shown, shown
from fgvr.runs import write_text

THUMBNAIL_BYTES = 5_000_000
THUMBNAIL_SIDE = 132
MOST_SHOWN = 120
MOST_PAIRS = 20
MOST_LEFT_OUT = 200
QUANTILES = (5, 25, 50, 75, 95)
"""Of the similarity of anchor and negative, in per cent."""


def write_triplets_page(path: Path, mined: Mined, *, protocol: Sequence[str] = (), most: int = MOST_SHOWN) -> Path:
    """``triplets_page`` to a file, atomically. Raises ``RunError`` when it cannot be written."""
    write_text(path, triplets_page(mined, protocol=protocol, most=most))
    return Path(path)


def triplets_page(
    mined: Mined,
    *,
    protocol: Sequence[str] = (),
    most: int = MOST_SHOWN,
    thumbnails: Thumbnail | None = None,
) -> str:
    """The page as text.

    Args:
        protocol: lines that say how the triplets were made: encoder, seed, shots.
        most: triplets shown with pictures; all are counted.
        thumbnails: makes a picture's ``data:`` URI from its path; by default files are decoded.
    """
    ordered = hardest_first(mined.triplets)
    pictures = Thumbnails(thumbnails or decoded_thumbnail(THUMBNAIL_SIDE), THUMBNAIL_BYTES)
    template = files("fgvr.methods.fine_r1").joinpath("triplets_page.html.j2").read_text("utf-8")
    return rendered(
        template,
        summary=_summary(mined.triplets),
        key=_key(mined.triplets),
        notes=[shown(note) for note in mined.notes],
        cards=[_card(one, number, pictures) for number, one in enumerate(ordered[:most], start=1)],
        hidden=max(0, len(ordered) - most),
        pairs=[[name_shown(one), name_shown(other), f"{count}"] for (one, other), count in met(ordered)[:MOST_PAIRS]],
        quantiles=[(f"{share} %", f"{value:.3f}") for share, value in similarity_quantiles(ordered).items()],
        left_out=[(shown(one.id), one.reason, shown(one.detail)) for one in mined.set_aside[:MOST_LEFT_OUT]],
        left_out_count=len(mined.set_aside),
        protocol=[shown(line) for line in protocol],
    )


def hardest_first(triplets: Sequence[Triplet]) -> list[Triplet]:
    """Most similar negative first, then by id; triplets without a similarity last."""
    return sorted(triplets, key=lambda one: (-(-2.0 if one.similarity is None else one.similarity), one.id))


def met(triplets: Sequence[Triplet]) -> list[tuple[tuple[str, str], int]]:
    """(class, class of its negative) and how many anchors, most frequent first."""
    tally = Counter((one.category, one.negative_category) for one in triplets if one.negative_category)
    return sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))


def similarity_quantiles(triplets: Sequence[Triplet]) -> dict[int, float]:
    """Quantiles of the cosine of anchor and negative by per cent; empty where no negative has one."""
    found = [one.similarity for one in triplets if one.similarity is not None]
    return {share: float(np.percentile(found, share)) for share in QUANTILES} if found else {}


def _summary(triplets: Sequence[Triplet]) -> str:
    classes = len({one.category for one in triplets})
    return (
        f"{len(triplets):,} anchors of {classes:,} classes, each with another picture of its class and a picture of "
        "another class. Where a negative is the anchor's own class under another name, training would teach an error: "
        "look at the hardest first."
    )


def _key(triplets: Sequence[Triplet]) -> list[tuple[str, str]]:
    middle = similarity_quantiles(triplets).get(50)
    return [
        ("triplets", f"{len(triplets):,}"),
        ("classes", f"{len({one.category for one in triplets}):,}"),
        ("without a positive", f"{sum(one.positive is None for one in triplets):,}"),
        ("without a negative", f"{sum(one.negative is None for one in triplets):,}"),
        ("different negatives", f"{len({one.negative for one in triplets if one.negative}):,}"),
        ("median similarity", NONE if middle is None else f"{middle:.2f}"),
    ]


def _card(triplet: Triplet, number: int, pictures: Thumbnails) -> dict[str, Any]:
    other = name_shown(triplet.negative_category) if triplet.negative_category else "the anchor, masked"
    return {
        "number": number,
        "id": shown(triplet.id),
        "file": shown(triplet.id.rpartition("/")[2]) or shown(triplet.id),
        "similarity": None if triplet.similarity is None else f"{triplet.similarity:.3f}",
        "question": shown(triplet.question),
        "pictures": [
            ("anchor", _uri(pictures, triplet.anchor), name_shown(triplet.category)),
            ("positive", _uri(pictures, triplet.positive), name_shown(triplet.category)),
            ("negative", _uri(pictures, triplet.negative), other if triplet.negative else NONE),
        ],
    }


def _uri(pictures: Thumbnails, path: Path | None) -> str | None:
    """A data URI; empty for a picture that cannot be shown, ``None`` where there is none."""
    return None if path is None else pictures.get(path) or ""
