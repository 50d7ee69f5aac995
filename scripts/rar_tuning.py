"""Fine-tuning the embedded MLLM to rank: before, with an example in the prompt, after; writes into docs/results.md.

    python scripts/rar_tuning.py --work build/rar_tuning

The paper tunes on aircraft and ranks other things. Here the MLLM is tuned on the pictures of one super-category and
tested on the other four, each super-category in turn. Candidates are the five nearest classes in a memory of all species
(four pictures each, nearest picture counts); a query is tested when its true class is among them, so that top-1 and rank
say what the ranker does and not what the retriever missed. Resumable: pictures, features, replies and adapters stay in
``--work``. Settings were chosen on other pictures (other seeds).
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from embedded_results import draw
from near_variants import write_section

from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.base import DualEncoder
from fgvr.fieldguide.guide import all_species, by_key
from fgvr.memory.search import nearest
from fgvr.methods.rar.rank import Ranking, RankSettings, rank
from fgvr.methods.rar.ranking_data import RankingRow, training_rows
from fgvr.methods.rar.ranking_fit import RankerSettings, fit_ranker
from fgvr.mllm import load_mllm
from fgvr.mllm.local import LocalMllm
from fgvr.runs import Ledger
from fgvr.training import Collator, Lora, TrainSettings, answer_nll
from fgvr.training.collate import IGNORED
from fgvr.types import ImageItem

SHOT_SEED, QUERY_SEED = 200_000_000, 210_000_000
SHOTS, MEMORY, QUERIES, K = 16, 4, 6, 5
"""Pictures a species: for tuning; of these in the test's memory; queries. Candidates a query."""
KINDS = ("bird", "butterfly", "flower", "fish", "beetle")
LORA = Lora(rank=16, alpha=16)
TRAINING = TrainSettings(1e-3, epochs=3, batch_size=16, micro_batch=16)
RANKER = RankerSettings(lora=LORA, training=TRAINING, most_lists=1200)
ASKED = {
    "free generation, the paper's prompt": RankSettings(mode="generate", prompt="paper", max_tokens=96),
    "free generation, with the form of the answer": RankSettings(mode="generate", prompt="in_context", max_tokens=96),
    "free generation, with the imagined example": RankSettings(mode="generate", prompt="imagined", max_tokens=96),
    "names scored": RankSettings(mode="score", ask="names"),
    "letters scored": RankSettings(mode="score", ask="letters"),
}
PAPER, NAMES = "free generation, the paper's prompt", "names scored"


@dataclass(frozen=True)
class Test:
    """Queries with their true class among the candidates."""

    items: list[ImageItem]
    kinds: np.ndarray
    """(Q,) super-categories."""
    names: list[tuple[str, ...]]
    """Each query's candidates, best retrieved first."""
    truth: np.ndarray
    """(Q,) place of the truth among them."""
    drawn: int
    """Queries before those without their class among the candidates went."""


@dataclass(frozen=True)
class Ranks:
    """What a way of ranking did to every query."""

    place: np.ndarray
    """(Q,) of the truth, from 1."""
    status: np.ndarray
    """(Q,) parsed, repaired, unusable, scored."""


def main() -> None:
    """Draw, tune, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--sources", nargs="+", default=list(KINDS), choices=KINDS)
    options = parser.parse_args()
    torch.manual_seed(0)
    encoder = load_encoder("fieldguide")
    shots = draw(options.work / "shots", SHOT_SEED, SHOTS)
    test = test_of(shots, draw(options.work / "queries", QUERY_SEED, QUERIES), encoder, options.work / "features")
    before = {name: asked("fieldguide", test, settings, options.work) for name, settings in ASKED.items()}
    after, notes = {}, {}
    plain = list_losses("fieldguide", test)
    for source in options.sources:
        adapter, notes[source] = tuned(source, shots, encoder, options.work)
        after[source] = {name: asked(f"local:{adapter}", test, ASKED[name], options.work) for name in (PAPER, NAMES)}
        losses = list_losses(f"local:{adapter}", test)
        for where, rows in (("itself", test.kinds == source), ("others", test.kinds != source)):
            notes[source] |= {
                f"{where} before": float(plain[rows].mean()),
                f"{where} after": float(losses[rows].mean()),
            }
        print(source, notes[source], {name: summary(one, test.kinds != source) for name, one in after[source].items()})
    write_section(options.out, "rar-tuning", report(test, before, after, notes))


def test_of(shots: Sequence[ImageItem], queries: Sequence[ImageItem], encoder: DualEncoder, store: Path) -> Test:
    """Candidates of every query: the classes of its nearest memory pictures, each once, nearest first."""
    keys = [one.key for one in all_species()]
    memory = [shot for index, shot in enumerate(shots) if index % SHOTS < MEMORY]
    features = FeatureStore(store)
    rows, asked_rows = (np.asarray(features.features(items, encoder).features) for items in (memory, queries))
    labels = np.array([keys.index(str(item.label)) for item in memory])
    found, _ = nearest(asked_rows, rows, k=len(memory))
    kept, names, truth = [], [], []
    for item, near in zip(queries, found, strict=True):
        candidates = list(dict.fromkeys(keys[label] for label in labels[near]))[:K]
        if item.label in candidates:
            kept.append(item)
            names.append(tuple(by_key(key).name for key in candidates))
            truth.append(candidates.index(item.label))
    kinds = np.array([by_key(str(item.label)).super_category for item in kept])
    return Test(kept, kinds, names, np.array(truth), len(queries))


def tuned(source: str, shots: Sequence[ImageItem], encoder: DualEncoder, work: Path) -> tuple[Path, dict[str, float]]:
    """The adapter tuned on one super-category, and what tuning took."""
    items = [
        replace(shot, label=by_key(str(shot.label)).name)
        for shot in shots
        if by_key(str(shot.label)).super_category == source
    ]
    done = fit_ranker(
        items,
        mllm="fieldguide",
        encoder=encoder,
        out=work / "tuned" / source,
        settings=RANKER,
        store=work / "features",
    )
    return Path(done["adapter"]), {key: done[key] for key in ("rows", "steps", "loss", "seconds")}


def asked(model: str, test: Test, settings: RankSettings, work: Path) -> Ranks:
    """Every query ranked by a model in one way; replies are kept in a ledger of that model and way."""
    mllm = load_mllm(model, batch_size=32)
    way = f"{settings.mode}-{settings.prompt}-{settings.ask}"
    ledger = Ledger(work / "replies" / f"{mllm.revision}-{way}.jsonl", sync=False)
    ledger.path.parent.mkdir(parents=True, exist_ok=True)
    found = rank(test.items, test.names, mllm, settings=settings, ledger=ledger).rankings
    return Ranks(
        place=np.array([place_of(int(truth), one) for truth, one in zip(test.truth, found, strict=True)]),
        status=np.array([one.status for one in found]),
    )


def list_losses(model: str, test: Test) -> np.ndarray:
    """(Q,) loss per token of the right list (truth first, the rest as retrieved), asked with the paper's prompt."""
    mllm = load_mllm(model)
    assert isinstance(mllm, LocalMllm)
    collate = Collator(mllm)
    lists = [
        RankingRow(item.path, names[truth], names, (names[truth], *(name for name in names if name != names[truth])))
        for item, names, truth in zip(test.items, test.names, test.truth, strict=True)
    ]
    rows = training_rows(lists)
    losses: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, len(rows), 32):
            batch = collate(rows[start : start + 32])
            tokens = (batch.labels != IGNORED).sum(dim=1)
            losses.append((answer_nll(mllm.model, batch).sum(dim=1) / tokens).numpy())
    return np.concatenate(losses)


def place_of(truth: int, ranking: Ranking) -> int:
    """1 where the truth was ranked first."""
    return ranking.order.index(truth) + 1


# --- the section ------------------------------------------------------------------------------------------------------


def summary(ranks: Ranks, rows: np.ndarray) -> list[str]:
    """Cells: top-1 in per cent, mean rank, replies in the form asked for, repaired, unusable in per cent."""
    place, status = ranks.place[rows], ranks.status[rows]
    shares = [f"{100 * np.mean(status == kind):.0f}" for kind in ("parsed", "repaired", "unusable")]
    scored = bool(np.all(status == "scored"))
    return [f"{100 * np.mean(place == 1):.1f}", f"{place.mean():.2f}", *(["–"] * 3 if scored else shares)]


def gain(first: Ranks, second: Ranks, rows: np.ndarray) -> str:
    """Top-1 of the first minus the second, in points, with the 95 % bootstrap interval over queries."""
    difference = 100.0 * ((first.place[rows] == 1).astype(float) - (second.place[rows] == 1))
    draws = np.random.default_rng(0).choice(difference, size=(2000, len(difference))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{difference.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def report(
    test: Test, before: dict[str, Ranks], after: dict[str, dict[str, Ranks]], notes: dict[str, dict[str, float]]
) -> list[str]:
    """The section as Markdown lines."""
    everything = np.ones(len(test.items), dtype=bool)
    retrieved = Ranks(test.truth + 1, np.full(len(test.items), "scored"))
    head = "top-1, % | mean rank | as asked, % | repaired, % | unusable, %"
    lines = [
        "## Fine-tuning the ranker",
        "",
        f"The embedded MLLM (5 million numbers) tuned with LoRA (rank {LORA.rank}, rate {TRAINING.learning_rate:g}, {TRAINING.epochs} epochs) on lists of one",
        f"super-category and tested on the others. {len(test.items)} of {test.drawn} queries whose class is among the {K} retrieved ones (memory:",
        f"{MEMORY} pictures a species, all {len(all_species())} species, encoder `fieldguide`); greedy generation. *As asked*: each candidate once and",
        "nothing else; *repaired*: some named; *unusable*: none, the retriever's order stands. The model saw a ranking prompt in its own training already",
        "(4 % of the steps, another wording and other candidates); see `fieldguide/training/texts.py`.",
        f"`scripts/rar_tuning.py`, {date.today()}, {platform.machine()} CPU, float32.",
        "",
        f"| before tuning, all queries | {head} |",
        "|---|---|---|---|---|---|",
        f"| the retriever's order | {' | '.join(summary(retrieved, everything))} |",
        *(f"| {name} | {' | '.join(summary(one, everything))} |" for name, one in before.items()),
        "",
        f"| tuned on | tested on | way | {head} | top-1 against before |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for source, ways in after.items():
        for where, rows in (("the others", test.kinds != source), ("itself", test.kinds == source)):
            for name, one in ways.items():
                cells = [source, where, name, *summary(one, rows), gain(one, before[name], rows)]
                lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Loss per token of the right list (truth first) under the paper's prompt, before → after tuning. Where it falls for the",
        "source and not for the others, names were learned and not the copying of names from the question.",
        "",
        "| tuned on | lists | steps | seconds | test lists of itself | of the others |",
        "|---|---|---|---|---|---|",
    ]
    for source, one in notes.items():
        losses = " | ".join(
            f"{one[where + ' before']:.2f} → {one[where + ' after']:.2f}" for where in ("itself", "others")
        )
        lines.append(f"| {source} | {one['rows']} | {one['steps']} | {one['seconds']:.0f} | {losses} |")
    return lines


if __name__ == "__main__":
    main()
