"""One line of the diagnosis, shared by the files that ``fgvr doctor`` is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, what to do."""

    name: str
    status: str
    """``ok``, ``warn`` or ``fail``."""
    found: str
    remedy: str = ""
