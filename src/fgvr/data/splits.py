"""Seeded draws and the check that two sets share no picture.

Draws rank items by SHA-256 of seed and id: the same for any order of the input, on any machine, and nested (the draw of
100 contains the draw of 50; adding photographs to the folder changes a draw as little as possible).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fgvr.errors import EvaluationError, ImageError, InputError
from fgvr.images import available_cpus, content_hash
from fgvr.types import ImageItem


def draw_support(
    items: Sequence[ImageItem], *, n: int | None = None, share: float | None = None, seed: int = 0
) -> tuple[tuple[ImageItem, ...], tuple[ImageItem, ...]]:
    """(support, rest): ``n`` items, or ``share`` of them (in (0, 1], at least one), drawn at random; both sorted by id.

    Uses no labels. ``n`` above the number of items takes all. Raises ``InputError`` unless exactly one of them is set.
    """
    if (n is None) == (share is None):
        raise InputError("give either a number or a share of support images", remedy="Set exactly one of them.")
    count = n if n is not None else max(1, round((share or 0.0) * len(items)))
    if count < 1 or (share is not None and not 0 < share <= 1):
        raise InputError("a support set needs at least one image", remedy="Use n >= 1 or a share in (0, 1].")
    ranked = sorted(items, key=lambda item: _rank(item, seed))
    return _by_id(ranked[:count]), _by_id(ranked[count:])


def per_class(
    items: Sequence[ImageItem], m: int, *, seed: int = 0
) -> tuple[tuple[ImageItem, ...], tuple[ImageItem, ...]]:
    """(support, rest): ``m`` items of every true class, the papers' protocol (m = 3), fewer where a class has fewer.

    This uses the true labels to balance the draw, which a user without labels cannot: say so beside any number that
    comes of it. Raises ``EvaluationError`` when an item has no label.
    """
    if m < 1:
        raise InputError("a class-balanced draw needs at least one image per class", remedy="Use m >= 1.", m=m)
    classes: dict[str, list[ImageItem]] = defaultdict(list)
    for item in items:
        if item.label is None:
            remedy = "Draw at random instead (draw_support), or give labels."
            raise EvaluationError("a class-balanced draw needs true labels", remedy=remedy, item=item.id)
        classes[item.label].append(item)
    chosen = {item.id for group in classes.values() for item in sorted(group, key=lambda i: _rank(i, seed))[:m]}
    return _by_id([i for i in items if i.id in chosen]), _by_id([i for i in items if i.id not in chosen])


def leaks(a: Sequence[ImageItem], b: Sequence[ImageItem], *, threads: int | None = None) -> tuple[tuple[str, str], ...]:
    """Pairs (id in ``a``, id in ``b``) of files with the same bytes, sorted. Files that cannot be read are ignored."""
    with ThreadPoolExecutor(threads or min(8, available_cpus())) as pool:
        hashes_a, hashes_b = (list(pool.map(_hash, side)) for side in (a, b))
    where: dict[str, list[str]] = defaultdict(list)
    for item, digest in zip(a, hashes_a, strict=True):
        if digest:
            where[digest].append(item.id)
    pairs = zip(b, hashes_b, strict=True)
    return tuple(sorted((left, item.id) for item, digest in pairs if digest for left in where.get(digest, ())))


def _hash(item: ImageItem) -> str | None:
    try:
        return content_hash(item.path)
    except ImageError:
        return None


def _rank(item: ImageItem, seed: int) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed}\0{item.id}".encode()).digest(), item.id


def _by_id(items: Sequence[ImageItem]) -> tuple[ImageItem, ...]:
    return tuple(sorted(items, key=lambda item: item.id))
