"""``fgvr evaluate``: predictions against true names, under one honest protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import note, out, out_json
from fgvr.cli.fit_shared import read_summary
from fgvr.cli.inputs import load_sentences
from fgvr.cli.predict import Done, Encoder, Mllm, is_rar, recognise_run
from fgvr.cli.scoring import (
    Aligned,
    align,
    curves,
    leaked,
    pool_hashes,
    read_accepted,
    refuse_leaks,
    score,
    support_hashes,
)
from fgvr.cli.tables import pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fgvr.metrics import Evaluation
    from fgvr.types import ImageItem


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="File of fgvr predict, or a run folder (of label or fit).", show_default=False)
    ],
    images: Annotated[
        str | None,
        typer.Argument(help="Labelled images: one folder per class, or a manifest.", show_default=False),
    ] = None,
    split: o.Split = None,
    sentence_encoder: o.SentenceEncoderName = None,
    accepted: Annotated[
        Path | None, typer.Option(help='JSON of further right names: {"true name": ["synonym", ...]}.')
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score what was answered; coverage tells the rest.")
    ] = False,
    unknown: Annotated[
        o.Unknown, typer.Option(help='Score the best name behind "unknown", or take it as unanswered.')
    ] = o.Unknown.best,
    support: Annotated[Path | None, typer.Option(help="Run whose support images must not be scored.")] = None,
    allow_leaks: Annotated[bool, typer.Option("--allow-leaks", help="Score support images too, and say so.")] = False,
    exclude_support: Annotated[
        bool, typer.Option("--exclude-support", help="Leave the support images out of the evaluation.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap behind the intervals.")] = 1000,
    encoder: Encoder = None,
    mllm: Mllm = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
    out_file: Annotated[Path | None, typer.Option("--out", help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Score predictions against true names, with intervals.

    A run folder of a fit classifies the images first; a RAR run asks its MLLM, within --budget. Unanswered items are
    never scored as wrong.
    """
    from fgvr.mllm import load_prices
    from fgvr.runs import write_json

    asking = {
        "budget": budget,
        "allow_unpriced": allow_unpriced,
        "prices": load_prices(prices) if prices else None,
    }
    items = _labelled(predictions, images, split)
    source = support if support is not None or not _is_fit(predictions) else predictions
    items, lines = _without_leaks(items, source, allow=allow_leaks, exclude=exclude_support)
    further = read_accepted(accepted) if accepted else None
    done = _predicted(predictions, items, encoder=encoder, mllm=mllm, device=device, asking=asking)
    lines = [*lines, *_asked(done)]
    aligned = align(done.predictions, items, unknown=unknown)
    result = score(
        aligned,
        sentence_encoder=load_sentences(sentence_encoder),
        accepted=further,
        allow_missing=allow_missing,
        seed=seed,
        resamples=resamples,
    )
    summary = summarised(result, aligned, lines=lines, source=source, split=split, unknown=unknown)
    if out_file is not None:
        write_json(out_file, summary)
    if _is_fit(predictions):
        write_json(predictions / "evaluation.json", {**summary, **curves(aligned, result)})
    if json_wanted:
        out_json(summary)
    else:
        out(pairs(result.rows()))
        for line in summary["protocol"]:
            note(f"- {line}")
    if done.stopped == "budget":
        raise typer.Exit(3)


def summarised(
    result: Evaluation, aligned: Aligned, *, lines: list[str], source: Path | None, split: str | None, unknown: str
) -> dict[str, Any]:
    """The evaluation as JSON-like values, its protocol completed by what the command line knows."""
    treated = {"best": "their best name is scored where they have one", "missing": "they count as unanswered"}[
        str(unknown)
    ]
    protocol = [*lines, f"split: {split or 'all images given'}"]
    if aligned.unknown:
        protocol.append(f'{aligned.unknown} items were answered "unknown"; {treated}')
    if aligned.unlabelled:
        protocol.append(f"{aligned.unlabelled} images without a true name were left out")
    if aligned.extra:
        protocol.append(f"{aligned.extra} predictions are about other images and were left out")
    run = None if source is None else read_summary(source)
    if run is not None:
        protocol.append(f"encoder {run['encoder']['name']} ({run['encoder']['fingerprint'][:12]}), seed {run['seed']}")
    plain = result.as_dict()
    return {**plain, "unknown": aligned.unknown, "protocol": [*result.protocol, *protocol]}


def _is_fit(place: Path) -> bool:
    return (place / "classifier").is_dir() or is_rar(place)


def _labelled(predictions: Path, images: str | None, split: str | None) -> tuple[ImageItem, ...]:
    from fgvr.data import load_items
    from fgvr.errors import InputError
    from fgvr.runs import read_manifest

    if images is None:
        recorded = read_manifest(predictions)["recorded"].get("images") if predictions.is_dir() else None
        if recorded is None:
            remedy = "Add the folder or manifest of labelled images as second argument."
            raise InputError("the true names are missing", remedy=remedy, predictions=str(predictions))
        images = str(recorded)
    return load_items(images, split=split).items


def _without_leaks(
    items: tuple[ImageItem, ...], source: Path | None, *, allow: bool, exclude: bool
) -> tuple[tuple[ImageItem, ...], list[str]]:
    """The items to score, and what the protocol must say about the support set."""
    if source is None:
        return items, ["not checked for support images (no --support given)"]
    shared = leaked(items, support_hashes(source))
    seen = _seen(items, source, shared)
    if exclude:
        left = tuple(item for item in items if item.id not in shared)
        return left, [f"{len(shared)} support images left out", *seen]
    if not allow:
        refuse_leaks(shared, images=len(items))
    scored = f"{len(shared)} images of the support set are scored: optimistic" if shared else "no support image scored"
    return items, [scored, *seen]


def _seen(items: tuple[ImageItem, ...], source: Path, shared: Mapping[str, str]) -> list[str]:
    """What the protocol says about images a student has learned from without their names."""
    if not (pool := pool_hashes(source)):
        return []
    seen = leaked(items, dict.fromkeys(pool, "")).keys() - shared.keys()
    return [f"{len(seen)} further images were in the pool the student learned from, without a name"]


def _predicted(
    place: Path,
    items: tuple[ImageItem, ...],
    *,
    encoder: str | None,
    mllm: str | None,
    device: str,
    asking: dict[str, Any],
) -> Done:
    """The predictions of a file, or of a fit that classifies the images now."""
    from fgvr.cli.console import show_set_aside
    from fgvr.data import read_predictions

    if _is_fit(place):
        labelled = [item for item in items if item.label is not None] or list(items)
        done = recognise_run(place, labelled, encoder=encoder, mllm=mllm, device=device, asking=asking)
        show_set_aside(done.set_aside)
        return done
    return Done(read_predictions(place / "predictions.jsonl" if place.is_dir() else place), ())


def _asked(done: Done) -> list[str]:
    """What the protocol says about an MLLM that was asked now."""
    if done.usage is None:
        return []
    lost = f"; {done.unanswered} of them have no answer and are named by retrieval alone" if done.unanswered else ""
    stopped = " (the spending cap stopped the questions)" if done.stopped == "budget" else ""
    return [f"the MLLM was asked about {done.asked} of {len(done.predictions)} images{lost}{stopped}"]
