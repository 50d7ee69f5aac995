"""The student end to end; ``learn`` reads like the figure of a paper that nobody has written yet.

Pool of photographs -> names for a few of them (``asking.py``) -> label space -> soft labels (a reply at its word;
weighed by ``evidence.py`` where that is on) -> propagation over the pool -> heads (``pool.py``) -> mixture, judged by
held-out names -> self-training -> student. The teacher sees each photograph alone; the student sees many photographs of
the same thing, and that is all its advantage. Every part can be switched off, and is a pure function in a file named by
its term. True labels are never looked at.

It builds on NeaR (Kuchibhotla et al., "Fine-Grained Visual Recognition in the Age of Multimodal LLMs"). Departures:

1. *The pool.* NeaR learns from the named images only; here every image of the pool is learned from.
2. *Soft labels* with probabilities instead of candidate sets in which all names begin as equals. Where a call draws
   several replies, the teacher itself says how likely each name is.
3. *Heads* in feature space beside the prompt, which is off by default: it needs the text tower at every step.
4. *Choosing* among heads by names that were held out, not by the paper's settings.

Letters: N pool images, D dimensions, M asked images, C names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.near.calibrate import Calibration, probabilities
from fgvr.methods.student.calibration import calibrate, mixture_logits
from fgvr.methods.student.evidence import Evidence
from fgvr.methods.student.graph import NeighbourGraph
from fgvr.methods.student.heads import Head, Mixture
from fgvr.methods.student.held_out import cross_fit, fold_numbers, judged
from fgvr.methods.student.label_space import SettledNames
from fgvr.methods.student.label_space import label_space as settled_names
from fgvr.methods.student.mixing import Mixed, mix
from fgvr.methods.student.opinions import GIVEN, Opinions, first_labels, joined, opinions
from fgvr.methods.student.pool import Pool, edges_of, neighbours_of, pool_of
from fgvr.methods.student.second_opinion import Settled, settle
from fgvr.methods.student.self_training import SelfTrained, self_train
from fgvr.methods.student.settings import StudentSettings
from fgvr.naming import label_space
from fgvr.types import NamedImage

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from fgvr.metrics.semantic import TextEncoder

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""
TRUSTED = "em"
"""The head that stands until held-out names show another to be better: the best on development pools, with and without
many labels. Held-out names err as the teacher errs, so that they alone prefer heads that repeat its favourite names."""


@dataclass(frozen=True)
class Learned:
    """A student and how it came about."""

    names: tuple[str, ...]
    head: Mixture
    soft: csr_matrix
    """(N, C): what every image of the pool is taken for."""
    evidence: Evidence
    """Over ``names``, of the asked images."""
    opinions: Opinions
    """Over ``names``."""
    space: SettledNames
    mixed: Mixed
    held_out: np.ndarray
    """(M, C) logits of the mixture for the asked images (``evidence.rows``), each made without its own reply; rows that
    were never held out are NaN."""
    self_trained: SelfTrained
    calibration: Calibration
    notes: Mapping[str, Any]
    """JSON-like."""
    graph: NeighbourGraph | None = None
    """Of the pool; ``None`` with propagation off."""


def learn(
    features: np.ndarray,
    rows: np.ndarray,
    named: Sequence[NamedImage],
    encoder: DualEncoder | None,
    settings: StudentSettings | None = None,
    *,
    second: tuple[np.ndarray, Sequence[NamedImage]] | None = None,
    given: tuple[np.ndarray, Sequence[NamedImage]] | None = None,
    sentence_encoder: TextEncoder | None = None,
    graph: NeighbourGraph | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Learned:
    """From the teacher's replies about some images of a pool to a student.

    Args:
        features: (N, D) float32, unit norm, of the whole pool (``views.py``).
        rows: (M,) int64, distinct: the images the teacher was asked about.
        named: its parsed replies, in the same order.
        encoder: whose text tower knows the names; ``None`` where there is none, and then heads use images only.
        second: rows and replies of second opinions.
        given: rows, ascending, that a person has named, and how; asked about or not.
        sentence_encoder: for the similarity of names; shared words without one.
        graph: of an earlier call with the same features and settings (``Learned.graph``), to save the time.
        progress: called with (stage, done, total).

    Raises ``InputError`` when nothing was named, or no head of the settings can be made.
    """
    settings = settings or StudentSettings()
    tell = progress or (lambda stage, done, total: None)
    tell("names", 0, 1)
    names, said = read(rows, named, second, given, merge=settings.label_space.merge, sampled=settings.sampled)

    tell("graph", 0, 1)
    graph = neighbours_of(features, settings) if graph is None else graph
    edges = edges_of(graph, settings)

    under = partial(pool_of, features, edges, encoder=encoder, settings=settings, sentence_encoder=sentence_encoder)
    pool, said, seen, space = under_settled_names(partial(under, seed=seed), names, said)

    tell("propagation", 0, 1)
    soft = pool.spread(seen.seeds)

    tell("heads", 0, settings.heads.folds)
    mixed, held_out, calibration = judged_heads(pool, said, seen, tell)
    again = None if second is None else believed(pool, said, seen, held_out, calibration)
    if again is not None:
        said = again.opinions
        seen = pool.seen(said)
        soft = pool.spread(seen.seeds)

    tell("self-training", 0, settings.self_training.rounds)
    trained = self_train(
        features,
        soft,
        rows=seen.rows,
        labels=first_labels(said, seen.rows),
        fit=lambda labels: mixture(pool.heads(said, seen.seeds, labels, only=mixed.weights), mixed),
        settings=settings.self_training,
    )
    assert isinstance(trained.head, Mixture)
    notes = {"seed": seed, **account(settings, space, seen, mixed, trained), "second_opinions": told(again)}
    return Learned(
        pool.names, trained.head, trained.soft, seen, said, space, mixed, held_out, trained, calibration, notes, graph
    )


def read(
    rows: np.ndarray,
    named: Sequence[NamedImage],
    second: tuple[np.ndarray, Sequence[NamedImage]] | None,
    given: tuple[np.ndarray, Sequence[NamedImage]] | None = None,
    *,
    merge: bool,
    sampled: bool = True,
) -> tuple[tuple[str, ...], Opinions]:
    """The names in the replies, spellings merged, and the replies as numbers.

    Of images that a person has named only that name is read. Where a call drew several replies and ``sampled`` is on,
    all their names enter the label space: a name that is nobody's likeliest is the right one of some image.
    """
    told = np.array([], dtype=np.int64) if given is None else given[0]
    sources = [(0, rows, named), (1, *second)] if second is not None else [(0, rows, named)]
    read = []
    for source, about, replies in [*sources, *([] if given is None else [(GIVEN, *given)])]:
        kept = np.arange(len(replies)) if source == GIVEN else np.flatnonzero(~np.isin(about, told))
        read.append((source, about[kept], [replies[at] for at in kept.tolist()]))
    if not sampled:
        read = [(source, about, [single(one) for one in replies]) for source, about, replies in read]
    drawn = [drawn for *_, replies in read for one in replies for drawn in each_name(one)]
    space, _ = label_space(drawn, merge=merge)
    parts = [opinions(about, replies, space, source=source) for source, about, replies in read if len(replies)]
    return tuple(space.names), joined(parts)


def each_name(reply: NamedImage) -> list[NamedImage]:
    """A reply, and one for each further name that was drawn in its call."""
    return [reply, *(NamedImage(reply.item_id, name) for name in (reply.alternatives if reply.chances else ()))]


def single(reply: NamedImage) -> NamedImage:
    """The likeliest name of several that were drawn in one call, as if it alone had been asked for."""
    return replace(reply, alternatives=(), chances=()) if reply.chances else reply


def under_settled_names(
    under: Callable[..., Pool], names: tuple[str, ...], said: Opinions
) -> tuple[Pool, Opinions, Evidence, SettledNames]:
    """The teacher's names become the student's; everything ``under`` them."""
    pool = under(names)
    seen = pool.seen(said)
    how = pool.settings.label_space
    alike = pool.similarity.copy()
    own = np.unique(said.labels[said.source == GIVEN])
    alike[own], alike[:, own] = 0.0, 0.0  # a person's name is no synonym of another one
    alike[own, own] = 1.0
    space = settled_names(names, said, pool.features, seen.seeds, similarity=alike, settings=how)
    if space.names == names:
        return pool, said, seen, space
    place = {name: at for at, name in enumerate(names)}
    text = None if pool.text is None else pool.text[[place[name] for name in space.names]]
    pool, said = under(space.names, text=text), said.relabelled(space.mapping)
    return pool, said, pool.seen(said), space


def judged_heads(pool: Pool, said: Opinions, seen: Evidence, tell: Progress) -> tuple[Mixed, np.ndarray, Calibration]:
    """How much each head is worth, by replies that were held out; the mixture's held-out logits; its calibration.

    With evidence on, its dozen rates are those of all replies, the held-out ones among them: a small leak. Learning
    them again in every fold would take two to five seconds for 300 to 3,000 replies, as long as everything else.
    """
    how = pool.settings.heads
    rows, labels = seen.rows, first_labels(said, seen.rows)
    fold_of = fold_numbers(pool.features[rows], labels, folds=how.folds, seed=pool.seed)
    done = iter(range(1, how.folds + 2))

    def fit(used: np.ndarray) -> Mapping[str, Head]:
        kept = said.where(np.isin(said.rows, rows[used]))
        seeds = pool.seen(kept, seen.noise).seeds
        tell("heads", next(done), how.folds)
        return pool.heads(kept, seeds, pool.spread(seeds))

    logits = cross_fit(fit, pool.features, rows, labels, fold_of)
    if not logits:
        raise InputError("no head can be made", remedy="Choose others; without a text tower prototypes always can.")
    fair = judged(labels, fold_of)
    mixed = mix(logits, labels, rule=how.rule, judged=fair, first=TRUSTED, seed=pool.seed)
    together = mixture_logits(logits, mixed.weights)
    return mixed, together, calibrate(together, fair, pool.features, rows)


def believed(
    pool: Pool, said: Opinions, seen: Evidence, held_out: np.ndarray, calibration: Calibration
) -> Settled | None:
    """The replies to go on with where an image has two: ``None`` where the evidence has weighed them already."""
    if seen.noise is not None:
        return None
    chances = probabilities(held_out, calibration.temperature)
    first, second = (said.where((said.source == 1) == later) for later in (False, True))
    return settle(first, second, chances, rows=seen.rows, names=pool.names, set_aside=True)


def told(again: Settled | None) -> dict[str, Any] | None:
    """What became of second opinions, JSON-like."""
    return None if again is None else again.to_dict()


def mixture(heads: Mapping[str, Head], mixed: Mixed) -> Mixture:
    """The heads under their weights."""
    weights = {name: weight for name, weight in mixed.weights.items() if weight > 0}
    return Mixture({name: heads[name] for name in weights}, weights)


def account(
    settings: StudentSettings,
    space: SettledNames,
    seen: Evidence,
    mixed: Mixed,
    trained: SelfTrained,
) -> dict[str, Any]:
    """How the student came about, JSON-like."""
    return {
        "settings": settings.to_dict(),
        "label_space": space.to_dict(),
        "noise": None if seen.noise is None else asdict(seen.noise),
        "mixture": mixed.to_dict(),
        "self_training": {"rounds": [asdict(one) for one in trained.rounds], "stopped": trained.stopped},
    }
