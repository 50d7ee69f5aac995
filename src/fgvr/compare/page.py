"""The comparison as one offline HTML page: charts, tables, and the images that the methods dispute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fgvr.compare.cell import named
from fgvr.compare.differences import COMPARED, Difference, paired_by
from fgvr.compare.row import Row
from fgvr.compare.summary import Line
from fgvr.compare.table import HEADERS, HEADS, SHOWN, cells, difference_cells, partial
from fgvr.labels import normalise
from fgvr.report.charts import interval_chart, scatter_chart
from fgvr.report.render import rendered
from fgvr.report.thumbs import Thumbnails, decoded_thumbnail
from fgvr.report.words import name_shown, shown, slug
from fgvr.runs import write_text
from fgvr.types import ImageItem

CHARTED = ("cacc", "sacc", "synonym")
DISPUTED = 24
THUMBNAIL_BYTES = 1_500_000
THUMBNAIL_SIDE = 96


def write_page(
    folder: Path,
    rows: Sequence[Row],
    lines: Sequence[Line],
    compared: Sequence[Difference],
    protocol: Sequence[str],
    truth: Mapping[str, Sequence[ImageItem]],
) -> Path:
    """``page.html`` in the comparison's folder, written atomically."""
    path = folder / "page.html"
    write_text(path, page_of(folder, rows, lines, compared, protocol, truth))
    return path


def page_of(
    folder: Path,
    rows: Sequence[Row],
    lines: Sequence[Line],
    compared: Sequence[Difference],
    protocol: Sequence[str],
    truth: Mapping[str, Sequence[ImageItem]],
) -> str:
    """The page as text."""
    collections = list(dict.fromkeys(line.collection for line in lines))
    first = next(iter(truth), "")
    methods = [row for row in rows if row.collection == first and row.status == "done"]
    methods = [row for row in methods if row.seed == methods[0].seed] if methods else []
    template = files("fgvr.compare").joinpath("page.html.j2").read_text("utf-8")
    return rendered(
        template,
        summary=_summary(lines),
        headers=HEADERS,
        difference_headers=("method", *(HEADS[key] for key in COMPARED)),
        parts=[_part(name, i, lines, compared) for i, name in enumerate(collections)],
        failures=[(f"{line.title}, {line.collection}", shown(error)) for line in lines for error in line.errors],
        disputed=disputed(folder, methods, truth.get(first, ())),
        disputed_of=first,
        disputed_methods=[row.title for row in methods],
        protocol=[shown(line) for line in protocol],
    )


def _summary(lines: Sequence[Line]) -> str:
    methods, collections = {line.method for line in lines}, {line.collection for line in lines}
    words = f"{len(methods)} methods on the same images, encoder, MLLM and metrics"
    words += "." if len(collections) == 1 else f", {len(collections)} tables."
    for key in CHARTED:  # cACC alone would praise a method whose every name is wrong
        found = [(line.figures[key].value, line) for line in lines if line.whole and key in line.figures]
        if found:
            value, best = max(found, key=lambda pair: pair[0])
            words += f" Highest {HEADS[key]}: {best.title}, {100 * value:.1f} % ({best.collection})."
    return words


def _cacc(line: Line) -> float:
    return line.figures["cacc"].value


def _part(name: str, number: int, lines: Sequence[Line], compared: Sequence[Difference]) -> dict[str, Any]:
    here = [line for line in lines if line.collection == name]
    pairs = [one for one in compared if one.collection == name]
    costs = [
        (shown(line.title), float(max(1, line.usage.calls)), _cacc(line)) for line in here if "cacc" in line.figures
    ]
    return {
        "id": slug(name, number),
        "name": name_shown(name),
        "charts": [(HEADS[key], chart) for key in CHARTED if (chart := _chart(here, key)) is not None],
        "cost": scatter_chart(costs, "cACC of each method over the questions it asks; the table gives the figures"),
        "rows": [list(zip(cells(line), _sort_keys(line), strict=True)) for line in here],
        "partial": partial(here),
        "differences": [difference_cells(one) for one in pairs],
        "against": pairs[0].against if pairs else "",
        "paired": paired_by(pairs),
        "notes": [(line.title, shown(note)) for line in here for note in line.notes],
    }


def _chart(lines: Sequence[Line], key: str) -> Any:
    found = [(shown(line.title), line.figures[key]) for line in lines if key in line.figures]
    if not found:
        return None
    best = max(figure.value for _, figure in found)
    rows = [(title, one.value, one.low, one.high, one.value == best) for title, one in found]
    return interval_chart(rows, HEADS[key])


def _sort_keys(line: Line) -> list[float | None]:
    usage = line.usage
    figures = [line.figures[key].value if key in line.figures else None for key in SHOWN]
    known = [line.coverage, line.names, line.truth_covered, usage.calls, usage.input_tokens, usage.cost, line.seconds]
    return [None, *figures, *known]


def disputed(folder: Path, methods: Sequence[Row], truth: Sequence[ImageItem]) -> list[dict[str, Any]]:
    """The test images with the most different names, ties in the order of the images; none where all agree."""
    if len(methods) < 2:
        return []
    said = [named(folder, row) for row in methods]
    spread = [
        (len({normalise(one) for names in said if (one := names.get(item.id)) is not None}), item) for item in truth
    ]
    chosen = [item for count, item in sorted(spread, key=lambda pair: -pair[0])[:DISPUTED] if count > 1]
    pictures = Thumbnails(decoded_thumbnail(THUMBNAIL_SIDE), THUMBNAIL_BYTES)
    return [
        {
            "uri": pictures.get(item.path),
            "item": shown(item.id),
            "truth": name_shown(str(item.label)),
            "names": [_named(names.get(item.id), item) for names in said],
        }
        for item in chosen
    ]


def _named(name: str | None, item: ImageItem) -> tuple[str, bool]:
    if name is None:
        return "(no answer)", False
    right = {normalise(one) for one in (str(item.label), *item.accepted)}
    return name_shown(name), normalise(name) in right
