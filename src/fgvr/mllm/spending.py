"""Money of one ``ask_all``: worst cases reserved before each call, costs settled after it, doubts kept through a kill.

The ledger tells what finished calls cost. A process that is killed leaves calls whose cost no line tells; so before a
call begins, the ledger holds a line (``kind: at_stake``) with a bound on all that calls may have cost without a line of
their own. It is written for many calls at once and raised when needed, a few lines a run, and set to zero at the end.
What a killed session had at stake stays there: :func:`fgvr.mllm.outcomes.spent_in` counts it as spent.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence

from fgvr.mllm.base import DEFAULT_MAX_SIDE, Mllm, Request, Resizing
from fgvr.mllm.budget import Budget
from fgvr.mllm.outcomes import AT_STAKE, LedgerLike, Outcome
from fgvr.mllm.prices import Price
from fgvr.mllm.tokens import most_tokens

_DUST = 1e-9
"""Dollars below which a sum of floats is zero."""


class Spending:
    """Invariant, at every moment and after any kill: true cost so far <= ``spent_in(ledger)`` (and <= the cap).

    Nothing is written where calls cost nothing or the price is unknown.
    """

    def __init__(
        self, mllm: Mllm, *, price: Price | None, budget: Budget | None, ledger: LedgerLike | None, calls_at_once: int
    ) -> None:
        self._mllm, self._price, self._ledger = mllm, price, ledger
        self._budget = budget if price is not None else None
        self._calls_at_once = calls_at_once
        self._session = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._at_stake = 0.0
        self._bound = 0.0

    def worst(self, requests: Iterable[Request]) -> float:
        """Dollars that asking ``requests`` once cannot pass; 0 where the price is unknown."""
        if self._price is None:
            return 0.0
        side = self._mllm.max_side if isinstance(self._mllm, Resizing) else DEFAULT_MAX_SIDE
        most = [most_tokens(request, self._mllm.name, max_side=side) for request in requests]
        return sum(self._price.cost(input_tokens=tokens_in, output_tokens=tokens_out) for tokens_in, tokens_out in most)

    def reserve(self, amount: float, *, cancelled: Callable[[], bool]) -> bool:
        """Set ``amount`` aside for a call about to begin; False when the cap leaves no room for it."""
        if self._budget is not None and not self._budget.reserve(amount, cancelled=cancelled):
            return False
        if self._ledger is not None and amount > 0:
            with self._lock:
                self._at_stake += amount
                if self._at_stake > self._bound:
                    self._write(self._next_bound(amount))
        return True

    def settle(self, reserved: float, *, spent: float = 0.0, doubtful: float = 0.0) -> None:
        """Give a reservation back; what the call did or may have cost stays at stake until :meth:`recorded`."""
        if self._budget is not None:
            self._budget.settle(reserved, spent=spent, doubtful=doubtful)
        with self._lock:
            self._at_stake -= reserved - spent - doubtful

    def recorded(self, outcomes: Sequence[Outcome]) -> None:
        """The ledger holds these now."""
        cost = sum(outcome.doubtful + _paid(outcome) for outcome in outcomes)
        with self._lock:
            self._at_stake -= cost

    def close(self) -> None:
        """No call is in flight any more: only what never reached the ledger stays at stake."""
        with self._lock:
            if self._bound > 0:
                self._write(self._at_stake if self._at_stake > _DUST else 0.0)

    def _next_bound(self, amount: float) -> float:
        """Room for all workers at once, as far as the cap lets them."""
        ahead = self._calls_at_once * amount
        if self._budget is not None:
            ahead = min(ahead, self._at_stake + max(0.0, self._budget.left))
        return max(self._at_stake, ahead)

    def _write(self, dollars: float) -> None:
        if self._ledger is not None:
            self._ledger.append({"kind": AT_STAKE, "session": self._session, "dollars": dollars})
            self._bound = dollars


def _paid(outcome: Outcome) -> float:
    reply = outcome.reply
    return 0.0 if reply is None or reply.cached else reply.usage.cost or 0.0
