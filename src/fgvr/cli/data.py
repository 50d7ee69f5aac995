"""``fgvr data check|export``: what a folder holds and what is wrong with it; a data set as a manifest."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable, show_set_aside, tally
from fgvr.cli.tables import count, pairs, table

if TYPE_CHECKING:
    from fgvr.data.benchmarks.base import Benchmark, Problem
    from fgvr.data.benchmarks.check import Report

app = typer.Typer(help="Look through photographs and published data sets.", no_args_is_help=True, rich_markup_mode=None)

SHOWN = 12
"""Corrected names that are listed."""


class Split(StrEnum):
    """Whose division into train, val and test."""

    official = "official"
    coop = "coop"


Name = Annotated[
    str | None, typer.Option("--name", help="Which data set this is (cub200, cars196, ...), instead of looking.")
]
Which = Annotated[Split, typer.Option("--split", help="Whose division into train, val and test.")]


@app.callback()
def _verbs() -> None:
    """Look through photographs and published data sets as distributed. Nothing is downloaded."""


@app.command("check")
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A data set as unpacked, a folder of images, or a manifest.")
    ],
    name: Name = None,
    split: Which = Split.official,
    hashes: Annotated[
        bool, typer.Option("--hashes/--no-hashes", help="Open every picture: unreadable files, same picture twice.")
    ] = True,
    support: Annotated[
        Path | None,
        typer.Option(help="Images a method starts from (manifest, list of names, folder): are any test images?"),
    ] = None,
    json_wanted: o.Json = False,
) -> None:
    """Say what is there, beside what should be there, and what is wrong.

    Exit code 1 when figures on this folder would not be those of the data set (a list or images missing or changed,
    test pictures among the training ones), 2 when it is neither a known data set nor a folder of images.
    """
    from fgvr.data.benchmarks.check import check as look
    from fgvr.data.benchmarks.support import read_support

    started = read_support(support) if support is not None else None
    with Progress() as progress:
        report = look(folder, name=name, split=split.value, hashes=hashes, support=started, progress=progress)
    if json_wanted:
        out_json(_summary(report))
    else:
        _show(report)
    if report.serious:
        raise typer.Exit(1)


@app.command("export")
def export(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE", help="A data set as unpacked, or a Hugging Face folder, Parquet file or hf:org/name."
        ),
    ],
    out_file: Annotated[
        Path, typer.Option("--out", help="JSONL manifest to write, in a folder above the pictures.", show_default=False)
    ],
    name: Name = None,
    split: Which = Split.official,
    part: Annotated[
        str | None, typer.Option("--part", help="Only this part: train, val or test.", show_default=False)
    ] = None,
    original_names: Annotated[
        bool, typer.Option("--original-names", help="The names published figures were computed with, errors and all.")
    ] = False,
    legacy_shift: Annotated[
        bool,
        typer.Option("--legacy-shift", help="Stanford Cars: test images under the class before, as in FineR's code."),
    ] = False,
) -> None:
    """Write a data set as a manifest that every other verb reads: image, label, accepted, split.

    Pictures inside Parquet files are taken out into a folder beside the manifest. Nothing is downloaded but what is
    written as hf:org/name.
    """
    from fgvr.data.benchmarks import recognise
    from fgvr.data.benchmarks.manifest import write_manifest
    from fgvr.data.hugging_face import load_hugging_face, looks_like

    if name is None and looks_like(place) and (":" in place or recognise(Path(place)) is None):
        found = load_hugging_face(place, out=out_file.parent / f"{out_file.stem}-pictures")
        items, title = found.items, "images"
        show_set_aside(found.set_aside)
    else:
        benchmark = _benchmark(Path(place), name, split.value, original_names, legacy_shift)
        items, title = benchmark.items, f"images of {benchmark.title}"
    written = write_manifest(out_file, items, part=part)
    classes = len({item.label for item in items if item.label is not None})
    out(f"{out_file}: {count(written)} {title} in {classes} classes")


def _benchmark(folder: Path, name: str | None, split: str, original_names: bool, legacy_shift: bool) -> Benchmark:
    from fgvr.data.benchmarks import cars, read_benchmark

    found = read_benchmark(folder, name=name, split=split, original_names=original_names)
    if legacy_shift:
        found = cars.legacy_shift(found)
        note(found.notes[-1])
    _show_problems(found.problems)
    show_set_aside(found.set_aside)
    return found


def _show(report: Report) -> None:
    facts = [("is", report.title if report.name is None else f"{report.title} ({report.name})")]
    facts.append(("folder", printable(report.root)))
    if report.name is not None:
        facts.append(("split", report.split))
    expected = report.expected_classes
    facts.append(("classes", count(report.classes) + _beside(report.classes, expected)))
    if not report.opened:
        facts.append(("pictures", "not opened"))
    out(pairs(facts))
    if report.splits:
        headers = ("split", "images", *(("expected",) if report.name else ()), "classes")
        rows = [
            (
                printable(row.split),
                count(row.images),
                *((count(row.expected or 0),) if report.name else ()),
                count(row.classes),
            )
            for row in report.splits
        ]
        out("\n" + table(headers, rows))
    if report.corrected:
        out("\n" + table(("corrected name", "in the original list"), [(b, a) for a, b in report.corrected[:SHOWN]]))
        if len(report.corrected) > SHOWN:
            out(f"... and {len(report.corrected) - SHOWN} more")
    for line in report.notes:
        out(("\n" if line is report.notes[0] else "") + line)
    _show_problems(report.problems)
    show_set_aside(report.set_aside)
    if not report.problems:
        note("nothing wrong" if report.opened else "nothing wrong with the lists; the pictures were not opened")


def _show_problems(problems: tuple[Problem, ...]) -> None:
    for problem in sorted(problems, key=lambda each: not each.serious):
        note(f"{'WRONG' if problem.serious else 'note'}: {problem.kind}: {printable(problem.detail)}")


def _beside(found: int, expected: int | None) -> str:
    return f" (expected {count(expected)})" if expected is not None and found != expected else ""


def _summary(report: Report) -> dict[str, Any]:
    return {
        "name": report.name,
        "title": report.title,
        "folder": str(report.root),
        "split": report.split,
        "splits": [
            {"split": row.split, "images": row.images, "expected": row.expected, "classes": row.classes}
            for row in report.splits
        ],
        "classes": report.classes,
        "expected_classes": report.expected_classes,
        "corrected": [{"original": a, "corrected": b} for a, b in report.corrected],
        "pictures_opened": report.opened,
        "problems": [{"kind": p.kind, "detail": p.detail, "serious": p.serious} for p in report.problems],
        "set_aside": tally(report.set_aside),
        "notes": list(report.notes),
        "ok": not report.serious,
    }
