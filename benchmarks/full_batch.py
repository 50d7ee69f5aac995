"""Full-batch steps against CoOp's released minibatch schedule: text passes, seconds and accuracy on the embedded world.

Protocol. The support draws, MLLM answers, features and scores of ``scripts/embedded_results.py``: three pictures a
species, another draw and another training seed each time, one test set (its first ``--test-per-species`` pictures).
All schedules get the same support, names and candidate sets:

1. *CoOp's*: SGD on minibatches of 32, 50 epochs, 16 random context vectors (``TuneSettings()``, the workshop method).
2. *full batch*: ``FAST``, one AdamW step an epoch, 60 epochs, context from "a photo of a".
3. *full batch, longer*: the same with 150 epochs.

The settings were fixed on other draws (three supports and a test set with seeds of their own, where 60 epochs lost two
to four points of accuracy and 150 lost half a point on average); nothing is chosen here. Differences are paired by seed
with their 95 % t interval; ``BOUND`` is what counts as parity. Seconds are those of the fit on one thread, in turn.
Pictures, features and replies are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.common import table, write_section
from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.sentence import load_sentence_encoder
from fgvr.fieldguide.guide import accepted_names, by_key
from fgvr.methods.near import FAST, TuneSettings
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.methods.near.prompt_learner import PromptLearner
from fgvr.mllm import load_mllm
from fgvr.naming.labelling import label_images
from fgvr.runs import Ledger
from fgvr.types import NamedImage

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from embedded_results import SHOTS, SUPPORT_SEED, TEST_SEED, draw
from near_variants import Scores, best_names, interval, score

COOP = "CoOp's: minibatches of 32, SGD, 50 epochs"
SCHEDULES = {
    COOP: TuneSettings(),
    "full batch, AdamW, 60 epochs (`FAST`)": FAST,
    "full batch, AdamW, 150 epochs": replace(FAST, epochs=150),
}
FIGURES = {"cacc": "cACC", "sacc": "sACC", "exact": "accuracy"}
BOUND = 1.0
"""Points by which the full batch may be worse and still count as equal."""


@dataclass(frozen=True)
class Fit:
    """One schedule on one support draw."""

    scores: Scores
    passes: int
    """Text features of all names computed."""
    seconds: float


@dataclass(frozen=True)
class World:
    """Supports (one a seed) as features and answers, and the test set's features and species."""

    supports: list[np.ndarray]
    named: list[tuple[NamedImage, ...]]
    test: np.ndarray
    keys: list[str]


def world(work: Path, *, seeds: int, test_per_species: int) -> World:
    """Draw the pictures, compute features, ask the MLLM about the supports; what ``work`` holds is not made again."""
    encoder, store = load_encoder("fieldguide"), FeatureStore(work / "features")
    test = draw(work / "test", TEST_SEED, test_per_species)
    supports = [draw(work / f"support{seed}", SUPPORT_SEED + 1000 * seed, SHOTS) for seed in range(seeds)]
    mllm, ledger = load_mllm("fieldguide", batch_size=64), Ledger(work / "replies.jsonl", sync=False)
    return World(
        [np.asarray(store.features(support, encoder).features) for support in supports],
        [label_images(support, mllm, ledger=ledger).named for support in supports],
        np.asarray(store.features(test, encoder).features),
        [item.label or "" for item in test],
    )


def one_seed(
    seed: int, support: np.ndarray, named: Sequence[NamedImage], test: np.ndarray, keys: list[str]
) -> dict[str, Fit]:
    """All schedules on one support draw."""
    torch.set_num_threads(1)
    encoder, sentence = load_encoder("fieldguide"), load_sentence_encoder("minilm")
    truth = [accepted_names(by_key(key)) for key in keys]
    fits = {}
    for name, settings in SCHEDULES.items():
        started = time.perf_counter()
        with patch.object(PromptLearner, "forward", autospec=True, side_effect=PromptLearner.forward) as forward:
            fitted = fit_classifier(support, named, encoder, FitSettings(tuning=settings, folds=0), seed=seed)
        seconds = time.perf_counter() - started
        classifier = fitted.classifier
        scores = score(best_names(classifier, test), truth, sentence, labels=len(classifier.names))
        fits[name] = Fit(scores, forward.call_count, seconds)
    return fits


def main() -> None:
    """Draw, ask, fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, five test pictures a species, writes nothing")
    parser.add_argument("--work", type=Path, help="keeps pictures, features and replies; else a temporary folder")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--test-per-species", type=int, default=60)
    options = parser.parse_args()
    seeds, per_species = (2, 5) if options.quick else (options.seeds, options.test_per_species)
    with tempfile.TemporaryDirectory() as scratch:
        found = world(options.work or Path(scratch), seeds=seeds, test_per_species=per_species)
    with ProcessPoolExecutor() as pool:
        jobs = [
            pool.submit(one_seed, seed, found.supports[seed], found.named[seed], found.test, found.keys)
            for seed in range(seeds)
        ]
        runs = [job.result() for job in jobs]
    body = report(runs, support=len(found.supports[0]), test=len(found.test))
    print(body)
    if not options.quick:
        write_section("full_batch", "Full-batch steps", body)


def report(runs: list[dict[str, Fit]], *, support: int, test: int) -> str:
    """The section's text."""
    rows, gaps, verdicts = [], [], []
    for name in SCHEDULES:
        fits = [run[name] for run in runs]
        scores = [interval(getattr(fit.scores, figure) for fit in fits) for figure in FIGURES]
        passes, seconds = (statistics.median(getattr(fit, key) for fit in fits) for key in ("passes", "seconds"))
        rows.append([name, f"{passes:.0f}", f"{seconds:.2f}", *scores])
        if name != COOP:
            less = {figure: [_gap(run, name, figure) for run in runs] for figure in FIGURES}
            gaps.append([f"{name} - CoOp's", *map(interval, less.values())])
            said = "; ".join(f"{label}: {verdict(less[figure])}" for figure, label in FIGURES.items())
            verdicts.append(f"- {name}: {said}.")
    labels = statistics.median(run[COOP].scores.labels for run in runs)
    return "\n\n".join(
        [
            f"{len(runs)} seeds (support draw and training), {support} support and {test} test pictures of drawn "
            f"species, about {labels:.0f} names from the MLLM; mean ± half of the 95 % t interval, in per cent; "
            "passes of the text tower over all names and seconds of the fit on one thread, medians.",
            table(["schedule", "text passes", "seconds", *FIGURES.values()], rows),
            table(["paired difference, points", *FIGURES.values()], gaps),
            f"Parity is a mean difference within {BOUND:.0f} point:\n\n" + "\n".join(verdicts),
        ]
    )


def _gap(run: dict[str, Fit], name: str, figure: str) -> float:
    return float(getattr(run[name].scores, figure) - getattr(run[COOP].scores, figure))


def verdict(gaps: Sequence[float]) -> str:
    """Whether the mean difference is within ``BOUND`` points, said plainly."""
    mean = 100 * statistics.mean(gaps)
    if mean < -BOUND:
        return f"no parity, worse by {-mean:.1f} points"
    return f"better by {mean:.1f} points" if mean > BOUND else f"parity ({mean:+.1f} points)"


if __name__ == "__main__":
    main()
