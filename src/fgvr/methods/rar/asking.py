"""Putting candidates before the MLLM, with one account of what it took: ledger, cache, cap, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.rank import Ranked, Ranking, RankSettings, rank
from fgvr.mllm import Budget, ResponseCache
from fgvr.mllm.base import Mllm
from fgvr.mllm.outcomes import LedgerLike
from fgvr.types import ImageItem, Usage

Said = np.ndarray
"""(Q, k) the MLLM's log-probabilities over a query's candidates, NaN where it was not asked or did not answer."""
Report = Callable[[int, int], None]


class Asker:
    """One MLLM and one ledger: nothing asked before is asked, or paid for, again.

    Args:
        budget: what may still be spent, here and by others who hold it.
        options: what ``ask_all`` takes besides.
    """

    def __init__(
        self,
        mllm: Mllm,
        ranking: RankSettings,
        *,
        ledger: LedgerLike | None = None,
        cache: Path | None = None,
        budget: Budget | None = None,
        options: dict[str, Any] | None = None,
        report: Report | None = None,
    ) -> None:
        self._mllm, self._ranking, self._ledger, self._cache, self._budget = mllm, ranking, ledger, cache, budget
        self._options, self._report = options or {}, report
        self.asked = self.unanswered = self.reused = 0
        self.stopped: str | None = None
        self.usage = Usage()

    def __call__(
        self, items: Sequence[ImageItem], hashes: Sequence[str], candidates: Candidates, names: Sequence[str]
    ) -> Said:
        """Ask about every item's candidates; ``names`` are those of all classes. An item may be there twice."""
        with closing(ResponseCache(self._cache)) if self._cache is not None else nullcontext() as cache:
            ranked = rank(
                with_own_ids(items),
                candidates.names(names),
                self._mllm,
                settings=self._ranking,
                hashes=hashes,
                ledger=self._ledger,
                cache=cache,
                budget=self._budget,
                progress=None if self._report is None else self._progress,
                **self._options,
            )
        self._account(ranked)
        return log_probs_of(ranked.rankings, candidates.k)

    def _progress(self, done: int, total: int, _usage: Usage) -> None:
        assert self._report is not None
        self._report(done, total)

    def _account(self, ranked: Ranked) -> None:
        self.asked += sum(len(one.order) > 1 for one in ranked.rankings)
        self.unanswered += sum(one.status in ("unanswered", "unusable") for one in ranked.rankings)
        self.reused += ranked.answers.reused
        self.stopped = ranked.answers.stopped or self.stopped
        self.usage = self.usage + ranked.answers.usage


def log_probs_of(rankings: Sequence[Ranking], width: int) -> Said:
    """What the MLLM said, (N, width): NaN for a row without a usable answer, -inf past an item's candidates.

    A written list has an order and no probabilities: its places are taken as odds of 1 : 1/2 : 1/3 ...
    """
    said = np.full((len(rankings), width), np.nan)
    for row, ranking in enumerate(rankings):
        count = len(ranking.order)
        if ranking.log_probs:
            said[row] = -np.inf  # past the end of a short row; a NaN would take the whole row for silent
            said[row, :count] = ranking.log_probs
        elif ranking.status in ("parsed", "repaired"):
            said[row] = -np.inf
            odds = -np.log(np.arange(1, count + 1))
            said[row, list(ranking.order)] = odds - np.logaddexp.reduce(odds)
    return said


def with_own_ids(items: Sequence[ImageItem]) -> list[ImageItem]:
    """Items under ids that differ: an input may list a file twice, a memory keep a picture in two classes."""
    taken = {item.id for item in items}
    seen: set[str] = set()
    found = []
    for item in items:
        own, number = item.id, 2
        if own in seen:
            while (own := f"{item.id}#{number}") in taken:
                number += 1
            taken.add(own)
        seen.add(item.id)
        found.append(replace(item, id=own))
    return found
