"""The student end to end; ``learn`` reads like the figure of a paper that nobody has written yet.

Pool of photographs -> names for a few of them (``estimator.py`` asks) -> label space -> evidence -> propagation over
the pool -> heads -> mixture, judged by held-out names -> self-training -> student. The teacher sees each photograph
alone; the student sees many photographs of the same thing, and that is all its advantage. Every part can be switched
off, and is a pure function in a file named by its term. True labels are never looked at.

It builds on NeaR (Kuchibhotla et al., "Fine-Grained Visual Recognition in the Age of Multimodal LLMs"). Departures:

1. *The pool.* NeaR learns from the named images only; here every image of the pool is learned from.
2. *Soft labels* with probabilities instead of candidate sets in which all names begin as equals.
3. *Heads* in feature space beside the prompt, which is off by default: it needs the text tower at every step.
4. *Choosing* among heads by names that were held out, not by the paper's settings.

Letters: N pool images, D dimensions, M asked images, C names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.errors import InputError
from fgvr.methods.near.baselines import TEMPLATES
from fgvr.methods.near.calibrate import Calibration
from fgvr.methods.student.cache import cache_head
from fgvr.methods.student.calibration import calibrate, mixture_logits
from fgvr.methods.student.em import em_head
from fgvr.methods.student.evidence import Evidence, evidence
from fgvr.methods.student.gaussian import gaussian_head
from fgvr.methods.student.graph import affinity, neighbour_graph
from fgvr.methods.student.heads import Head, Mixture
from fgvr.methods.student.held_out import cross_fit, fold_numbers, judged
from fgvr.methods.student.label_space import SettledNames
from fgvr.methods.student.label_space import label_space as settled_names
from fgvr.methods.student.mixing import Mixed, mix
from fgvr.methods.student.name_similarity import name_similarity
from fgvr.methods.student.noise import Rates
from fgvr.methods.student.opinions import Opinions, joined, opinions
from fgvr.methods.student.prompt import prompt_head
from fgvr.methods.student.propagation import propagate
from fgvr.methods.student.prototypes import prototype_head, prototypes, zero_shot_head
from fgvr.methods.student.residual import residual_head
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
BESIDE = 0.3
"""Share of text in the prototypes that the residual begins at."""
SCALE = 100.0
"""Factor from cosine to logit where no encoder gives one; temperatures are fitted on top of it."""


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


@dataclass(frozen=True)
class Pool:
    """What all fits on a pool share."""

    features: np.ndarray
    """(N, D) float32, unit norm."""
    affinity: csr_matrix | None
    """``None`` with propagation off."""
    names: tuple[str, ...]
    similarity: np.ndarray
    text: np.ndarray | None
    """(C, D) zero-shot features; ``None`` without a text tower."""
    encoder: DualEncoder | None
    settings: StudentSettings
    seed: int

    def seen(self, said: Opinions, rates: Rates | None = None) -> Evidence:
        """The soft labels of the asked images."""
        return evidence(
            self.features, said, len(self.names), self.settings.evidence, name_similarity=self.similarity, rates=rates
        )

    def spread(self, seeds: csr_matrix) -> csr_matrix:
        """Soft labels of the whole pool."""
        how = self.settings.propagation
        if self.affinity is None:
            return seeds
        return propagate(self.affinity, seeds, alpha=how.alpha, keep=how.keep)

    def heads(self, said: Opinions, seeds: csr_matrix, soft: csr_matrix) -> dict[str, Head]:
        """Every head of the settings, by name; those that need text only where there is some."""
        how, features, text = self.settings.heads, self.features, self.text
        scale = SCALE if self.encoder is None else self.encoder.logit_scale
        found: dict[str, Head] = {}
        for name in how.heads:
            if name == "zero-shot" and text is not None:
                found[name] = zero_shot_head(text, scale=scale)
            elif name == "prototypes":
                for share in how.text_shares if text is not None else (0.0,):
                    head = prototype_head(features, soft, text=text, text_share=share, scale=scale)
                    found[f"{name}, text {share:g}"] = head
            elif name == "em":
                rows = np.unique(said.rows)
                labels = first_labels(said, rows)
                found[name] = em_head(features, soft, rows=rows, labels=labels, text=text, scale=scale)
            elif name == "gaussian":
                found[name] = gaussian_head(features, soft, text=text)
            elif name == "residual":
                begin = prototypes(features, soft, text=text, text_share=BESIDE if text is not None else 0.0)
                found[name] = residual_head(features, soft, begin, epochs=how.epochs, seed=self.seed)
            elif name == "cache":
                found[name] = cache_head(features, seeds)
            elif name == "prompt" and self.encoder is not None:
                found[name] = prompt_head(features, soft, self.names, self.encoder, epochs=how.epochs, seed=self.seed)
        return found


def learn(
    features: np.ndarray,
    rows: np.ndarray,
    named: Sequence[NamedImage],
    encoder: DualEncoder | None,
    settings: StudentSettings | None = None,
    *,
    second: tuple[np.ndarray, Sequence[NamedImage]] | None = None,
    sentence_encoder: TextEncoder | None = None,
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
        sentence_encoder: for the similarity of names; shared words without one.
        progress: called with (stage, done, total).

    Raises ``InputError`` when nothing was named, or no head of the settings can be made.
    """
    settings = settings or StudentSettings()
    tell = progress or (lambda stage, done, total: None)
    tell("names", 0, 1)
    names, said = read(rows, named, second, merge=settings.label_space.merge)

    tell("graph", 0, 1)
    edges = graph_of(features, settings)

    pool = pool_of(features, edges, names, encoder, settings, sentence_encoder, seed)
    seen = pool.seen(said)
    space = settled_names(names, said, features, seen.seeds, similarity=pool.similarity, settings=settings.label_space)
    if space.names != names:
        pool, said = (
            pool_of(features, edges, space.names, encoder, settings, sentence_encoder, seed),
            said.relabelled(space.mapping),
        )
        seen = pool.seen(said)

    tell("propagation", 0, 1)
    soft = pool.spread(seen.seeds)

    tell("heads", 0, settings.heads.folds)
    mixed, held_out, calibration = judged_heads(pool, said, seen, tell)

    tell("self-training", 0, settings.self_training.rounds)
    trained = self_train(
        features,
        soft,
        rows=seen.rows,
        labels=first_labels(said, seen.rows),
        fit=lambda labels: mixture(pool.heads(said, seen.seeds, labels), mixed),
        settings=settings.self_training,
    )
    assert isinstance(trained.head, Mixture)
    notes = account(settings, space, seen, mixed, trained, seed)
    return Learned(
        pool.names, trained.head, trained.soft, seen, said, space, mixed, held_out, trained, calibration, notes
    )


def read(
    rows: np.ndarray,
    named: Sequence[NamedImage],
    second: tuple[np.ndarray, Sequence[NamedImage]] | None,
    *,
    merge: bool,
) -> tuple[tuple[str, ...], Opinions]:
    """The names in the replies, spellings merged, and the replies as numbers."""
    everything = [*named, *(second[1] if second is not None else ())]
    space, _ = label_space(everything, merge=merge)
    parts = [opinions(rows, named, space)]
    if second is not None and len(second[1]):
        parts.append(opinions(second[0], second[1], space, source=1))
    return tuple(space.names), joined(parts)


def graph_of(features: np.ndarray, settings: StudentSettings) -> csr_matrix | None:
    """The affinity of the pool's nearest neighbours; ``None`` with propagation off."""
    how = settings.propagation
    if not how.on or len(features) < 2:
        return None
    return affinity(neighbour_graph(features, k=how.k), sharpness=how.sharpness, mutual=how.mutual)


def pool_of(
    features: np.ndarray,
    edges: csr_matrix | None,
    names: tuple[str, ...],
    encoder: DualEncoder | None,
    settings: StudentSettings,
    sentence_encoder: TextEncoder | None,
    seed: int,
) -> Pool:
    """A pool under ``names``."""
    from fgvr.encoders.zero_shot import text_classifier

    text = None if encoder is None else text_classifier(encoder, names, templates=TEMPLATES)
    return Pool(features, edges, names, name_similarity(names, encoder=sentence_encoder), text, encoder, settings, seed)


def judged_heads(pool: Pool, said: Opinions, seen: Evidence, tell: Progress) -> tuple[Mixed, np.ndarray, Calibration]:
    """How much each head is worth, by replies that were held out; the mixture's held-out logits; its calibration."""
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


def mixture(heads: Mapping[str, Head], mixed: Mixed) -> Mixture:
    """The heads under their weights."""
    weights = {name: weight for name, weight in mixed.weights.items() if weight > 0}
    return Mixture({name: heads[name] for name in weights}, weights)


def first_labels(said: Opinions, rows: np.ndarray) -> np.ndarray:
    """(M,) the first teacher's label of each of ``rows`` (ascending), -1 where it gave none."""
    labels = np.full(len(rows), -1, dtype=np.int64)
    first = said.where(said.source == 0)
    labels[np.searchsorted(rows, first.rows)] = first.labels
    return labels


def account(
    settings: StudentSettings,
    space: SettledNames,
    seen: Evidence,
    mixed: Mixed,
    trained: SelfTrained,
    seed: int,
) -> dict[str, Any]:
    """How the student came about, JSON-like."""
    return {
        "settings": settings.to_dict(),
        "seed": seed,
        "label_space": space.to_dict(),
        "noise": None if seen.noise is None else asdict(seen.noise),
        "mixture": mixed.to_dict(),
        "self_training": {"rounds": [asdict(one) for one in trained.rounds], "stopped": trained.stopped},
    }
