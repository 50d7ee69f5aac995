"""``fgvr doctor --run RUN``: is the run folder whole, and does this machine give the features the run was made with?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.cli.doctor_check import Check
from fgvr.cli.inputs import load_dual_encoder

TOLERANCES = {"float64": 1e-3, "float32": 1e-3, "bfloat16": 2e-2, "float16": 1e-2}
"""Largest difference of one number of a unit vector, by the dtype of the run: other machines and batches stay far
below it, another resize filter, image or model far above."""
PICTURES = 8
AGAIN = "Repeat the command of the run: it goes on from what is whole."


def run_checks(run: Path | None, encoder: str | None, device: str) -> Iterator[Check]:
    """Manifest, finished stages, ledgers, and features of a few support images."""
    if run is None:
        return
    from fgvr.runs import read_manifest

    manifest = read_manifest(run)
    sessions = len(manifest["sessions"])
    yield Check("run", "ok", f"{run}: {manifest['settings'].get('method', 'labels')}, {sessions} session(s)")
    yield from _stages(run)
    yield from _ledgers(run)
    if (run / "classifier").is_dir():
        yield from _features(run, encoder, device)


def _stages(run: Path) -> Iterator[Check]:
    """Every file of a finished stage is what it was when the stage ended."""
    markers = sorted((run / "stages").glob("*.json"))
    if not markers:
        yield Check("stages", "warn", "no stage is finished", AGAIN)
    for marker in markers:
        name = f"stage {marker.stem}"
        try:
            outputs = json.loads(marker.read_bytes())["outputs"]
            damaged = [file for file, digest in outputs.items() if _digest(run / file) != digest]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            yield Check(name, "fail", f"its marker cannot be read: {error!r}", AGAIN)
            continue
        if damaged:
            yield Check(name, "fail", f"missing or changed since: {', '.join(damaged)}", AGAIN)
        else:
            yield Check(name, "ok", f"{len(outputs)} files as they were written")


def _digest(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def _ledgers(run: Path) -> Iterator[Check]:
    """Lines that no reader can use: the items they were about are asked about again."""
    from fgvr.runs import Ledger

    for file in sorted(run.glob("*.jsonl")):
        ledger = Ledger(file)
        whole = len(ledger.records())
        torn = not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
        if ledger.skipped or torn:
            found = f"{whole} lines, {ledger.skipped} damaged{', the last one torn' if torn else ''}"
            yield Check(f"ledger {file.name}", "warn", found, f"What they held is lost; the rest is kept. {AGAIN}")
        else:
            yield Check(f"ledger {file.name}", "ok", f"{whole} lines")


def _features(run: Path, encoder: str | None, device: str) -> Iterator[Check]:
    """A few support images encoded again, against the features the classifier was fitted on."""
    from fgvr.cli.fit_shared import read_summary
    from fgvr.methods.near.classifier import Classifier

    classifier = Classifier.load(run / "classifier")
    yield Check("classifier", "ok", f"{len(classifier.names)} names, encoder {classifier.encoder}")
    dtype = str(((read_summary(run) or {}).get("encoder") or {}).get("dtype", "float32"))
    loaded: Any = load_dual_encoder(encoder or classifier.encoder, device=device, dtype=dtype)
    if loaded.fingerprint != classifier.fingerprint:
        remedy = "Give the encoder of the run with --encoder: same weights, same preprocessing, same dtype."
        yield Check("run features", "fail", f"{loaded.name} is not the encoder the run was fitted with", remedy)
        return
    rows = _support_rows(run)
    if classifier.support is None or len(classifier.support) != len(rows):
        yield Check("run features", "warn", "the run keeps no support features to compare with", AGAIN)
        return
    yield _compared(classifier.support, rows, loaded, TOLERANCES.get(dtype, TOLERANCES["float32"]))


def _support_rows(run: Path) -> list[dict[str, Any]]:
    from fgvr.runs import Ledger

    return Ledger(run / "support.jsonl").records()


def _compared(support: np.ndarray, rows: list[dict[str, Any]], encoder: Any, tolerance: float) -> Check:
    from fgvr.images import decode_or_set_aside
    from fgvr.types import ImageItem, SetAside

    pictures, expected = [], []
    for index, row in enumerate(rows):
        outcome = decode_or_set_aside(ImageItem(str(row["item"]), Path(row["path"])), side=encoder.image_size)
        if not isinstance(outcome, SetAside) and outcome.sha256 == row["sha256"]:
            pictures.append(outcome.image)
            expected.append(support[index])
        if len(pictures) == PICTURES:
            break
    if not pictures:
        remedy = "Put the photographs back where they were, unchanged, to compare; predicting needs none of them."
        return Check("run features", "warn", "none of the run's support images is where it was", remedy)
    difference = float(np.abs(encoder.encode_images(pictures) - np.stack(expected)).max())
    found = f"{len(pictures)} support images differ by {difference:.1e} from the run's (tolerance {tolerance:.0e})"
    if difference <= tolerance:
        return Check("run features", "ok", found)
    remedy = "Install the versions of torch, transformers and Pillow the manifest names, or fit again on this machine."
    return Check("run features", "fail", found, remedy)
