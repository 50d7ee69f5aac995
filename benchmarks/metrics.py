"""Metrics on many predictions: all figures of ``evaluate`` with 1,000 bootstrap resamples.

Protocol: N predictions over 5,000 names, 60 % right, 20 % a near miss, 20 % anything (seed 0), probabilities and a
top-5 for each. The sentence encoder (all-MiniLM-L6-v2) embeds each distinct name once; sACC is timed apart, since it is
that model's speed. One process, one call a row, median of three.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from benchmarks.common import in_turn, table, write_section
from fgvr.metrics import evaluate

NAMES = 5_000
FAMILIES = ("warbler", "sparrow", "beetle", "orchid", "snapper", "skipper", "finch", "tern", "lily", "wrasse")
SYLLABLES = ("ba", "ko", "ri", "tu", "sel", "mar", "win", "dor", "fen", "gal")


@dataclass(frozen=True)
class Predictions:
    """What ``evaluate`` takes."""

    predicted: list[str]
    true: list[str]
    probabilities: np.ndarray
    top: list[list[str]]


def predictions(count: int) -> Predictions:
    """N seeded predictions over ``NAMES`` names."""
    rng = np.random.default_rng(0)
    names = [f"{''.join(rng.choice(SYLLABLES, 3)).capitalize()} {rng.choice(FAMILIES)} {i}" for i in range(NAMES)]
    true = rng.integers(NAMES, size=count)
    kind = rng.random(count)
    miss = np.where(kind < 0.8, (true + rng.integers(1, 4, size=count)) % NAMES, rng.integers(NAMES, size=count))
    said = np.where(kind < 0.6, true, miss)
    probability = np.clip(np.where(said == true, 0.7, 0.4) + 0.2 * rng.standard_normal(count), 0, 1)
    top = np.stack([said, *((true + step) % NAMES for step in range(4))], axis=1)
    return Predictions(
        [names[i] for i in said], [names[i] for i in true], probability, [[names[i] for i in row] for row in top]
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    quick = parser.parse_args().quick
    from fgvr.encoders.sentence import load_sentence_encoder

    rows = []
    for count in (1_000, 10_000) if quick else (1_000, 10_000, 100_000):
        given = predictions(count)

        def figures(given: Predictions = given) -> None:
            evaluate(given.predicted, given.true, probabilities=given.probabilities, top=given.top)

        def semantic(given: Predictions = given) -> None:
            evaluate(given.predicted, given.true, sentence_encoder=load_sentence_encoder("minilm"), resamples=0)

        times = in_turn({"all": figures}, repeats=3)
        with_semantic = in_turn({"sacc": semantic}, repeats=1, warmup=0)["sacc"]
        rows.append((f"{count:,}", f"{len(set(given.predicted)):,}", times["all"], f"{with_semantic.median:.3g} s"))
    header = ("predictions", "distinct names said", "all figures but sACC", "sACC: embedding the names")
    body = f"{(__doc__ or '').split('Protocol: ')[1]}\n{table(header, rows)}"
    print(body)
    if not quick:
        write_section("metrics", "Metrics", body)


if __name__ == "__main__":
    main()
