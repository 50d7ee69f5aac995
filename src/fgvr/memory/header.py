"""Whose vectors a memory holds, and its classes; never changed, always replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Header:
    """Everything about a memory but its rows."""

    encoder: str
    fingerprint: str
    dim: int
    logit_scale: float
    version: int = 0
    names: tuple[str, ...] = ()
    class_ids: tuple[int, ...] = ()
    """One a name, ascending, never used again: what files hold, so that taking a class out touches no file."""
    next_class: int = 0
    next_row: int = 0
    """The id of the next row of either kind."""

    def with_names(self, names: Sequence[str]) -> Header:
        """The same with those of ``names`` that are new, in order of first appearance."""
        known = set(self.names)
        new = tuple(name for name in dict.fromkeys(names) if name not in known)
        ids = tuple(range(self.next_class, self.next_class + len(new)))
        return replace(
            self, names=self.names + new, class_ids=self.class_ids + ids, next_class=self.next_class + len(new)
        )

    def labels_of(self, names: Sequence[str]) -> np.ndarray:
        """(N,) int64 indices of known names."""
        place = {name: index for index, name in enumerate(self.names)}
        return np.array([place[name] for name in names], dtype=np.int64)

    def changed(self, *, version: int | None = None, next_row: int | None = None) -> Header:
        """One version further."""
        return replace(
            self,
            version=self.version + 1 if version is None else version,
            next_row=self.next_row if next_row is None else next_row,
        )

    def renamed(self, label: int, name: str) -> Header:
        """One version further, a class with another name."""
        return replace(self.changed(), names=(*self.names[:label], name, *self.names[label + 1 :]))

    def keeping(self, used: np.ndarray) -> Header:
        """Without the classes where ``used`` (C,) is false; the version stays."""
        kept = [index for index, wanted in enumerate(used) if wanted]
        names, ids = tuple(self.names[i] for i in kept), tuple(self.class_ids[i] for i in kept)
        return replace(self, names=names, class_ids=ids)
