"""``fgvr predict``: classify images with a fitted run, locally."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out_bytes, out_json, show_set_aside, tally
from fgvr.cli.fit import read_summary
from fgvr.cli.inputs import first_items, load_dual_encoder
from fgvr.cli.tables import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgvr.types import ImageItem, Prediction, SetAside

Run = Annotated[Path, typer.Argument(help="Run folder of a finished fit, or a saved classifier.", show_default=False)]
Encoder = Annotated[str | None, typer.Option("--encoder", help="Where the encoder lies, if it was moved.")]


def predict(
    run: Run,
    images: o.Images,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="FILE.jsonl, .csv or .parquet instead of standard output.")
    ] = None,
    top_k: o.TopK = 5,
    split: o.Split = None,
    limit: o.Limit = None,
    encoder: Encoder = None,
    cache: o.Cache = None,
    device: o.Device = "auto",
    json_wanted: o.Json = False,
) -> None:
    """Classify images with a fitted run, locally.

    Each gets a name, a probability and a top-k, or an honest "unknown".
    JSON Lines on standard output; with --out a file, and what was set aside in FILE.set_aside.jsonl.
    """
    from fgvr.data import format_predictions, load_items, write_predictions
    from fgvr.data.exports import EXPORT_SUFFIXES
    from fgvr.errors import InputError
    from fgvr.runs import write_text

    if out_file is not None and out_file.suffix.lower() not in EXPORT_SUFFIXES:
        # Before the work, not after it.
        raise InputError("unknown kind of file", remedy=f"End it in {', '.join(EXPORT_SUFFIXES)}.", out=out_file)
    found = first_items(load_items(images, split=split), limit)
    predictions, bad = predict_run(run, found.items, top_k=top_k, encoder=encoder, cache=cache, device=device)
    aside = (*found.set_aside, *bad)
    if out_file is not None:
        write_predictions(out_file, predictions)
        listing = "".join(json.dumps(asdict(one)) + "\n" for one in aside)
        write_text(out_file.with_name(f"{out_file.name}.set_aside.jsonl"), listing)
    elif not json_wanted:
        out_bytes(format_predictions(predictions))
    show_set_aside(aside)
    summary = _summary(predictions, aside, out_file)
    if json_wanted:
        out_json(summary)
    else:
        unknown = percent(summary["unknown"] / max(1, summary["predicted"]))
        where = f" -> {out_file}" if out_file else ""
        note(f"{summary['predicted']} images classified, {unknown} unknown{where}")
    if not predictions:
        raise typer.Exit(1)


def predict_run(
    run: Path,
    items: Sequence[ImageItem],
    *,
    top_k: int = 5,
    encoder: str | None = None,
    cache: Path | None = None,
    device: str = "auto",
) -> tuple[list[Prediction], tuple[SetAside, ...]]:
    """Predictions of a run's classifier, and what could not be read. Features are kept for the next time."""
    from fgvr.methods.near import NeaR

    estimator = NeaR.load(run)
    classifier = estimator.classifier
    assert classifier is not None
    dtype = ((read_summary(run) or {}).get("encoder") or {}).get("dtype", "float32")
    loaded = load_dual_encoder(encoder or classifier.encoder, device=device, dtype=dtype)
    if cache is not None:
        store: Path | None = cache / "features"
    else:
        store = run / "features" if (run / "manifest.json").exists() else None
    with Progress() as progress:
        ready = NeaR(loaded, classifier=classifier, progress=progress)
        return ready.predict_items(items, top_k=top_k, store=store)


def _summary(predictions: Sequence[Prediction], aside: Sequence[SetAside], file: Path | None) -> dict[str, Any]:
    return {
        "predicted": len(predictions),
        "unknown": sum(prediction.unknown for prediction in predictions),
        "names": dict(Counter(prediction.name for prediction in predictions).most_common()),
        "set_aside": tally(aside),
        "out": None if file is None else str(file),
    }
