"""Fine-tuning data for ranking (paper section 3.3, "Fine-tuning for Ranking"): lists to sort, made by the retriever.

For each image of one subset its nearest images of another are found; lists of their categories that contain the true
one become questions, and the model learns the right order. Text, released code, and what is done here:

1. *Two subsets.* Paper: disjoint D_a (memory) and D_b (queries). Code: one split is both, so that every image is its
   own nearest neighbour and the truth is always first. Here disjoint, drawn by seed within each class; neighbours with
   the same file content as the query are left out.
2. *Sets.* Paper: 16 sets of k of the 20 nearest images. Code: the 16 windows of 5 consecutive ones, duplicates of a
   category kept. Here ``sets`` draws of images until k *distinct* categories are found (all of them where there are
   fewer), each combination once; sets without the true category are dropped, as in both.
3. *Shown order.* Paper: shuffled. Code: as retrieved, so that copying the question is nearly right. Here shuffled.
4. *Target order.* Paper: the "original sequence", which read literally is the retriever's order, truth anywhere. Code:
   all copies of the truth first, the rest as retrieved. Here the truth first, then the rest as retrieved (each category
   by its nearest image): a target with the truth further down would teach the ranker the retriever's mistakes.
   ``target="retrieved"`` is the literal reading.
5. *Prompt.* Code: another prompt for training ("a aircraft classification expert") than for testing, the picture in the
   middle of it. Here the test prompt; ``released_rows`` makes rows with the other one, the picture first.

``AS_DESCRIBED`` (default) is the paper with 4 as said; ``AS_RELEASED`` the code, for which queries and memory are one
pool (``one_pool``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fgvr.errors import InputError
from fgvr.memory.search import nearest
from fgvr.methods.rar.prompts import listed, python_list, ranking_prompt, released_training_prompt
from fgvr.training.rows import MARK, TrainingRow


@dataclass(frozen=True)
class RankingDataSettings:
    """How lists are made of neighbours. Defaults: the paper, section 3.3."""

    k: int = 5
    neighbours: int = 20
    sets: int = 16
    drawn: Literal["random", "windows"] = "random"
    """Random sets of distinct categories, or windows of consecutive neighbours with their duplicates."""
    shuffle: bool = True
    target: Literal["truth first", "retrieved"] = "truth first"
    one_pool: bool = False
    """Queries and memory are the same images, an image its own neighbour."""

    def __post_init__(self) -> None:
        if not 2 <= self.k <= self.neighbours or self.sets < 1:
            remedy = "Use 2 <= k <= neighbours and at least one set."
            raise InputError("these ranking data settings make no sense", remedy=remedy, settings=self)


AS_DESCRIBED = RankingDataSettings()
AS_RELEASED = RankingDataSettings(drawn="windows", shuffle=False, one_pool=True)


@dataclass(frozen=True)
class Pool:
    """Labelled images with their features."""

    features: np.ndarray
    """(N, D) float32, unit norm."""
    labels: np.ndarray
    """(N,) int, indices into the names."""
    paths: tuple[Path, ...]
    hashes: tuple[str, ...]
    """SHA-256 of each file; equal ones are the same picture."""

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: np.ndarray) -> Pool:
        """The images at ``rows``."""
        pick = [int(row) for row in rows]
        return Pool(
            self.features[rows],
            self.labels[rows],
            tuple(self.paths[i] for i in pick),
            tuple(self.hashes[i] for i in pick),
        )


@dataclass(frozen=True)
class RankingRow:
    """One list to sort."""

    image: Path
    truth: str
    candidates: tuple[str, ...]
    """In the order shown."""
    answer: tuple[str, ...]
    """The same names, best first."""


def two_subsets(labels: np.ndarray, *, share: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of D_a (memory) and D_b (queries): within each class a random ``share``, at least one, is D_a.

    labels: (N,) int. Both come sorted; a class with one image has no query. Raises ``InputError`` unless 0 < share < 1.
    """
    if not 0 < share < 1:
        raise InputError("the share of the memory must lie between 0 and 1", remedy="Use 0.5.", share=share)
    rng = np.random.default_rng(seed)
    in_memory = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        in_memory[rows[: max(1, round(share * len(rows)))]] = True
    return np.flatnonzero(in_memory), np.flatnonzero(~in_memory)


def ranking_rows(
    queries: Pool,
    memory: Pool,
    names: Sequence[str],
    *,
    settings: RankingDataSettings = AS_DESCRIBED,
    seed: int = 0,
    device: str = "cpu",
) -> list[RankingRow]:
    """Lists to sort, query by query; may be empty for a query whose class is not among its neighbours.

    Args:
        queries, memory: D_b and D_a; the same pool twice with ``one_pool``.
        names: (C,) by label.

    Raises ``InputError`` when no list is left.
    """
    found = neighbour_rows(queries, memory, settings=settings, device=device)
    rows = []
    for index, near in enumerate(found):
        truth = int(queries.labels[index])
        rng = np.random.default_rng([seed, index])
        for original in _sets(memory.labels[near], settings, rng):
            if truth not in original:
                continue
            shown = [original[i] for i in rng.permutation(len(original))] if settings.shuffle else original
            first = [label for label in original if label == truth] if settings.target == "truth first" else []
            answer = [*first, *(label for label in original if not first or label != truth)]
            said, wanted = (tuple(names[label] for label in order) for order in (shown, answer))
            rows.append(RankingRow(queries.paths[index], names[truth], said, wanted))
    if not rows:
        remedy = "Give more images a class, or another encoder: no image's own class was among its neighbours."
        raise InputError("there is nothing to learn ranking from", remedy=remedy, queries=len(queries))
    return rows


def neighbour_rows(
    queries: Pool, memory: Pool, *, settings: RankingDataSettings = AS_DESCRIBED, device: str = "cpu"
) -> list[np.ndarray]:
    """For each query the rows of its nearest images in the memory, nearest first, at most ``neighbours``.

    Unless ``one_pool``, those with the query's own content are left out; the search is that much wider.
    """
    copies = Counter(memory.hashes)
    spare = 0 if settings.one_pool else max((copies[one] for one in queries.hashes), default=0)
    found, _ = nearest(queries.features, memory.features, k=settings.neighbours + spare, device=device)
    kept = []
    for own, row in zip(queries.hashes, found, strict=True):
        good = [int(i) for i in row if i >= 0 and (settings.one_pool or memory.hashes[int(i)] != own)]
        kept.append(np.array(good[: settings.neighbours], dtype=np.int64))
    return kept


def _sets(labels: np.ndarray, settings: RankingDataSettings, rng: np.random.Generator) -> Iterator[list[int]]:
    """Lists of labels in retrieval order; ``labels``: of the neighbours, nearest first."""
    order = [int(label) for label in labels]
    if settings.drawn == "windows":
        for start in range(min(settings.sets, len(order) - settings.k + 1)):
            yield order[start : start + settings.k]
        return
    distinct = list(dict.fromkeys(order))  # each where its nearest image is
    if len(distinct) < 2:
        return
    seen = set()
    for _ in range(settings.sets):
        drawn = list(dict.fromkeys(order[i] for i in rng.permutation(len(order))))[: settings.k]
        chosen = [label for label in distinct if label in drawn]
        if tuple(chosen) not in seen:
            seen.add(tuple(chosen))
            yield chosen


# --- as conversations -------------------------------------------------------------------------------------------------


def training_rows(
    rows: Sequence[RankingRow],
    *,
    prompt: Callable[[Sequence[str]], str] = ranking_prompt,
    form: Callable[[Sequence[str]], str] = listed,
) -> list[TrainingRow]:
    """Questions and answers for ``fgvr.training``.

    Args:
        prompt: candidates as shown to the question; by default the one asked in use.
        form: how the answer's list is written.
    """
    return [
        TrainingRow(
            id=f"rank-{number:06d}",
            images=(row.image,),
            prompt=prompt(row.candidates).replace(MARK, ""),
            answer=form(row.answer),
            meta={"candidates": list(row.candidates), "answer": list(row.answer), "truth": row.truth},
        )
        for number, row in enumerate(rows)
    ]


def released_rows(rows: Sequence[RankingRow], *, kind: str = "aircraft") -> list[TrainingRow]:
    """``training_rows`` in the words of the released data; ``kind``: the super-category."""
    return training_rows(rows, prompt=lambda names: released_training_prompt(names, kind=kind), form=python_list)
