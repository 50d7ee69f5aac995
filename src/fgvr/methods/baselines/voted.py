"""From a list of noisy names to named test images: vote, couple, classify; what FineR, E-FineR and FiNDR share.

The order of their released ``grouping.py`` and ``eval.py``. Deviations are numbered in ``voting.py`` and
``coupling.py``; one more: their figures are the mean of ten repeats of this step, in which only the random crops
differ; here the crops are fixed by each picture's content and there is one run, so spread has to come from other draws
of the support set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.baselines.coupling import couple, nearest_names
from fgvr.methods.baselines.task import Naming, Task
from fgvr.methods.baselines.voting import elect, tally

Texts = Callable[[DualEncoder], np.ndarray]
"""Text features of the names under consideration, (C, D) float32, unit norm, by any encoder."""


def name_by_vote(
    task: Task,
    names: Sequence[str],
    texts: Texts,
    *,
    alpha: float = 0.7,
    views: int = 10,
    min_scale: float = 0.5,
    renormalise: bool = True,
    share: float | None = None,
) -> Naming:
    """Name the test images with those of ``names`` that win a vote of the support images.

    Args:
        task: support images vote and lend their features; test images are classified.
        names: distinct names, as ``distinct_names`` gives them.
        texts: features of exactly these names, asked of the voter and of the task's encoder.
        alpha: share of the text in a prototype, in [0, 1].
        views: augmented views of each voter besides the plain one.
        min_scale: least share of the area a view keeps, in (0, 1].
        renormalise: bring prototypes to unit length.
        share: see ``elect``.

    Raises ``InputError`` without names.
    """
    if not names:
        raise InputError("there is no name to vote for", remedy="Look at the replies in the ledger.")
    check(alpha, views, min_scale)
    task.report("vote", 0, len(task.support.items))
    candidates = texts(task.encoder)
    kept, votes = elect(*_ballot(task, texts, candidates), share=share)
    task.report("vote", len(task.support.items), len(task.support.items))
    augmented = task.views(task.support, views, min_scale=min_scale)
    prototypes = couple(candidates[kept], augmented, votes, alpha=alpha, renormalise=renormalise)
    vocabulary = tuple(names[index] for index in kept)
    chosen = nearest_names(task.test.features, prototypes)
    task.report("classify", len(chosen), len(chosen))
    figures = {
        "names_before_vote": float(len(names)),
        "names_after_vote": float(len(vocabulary)),
        "names_with_one_vote": float((tally(votes, len(kept)) == 1).sum()),
    }
    return Naming(tuple(vocabulary[index] for index in chosen), vocabulary, notes=_voter_note(task), figures=figures)


def check(alpha: float, views: int, min_scale: float) -> None:
    """Raises ``InputError`` for a setting without sense; methods call it before their first question is paid for."""
    if not (0 <= alpha <= 1 and views >= 0 and 0 < min_scale <= 1):
        raise InputError(
            "a setting is out of range",
            remedy="alpha lies in [0, 1], views is 0 or more, min_scale lies in (0, 1].",
            alpha=alpha,
            views=views,
            min_scale=min_scale,
        )


def _ballot(task: Task, texts: Texts, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) features of the support images and (C, D) of the names, both by whoever votes."""
    voter = task.material.voter
    if voter is None or voter.fingerprint == task.encoder.fingerprint:
        return task.support.features, candidates
    return task.store.features(task.support.items, voter).features, texts(voter)


def _voter_note(task: Task) -> tuple[str, ...]:
    voter = task.material.voter
    if voter is None:
        return (f"the vote is by {task.encoder.name}, which also classifies (the papers vote with a stronger encoder)",)
    return (f"the vote is by {voter.name}",)


def text_step_note(task: Task, purpose: str) -> tuple[str, ...]:
    """Who did the work with words, where it was not the MLLM itself, and what it knew."""
    from fgvr.fieldguide.language import ADVANTAGE, NAME

    if task.llm is task.mllm or task.llm.name == task.mllm.name:
        return ()
    known = f": {ADVANTAGE}" if task.llm.name == NAME else ""
    return (f"{purpose} by {task.llm.name}, which sees no picture{known}",)
