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
from dataclasses import dataclass, replace
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
        "same seed. *Closed*: the true name and three others. Where tags are asked for (greedy, 100 tokens, short wording)",
        "the options are listed in one shuffled order and the reply is read strictly; else whole names are scored and",
        "nothing is listed. *Blank*: the same questions about a plain grey picture. *Open*: the encoder chooses among all",
        "names, which the MLLM is not given. *Similarity*: relative to the data's own",
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
            NEAREST: replace(encoder_source(encoder, compared=[encoder.fingerprint]), encoder=Path(encoder.name).name),
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
    asking: dict[str, Any] = {"hashes": exam.hashes, "max_tokens": TOKENS, "cache": cache, "style": "short"}
    store = work / "features"
    named = {
        source: {
            PLAIN: examine(mllm, **about(exam, source, encoder), **asking, free=True),
            **dual(exam, source, encoder, store),
        }
        for source in exam.questions
    }
    asking["blank"] = write_blank(work / "blank.png")
    whole = {**about(exam, RANDOM, encoder), "open_items": exam.items}
    rows = {
        TAGS: examine(mllm, **whole, **asking, rotations=False),
        PLAIN: examine(mllm, **whole, **asking, free=True),
        **dual(exam, RANDOM, encoder, store, open_items=exam.items),
    }
    return [
        "",
        f"### {collection.title}",
        "",
        f"{len(exam.items)} photographs, {sum(str(item.label) in set(exam.seen) for item in exam.items)} of them of seen "
        f"classes; {len(exam.names)} names. Wrong options: {exam.sources[RANDOM].words()}. Replies with one pair of answer "
        f"tags: {percent(rows[TAGS].figure('closed', 'tagged', ALL))} of the closed world's, "
        f"{percent(rows[TAGS].figure('open', 'tagged', ALL))} of the open world's. Questions with a reply: "
        f"{100 * min(one.replied for one in rows.values()):.1f} per cent.",
        "",
        *main_table(rows),
        "",
        unmoved(rows[PLAIN]),
        "",
        f"The same photographs with other wrong options (closed, all classes), and the paired difference. *nearest*: "
        f"{exam.sources[NEAREST].words()}; *siblings* share the {collection.kin_word} where it has other classes.",
        "",
        *source_table(named),
    ]


def about(exam: Exam, source: str, encoder: DualEncoder) -> dict[str, Any]:
    """What every row of a table is asked and scored with."""
    return {
        "closed": exam.questions[source],
        "seen": exam.seen,
        "super_category": exam.kinds,
        "sentences": DualTexts(encoder),
        "source": exam.sources[source],
        "seed": SEED,
    }


def dual(exam: Exam, source: str, encoder: DualEncoder, store: Path, **more: Any) -> dict[str, Examined]:
    """The rows of the dual encoder."""
    found = contrastive_rows([encoder], **about(exam, source, encoder), **more, names=exam.names, store=store)
    return dict(zip((PROMPT, ENSEMBLE), found, strict=True))


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


def unmoved(examined: Examined) -> str:
    """How often the plain question's choice is the one made about the grey picture."""
    chosen = {
        control: {row["id"]: row["chosen"] for row in examined.parts["closed"].replies if row["control"] == control}
        for control in ("picture", "blank")
    }
    same = [float(name == chosen["blank"][item]) for item, name in chosen["picture"].items()]
    share = bootstrap_mean(same, seed=SEED).percent()
    return f"Of the embedded MLLM's choices by the plain question {share} are those it makes about the grey picture."


def source_table(found: Mapping[str, Mapping[str, Examined]]) -> list[str]:
    """Closed accuracy on the same photographs under every source, and what the encoder's own mistakes cost each row."""
    sources = list(found)
    lines = [
        f"| closed, all | {' | '.join(sources)} | nearest less random |",
        "|---|" + "---:|" * (len(sources) + 1),
    ]
    for title in (PLAIN, PROMPT, ENSEMBLE):
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
