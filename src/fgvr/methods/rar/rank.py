"""The ranker (paper section 3.3): the MLLM orders the retrieved candidates of each image, by scores or in writing.

Paper and released code generate the order as text (``mode="generate"``; greedy, 512 tokens). The default here is
``score``: the model reads the question once and the probability of each candidate as the answer is taken, without any
text to write or to read. What ``ask`` means:

- ``names``: a plain naming question, no list in it. A local model gives the log-probability of every candidate's whole
  name; the order in which candidates were retrieved cannot sway it. A service, which scores no given text, is shown the
  names as a lettered list and scored by letter.
- ``letters``: every model sees the lettered list, and letters are scored.

*Order bias.* Models prefer some places of a list. ``permutations`` asks with that many cyclic rotations of the list and
averages log-probabilities (in ``generate`` mode: ranks). With as many rotations as candidates every candidate stands in
every place once, and a preference for places cancels exactly. The naming question of a local model needs none.

Items with fewer than two candidates are not asked about.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fgvr.errors import InputError
from fgvr.methods.rar.parse import parse_ranking
from fgvr.methods.rar.prompts import CHOICE_QUESTION, NAMING_QUESTION, PROMPTS, PromptKind, ranking_prompt, shown
from fgvr.mllm.base import Mllm, Parameters, Reply, Request
from fgvr.mllm.options import LETTERS, lettered_prompt
from fgvr.mllm.outcomes import Answers
from fgvr.mllm.scheduler import ask_all
from fgvr.types import ImageItem

logger = logging.getLogger(__name__)

STAGE = "rank"


@dataclass(frozen=True)
class RankSettings:
    """How candidates are put to the MLLM. Raises InputError for values that make no sense."""

    mode: Literal["score", "generate"] = "score"
    ask: Literal["names", "letters"] = "names"
    """What is scored; no effect with ``generate``."""
    prompt: PromptKind = "paper"
    """Which ranking prompt is sent with ``generate``, see ``prompts.py``."""
    question: str | None = None
    """A question of your own for ``score``; default `NAMING_QUESTION` or `CHOICE_QUESTION`."""
    permutations: int = 1
    """Rotations of the list an image is asked with; more than it has candidates count as that many."""
    max_tokens: int = 512
    """Of a written order (released code)."""

    def __post_init__(self) -> None:
        if self.mode not in ("score", "generate") or self.ask not in ("names", "letters"):
            raise InputError(
                "unknown way to rank",
                remedy="mode is score or generate, ask is names or letters.",
                mode=self.mode,
                ask=self.ask,
            )
        if self.prompt not in PROMPTS:
            raise InputError("no such ranking prompt", remedy=f"Use one of {', '.join(PROMPTS)}.", prompt=self.prompt)
        if self.permutations < 1 or self.max_tokens < 1:
            raise InputError("permutations and max_tokens must be at least 1", remedy="Correct them.")


@dataclass(frozen=True)
class Ranking:
    """An order of one item's candidates."""

    item_id: str
    order: tuple[int, ...]
    """A permutation of ``range(len(candidates))``, best first."""
    log_probs: tuple[float, ...]
    """Natural log, over the candidates in the order they were *given*, normalised; ``()`` where there are no scores."""
    status: str
    """``scored``; ``parsed`` (an order in writing, or one letter without scores: that candidate first); ``repaired``
    (an order with faults, or some of the rotations unanswered); ``unusable`` and ``unanswered`` (order as retrieved).
    """
    note: str = ""


@dataclass(frozen=True)
class Ranked:
    """What ``rank`` returns."""

    rankings: tuple[Ranking, ...]
    """One per item, in order."""
    answers: Answers

    def log_probs(self, width: int) -> np.ndarray:
        """(Q, width) float64 scores in the order given; NaN rows for items without, -inf past an item's candidates."""
        table = np.full((len(self.rankings), width), np.nan)
        for row, ranking in zip(table, self.rankings, strict=True):
            if ranking.log_probs:
                row[:] = -np.inf
                row[: len(ranking.log_probs)] = ranking.log_probs
        return table


def rank(
    items: Sequence[ImageItem],
    names: Sequence[Sequence[str]],
    mllm: Mllm,
    *,
    settings: RankSettings | None = None,
    hashes: Sequence[str] = (),
    **asking: Any,
) -> Ranked:
    """Order the candidates of every item.

    Args:
        names: each item's candidates, best retrieved first; lists may differ in length.
        hashes: SHA-256 of the items' bytes where known.
        asking: what ``ask_all`` takes: ledger, cache, concurrency, budget, progress, ...

    Raises InputError when the MLLM scores no options, when a list is too long for letters, or lengths differ.
    """
    settings = settings or RankSettings()
    requests = ranking_requests(items, names, settings=settings, hashes=hashes)
    if requests and settings.mode == "score" and not mllm.supports_options:
        raise InputError("this MLLM scores no options", remedy='Use mode="generate".', model=mllm.name)
    answers = ask_all(requests, mllm, **asking)
    rankings = tuple(_ranking(item.id, offered, answers, settings) for item, offered in zip(items, names, strict=True))
    lost = sum(one.status in ("unusable", "unanswered") for one in rankings)
    if lost:
        logger.warning("%d of %d images have no usable ranking and keep the retriever's order", lost, len(items))
    return Ranked(rankings, answers)


def ranking_requests(
    items: Sequence[ImageItem],
    names: Sequence[Sequence[str]],
    *,
    settings: RankSettings | None = None,
    hashes: Sequence[str] = (),
) -> list[Request]:
    """The questions, one per item and rotation; what ``--dry-run`` counts. Ids: the item's, then ``ID#r1``, ..."""
    settings = settings or RankSettings()
    if len(names) != len(items):
        raise InputError("every item needs its candidates", remedy="Give as many lists of names as items.")
    return [
        _request(item, _rotated([shown(name) for name in offered], turn), turn, digest, settings)
        for item, offered, digest in zip(items, names, hashes or [""] * len(items), strict=True)
        for turn in range(_turns(len(offered), settings))
    ]


def _turns(count: int, settings: RankSettings) -> int:
    return min(settings.permutations, count) if count > 1 else 0


def _rotated(names: list[str], turn: int) -> list[str]:
    return names[turn:] + names[:turn]


def _turn_id(item_id: str, turn: int) -> str:
    return f"{item_id}#r{turn}" if turn else item_id


def _request(item: ImageItem, names: list[str], turn: int, digest: str, settings: RankSettings) -> Request:
    options: tuple[str, ...] = ()
    if settings.mode == "generate":
        prompt = ranking_prompt(names, kind=settings.prompt)
    elif settings.ask == "names":
        prompt, options = settings.question or NAMING_QUESTION, tuple(names)
    elif len(names) > len(LETTERS):
        remedy = f"Give at most {len(LETTERS)} candidates."
        raise InputError("too many candidates for letters", remedy=remedy, item=item.id, candidates=len(names))
    else:
        prompt = lettered_prompt(settings.question or CHOICE_QUESTION, names)
        options = tuple(LETTERS[: len(names)])
    return Request(
        item_id=_turn_id(item.id, turn),
        prompt=prompt,
        images=(item.path,),
        image_hashes=(digest,) if digest else (),
        parameters=Parameters(max_tokens=settings.max_tokens),
        options=options,
        stage=STAGE,
    )


@dataclass(frozen=True)
class _Turn:
    """What one rotation's reply says, in the order the candidates were given."""

    order: tuple[int, ...]
    log_probs: tuple[float, ...]
    status: str
    note: str = ""
    named: int = 0
    """How many of ``order``, from its beginning, the reply itself put there."""


def _ranking(item_id: str, names: Sequence[str], answers: Answers, settings: RankSettings) -> Ranking:
    count, turns = len(names), _turns(len(names), settings)
    if not turns:
        scores = (0.0,) * count if settings.mode == "score" else ()  # one candidate, or none
        return Ranking(item_id, tuple(range(count)), scores, "scored" if scores else "parsed")
    replies = {turn: answers.replies.get(_turn_id(item_id, turn)) for turn in range(turns)}
    read = [_read(reply, names, turn, settings) for turn, reply in replies.items() if reply is not None]
    usable = [one for one in read if one.status != "unusable"]
    scored = [one for one in usable if one.log_probs]
    notes = tuple(dict.fromkeys(one.note for one in read if one.note))
    note = "; ".join([*notes, *([f"{turns - len(read)} of {turns} unanswered"] if len(read) < turns else [])])
    if not usable:
        return Ranking(item_id, tuple(range(count)), (), "unusable" if read else "unanswered", note)
    whole = len(scored or usable) == turns and all(one.status != "repaired" for one in usable)
    if scored:
        mean = _mean_log_probs([one.log_probs for one in scored])
        return Ranking(item_id, best_first(mean), mean, "scored" if whole else "repaired", note)
    return Ranking(item_id, _mean_rank(usable, count), (), "parsed" if whole else "repaired", note)


def _read(reply: Reply, names: Sequence[str], turn: int, settings: RankSettings) -> _Turn:
    """One reply, its positions turned back to the order given."""
    offered = _rotated([shown(name) for name in names], turn)
    back = [(place + turn) % len(names) for place in range(len(names))]
    if settings.mode == "generate":
        parsed = parse_ranking(reply.text, offered)
        # What the reply left out follows in the retriever's order, not in the rotated one.
        said = [back[place] for place in parsed.order[: parsed.named]]
        rest = [place for place in range(len(names)) if place not in said]
        return _Turn((*said, *rest), (), parsed.status, parsed.note, len(said))
    scores = reply.option_logprobs
    if len(scores) == len(names) and all(math.isfinite(score) for score in scores):
        given = dict(zip(back, scores, strict=True))
        log_probs = tuple(given[place] for place in range(len(names)))
        return _Turn(best_first(log_probs), log_probs, "scored")
    return _picked(reply.text, offered, back, settings)


def _picked(text: str, offered: Sequence[str], back: Sequence[int], settings: RankSettings) -> _Turn:
    """A service without log-probabilities: the one candidate it chose goes first."""
    options = list(LETTERS[: len(offered)]) if settings.ask == "letters" else list(offered)
    if text not in options:
        return _Turn(tuple(range(len(offered))), (), "unusable", "no log-probabilities and no choice")
    chosen = back[options.index(text)]
    rest = [place for place in range(len(offered)) if place != chosen]
    return _Turn((chosen, *rest), (), "parsed", "no log-probabilities, a choice only", 1)


def best_first(log_probs: Sequence[float]) -> tuple[int, ...]:
    """Positions by falling score; ties stay in the order given."""
    return tuple(sorted(range(len(log_probs)), key=lambda place: -log_probs[place]))


def _mean_rank(turns: Sequence[_Turn], count: int) -> tuple[int, ...]:
    """Borda: by mean rank over the rotations, ties as retrieved. What a reply left out shares the ranks left over."""

    def rank_in(turn: _Turn, place: int) -> float:
        at = turn.order.index(place)
        return at if at < turn.named else (turn.named + count - 1) / 2

    return best_first([-math.fsum(rank_in(turn, place) for turn in turns) for place in range(count)])


def _mean_log_probs(turns: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Mean over rotations, normalised. ``fsum``: the order of the summands does not matter."""
    values = [math.fsum(column) / len(turns) for column in zip(*turns, strict=True)]
    top = max(values)
    total = top + math.log(math.fsum(math.exp(value - top) for value in values))
    return tuple(value - total for value in values)
