"""A text-free classifier on held-out support images: two images a class to learn from, one to predict, three folds.

The true class draws the folds and scores the answers; the classifiers see features and recorded labels only. There is
no text encoder: a label's prototype is the weighted mean of the features that may carry it, and PRODEN tunes a residual
on the prototypes. Labels none of the two remaining images carries cannot be predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgvr.labels import merge_synonyms
from fgvr.methods.near.candidates import CandidateSets, candidate_sets, no_sets, random_sets
from fgvr.methods.near.settings import TuneSettings
from fgvr.metrics import Interval
from fgvr.metrics.semantic import TextEncoder
from fgvr.reproduce.recorded.material import Recording
from fgvr.reproduce.recorded.scores import Scores, class_interval, score

FOLDS = 3
OWN_WEIGHT = 5.0
PROPAGATED = 5
"""Neighbours that vote in label propagation."""
TUNING = TuneSettings(
    head="lite", epochs=50, batch_size=None, optimiser="adamw", learning_rate=1e-3, weight_decay=0.0, warmup_epochs=0
)
"""Fixed beforehand; nothing was chosen by looking at the held-out images."""
KINDS = ("own label", "k=2 vote", "k=3 vote", "k=3 own x5", "k=3 random")
STARTED = ("k=3 vote", "k=3 own x5", "k=3 random")
"""Kinds for which PRODEN is also started from the own-label prototypes, not from those of the sets themselves."""
DIRECT = "MLLM's own answer"


@dataclass(frozen=True)
class Method:
    """One classifier's answers on all held-out images: R runs (several for random sets only)."""

    title: str
    name: str
    answers: tuple[tuple[str, ...], ...]
    scores: Scores
    """Per-image scores, mean over the runs."""
    figures: dict[str, Interval]
    """exact, accepted, sacc, sacc_accepted, siou_split, cacc."""


def folds(classes: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """(N,) fold of every image: each class's images shuffled and dealt to `FOLDS` folds."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(classes), dtype=np.int64)
    for number in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == number))
        fold[members] = np.arange(len(members)) % FOLDS
    return fold


def prototypes(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(C, D) unit-norm means of ``features`` (N, D), weighted by candidate ``weights`` (N, C)."""
    sums = weights.T @ features
    unit: np.ndarray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float32)


def sets_of(kind: str, features: np.ndarray, labels: np.ndarray, *, num_labels: int, seed: int) -> CandidateSets:
    """Candidate sets of one of the `KINDS`."""
    if kind == "own label":
        return no_sets(labels)
    if kind == "k=3 random":
        return random_sets(labels, k=3, num_labels=num_labels, seed=seed)
    if kind in ("k=2 vote", "k=3 vote"):
        return candidate_sets(features, labels, k=int(kind[2]))
    return candidate_sets(features, labels, k=3, policy="own", own_weight=OWN_WEIGHT)


def propagate(features: np.ndarray, labels: np.ndarray, queries: np.ndarray, *, k: int = PROPAGATED) -> np.ndarray:
    """(Q,) label with most cosine-weighted votes among the k nearest; of equals the nearest one's."""
    similarity = queries @ features.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    answers = np.empty(len(queries), dtype=np.int64)
    for i, row in enumerate(order):
        votes = np.bincount(labels[row], weights=similarity[i, row])
        answers[i] = max(labels[row], key=lambda label: votes[label])
    return answers


def answers_of_fold(
    features: np.ndarray, names: list[str], queries: np.ndarray, *, runs: int, seed: int
) -> dict[str, list[list[str]]]:
    """Method name to R lists of answers on ``queries`` (Q, D), learnt from ``features`` (N, D) and noisy ``names``."""
    from fgvr.methods.near.tuning import tune

    space = merge_synonyms(names)
    labels = space.indices(names)
    label_count = len(space.names)

    def named(indices: np.ndarray) -> list[str]:
        return [space.names[i] for i in indices]

    found: dict[str, list[list[str]]] = {
        "nearest image": [named(propagate(features, labels, queries, k=1))],
        f"propagation, {PROPAGATED} nearest": [named(propagate(features, labels, queries))],
    }
    own = prototypes(features, no_sets(labels).weights(label_count))
    for kind in KINDS:
        for run in range(runs if kind == "k=3 random" else 1):
            sets = sets_of(kind, features, labels, num_labels=label_count, seed=seed + run)
            heads = prototypes(features, sets.weights(label_count))
            tuned = tune(features, sets, heads, TUNING, names=space.names, seed=seed + run).text_features
            classifiers = {f"prototypes, {kind}": heads, f"PRODEN, {kind}": tuned}
            if kind in STARTED:
                begun = tune(features, sets, own, TUNING, names=space.names, seed=seed + run).text_features
                classifiers[f"PRODEN from own, {kind}"] = begun
            for method, classifier in classifiers.items():
                found.setdefault(method, []).append(named((queries @ classifier.T).argmax(axis=1)))
    return found


def held_out(recording: Recording, encoder: TextEncoder, *, runs: int, resamples: int, seed: int) -> list[Method]:
    """All classifiers over all folds, the MLLM's own recorded answers first."""
    names = [name or "" for name in recording.named]
    fold = folds(recording.classes, seed=seed)
    pooled: dict[str, list[list[str]]] = {DIRECT: [names]}
    for number in range(FOLDS):
        held, train = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        found = answers_of_fold(
            recording.features[train], [names[i] for i in train], recording.features[held], runs=runs, seed=seed
        )
        for method, several in found.items():
            rows = pooled.setdefault(method, [[""] * len(names) for _ in several])
            for row, answers in zip(rows, several):
                for i, answer in zip(held, answers):
                    row[i] = answer
    return [_scored(method, rows, recording, encoder, resamples, seed) for method, rows in pooled.items()]


def _scored(
    name: str, rows: list[list[str]], recording: Recording, encoder: TextEncoder, resamples: int, seed: int
) -> Method:
    each = [score(row, recording, encoder) for row in rows]
    scores = Scores(*(np.mean([vars(one)[key] for one in each], axis=0) for key in vars(each[0])))
    figures = {
        key: class_interval(getattr(scores, key), recording.classes, resamples=resamples, seed=seed)
        for key in ("exact", "accepted", "sacc", "sacc_accepted", "siou_split", "cacc")
    }
    return Method(recording.title, name, tuple(map(tuple, rows)), scores, figures)


COMPARISONS = (
    ("prototypes, k=3 vote", "prototypes, own label"),
    ("prototypes, k=3 vote", "prototypes, k=3 random"),
    ("PRODEN, own label", "prototypes, own label"),
    ("PRODEN, k=2 vote", "PRODEN, own label"),
    ("PRODEN, k=3 vote", "PRODEN, own label"),
    ("PRODEN, k=3 own x5", "PRODEN, own label"),
    ("PRODEN, k=3 vote", "PRODEN, k=3 random"),
    ("PRODEN from own, k=3 vote", "PRODEN, k=3 vote"),
    ("PRODEN from own, k=3 vote", "PRODEN, own label"),
    ("PRODEN from own, k=3 vote", "PRODEN from own, k=3 random"),
    ("PRODEN, own label", DIRECT),
)
"""(one, other): paired on the same held-out images."""


def differences(
    methods: list[Method], classes: np.ndarray, *, key: str = "sacc", resamples: int, seed: int
) -> list[tuple[str, str, Interval]]:
    """Mean difference of a per-image score for each of the `COMPARISONS`, interval over classes."""
    by_name = {method.name: getattr(method.scores, key) for method in methods}
    return [
        (one, other, class_interval(by_name[one] - by_name[other], classes, resamples=resamples, seed=seed))
        for one, other in COMPARISONS
    ]
