"""Opening every picture of a data set once: which cannot be read, and why, and which are the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fgvr.images import Decoded, decode_all
from fgvr.types import ImageItem, SetAside

Progress = Callable[[str, int, int], None]
"""Called with a stage, how many are done, how many there are."""
# Enough to decode every block of a JPEG at an eighth of its size; a broken file shows all the same.
_SIDE = 32


@dataclass(frozen=True)
class Opened:
    """What opening them told."""

    hashes: dict[str, str]
    """SHA-256 of the bytes, by id, of the readable ones."""
    unreadable: tuple[SetAside, ...]


def open_all(items: Sequence[ImageItem], *, progress: Progress | None = None) -> Opened:
    """Decode every picture, in threads."""
    hashes: dict[str, str] = {}
    faults: list[SetAside] = []
    for done, (item, result) in enumerate(decode_all(items, side=_SIDE), start=1):
        if isinstance(result, Decoded):
            hashes[item.id] = result.sha256
        else:
            faults.append(result)
        if progress is not None:
            progress("open pictures", done, len(items))
    return Opened(hashes, tuple(faults))
