"""A student's run as ``ReportData``: what the report page shows, read from the files that the run left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli import report_data as common
from fgvr.cli.tables import percent
from fgvr.types import Prediction

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.report import ReportData
    from fgvr.report.data import UnnamedGroup

Rows = Sequence[Mapping[str, Any]]


def gather(run: Path, *, predictions: Path | None = None, images: str | Path | Items | None = None) -> ReportData:
    """Everything the page can show about a student: without ``predictions``, its own collection under its names.

    Raises ``RunError`` when the fit is not finished.
    """
    from fgvr.metrics import ReliabilityBin
    from fgvr.report import ReportData
    from fgvr.runs import read_manifest

    manifest, classifier = read_manifest(run), common.classifier_of(run)
    support, pool = common.lines(run / "support.jsonl"), common.lines(run / "pool.jsonl")
    groups = common.read_json(run / "unknown_groups.json") or []
    given = common.predictions_of(run, predictions)
    answers = common.answers_of(support, run)
    evaluation = common.read_json(run / "evaluation.json") or {}
    return ReportData(
        title=f"Student: {run.resolve().name}",
        created=str(manifest["created"]),
        method="Student: learned from an MLLM's names for some photographs and from the sight of all",
        summary=_summary(support, pool, classifier),
        counts=_counts(support, pool, classifier),
        settings=common.flat(classifier["notes"]["settings"]),
        provenance=[*common.provenance(manifest, classifier), *_heads(classifier)],
        images=common.places(given, images) if given else _paths(pool),
        support_images={**_paths(support), **_group_paths(groups)},
        answers=answers,
        label_space=common.label_rows(classifier, support),
        candidates=common.candidates_of(support),
        unnamed=[_group(one) for one in groups],
        predictions=given or [_prediction(row) for row in pool],
        evaluation=common.evaluation_rows(evaluation),
        risk_coverage=[(float(c), float(r)) for c, r in evaluation.get("risk_coverage", [])],
        aurc=common.value_of(evaluation, "aurc"),
        reliability=[ReliabilityBin(**one) for one in evaluation.get("reliability", [])],
        calibration_error=common.value_of(evaluation, "ece"),
        usage=common.usage_of(run),
        set_aside=common.set_aside(run, predictions),
        failures=common.failures_of(run),
        doubtful=common.doubtful_of(answers),
        warnings=_warnings(support, manifest["recorded"], classifier),
    )


def _summary(support: Rows, pool: Rows, classifier: Mapping[str, Any]) -> str:
    notes = classifier["notes"]
    named = sum(row["status"] == "named" for row in support)
    about = f" of {notes['category']}" if notes.get("category") else ""
    again = f" and asked again about {notes['asked_again']}" if notes["asked_again"] else ""
    return (
        f"{notes['mllm']['name']} named {named} of {len(support)} photographs{about} it was asked about{again}; the "
        f"student learned {len(classifier['names'])} names from all {len(pool)} with "
        f"{Path(classifier['encoder']['name']).name}. New photographs need no further question."
    )


def _counts(support: Rows, pool: Rows, classifier: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = classifier["notes"]
    changed = sum(row["settled_on"] is not None and row["settled_on"] != row["label"] for row in support)
    differs = sum(
        row["asked"] and row["label"] is not None and row["top"][0][0] != row["label"] for row in _beside(support, pool)
    )
    return [
        ("asked about", percent(len(support) / max(1, len(pool)))),
        ("second opinions", str(notes["asked_again"])),
        ("names merged", str(len(notes["merged"]))),
        ("names dropped", str(len(notes["removed"]))),
        ("labels changed by evidence", str(changed)),
        ("asked images named otherwise", str(differs)),
    ]


def _beside(support: Rows, pool: Rows) -> list[dict[str, Any]]:
    """Pool rows of asked images with the label the teacher's reply has."""
    labels = {row["item"]: row["label"] for row in support}
    return [{**row, "label": labels[row["item"]]} for row in pool if row["item"] in labels]


def _heads(classifier: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = classifier["notes"]
    rounds = notes["self_training"]
    shares = ", ".join(f"{name} {percent(share)}" for name, share in notes["heads"].items())
    return [
        ("views averaged", str(1 + classifier["views"])),
        ("heads", shares),
        ("self-training", rounds["stopped"] or f"{max(0, len(rounds['rounds']) - 1)} rounds"),
    ]


def _paths(rows: Rows) -> dict[str, Path]:
    return {str(row["item"]): Path(row["path"]) for row in rows}


def _group(one: Mapping[str, Any]) -> UnnamedGroup:
    from fgvr.report.data import UnnamedGroup

    names = tuple((str(name), float(share)) for name, share in one["names"])
    return UnnamedGroup(tuple(map(str, one["items"])), names, float(one["distance"]), float(one["cohesion"]))


def _group_paths(groups: Rows) -> dict[str, Path]:
    return {item: Path(path) for one in groups for item, path in zip(one["items"], one["paths"], strict=True)}


def _prediction(row: Mapping[str, Any]) -> Prediction:
    top = tuple((str(name), float(chance)) for name, chance in row["top"])
    name = "unknown" if row["unknown"] else str(row["name"])
    return Prediction(str(row["item"]), name, float(row["probability"]), top, bool(row["unknown"]))


def _warnings(support: Rows, recorded: Mapping[str, Any], classifier: Mapping[str, Any]) -> list[str]:
    found = []
    unanswered = sum(row["status"] == "unanswered" for row in support)
    if recorded.get("stopped") == "budget":
        found.append(f"The spending cap stopped the questions: {unanswered} images were not named.")
    elif unanswered:
        found.append(f"{unanswered} images have no answer; they were learned from their neighbours only.")
    if classifier["calibration"]["source"] == "none":
        found.append(
            "Too few replies to hold some out: probabilities are not calibrated and nothing is called unknown."
        )
    return found
