"""What a finished fit leaves in its run folder, for predictions, evaluations and reports.

Beside ledgers and features: the ``classifier``; ``support.jsonl``, the images asked about; ``pool.jsonl``, every image
of the collection with its name; ``unknown_groups.json``; ``set_aside.json``. Letters: N pool images, C names.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.encoders import FeatureTable
from fgvr.encoders.base import DualEncoder
from fgvr.methods.student.classifier import StudentClassifier, collapsed
from fgvr.methods.student.given_names import Given, names_in, offer_groups
from fgvr.methods.student.opinions import first_labels
from fgvr.methods.student.settings import StudentSettings
from fgvr.mllm.base import Mllm
from fgvr.naming.label_space import label_space
from fgvr.naming.labelling import Labelled
from fgvr.runs import RunFolder, settings_digest, write_json, write_text
from fgvr.types import NamedImage, SetAside, Usage

if TYPE_CHECKING:
    from fgvr.methods.student.pipeline import Learned
    from fgvr.methods.student.unknown import UnknownGroup

SHOWN = 5
"""Names an image might have that are kept."""
BLOCK = 4096
FILES = ("support.jsonl", "pool.jsonl", "unknown_groups.json", "set_aside.json")


@dataclass(frozen=True)
class Asked:
    """One stage of questions: which rows of the pool, and the answers in the same order."""

    rows: np.ndarray
    """(M,) int64."""
    labelled: Labelled


@dataclass(frozen=True)
class Fit:
    """Everything one ``fit`` produced, for reports."""

    learned: Learned
    table: FeatureTable
    """The pool, with averaged features."""
    first: Asked
    second: Asked | None
    set_aside: tuple[SetAside, ...]
    groups: tuple[UnknownGroup, ...] = ()
    """Images that no name covers."""
    given: Given | None = None
    """What a person has named."""

    @property
    def given_names(self) -> dict[int, str]:
        """Row to the name that a person gave."""
        if self.given is None:
            return {}
        return {row: str(one.name) for row, one in zip(self.given[0].tolist(), self.given[1], strict=True)}

    @property
    def stages(self) -> tuple[Labelled, ...]:
        """The answers of both stages."""
        return (self.first.labelled,) if self.second is None else (self.first.labelled, self.second.labelled)

    @property
    def stopped(self) -> str | None:
        """Why the questions ended early, if they did."""
        return next((stage.answers.stopped for stage in self.stages if stage.answers.stopped), None)

    @property
    def usage(self) -> Usage:
        """Of the calls of this session."""
        return sum((stage.usage for stage in self.stages), Usage())


def write_fit(run: RunFolder, classifier: StudentClassifier, fit: Fit) -> None:
    """The classifier and what a report needs, each file atomic, then the mark that the fit is complete."""
    folder = run.path
    classifier.save(folder / "classifier")
    write_text(folder / "support.jsonl", _lines(support_rows(fit)))
    write_text(folder / "pool.jsonl", _lines(pool_rows(classifier, fit)))
    write_json(folder / "unknown_groups.json", unknown_groups(fit))
    offer_groups(folder, [group["items"] for group in unknown_groups(fit)])
    write_json(folder / "set_aside.json", [asdict(aside) for aside in fit.set_aside])
    run.record(
        pool=len(fit.table.items),
        support=len(fit.first.rows),
        asked_again=0 if fit.second is None else len(fit.second.rows),
        set_aside=len(fit.set_aside),
        named=sum(named.name is not None for named in fit.first.labelled.named),
        labels=len(classifier.names),
        encoder={"name": classifier.encoder, "fingerprint": classifier.fingerprint},
        stopped=fit.stopped,
        usage=asdict(fit.usage),
    )
    files = [folder / "classifier" / name for name in ("classifier.json", "classifier.safetensors")]
    outputs = [*files, *(folder / name for name in FILES)]
    run.stage_done("fit", fit_digest(run), outputs=outputs)


def fit_digest(run: RunFolder) -> str:
    """What a finished fit was made from: the settings of its run and the names that a person has given."""
    names = names_in(run.path)
    return settings_digest({**run.manifest["settings"], "names": names} if names else run.manifest["settings"])


def classifier_of(
    fit: Fit, encoder: DualEncoder, *, views: int, teachers: tuple[Mllm, Mllm | None]
) -> StudentClassifier:
    """What is kept of a student, with notes on how it came about, who named its images, and what the answers were."""
    mllm, second = teachers
    known = np.union1d(fit.first.rows, list(fit.given_names)).astype(np.int64)
    statuses = Counter(named.status for named in fit.first.labelled.named)
    notes = {
        **_plain(fit.learned.notes),
        **names_account(fit),
        "heads": {name: share for name, share in fit.learned.mixed.shares.items() if share > 0},
        "unknown_groups": [len(group["items"]) for group in unknown_groups(fit)],
        "mllm": identity(mllm),
        "second": None if second is None else identity(second),
        "category": fit.first.labelled.category,
        "answers": dict(sorted(statuses.items())),
        "pool": len(fit.table.items),
        "asked": len(fit.first.rows),
        "given": len(fit.given_names),
        "asked_again": 0 if fit.second is None else len(fit.second.rows),
    }
    return StudentClassifier(
        names=fit.learned.names,
        head=collapsed(fit.learned.head),
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        views=views,
        calibration=fit.learned.calibration,
        support=np.ascontiguousarray(fit.table.features[known]),
        notes=notes,
    )


def identity(mllm: Mllm) -> dict[str, str]:
    """Which model it was, JSON-like."""
    return {"name": mllm.name, "revision": mllm.revision}


def names_account(fit: Fit) -> dict[str, Any]:
    """What became of the teacher's names, as NeaR's notes say it: ``merged``, ``removed``, ``filtered`` (none)."""
    merging = fit.learned.notes["settings"]["label_space"]["merge"]
    said = [named for stage in fit.stages for named in stage.named] + list(fit.given[1] if fit.given else ())
    by_images = {pair.raw: pair.into for pair in fit.learned.space.merges}
    spelt = [asdict(merge) for merge in label_space(said, merge=merging)[0].provenance]
    seen = [
        {"raw": pair.raw, "into": pair.into, "why": "images", "score": round(pair.image_similarity, 4)}
        for pair in fit.learned.space.merges
    ]
    return {
        "merged": [{**merge, "into": by_images.get(merge["into"], merge["into"])} for merge in [*spelt, *seen]],
        "removed": [{"name": one.name, "reason": one.reason} for one in fit.learned.space.dropped],
        "filtered": [],
    }


def support_rows(fit: Fit) -> Iterator[dict[str, Any]]:
    """One JSON-like row an image asked about: reply, what the evidence made of it, and where it lies.

    ``label`` is, among the student's names, what a person or else the teacher calls it, ``None`` where that is none of
    them; ``drawn`` the teacher's likeliest names with their chances, where a call drew several replies; ``settled_on``
    the name that the image is taken for; ``again`` the second opinion.
    """
    again = {} if fit.second is None else dict(zip(fit.second.rows.tolist(), fit.second.labelled.named, strict=True))
    told = np.unique(fit.learned.opinions.rows)
    labels = dict(zip(told.tolist(), first_labels(fit.learned.opinions, told).tolist(), strict=True))
    for row, said in zip(fit.first.rows.tolist(), fit.first.labelled.named, strict=True):
        candidates = taken_for(fit, row)
        label = labels.get(row, -1)
        yield {
            **_place(fit.table, row),
            "status": said.status,
            "reply_name": said.name,
            "drawn": [[name, round(chance, 6)] for name, chance in drawn_names(said)],
            "label": fit.learned.names[label] if label >= 0 else None,
            "settled_on": candidates[0][0] if candidates else None,
            "candidates": [[name, round(weight, 6)] for name, weight in candidates],
            "neighbours": [],
            "again": _said(again.get(row)),
        }


def pool_rows(classifier: StudentClassifier, fit: Fit) -> Iterator[dict[str, Any]]:
    """One JSON-like row a pool image: the student's prediction, and what the teacher said where it was asked."""
    said, given = dict(zip(fit.first.rows.tolist(), fit.first.labelled.named, strict=True)), fit.given_names
    for at in range(0, len(fit.table.items), BLOCK):
        ids = [item.id for item in fit.table.items[at : at + BLOCK]]
        for row, one in enumerate(classifier.predict(fit.table.features[at : at + BLOCK], ids, top_k=SHOWN), start=at):
            yield {
                **_place(fit.table, row),
                "name": one.name,
                "probability": round(one.probability, 6),
                "unknown": one.unknown,
                "top": [[name, round(chance, 6)] for name, chance in one.top],
                "asked": row in said,
                "teacher": _said(said.get(row)),
                "given": given.get(row),
            }


def taken_for(fit: Fit, row: int) -> list[tuple[str, float]]:
    """The names a pool image is taken for while the student learns, heaviest first; weights as shares of their sum."""
    soft = fit.learned.soft
    cells = slice(soft.indptr[row], soft.indptr[row + 1])
    columns, weights = soft.indices[cells], soft.data[cells]
    order = np.argsort(-weights, kind="stable")[:SHOWN]
    total = float(weights.sum())
    return [(fit.learned.names[columns[j]], float(weights[j]) / total) for j in order if weights[j] > 0]


def unknown_groups(fit: Fit) -> list[dict[str, Any]]:
    """Images that no name seems to cover, in groups, JSON-like, medoids first; ``names``: what they are taken for."""
    return [
        {
            "items": [fit.table.items[row].id for row in group.rows],
            "paths": [str(fit.table.items[row].path) for row in group.rows],
            "medoid": fit.table.items[group.medoid].id,
            "cohesion": round(group.cohesion, 6),
            "distance": round(group.distance, 6),
            "names": [[fit.learned.names[name], round(share, 6)] for name, share in group.names],
        }
        for group in fit.groups
    ]


def groups_in(features: np.ndarray, learned: Learned, settings: StudentSettings) -> tuple[UnknownGroup, ...]:
    """Groups in the pool (N, D) that no name covers, as ``settings`` say; none with that part off."""
    from fgvr.methods.student.graph import neighbour_graph
    from fgvr.methods.student.pool import GROUP_NEIGHBOURS
    from fgvr.methods.student.unknown import unknown_groups

    if not settings.unknown.on or len(features) < 2:
        return ()
    labelled = np.unique(learned.opinions.named.rows)
    wanted, graph = max(GROUP_NEIGHBOURS, settings.propagation.k), learned.graph
    if graph is None or graph.indices.shape[1] < wanted:
        graph = neighbour_graph(features, k=wanted)
    return unknown_groups(features, labelled, learned.soft, graph, least=settings.unknown.least)


def _place(table: FeatureTable, row: int) -> dict[str, str]:
    """Hash and place let an evaluation find the image among its own, and a report show it."""
    item = table.items[row]
    return {"item": item.id, "sha256": table.hashes[row], "path": str(item.path)}


def drawn_names(said: NamedImage) -> list[tuple[str, float]]:
    """The likeliest names of a call that drew several replies, with their chances, best first; else nothing."""
    if said.name is None or not said.chances:
        return []
    return list(zip((said.name, *said.alternatives), said.chances))[:SHOWN]


def _said(named: NamedImage | None) -> dict[str, Any] | None:
    return None if named is None else {"name": named.name, "status": named.status}


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: such a figure is not known."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(rows: Iterator[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
