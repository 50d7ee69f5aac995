"""A RAR run as ``ReportData``: what the report page shows, read from the files that the run left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli import report_data as common

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.methods.rar import Recogniser
    from fgvr.report import ReportData
    from fgvr.report.data import StageUsage
    from fgvr.types import SetAside

LEDGER = "ranks.jsonl"
STAGES = {"label": "names (memory)", "meta": "names (memory)", "rank": "ranking"}


def gather(run: Path, *, predictions: Path | None = None, images: str | Path | Items | None = None) -> ReportData:
    """Everything the page can show about a RAR fit. Raises ``RunError`` when the fit is not finished."""
    from fgvr.methods.rar import Recogniser
    from fgvr.metrics import ReliabilityBin
    from fgvr.report import ReportData
    from fgvr.runs import read_manifest

    manifest = read_manifest(run)
    recogniser = Recogniser.load(run)
    support = common.lines(run / "support.jsonl")
    shown = common.predictions_of(run, predictions)
    evaluation = common.read_json(run / "evaluation.json") or {}
    return ReportData(
        title=f"RAR: {run.resolve().name}",
        created=str(manifest["created"]),
        method="RAR: retrieve with a memory, rank with an MLLM",
        summary=_summary(recogniser, manifest["settings"]),
        counts=_counts(recogniser),
        settings=common.flat({"retrieval": vars(recogniser.retrieval), "ranking": vars(recogniser.ranking)}),
        provenance=_provenance(manifest, recogniser),
        images=common.places(shown, images),
        support_images={str(row["item"]): Path(row["path"]) for row in support},
        predictions=shown,
        evaluation=common.evaluation_rows(evaluation),
        risk_coverage=[(float(c), float(r)) for c, r in evaluation.get("risk_coverage", [])],
        aurc=common.value_of(evaluation, "aurc"),
        cascade=[(p["calls"], p["accuracy"]) for p in recogniser.rules.study.get("cascade", {}).get("points", [])],
        reliability=[ReliabilityBin(**one) for one in evaluation.get("reliability", [])],
        calibration_error=common.value_of(evaluation, "ece"),
        usage=_usage(run),
        set_aside=common.set_aside(run, predictions),
        failures=_failures(run),
        warnings=_warnings(recogniser, manifest["recorded"]),
    )


def _summary(recogniser: Recogniser, settings: Mapping[str, Any]) -> str:
    memory, rules = recogniser.memory, recogniser.rules
    kept = f"{len(memory.names)} classes are known by {len(memory.images)} photographs and {len(memory.texts)} names."
    if settings["mllm"] is None or rules.asking == "never":
        return f"{kept} Retrieval alone decides."
    model = settings["mllm"]["name"]
    if rules.weight == 0:
        return f"{kept} {model} was tried on memory images and does not help here: retrieval alone decides."
    when = f"where the two best are closer than {rules.margin:.2f}" if rules.asking == "margin" else "about every image"
    return f"{kept} {model} is asked {when}; its word has weight {rules.weight:.2f} ({rules.weight_from})."


def _counts(recogniser: Recogniser) -> list[tuple[str, str]]:
    cascade = recogniser.rules.study.get("cascade")
    rows = [("classes", str(len(recogniser.memory.names))), ("memory photographs", str(len(recogniser.memory.images)))]
    if cascade is not None:
        rows += [
            ("left-out images right, retrieval", f"{100 * cascade['never']:.1f} %"),
            ("the same, asking about all", f"{100 * cascade['always']:.1f} %"),
            ("the same, as chosen", f"{100 * cascade['chosen']['accuracy']:.1f} %"),
            ("asked about, as chosen", f"{100 * cascade['chosen']['calls']:.0f} %"),
        ]
    return rows


def _provenance(manifest: Mapping[str, Any], recogniser: Recogniser) -> list[tuple[str, str]]:
    memory, mllm = recogniser.memory, manifest["settings"]["mllm"]
    return [
        ("encoder", f"{memory.encoder} ({memory.fingerprint[:16]})"),
        ("memory", f"version {memory.version}"),
        ("MLLM", "none" if mllm is None else f"{mllm['name']} ({mllm['revision']})"),
        ("seed", str(manifest["settings"]["seed"])),
        ("settings", manifest["settings_digest"][:16]),
        ("retrieval calibrated by", str(recogniser.notes.get("retrieval", {}).get("rule", "off"))),
        ("sessions", str(len(manifest["sessions"]))),
        *((name, found) for name, found in manifest["versions"].items() if found),
    ]


def _lines(run: Path) -> list[Mapping[str, Any]]:
    from fgvr.runs import Ledger

    file = run / LEDGER
    return [line for line in Ledger(file) if line.get("kind") == "answer"] if file.exists() else []


def _usage(run: Path) -> list[StageUsage]:
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for line in _lines(run):
        by_stage.setdefault(STAGES.get(str(line["stage"]), str(line["stage"])), []).append(line)
    return [common.stage_usage(stage, lines) for stage, lines in by_stage.items()]


def _failures(run: Path) -> Sequence[SetAside]:
    return common.failed_items(_lines(run))


def _warnings(recogniser: Recogniser, recorded: Mapping[str, Any]) -> list[str]:
    rules, found = recogniser.rules, []
    if recorded.get("stopped") == "budget":
        found.append("The spending cap stopped the questions by which the MLLM's weight is learned.")
    if rules.weight == 0 and rules.weight_from not in ("none", "given"):
        note = rules.study.get("learned", {}).get("note", "")
        found.append(f"The MLLM is not asked: {note or 'its word has no weight'}.")
    if rules.weight_from == "truth in set":
        found.append("One photograph a class: the MLLM's weight rests on sets made around the truth, halved.")
    if rules.weight_from == "agreement":
        found.append("No true labels: the MLLM's weight rests on its agreement with retrieval.")
    return found
