"""Ways of ranking, studies of the candidates, and RAR without labels, on the embedded world; into docs/results.md.

    python scripts/rar_ranking.py --work build/rar_embedded

Pictures, features and name scores are those of ``rar_embedded.py`` (same folder), draw 0 of its shots.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from near_variants import write_section
from rar_embedded import fitted_on, lookup, scores_of
from rar_without_retrieval import accepted
from rar_worlds import World, guide_world

from fgvr.encoders import load_encoder
from fgvr.encoders.base import DualEncoder
from fgvr.encoders.sentence import load_sentence_encoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.memory import Memory
from fgvr.methods.rar.calibration import LeftOut
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fewshot import as_released, k_study, top5_of_top10
from fgvr.methods.rar.fewshot_protocol import draw_shots
from fgvr.methods.rar.fit_retrieval import fit_retrieval
from fgvr.methods.rar.pipeline import RarSettings, learn
from fgvr.methods.rar.rank import Ranked, RankSettings, rank
from fgvr.methods.rar.retrieve import retrieve
from fgvr.methods.rar.vocabulary_free import name_by_mllm
from fgvr.metrics import clustering_accuracy, semantic_accuracy, synonym_accuracy
from fgvr.mllm import load_mllm
from fgvr.mllm.base import Mllm
from fgvr.runs import Ledger
from fgvr.types import ImageItem

SHOTS = 4
WAYS = {
    "written, the paper's prompt": RankSettings(mode="generate", prompt="paper", max_tokens=96),
    "written, the released code's prompt": RankSettings(mode="generate", prompt="released", max_tokens=96),
    "written, the form of the answer in the prompt": RankSettings(mode="generate", prompt="in_context", max_tokens=96),
    "written, the imagined example": RankSettings(mode="generate", prompt="imagined", max_tokens=96),
    "letters scored": RankSettings(ask="letters"),
    "letters scored, 4 rotations": RankSettings(ask="letters", permutations=4),
    "names scored (default)": RankSettings(),
}
UNLABELLED = 3


def main() -> None:
    """Run the parts, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    encoder, mllm = load_encoder("fieldguide"), load_mllm("fieldguide", batch_size=64)
    world = guide_world(options.work, encoder, load_mllm("fieldguide", batch_size=16))
    lines = [
        "## RAR on the embedded world: ways of ranking, and without labels",
        "",
        f"Pictures, split, encoder and MLLM as in the section before, draw 0. `scripts/rar_ranking.py`, {date.today()},",
        f"{platform.machine()} CPU, float32.",
        "",
        *ways_of_ranking(world, mllm),
        "",
        *studies(world),
        "",
        *without_labels(world, encoder, mllm, options.work),
    ]
    write_section(options.out, "rar-ranking", lines)


# --- ways of ranking --------------------------------------------------------------------------------------------------


def ways_of_ranking(world: World, mllm: Mllm) -> list[str]:
    """The same candidates put to the MLLM in every way; it decides alone."""
    data = world.data
    memory = data.memory(draw_shots(data.train_labels, SHOTS, seed=0, ids=data.train_ids))
    settings = fit_retrieval(memory).settings
    candidates = retrieve(data.test, memory, settings).top(4)
    held = candidates.contains(data.test_labels).mean()
    alone = (candidates.classes[:, 0] == data.test_labels).mean()
    rows = []
    for way, asked in WAYS.items():
        ranked = rank(world.test_items, candidates.names(data.names), mllm, settings=asked)
        rows.append(way_row(way, ranked, candidates, data.test_labels))
    return [
        f"### Ways of ranking, {SHOTS} shots",
        "",
        f"The fused retriever's 4 candidates; its own first choice is right in {alone:.1%}, the truth is among them in {held:.1%}.",
        "The MLLM decides alone. *Not as asked*: replies that name something else or nothing (repaired), or nothing usable.",
        "Tokens an image: read / written or scored. How fast each is: [benchmarks](benchmarks.md).",
        "",
        "| way | accuracy, % | repaired, % | unusable, % | calls an image | tokens an image |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def way_row(way: str, ranked: Ranked, candidates: Candidates, truth: np.ndarray) -> str:
    """One line of the table."""
    count = len(truth)
    first = np.array([row[one.order[0]] for row, one in zip(candidates.classes, ranked.rankings, strict=True)])
    share = {kind: np.mean([one.status == kind for one in ranked.rankings]) for kind in ("repaired", "unusable")}
    usage = ranked.answers.usage
    tokens = f"{usage.input_tokens / count:.0f} / {usage.output_tokens / count:.0f}"
    return (
        f"| {way} | {100 * (first == truth).mean():.1f} | {100 * share['repaired']:.1f} | {100 * share['unusable']:.1f} "
        f"| {usage.calls / count:.0f} | {tokens} |"
    )


# --- studies ----------------------------------------------------------------------------------------------------------


def studies(world: World) -> list[str]:
    """k, first 5 of 10, and the released code's candidates with duplicates."""
    ranker = lookup(world.test_said, world.data.names)
    by_k = k_study(world.data, ranker=ranker)
    ks = sorted({row["k"] for row in by_k})
    cells = {(row["method"], row["k"]): row for row in by_k}
    ten = top5_of_top10(world.data, ranker=ranker)
    released = as_released(world.data, shots=(4,), ranker=ranker)
    return [
        "### Candidates",
        "",
        "Four shots, three draws. *Upper bound*: the truth is among the candidates.",
        "",
        f"| k | {' | '.join(map(str, ks))} |",
        "|---|" + "---|" * len(ks),
        "| upper bound, % | " + " | ".join(f"{100 * cells['retrieval', k]['upper_bound']:.1f}" for k in ks) + " |",
        "| the MLLM decides alone, % | "
        + " | ".join(f"{100 * cells['retrieve + rank', k]['accuracy']:.1f}" for k in ks)
        + " |",
        "",
        "First five of ten candidates (four shots): top-5 accuracy in per cent: "
        + "; ".join(f"{row['method']} {100 * row['top5']:.1f}" for row in ten)
        + f"; fused as by default, asking about every picture {100 * fused_first_five(world):.1f}. *Ranked*: the MLLM decides",
        "alone, and puts species that it does not know last.",
        "",
        "As the released code (first four pictures in file order, five slots with duplicates): "
        + "; ".join(f"{row['method']} {100 * row['accuracy']:.1f} %" for row in released)
        + f". Its five slots hold {released[0]['distinct']:.2f} different classes on average.",
    ]


def fused_first_five(world: World) -> float:
    """Top-5 accuracy of retriever and MLLM together over ten candidates, four shots, draw 0."""
    recogniser, order = fitted_on(world, SHOTS, 0, k=10)
    candidates = recogniser.candidates(world.data.test)
    chances = recogniser.probabilities(candidates, scores_of(world.test_said, order, candidates.classes))
    first = np.take_along_axis(candidates.classes, np.argsort(-chances, axis=1)[:, :5], axis=1)
    return float((order[first] == world.data.test_labels[:, None]).any(axis=1).mean())


# --- without labels ---------------------------------------------------------------------------------------------------


def without_labels(world: World, encoder: DualEncoder, mllm: Mllm, work: Path) -> list[str]:
    """Three pictures a species named by the MLLM; then retrieval, ranking, both."""
    data, sentence = world.data, load_sentence_encoder("minilm")
    chosen = draw_shots(data.train_labels, UNLABELLED, seed=0, ids=data.train_ids)
    items = [world.train_items[row] for row in chosen]
    pseudo = name_by_mllm(items, mllm, ledger=Ledger(work / "named_pool.jsonl", sync=False))
    kept = np.flatnonzero(pseudo.labels >= 0)
    memory = Memory.create("embedded", "embedded", data.train.shape[1], data.logit_scale)
    labels = [pseudo.names[pseudo.labels[row]] for row in kept]
    memory.add("image", labels, data.train[chosen[kept]], hashes=[data.train_hashes[chosen[row]] for row in kept])
    memory.add("text", memory.names, text_classifier(encoder, memory.names))
    by_hash = {data.train_hashes[row]: world.train_items[row] for row in chosen}

    def ask(out: LeftOut) -> np.ndarray:
        return scored([by_hash[one] for one in out.hashes], out.candidates, memory.names, mllm)

    recogniser = learn(memory, RarSettings(), ask=ask, labelled=False, mllm="embedded")
    candidates = recogniser.candidates(data.test)
    said = scored(world.test_items, candidates, memory.names, mllm)
    asks = recogniser.asks(candidates)
    ways = {
        "retrieval alone": (recogniser.probabilities(candidates), len(kept)),
        "retrieve + rank, the MLLM decides alone": (said, len(kept) + len(data.test)),
        "**RAR, default** (weight by agreement)": (
            recogniser.probabilities(candidates, np.where(asks[:, None], said, np.nan)),
            len(kept) + int(asks.sum()),
        ),
    }
    truth, rows = accepted(world), []
    for way, (scores, calls) in ways.items():
        best = np.take_along_axis(candidates.classes, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
        names = [memory.names[index] for index in best]
        figures = (clustering_accuracy(names, truth), float(semantic_accuracy(names, truth, sentence)))
        exact = synonym_accuracy(names, truth)
        rows.append(f"| {way} | {' | '.join(f'{100 * value:.1f}' for value in (*figures, exact))} | {calls} |")
    return [
        f"### Without labels: {UNLABELLED} unlabelled pictures a species",
        "",
        f"The MLLM names {len(items)} pictures (class-balanced by the truth, as in the paper); {len(memory.names)} names "
        "are left after merging. Then as with labels;",
        f"the weight of its word ({recogniser.rules.weight:.2f}) is learned from its agreement with retrieval.",
        "",
        "| | cACC | sACC | accuracy | MLLM calls |",
        "|---|---|---|---|---|",
        *rows,
    ]


def scored(items: Sequence[ImageItem], candidates: Candidates, names: Sequence[str], mllm: Mllm) -> np.ndarray:
    """(Q, k) the MLLM's log-probabilities of the candidates."""
    ranked = rank(items, candidates.names(names), mllm)
    return ranked.log_probs(candidates.k)


if __name__ == "__main__":
    main()
