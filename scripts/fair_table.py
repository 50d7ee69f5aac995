"""The fair table on the embedded world, by ``fgvr.compare`` itself; writes its sections into docs/results.md.

    python scripts/fair_table.py --work build/fair [--only table shots k zipf cost]

Five draws of the support set from one pool, one test set; every method of ``fgvr compare`` on the same pictures, encoder
and MLLM. Resumable: pictures, features, replies and finished cells are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from datetime import date
from itertools import combinations
from pathlib import Path

from embedded_results import draw
from near_variants import write_section

from fgvr.compare import Collection, Draw, Row, Terms, compare
from fgvr.compare.differences import differences, paired_by
from fgvr.compare.summary import Line, lines
from fgvr.compare.table import HEADERS, HEADS, cells, difference_cells, figure, grid
from fgvr.encoders import load_encoder
from fgvr.encoders.sentence import load_sentence_encoder
from fgvr.fieldguide.guide import accepted_names, by_key
from fgvr.mllm import ResponseCache, load_mllm
from fgvr.reproduce import load_recipe
from fgvr.types import ImageItem

POOL_SEED, TEST_SEED, POOL, TEST = 270_000_000, 280_000_000, 20, 10
"""View seeds and pictures a species: to draw support from, and to be named."""
METHODS = (
    "direct",
    "zero_shot",
    "wordnet",
    "knn",
    "cased",
    "cased:phrases=true",
    "finer",
    "e_finer",
    "findr",
    "rar_released",
    "rar_released:top_number=1",
    "near",
    "near:preset=select",
    "rar:preset=as-described",
    "rar",
)
LEARNERS = ("zero_shot", "knn", "near:preset=fast", "near:preset=lite", "rar")
SETS = tuple(
    f"near:preset={preset}+k={k}{ending}"
    for preset in ("fast", "lite")
    for k, ending in ((1, ""), (3, ""), (5, ""), (3, "+sets=random"))
)
SHOTS = tuple(range(1, 11))
QUICK = ("zero_shot", "knn", "near:preset=lite", "rar")
LABELS = (34, 68, 136, 272, 544, 1088)
PUBLISHED = {
    "cased": "workshop_table2_cased",
    "wordnet": "workshop_table2_wordnet",
    "zero_shot": "workshop_table2_zs_clip_gpt_4o",
    "finer": "workshop_table2_finer",
    "e_finer": "e_finer",
    "rar_released": "rar_table1_rar_released",
    "near": "workshop_table2_ours_gpt_4o",
    "findr": "findr",
    "direct": "workshop_table2_direct_gpt_4o",
}
"""Method to the recipe whose published mean cACC it is ordered by. E-FineR and FiNDR are known by a third-party note."""


class Study:
    """The pictures and models, and one comparison after another on them."""

    def __init__(self, work: Path, seeds: int) -> None:
        self.work, self.seeds = work, range(seeds)
        pool, test = draw(work / "pool", POOL_SEED, POOL), draw(work / "test", TEST_SEED, TEST)
        self.collection = Collection("field guide", named(pool), named(test))
        self.terms = Terms(
            encoder=load_encoder("fieldguide"),
            mllm=load_mllm("fieldguide", batch_size=64),
            llm=load_mllm("fieldguide-text"),
            sentence_encoder=load_sentence_encoder("minilm"),
            asking={"cache": ResponseCache(work / "replies.sqlite")},
            store=work / "features",
            resamples=200,
        )

    def run(self, name: str, methods: Sequence[str], how: Draw) -> list[Row]:
        """A comparison in its own folder; what fails stops the study."""
        rows = compare(
            [self.collection],
            methods,
            terms=self.terms,
            out=self.work / "runs" / name,
            draw=how,
            seeds=self.seeds,
            told=lambda row: print(
                name, row.method, row.seed, row.status, row.error, f"{row.seconds:.0f} s", flush=True
            ),
        )
        broken = [row for row in rows if row.status != "done"]
        if broken:
            raise SystemExit(f"{len(broken)} cells failed, first: {broken[0].method}: {broken[0].error}")
        return rows


def named(items: Sequence[ImageItem]) -> tuple[ImageItem, ...]:
    """The drawn pictures under their species' accepted names instead of its key."""
    every = (accepted_names(by_key(str(item.label))) for item in items)
    return tuple(ImageItem(i.id, i.path, names[0], names[1:]) for i, names in zip(items, every, strict=True))


def main() -> None:
    """Run the parts that were asked for and write their sections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    study = Study(options.work, options.seeds)
    for part in options.only:
        write_section(options.out, f"fair-{part}", [*PARTS[part](study), "", signed(study)])


def signed(study: Study) -> str:
    """Who measured, on what."""
    return (
        f"`scripts/fair_table.py`: pool of {len(study.collection.pool)} pictures, {len(study.collection.test)} test "
        f"pictures, {len(study.seeds)} draws (seeds 0 to {len(study.seeds) - 1}); encoder and MLLM `fieldguide`, sACC by "
        f"all-MiniLM-L6-v2; mean ± half of the 95 % t interval over draws, per cent; {date.today()}, "
        f"{platform.machine()} CPU, float32."
    )


def full_table(study: Study) -> list[str]:
    """Every method, three support pictures a species."""
    rows = study.run("table", METHODS, Draw())
    found = lines(rows)
    collection = study.collection
    compared = differences(
        rows,
        "direct",
        root=study.work / "runs" / "table",
        truth={collection.name: collection.test},
        sentence_encoder=study.terms.sentence_encoder,
    )
    return [
        "## The fair table: every vocabulary-free method on the embedded world",
        "",
        "Three support pictures a species, drawn with the truth as in the papers. Calls, tokens and seconds are those of",
        "one draw, calls and tokens as if the method ran alone, seconds with other work on the machine. *Truth in names*: species with an accepted name in the",
        "label space. Steps of pure text (FineR, E-FineR) are answered by `fieldguide-text`, which knows the guide's own",
        "descriptions and names of all species, those withheld from the MLLM included: an advantage as large as GPT's",
        "knowledge of birds, which no other row has. Brackets instead of ±: no draw changes the figure; bootstrap over the pictures.",
        "",
        *grid(HEADERS, [cells(line) for line in found]),
        "",
        f"Minus the MLLM on every picture, paired by {paired_by(compared)}, in points; a star where the interval leaves",
        "zero out:",
        "",
        *grid(("method", *(HEADS[key] for key in ("cacc", "sacc", "synonym"))), list(map(difference_cells, compared))),
        "",
        *noted([row for row in rows if row.seed == 0]),
        "",
        *order(found),
    ]


def noted(rows: Sequence[Row]) -> list[str]:
    """What stands under the table: each note once, with the methods it holds for."""
    who: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            who.setdefault(note, []).append(row.title)
    return [f"- *{', '.join(titles)}*: {note}" for note, titles in who.items()]


def order(found: Sequence[Line]) -> list[str]:
    """Who wins, and whether the published order holds."""
    best = {key: max(found, key=lambda line: line.figures[key].value) for key in ("cacc", "sacc", "synonym")}
    said = ", ".join(f"{HEADS[key]}: {line.title} ({figure(line.figures[key])})" for key, line in best.items())
    here = {line.method: line.figures["cacc"].value for line in found if line.method in PUBLISHED}
    printed = {method: load_recipe(name).mean("cacc") or 0.0 for method, name in PUBLISHED.items()}
    pairs = list(combinations(sorted(here, key=printed.__getitem__), 2))
    broken = [f"{b} over {a}" for a, b in pairs if here[b] < here[a]]
    level = [f"{b} and {a}" for a, b in pairs if here[b] == here[a]]
    ranked = " < ".join(sorted(here, key=here.__getitem__))
    published = " < ".join(sorted(here, key=printed.__getitem__))
    return [
        f"Best by {said}.",
        "",
        f"*Does the papers' order hold?* Published mean cACC: {published}. Here: {ranked}. Of {len(pairs)} pairs",
        f"{len(pairs) - len(broken) - len(level)} stand as published; level: {', '.join(level) or 'none'};",
        f"turned round: {', '.join(broken) or 'none'}. The published rows do not share one MLLM, FineR, E-FineR and CaSED have other",
        "encoders beside CLIP, and two of the means are second-hand.",
    ]


def by_shots(study: Study) -> list[str]:
    """cACC and accuracy over support pictures a species."""
    found = {m: lines(study.run(f"shots-{m}", LEARNERS, Draw("balanced", m))) for m in SHOTS}
    return [
        "## Support pictures a species",
        "",
        "As Figure 2 of the workshop paper, for the methods that name a support set by the MLLM.",
        *swept("m", found, ("cacc", "sacc", "synonym")),
    ]


def by_k(study: Study) -> list[str]:
    """Size and kind of the candidate sets."""
    found = lines(study.run("k", SETS, Draw()))
    rows = [[line.title, *(figure(line.figures[key]) for key in ("cacc", "sacc", "synonym"))] for line in found]
    return [
        "## Size of the candidate sets",
        "",
        "NeaR's k counts the picture itself: k = 1 is its own label only. Three support pictures a species.",
        "",
        *grid(("NeaR", "cACC", "sACC", "accuracy"), rows),
    ]


def by_zipf(study: Study) -> list[str]:
    """FineR's uneven support set."""
    even = {line.method: line for line in lines(study.run("zipf-even", QUICK, Draw("balanced", 2)))}
    rows = study.run("zipf", QUICK, Draw("zipf"))
    support = sum(row.support for row in rows) / len(rows)
    table = [
        [
            line.title,
            *(figure(line.figures[key]) for key in ("cacc", "sacc", "synonym")),
            figure(even[line.method].figures["cacc"]),
        ]
        for line in lines(rows)
    ]
    return [
        "## An uneven support set",
        "",
        f"1 to 10 pictures a species, Zipf(2) as FineR's *random* set: {support:.0f} pictures on average; the last column",
        "has two of every species.",
        "",
        *grid(("method", "cACC", "sACC", "accuracy", "cACC, two of each"), table),
    ]


def by_cost(study: Study) -> list[str]:
    """Accuracy over questions asked, the support drawn at random: what a user without labels can do."""
    methods = ("knn", "near:preset=lite", "rar:asking=never", "rar")
    found = {n: lines(study.run(f"labels-{n}", methods, Draw("random", size=n))) for n in LABELS}
    direct = next(line for line in lines(study.run("table", ("direct",), Draw())) if line.method == "direct")
    images = len(study.collection.test)
    asked = {n: {line.method: line.usage.calls for line in line_list} for n, line_list in found.items()}
    heads = ("labels bought", "the MLLM on as many test pictures", *(line.title for line in found[LABELS[0]]))
    rows = []
    for n in LABELS:
        share = min(n, images) / images
        alone = f"{100 * share * direct.figures['synonym'].value:.1f}"
        rest = [f"{figure(line.figures['synonym'])} ({asked[n][line.method]:,})" for line in found[n]]
        rows.append([str(n), alone, *rest])
    whole = figure(direct.figures["synonym"])
    return [
        "## Labels bought against accuracy reached",
        "",
        "Support pictures drawn at random, no label used. Accuracy over all test pictures (questions asked in all, those",
        "about test pictures included, in brackets). The second column asks the MLLM about so many test pictures and",
        f"leaves the others without a name; about all {images} it reaches {whole}.",
        "",
        *grid(heads, rows),
        "",
        *crossing(found, direct),
    ]


def crossing(found: dict[int, list[Line]], direct: Line) -> list[str]:
    """Fewest labels with which each method is within a point of the MLLM on every picture."""
    goal = direct.figures["synonym"].value - 0.01
    said = []
    for index, line in enumerate(found[LABELS[0]]):
        reached = [n for n in LABELS if found[n][index].figures["synonym"].value >= goal]
        said.append(f"{line.title}: {reached[0] if reached else f'not with {LABELS[-1]}'}")
    return [f"Labels needed to come within a point of the MLLM on every picture: {'; '.join(said)}."]


def swept(head: str, found: dict[int, list[Line]], keys: Sequence[str]) -> list[str]:
    """One table a figure: a row a method, a column a value of what is swept."""
    text = []
    for key in keys:
        methods = [line.title for line in found[next(iter(found))]]
        rows = [
            [title, *(figure(line_list[i].figures[key]) for line_list in found.values())]
            for i, title in enumerate(methods)
        ]
        text += ["", *grid((f"{HEADS[key]}, {head} =", *map(str, found)), rows)]
    return text


PARTS = {"table": full_table, "shots": by_shots, "k": by_k, "zipf": by_zipf, "cost": by_cost}

if __name__ == "__main__":
    main()
