"""``fgvr predict``: classify images with a fitted run, locally."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out_bytes, out_json, show_set_aside, tally
from fgvr.cli.fit_shared import read_summary
from fgvr.cli.inputs import first_items, load_dual_encoder
from fgvr.cli.label import stop_reason
from fgvr.cli.tables import money, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgvr.types import ImageItem, Prediction, SetAside, Usage

Run = Annotated[Path, typer.Argument(help="Run folder of a finished fit, or a saved classifier.", show_default=False)]
Encoder = Annotated[str | None, typer.Option("--encoder", help="Where the encoder lies, if it was moved.")]
Mllm = Annotated[
    str | None, typer.Option("--mllm", help="RAR: where the MLLM lies, if not where the fit said; none asks none.")
]


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
    mllm: Mllm = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    json_wanted: o.Json = False,
) -> None:
    """Classify images with a fitted run.

    Each gets a name, a probability and a top-k, or an honest "unknown". NeaR and student runs classify locally, RAR
    runs ask their MLLM where retrieval is in doubt. JSON Lines on standard output; with --out a file, and what was set
    aside in FILE.set_aside.jsonl.
    """
    from fgvr.data import format_predictions, load_items, write_predictions
    from fgvr.data.exports import EXPORT_SUFFIXES
    from fgvr.errors import InputError
    from fgvr.mllm import load_prices
    from fgvr.runs import write_text

    if out_file is not None and out_file.suffix.lower() not in EXPORT_SUFFIXES:
        # Before the work, not after it.
        raise InputError("unknown kind of file", remedy=f"End it in {', '.join(EXPORT_SUFFIXES)}.", out=out_file)
    found = first_items(load_items(images, split=split), limit)
    asking: dict[str, Any] = {
        "budget": budget,
        "allow_unpriced": allow_unpriced,
        "concurrency": concurrency,
        "prices": load_prices(prices) if prices else None,
        "retry_failed": retry_failed,
    }
    done = recognise_run(
        run, found.items, top_k=top_k, encoder=encoder, mllm=mllm, cache=cache, device=device, asking=asking
    )
    predictions, aside = done.predictions, (*found.set_aside, *done.set_aside)
    if out_file is not None:
        write_predictions(out_file, predictions)
        listing = "".join(json.dumps(asdict(one)) + "\n" for one in aside)
        write_text(out_file.with_name(f"{out_file.name}.set_aside.jsonl"), listing)
    elif not json_wanted:
        out_bytes(format_predictions(predictions))
    show_set_aside(aside)
    summary = {**_summary(predictions, aside, out_file), **_account(done)}
    if json_wanted:
        out_json(summary)
    else:
        unknown = percent(summary["unknown"] / max(1, summary["predicted"]))
        where = f" -> {out_file}" if out_file else ""
        note(f"{summary['predicted']} images classified, {unknown} unknown{where}")
        _note_asked(done)
    if not predictions:
        raise typer.Exit(1)
    if done.stopped == "budget":
        raise typer.Exit(3)


@dataclass(frozen=True)
class Done:
    """Predictions of a run, and what they took."""

    predictions: Sequence[Prediction]
    set_aside: tuple[SetAside, ...]
    asked: int = 0
    """Images put before an MLLM; 0 for runs that need none."""
    unanswered: int = 0
    stopped: str | None = None
    reused: int = 0
    usage: Usage | None = None


def recognise_run(
    run: Path,
    items: Sequence[ImageItem],
    *,
    top_k: int = 5,
    encoder: str | None = None,
    mllm: str | None = None,
    cache: Path | None = None,
    device: str = "auto",
    asking: dict[str, Any] | None = None,
) -> Done:
    """Predictions of a run, of whichever method. Features are kept for the next time.

    ``mllm``: instead of the run's own; ``none`` asks none. Raises ``InputError`` where the run's method asks no MLLM.
    """
    from fgvr.errors import InputError

    if is_rar(run):
        from fgvr.cli.predict_rar import recognise

        return recognise(
            run, items, top_k=top_k, encoder=encoder, mllm=mllm, cache=cache, device=device, **asking or {}
        )
    if mllm is not None:
        raise InputError("this run asks no MLLM", remedy="Leave --mllm out.", run=str(run))
    return Done(*predict_locally(run, items, top_k=top_k, encoder=encoder, cache=cache, device=device))


def is_rar(run: Path) -> bool:
    """Whether a folder holds a RAR fit: what ``RAR.save`` wrote, or its run folder, finished or not."""
    from fgvr.errors import RunError
    from fgvr.runs import read_manifest

    if (run / "rar.json").exists():
        return True
    try:
        settings = read_manifest(run)["settings"]
    except RunError:
        return False
    return isinstance(settings, dict) and settings.get("method") == "rar"


def predict_locally(
    run: Path,
    items: Sequence[ImageItem],
    *,
    top_k: int = 5,
    encoder: str | None = None,
    cache: Path | None = None,
    device: str = "auto",
) -> tuple[list[Prediction], tuple[SetAside, ...]]:
    """Predictions of a classifier that asks no MLLM, NeaR's or a student's, and what could not be read."""
    from fgvr.methods.near import NeaR
    from fgvr.methods.student import Student, is_student

    method: type[NeaR | Student] = Student if is_student(run) else NeaR
    classifier = method.load(run).classifier
    assert classifier is not None
    dtype = stored_dtype(run)
    loaded = load_dual_encoder(encoder or classifier.encoder, device=device, dtype=dtype)
    with Progress() as progress:
        ready = method.load(run, encoder=loaded)
        ready.progress = progress
        return ready.predict_items(items, top_k=top_k, store=store_of(run, cache))


def stored_dtype(run: Path) -> str:
    """The encoder's precision in a run's fit."""
    return str(((read_summary(run) or {}).get("encoder") or {}).get("dtype", "float32"))


def store_of(run: Path, cache: Path | None) -> Path | None:
    """Where features of predicted images are kept: the shared cache, or the run; nowhere for a bare classifier."""
    if cache is not None:
        return cache / "features"
    return run / "features" if (run / "manifest.json").exists() else None


def _account(done: Done) -> dict[str, Any]:
    """What asking took, JSON-like; empty where nothing was asked."""
    if done.usage is None:
        return {}
    told = {"asked": done.asked, "unanswered": done.unanswered, "stopped": done.stopped, "reused": done.reused}
    return {**told, "usage": asdict(done.usage)}


def _note_asked(done: Done) -> None:
    if done.usage is None:
        return
    share = percent(done.asked / max(1, len(done.predictions)))
    note(
        f"the MLLM was asked about {done.asked} of them ({share}); {done.usage.calls} calls now, "
        f"{done.reused} answers known before, {done.unanswered} unusable; cost now {money(done.usage.cost)}"
    )
    if done.stopped:
        note(f"stopped early: {stop_reason(done.stopped)}; the rest was named by retrieval alone")


def _summary(predictions: Sequence[Prediction], aside: Sequence[SetAside], file: Path | None) -> dict[str, Any]:
    return {
        "predicted": len(predictions),
        "unknown": sum(prediction.unknown for prediction in predictions),
        "names": dict(Counter(prediction.name for prediction in predictions).most_common()),
        "set_aside": tally(aside),
        "out": None if file is None else str(file),
    }
