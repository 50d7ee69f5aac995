"""RAR's few-shot tables on arrays: retrieval baselines always, rows with an MLLM where one is passed in (section 4.1).

1. *Draws.* Paper and code: one run with the first n images a class. Here: seeded, nested draws with an interval;
   ``as_released`` repeats the code (duplicates among the candidates, 1-NN baseline).
2. *k.* 5, and 4 with four shots (paper); ``k`` overrides.
3. *Baselines.* The paper compares with 1-NN only. Here text, fusion of image and text, and the MLLM without retrieval
   stand in the same table.
4. *Upper bound.* Share of queries whose class is among the candidates: more than that no ranker can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fgvr.methods.rar.baselines import all_names, knn_vote, nearest_order, zero_shot_text
from fgvr.methods.rar.calibration import with_truth
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fewshot_protocol import WHOLE as WHOLE
from fgvr.methods.rar.fewshot_protocol import FewShotData as FewShotData
from fgvr.methods.rar.fewshot_protocol import Found, draw_shots, figures, first_shots, short_classes, summarised
from fgvr.methods.rar.fit_retrieval import fit_retrieval, left_out
from fgvr.methods.rar.retrieve import (
    AS_DESCRIBED,
    AS_RELEASED,
    PlainMemory,
    RetrieveSettings,
    candidates_for,
    retrieve,
)

SHOTS = (1, 2, 4, 8, 16)
KEPT = 10
"""Classes kept of each query for the figures; enough for top-5 of top-10."""
Row = dict[str, Any]
"""JSON-like: method, shots, k, draws, accuracy, interval, top5, upper_bound, ece, answered (shares), mllm_calls, ..."""

Ranker = Callable[[Sequence[tuple[str, ...]], np.ndarray], np.ndarray]
"""(candidate names of Q queries, best first; the queries' numbers (Q,) among the images) -> log-probabilities of those
candidates, (Q, longest row): natural log, all NaN for a query without an answer, -inf past a row's end.
Names repeat in a row of the preset ``as_released`` only."""
Fuse = Callable[[Candidates, np.ndarray], np.ndarray]
"""(candidates; what the ranker said, (Q, k)) -> log-probabilities of the two together over the candidates, (Q, k)."""


class Learn(Protocol):
    """How to fuse, from left-out memory images."""

    def __call__(
        self, candidates: Candidates, said: np.ndarray, truth: np.ndarray, *, alone: bool, classes: int
    ) -> Fuse:
        """(N, k) candidates, what the ranker said about them, true classes (N,) of ``classes``.

        ``alone``: one image a class, so retrieval without it cannot find its class; the truth was put into each set.
        """
        ...


@dataclass(frozen=True)
class SecondOpinion:
    """An MLLM as these protocols see it."""

    test: Ranker
    """About test images."""
    train: Ranker | None = None
    """About training images; what ``learn`` sees."""
    learn: Learn | None = None
    calibration: int = 300
    """Memory images asked about in each draw at most, for ``learn``."""
    direct: bool = True
    """Also ask about all names at once, without retrieval."""


def few_shot(
    data: FewShotData,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = 3,
    seed: int = 0,
    k: int | None = None,
    opinion: SecondOpinion | None = None,
    told: Callable[[int, int], None] = lambda shots, draw: None,
) -> list[Row]:
    """The table: one row a method and number of shots, means over draws.

    Args:
        data: training rows to draw shots from, test rows, texts.
        shots: images a class; ``WHOLE`` (0) for the whole training set (a single draw).
        draws: seeded draws for each number of shots.
        seed: of the first draw; the others follow.
        k: candidates before the ranker; the paper's (5, or 4 with four shots) by default.
        opinion: the MLLM; without one there are retrieval rows only.
        told: called before each draw.
    """
    rows: list[Row] = []
    for number in shots:
        found: dict[str, list[dict[str, float | None]]] = {}
        for draw in range(1 if number == WHOLE else draws):
            told(number, draw)
            chosen = draw_shots(data.train_labels, number, seed=seed + draw, ids=data.train_ids)
            wanted = k or candidates_for(number)
            for method, one in _methods(data, chosen, wanted, opinion, seed + draw).items():
                found.setdefault(method, []).append(figures(one, data.test_labels))
        short = 0 if number == WHOLE else short_classes(data.train_labels, number)
        shared = {"shots": number or "all", "k": k or candidates_for(number), "short_classes": short}
        rows += [{"method": method, **shared, **summarised(each)} for method, each in found.items()]
    if opinion is not None and opinion.direct:
        rows.append({"method": "MLLM, all names", "shots": "-", **_directly(data, opinion)})
    return rows


def as_released(data: FewShotData, *, shots: Sequence[int] = SHOTS, ranker: Ranker | None = None) -> list[Row]:
    """The released code's protocol: first images in file order, one run, five slots with duplicates, 1-NN baseline."""
    rows = []
    for number in shots:
        memory = data.memory(first_shots(data.train_labels, number))
        candidates = retrieve(data.test, memory, AS_RELEASED)
        ways = {"CLIP+KNN, as released": Found(candidates.classes, candidates=candidates)}
        if ranker is not None:
            said = _heard(ranker, candidates, data, np.arange(len(data.test)))
            ways["retrieve + rank, as released"] = _by_ranker(candidates, said)
        distinct = float(np.mean([len(np.unique(row[row >= 0])) for row in candidates.classes]))
        for method, found in ways.items():
            row = summarised([figures(found, data.test_labels)])
            rows.append({"method": method, "shots": number or "all", "k": 5, "distinct": distinct, **row})
    return rows


def top5_of_top10(data: FewShotData, *, shots: int = 4, seed: int = 0, ranker: Ranker | None = None) -> list[Row]:
    """The paper's "top-5 of top-10": ten candidates, the ranker returns five; what counts is top-5 accuracy."""
    memory = data.memory(draw_shots(data.train_labels, shots, seed=seed, ids=data.train_ids))
    rows = []
    for base, settings in _candidate_ways(memory, 10):
        candidates = retrieve(data.test, memory, settings)
        ways = {f"{base}: first 5 of 10": Found(candidates.classes, candidates=candidates)}
        if ranker is not None:
            said = _heard(ranker, candidates, data, np.arange(len(data.test)))
            ways[f"{base}, ranked: first 5 of 10"] = _by_ranker(candidates, said)
        for method, found in ways.items():
            rows.append({"method": method, "shots": shots, "k": 10, **summarised([figures(found, data.test_labels)])})
    return rows


def k_study(
    data: FewShotData,
    *,
    ks: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 10),
    shots: int = 4,
    draws: int = 3,
    seed: int = 0,
    ranker: Ranker | None = None,
) -> list[Row]:
    """Upper bound of retrieval by k, and with a ranker the accuracy it reaches with k candidates."""
    rows = []
    memories = [
        data.memory(draw_shots(data.train_labels, shots, seed=seed + draw, ids=data.train_ids)) for draw in range(draws)
    ]
    fitted = [fit_retrieval(memory, seed=seed).settings for memory in memories]
    for k in ks:
        plain, ranked = [], []
        for memory, settings in zip(memories, fitted, strict=True):
            candidates = retrieve(data.test, memory, replace(settings, k=k))
            plain.append(figures(Found(candidates.classes, candidates=candidates), data.test_labels))
            if ranker is not None:
                said = _heard(ranker, candidates, data, np.arange(len(data.test)))
                ranked.append(figures(_by_ranker(candidates, said), data.test_labels))
        rows.append({"method": "retrieval", "shots": shots, "k": k, **summarised(plain)})
        if ranked:
            rows.append({"method": "retrieve + rank", "shots": shots, "k": k, **summarised(ranked)})
    return rows


def _methods(
    data: FewShotData, chosen: np.ndarray, k: int, opinion: SecondOpinion | None, seed: int
) -> dict[str, Found]:
    """Every method on one draw."""
    memory = data.memory(chosen)
    fitted = fit_retrieval(memory, seed=seed).settings
    neighbours = nearest_order(data.test, memory, k=max(5, k))
    found = {
        "CLIP+KNN (1-NN, as in the paper)": Found(neighbours.classes, candidates=neighbours.top(k)),
        "kNN vote (5)": Found(knn_vote(data.test, memory)[:, None]),
        "image memory": _retrieved(data, memory, replace(fitted, source="image"), k),
    }
    if data.texts is not None:
        chances = zero_shot_text(data.test, memory)
        order = np.argsort(-chances, axis=1, kind="stable")[:, :KEPT]
        found["CLIP zero-shot text"] = Found(order, np.exp(chances.max(axis=1)))
        found["image + text fusion"] = _retrieved(data, memory, fitted, k)
    if opinion is not None:
        found |= _with_ranker(data, chosen, memory, replace(fitted, k=k), opinion, seed)
    return found


def _retrieved(data: FewShotData, memory: PlainMemory, settings: RetrieveSettings, k: int) -> Found:
    kept = retrieve(data.test, memory, replace(settings, k=KEPT))
    return Found(kept.classes, np.exp(kept.log_probs[:, 0]), kept.top(k))


def _with_ranker(
    data: FewShotData,
    chosen: np.ndarray,
    memory: PlainMemory,
    settings: RetrieveSettings,
    opinion: SecondOpinion,
    seed: int,
) -> dict[str, Found]:
    described = retrieve(data.test, memory, replace(AS_DESCRIBED, k=settings.k))
    own = retrieve(data.test, memory, settings)
    queries = np.arange(len(data.test))
    said = _heard(opinion.test, own, data, queries)
    found = {
        "retrieve + rank, as described": _by_ranker(described, _heard(opinion.test, described, data, queries)),
        "retrieve + rank": _by_ranker(own, said),
    }
    if opinion.learn is None or opinion.train is None:
        return found
    labels = data.train_labels[chosen]
    several = np.flatnonzero(np.bincount(labels)[labels] > 1)
    pool = several if len(several) else np.arange(len(chosen))
    asked = np.sort(np.random.default_rng(seed).permutation(pool)[: opinion.calibration])
    without = left_out(memory, settings, rows=asked)
    if not len(several):
        without = with_truth(without, labels[asked])
    heard = _heard(opinion.train, without, data, chosen[asked])
    fuse = opinion.learn(without, heard, labels[asked], alone=not len(several), classes=len(data.names))
    scores = np.where(np.isnan(said).any(axis=1, keepdims=True), own.log_probs, fuse(own, said))
    fused = replace(_by_ranker(own, scores), answered=found["retrieve + rank"].answered)
    held = np.exp(own.log_probs).sum(axis=1)
    best = np.exp(_normalised(scores)).max(axis=1)
    return found | {"retrieve + rank, fused": replace(fused, confidence=held * best, calls=len(said) + len(asked))}


def _heard(ranker: Ranker, candidates: Candidates, data: FewShotData, rows: np.ndarray) -> np.ndarray:
    """What a ranker says about candidates, (Q, k) float64, -inf past a row's end also where no row has k."""
    said = np.asarray(ranker(candidates.names(data.names), rows), dtype=np.float64)
    if said.shape != (len(candidates), int(candidates.sizes.max(initial=0))):
        raise ValueError(f"the ranker gave {said.shape} log-probabilities for candidates {candidates.classes.shape}")
    return np.pad(said, ((0, 0), (0, candidates.k - said.shape[1])), constant_values=-np.inf)


def _by_ranker(candidates: Candidates, said: np.ndarray) -> Found:
    """Candidates in the ranker's order; unanswered ones in the retriever's."""
    score = np.where(np.isnan(said), -np.inf, said)
    score = np.where(candidates.classes >= 0, np.maximum(score, -1e30), -np.inf)  # what is past the end stays last
    order = np.argsort(-score, axis=1, kind="stable")
    classes = np.take_along_axis(candidates.classes, order, axis=1)
    answered = float(1.0 - np.isnan(said).any(axis=1).mean())
    return Found(classes, candidates=candidates, calls=len(said), answered=answered)


def _directly(data: FewShotData, opinion: SecondOpinion) -> Row:
    """The MLLM with all names before it, no memory."""
    everything = all_names(len(data.test), len(data.names))
    said = _heard(opinion.test, everything, data, np.arange(len(data.test)))
    return {
        "k": len(data.names),
        "short_classes": 0,
        **summarised([figures(_by_ranker(everything, said), data.test_labels)]),
    }


def _candidate_ways(memory: PlainMemory, k: int) -> list[tuple[str, RetrieveSettings]]:
    fitted = fit_retrieval(memory).settings
    return [("as described", replace(AS_DESCRIBED, k=k)), ("ours", replace(fitted, k=k))]


def _normalised(scores: np.ndarray) -> np.ndarray:
    from scipy.special import log_softmax

    return np.asarray(log_softmax(scores, axis=1))
