"""Recipes and outcomes as rows of text: the same cells for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fgvr.reproduce.lines import Line
from fgvr.reproduce.planning import TITLES, Plan
from fgvr.reproduce.recipe import METRICS, READ, Recipe
from fgvr.reproduce.run import Outcome

LIST_HEADERS = ("recipe", "sACC", "cACC", "sIOU", "figures", "method", "row")
HEADERS = ("data set", "metric", "published", "ours", "difference", "ours, cars unshifted", "ours, accepted names", "")
_METRICS = {"sacc": "sACC", "cacc": "cACC", "siou": "sIOU"}
_SHORT_TITLES = {**TITLES, "mean": "mean"}


def list_rows(recipes: Iterable[Recipe]) -> list[list[str]]:
    """One row a recipe, under `LIST_HEADERS`: the mean over its data sets, in per cent, ``-`` where none is printed."""
    return [
        [
            recipe.name,
            *(_number(recipe.mean(metric)) for metric in METRICS),
            recipe.source.read,
            recipe.method or "-",
            f"{recipe.source.table}: {recipe.source.row}",
        ]
        for recipe in recipes
    ]


def line_rows(lines: Sequence[Line]) -> list[list[str]]:
    """One row a figure, under `HEADERS`, with the number of shots before the data set where there are several."""
    curve = len({line.shots for line in lines}) > 1
    return [[f"{line.shots} shots, {_place(line)}" if curve else _place(line), *_cells(line)] for line in lines]


def about(plan: Plan) -> list[str]:
    """What stands before the table: the source, what is missing, what differs, what is known to be wrong."""
    recipe = plan.recipe
    source = recipe.source
    read = READ[source.read] + (f" ({source.where})" if source.where else "")
    lines = [f"{recipe.title}: {source.paper}, {source.table}, row {source.row}; {read}"]
    lines += [f"missing: {one.what}. {one.remedy}" for one in plan.missing]
    lines += [f"differs: {text}" for text in plan.differs]
    lines += [
        f"the printed mean {_METRICS[one.metric]} {one.printed:.1f} is not the mean of the printed figures, "
        f"{one.computed:.1f}"
        for one in recipe.disagreements()
    ]
    return [*lines, *(f"known fault: {text}" for text in recipe.faults), *(f"note: {text}" for text in recipe.notes)]


def markdown(outcome: Outcome) -> str:
    """The outcome as a page."""
    recipe = outcome.plan.recipe
    rows = [HEADERS, ("---",) + ("--:",) * (len(HEADERS) - 2) + ("---",), *line_rows(outcome.lines)]
    table = "\n".join(f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows)
    notes = "\n".join(f"- {_plain(text)}" for text in about(outcome.plan))
    ran = [f"{row.collection}, seed {row.seed}: {row.status}, {row.answered} of {row.images} images named, "
           f"{row.usage.calls} calls, {row.seconds:.0f} s" + (f"; {row.error}" if row.error else "")
           for row in outcome.rows]  # fmt: skip
    runs = "\n".join(f"- {_plain(text)}" for text in ran)
    explained = (
        "Per cent. *ours*: scored as published, against the listed names, cars against the name of the class before; "
        "brackets: interval of one seed, range of several. *difference* in points, only where both are one measure."
    )
    return f"# {recipe.name}\n\n{table}\n\n{explained}\n\n{notes}\n\n## Runs\n\n{runs}\n"


def _place(line: Line) -> str:
    return _SHORT_TITLES.get(line.dataset, line.dataset)


def _cells(line: Line) -> list[str]:
    metric = _METRICS[line.metric] + (f" ({line.encoder})" if line.encoder else "")
    ours = _number(line.ours)
    if line.low is not None and line.high is not None:
        ours += f" [{line.low:.1f}, {line.high:.1f}]"
    difference = "" if line.difference is None else f"{line.difference:+.1f}"
    unshifted = "" if line.unshifted is None else f"{line.unshifted:.1f}"
    accepted = "" if line.accepted is None else f"{line.accepted:.1f}"
    return [metric, _number(line.published), ours, difference, unshifted, accepted, line.remark]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _plain(text: str) -> str:
    """Safe in a Markdown table: errors may hold anything."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
