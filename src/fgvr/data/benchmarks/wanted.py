"""Which split of a data set was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from fgvr.errors import InputError

SPLITS = ("official", "coop")


def official_only(split: str, title: str) -> None:
    """Raises ``InputError`` for any split but the data set's own."""
    _one_of(split, ("official",), title)


def official_or_coop(split: str, title: str) -> bool:
    """Whether CoOp's split was asked for; raises ``InputError`` for one that is neither."""
    _one_of(split, SPLITS, title)
    return split == "coop"


def _one_of(split: str, known: Sequence[str], title: str) -> None:
    if split not in known:
        remedy = f"Use split={' or '.join(repr(name) for name in known)}."
        raise InputError(f"{title} has no split called {split!r}", remedy=remedy)
