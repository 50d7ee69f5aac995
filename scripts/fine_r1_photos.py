"""Fine-R1 on real photographs; writes into docs/results.md.

    python scripts/fine_r1_photos.py --shared DIR --work build/fine_r1_photos

``DIR`` holds ``data/photos`` and ``models/photo_dual_encoder`` (see docs/development.md). None of it is part of fgvr.
"""

from __future__ import annotations

import argparse
import csv
import logging
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from near_variants import write_section
from rar_photos import groceries, pets

from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.base import DualEncoder
from fgvr.methods.fine_r1.shots import Division, divide
from fgvr.methods.fine_r1.triplets import Mined, mine_triplets
from fgvr.methods.fine_r1.triplets_files import write_triplets
from fgvr.methods.fine_r1.triplets_page import QUANTILES, met, similarity_quantiles, write_triplets_page
from fgvr.metrics.bootstrap import bootstrap_mean
from fgvr.types import ImageItem

SEED = 0


@dataclass(frozen=True)
class Collection:
    """One set of photographs."""

    title: str
    kind: str
    """Super-category of all classes: what the questions ask about."""
    items: Sequence[ImageItem]
    kin: Mapping[str, str]
    """The collection's own coarser class of each class."""
    kin_word: str
    test: Sequence[ImageItem] | None = None
    note: str = ""


def main() -> None:
    """Divide, mine, count, write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    encoder = load_encoder(str(options.shared / "models" / "photo_dual_encoder"))
    lines = header()
    for collection in collections(options.shared / "data" / "photos"):
        lines += triplet_section(collection, encoder, options.work)
    write_section(options.out, "fine-r1-triplets", lines)
    print("\n".join(lines))


def collections(photos: Path) -> list[Collection]:
    """pets37 by species, grocery81 by its coarse classes, with its own test list."""
    train, test = pets(photos)
    with (photos / "pets37" / "boxes.csv").open(encoding="utf-8") as file:
        species = {row["breed"].replace("_", " "): row["species"] for row in csv.DictReader(file)}
    fine, fine_test = groceries(photos, "Class Name (str)")
    coarse, _ = groceries(photos, "Coarse Class Name (str)")
    kin = {str(one.label): str(other.label) for one, other in zip(fine, coarse, strict=True)}
    return [
        Collection(
            "pets37", "pet", [*train, *test], species, "species", note="Ten photographs a breed, all of which are used."
        ),
        Collection(
            "grocery81",
            "grocery item",
            fine,
            kin,
            "coarse class",
            fine_test,
            "Tested on the collection's own test list.",
        ),
    ]


def header() -> list[str]:
    """What holds for every figure."""
    return [
        "## Fine-R1 on real photographs: division and triplets",
        "",
        "Encoder: `photo_dual_encoder` (MobileNetV2 + MiniLM; **not CLIP**). 60 per cent of the classes are seen, four",
        f"photographs a seen class for reinforcement learning, one for SFT, by seed {SEED}. Nothing is trained here.",
        f"`scripts/fine_r1_photos.py`, {date.today()}, {platform.machine()} CPU, float32.",
    ]


def triplet_section(collection: Collection, encoder: DualEncoder, work: Path) -> list[str]:
    """Division in words, and a table of the ways to choose negatives."""
    division = divide(collection.items, test=collection.test, seed=SEED)
    table = FeatureStore(work / "features").features(division.rl, encoder)
    names = list(division.seen)
    texts = dict(zip(names, encoder.encode_texts([f"a photo of a {name}." for name in names]), strict=True))
    ways = {
        "most similar picture (default)": {},
        "nearest name, then picture": {"similarity": "image-text", "text_features": texts},
        "random class and picture": {"negatives": "random"},
    }
    found = {
        title: mine_triplets(table.items, table.features, super_category=collection.kind, seed=SEED, **how)  # type: ignore[arg-type]
        for title, how in ways.items()
    }
    default = next(iter(found.values()))
    folder = work / collection.title
    write_triplets(folder / "triplets.parquet", default.triplets)
    protocol = [
        f"{collection.title}; encoder {encoder.name}; 4 shots a seen class; seed {SEED}; negatives: image-image"
    ]
    write_triplets_page(folder / "triplets.html", default, protocol=protocol)
    return [
        "",
        f"### {collection.title}",
        "",
        division_line(division, collection),
        "",
        f"Share: anchors whose negative is of their own {collection.kin_word}, in per cent with a 95 % interval over classes,",
        f"among the {len(with_kin(division, collection))} seen classes whose {collection.kin_word} has another seen class. "
        "Taken: different photographs among the negatives.",
        "",
        f"| negative | share of own {collection.kin_word} | taken | cosine to the anchor at "
        + " / ".join(f"{share}" for share in QUANTILES)
        + " % |",
        "|---|---:|---:|---:|",
        *(row(title, mined, division, collection) for title, mined in found.items()),
        "",
        most_met(default),
    ]


def division_line(division: Division, collection: Collection) -> str:
    """The division in words."""
    counts = f"{len(division.seen)} seen and {len(division.unseen)} unseen classes; {len(division.sft)} photographs for SFT, "
    counts += f"{len(division.rl)} for reinforcement learning, {len(division.test)} for testing. {collection.note}"
    aside = f" {len(division.set_aside)} set aside: {reasons(division)}." if division.set_aside else ""
    return " ".join([counts.strip() + aside, *division.notes])


def reasons(division: Division) -> str:
    """Reason codes and how often."""
    return ", ".join(f"{why} {count}" for why, count in Counter(one.reason for one in division.set_aside).most_common())


def with_kin(division: Division, collection: Collection) -> list[str]:
    """Seen classes whose coarser class has another seen class."""
    sizes = Counter(collection.kin[name] for name in division.seen)
    return [name for name in division.seen if sizes[collection.kin[name]] > 1]


def row(title: str, mined: Mined, division: Division, collection: Collection) -> str:
    """One way of choosing negatives."""
    kin = collection.kin
    shares = [
        np.mean([kin[one.negative_category] == kin[name] for one in mined.triplets if one.category == name])
        for name in with_kin(division, collection)
    ]
    taken = len({one.negative for one in mined.triplets})
    cosines = " / ".join(f"{value:.2f}" for value in similarity_quantiles(mined.triplets).values())
    return f"| {title} | {bootstrap_mean(shares).percent()} | {taken} | {cosines} |"


def most_met(mined: Mined) -> str:
    """The classes that are most often each other's negatives."""
    counts = dict(met(mined.triplets))
    both = {tuple(sorted(pair)): count + counts.get(pair[::-1], 0) for pair, count in counts.items()}
    first = sorted(both.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    told = ", ".join(f"{one} and {other} ({count})" for (one, other), count in first)
    return f"Most often met, with the anchors of both: {told}."


if __name__ == "__main__":
    main()
