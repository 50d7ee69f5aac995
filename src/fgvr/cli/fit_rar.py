"""``fgvr fit rar``: a memory of a few labelled photographs, and what an MLLM's second opinion on them is worth."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, printable
from fgvr.cli.fit_rar_shown import show_plan, summary_of, words_of
from fgvr.cli.fit_shared import finish, read_summary
from fgvr.cli.inputs import first_items, load_dual_encoder, load_model, start_afresh
from fgvr.errors import BudgetError, InputError

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.methods.rar import RAR, RarSettings

Labelled = Annotated[
    str | None,
    typer.Argument(help="Labelled photographs: one folder per class, or a manifest with labels.", show_default=False),
]
NAMES_LIMIT = 2**24
"""Bytes of a file of class names."""


def rar(
    images: Labelled = None,
    *,
    out_folder: Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.")],
    encoder: o.EncoderName,
    mllm: o.MllmMaybe = None,
    names: Annotated[Path | None, typer.Option(help="File of further class names, one a line.")] = None,
    name_by_mllm: Annotated[
        bool, typer.Option("--name-by-mllm", help="The photographs have no labels; the MLLM names them first.")
    ] = False,
    split: o.Split = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Photographs kept a class, drawn by --seed.")] = None,
    preset: Annotated[o.RarPreset, typer.Option(help="As in the paper, as in its code, or better.")] = (
        o.RarPreset.default
    ),
    k: Annotated[int | None, typer.Option("--k", min=1, help="Candidates; 5, or 4 with four shots a class.")] = None,
    source: Annotated[o.MemorySource | None, typer.Option(help="Rows that candidates come from; fused.")] = None,
    mode: Annotated[o.RankMode | None, typer.Option(help="Score candidates, or have a list written; score.")] = None,
    score: Annotated[o.RankAsk | None, typer.Option(help="What is scored; by default what the MLLM can.")] = None,
    permutations: Annotated[
        int, typer.Option(min=1, help="Rotations of a list of options, averaged against order bias.")
    ] = 1,
    asking: Annotated[
        o.Asking | None, typer.Option("--ask", help="When the MLLM is asked; margin: where retrieval is in doubt.")
    ] = None,
    margin: Annotated[float | None, typer.Option(min=0, max=1, help="Doubt is p1 - p2 below this; learned.")] = None,
    calibration: Annotated[
        int | None, typer.Option(min=0, help="Photographs that teach what the MLLM is worth; 300, 2000 if it is local.")
    ] = None,
    weight: Annotated[float | None, typer.Option(min=0, help="Of the MLLM's word, instead of learning it.")] = None,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    limit: o.Limit = None,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    seed: o.Seed = 0,
    json_wanted: o.Json = False,
) -> None:
    """RAR: retrieve with a memory, rank with an MLLM.

    Keeps a few labelled photographs a class, or names alone, and learns what the MLLM's word is worth. Without --mllm
    it only retrieves. Later classes are added by fgvr memory add, without training.
    """
    from fgvr.methods.rar import RAR
    from fgvr.mllm import load_prices

    if images is None and names is None:
        raise InputError("there is nothing to remember", remedy="Give labelled photographs, or --names FILE, or both.")
    found = None if images is None else _shots(images, split, limit, None if name_by_mllm else shots, seed)
    settings = rar_settings(
        preset,
        source=source,
        mode=mode,
        score=score,
        permutations=permutations,
        asking=asking,
        margin=margin,
        calibration=calibration,
        weight=weight,
    )
    further = read_names(names) if names else ()
    model = None if mllm is None else load_model(mllm, device=device)
    if dry_run:
        show_plan(
            found,
            further,
            model,
            settings,
            name_by_mllm=name_by_mllm,
            json_wanted=json_wanted,
            prices=load_prices(prices) if prices else None,
            concurrency=concurrency,
        )
        return
    if force and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    with Progress() as progress:
        estimator = RAR(
            load_dual_encoder(encoder, device=device, dtype=dtype),
            model,
            settings=settings,
            k=k,
            out=out_folder,
            store=None if cache is None else cache / "features",
            cache=None if cache is None else cache / "replies.sqlite",
            budget=budget,
            allow_unpriced=allow_unpriced,
            concurrency=concurrency,
            prices=load_prices(prices) if prices else None,
            retry_failed=retry_failed,
            seed=seed,
            progress=progress,
        )
        summary = run_fit(
            estimator, found, names=further, name_by_mllm=name_by_mllm, source=images, mllm=mllm, dtype=dtype
        )
    finish(summary, words_of(summary), json_wanted=json_wanted)


def rar_settings(
    preset: str,
    *,
    source: str | None,
    mode: str | None,
    score: str | None,
    permutations: int,
    asking: str | None,
    margin: float | None,
    calibration: int | None,
    weight: float | None,
) -> RarSettings:
    """The options as the library's settings: a preset, and what was said beside it."""
    from fgvr.methods.rar import RarSettings
    from fgvr.methods.rar.pipeline import as_described, as_released

    made = {"as-described": as_described, "as-released": as_released}.get(str(preset), RarSettings)
    base: RarSettings = made()
    # Plain strings: the settings are digested and stored.
    said: dict[str, Any] = {"mode": mode and str(mode), "ask": score and str(score), "permutations": permutations}
    ranking = replace(base.ranking, **{key: value for key, value in said.items() if value is not None})
    retrieval = replace(base.retrieval, source=str(source)) if source else base.retrieval  # type: ignore[arg-type]
    given = {"asking": asking and str(asking), "margin": margin, "calibration": calibration, "weight": weight}
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return replace(base, ranking=ranking, retrieval=retrieval, **changed)


def read_names(file: Path) -> tuple[str, ...]:
    """Class names, one a line; empty lines and repeats do not count. Raises ``InputError``."""
    try:
        if file.stat().st_size > NAMES_LIMIT:
            raise InputError("the file of names is too large", remedy="One name a line, please.", file=str(file))
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the names cannot be read: {error}", remedy="Give a UTF-8 text file.", file=str(file)
        ) from error
    names = tuple(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    if not names:
        raise InputError("the file holds no name", remedy="Write one name a line.", file=str(file))
    return names


def _shots(images: str, split: str | None, limit: int | None, shots: int | None, seed: int) -> Items:
    from fgvr.data import load_items, per_class

    found = first_items(load_items(images, split=split), limit)
    if shots is None:
        return found
    labelled = [item for item in found.items if item.label is not None]
    rest = tuple(item for item in found.items if item.label is None)  # the fit says why they are left out
    return replace(found, items=(*per_class(labelled, shots, seed=seed)[0], *rest))


def run_fit(
    estimator: RAR,
    found: Items | None,
    *,
    names: tuple[str, ...],
    name_by_mllm: bool,
    source: str | None,
    mllm: str | None,
    dtype: str,
) -> dict[str, Any]:
    """Fit, or find the finished fit; write what the other verbs need; returns the summary (JSON-like)."""
    from fgvr.runs import write_json
    from fgvr.types import Usage

    assert estimator.out is not None
    again = estimator.asking["retry_failed"]
    if not again and estimator.is_finished(found, names=names, name_by_mllm=name_by_mllm):
        known = read_summary(estimator.out)
        if known is not None and not known.get("stopped"):
            return {**known, "reused": known["asked"], "usage": asdict(Usage()), "was_finished": True}
    try:
        estimator.fit(found, names=names, name_by_mllm=name_by_mllm)
    except InputError as error:
        _explain_cap(estimator, error)
        raise
    summary = summary_of(estimator, source=source, mllm=mllm, dtype=dtype)
    write_json(estimator.out / "summary.json", summary)
    return summary


def _explain_cap(estimator: RAR, error: InputError) -> None:
    """Photographs without a name because the cap allowed no call are the cap's doing, not the input's."""
    from fgvr.methods.rar.record import LEDGER
    from fgvr.runs import Ledger

    assert estimator.out is not None
    lines = Ledger(estimator.out / f"{LEDGER}.jsonl").records()
    if estimator.budget is not None and not any(line.get("status") in ("done", "failed") for line in lines):
        raise BudgetError(
            "the spending cap does not allow a single call", remedy="Raise --budget.", budget=estimator.budget
        ) from error
