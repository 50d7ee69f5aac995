"""Ask a provider many questions: bounded concurrency, retries, ledger, cache, spending cap.

What holds, each with a test of that name in ``tests/mllm``:

- A finished item is never asked, nor paid for, again: it is in the ledger before its worker takes the next one, so a
  kill loses at most the calls in flight.
- Identical requests (equal keys, e.g. two copies of one picture) are asked once.
- Only successful replies enter the cache. Failures of earlier runs stay failures unless ``retry_failed``.
- At most ``concurrency`` calls are in flight, counted until their answer is recorded; a local model gets one batch of
  its ``batch_size`` at a time.
- Spending never passes the cap, over any number of killed and resumed runs on one ledger, see ``budget.py`` and
  ``spending.py``. An attempt whose fate is unknown counts at its worst case.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from fgvr.errors import InputError, UnpricedError
from fgvr.mllm.backoff import Backoff
from fgvr.mllm.base import Mllm, Request
from fgvr.mllm.budget import Budget
from fgvr.mllm.cache import ResponseCache
from fgvr.mllm.outcomes import Answers, LedgerLike, Recorder
from fgvr.mllm.planning import plan
from fgvr.mllm.prices import Price, price_of
from fgvr.mllm.spending import Spending
from fgvr.mllm.workers import Progress, Run


def ask_all(
    requests: Sequence[Request],
    mllm: Mllm,
    *,
    ledger: LedgerLike | None = None,
    cache: ResponseCache | None = None,
    concurrency: int = 8,
    attempts: int = 5,
    backoff: Backoff | None = None,
    budget: Budget | None = None,
    prices: Mapping[str, Price] | None = None,
    allow_unpriced: bool = False,
    retry_failed: bool = False,
    progress: Progress | None = None,
    deadline: float | None = None,
    seed: int = 0,
) -> Answers:
    """Answer every request that can be answered; see the module docstring for what is guaranteed.

    ``deadline``: seconds after which nothing new is begun. ``seed`` drives the back-off jitter only. Item ids must be
    distinct. Items are left in ``Answers.not_asked`` when the cap or the deadline stops the run (``stopped``).

    Raises ``UnpricedError`` before any call when a cap is set and the price unknown, ``AccessError`` when the service
    refuses every request (what finished is in ledger and cache), and whatever the ledger raises when it cannot write.
    """
    if concurrency < 1 or attempts < 1:
        raise InputError("concurrency and attempts must be at least 1", remedy="Correct them.")
    price = price_of(mllm.name, prices=prices, local=mllm.local)
    if budget is not None and price is None and not allow_unpriced:
        raise UnpricedError(
            "a spending cap was set but the model's price is unknown",
            remedy="Give a price file (--prices) or allow unpriced calls (--allow-unpriced).",
            model=mllm.name,
        )
    todo = plan(requests, mllm, ledger=ledger, cache=cache, retry_failed=retry_failed)
    calls_at_once = 1 if mllm.local else concurrency
    spending = Spending(mllm, price=price, budget=budget, ledger=ledger, calls_at_once=calls_at_once)
    recorder = Recorder(ledger, cache)
    run = Run(
        mllm=mllm,
        price=price,
        spending=spending,
        recorder=recorder,
        plan=todo,
        attempts=attempts,
        backoff=backoff or Backoff(),
        progress=progress,
        ends=None if deadline is None else time.monotonic() + deadline,
        seed=seed,
        total=len(requests),
    )
    try:
        if todo.unrecorded:
            recorder.write(todo.unrecorded)
        run.work(calls_at_once)
    finally:
        recorder.close()
        spending.close()
    return run.answers(requests)
