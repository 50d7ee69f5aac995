"""Buying fewer labels: pictures chosen to be named against pictures drawn, at equal budget; into docs/results.md.

    python scripts/choose_labels.py --work build/choose_labels

Two kinds of pools. *Natural*: Zipf-distributed species, and a third of the pictures are bursts of near-duplicates; every
seed has another pool. *Even*: as many pictures of every species, no near-duplicates; every seed draws its pool from one
collection. The MLLM names all pictures once, and a way of choosing sees the names it has bought. ``--quick`` tries it on
other pictures and writes nothing. Resumable: pictures, features and replies are kept in ``--work``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from choose_page import NEAR, NEAREST, WAYS, ZERO, Bought, report
from choose_worlds import QUICK, Pool, Study, encoded_and_named, even_part, natural_pool
from embedded_results import draw
from near_variants import Scores, Truth, best_names, score, write_section

from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.base import DualEncoder
from fgvr.encoders.sentence import SentenceEncoder, load_sentence_encoder
from fgvr.fieldguide.guide import accepted_names, by_key
from fgvr.methods.near import LITE
from fgvr.methods.near.baselines import zero_shot_classifier
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.naming import label_space
from fgvr.naming.choose import LabelsSoFar, choose_support, labels_so_far

SETTINGS = FitSettings(tuning=LITE, folds=0)


def main() -> None:
    """Draw, encode, name, choose, fit, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    study = QUICK if options.quick else Study()
    work = options.work / "quick" if options.quick else options.work
    test = draw(work / "test", study.test_seed, study.test)
    features = np.asarray(FeatureStore(work / "features").features(test, load_encoder("fieldguide")).features)
    keys = [item.label or "" for item in test]
    with ProcessPoolExecutor() as pool:
        drawn = pools(study, work, pool)
        runs: dict[str, list[Mapping[tuple[str, int], Bought]]] = {}
        for kind, found in drawn.items():
            runs[kind] = list(pool.map(partial(one_pool, features, keys, study.budgets), found, range(study.seeds)))
    lines = report(runs, study, {kind: [len(one.keys) for one in found] for kind, found in drawn.items()})
    if options.quick:
        print("\n".join(lines))
    else:
        write_section(options.out, "choose-labels", lines)


def pools(study: Study, work: Path, processes: ProcessPoolExecutor) -> dict[str, list[Pool]]:
    """The pools of every seed, by kind."""
    items = {
        f"natural{seed}": natural_pool(
            work / f"natural{seed}", study.pool_seed + 1_000_000 * seed, seed=seed, distinct=study.distinct
        )
        for seed in range(study.seeds)
    }
    collection = draw(work / "even", study.pool_seed + 9_000_000, study.collection)
    half = len(collection) // 2  # in two parts, so that two processes share it
    items |= {"even0": collection[:half], "even1": collection[half:]}
    jobs = {name: processes.submit(encoded_and_named, found, work, name) for name, found in items.items()}
    done = {name: job.result() for name, job in jobs.items()}
    one, two = done["even0"], done["even1"]
    whole = Pool(
        np.concatenate([one.features, two.features]),
        (*one.hashes, *two.hashes),
        (*one.named, *two.named),
        np.concatenate([one.keys, two.keys]),
    )
    return {
        "natural": [done[f"natural{seed}"] for seed in range(study.seeds)],
        "even": [whole.part(even_part(whole.keys, study.even, seed=seed)) for seed in range(study.seeds)],
    }


def one_pool(
    test: np.ndarray, keys: Sequence[str], budgets: Sequence[int], pool: Pool, seed: int
) -> dict[tuple[str, int], Bought]:
    """All ways and budgets on one pool; one thread, since pools run side by side."""
    torch.set_num_threads(1)
    encoder, sentence = load_encoder("fieldguide"), load_sentence_encoder("minilm")
    truth = [accepted_names(by_key(key)) for key in keys]
    found = {}
    for way in WAYS:
        for budget in budgets:
            rows = np.sort(chosen_rows(pool, way, budget, encoder, seed=seed))
            scores = scores_of(pool.part(rows), test, truth, encoder, sentence)
            found[way, budget] = Bought(scores, len(set(pool.keys[rows])), len(rows))
    return found


def chosen_rows(pool: Pool, way: str, budget: int, encoder: DualEncoder, *, seed: int) -> np.ndarray:
    """The rows a way has named; it hears the names of what it bought and no others."""
    bought: list[int] = []

    def label(rows: np.ndarray) -> LabelsSoFar:
        bought.extend(rows)
        return labels_so_far([pool.named[row] for row in bought], encoder)

    return choose_support(pool.features, pool.hashes, budget, how=way, seed=seed, label=label)  # type: ignore[arg-type]


def scores_of(
    support: Pool, test: np.ndarray, truth: Sequence[Truth], encoder: DualEncoder, sentence: SentenceEncoder
) -> dict[str, Scores]:
    """The same three classifiers for every way."""
    space, labels = label_space(support.named)
    named = np.flatnonzero(labels >= 0)
    nearest = labels[named][(test @ support.features[named].T).argmax(axis=1)]
    tuned = fit_classifier(support.features, support.named, encoder, SETTINGS, seed=0).classifier
    said = {
        NEAR: best_names(tuned, test),
        NEAREST: [space.names[label] for label in nearest],
        ZERO: best_names(zero_shot_classifier(encoder, space.names), test),
    }
    return {name: score(names, truth, sentence, labels=len(space.names)) for name, names in said.items()}


if __name__ == "__main__":
    main()
