"""Real recorded MLLM labels on real CLIP ViT-B/16 features of the same 1,965 images: what do they hold?

    python scripts/recorded_labels.py --shared DIR [--out docs/results_recorded.md]

Label-space quality, coverage of candidate sets against random sets, and a text-free classifier on held-out images.
``DIR`` (or ``$FGVR_SHARED``) holds the recorded replies and feature files, which are not part of this repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from recorded.heldout import differences, held_out
from recorded.material import RECORDINGS, MaterialError, load_recording
from recorded.neighbours import coverage_at, label_scores, neighbours
from recorded.page import Findings, page
from recorded.quality import mentioned, quality, shifted

SIZES = (1, 3, 5)


def measure(shared: Path, *, draws: int, runs: int, resamples: int, seed: int) -> Findings:
    """All figures of all recordings."""
    from fgvr.encoders.sentence import load_sentence_encoder

    encoder = load_sentence_encoder("minilm")
    found = Findings(encoder.name, draws, runs, resamples, seed)
    for dataset, recorder, title in RECORDINGS:
        started = time.perf_counter()
        recording = load_recording(shared, dataset, recorder, title)
        found.models[title] = (recording.model, len(recording.images), len(recording.class_names))
        for reading in ("authors", "ours"):
            found.quality.append(quality(recording, encoder, reading=reading, resamples=resamples, seed=seed))
        found.mentioned[title] = mentioned(recording)
        found.shifts[title] = shifted(recording, encoder)
        labels, pairs = label_scores(recording, encoder)
        for k in SIZES:
            found.coverage.append(
                coverage_at(recording, labels, pairs, k=k, draws=draws, resamples=resamples, seed=seed)
            )
        found.neighbours.append(neighbours(recording, labels, pairs[0]))
        methods = held_out(recording, encoder, runs=runs, resamples=resamples, seed=seed)
        found.methods.extend(methods)
        for key in ("sacc", "accepted"):
            found.differences[title, key] = differences(
                methods, recording.classes, key=key, resamples=resamples, seed=seed
            )
        print(f"{title}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=os.environ.get("FGVR_SHARED"), help="folder of the material")
    parser.add_argument("--out", type=Path, default=Path("docs/results_recorded.md"))
    parser.add_argument("--draws", type=int, default=20, help="draws of random sets for coverage")
    parser.add_argument("--runs", type=int, default=5, help="draws of random sets for the classifier")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.shared is None:
        parser.error("give --shared DIR or set FGVR_SHARED")
    try:
        found = measure(
            Path(given.shared), draws=given.draws, runs=given.runs, resamples=given.resamples, seed=given.seed
        )
    except MaterialError as error:
        print(f"recorded_labels: {error}", file=sys.stderr)
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
