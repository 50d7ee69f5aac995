"""What all fits on a pool share: features, graph and names, and the steps between the teacher's words and the heads.

Letters: N pool images, D dimensions, C names.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.methods.near.baselines import TEMPLATES
from fgvr.methods.student.cache import cache_head
from fgvr.methods.student.em import ACCURACY, em_head
from fgvr.methods.student.evidence import Evidence, evidence
from fgvr.methods.student.gaussian import gaussian_head
from fgvr.methods.student.graph import NeighbourGraph, affinity, neighbour_graph
from fgvr.methods.student.heads import Head
from fgvr.methods.student.hearing import heard
from fgvr.methods.student.name_similarity import name_similarity
from fgvr.methods.student.noise import Rates
from fgvr.methods.student.opinions import Opinions, first_labels, said_of
from fgvr.methods.student.prompt import prompt_head
from fgvr.methods.student.propagation import propagate
from fgvr.methods.student.prototypes import prototype_head, prototypes, zero_shot_head
from fgvr.methods.student.residual import residual_head
from fgvr.methods.student.settings import StudentSettings

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from fgvr.metrics.semantic import TextEncoder

BESIDE = 0.3
"""Share of text in the prototypes that the residual begins at."""
GIVEN_ACCURACY = 0.999
"""Of a name that a person gives, for ``em``."""
SCALE = 100.0
"""Factor from cosine to logit where no encoder gives one; temperatures are fitted on top of it."""
GROUP_NEIGHBOURS = 10
"""What groups of unknown images ask of the graph: a group cannot be larger than the edges allow."""


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
        how, plain = self.settings.evidence, replace(said, source=np.maximum(said.source, 0))
        found = evidence(self.features, plain, len(self.names), how, name_similarity=self.similarity, rates=rates)
        return at_their_word(found, said)

    def spread(self, seeds: csr_matrix) -> csr_matrix:
        """Soft labels of the whole pool."""
        how = self.settings.propagation
        if self.affinity is None:
            return seeds
        return propagate(self.affinity, seeds, alpha=how.alpha, keep=how.keep)

    def heads(
        self, said: Opinions, seeds: csr_matrix, soft: csr_matrix, *, only: Container[str] | None = None
    ) -> dict[str, Head]:
        """Every head of the settings, by name; those that need text only where there is some.

        ``only``: the heads that will be used, so that no time goes to others.
        """
        how, features, text = self.settings.heads, self.features, self.text
        scale = SCALE if self.encoder is None else self.encoder.logit_scale
        found: dict[str, Head] = {}
        for name in how.heads:
            if only is not None and name != "prototypes" and name not in only:
                continue
            if name == "zero-shot" and text is not None:
                found[name] = zero_shot_head(text, scale=scale)
            elif name == "prototypes":
                shares = how.text_shares if text is not None else (0.0,)
                named = {f"{name}, text {share:g}": share for share in shares}
                for full, share in named.items():
                    if only is None or full in only:
                        found[full] = prototype_head(features, soft, text=text, text_share=share, scale=scale)
            elif name == "em":
                rows = np.unique(said.rows)
                known = text if text is not None and heard(features[rows], first_labels(said, rows), text) else None
                right = np.full(len(features), ACCURACY)
                right[said.given_rows] = GIVEN_ACCURACY
                replies = said_of(said, rows, soft.shape)
                found[name] = em_head(features, soft, said=replies, text=known, accuracy=right, scale=scale)
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


def neighbours_of(features: np.ndarray, settings: StudentSettings) -> NeighbourGraph | None:
    """The pool's nearest neighbours, as many as any part of the settings asks for; ``None`` with propagation off.

    For 100,000 images this is the longest single search of a fit, so that it is done once and kept (``Learned.graph``).
    """
    if not settings.propagation.on or len(features) < 2:
        return None
    k = settings.propagation.k
    return neighbour_graph(features, k=max(k, GROUP_NEIGHBOURS) if settings.unknown.on else k)


def edges_of(graph: NeighbourGraph | None, settings: StudentSettings) -> csr_matrix | None:
    """The affinity of ``neighbours_of``; ``None`` with propagation off."""
    how = settings.propagation
    if graph is None or not how.on:
        return None
    return affinity(graph.first(how.k), sharpness=how.sharpness, mutual=how.mutual)


def at_their_word(found: Evidence, said: Opinions) -> Evidence:
    """The same with what a person has named as certain, whatever the neighbours say."""
    rows = said.given_rows
    if found.noise is None or not len(rows):
        return found
    from scipy.sparse import csr_matrix, diags

    labels = first_labels(said, found.rows)[np.searchsorted(found.rows, rows)]
    own = csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, labels)), shape=found.seeds.shape)
    others = np.ones(found.seeds.shape[0], dtype=np.float32)
    others[rows] = 0.0
    seeds = csr_matrix(diags(others) @ found.seeds + own, dtype=np.float32)
    seeds.eliminate_zeros()
    return replace(found, seeds=seeds, reliability=np.where(np.isin(found.rows, rows), 1.0, found.reliability))


def graph_of(features: np.ndarray, settings: StudentSettings) -> csr_matrix | None:
    """The affinity of the pool's nearest neighbours; ``None`` with propagation off."""
    return edges_of(neighbours_of(features, settings), settings)


def pool_of(
    features: np.ndarray,
    edges: csr_matrix | None,
    names: tuple[str, ...],
    encoder: DualEncoder | None,
    settings: StudentSettings,
    sentence_encoder: TextEncoder | None,
    seed: int,
    *,
    text: np.ndarray | None = None,
) -> Pool:
    """A pool under ``names``; ``text``: their features (C, D), where they are known already."""
    from fgvr.encoders.zero_shot import text_classifier

    if text is None and encoder is not None:
        text = text_classifier(encoder, names, templates=TEMPLATES)
    return Pool(features, edges, names, name_similarity(names, encoder=sentence_encoder), text, encoder, settings, seed)
