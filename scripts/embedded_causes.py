"""Where the embedded world's NeaR loses to its MLLM; writes into docs/results.md after ``embedded_results.py``.

    python scripts/embedded_causes.py --work build/embedded

The same pictures, answers and features (read from ``--work``): how pure neighbourhoods are, what the same classifier
reaches with the support's true names, and accuracy by whether encoder and MLLM were taught a species.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from embedded_results import SHOTS, SUPPORT_SEED, TEST_SEED, draw
from near_variants import STYLE, Truth, best_names, interval, write_section

from fgvr.encoders import FeatureStore, load_encoder
from fgvr.fieldguide.guide import accepted_names, by_key, split_seen_unseen
from fgvr.fieldguide.training.texts import withheld
from fgvr.labels import normalise
from fgvr.methods.near import SetSettings
from fgvr.methods.near.pipeline import fit_classifier
from fgvr.mllm import load_mllm
from fgvr.naming.labelling import label_images
from fgvr.runs import Ledger
from fgvr.types import NamedImage

LITE = "near-lite + NeaR-style, MLLM's names"
TRUE = "the same, true names of the support (not a method)"
NEAREST = "1-NN, true names of the support (not a method)"
DIRECT = "direct MLLM"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--test-per-species", type=int, default=60)
    options = parser.parse_args()
    encoder, mllm = load_encoder("fieldguide"), load_mllm("fieldguide", batch_size=64)
    store = FeatureStore(options.work / "features")
    ledger = Ledger(options.work / "replies.jsonl", sync=False)
    test = draw(options.work / "test", TEST_SEED, options.test_per_species)
    keys = [item.label or "" for item in test]
    truth = [accepted_names(by_key(key)) for key in keys]
    features = np.asarray(store.features(test, encoder).features)
    said = [one.name or "unknown" for one in label_images(test, mllm, ledger=ledger).named]
    hits: dict[str, list[np.ndarray]] = {DIRECT: [right(said, truth)] * options.seeds, LITE: [], TRUE: [], NEAREST: []}
    purity, named_right = [], []
    for seed in range(options.seeds):
        items = draw(options.work / f"support{seed}", SUPPORT_SEED + 1000 * seed, SHOTS)
        own = np.asarray(store.features(items, encoder).features)
        named = label_images(items, mllm, ledger=ledger).named
        names = [by_key(item.label or "").name for item in items]
        told = tuple(NamedImage(item.id, name) for item, name in zip(items, names, strict=True))
        fitted = fit_classifier(own, named, encoder, STYLE, seed=seed).classifier
        hits[LITE].append(right(best_names(fitted, features), truth))
        alone = replace(STYLE, sets=SetSettings(kind="none"))
        hits[TRUE].append(
            right(best_names(fit_classifier(own, told, encoder, alone, seed=seed).classifier, features), truth)
        )
        hits[NEAREST].append(right([names[i] for i in (features @ own.T).argmax(axis=1)], truth))
        named_right.append(
            right([one.name or "" for one in named], [accepted_names(by_key(i.label or "")) for i in items]).mean()
        )
        purity.append(nearest_purity(own, names))
    write_section(options.out, "embedded-causes", report(hits, keys, purity, named_right))


def right(predicted: list[str], truth: list[Truth]) -> np.ndarray:
    """(N,) bool: an accepted name, after normalising."""
    accepted = {names: {normalise(name) for name in names} for names in set(truth)}
    return np.array([normalise(name) in accepted[names] for name, names in zip(predicted, truth, strict=True)])


def nearest_purity(features: np.ndarray, names: list[str]) -> float:
    """Share of support images whose nearest other support image is of the same species."""
    similar = features @ features.T
    np.fill_diagonal(similar, -np.inf)
    return float(np.mean([names[i] == names[j] for i, j in enumerate(similar.argmax(axis=1))]))


def report(hits: dict[str, list[np.ndarray]], keys: list[str], purity: list[float], named: list[float]) -> list[str]:
    """The section as Markdown lines."""
    seen = np.isin(keys, [one.key for one in split_seen_unseen()[0]])
    taught = ~np.isin(keys, [one.key for one in withheld()])
    groups = {
        "all": np.ones(len(keys), bool),
        "encoder taught, MLLM taught": seen & taught,
        "encoder not, MLLM taught": ~seen & taught,
        "encoder taught, MLLM not": seen & ~taught,
        "neither": ~seen & ~taught,
    }
    lines = [
        "### Where the rest is lost",
        "",
        "Accuracy (accepted names), mean ± half of the 95 % t interval over the same seeds. `scripts/embedded_causes.py`.",
        "",
        f"| | {' | '.join(f'{name} ({int(rows.sum())})' for name, rows in groups.items())} |",
        f"|---|{'---|' * len(groups)}",
    ]
    for method, runs in hits.items():
        cells = [interval(run[rows].mean() for run in runs) for rows in groups.values()]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"The MLLM names {interval(named)} % of the support images right; the nearest other support image is of the same",
        f"species for {interval(purity)} %. The rows with true names bound what three pictures a species can teach this",
        "encoder, whatever the names; the distance from there to the MLLM is the encoder's image side, not the labels.",
    ]


if __name__ == "__main__":
    main()
