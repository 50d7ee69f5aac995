"""An MLLM as the few-shot protocols see it: names in, log-probabilities out, and how its weight is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fgvr.errors import BudgetError
from fgvr.methods.rar.asking import log_probs_of
from fgvr.methods.rar.calibration import Basis
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fewshot import Fuse, Ranker, SecondOpinion
from fgvr.methods.rar.fuse import fuse
from fgvr.methods.rar.rank import RankSettings, rank
from fgvr.methods.rar.worth import weigh
from fgvr.mllm.base import Mllm
from fgvr.mllm.options import LETTERS
from fgvr.types import ImageItem


def second_opinion(
    mllm: Mllm,
    test: Sequence[ImageItem],
    train: Sequence[ImageItem],
    *,
    classes: int,
    test_hashes: Sequence[str] = (),
    train_hashes: Sequence[str] = (),
    settings: RankSettings | None = None,
    calibration: int = 300,
    direct: bool = True,
    **asking: Any,
) -> SecondOpinion:
    """The MLLM over test and training images; ``asking`` goes to ``rank`` (ledger, cache, budget, ...).

    An MLLM that scores no options writes its order. All ``classes`` names at once are asked of a local model, or where
    there are letters enough.
    """
    settings = settings or RankSettings(mode="score" if mllm.supports_options else "generate")
    plainly = settings.mode == "score" and settings.ask == "names" and mllm.local
    return SecondOpinion(
        test=ranker_of(mllm, test, settings=settings, hashes=test_hashes, **asking),
        train=ranker_of(mllm, train, settings=settings, hashes=train_hashes, **asking),
        learn=learn_weight,
        calibration=calibration,
        direct=direct and (plainly or classes <= len(LETTERS)),
    )


def ranker_of(
    mllm: Mllm, items: Sequence[ImageItem], *, settings: RankSettings, hashes: Sequence[str] = (), **asking: Any
) -> Ranker:
    """Asks about the items whose numbers are given. Raises ``BudgetError`` when not all could be asked."""

    def ask(names: Sequence[tuple[str, ...]], rows: np.ndarray) -> np.ndarray:
        chosen = [items[int(row)] for row in rows]
        known = [hashes[int(row)] for row in rows] if len(hashes) else ()
        ranked = rank(chosen, names, mllm, settings=settings, hashes=known, **asking)
        if ranked.answers.stopped:  # a table over half of the images would compare what is not alike
            raise BudgetError(
                f"stopped by the {ranked.answers.stopped} before all images were ranked",
                remedy="Allow more and run again; what was answered is kept.",
            )
        return log_probs_of(ranked.rankings, max((len(offered) for offered in names), default=0))

    return ask


def learn_weight(candidates: Candidates, said: np.ndarray, truth: np.ndarray, *, alone: bool, classes: int) -> Fuse:
    """The weight of the MLLM's word from left-out memory images, and the classes it knows; see ``worth.py``."""
    basis: Basis = "truth in set" if alone else "leave-one-out"
    worth = weigh(candidates, said, truth, basis=basis, num_classes=classes)

    def both(own: Candidates, heard: np.ndarray) -> np.ndarray:
        heard = np.where(worth.hears(own)[:, None], heard, np.nan)
        return fuse(own.log_probs, heard, worth.weight.weight, temperature=worth.weight.temperature)

    return both
