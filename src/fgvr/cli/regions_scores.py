"""The second verb of ``fgvr regions``: COCO results against annotations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import note, out, out_json, show_set_aside, tally
from fgvr.cli.tables import count, percent, table

if TYPE_CHECKING:
    from fgvr.data.boxes import Boxes
    from fgvr.metrics.detection import AveragePrecision, Detections, Objects

SIZES = {"all": "AP", "small": "AP_s", "medium": "AP_m", "large": "AP_l"}


def evaluate(
    annotations: Annotated[Path, typer.Argument(help="Annotation JSON with the true classes.", show_default=False)],
    results: Annotated[
        Path, typer.Argument(help="COCO results JSON, or a run folder of fgvr regions predict.", show_default=False)
    ],
    federated: Annotated[
        bool | None,
        typer.Option("--federated/--not-federated", help="LVIS's rules; by default where the file has LVIS's lists."),
    ] = None,
    max_detections: Annotated[int, typer.Option(min=1, help="Detections that count a picture.")] = 300,
    json_wanted: o.Json = False,
    out_file: Annotated[Path | None, typer.Option("--out", help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Score named boxes: average precision, top-1 and top-5, by size and frequency.

    The boxes are given, so a detection is right when its class is that of exactly its box.
    """
    from fgvr.data.boxes import read_boxes
    from fgvr.data.boxes_results import read_results
    from fgvr.runs import write_json

    boxes = read_boxes(annotations)
    found, bad = read_results(results / "results.json" if results.is_dir() else results, boxes)
    lvis = any(picture.negative or picture.not_exhaustive for picture in boxes.pictures.values())
    summary = scored(boxes, found, federated=lvis if federated is None else federated, max_detections=max_detections)
    aside = (*boxes.set_aside, *bad)
    summary["set_aside"] = tally(aside)
    show_set_aside(aside)
    if out_file is not None:
        write_json(out_file, summary)
    if json_wanted:
        out_json(summary)
        return
    show(summary)


def scored(boxes: Boxes, found: Detections, *, federated: bool, max_detections: int) -> dict[str, Any]:
    """All figures, shares in [0, 1], ``None`` where there is nothing to measure; JSON-like."""
    from fgvr.data.boxes_results import federation_of, objects_of
    from fgvr.metrics.detection import average_precision
    from fgvr.metrics.detection_accuracy import accuracy_by_group, coverage, true_ranks

    objects = objects_of(boxes)
    result = average_precision(
        objects,
        found,
        categories=[category.id for category in boxes.categories],
        federation=federation_of(boxes) if federated else None,
        max_detections=max_detections,
    )
    frequency = {category.id: category.frequency for category in boxes.categories if category.frequency}
    ranks = true_ranks(objects, found)
    groups = accuracy_by_group(ranks, objects, frequency=frequency)
    by_frequency = result.by_frequency(frequency) if frequency else {}
    return {
        "AP": {SIZES[size]: _number(result.mean(size)) for size in SIZES}
        | {f"AP_{letter}": _number(value) for letter, value in by_frequency.items()},
        "accuracy": {
            name: {
                "boxes": group.boxes,
                "classes": group.classes,
                **{f"top_{k}": _number(value) for k, value in group.micro.items()},
                **{f"top_{k}_macro": _number(value) for k, value in group.macro.items()},
            }
            for name, group in groups.items()
        },
        "coverage": coverage(ranks, objects),
        "protocol": protocol(objects, result, federated=federated, max_detections=max_detections),
    }


def protocol(objects: Objects, result: AveragePrecision, *, federated: bool, max_detections: int) -> list[str]:
    """What a reader must know to compare the figures."""
    boxes = int((~objects.crowd).sum())
    lines = [
        f"{count(boxes)} given boxes, {count(int((result.objects > 0).sum()))} of {count(len(result.objects))} classes "
        f"present, {count(result.used)} detections used",
        "AP with given boxes: a detection is right when its class is that of exactly its box (COCO's AP at IoU 1); "
        f"101-point interpolation, the {max_detections} best detections of a picture",
        "federated as LVIS: classes nobody looked for in a picture are left out; flatters rare classes"
        if federated
        else "not federated: every class is taken as known in every picture",
        "accuracy over answered boxes; macro: mean over classes; boxes without detections count as missed in AP",
    ]
    if result.unmatched_boxes:
        lines.append(f"{count(result.unmatched_boxes)} detections are about boxes that were not given: wrong")
    return lines


def show(summary: dict[str, Any]) -> None:
    """Two tables on standard output, the protocol on standard error."""
    out(table(("average precision", "%"), [(name, _shown(value)) for name, value in summary["AP"].items()]))
    out("")
    columns = ("top_1", "top_5", "top_1_macro", "top_5_macro")
    rows = [
        (name, count(group["boxes"]), count(group["classes"]), *(_shown(group[column]) for column in columns))
        for name, group in summary["accuracy"].items()
    ]
    out(table(("boxes", "number", "classes", "top-1", "top-5", "macro top-1", "macro top-5"), rows))
    note(f"coverage {percent(summary['coverage'])}")
    for line in summary["protocol"]:
        note(f"- {line}")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
