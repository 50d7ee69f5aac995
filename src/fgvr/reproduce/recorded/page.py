"""The findings as a Markdown page: figures first, then what they do and do not say."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform

from fgvr.data.benchmarks.names import ACCEPTED, CORRECTED
from fgvr.reproduce.recorded import expected, material
from fgvr.reproduce.recorded.alignment import WORDS
from fgvr.reproduce.recorded.findings import Findings
from fgvr.reproduce.recorded.heldout import DIRECT, TUNING
from fgvr.reproduce.recorded.page_agreement import agreement
from fgvr.reproduce.recorded.prose import (
    AGREEMENT_NOTE,
    CAVEATS,
    HEAD,
    HELD_OUT_NOTE,
    LABELS_NOTE,
    NEIGHBOURS_NOTE,
    SETS_NOTE,
    SHIFT_NOTE,
    SPACES_NOTE,
)
from fgvr.reproduce.recorded.tables import points, table, under


def page(found: Findings) -> str:
    """The whole page."""
    encoders = under(found.encoder)
    parts = [HEAD, _protocol(found)]
    parts += ["## 1. The labels and the label space", *_labels(found), encoders, LABELS_NOTE]
    parts += ["### Beside FineR's label spaces", _spaces(found), encoders, SPACES_NOTE]
    parts += ["### Key alignment", _shifts(found), encoders, SHIFT_NOTE]
    parts += ["## 2. Candidate sets", _coverage(found), encoders, SETS_NOTE]
    parts += ["### Neighbours", _neighbours(found), encoders, NEIGHBOURS_NOTE]
    parts += ["## 3. Agreement as a sign of a right label", *agreement(found), AGREEMENT_NOTE]
    parts += ["## 4. A text-free classifier on held-out images", *_held_out(found)]
    parts += ["## Names corrected and accepted", _names(), "## Caveats", CAVEATS]
    return "\n\n".join(parts) + "\n"


def _protocol(found: Findings) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "numpy"))
    classes = "as the three images of a class are not independent; cACC's with the matching held fixed."
    recordings = "; ".join(
        f"{title}: {model}, {n} images of {c} classes" for title, (model, n, c) in found.models.items()
    )
    lines = [
        f"Written by `fgvr reproduce recorded` on {datetime.date.today().isoformat()}; {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores, CPU only, Python {platform.python_version()}, {versions}.",
        f"Recordings: {recordings}.",
        f"Sentence encoder of every sACC: {found.encoder}, raw names. Image encoder: {material.IMAGE_ENCODER}.",
        f"Seed {found.seed}. Intervals: 95 % bootstrap over *classes*, {found.resamples} resamples, {classes}",
        f"Random sets: {found.draws} draws for coverage, {found.runs} for the classifier.",
        "Per cent throughout. In brackets after a figure: the earlier probe's figure and the difference in points.",
    ]
    if found.seed or not found.methods or set(found.models) != {title for *_, title in material.RECORDINGS}:
        lines.append("What is said between the tables was read off a run of everything with seed 0, not this one.")
    return "\n".join(f"- {line}" for line in lines)


def _labels(found: Findings) -> list[str]:
    accuracy, space = [], []
    for one in found.quality:
        known = expected.QUALITY.get(one.title, {}) if one.reading == "authors" else {}
        who = [one.title, one.reading]
        accuracy.append(
            [*who, f"{one.answered}/{one.images}", points(one.exact, known.get("exact")), points(one.corrected),
             one.accepted.percent(), points(one.sacc, known.get("sacc")), one.sacc_accepted.percent(),
             points(one.siou_cased, known.get("siou_cased")), points(one.siou_split, known.get("siou_split")),
             points(one.cacc, known.get("cacc"))]
        )  # fmt: skip
        labels = f"{one.labels} ({known['labels']:.0f})" if known else f"{one.labels}"
        yearless = "" if one.yearless is None else points(one.yearless)
        space.append(
            [*who, str(one.raw), labels, str(one.merged), points(one.hit, known.get("hit")), points(one.hit_accepted),
             points(one.class_best, known.get("class_best")), points(one.precision, known.get("precision")), yearless]
        )  # fmt: skip
    mentions = [
        [title, points(listed, expected.QUALITY.get(title, {}).get("mentioned")), points(accepted)]
        for title, (listed, accepted) in found.mentioned.items()
    ]
    return [
        table(("recording", "reading", "answered", "exact, listed", "exact, corrected", "accepted name",
               "sACC, listed", "sACC, best accepted", "sIOU cased", "sIOU split", "cACC"), accuracy),
        table(("recording", "reading", "labels raw", "normalised", "merged", "classes hit", "classes hit, accepted",
               "best sim. of a class", "label precision", "exact without years"), space),
        "Share of images whose *full reply* holds the name as whole words:",
        table(("recording", "listed name", "any accepted name"), mentions),
    ]  # fmt: skip


def _spaces(found: Findings) -> str:
    """The MLLM's label spaces beside FineR's, which were never made from the pictures themselves."""
    rows = []
    for one in found.quality:
        if one.reading != "authors":
            continue
        dataset = one.title.partition(" ")[0]
        known = expected.FINER_SPACES.get(dataset)
        finer = (
            "" if known is None else f"{known[0]:.0f} / {points(known[1])} / {points(known[2])} / {points(known[3])}"
        )
        own = f"{one.labels} / {points(one.hit)} / {points(one.class_best)} / {points(one.precision)}"
        rows.append([one.title, own, finer])
    return table(("labels / classes hit / best sim. of a class / label precision", "this MLLM", "FineR, probe"), rows)


def _shifts(found: Findings) -> str:
    rows = []
    for title, fits in found.shifts.items():
        rows.append([title, *(f"{points(fit.exact)} / {points(fit.sacc)} / {points(fit.siou)}" for fit in fits)])
    cars = expected.SHIFTED_CARS
    rows.append(["*earlier probe, cars*", f"- / {points(cars['sacc'])} / {points(cars['siou_cased'])}", "", ""])
    return table(("exact / sACC / sIOU cased against", *WORDS.values()), rows)


def _coverage(found: Findings) -> str:
    rows = []
    for one in found.coverage:
        near, random, best = expected.COVERAGE.get(one.title, {}).get(one.k, (None, None, None))
        drawn = one.random_listed
        draws = f"{points(drawn, random)} [{100 * drawn.low:.1f}, {100 * drawn.high:.1f}]"
        nothing = one.k == 1
        rows.append(
            [one.title, str(one.k), points(one.listed, near), "as k=1" if nothing else draws,
             "-" if nothing else one.gain.percent(), points(one.accepted), points(one.random_accepted),
             points(one.best, best), points(one.random_best), f"{one.size:.2f} / {one.random_size:.2f}"]
        )  # fmt: skip
    head = ("recording", "k", "neighbour sets", "random sets [draws]", "gain", "accepted: neighbours",
            "accepted: random", "best sim.: neighbours", "best sim.: random", "set size near/random")  # fmt: skip
    return table(head, rows)


def _neighbours(found: Findings) -> str:
    rows = []
    for one in found.neighbours:
        known = expected.NEIGHBOURS.get(one.title, (None,) * 5)
        rows.append(
            [one.title, points(one.nearest, known[1]), points(one.k3, known[0]),
             f"{points(one.mutual, known[2])}, {one.mutual_pairs} pairs", points(one.agreeing),
             points(one.right_agreeing, known[3]), points(one.right_otherwise, known[4])]
        )  # fmt: skip
    head = ("recording", "nearest of the class", "k=3 neighbours of the class", "mutual nearest of the class",
            "nearest has the same label", "then exact", "otherwise exact")  # fmt: skip
    return table(head, rows)


def _held_out(found: Findings) -> list[str]:
    if not found.methods:
        return ["Left out of this run (--no-classifier)."]
    encoders = under(found.encoder)
    parts = [_methods(found), encoders, _differences(found), encoders]
    return [*parts, "### Against the earlier probe", _held_out_expected(found), encoders, HELD_OUT_NOTE]


def _methods(found: Findings) -> str:
    keys = ("exact", "accepted", "sacc", "sacc_accepted", "siou_split", "cacc")
    rows = [
        [one.title, f"*{one.name}*" if one.name == DIRECT else one.name, *(one.figures[key].percent() for key in keys)]
        for one in found.methods
    ]
    head = (
        "recording",
        "answer",
        "exact, listed",
        "accepted name",
        "sACC, listed",
        "sACC, best accepted",
        "sIOU split",
        "cACC",
    )
    return table(head, rows)


def _differences(found: Findings) -> str:
    titles = list(dict.fromkeys(title for title, _ in found.differences))
    blocks = []
    for key, what in (("sacc", "sACC (listed name)"), ("accepted", "accepted name")):
        columns = [found.differences[title, key] for title in titles]
        rows = [
            [f"{first[0]} minus {first[1]}", *(column[row][2].percent() for column in columns)]
            for row, first in enumerate(columns[0])
        ]
        blocks.append(table((f"points of {what}, paired", *titles), rows))
    return "\n\n".join(blocks)


def _held_out_expected(found: Findings) -> str:
    rows = []
    for title, known in expected.HELD_OUT.items():
        by_name = {one.name: one.figures["sacc"] for one in found.methods if one.title == title}
        kinds = ("PRODEN, own label", "PRODEN, k=3 vote", "PRODEN, k=3 own x5")
        started = ("PRODEN from own, k=3 vote", "PRODEN from own, k=3 own x5")
        if by_name:
            cells = zip((*kinds, *started), (*known, *known[1:]))
            rows.append([title, *(points(by_name[kind], value) for kind, value in cells)])
    settings = (
        f"PRODEN here: {TUNING.epochs} full-batch steps of {TUNING.optimiser}, learning rate {TUNING.learning_rate:g}, "
        "logit scale 100, a residual on unit-norm prototypes; the probe trained free prototypes."
    )
    head = ("held-out sACC, listed", "k=1", "k=3", "k=3, own label x5", "k=3 from own", "k=3 x5 from own")
    return table(head, rows) + f"\n\n{settings}"


def _names() -> str:
    blocks = []
    for dataset, corrections in CORRECTED.items():
        changed = "; ".join(f"{old} → {new}" for old, new in corrections.items()) or "none"
        blocks.append(
            f"- **{dataset}**: corrected {len(corrections)} ({changed}); further accepted names for "
            f"{len(ACCEPTED[dataset])} classes"
            + (", and names without their year where it tells no two apart." if dataset == "cars196" else ".")
        )
    return "\n".join(blocks)
