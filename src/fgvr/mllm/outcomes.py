"""What became of each request: ledger lines, their reading on resume, and the account of a whole ``ask_all``."""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fgvr.errors import FgvrError
from fgvr.mllm.base import Reply, Request
from fgvr.mllm.cache import ResponseCache, is_repeatable, reply_from_json, reply_to_json
from fgvr.types import Usage

logger = logging.getLogger(__name__)


class LedgerLike(Protocol):
    """The part of ``fgvr.runs.ledger.Ledger`` used here."""

    def append(self, record: dict[str, Any], /) -> None:
        """Write one record durably."""
        ...

    def records(self) -> Iterable[Mapping[str, Any]]:
        """All complete records, oldest first."""
        ...


@dataclass(frozen=True)
class Answers:
    """The outcome of ``ask_all``; ids in the order of the requests."""

    replies: dict[str, Reply]
    failures: dict[str, str]
    """Why an item has no reply, in words."""
    not_asked: tuple[str, ...]
    """Left when the run stopped early; a later run asks them."""
    usage: Usage
    """Spent by this very call of ``ask_all``."""
    saved: Usage
    """What the replies taken from ledger, cache and identical requests had cost or would have cost."""
    doubtful_cost: float = 0.0
    """Dollars at most for attempts whose fate is unknown (timed out after sending); on top of ``usage.cost``."""
    stopped: str | None = None
    """``budget``, ``deadline`` or ``None``."""
    reused: int = 0
    """Replies that came from ledger, cache or an identical request."""
    estimated: int = 0
    """Replies asked now whose token counts the provider did not report."""


@dataclass(frozen=True)
class Outcome:
    """One finished request, on its way to ledger and cache.

    Neither reply nor error: stopped between attempts, written only because an attempt may have cost something.
    """

    request: Request
    key: str
    reply: Reply | None = None
    error: FgvrError | None = None
    attempts: int = 1
    doubtful: float = 0.0
    cacheable: bool = False

    def record(self) -> dict[str, Any]:
        """The ledger line."""
        line: dict[str, Any] = {
            "kind": "answer",
            "item": self.request.item_id,
            "stage": self.request.stage,
            "key": self.key,
            "status": "done" if self.reply else "failed" if self.error else "unfinished",
            "attempts": self.attempts,
            "doubtful_cost": self.doubtful,
        }
        if not is_repeatable(self.request.parameters):
            line["sampled"] = True  # such an answer stands for this item alone
        if self.reply:
            line |= {"cached": self.reply.cached, "answer": reply_to_json(self.reply)}
        elif self.error:
            line |= {"error": str(self.error), "error_type": type(self.error).__name__}
        return {**line, "sum": line_sum(line)}


@dataclass
class Past:
    """What earlier runs left in the ledger, by request key; a later line wins over an earlier one."""

    done: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    items: set[tuple[str, str]] = field(default_factory=set)
    """(item, key) pairs that have a line of their own."""
    granted: Callable[[str], bool] = lambda key: True
    """Whether a finished answer may be used: a ledger that also holds others' answers decides (``grants``)."""

    @classmethod
    def of(cls, ledger: LedgerLike | None) -> Past:
        """Read a ledger; lines of other kinds are skipped, and those that were altered since they were written."""
        past = cls()
        past.granted = getattr(ledger, "grants", past.granted)
        for line in ledger.records() if ledger is not None else ():
            if line.get("kind") != "answer":
                continue
            if "sum" in line and line["sum"] != line_sum(line):
                logger.warning("a ledger line about %r was damaged; it does not count", line.get("item"))
                continue
            key = str(line["key"])
            if line["status"] == "done":
                past.done[key] = line["answer"]
                past.items.add((str(line["item"]), key))
            elif line["status"] == "failed":
                past.failed[key] = str(line["error"])
        return past

    def reply(self, key: str, item_id: str) -> Reply | None:
        """The finished answer under ``key``, for ``item_id``."""
        answer = self.done.get(key)
        return None if answer is None or not self.granted(key) else reply_from_json(answer, item_id=item_id)


def line_sum(line: Mapping[str, Any]) -> str:
    """A short digest of a line's other fields: a flipped bit in a reply must not become another name."""
    rest = {key: value for key, value in line.items() if key != "sum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]


AT_STAKE = "at_stake"
"""Kind of a ledger line that bounds what calls without a line of their own may have cost, see ``spending.py``."""


def spent_in(ledger: LedgerLike) -> float:
    """US dollars that the calls of a run cost, at most; unpriced calls count as 0.

    Doubtful calls count at their worst case, and so does what a killed process had in flight. Give it to
    ``Budget(limit, spent=...)`` so that the cap covers all runs on one run folder.
    """
    total, at_stake = 0.0, dict[str, float]()
    for line in ledger.records():
        if line.get("kind") == "answer":
            total += _cost(line)
        elif line.get("kind") == AT_STAKE:
            at_stake[str(line.get("session"))] = _number(line.get("dollars"))
    return total + sum(at_stake.values())


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _cost(line: Mapping[str, Any]) -> float:
    """Dollars of one line, as far as a line that was altered still tells."""
    try:
        paid = line["answer"]["usage"]["cost"] if line["status"] == "done" and not line["cached"] else None
        return float(line.get("doubtful_cost") or 0.0) + float(paid or 0.0)
    except (KeyError, TypeError, ValueError):
        return 0.0


class Recorder:
    """Brings outcomes into the ledger at once, and into the cache by a thread that joins them into few transactions.

    ``write`` returns when the outcome is durable (in the ledger; without one, in the cache): what a kill can lose is
    what was in flight, no more. Nobody waits for the cache where the ledger holds the reply already.
    """

    def __init__(self, ledger: LedgerLike | None, cache: ResponseCache | None) -> None:
        self._ledger = ledger
        self._cache = cache
        self._queue: queue.SimpleQueue[tuple[dict[str, Reply], threading.Event] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fill_cache, name="fgvr-cache", daemon=True)
        self._thread.start()

    def write(self, outcomes: list[Outcome]) -> None:
        """Record finished requests. Raises what the ledger or the cache raised (disk full, ...)."""
        if self._ledger is not None:
            for outcome in outcomes:
                self._ledger.append(outcome.record())
        fresh = {out.key: out.reply for out in outcomes if out.cacheable and out.reply and is_storable(out)}
        if self._cache is not None and fresh:
            stored = threading.Event()
            self._queue.put((fresh, stored))
            if self._ledger is None:
                stored.wait()
        self._check()

    def close(self) -> None:
        """Store what is queued and stop. Raises what went wrong while storing."""
        self._queue.put(None)
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _fill_cache(self) -> None:
        last = False
        while not last:
            jobs = self._collect()
            last = jobs[-1] is None
            batch = [job for job in jobs if job is not None]
            try:
                if self._cache is not None and batch and self._error is None:
                    self._cache.put_many({key: reply for replies, _ in batch for key, reply in replies.items()})
            except BaseException as error:
                self._error = error
            for _, stored in batch:
                stored.set()

    def _collect(self) -> list[tuple[dict[str, Reply], threading.Event] | None]:
        """What is queued; with a ledger, what comes within half a second, so that disk flushes stay few."""
        jobs = [self._queue.get()]
        ends = time.monotonic() + (0.5 if self._ledger is not None else 0.0)
        while jobs[-1] is not None:
            try:
                jobs.append(self._queue.get(timeout=max(0.0, ends - time.monotonic())))
            except queue.Empty:
                break
        return jobs


def is_storable(outcome: Outcome) -> bool:
    """Only repeatable answers to be trusted for ever: sampled ones stand for themselves."""
    return is_repeatable(outcome.request.parameters)
