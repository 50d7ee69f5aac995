"""Fine-R1's questions about real photographs, put to the embedded MLLM and a dual encoder; writes into docs/results.md.

    python scripts/fine_r1_photos_exam.py --shared DIR --work build/fine_r1_photos

The photographs, their division and ``DIR`` are those of ``fine_r1_photos.py``. Replies and features are kept in
``--work``.
"""

from __future__ import annotations

import argparse
import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from fine_r1_photos import SEED, Collection, collections
from near_variants import write_section

from fgvr.data import per_class
from fgvr.data.benchmarks.questions import Question
from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.base import DualEncoder
from fgvr.methods.fine_r1.contrastive import contrastive_rows
from fgvr.methods.fine_r1.evaluation import Examined, examine
from fgvr.methods.fine_r1.figures import ALL, AVERAGE, SEEN, UNSEEN, Figure
from fgvr.methods.fine_r1.shots import divide
from fgvr.methods.fine_r1.similarity import DualTexts
from fgvr.metrics.bootstrap import bootstrap_mean
from fgvr.mllm import load_mllm
from fgvr.mllm.base import Mllm
from fgvr.mllm.cache import ResponseCache
from fgvr.multiple_choice.asking import write_blank
from fgvr.multiple_choice.distractors import (
    FOCI_TEMPLATE,
    Source,
    encoder_source,
    nearest_names,
    random_names,
    sibling_names,
)
from fgvr.multiple_choice.questions import make_questions
from fgvr.types import ImageItem

A_CLASS = 2
"""Examined photographs a class."""
TOKENS = 100
NEAREST, RANDOM, SIBLINGS = "nearest", "random", "siblings"
FOLDERS = {"Fruit": "fruit", "Vegetables": "vegetable", "Packages": "package"}
TAGS, PLAIN, PROMPT, ENSEMBLE = (
    "embedded MLLM, answer tags asked for",
    "embedded MLLM, plain question",
    "dual encoder, prompt",
    "dual encoder, ensemble",
)
GROUPS = (SEEN, UNSEEN, AVERAGE)


@dataclass(frozen=True)
class Exam:
    """What is asked about one collection."""

    items: Sequence[ImageItem]
    questions: Mapping[str, Sequence[Question]]
    """By source of the wrong options."""
    sources: Mapping[str, Source]
    names: Sequence[str]
    seen: Sequence[str]
    kinds: Mapping[str, str]
    """The data's super-category of each picture."""
    hashes: Mapping[str, str]


def main() -> None:
    """Build the questions, ask, write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    encoder = load_encoder(str(options.shared / "models" / "photo_dual_encoder"))
    mllm = load_mllm("fieldguide", batch_size=16)
    options.work.mkdir(parents=True, exist_ok=True)
    lines = header()
    with ResponseCache(options.work / "replies.sqlite") as cache:
        for collection in collections(options.shared / "data" / "photos"):
            exam = examination(collection, encoder, options.work)
            lines += exam_section(collection, exam, encoder, mllm, options.work, cache)
            print("\n".join(lines), flush=True)
    write_section(options.out, "fine-r1-photos", lines)


def header() -> list[str]:
    """What holds for every figure."""
    return [
        "## Fine-R1 on real photographs: evaluation",
        "",
        "Nothing is trained here: the same questions are put to the embedded MLLM (5 M parameters, **drawings only**: on",
        "photographs it is expected at chance, 25 per cent) and to `photo_dual_encoder` (MobileNetV2 + MiniLM; **not",
        f"CLIP**). Division into seen and unseen classes as above, seed {SEED}; the first {A_CLASS} test photographs a class by the",
        "same seed. *Closed*: the true name and three others, in every rotation, strict reading; a blank grey picture as",
        "control; of names scored whole (plain question, dual encoder) nothing is listed, so nothing is rotated. *Open*:",
        "the encoder chooses among all names, which the MLLM is not given. *Similarity*: relative to the data's own",
        "super-category (cat or dog; fruit, vegetable or package), by the same encoder's text tower. Per cent, 95 %",
        f"bootstrap over photographs. `scripts/fine_r1_photos_exam.py`, {date.today()}, {platform.machine()} CPU, float32.",
    ]


def examination(collection: Collection, encoder: DualEncoder, work: Path) -> Exam:
    """Test photographs and three sets of questions about them."""
    division = divide(collection.items, test=collection.test, seed=SEED)
    table = FeatureStore(work / "features").features(per_class(division.test, A_CLASS, seed=SEED)[0], encoder)
    truths = {item.id: str(item.label) for item in table.items}
    names = sorted({*division.seen, *division.unseen})
    texts = encoder.encode_texts([FOCI_TEMPLATE.format(name) for name in names])
    wrong = {
        NEAREST: nearest_names(truths, names, image_features=np.asarray(table.features), text_features=texts),
        RANDOM: random_names(truths, names, seed=SEED),
        SIBLINGS: sibling_names(truths, names, groups=collection.kin, seed=SEED),
    }
    return Exam(
        items=table.items,
        questions={source: make_questions(table.items, found, seed=SEED).questions for source, found in wrong.items()},
        sources={
            NEAREST: encoder_source(encoder, compared=[encoder.fingerprint]),
            RANDOM: Source(RANDOM, seed=SEED),
            SIBLINGS: Source(SIBLINGS, seed=SEED),
        },
        names=names,
        seen=division.seen,
        kinds={item.id: kind_of(item, collection) for item in table.items},
        hashes=dict(zip((item.id for item in table.items), table.hashes, strict=True)),
    )


def kind_of(item: ImageItem, collection: Collection) -> str:
    """The data's own super-category: the species of a pet, the top folder of a grocery."""
    folder = next((word for part, word in FOLDERS.items() if f"/{part}/" in f"/{item.id}"), None)
    return folder or collection.kin[str(item.label)]


def exam_section(
    collection: Collection, exam: Exam, encoder: DualEncoder, mllm: Mllm, work: Path, cache: ResponseCache
) -> list[str]:
    """Both tables of one collection."""
    asking: dict[str, Any] = {"hashes": exam.hashes, "max_tokens": TOKENS, "cache": cache}
    asking["blank"] = write_blank(work / "blank.png")
    found = {source: rows(exam, source, encoder, mllm, work, asking) for source in exam.questions}
    seen = sum(str(item.label) in set(exam.seen) for item in exam.items)
    tagged = found[NEAREST][TAGS].figure("closed", "tagged", ALL)
    return [
        "",
        f"### {collection.title}",
        "",
        f"{len(exam.items)} photographs, {seen} of seen classes; {len(exam.names)} names. Wrong options: "
        f"{exam.sources[RANDOM].words()}. Replies with one pair of answer tags: {percent(tagged)}. "
        f"Questions with a reply: {min(one.replied for one in found[RANDOM].values()):.1%}.",
        "",
        *main_table(found[RANDOM]),
        "",
        f"Accuracy by where the wrong options come from (*nearest* are the mistakes of the dual encoder itself; *siblings*"
        f" share the {collection.kin_word} where it has other classes):",
        "",
        *source_table(found),
    ]


def rows(
    exam: Exam, source: str, encoder: DualEncoder, mllm: Mllm, work: Path, asking: Mapping[str, Any]
) -> dict[str, Examined]:
    """Every row of the tables on the questions of one source."""
    same: dict[str, Any] = {
        "closed": exam.questions[source],
        "open_items": exam.items,
        "seen": exam.seen,
        "super_category": exam.kinds,
        "sentences": DualTexts(encoder),
        "source": exam.sources[source],
        "seed": SEED,
    }
    dual = contrastive_rows([encoder], **same, names=exam.names, store=work / "features")
    return {
        TAGS: examine(mllm, **same, **asking, style="short"),
        PLAIN: examine(mllm, **same, **asking, style="short", free=True),
        PROMPT: dual[0],
        ENSEMBLE: dual[1],
    }


def main_table(found: Mapping[str, Examined]) -> list[str]:
    """Closed and open world by group, one row a way of asking."""
    columns = [("closed", "strict", group) for group in GROUPS] + [("closed", "blank", AVERAGE)]
    columns += [("open", "accepted", group) for group in GROUPS]
    columns += [("open", "official", AVERAGE), ("open", "similarity", AVERAGE)]
    heads = [*(f"closed, {group}" for group in GROUPS), "blank picture"]
    heads += [*(f"open, {group}" for group in GROUPS), "text inclusion", "similarity"]
    return [
        f"| | {' | '.join(heads)} |",
        "|---|" + "---:|" * len(heads),
        *(
            f"| {title} | {' | '.join(percent(one.figure(part, key, group)) for part, key, group in columns)} |"
            for title, one in found.items()
        ),
    ]


def source_table(found: Mapping[str, Mapping[str, Examined]]) -> list[str]:
    """Closed accuracy on the same photographs under every source, and what the encoder's own mistakes cost each row."""
    sources = list(found)
    lines = [
        f"| closed, all | {' | '.join(sources)} | nearest less random |",
        "|---|" + "---:|" * (len(sources) + 1),
    ]
    for title in (TAGS, PLAIN, PROMPT, ENSEMBLE):
        cells = [percent(found[source][title].figure("closed", "strict", ALL)) for source in sources]
        lines.append(f"| {title} | {' | '.join(cells)} | {difference(found, title)} |")
    return lines


def difference(found: Mapping[str, Mapping[str, Examined]], title: str) -> str:
    """Nearest less random over the same photographs, in points."""
    each = [np.array(found[source][title].parts["closed"].measured.scores["strict"]) for source in (NEAREST, RANDOM)]
    return bootstrap_mean((each[0] - each[1]).tolist(), seed=SEED).percent()


def percent(figure: Figure | None) -> str:
    """In per cent with its interval."""
    return "-" if figure is None else figure.interval.percent()


if __name__ == "__main__":
    main()
