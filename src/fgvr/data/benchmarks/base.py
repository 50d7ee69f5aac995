"""What a reader of a published data set gives: labelled images with their splits, the class list, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fgvr.types import ImageItem, SetAside


@dataclass(frozen=True)
class Problem:
    """Something in a data set's folder that is not as distributed, or not as it should be."""

    kind: str
    """Short stable code for tallies: ``missing list``, ``missing images``, ``wrong count``, ``wrong checksum``,
    ``in two splits``, ``same file name in two splits``, ``same picture twice``, ..."""
    detail: str
    serious: bool = True
    """Figures on this folder would not be those of the data set; ``False`` for what one should merely know."""


@dataclass(frozen=True)
class Benchmark:
    """One data set as it lies on disk."""

    name: str
    """Short name: ``cub200``, ``cars196``, ..."""
    title: str
    """As papers write it: ``CUB-200-2011``."""
    root: Path
    split: str
    """Whose division into train, val and test: ``official`` or ``coop``."""
    items: tuple[ImageItem, ...]
    """Sorted by id. ``label`` is the class's name, ``accepted`` what also counts, ``split`` train, val or test."""
    classes: tuple[str, ...]
    """Class names in the data set's own order; corrected unless the original list was asked for."""
    problems: tuple[Problem, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What a figure on it must state: which list of names, which split, ..."""
