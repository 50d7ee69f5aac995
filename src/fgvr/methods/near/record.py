"""What a finished fit leaves in its run folder, for predictions, evaluations and reports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from fgvr.encoders import FeatureTable
from fgvr.methods.near.classifier import Classifier
from fgvr.methods.near.pipeline import Fitted
from fgvr.mllm.base import Mllm
from fgvr.naming.labelling import Labelled
from fgvr.runs import RunFolder, settings_digest, write_json, write_text
from fgvr.types import SetAside


@dataclass(frozen=True)
class Fit:
    """Everything one ``fit`` produced, for reports."""

    fitted: Fitted
    table: FeatureTable
    labelled: Labelled
    set_aside: tuple[SetAside, ...]


def write_fit(run: RunFolder, classifier: Classifier, fit: Fit) -> None:
    """The classifier and what a report needs, each file atomic, then the mark that the fit is complete."""
    folder = run.path
    classifier.save(folder / "classifier")
    # Hash and place let an evaluation find support images among the test images, and a report show them.
    sources = zip(fit.table.items, fit.table.hashes, strict=True)
    rows = [
        row | {"sha256": sha256, "path": str(item.path)}
        for row, (item, sha256) in zip(fit.fitted.support_rows(fit.labelled.named), sources, strict=True)
    ]
    write_text(folder / "support.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_json(folder / "set_aside.json", [asdict(aside) for aside in fit.set_aside])
    run.record(
        support=len(fit.table.items),
        set_aside=len(fit.set_aside),
        named=sum(named.name is not None for named in fit.labelled.named),
        labels=len(classifier.names),
        encoder={"name": classifier.encoder, "fingerprint": classifier.fingerprint},
        stopped=fit.labelled.answers.stopped,
        usage=asdict(fit.labelled.usage),
    )
    files = [folder / "classifier" / name for name in ("classifier.json", "classifier.safetensors")]
    run.stage_done("fit", settings_digest(run.manifest["settings"]), outputs=[*files, folder / "support.jsonl"])


def annotated(classifier: Classifier, labelled: Labelled, mllm: Mllm) -> Classifier:
    """The classifier with notes on who named its support images, and what the answers were like."""
    statuses = [named.status for named in labelled.named]
    notes = {
        **classifier.notes,
        "mllm": {"name": mllm.name, "revision": mllm.revision},
        "category": labelled.category,
        "answers": {status: statuses.count(status) for status in sorted(set(statuses))},
    }
    return replace(classifier, notes=notes)
