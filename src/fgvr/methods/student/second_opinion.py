"""Which images to ask about again, and whether to believe the second reply.

Part of the calls is kept back (``split_budget``). Once there is a student, they go where it and the first reply
disagree (``disagreement``): where the student, which has *not* seen this image's reply, is surer of another name, and
where the image's label tells many others (``influence``). The same MLLM gets another question, or another MLLM the same
one; who asks is ``asking.py``.

A second reply is accepted by evidence only. Where ``evidence.py`` is on it weighs all replies of an image together;
else ``settle`` decides which stay: Bayes' rule over all names, with the student's held-out probabilities as the prior
and two replies that are right as often as the teachers are. So a reply that agrees with the first confirms it, one that
agrees with a sure student wins, and of three different names both replies stay, to be weighed like all evidence. A name
that no teacher gave to the image is never put in.

*The same MLLM asked twice repeats itself.* On drawn species (a pool of 2,992, for development) the embedded MLLM's
second question brings the first name back for 76 % of the pictures, and for 62 % of the wrong ones; where the two
differ the first is right for 46 %, the second for 22 %. Hence ``CAUTION``, and hence no second opinions by default:
calls for new pictures were worth more. A second teacher with mistakes of its own is another matter.

Letters: M asked images, C names, O opinions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fgvr.methods.student.opinions import Opinions, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_matrix

Verdict = Literal["confirmed", "accepted", "rejected", "undecided", "unnamed"]
CONFUSABLE = 10
"""Names over which a teacher's wrong replies about an image are spread: mistakes are names of like kinds."""
CAUTION = 3.0
"""How many times likelier than a second reply, where they differ, a first one is beyond what the accuracies say."""
SURE = 0.6
"""Probability from which one of two replies is believed against the other."""


@dataclass(frozen=True)
class Decision:
    """What became of one image's second reply."""

    row: int
    first: str | None
    second: str | None
    student: str | None
    """The student's best name, made without the image's own replies; ``None`` where there is none."""
    verdict: Verdict
    probability: float
    """Of the name that is believed, or of the likelier reply where none is."""
    reason: str


@dataclass(frozen=True)
class Settled:
    """The opinions to go on with, and why."""

    opinions: Opinions
    """All of both questions; with ``set_aside`` without the replies that evidence speaks against."""
    decisions: tuple[Decision, ...]

    def of(self, verdict: Verdict) -> tuple[int, ...]:
        """Pool rows with this verdict, ascending."""
        return tuple(one.row for one in self.decisions if one.verdict == verdict)

    @property
    def accepted(self) -> tuple[int, ...]:
        """Rows whose second reply is believed against the first."""
        return self.of("accepted")

    @property
    def rejected(self) -> tuple[int, ...]:
        """Rows whose first reply is believed against the second."""
        return self.of("rejected")

    @property
    def undecided(self) -> tuple[int, ...]:
        """Rows where neither is."""
        return self.of("undecided")

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return {"decisions": [asdict(one) for one in self.decisions]}


def split_budget(budget: int, share: float) -> tuple[int, int]:
    """Calls for first and for second opinions; together ``budget``, and never more second ones than first ones.

    Raises ``ValueError`` for a negative budget or a share outside [0, 1].
    """
    if budget < 0 or not 0 <= share <= 1:
        raise ValueError("a budget is not negative, and a share of it is in [0, 1]")
    second = min(round(share * budget), budget // 2)
    return budget - second, second


def influence(affinity: csr_matrix, *, alpha: float = 0.5, steps: int = 30) -> np.ndarray:
    """How much of the pool's labels an image's label would bring, (N,) float64: ``sum_t (alpha S)^t 1``.

    The column sums of the propagation matrix ``(I - alpha S)^-1`` (Zhou et al. 2004), since S is symmetric. At least 1.
    """
    total = np.ones(affinity.shape[0])
    wave = total.copy()
    for _ in range(steps):
        wave = alpha * (affinity @ wave)
        total += wave
    return total


def disagreement(
    probabilities: np.ndarray, rows: np.ndarray, opinions: Opinions, *, weight: np.ndarray | None = None
) -> np.ndarray:
    """The pool rows to ask about again, most valuable first, int64; images on which student and reply agree are not.

    Args:
        probabilities: (M, C), the student's, each made without the image's own replies; NaN where there are none.
        rows: (M,) int64, distinct: whose.
        weight: (M,) > 0, what the label matters to others (``influence``); all alike by default.

    The value is ``(p(best name) - p(reply)) * weight``: the share of such labels that a second reply could put right.
    A reply without a name has probability 0. Images with two opinions are not asked a third time. Ties: lower row.
    """
    probabilities, rows = np.asarray(probabilities, dtype=np.float64), np.asarray(rows, dtype=np.int64)
    _check(probabilities, rows)
    weight = np.ones(len(rows)) if weight is None else np.asarray(weight, dtype=np.float64)
    labels = labels_of(opinions, rows, source=0)
    known = np.isfinite(probabilities).all(axis=1)
    filled = np.where(known[:, None], probabilities, 0.0)
    own = np.where(labels >= 0, filled[np.arange(len(rows)), labels], 0.0)
    value = (filled.max(axis=1, initial=0.0) - own) * weight
    asked_twice = np.isin(rows, opinions.rows[opinions.source > 0])
    wanted = np.flatnonzero(known & (value > 0) & ~asked_twice & np.isin(rows, opinions.rows))
    return rows[wanted[np.lexsort((rows[wanted], -value[wanted]))]]


def labels_of(opinions: Opinions, rows: np.ndarray, *, source: int) -> np.ndarray:
    """(M,) int64: what ``source`` called each of ``rows``, -1 where it gave no name."""
    said = dict(zip(opinions.rows[opinions.source == source].tolist(), opinions.labels[opinions.source == source]))
    return np.array([said.get(int(row), -1) for row in rows], dtype=np.int64)


def settle(
    first: Opinions,
    second: Opinions,
    probabilities: np.ndarray,
    *,
    rows: np.ndarray,
    names: Sequence[str],
    accuracy: tuple[float, float] = (0.6, 0.6),
    confusable: int = CONFUSABLE,
    caution: float = CAUTION,
    sure: float = SURE,
    set_aside: bool = False,
) -> Settled:
    """Judge the second replies; images without one keep what they have.

    Args:
        first: opinions of source 0, of all asked images.
        second: of another source, at most one an image.
        probabilities: (M, C) held out, as in ``disagreement``; rows of NaN decide nothing.
        rows: (M,) int64, distinct: whose.
        accuracy: how often the first and the second teacher are right, in (0, 1), where evidence has learned it.
        confusable: names over which wrong replies are spread, at least 1.
        caution: at least 1; 1 where the second teacher's mistakes have nothing to do with the first one's.
        sure: probability in [0.5, 1) from which a reply is believed against the other.
        set_aside: leave out the replies that evidence speaks against, as the pipeline does where nothing else weighs
            them. Off, all stay, for ``evidence`` to weigh: it was up to a point of accuracy better (drawn development
            birds).
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    _check(probabilities, rows)
    at = {int(row): place for place, row in enumerate(rows)}
    unknown = np.full(probabilities.shape[1], np.nan)
    order = np.argsort(second.rows, kind="stable")
    said = labels_of(first, second.rows, source=0)
    decisions, first_out, second_out = [], set(), np.zeros(len(second.rows), dtype=bool)
    for place in order:
        row, pair = int(second.rows[place]), (int(said[place]), int(second.labels[place]))
        prior = probabilities[at[row]] if row in at else unknown
        belief = _belief(prior, pair, accuracy, confusable, caution)
        decision = _decide(row, pair, prior, belief, names, sure)
        decisions.append(decision)
        if decision.verdict == "accepted":
            first_out.add(row)
        second_out[place] = decision.verdict == "rejected"
    if not set_aside:
        return Settled(joined([first, second]), tuple(decisions))
    kept = ~np.isin(first.rows, sorted(first_out))
    return Settled(joined([first.where(kept), second.where(~second_out)]), tuple(decisions))


def posterior(
    prior: np.ndarray, replies: Sequence[int], accuracy: Sequence[float], *, confusable: int = CONFUSABLE
) -> np.ndarray:
    """(C,) probabilities of the names after ``replies``: each right with its accuracy, else one of ``confusable``."""
    belief = np.array(prior, dtype=np.float64)
    for reply, right in zip(replies, accuracy):
        likelihood = np.full(len(belief), (1.0 - right) / confusable)
        likelihood[reply] = right
        belief = belief * likelihood
    return np.asarray(belief / max(belief.sum(), 1e-300))


def _belief(
    prior: np.ndarray, pair: tuple[int, int], accuracy: tuple[float, float], confusable: int, caution: float
) -> np.ndarray | None:
    """(C,) the names' probabilities after both replies; ``None`` without a student or a reply."""
    if min(pair) < 0 or not np.isfinite(prior).all():
        return None
    belief = posterior(prior, pair, accuracy, confusable=confusable)
    if pair[0] != pair[1]:
        belief[pair[0]] *= caution
    return np.asarray(belief / max(belief.sum(), 1e-300))


def _decide(
    row: int, pair: tuple[int, int], prior: np.ndarray, belief: np.ndarray | None, names: Sequence[str], sure: float
) -> Decision:
    one, other = pair
    best = names[int(prior.argmax())] if np.isfinite(prior).all() else None
    shown = (names[one] if one >= 0 else None, names[other] if other >= 0 else None)

    def so(verdict: Verdict, probability: float, reason: str) -> Decision:
        return Decision(row, *shown, best, verdict, probability, reason)

    if other < 0:
        return so("unnamed", 0.0, "the second reply has no name")
    if belief is None:
        if one < 0:
            return so("undecided", 0.0, "the first reply has no name to compare with")
        return so("confirmed" if one == other else "undecided", 0.0, "the student was never judged on this image")
    if one == other:
        return so("confirmed", float(belief[one]), "both replies are the same")
    if belief[other] >= sure:
        return so("accepted", float(belief[other]), "with the student, the evidence is for the second reply")
    if belief[one] >= sure:
        return so("rejected", float(belief[one]), "with the student, the evidence is for the first reply")
    return so("undecided", float(max(belief[one], belief[other])), "neither reply is sure enough; both are weighed")


def _check(probabilities: np.ndarray, rows: np.ndarray) -> None:
    if probabilities.ndim != 2 or len(probabilities) != len(rows) or len(np.unique(rows)) != len(rows):
        raise ValueError("one row of probabilities for each of distinct images")
