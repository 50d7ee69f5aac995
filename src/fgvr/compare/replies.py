"""One method's ledger among those of all: what another method has had answered is not asked again, but counted.

Every cell of a comparison (collection, seed, method) keeps its own ledger. While it runs it also sees the finished
answers of all others; one that it makes use of is written into its own ledger as ``cached``. So a ledger tells what the
method would have taken alone (all its answers) and what was paid for it (those that are not cached).

1. *An allowance for each method* pays for the others' answers as well, when they are used: the second method to ask a
   question gets no more for its money than the first.
2. *Sampled answers* (temperature above zero without a seed) stand for themselves: they are not shared, or two draws
   would not be independent.
3. *A damaged line* counts for nothing: neither as an answer, nor in the account of what was taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fgvr.mllm.budget import Budget
from fgvr.mllm.outcomes import line_sum, spent_in
from fgvr.runs import Ledger
from fgvr.types import Usage

FILE = "replies.jsonl"


class Purse(Budget):
    """What a method may still spend; remembers whether a question was refused for want of it.

    ``each`` bounds what it takes as if alone: what it pays, and what the others' answers that it uses had cost.
    """

    def __init__(self, limit: float, *, each: float = float("inf")) -> None:
        super().__init__(limit)
        self.each = each
        self.taken = 0.0
        """Dollars that others' answers had cost."""
        self.refused = False

    @property
    def left(self) -> float:
        """Dollars neither spent nor reserved, by whichever bound is the nearer."""
        return min(self.limit, self.each - self.taken) - self.spent - self.doubtful - self.reserved

    def reserve(self, amount: float, **waiting: Any) -> bool:
        """As ``Budget.reserve``."""
        granted = super().reserve(amount, **waiting)
        self.refused |= not granted
        return granted

    def take(self, cost: float) -> bool:
        """Use an answer that another method has paid ``cost`` for; False where the allowance does not cover it."""
        with self._changed:
            if self.taken + cost > self.each - self.spent - self.doubtful - self.reserved:
                self.refused = True
                return False
            self.taken += cost
            return True


class SharedReplies:
    """A ledger (``fgvr.mllm.outcomes.LedgerLike``): appends to its own file, reads the others' answers before it."""

    def __init__(self, own: Path, others: Mapping[str, Mapping[str, Any]], *, purse: Purse | None = None) -> None:
        self.own = Ledger(own)
        self._others, self._purse = others, purse
        self._lock = threading.Lock()
        self._mine = {str(line["key"]) for line in answers(self.own)}

    def append(self, record: dict[str, Any], /) -> None:
        """Write one record durably into the own ledger."""
        self.own.append(record)

    def records(self) -> Iterable[Mapping[str, Any]]:
        """The others' finished answers, one a question, then everything of the own ledger."""
        return [*self._others.values(), *(line for line in self.own if line.get("kind") != "answer" or "sum" in line)]

    def grants(self, key: str) -> bool:
        """Whether the known answer to a question may be used: one of another method's costs its price, once."""
        with self._lock:
            if self._purse is None or key in self._mine or key not in self._others:
                return True
            granted = self._purse.take(float(self._others[key]["answer"]["usage"]["cost"] or 0.0))
            if granted:
                self._mine.add(key)
            return granted

    def close(self) -> None:
        """Release the file."""
        self.own.close()


class Answered:
    """The answers that may be shared, of all ledgers of a comparison; a file is read again only when it has changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, tuple[tuple[int, int], dict[str, Mapping[str, Any]]]] = {}

    def but(self, own: Path) -> dict[str, Mapping[str, Any]]:
        """By question, of all ledgers but one's own."""
        found: dict[str, Mapping[str, Any]] = {}
        for path in ledgers(self._root):
            if path != own:
                found |= self._of(path)
        return found

    def _of(self, path: Path) -> dict[str, Mapping[str, Any]]:
        state = path.stat()
        version = (state.st_size, state.st_mtime_ns)
        if path not in self._read or self._read[path][0] != version:
            shared = (line for line in answers(Ledger(path)) if not line.get("sampled"))
            self._read[path] = version, {str(line["key"]): _elsewhere(line) for line in shared}
        return self._read[path][1]


def answers(ledger: Ledger) -> Iterator[Mapping[str, Any]]:
    """The finished answers of a ledger, in order; lines that were altered since they were written are left out."""
    for line in ledger:
        if line.get("kind") == "answer" and line.get("status") == "done" and line.get("sum") == line_sum(line):
            yield line


def _elsewhere(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer as a line about no item of this method, so that using it leaves a line of its own."""
    renamed = {**line, "item": f"(elsewhere) {line['item']}"}
    return {**renamed, "sum": line_sum(renamed)}


def ledgers(root: Path) -> list[Path]:
    """All ledgers of a comparison, sorted; files of that name that a method keeps for itself are none."""
    return sorted(root.glob(f"*/seed-*/*/{FILE}"))


def alone(ledger: Ledger) -> Usage:
    """What the method's questions took, or would have taken had it run alone: every question once."""
    answered = {str(line["key"]): line["answer"]["usage"] for line in answers(ledger)}
    return sum((Usage(**dict(usage)) for usage in answered.values()), Usage())


def taken(ledger: Ledger) -> float:
    """US dollars that the method took at most, as if alone: paid, in doubt, or paid by another method."""
    lines = list(answers(ledger))
    own = {str(line["key"]) for line in lines if not line["cached"]}
    borrowed = {str(line["key"]): line["answer"]["usage"]["cost"] or 0.0 for line in lines if line["key"] not in own}
    return spent_in(ledger) + sum(borrowed.values())


def paid(paths: Iterable[Path]) -> float:
    """US dollars that were paid, at most, by all these ledgers."""
    return sum(spent_in(Ledger(path)) for path in paths)
