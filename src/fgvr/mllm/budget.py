"""A spending cap that holds under any concurrency: reserve the worst case before a call, settle after it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fgvr.errors import InputError


class Budget:
    """US dollars that may be spent; shared by all stages and threads of a run.

    Invariant at every moment: spent + doubtful + reserved <= limit, as long as no call costs more than was reserved
    for it (reservations use upper bounds of tokens, see ``fgvr.mllm.tokens``).
    """

    def __init__(self, limit: float, *, spent: float = 0.0) -> None:
        if not 0 <= limit < float("inf"):
            raise InputError("a budget must be a number of dollars, zero or more", remedy="Correct it.", budget=limit)
        self.limit = limit
        self.spent = spent
        """Known cost of settled calls, earlier ones of the same run included."""
        self.doubtful = 0.0
        """Worst-case cost of calls whose fate is unknown (a time-out after sending): counted as spent."""
        self.reserved = 0.0
        self._changed = threading.Condition()

    @property
    def left(self) -> float:
        """Dollars neither spent nor reserved."""
        return self.limit - self.spent - self.doubtful - self.reserved

    def reserve(self, amount: float, *, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Set ``amount`` aside. Waits for calls in flight if only they stand in the way; False if it cannot fit."""
        with self._changed:
            while amount > self.left:
                if self.reserved <= 0 or cancelled():
                    return False
                self._changed.wait(timeout=0.2)
            self.reserved += amount
            return True

    def settle(self, reserved: float, *, spent: float = 0.0, doubtful: float = 0.0) -> None:
        """Give a reservation back and book what the call did cost."""
        with self._changed:
            # Sums of floats drift: a reservation of exactly zero must be reachable again.
            self.reserved = max(0.0, self.reserved - reserved)
            if self.reserved < 1e-12:
                self.reserved = 0.0
            self.spent += spent
            self.doubtful += doubtful
            self._changed.notify_all()
