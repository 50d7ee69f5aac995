"""A run folder as ``ReportData``: what the report page shows, read from the files that the run left behind."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import RunError

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.report import ReportData
    from fgvr.report.data import CandidateExample, ComparisonRow, EvaluationRow, LabelRow, StageUsage, TracePoint
    from fgvr.types import ImageItem, NamedImage, Prediction, SetAside

PREDICTIONS = "predictions.jsonl"


def gather(run: Path, *, predictions: Path | None = None, images: str | Path | Items | None = None) -> ReportData:
    """Everything the page can show about a fit.

    ``predictions``: a file of ``fgvr predict``; ``images``: where those images lie. Raises ``RunError`` when the folder
    holds no finished fit, ``InputError`` for predictions that cannot be read.
    """
    from fgvr.cli import report_rar, report_student
    from fgvr.cli.predict import is_rar
    from fgvr.methods.student import is_student
    from fgvr.metrics import ReliabilityBin
    from fgvr.report import ReportData
    from fgvr.runs import read_manifest

    if is_rar(run):
        return report_rar.gather(run, predictions=predictions, images=images)
    if is_student(run):
        return report_student.gather(run, predictions=predictions, images=images)
    manifest = read_manifest(run)
    classifier = classifier_of(run)
    support = lines(run / "support.jsonl")
    recorded, notes = manifest["recorded"], classifier["notes"]
    shown = predictions_of(run, predictions)
    answers = answers_of(support, run)
    evaluation = read_json(run / "evaluation.json") or {}
    return ReportData(
        title=f"NeaR: {run.resolve().name}",
        created=str(manifest["created"]),
        method=_method(classifier),
        summary=_summary(support, classifier, recorded),
        counts=_counts(support, classifier),
        settings=flat({"tuning": notes["tuning"], "sets": notes["settings"]["sets"], **_rest(notes["settings"])}),
        provenance=provenance(manifest, classifier),
        images=places(shown, images),
        support_images={str(row["item"]): Path(row["path"]) for row in support if "path" in row},
        answers=answers,
        label_space=label_rows(classifier, support),
        candidates=candidates_of(support),
        trace=_trace(notes["trace"]),
        predictions=shown,
        evaluation=evaluation_rows(evaluation),
        comparison=_comparison(read_json(run / "comparison.json") or []),
        comparison_protocol="; ".join(evaluation.get("protocol", [])),
        risk_coverage=[(float(c), float(r)) for c, r in evaluation.get("risk_coverage", [])],
        aurc=value_of(evaluation, "aurc"),
        reliability=[ReliabilityBin(**one) for one in evaluation.get("reliability", [])],
        calibration_error=value_of(evaluation, "ece"),
        usage=usage_of(run),
        set_aside=set_aside(run, predictions),
        failures=failures_of(run),
        doubtful=doubtful_of(answers),
        warnings=_warnings(support, recorded, classifier),
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def classifier_of(run: Path) -> dict[str, Any]:
    """The saved classifier's account of itself. Raises ``RunError`` for a fit that is not finished."""
    found = read_json(run / "classifier" / "classifier.json")
    if not isinstance(found, dict):
        raise RunError("the fit is not finished", remedy="Run fgvr fit again; it resumes.", run=str(run))
    return found


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def lines(file: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise RunError(f"the run is damaged: {error}", remedy="Run fgvr fit again.", file=str(file)) from error


def _ledgers(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Answer lines of the run's ledgers by who asked."""
    from fgvr.runs import Ledger

    files = {
        "label (support)": "labels.jsonl",
        "second opinions": "second.jsonl",
        "direct MLLM (comparison)": "direct.jsonl",
    }
    found = {stage: [*Ledger(run / file)] for stage, file in files.items() if (run / file).exists()}
    return {stage: [line for line in lines if line.get("kind") == "answer"] for stage, lines in found.items()}


def predictions_of(run: Path, file: Path | None) -> list[Prediction]:
    from fgvr.data import read_predictions

    if file is None and (run / PREDICTIONS).exists():
        file = run / PREDICTIONS
    return [] if file is None else read_predictions(file)


def places(predictions: Sequence[Prediction], images: str | Path | Items | None) -> dict[str, Path]:
    from fgvr.data import load_items

    if images is None or not predictions:
        return {}
    wanted = {prediction.item_id for prediction in predictions}
    items: Sequence[ImageItem] = load_items(images).items
    return {item.id: item.path for item in items if item.id in wanted}


# --- sections ---------------------------------------------------------------------------------------------------------


def _method(classifier: Mapping[str, Any]) -> str:
    tuning = classifier["notes"]["tuning"]
    if tuning["head"] == "lite":
        return "NeaR-lite (residual on the text features, no text tower)"
    stage = "NeaR-style second stage (a reconstruction)" if tuning["refine"] else "workshop method"
    return f"NeaR, {stage}"


def _summary(support: Sequence[Mapping[str, Any]], classifier: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    named = sum(row["status"] == "named" for row in support)
    about = f" of {classifier['notes']['category']}" if classifier["notes"].get("category") else ""
    model = classifier["notes"]["mllm"]["name"]
    return (
        f"{model} named {named} of {len(support)} photographs{about}; {len(classifier['names'])} names were learned "
        f"with {Path(classifier['encoder']['name']).name}. New photographs need no further question."
    )


def _counts(support: Sequence[Mapping[str, Any]], classifier: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = classifier["notes"]
    changed = sum(row["settled_on"] is not None and row["settled_on"] != row["label"] for row in support)
    return [
        ("names merged", str(len(notes["merged"]))),
        ("names removed", str(len(notes["removed"]) + len(notes["filtered"]))),
        ("support labels changed by neighbours", str(changed)),
    ]


def _rest(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("tuning", "sets")}


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", "off" if value is None else str(value)))
    return rows


def provenance(manifest: Mapping[str, Any], classifier: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it takes to make the run again."""
    notes, calibration = classifier["notes"], classifier["calibration"]
    return [
        ("encoder", f"{classifier['encoder']['name']} ({classifier['encoder']['fingerprint'][:16]})"),
        ("MLLM", f"{notes['mllm']['name']} ({notes['mllm']['revision']})"),
        ("seed", str(notes["seed"])),
        ("settings", manifest["settings_digest"][:16]),
        ("probabilities", f"temperature {calibration['temperature']:.3g}, from {calibration['source']}"),
        ("sessions", str(len(manifest["sessions"]))),
        *((name, found) for name, found in manifest["versions"].items() if found),
    ]


def answers_of(support: Sequence[Mapping[str, Any]], run: Path) -> list[NamedImage]:
    """The MLLM's answers about the support set, with their replies."""
    from fgvr.types import NamedImage

    replies = {
        str(line["item"]): line["answer"]
        for line in _ledgers(run).get("label (support)", [])
        if line["status"] == "done" and line["stage"] == "label"
    }
    drawn = {str(row["item"]): row.get("drawn") or [] for row in support}
    return [
        NamedImage(
            item_id=str(row["item"]),
            name=row["reply_name"],
            alternatives=tuple(str(name) for name, _ in drawn[str(row["item"])][1:]),
            confidence=next(
                (float(chance) for _, chance in drawn[str(row["item"])]),
                replies.get(str(row["item"]), {}).get("confidence"),
            ),
            status=str(row["status"]),
            reply=str(replies.get(str(row["item"]), {}).get("text", "")),
        )
        for row in support
    ]


def label_rows(classifier: Mapping[str, Any], support: Sequence[Mapping[str, Any]]) -> list[LabelRow]:
    """Every label with its raw names and support, then those that were removed and why."""
    from fgvr.report.data import LabelRow, MergedName

    notes = classifier["notes"]
    carried = Counter(row["label"] for row in support if row["label"] is not None)
    merged: dict[str, list[MergedName]] = {}
    for merge in notes["merged"]:
        one = MergedName(str(merge["raw"]), str(merge["why"]), merge.get("score"))
        merged.setdefault(str(merge["into"]), []).append(one)
    removed = {str(removal["name"]): str(removal["reason"]) for removal in notes["removed"]}
    removed |= {str(name): "no support image ended up with it" for name in notes["filtered"]}
    return [
        LabelRow(name, tuple(merged.get(name, ())), carried[name], removed.get(name, ""))
        for name in (*classifier["names"], *removed)
    ]


def candidates_of(support: Sequence[Mapping[str, Any]]) -> list[CandidateExample]:
    """Sets with several labels first: they are where neighbours had something to say."""
    from fgvr.report.data import CandidateExample

    ordered = sorted(support, key=lambda row: -len(row["candidates"]))
    return [
        CandidateExample(
            str(row["item"]),
            row["label"],
            tuple((str(name), float(weight)) for name, weight in row["candidates"]),
            tuple(map(str, row["neighbours"])),
        )
        for row in ordered
        if row["candidates"]
    ]


def _trace(epochs: Sequence[Mapping[str, Any]]) -> list[TracePoint]:
    from fgvr.report.data import TracePoint

    return [TracePoint(e["epoch"], e["loss"], e["weight_entropy"], e["agreement"]) for e in epochs]


def evaluation_rows(evaluation: Mapping[str, Any]) -> list[EvaluationRow]:
    from fgvr.metrics.evaluate import LABELS
    from fgvr.report.data import EvaluationRow

    if not evaluation:
        return []
    protocol = "; ".join(evaluation.get("protocol", []))
    head = EvaluationRow("answered", float(evaluation["coverage"]), protocol)
    figures = evaluation["figures"].items()
    return [head, *(EvaluationRow(LABELS.get(key, key), _interval(figure), "") for key, figure in figures)]


def value_of(evaluation: Mapping[str, Any], key: str) -> float | None:
    figure = evaluation.get("figures", {}).get(key)
    return None if figure is None else float(figure["value"])


def _comparison(rows: Sequence[Mapping[str, Any]]) -> list[ComparisonRow]:
    from fgvr.report.data import ComparisonRow

    found = []
    for row in rows:
        figures = row["evaluation"]["figures"]
        shown = {"cacc": "cACC", "sacc": "sACC", "exact": "exact name", "synonym": "exact or synonym"}
        cost = next((value for key, value in row.items() if key.startswith("cost_at_")), None)
        found.append(
            ComparisonRow(
                method=str(row["name"]),
                accuracy={label: _interval(figures[key]) for key, label in shown.items() if key in figures},
                calls=row["usage"]["calls"],
                tokens=row["usage"]["input_tokens"] + row["usage"]["output_tokens"],
                seconds=row["seconds"],
                cost=cost,
                note=next((f"cost: {key[5:].replace('_', ' ')}" for key in row if key.startswith("cost_at_")), ""),
                highlight=row["name"] == "NeaR",
            )
        )
    return found


def _interval(figure: Mapping[str, Any]) -> Any:
    from fgvr.metrics import Interval

    return Interval(figure["value"], figure["low"], figure["high"], figure["level"], figure["resamples"])


def usage_of(run: Path) -> list[StageUsage]:
    """What each stage was charged over all sessions: replies copied from a cache cost nothing."""
    return [stage_usage(stage, lines) for stage, lines in _ledgers(run).items()]


def stage_usage(stage: str, answers: Sequence[Mapping[str, Any]]) -> StageUsage:
    """The account of one stage's ledger lines."""
    from fgvr.report.data import StageUsage
    from fgvr.types import Usage

    done = [line for line in answers if line["status"] == "done"]
    paid = [line for line in done if not line["cached"]]
    total = sum((Usage(**line["answer"]["usage"]) for line in paid), Usage())
    return StageUsage(stage, total, note=f"{len(done) - len(paid)} answers reused" if len(done) > len(paid) else "")


def set_aside(run: Path, predictions: Path | None) -> list[SetAside]:
    """Inputs the fit left out, then those ``fgvr predict`` left out beside the shown file of predictions."""
    from fgvr.types import SetAside

    listing = predictions.with_name(f"{predictions.name}.set_aside.jsonl") if predictions is not None else None
    later = lines(listing) if listing is not None and listing.exists() else []
    return [SetAside(**aside) for aside in (*(read_json(run / "set_aside.json") or []), *later)]


def failures_of(run: Path) -> list[SetAside]:
    """Support images that failed and were not answered later."""
    return failed_items(_ledgers(run).get("label (support)", []))


def failed_items(answers: Sequence[Mapping[str, Any]]) -> list[SetAside]:
    """Items whose last ledger line is a failure."""
    from fgvr.types import SetAside

    last = {str(line["item"]): line for line in answers}
    return [
        SetAside(item, item, str(line.get("error_type", "failed")), str(line["error"]))
        for item, line in last.items()
        if line["status"] == "failed"
    ]


def doubtful_of(answers: Sequence[NamedImage]) -> list[SetAside]:
    """Answers whose reply does more than name; the reason is the note, the detail what was said."""
    from fgvr.labels import suspicion
    from fgvr.types import SetAside

    noted = [(one, suspicion(one.reply)) for one in answers]
    return [SetAside(one.item_id, one.item_id, note, one.reply) for one, note in noted if note]


def _warnings(
    support: Sequence[Mapping[str, Any]], recorded: Mapping[str, Any], classifier: Mapping[str, Any]
) -> list[str]:
    found = []
    unanswered = sum(row["status"] == "unanswered" for row in support)
    if recorded.get("stopped") == "budget":
        found.append(f"The spending cap stopped the questions: {unanswered} support images were not named.")
    elif unanswered:
        found.append(f"{unanswered} support images have no answer; they were learned from their neighbours only.")
    if classifier["calibration"]["source"] == "support":
        found.append("Probabilities were calibrated on the training images themselves and are optimistic.")
    return found
