"""How long to wait after a failed attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Seconds before attempt n + 1: ``min(cap, base 2^(n-1))`` times a random factor in [0.5, 1].

    A server's own Retry-After is obeyed when longer, up to ``longest``.
    """

    base: float = 1.0
    cap: float = 60.0
    longest: float = 300.0

    def seconds(self, attempt: int, *, retry_after: float | None, jitter: random.Random) -> float:
        """How long to wait after the failed ``attempt`` (1 for the first)."""
        own = min(self.cap, self.base * 2.0 ** min(attempt - 1, 60)) * (0.5 + 0.5 * jitter.random())
        return max(own, min(retry_after or 0.0, self.longest))
