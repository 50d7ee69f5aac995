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
    from fgvr.report.data import Disagreement, NameCurve, UnnamedGroup

Rows = Sequence[Mapping[str, Any]]
STAGES = {"teacher": "as given", "merged": "after merging", "kept": "after dropping"}
"""Of the size curve, in words."""
HEADS = {
    "zero-shot": "the names' texts alone",
    "prototypes": "the mean image of each name",
    "em": "the mean image of each name, where every image of the collection counts for the names it may have",
    "gaussian": "a Gaussian for each name",
    "residual": "a learned correction of the mean images",
    "cache": "the nearest named images",
    "prompt": "a learned prompt",
}
"""What each head goes by, in words."""
LABELS_A_NAME = 3
"""With fewer named images a name, groups without a name are mostly false alarms (drawn species and pets, development
pools): at 2.5 labels a name 20 of 20 groups were of labelled classes when none was hidden, at 4.6 there was no group at
all; with a tenth of the classes hidden from the teacher 14 of 20 were new at 1.4, 16 of 20 at 2.4, 17 of 18 at 4.4."""


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
        unnamed=[_group(one) for one in groups],
        unnamed_note=_groups_note(groups, support, classifier),
        learned=_learned(support, pool, classifier),
        curves=_curves(classifier),
        disagreements=_disagreements(support, pool),
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
    differs = len(_disagreements(support, pool))
    return [
        ("asked about", f"{len(support):,} of {len(pool):,} ({percent(len(support) / max(1, len(pool)))})"),
        *([("second opinions", str(notes["asked_again"]))] if notes["asked_again"] else []),
        *([("named by you", str(notes["given"]))] if notes.get("given") else []),
        ("names merged", str(len(notes["merged"]))),
        ("names dropped", str(len(notes["removed"]))),
        ("student disagrees with the MLLM", f"{differs} of {len(support)}"),
    ]


def _beside(support: Rows, pool: Rows) -> list[dict[str, Any]]:
    """Pool rows of asked images with the label the teacher's reply has."""
    labels = {row["item"]: row["label"] for row in support}
    return [{**row, "label": labels[row["item"]]} for row in pool if row["item"] in labels]


def _disagreements(support: Rows, pool: Rows) -> list[Disagreement]:
    """Asked images that the student calls something else than the label they have, its surest first."""
    from fgvr.report.data import Disagreement

    found = [
        Disagreement(str(row["item"]), str(row["label"]), str(row["top"][0][0]), float(row["top"][0][1]))
        for row in _beside(support, pool)
        if row["label"] is not None and row.get("given") is None and row["top"][0][0] != row["label"]
    ]
    return sorted(found, key=lambda one: -one.probability)


def _curves(classifier: Mapping[str, Any]) -> list[NameCurve]:
    from fgvr.report.data import NameCurve

    stages = classifier["notes"]["label_space"]["curve"]["stages"]
    return [
        NameCurve(
            STAGES.get(str(one["stage"]), str(one["stage"])),
            int(one["names"]),
            int(one["images"]),
            float(one["unseen"]),
            float(one["coverage"]),
            tuple((float(size), float(names)) for size, names in one["points"]),
        )
        for one in stages
    ]


def _learned(support: Rows, pool: Rows, classifier: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The student's account of itself, in words."""
    notes = classifier["notes"]
    named = sum(row["status"] == "named" for row in support)
    merged, removed = len(notes["merged"]), len(notes["removed"])
    rows = [
        ("Asked", f"{len(support):,} of {len(pool):,} images were put before the MLLM; {named:,} of them got a name."),
        (
            "Names",
            f"{len(classifier['names'])} are left: {merged} were merged into others and {removed} dropped "
            "(see the label space above for which, and why).",
        ),
        ("Heads", _heads_told(notes["heads"])),
        ("Self-training", _rounds_told(notes["self_training"])),
    ]
    if notes.get("given"):
        rows.insert(1, ("You", f"{notes['given']} images have names that you gave; they count as certain."))
    if notes["asked_again"]:
        rows.append(("Second opinions", f"{notes['asked_again']} images were asked about twice."))
    return rows


def _heads_told(shares: Mapping[str, float]) -> str:
    used = sorted(shares.items(), key=lambda one: -one[1])
    told = "; ".join(f"{name} {percent(share)} ({HEADS.get(name.split(',')[0], 'another')})" for name, share in used)
    return f"Tried on replies that were held out, and weighed by them: {told}."


def _rounds_told(account: Mapping[str, Any]) -> str:
    rounds = account["rounds"]
    done = max(0, len(rounds) - 1 - (account["stopped"] is not None))
    if not done and not account["stopped"]:
        return "Off: the student did not learn from its own names."
    times = {1: "once", 2: "twice"}.get(done, f"{done} times")
    told = f"The student learned {times} from its own names for images that nobody was asked about"
    return f"{told}; then it stopped: {account['stopped']}." if account["stopped"] else f"{told}."


def _groups_note(groups: Rows, support: Rows, classifier: Mapping[str, Any]) -> str:
    """A warning where there are so few labels that most things have none."""
    named = sum(row["status"] == "named" for row in support)
    if not groups or named >= LABELS_A_NAME * len(classifier["names"]):
        return ""
    return (
        f"There are only {named} named images for {len(classifier['names'])} names. With so few labels many of these "
        "groups are things that have a name already and only look different; the first ones are the likeliest to be "
        "new. More labels make the list shorter and truer."
    )


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
