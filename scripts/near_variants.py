"""What the result tables compare: NeaR, its ablations and its baselines, on given features and given MLLM answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from fgvr.encoders.base import DualEncoder
from fgvr.encoders.sentence import SentenceEncoder
from fgvr.methods.near import FAST, LITE, Classifier, RefineSettings, SetSettings
from fgvr.methods.near.baselines import zero_shot_classifier
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.methods.near.select import SMALL_GRID
from fgvr.metrics import clustering_accuracy, semantic_accuracy, synonym_accuracy
from fgvr.naming import label_space
from fgvr.runs import write_text
from fgvr.types import NamedImage

Truth = tuple[str, ...]
"""Accepted names of an image's class, its own name first."""
RANDOM, NONE = SetSettings(kind="random"), SetSettings(kind="none")
CHOSEN = FitSettings(tuning=SMALL_GRID, folds=3)
"""Settings chosen on the support set among ``SMALL_GRID``."""
WORKSHOP = FitSettings(folds=0)
PROMPT = FitSettings(tuning=FAST, folds=0)
STYLE = FitSettings(tuning=replace(LITE, refine=RefineSettings()), folds=0)

VARIANTS: dict[str, FitSettings] = {
    "NeaR, settings chosen on the support": CHOSEN,
    "NeaR, CoOp's released settings": WORKSHOP,
    "prompt (fast): neighbour sets": PROMPT,
    "prompt (fast): random sets": replace(PROMPT, sets=RANDOM),
    "prompt (fast): no sets": replace(PROMPT, sets=NONE),
    "near-lite + NeaR-style: neighbour sets": STYLE,
    "near-lite + NeaR-style: random sets": replace(STYLE, sets=RANDOM),
    "near-lite + NeaR-style: no sets": replace(STYLE, sets=NONE),
    "near-lite + NeaR-style: neighbour sets, filtered": replace(STYLE, filter_labels=True),
}


@dataclass(frozen=True)
class Scores:
    """One method on one test set, all in [0, 1]."""

    cacc: float
    sacc: float
    exact: float
    labels: int


def score(predicted: Sequence[str], truth: Sequence[Truth], sentence: SentenceEncoder, *, labels: int) -> Scores:
    """cACC by normalised name, sACC with accepted names, accuracy with accepted names."""
    return Scores(
        cacc=clustering_accuracy(predicted, truth),
        sacc=float(semantic_accuracy(predicted, truth, sentence)),
        exact=synonym_accuracy(predicted, truth),
        labels=labels,
    )


def best_names(classifier: Classifier, features: np.ndarray) -> list[str]:
    """The most probable name of each image, without the "unknown" answer: every image is scored."""
    return [classifier.names[j] for j in classifier.logits(features).argmax(axis=1)]


def run_variants(
    support: np.ndarray,
    named: Sequence[NamedImage],
    test: np.ndarray,
    truth: Sequence[Truth],
    encoder: DualEncoder,
    sentence: SentenceEncoder,
    *,
    seed: int,
    variants: Mapping[str, FitSettings] = VARIANTS,
) -> dict[str, Scores]:
    """Zero-shot with the same names, then every variant: support (N, D) or (N, V, D), test (T, D), unit norm."""
    space, _ = label_space(named)
    zero_shot = zero_shot_classifier(encoder, space.names)
    found = {"zero-shot, MLLM's names": score(best_names(zero_shot, test), truth, sentence, labels=len(space.names))}
    for name, settings in variants.items():
        classifier = fit_classifier(support, named, encoder, settings, seed=seed).classifier
        found[name] = score(best_names(classifier, test), truth, sentence, labels=len(classifier.names))
    return found


def interval(values: Iterable[float]) -> str:
    """Mean over seeds with its 95 % t interval, in per cent."""
    array = 100 * np.asarray(list(values), dtype=float)
    if len(array) < 2:
        return f"{array.mean():.1f}"
    half = stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return f"{array.mean():.1f} ± {half:.1f}"


def difference(runs: Sequence[Mapping[str, Scores]], first: str, second: str, figure: str) -> str:
    """Mean paired difference first - second over seeds with its 95 % t interval, in points."""
    return interval(getattr(run[first], figure) - getattr(run[second], figure) for run in runs)


def table(runs: Sequence[Mapping[str, Scores]], calls: Mapping[str, str]) -> list[str]:
    """Markdown rows: one method a row, mean ± half of the 95 % t interval over seeds."""
    lines = ["| method | cACC | sACC | accuracy | names | MLLM calls |", "|---|---|---|---|---|---|"]
    for method in runs[0]:
        cells = [interval(getattr(run[method], figure) for run in runs) for figure in ("cacc", "sacc", "exact")]
        names = f"{np.mean([run[method].labels for run in runs]):.0f}"
        lines.append(f"| {method} | {' | '.join(cells)} | {names} | {calls.get(method, calls[''])} |")
    return lines


def write_section(file: Path, name: str, lines: Sequence[str]) -> None:
    """Replace the part of ``file`` between the markers of ``name``, or add it at the end."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = file.read_text(encoding="utf-8") if file.exists() else "# Results\n"
    section = "\n".join([begin, *lines, end])
    if begin in text:
        text = text[: text.index(begin)] + section + text[text.index(end) + len(end) :]
    else:
        text = text.rstrip("\n") + "\n\n" + section + "\n"
    write_text(file, text)
