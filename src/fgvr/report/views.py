"""From ``ReportData`` to what the template prints: every list bounded, every bound stated, every text cleaned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fgvr.report import charts, learned
from fgvr.report.data import CandidateExample, ReportData
from fgvr.report.sheet import ITEM_CHARACTERS, contact_sheet
from fgvr.report.thumbs import Thumbnails
from fgvr.report.unnamed import names_table, unnamed_groups
from fgvr.report.words import (
    figure,
    finite,
    integer,
    money,
    name_shown,
    parts_of,
    plural,
    probability,
    seconds,
    share,
    shown,
)
from fgvr.types import SetAside, Usage

ANSWERS_SHOWN = 200
ANSWER_PICTURES = 60
LABELS_SHOWN = 400
MERGED_SHOWN = 8
EXAMPLES_SHOWN = 12
NEIGHBOURS_SHOWN = 4
CANDIDATES_SHOWN = 8
REASONS_SHOWN = 200
ROWS_SHOWN = 80
WARNINGS_SHOWN = 50
METHODS_SHOWN = 24
TITLE_CHARACTERS = 160
SUMMARY_CHARACTERS = 600


@dataclass(frozen=True)
class Table:
    """Rows that are shown, and how many there are."""

    rows: Sequence[Any]
    total: int

    @property
    def hidden(self) -> int:
        """Rows that are counted but not shown."""
        return self.total - len(self.rows)


def page_of(data: ReportData, thumbs: Thumbnails, *, max_per_class: int) -> dict[str, Any]:
    """Everything the template needs; pictures of examples first, then of groups, of answers, then of the sheet."""
    examples = candidate_examples(data, thumbs)
    unnamed = unnamed_groups(data.unnamed, {**data.images, **data.support_images}, thumbs)
    disagreements = learned.disagreements(data.disagreements, {**data.images, **data.support_images}, thumbs)
    answers = answer_table(data, thumbs)
    sheet = contact_sheet(data.predictions, data.images, thumbs, max_per_class=max_per_class)
    return {
        "title": shown(data.title, TITLE_CHARACTERS) or "Report",
        "created": shown(data.created),
        "method": shown(data.method),
        "summary": shown(data.summary, SUMMARY_CHARACTERS),
        "key_figures": key_figures(data),
        "warnings": Table([shown(w) for w in data.warnings[:WARNINGS_SHOWN]], len(data.warnings)),
        "sheet": sheet,
        "predicted": len(data.predictions),
        "max_per_class": max_per_class,
        "comparison": comparison(data),
        "evaluation": [(shown(r.metric), figure(r.value), shown(r.protocol)) for r in data.evaluation[:ROWS_SHOWN]],
        "answers": answers,
        "label_space": label_table(data),
        "examples": Table(examples, len(data.candidates)),
        "unnamed": Table(unnamed, sum(bool(one.item_ids) for one in data.unnamed)),
        "unnamed_names": names_table(data.unnamed),
        "unnamed_note": shown(data.unnamed_note, SUMMARY_CHARACTERS),
        "learned": learned.account(data.learned),
        "curves": learned.curves(data.curves),
        "disagreements": Table(disagreements, len(data.disagreements)),
        "training": training_charts(data),
        "honesty": honesty(data),
        "usage": usage_table(data),
        "set_aside": reasons(data.set_aside),
        "failures": reasons(data.failures),
        "doubtful": reasons(data.doubtful),
        "settings": _pairs(data.settings),
        "provenance": _pairs(data.provenance),
    }


def key_figures(data: ReportData) -> list[tuple[str, str, str]]:
    """(label, value, small print) for the header."""
    figures: list[tuple[str, str, str]] = []
    count = len(data.predictions)
    if count:
        unknown = sum(one.unknown for one in data.predictions)
        names = len({one.name for one in data.predictions if not one.unknown})
        figures.append(("images classified", integer(count), ""))
        figures.append(("names found", integer(names), f"of {integer(_kept(data))} possible" if _kept(data) else ""))
        figures.append(("unknown", share(unknown / count), plural(unknown, "image")))
    if data.answers:
        named = sum(answer.name is not None for answer in data.answers)
        figures.append(("support images", integer(len(data.answers)), f"{integer(named)} named by the MLLM"))
    if data.usage:
        total = _total(data)
        tokens = total.input_tokens + total.output_tokens
        figures.append(("MLLM calls", integer(total.calls), f"{integer(tokens)} tokens"))
        figures.append(("estimated cost", money(total.cost), "US dollars" if total.cost is not None else "no price"))
    if data.set_aside:
        figures.append(("left out", integer(len(data.set_aside)), "see the reasons below"))
    return figures + [(shown(label, 40), shown(value, 40), "") for label, value in data.counts[:8]]


def comparison(data: ReportData) -> dict[str, Any] | None:
    """Table and chart of the methods."""
    rows = data.comparison[:METHODS_SHOWN]
    if not rows:
        return None
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.accuracy))[:6]
    drawn = [(row, row.accuracy[metrics[0]]) for row in rows if metrics and metrics[0] in row.accuracy]
    bars = [(shown(row.method, 60), *parts_of(value), row.highlight) for row, value in drawn]
    bars = [bar for bar in bars if finite(bar[1])]
    chart = charts.interval_chart(bars, shown(metrics[0], 60)) if bars else None
    return {
        "metrics": [shown(metric, 60) for metric in metrics],
        "rows": [
            {
                "method": shown(row.method, 80),
                "highlight": row.highlight,
                "figures": [_sortable(row.accuracy.get(metric)) for metric in metrics],
                "calls": (integer(row.calls), row.calls),
                "tokens": (integer(row.tokens), row.tokens),
                "seconds": (seconds(row.seconds), row.seconds),
                "cost": (money(row.cost), row.cost),
                "note": shown(row.note),
            }
            for row in rows
        ],
        "notes": any(row.note for row in rows),
        "hidden": len(data.comparison) - len(rows),
        "chart": chart,
        "protocol": shown(data.comparison_protocol, SUMMARY_CHARACTERS),
    }


def answer_table(data: ReportData, thumbs: Thumbnails) -> Table:
    """What the MLLM said, one row per support image."""
    rows = []
    for number, one in enumerate(data.answers[:ANSWERS_SHOWN]):
        path = data.support_images.get(one.item_id)
        rows.append(
            {
                "item": shown(one.item_id, ITEM_CHARACTERS),
                "uri": thumbs.get(path) if number < ANSWER_PICTURES and path is not None else None,
                "name": name_shown(one.name) if one.name is not None else None,
                "scientific": name_shown(one.scientific) if one.scientific else "",
                "alternatives": ", ".join(name_shown(name) for name in one.alternatives[:4]),
                "confidence": probability(one.confidence) if one.confidence is not None else "",
                "status": shown(one.status, 40),
                "reply": shown(one.reply, 240),
            }
        )
    return Table(rows, len(data.answers))


def label_table(data: ReportData) -> Table:
    """The label space: what was merged into what, what was removed and why."""
    rows = []
    for row in sorted(data.label_space, key=lambda r: (bool(r.removed), -r.support))[:LABELS_SHOWN]:
        merged = [
            (name_shown(m.raw), shown(m.why, 40) + (f" {m.score:.2f}" if m.score is not None else ""))
            for m in row.merged[:MERGED_SHOWN]
        ]
        rows.append(
            {
                "name": name_shown(row.name),
                "support": row.support,
                "merged": merged,
                "more": len(row.merged) - len(merged),
                "removed": shown(row.removed, 160),
            }
        )
    return Table(rows, len(data.label_space))


def candidate_examples(data: ReportData, thumbs: Thumbnails) -> list[dict[str, Any]]:
    """Evenly spread examples; those with more than one candidate tell more and come first."""
    telling = [one for one in data.candidates if len(one.candidates) > 1] or list(data.candidates)
    step = max(1, len(telling) // EXAMPLES_SHOWN)
    return [_example(one, data.support_images, thumbs) for one in telling[::step][:EXAMPLES_SHOWN]]


def _example(one: CandidateExample, paths: Mapping[str, Path], thumbs: Thumbnails) -> dict[str, Any]:
    ranked = sorted(one.candidates, key=lambda pair: -pair[1] if finite(pair[1]) else 0.0)[:CANDIDATES_SHOWN]
    return {
        "item": shown(one.item_id, ITEM_CHARACTERS),
        "uri": thumbs.get(paths.get(one.item_id)),
        "own": name_shown(one.own_label) if one.own_label is not None else None,
        "neighbours": [
            (shown(n, ITEM_CHARACTERS), thumbs.get(paths.get(n))) for n in one.neighbours[:NEIGHBOURS_SHOWN]
        ],
        "candidates": [
            {
                "name": name_shown(name),
                "own": name == one.own_label,
                "percent": probability(weight),
                "width": f"{100 * min(1.0, max(0.0, weight)) if finite(weight) else 0:.1f}",
            }
            for name, weight in ranked
        ],
        "more": len(one.candidates) - len(ranked),
    }


def training_charts(data: ReportData) -> list[tuple[str, str, Markup]]:
    """(title, explanation, chart) of each curve that has points."""
    loss = [(float(p.epoch), p.loss) for p in data.trace]
    entropy = [(float(p.epoch), p.entropy) for p in data.trace if p.entropy is not None]
    agreement = [(float(p.epoch), p.agreement) for p in data.trace if p.agreement is not None]
    drawn = [
        ("Loss", "Partial-label loss per epoch.", charts.line_chart(loss, "Loss per epoch")),
        (
            "Undecidedness",
            "Entropy of the label weights in nats; near 0 every candidate set is decided.",
            charts.line_chart(entropy, "Entropy of the label weights per epoch"),
        ),
        (
            "Agreement",
            "Share of support images whose prediction lies in their own candidate set.",
            charts.line_chart(agreement, "Support agreement per epoch", unit=True),
        ),
    ]
    return [(title, words, chart) for title, words, chart in drawn if chart is not None]


def honesty(data: ReportData) -> list[tuple[str, str, Markup]]:
    """(title, explanation, chart): risk-coverage, the worth of asking, and reliability."""
    found = []
    curve = charts.line_chart(
        data.risk_coverage, "Risk (wrong among the answered) over coverage", height=260, unit=True, percent_x=True
    )
    if curve is not None:
        area = f" Area under the curve: {data.aurc:.3f}." if data.aurc is not None and finite(data.aurc) else ""
        words = "Left to right, more images are answered; the height is the share of wrong answers among them."
        found.append(("Risk and coverage", words + area, curve))
    asked = charts.line_chart(
        data.cascade, "Accuracy over the share of images asked about", height=260, percent_x=True, unit=True
    )
    if asked is not None:
        words = "Left to right, the MLLM is asked about more of the left-out memory images, those in doubt first; "
        found.append(("What asking is worth", words + "the height is the share named rightly.", asked))
    bins = charts.reliability_chart([(b.confidence, b.accuracy, b.count) for b in data.reliability])
    if bins is not None:
        error = data.calibration_error
        area = f" Expected calibration error: {100 * error:.1f} points." if error is not None and finite(error) else ""
        words = "Left to right, the stated probability; the height is how often it was right. Larger dots, more images."
        found.append(("Is the probability honest?", words + area, bins))
    return found


def usage_table(data: ReportData) -> dict[str, Any] | None:
    """Cost by stage, with a total."""
    if not data.usage:
        return None
    rows = [
        (shown(row.stage, 80), _usage_cells(row.usage, row.wall_seconds), shown(row.note))
        for row in data.usage[:ROWS_SHOWN]
    ]
    walls = [row.wall_seconds for row in data.usage if row.wall_seconds is not None]
    return {
        "rows": rows,
        "total": _usage_cells(_total(data), sum(walls) if walls else None),
        "notes": any(row.note for row in data.usage),
    }


def reasons(items: Sequence[SetAside]) -> dict[str, Any]:
    """Tally of reasons and the items themselves."""
    tally: dict[str, int] = {}
    for one in items:
        tally[one.reason] = tally.get(one.reason, 0) + 1
    ranked = sorted(tally.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [(shown(o.id, ITEM_CHARACTERS), shown(o.reason, 60), shown(o.detail, 160)) for o in items[:REASONS_SHOWN]]
    return {"tally": [(shown(r, 60), n) for r, n in ranked[:20]], "table": Table(rows, len(items))}


def _usage_cells(usage: Usage, wall: float | None) -> list[tuple[str, float | None]]:
    return [
        (integer(usage.calls), usage.calls),
        (integer(usage.input_tokens), usage.input_tokens),
        (integer(usage.output_tokens), usage.output_tokens),
        (seconds(usage.seconds), usage.seconds),
        (seconds(wall), wall),
        (money(usage.cost), usage.cost),
    ]


def _total(data: ReportData) -> Usage:
    return sum((row.usage for row in data.usage), Usage())


def _kept(data: ReportData) -> int:
    return sum(not row.removed for row in data.label_space)


def _sortable(value: Any) -> tuple[str, float | None]:
    middle = None if value is None else parts_of(value)[0]
    return figure(value), middle if finite(middle) else None


def _pairs(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(shown(label, 80), shown(value)) for label, value in rows[:ROWS_SHOWN]]
