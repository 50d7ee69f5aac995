"""Ask a provider many questions: bounded concurrency, retries, ledger, cache, spending cap.

What holds, each with a test of that name in ``tests/mllm``:

- A finished item is never asked, nor paid for, again: it is in the ledger before its worker takes the next one, so a
  kill loses at most the calls in flight.
- Identical requests (equal keys, e.g. two copies of one picture) are asked once.
- Only successful replies enter the cache. Failures of earlier runs stay failures unless ``retry_failed``.
- At most ``concurrency`` calls are in flight; a local model gets one batch of its ``batch_size`` at a time.
- Spending never passes the cap, see ``budget.py``. An attempt whose fate is unknown counts at its worst case.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fgvr.errors import AccessError, FgvrError, InputError, RetryableError, UnpricedError
from fgvr.mllm.base import DEFAULT_MAX_SIDE, Mllm, Reply, Request, Resizing
from fgvr.mllm.budget import Budget
from fgvr.mllm.cache import ResponseCache
from fgvr.mllm.outcomes import Answers, LedgerLike, Outcome, Recorder
from fgvr.mllm.planning import Plan, plan
from fgvr.mllm.prices import Price, price_of
from fgvr.mllm.tokens import most_input_tokens
from fgvr.types import Usage

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, Usage], None]
"""Called with (items finished, items in all, usage so far) after every item, from worker threads, one at a time."""


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
    recorder = Recorder(ledger, cache)
    run = _Run(
        mllm=mllm,
        price=price,
        budget=budget if price is not None else None,
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
        run.work(1 if mllm.local else concurrency)
    finally:
        recorder.close()
    return run.answers(requests)


class _Run:
    """The moving parts of one ``ask_all``: workers take chunks from one iterator and report outcomes."""

    def __init__(
        self,
        *,
        mllm: Mllm,
        price: Price | None,
        budget: Budget | None,
        recorder: Recorder,
        plan: Plan,
        attempts: int,
        backoff: Backoff,
        progress: Progress | None,
        ends: float | None,
        seed: int,
        total: int,
    ) -> None:
        self.mllm, self.price, self.budget, self.recorder, self.plan = mllm, price, budget, recorder, plan
        self.attempts, self.backoff, self.progress, self.ends, self.total = attempts, backoff, progress, ends, total
        self.jitter = random.Random(seed)
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.stopped: str | None = None
        self.fatal: BaseException | None = None
        self.chunks = _chunks(plan.leaders, mllm.batch_size)
        self.replies = dict(plan.known)
        self.failures = dict(plan.failed)
        self.usage = Usage()
        self.saved = sum((reply.usage for reply in plan.known.values()), Usage())
        self.reused = len(plan.known)
        self.doubtful = 0.0
        self.estimated = 0

    def work(self, workers: int) -> None:
        """Run until all is asked or something stops the run; re-raises what stopped it."""
        count = min(workers, -(-len(self.plan.leaders) // max(1, self.mllm.batch_size)))
        threads = [threading.Thread(target=self._worker, name=f"fgvr-ask-{i}", daemon=True) for i in range(count)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            # Ctrl-C: begin nothing new, but let the calls in flight (paid for) end and be recorded.
            self.stop.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        if self.fatal is not None:
            raise self.fatal

    def _worker(self) -> None:
        try:
            while not self._must_stop():
                with self.lock:
                    chunk = next(self.chunks, None)
                if chunk is None:
                    return
                self._finish(self._ask(chunk))
        except BaseException as error:
            self._halt(error=error)

    def _must_stop(self) -> bool:
        if self.ends is not None and time.monotonic() >= self.ends:
            self._halt(reason="deadline")
        return self.stop.is_set()

    def _halt(self, *, reason: str | None = None, error: BaseException | None = None) -> None:
        with self.lock:
            if not self.stop.is_set():
                self.stopped, self.fatal = reason, error
            self.stop.set()

    def _ask(self, chunk: list[tuple[Request, str]]) -> list[Outcome]:
        """All outcomes of a chunk. A batch that fails as a whole is asked again one by one."""
        if len(chunk) > 1:
            outcomes = self._attempt_batch(chunk)
            return outcomes if outcomes is not None else [out for one in chunk for out in self._ask([one])]
        (request, key), doubtful = chunk[0], 0.0
        for attempt in range(1, self.attempts + 1):
            if self._must_stop() or not self._reserve(chunk):
                break
            try:
                reply = self._answer(chunk)[0]
                return [Outcome(request, key, replace(reply, attempts=attempt), None, attempt, doubtful, True)]
            except RetryableError as error:
                doubtful += self._doubt(request, error)
                if attempt == self.attempts:
                    return [Outcome(request, key, None, error, attempt, doubtful)]
                self._wait(attempt, error)
            except AccessError:
                raise
            except FgvrError as error:
                return [Outcome(request, key, None, error, attempt, doubtful)]
        # Stopped between attempts: a later run asks again; only what may have been billed is kept in mind.
        return [Outcome(request, key, None, None, 0, doubtful)] if doubtful else []

    def _attempt_batch(self, chunk: list[tuple[Request, str]]) -> list[Outcome] | None:
        if not self._reserve(chunk):
            return []
        try:
            replies = self._answer(chunk)
        except AccessError:
            raise
        except FgvrError as error:
            logger.info("a batch of %d failed (%s); asking one by one", len(chunk), error)
            return None
        return [
            Outcome(request, key, reply, cacheable=True) for (request, key), reply in zip(chunk, replies, strict=True)
        ]

    def _answer(self, chunk: list[tuple[Request, str]]) -> list[Reply]:
        """One call, its price filled in and its reservation settled whatever happens."""
        reserved = sum(self._worst_cost(request) for request, _ in chunk)
        spent = doubtful = 0.0
        try:
            replies = self.mllm.answer([request for request, _ in chunk])
            if len(replies) != len(chunk):
                raise RuntimeError(f"{self.mllm.name} returned {len(replies)} replies to {len(chunk)} requests")
            replies = [replace(reply, usage=self._priced(reply.usage)) for reply in replies]
            spent = sum(reply.usage.cost or 0.0 for reply in replies)
            return replies
        except RetryableError as error:
            doubtful = reserved if may_be_billed(error) else 0.0
            raise
        finally:
            if self.budget is not None:
                self.budget.settle(reserved, spent=spent, doubtful=doubtful)

    def _reserve(self, chunk: list[tuple[Request, str]]) -> bool:
        if self.budget is None:
            return True
        amount = sum(self._worst_cost(request) for request, _ in chunk)
        if self.budget.reserve(amount, cancelled=self.stop.is_set):
            return True
        self._halt(reason="budget")
        return False

    def _worst_cost(self, request: Request) -> float:
        if self.price is None:
            return 0.0
        side = self.mllm.max_side if isinstance(self.mllm, Resizing) else DEFAULT_MAX_SIDE
        tokens_in = most_input_tokens(request, self.mllm.name, max_side=side)
        return self.price.cost(input_tokens=tokens_in, output_tokens=request.parameters.max_tokens)

    def _doubt(self, request: Request, error: RetryableError) -> float:
        return self._worst_cost(request) if may_be_billed(error) else 0.0

    def _priced(self, usage: Usage) -> Usage:
        if self.price is None:
            return replace(usage, cost=None)
        cost = self.price.cost(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
        return replace(usage, cost=cost)

    def _wait(self, attempt: int, error: RetryableError) -> None:
        with self.lock:
            seconds = self.backoff.seconds(attempt, retry_after=error.retry_after, jitter=self.jitter)
        logger.info("attempt %d failed, next in %.1f s: %s", attempt, seconds, error)
        if self.ends is not None:
            seconds = min(seconds, max(0.0, self.ends - time.monotonic()))
        self.stop.wait(seconds)

    def _finish(self, outcomes: list[Outcome]) -> None:
        """Record a chunk's outcomes and those of its followers, then count them."""
        everything = [each for outcome in outcomes for each in (outcome, *self._follow(outcome))]
        if everything:
            self.recorder.write(everything)
        with self.lock:
            for outcome in everything:
                self._count(outcome)
            if self.progress is not None and everything:
                self.progress(len(self.replies) + len(self.failures), self.total, self.usage)

    def _follow(self, outcome: Outcome) -> Iterator[Outcome]:
        if outcome.reply is None and outcome.error is None:
            return
        for request in self.plan.followers[outcome.key]:
            reply = outcome.reply and replace(outcome.reply, item_id=request.item_id, cached=True)
            yield Outcome(request, outcome.key, reply, outcome.error, outcome.attempts)

    def _count(self, outcome: Outcome) -> None:
        item = outcome.request.item_id
        self.doubtful += outcome.doubtful
        if outcome.reply is None:
            if outcome.error is not None:
                self.failures[item] = str(outcome.error)
            return
        self.replies[item] = outcome.reply
        if outcome.reply.cached:
            self.saved += outcome.reply.usage
            self.reused += 1
        else:
            self.usage += outcome.reply.usage
            self.estimated += outcome.reply.usage_estimated

    def answers(self, requests: Sequence[Request]) -> Answers:
        ids = [request.item_id for request in requests]
        return Answers(
            replies={item: self.replies[item] for item in ids if item in self.replies},
            failures={item: self.failures[item] for item in ids if item in self.failures},
            not_asked=tuple(item for item in ids if item not in self.replies and item not in self.failures),
            usage=self.usage,
            saved=self.saved,
            doubtful_cost=self.doubtful,
            stopped=self.stopped,
            reused=self.reused,
            estimated=self.estimated,
        )


def may_be_billed(error: RetryableError) -> bool:
    """True when the service may have done the work although no usable reply arrived."""
    return bool(error.context.get("maybe_billed"))


def _chunks(leaders: Sequence[tuple[Request, str]], size: int) -> Iterator[list[tuple[Request, str]]]:
    for start in range(0, len(leaders), max(1, size)):
        yield list(leaders[start : start + max(1, size)])
