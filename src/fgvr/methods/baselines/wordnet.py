"""ZS-CLIP-WordNet: the most similar of all nouns. No MLLM, no support set.

    name(x) = argmax over all noun lemmas t of WordNet 3.0 of sim(I(x), T(t))

The baseline of FineR (arXiv 2401.13837, table 1) and of the workshop paper (section 4), and close to ``wordnet`` of
CaSED's repository. Papers, released code, and what is done here:

1. *Nouns.* The papers say "WordNet nouns" and no version. Here all 117,798 noun lemmas of WordNet 3.0, names of places
   and people among them.
2. *Template.* Not stated. CaSED's code uses the bare word; here CLIP's own ``a photo of a {}.``, as for every other
   zero-shot classifier of the comparison.
3. *Candidates.* CaSED's code takes ten nouns from an index first; the best of these ten is the best of all.
4. *Probability.* A softmax over all nouns, which says little of a name; it is there for whoever ranks by it.

Which classes can be named at all depends on the word list: 71 of 200 birds of CUB, none of the 196 cars, 114 of 120
dogs. So the vocabulary is given back, and the comparison prints what share of the truth it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.encoders.text_store import text_features
from fgvr.memory.pieces import Pieces
from fgvr.memory.search import nearest
from fgvr.methods.baselines.task import Naming, Task
from fgvr.wordnet import NOUNS_OF_3_0, read_wordnet

TITLE = "ZS-CLIP-WordNet"
BLOCK = 1024
"""Images compared with ``BLOCK`` squared nouns at once when probabilities are summed up."""


@dataclass(frozen=True)
class Settings:
    """What the baseline leaves open."""

    template: str = "a photo of a {}."


def calls(support: int, test: int, settings: Settings) -> int:
    """No questions."""
    return 0


def name_images(task: Task, settings: Settings) -> Naming:
    """The most similar noun. Raises ``InputError`` where WordNet is not installed."""
    wordnet = read_wordnet(task.material.wordnet)
    nouns = wordnet.nouns
    vectors = text_features(
        nouns,
        task.encoder,
        task.store.root / "texts",
        templates=(settings.template,),
        progress=lambda done, total: task.report("nouns", done, total),
    )
    queries = np.asarray(task.test.features)
    best, cosines = nearest(queries, vectors, k=1)
    totals = log_partition(queries, vectors, scale=task.encoder.logit_scale)
    chances = np.exp(task.encoder.logit_scale * cosines[:, 0].astype(np.float64) - totals)
    notes = [f"{len(nouns):,} nouns of WordNet, template {settings.template!r}"]
    if len(nouns) != NOUNS_OF_3_0:
        notes.append(f"not WordNet 3.0, which has {NOUNS_OF_3_0:,}")
    return Naming(
        names=tuple(nouns[row] for row in best[:, 0]),
        vocabulary=nouns,
        probabilities=tuple(float(chance) for chance in np.clip(chances, 0.0, 1.0)),
        notes=tuple(notes),
        figures={"nouns": float(len(nouns))},
    )


def log_partition(queries: np.ndarray, vectors: Pieces, *, scale: float, block: int = BLOCK) -> np.ndarray:
    """log of the sum over all vectors (N, D) of exp(scale * cosine), for queries (Q, D), unit norm: (Q,) float64.

    Block by block: never more than ``block`` squared cosines at once. No cosine passes 1, so exp(scale * (cosine - 1))
    never overflows.
    """
    totals = np.zeros(len(queries))
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        for _, part in vectors.blocks(block):
            cosines = (queries[rows] @ part.T).astype(np.float64)
            totals[rows] += np.exp(scale * (cosines - 1.0)).sum(axis=1)
    return np.asarray(scale + np.log(totals))
