"""``fgvr regions``: name the boxes of detection images, and score the names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable, show_set_aside, tally
from fgvr.cli.inputs import load_dual_encoder, load_model, start_afresh
from fgvr.cli.label import show_estimate, stop_reason
from fgvr.cli.regions_scores import evaluate
from fgvr.cli.tables import count, money, pairs

if TYPE_CHECKING:
    from fgvr.data.boxes import Boxes
    from fgvr.encoders.base import DualEncoder
    from fgvr.methods.rar.regions_pipeline import Recognised, RegionSettings
    from fgvr.mllm.base import Mllm
    from fgvr.runs import RunFolder
    from fgvr.types import ImageItem, SetAside

LEDGER, RESULTS = "ledger", "results.json"

app = typer.Typer(help="Boxes of detection images.", no_args_is_help=True, rich_markup_mode=None)


app.command("evaluate")(evaluate)


class Scores(StrEnum):
    """What ranking does to scores."""

    fused = "fused"
    rank_consistent = "rank-consistent"


Annotations = Annotated[
    Path, typer.Argument(help="Annotation JSON as COCO, LVIS or V3Det have it.", show_default=False)
]


@app.callback()
def _verbs() -> None:
    """Name the boxes of detection images (COCO, LVIS, V3Det), and score the names."""


@app.command("predict")
def predict(
    annotations: Annotations,
    images: Annotated[Path, typer.Argument(help="The folder that its file names start in.", show_default=False)],
    encoder: o.EncoderName,
    out_folder: o.Out,
    names: Annotated[
        Path | None, typer.Option("--names", help='Other classes: one name a line, or "id TAB name".')
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", help="Text of a class, with {} for its name; several are averaged."),
    ] = None,
    small: Annotated[float | None, typer.Option(help="Crop scale of boxes below 32 x 32 pixels; 2.6.")] = None,
    medium: Annotated[float | None, typer.Option(help="Of boxes below 96 x 96 pixels; 1.6.")] = None,
    large: Annotated[float | None, typer.Option(help="Of larger boxes; 1.0.")] = None,
    blur: Annotated[
        float | None, typer.Option(help="Blur around the box: sigma in sides of the window, 0 for none; 0.03.")
    ] = None,
    most_classes: Annotated[
        int, typer.Option(min=1, help="Classes a box at most; 300 a picture bound them, too.")
    ] = 300,
    mllm: o.MllmMaybe = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Likeliest classes that the MLLM ranks.")] = 5,
    mode: Annotated[o.RankMode, typer.Option(help="Score the candidates, or have a list written.")] = o.RankMode.score,
    score: Annotated[o.RankAsk, typer.Option(help="What is scored.")] = o.RankAsk.names,
    permutations: Annotated[
        int, typer.Option(min=1, help="Rotations of a list of options, averaged against order bias.")
    ] = 1,
    scores: Annotated[
        Scores | None,
        typer.Option(help="Fuse (where scored), or let ranking move classes under fixed scores.", show_default=False),
    ] = None,
    weight: Annotated[
        float | None, typer.Option(min=0, help="Of the MLLM in the fusion, instead of learning it from agreement.")
    ] = None,
    ask: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the boxes to ask about, the least certain ones.")
    ] = 1.0,
    shown_side: Annotated[int, typer.Option(min=16, help="Side of the crops that the MLLM sees, in pixels.")] = 224,
    budget: o.BudgetCap = None,
    allow_unpriced: o.AllowUnpriced = False,
    prices: o.Prices = None,
    dry_run: o.DryRun = False,
    concurrency: o.Concurrency = 8,
    retry_failed: o.RetryFailed = False,
    force: o.Force = False,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    json_wanted: o.Json = False,
) -> None:
    """Name given boxes: crop, compare with the class names, rank with an MLLM where one is given.

    Writes RUN/results.json (COCO results with every box's likeliest classes), set_aside.json and summary.json.
    """
    from fgvr.data.boxes import locate, read_boxes, read_names
    from fgvr.methods.rar.rank import RankSettings
    from fgvr.methods.rar.regions import TEMPLATES
    from fgvr.methods.rar.regions_pipeline import RegionSettings
    from fgvr.methods.rar.regions_rank import RegionRankSettings
    from fgvr.mllm import load_prices
    from fgvr.regions import CropPolicy

    said: dict[str, Any] = {"small": small, "medium": medium, "large": large, "blur_sigma": blur}
    way = scores or (Scores.fused if mode is o.RankMode.score else Scores.rank_consistent)
    boxes = read_boxes(annotations, categories=read_names(names) if names else ())
    pictures, missing = locate(boxes, images)
    settings = RegionSettings(
        policy=replace(CropPolicy(side=shown_side), **{key: value for key, value in said.items() if value is not None}),
        k=k,
        scores=RegionRankSettings(scores=way.value, weight=weight, ask=ask),
        ranking=RankSettings(mode=mode.value, ask=score.value, permutations=permutations),
        most_classes=most_classes,
        templates=tuple(template) if template else TEMPLATES,
    )
    model = None if mllm is None else load_model(mllm, device=device)
    asking = {"concurrency": concurrency, "prices": load_prices(prices) if prices else None}
    if dry_run:
        _show_plan(boxes, pictures, model, settings, asking, json_wanted=json_wanted)
        return
    if force and (aside := start_afresh(out_folder)):
        note(f"the old run was moved to {printable(aside)}")
    summary = run_regions(
        boxes,
        pictures,
        load_dual_encoder(encoder, device=device, dtype=dtype),
        model,
        settings,
        out_folder,
        annotations=annotations,
        aside=(*boxes.set_aside, *missing),
        budget=budget,
        cache=cache,
        asking={**asking, "retry_failed": retry_failed, "allow_unpriced": allow_unpriced},
    )
    if json_wanted:
        out_json(summary)
    else:
        note(_shown(summary))
        out(summary["results"])
    if summary["stopped"] == "budget":
        raise typer.Exit(3)


def run_regions(
    boxes: Boxes,
    pictures: dict[int, ImageItem],
    encoder: DualEncoder,
    model: Mllm | None,
    settings: RegionSettings,
    folder: Path,
    *,
    annotations: Path,
    aside: Sequence[SetAside],
    budget: float | None,
    cache: Path | None,
    asking: dict[str, Any],
) -> dict[str, Any]:
    """Recognise in a run folder and write its files; returns the summary (JSON-like)."""
    from fgvr.images import content_hash
    from fgvr.methods.rar.regions_pipeline import recognise_regions
    from fgvr.mllm import Budget, ResponseCache, spent_in
    from fgvr.runs import RunFolder

    facts = {
        "method": "rar regions",
        "annotations": content_hash(annotations),
        "classes": [[category.id, category.name] for category in boxes.categories],
        "encoder": {"name": encoder.name, "fingerprint": encoder.fingerprint},
        "mllm": None if model is None else {"name": model.name, "revision": model.revision},
        **settings.to_dict(),
    }
    with RunFolder.create_or_resume(folder, settings=facts, command="regions predict") as run, Progress() as progress:
        ledger = run.ledger(LEDGER)
        replies = None if cache is None or model is None else ResponseCache(cache / "replies.sqlite")
        try:
            found = recognise_regions(
                boxes,
                pictures,
                encoder,
                model,
                settings=settings,
                crop_folder=folder / "crops",
                store=(cache or folder) / "features",
                progress=progress,
                ledger=ledger,
                cache=replies,
                budget=None if budget is None else Budget(budget, spent=spent_in(ledger)),
                **asking,
            )
        finally:
            if replies is not None:
                replies.close()
        left = (*aside, *found.set_aside)
        summary = _summary(found, left, folder, spent_in(ledger))
        _write(run, found, left, summary)
    show_set_aside(left)
    return summary


def _write(run: RunFolder, found: Recognised, aside: Sequence[SetAside], summary: dict[str, Any]) -> None:
    from fgvr.data.boxes_results import write_results
    from fgvr.runs import write_json

    write_results(run.path / RESULTS, found.results)
    write_json(run.path / "set_aside.json", [asdict(one) for one in aside])
    write_json(run.path / "summary.json", summary)
    run.record(boxes=summary["boxes"], usage=summary["usage"])


def _summary(found: Recognised, aside: Sequence[SetAside], folder: Path, spent: float) -> dict[str, Any]:
    from fgvr.types import Usage

    ranked = found.ranked
    answers = None if ranked is None else ranked.ranked.answers
    statuses = Counter(one.status for one in ranked.ranked.rankings) if ranked is not None else Counter()
    return {
        "boxes": len(found.results.boxes),
        "pictures": len({box.image for box in found.results.boxes}),
        "detections": len(found.results),
        "asked": 0 if ranked is None else int(ranked.asked.sum()),
        "weight": None if ranked is None or ranked.weight is None else asdict(ranked.weight),
        "statuses": dict(sorted(statuses.items())),
        "failed": 0 if answers is None else len(answers.failures),
        "why_failed": {} if answers is None else dict(Counter(answers.failures.values()).most_common(5)),
        "not_asked": 0 if answers is None else len(answers.not_asked),
        "stopped": None if answers is None else answers.stopped,
        "reused": 0 if answers is None else answers.reused,
        "usage": asdict(Usage() if answers is None else answers.usage),
        "spent_in_run": spent,
        "set_aside": tally(aside),
        "results": str(folder / RESULTS),
    }


def _shown(summary: dict[str, Any]) -> str:
    usage = summary["usage"]
    rows = [
        ("boxes", f"{count(summary['boxes'])} of {count(summary['pictures'])} pictures"),
        ("detections", count(summary["detections"])),
    ]
    if summary["asked"]:
        statuses = ", ".join(f"{status} {number}" for status, number in summary["statuses"].items())
        rows += [
            ("ranked", f"{count(summary['asked'])} ({statuses})"),
            ("weight of the MLLM", _weight(summary["weight"])),
            ("calls now", f"{count(usage['calls'])} (and {count(summary['reused'])} answers known before)"),
            ("cost now", money(usage["cost"])),
            ("spent in this run", money(summary["spent_in_run"])),
        ]
    if summary["failed"]:
        why = "; ".join(f"{printable(text)} ({number})" for text, number in summary["why_failed"].items())
        rows.append(("failed", f"{summary['failed']}: {why}. --retry-failed asks again."))
    if summary["not_asked"]:
        rows.append(("not asked", f"{summary['not_asked']}: {stop_reason(summary['stopped'])}"))
    return pairs(rows)


def _show_plan(
    boxes: Boxes,
    pictures: dict[int, ImageItem],
    model: Mllm | None,
    settings: RegionSettings,
    asking: dict[str, Any],
    *,
    json_wanted: bool,
) -> None:
    """What ranking would take: at most so many calls. Nothing is decoded, so what is known already is not counted."""
    from fgvr.methods.rar.regions_pipeline import likely_requests
    from fgvr.mllm import estimate
    from fgvr.mllm.base import BY_ITEM

    requests = likely_requests(boxes, pictures, settings) if model is not None else []
    each = 0.0 if model is None or model.preprocessing == BY_ITEM else 2.0
    if model is None:
        out(f"{len(boxes.boxes)} boxes of {len(pictures)} pictures; without --mllm nothing is asked")
        return
    show_estimate((estimate(requests, model, seconds_per_call=each, **asking), 0), json_wanted=json_wanted)


def _weight(weight: dict[str, Any] | None) -> str:
    if weight is None:
        return "its order is taken as it is"
    return f"{weight['weight']:.2f}" + (f" ({weight['note']})" if weight["note"] else "")
