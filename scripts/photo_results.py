"""NeaR on real photographs with recorded labels; writes into docs/results.md.

    python scripts/photo_results.py --shared DIR --work build/photos

``DIR`` holds ``data/photos``, ``data/recorded`` and ``models/photo_dual_encoder`` (see docs/development.md). None of it
is part of fgvr. The labels of cub832 and pets37 are those of small specialist classifiers, replayed as if an MLLM had
given them; grocery81 has no recorded labels, so its class names pass through a noise model (``noisy_name``). The encoder
is not CLIP. None of these figures reproduces a paper.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from near_variants import best_names, write_section

from fgvr.data import per_class
from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.sentence import load_sentence_encoder
from fgvr.methods.near import FAST, LITE, RefineSettings, SetSettings
from fgvr.methods.near.baselines import zero_shot_classifier
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.metrics import evaluate
from fgvr.mllm import load_mllm
from fgvr.naming.labelling import label_images
from fgvr.runs import write_text
from fgvr.types import ImageItem

SEED = 0
BASE = FitSettings(tuning=FAST, folds=0)
LIGHT = FitSettings(tuning=LITE, folds=0)
RANDOM, NONE = SetSettings(kind="random"), SetSettings(kind="none")
VARIANTS: dict[str, FitSettings] = {
    "NeaR (neighbour sets, k = 3)": BASE,
    "random sets, k = 3": replace(BASE, sets=RANDOM),
    "no sets (own label)": replace(BASE, sets=NONE),
    "near-lite, neighbour sets": LIGHT,
    "near-lite, random sets": replace(LIGHT, sets=RANDOM),
    "near-lite, no sets": replace(LIGHT, sets=NONE),
    "near-lite, NeaR-style stage + filtering": replace(
        LIGHT, tuning=replace(LITE, refine=RefineSettings()), filter_labels=True
    ),
}


@dataclass(frozen=True)
class Collection:
    """A labelled set of photographs, its split and its recorded answers."""

    name: str
    support: tuple[ImageItem, ...]
    test: tuple[ImageItem, ...]
    replies: Path
    note: str


def main() -> None:
    """Run every collection and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--only", nargs="*", default=list(COLLECTIONS))
    options = parser.parse_args()
    lines = header()
    for name in options.only:
        lines += run(COLLECTIONS[name](options.shared / "data", options.work), options.shared, options.work)
        write_section(options.out, "photos", lines)
        print("\n".join(lines), flush=True)


def run(collection: Collection, shared: Path, work: Path) -> list[str]:
    """One table: the recorded answers themselves, zero-shot, NeaR and its ablations on one fixed split."""
    encoder = load_encoder(str(shared / "models" / "photo_dual_encoder"))
    sentence = load_sentence_encoder("minilm")
    store, replies = FeatureStore(work / "features"), load_mllm(f"replay:{collection.replies}")
    support = np.asarray(store.features(collection.support, encoder).features)
    test = np.asarray(store.features(collection.test, encoder).features)
    named = label_images(collection.support, replies).named
    answers = label_images(collection.test, replies).named
    truth = [(item.label or "", *item.accepted) for item in collection.test]

    def row(method: str, predicted: list[str], names: int, seconds: float) -> str:
        figures = evaluate(predicted, truth, sentence_encoder=sentence, resamples=500).figures
        cells = " | ".join(figures[key].percent() for key in ("cacc", "sacc", "siou_split", "synonym"))
        return f"| {method} | {cells} | {names} | {seconds:.0f} |"

    said = [answer.name or "unknown" for answer in answers]
    rows = [row("recorded labeller on every test image", said, len(set(said)), 0)]
    known = sorted({answer.name for answer in named if answer.name})
    rows.append(
        row("zero-shot, the labeller's names", best_names(zero_shot_classifier(encoder, known), test), len(known), 0)
    )
    for method, settings in VARIANTS.items():
        began = time.monotonic()
        fitted = fit_classifier(support, named, encoder, settings, seed=SEED).classifier
        rows.append(row(method, best_names(fitted, test), len(fitted.names), time.monotonic() - began))
        print(collection.name, rows[-1], flush=True)
    return [
        "",
        f"### {collection.name}",
        "",
        f"{len(collection.support)} support, {len(collection.test)} test photographs. {collection.note}",
        "",
        "| method | cACC | sACC (MiniLM) | sIOU (split) | accuracy | names | fit, s |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def header() -> list[str]:
    """What holds for every table."""
    return [
        "## Real photographs, recorded labels",
        "",
        "Encoder: `photo_dual_encoder` (MobileNetV2 + MiniLM; **not CLIP**, its text side knows few of these names).",
        "Labels: replayed recordings of small specialist classifiers or a noise model, **not an MLLM**. These figures",
        f"reproduce no paper. Split by class with seed {SEED} (uses the truth); tuning: the `fast` preset (60 full-batch",
        "AdamW steps from `a photo of a`) or `near-lite`, neither adjusted here; 95 % bootstrap intervals over test images.",
        f"`scripts/photo_results.py`, {date.today()}, {platform.machine()} CPU, float32.",
    ]


def pets(data: Path, work: Path) -> Collection:
    """pets37: three support photographs a breed, seven for test."""
    root = data / "photos" / "pets37" / "images"
    with (root.parent / "boxes.csv").open(encoding="utf-8") as file:
        kind = {row["breed"]: row["species"] for row in csv.DictReader(file)}
    items = []
    for path in sorted(root.glob("*/*.jpg")):
        breed = path.parent.name.replace("_", " ")
        accepted = (f"{breed} {kind[path.parent.name]}",)
        items.append(ImageItem(f"{path.parent.name}/{path.name}", path, breed, accepted))
    support, test = per_class(items, 3, seed=SEED)
    note = "Labels: an ImageNet MobileNetV2, which has no class for 12 of the breeds; Oxford-IIIT training part."
    return Collection("pets37", tuple(support), tuple(test), data / "recorded" / "pets37.imagenet.jsonl", note)


def birds(data: Path, work: Path) -> Collection:
    """cub832: two support photographs a species, the rest for test."""
    root = data / "photos" / "cub832" / "images"
    items = []
    for path in sorted(root.rglob("*.jpg")):
        species = " ".join(word for word in path.stem.split("_") if not word.isdigit())
        items.append(ImageItem(path.name, path, species))
    support, test = per_class(items, 2, seed=SEED)
    note = (
        "Labels: an iNaturalist bird classifier (names are those of its list, so some differ from CUB's). CUB's own "
        "train and test parts are mixed in this collection."
    )
    return Collection("cub832", tuple(support), tuple(test), data / "recorded" / "cub832.expert.jsonl", note)


def groceries(data: Path, work: Path, *, whole: bool = False) -> Collection:
    """grocery81: three support photographs a class from its train list, or the ``whole`` list; its test list."""
    root = data / "photos" / "grocery81"
    with (root / "classes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    fine = [row["Class Name (str)"].replace("-", " ") for row in rows]
    coarse = [row["Coarse Class Name (str)"].replace("-", " ") for row in rows]
    train, test = (_listed(root, part, fine, coarse) for part in ("train.txt", "test.txt"))
    support = train if whole else per_class(train, 3, seed=SEED)[0]
    replies = work / ("grocery81.whole.noise.jsonl" if whole else "grocery81.noise.jsonl")
    rng = np.random.default_rng(SEED)
    noisy = [{"image": item.id, "reply": noisy_name(item.label or "", fine, coarse, rng)} for item in (*support, *test)]
    write_text(replies, "".join(json.dumps({**row, "model": "noise-model", "ok": True}) + "\n" for row in noisy))
    note = (
        "Labels: a **noise model**, no recogniser: the true name with probability 0.6, another class of the same coarse "
        "class 0.2 (any class where there is none), the coarse name 0.15, any class 0.05."
    )
    return Collection("grocery81", tuple(support), tuple(test), replies, note)


def _listed(root: Path, part: str, fine: list[str], coarse: list[str]) -> list[ImageItem]:
    items = []
    for line in (root / part).read_text(encoding="utf-8").splitlines():
        path, number, _ = (cell.strip() for cell in line.split(","))
        name, group = fine[int(number)], coarse[int(number)]
        items.append(ImageItem(path, root / path, name, (f"{name} {group}",)))
    return items


def noisy_name(name: str, fine: list[str], coarse: list[str], rng: np.random.Generator) -> str:
    """The documented noise model."""
    group = coarse[fine.index(name)]
    siblings = [other for other, kind in zip(fine, coarse, strict=True) if kind == group and other != name]
    lot = rng.random()
    if lot < 0.6:
        return name
    if lot < 0.8 and siblings:
        return str(rng.choice(siblings))
    return group if lot < 0.95 and lot >= 0.8 else str(rng.choice(fine))


COLLECTIONS: dict[str, Callable[[Path, Path], Collection]] = {"pets37": pets, "cub832": birds, "grocery81": groceries}

if __name__ == "__main__":
    main()
