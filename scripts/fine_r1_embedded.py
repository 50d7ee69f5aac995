"""Fine-R1 on the embedded world: base, SFT, DAPO, one augmentation alone, TAPO; the n1:n2 sweep. Writes docs/results.md.

    python scripts/fine_r1_embedded.py --work build/fine_r1 [--seeds 3] [--only main sweep length cause]

Every seed divides the species anew (60 % seen), draws rationales and triplets and seeds both trainings. Resumable:
pictures, models and figures are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fine_r1_worlds import KIND, POLICY, SFT, TEST_SEED, TESTS, TRAIN_SEED, Row, World, one_thread, share
from near_variants import write_section

from fgvr.compare.table import grid
from fgvr.fieldguide.training.texts import withheld
from fgvr.labels.normalise import normalise
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.metrics.bootstrap import bootstrap_mean

COT = "CoT SFT"
MAIN = (
    Row("base, plain question", tuned=False, free=True),
    Row("base, CoT prompting", tuned=False),
    Row("SFT without reasoning", thinking="none"),
    Row(COT),
    Row("CoT SFT, long rationales", thinking="full"),
    Row("+ DAPO", objective=TapoSettings.dapo()),
    Row("+ intra-class only", objective=TapoSettings.intra_only()),
    Row("+ inter-class only", objective=TapoSettings.inter_only()),
    Row("TAPO, as released", objective=TapoSettings.tapo("official_code")),
    Row("TAPO, corrected", objective=TapoSettings.tapo("corrected")),
    Row("no-thinking RL", thinking="none", objective=TapoSettings.dapo()),
)
SPLITS = ((6, 0), (4, 2), (3, 3), (2, 4), (0, 6))
SWEEP = tuple(
    Row("+ DAPO", objective=TapoSettings.dapo())
    if n2 == 0
    else Row("+ intra-class only", objective=TapoSettings.intra_only())
    if n1 == n2
    else Row(f"split {n1}-{n2}", objective=TapoSettings.intra_only(), policy={"anchors": n1, "positives": n2})
    for n1, n2 in SPLITS
)
CAUSE = (
    MAIN[0],
    MAIN[2],
    MAIN[3],
    Row("CoT SFT, any candidates", among=False),
    Row("CoT SFT, a third of the rate", rate=3e-4),
)
NAMES = tuple(KIND)
OPEN, CLOSED = ("open", "accepted"), ("closed", "strict")


@dataclass(frozen=True)
class Study:
    """Where, and how often."""

    work: Path
    seeds: int
    workers: int

    def results(self, rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
        """Figures by title, one a seed; missing ones are computed side by side."""
        jobs = [(self.work, row, seed) for seed in range(self.seeds) for row in rows]
        with ProcessPoolExecutor(self.workers, initializer=one_thread) as pool:
            found = list(pool.map(_result, jobs))
        return {row.title: [found[seed * len(rows) + at] for seed in range(self.seeds)] for at, row in enumerate(rows)}


@cache
def world(work: Path) -> World:
    """The pictures; once a process."""
    return World(work)


def _result(job: tuple[Path, Row, int]) -> dict[str, Any]:
    work, row, seed = job
    return world(work).result(row, seed=seed)


def main() -> None:
    """Train, measure, write the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    one_thread()
    world(options.work)  # draws before the processes begin
    study = Study(options.work, options.seeds, options.workers)
    for part in options.only:
        write_section(options.out, f"fine-r1-{part}", [*PARTS[part](study), "", signed(study)])


def main_table(study: Study) -> list[str]:
    """All rows: open world, closed world, and what each adds to the CoT SFT."""
    found = study.results(MAIN)
    rows = [[title, *figures(results, found[COT])] for title, results in found.items()]
    dual = [world(study.work).contrastive(seed) for seed in range(study.seeds)]
    for at, title in enumerate(("dual encoder, a prompt", "dual encoder, ensemble")):
        rows.append([title, *figures([each[at] for each in dual], found[COT])])
    return [
        "## Fine-R1 on the drawn world",
        "",
        *grid(HEADS, rows),
        "",
        "Right answers in per cent, mean and standard deviation over seeds. *Open*: the name or an accepted one, alone in "
        "the answer tags (the base is read as plain text); *closed*: one of four names, three of them what the encoder "
        "takes the picture for, in one shuffled order; *similarity*: relative to the super-category, by the encoder's "
        "text tower, seen and unseen averaged; *tags*: replies with one readable answer. *Against CoT SFT*: difference "
        "in the open world, all classes, with a 95 % bootstrap interval over species of all seeds. The dual encoder's "
        "wrong options are its own mistakes.",
    ]


SEEN = (True, False)
HEADS = ("", "open, seen", "unseen", "closed, seen", "unseen", "similarity", "tags", "words", "against CoT SFT")


def figures(results: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> list[str]:
    """One row of the main table."""
    cells = []
    for part, key in (OPEN, CLOSED):
        cells += [spread([100 * share(one[part][key], one[f"{part} seen"], seen) for one in results]) for seen in SEEN]
    similar = [[share(one["open"]["similarity"], one["open seen"], seen) for seen in SEEN] for one in results]
    cells.append(spread([100 * float(np.mean(pair)) for pair in similar]))
    tagged = [one["open"].get("tagged") for one in results]
    cells.append("" if tagged[0] is None else spread([100 * float(np.mean(each)) for each in tagged]))
    words = [one["open words"] for one in results]
    cells.append("" if words[0] is None else f"{np.mean([each['mean'] for each in words]):.0f}")
    cells.append("" if results is base else against(results, base))
    return cells


def against(results: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> str:
    """Difference of two rows in the open world, over species of all seeds."""
    part, key = OPEN
    differences = []
    for one, other in zip(results, base, strict=True):
        gaps = np.array(filled(one[part][key])) - np.array(filled(other[part][key]))
        differences += list(gaps.reshape(-1, TESTS).mean(axis=1))
    found = bootstrap_mean(differences)
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def filled(values: Sequence[float | None]) -> list[float]:
    """What was not named is not right."""
    return [value or 0.0 for value in values]


def sweep_table(study: Study) -> list[str]:
    """How the replies are shared between anchor and positive (n1 : n2)."""
    found = study.results(SWEEP)
    rows = []
    for (n1, n2), row in zip(SPLITS, SWEEP, strict=True):
        results = found[row.title]
        open_ = [spread([100 * share(one["open"]["accepted"], one["open seen"], s) for one in results]) for s in SEEN]
        similar = [
            spread([100 * share(one["open"]["similarity"], one["open seen"], s) for one in results]) for s in SEEN
        ]
        rows.append([f"{n1} : {n2}", *open_, *similar])
    return [
        "## Fine-R1: replies to the anchor and to the positive",
        "",
        *grid(("n1 : n2", "open, seen", "unseen", "similarity, seen", "unseen"), rows),
        "",
        "DAPO with groups of six replies shared between the anchor and the positive; no term of the negative (6 : 0 is "
        "DAPO, 3 : 3 the row of intra-class augmentation above). The paper sweeps TAPO itself, with ten replies.",
    ]


def length_table(study: Study) -> list[str]:
    """Length of the thinking against accuracy, and how the policy's figures moved."""
    found = study.results(MAIN)
    rows = []
    for title in (COT, "CoT SFT, long rationales", "+ DAPO", "TAPO, as released", "TAPO, corrected"):
        words = [one["open words"] for one in found[title]]
        quarters = [" / ".join(f"{100 * each['accuracy']['value']:.0f}" for each in one["bins"]) for one in words]
        rows.append([title, f"{np.mean([one['mean'] for one in words]):.1f}", quarters[0], rank(words)])
    moved = []
    for title in ("+ DAPO", "+ intra-class only", "+ inter-class only", "TAPO, as released", "TAPO, corrected"):
        logs = [one["trained"]["log"] for one in found[title]]
        cells = []
        for name in ("accuracy", "format", "length", "entropy", "kl"):
            ends = [
                [np.mean([line.get(name, np.nan) for line in part]) for part in (log[:3], log[-3:])] for log in logs
            ]
            first, last = np.mean(ends, axis=0)
            cells.append("" if np.isnan(first) else f"{first:.2f} to {last:.2f}")
        moved.append([title, *cells])
    return [
        "## Fine-R1: length of the thinking, course of the policy",
        "",
        *grid(("", "words", "right by quarter of length, seed 0", "rank correlation"), rows),
        "",
        *grid(("", "accuracy", "format", "tokens", "entropy", "inter-class term"), moved),
        "",
        "First table: open world, all species; shortest quarter of the replies first; Spearman correlation of words and "
        "being right, by seed. Second: means of sampled replies in the first and the last three steps, over seeds.",
    ]


def rank(words: Sequence[dict[str, Any]]) -> str:
    """Correlations, one a seed."""
    return ", ".join("none" if one["spearman"] is None else f"{one['spearman']:+.2f}" for one in words)


def cause_table(study: Study) -> list[str]:
    """Why unseen names are lost by the SFT."""
    found = study.results(CAUSE)
    rows = [[title, *figures(results, found[COT])[:2], *lost(study, results)] for title, results in found.items()]
    return [
        "## Fine-R1: what the SFT does to unseen names",
        "",
        *grid(("", "open, seen", "unseen", "says a seen name", "an unseen one", "no name of the guide"), rows),
        "",
        "Last three columns: what is answered to pictures of unseen species, per cent.",
    ]


def lost(study: Study, results: Sequence[dict[str, Any]]) -> list[str]:
    """What kind of name pictures of unseen species get."""
    kinds = []
    for seed, one in enumerate(results):
        seen = {normalise(name) for name in world(study.work).division(seed).seen}
        said = [normalise(a or "") for a, flag in zip(one["open answers"], one["open seen"], strict=True) if not flag]
        known = [normalise(name) for name in NAMES]
        kinds.append([np.mean([a in seen for a in said]), np.mean([a in known and a not in seen for a in said])])
    seen_, unseen = (np.array(kinds) * 100).T
    return [spread(list(seen_)), spread(list(unseen)), spread(list(100 - seen_ - unseen))]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


PARTS: dict[str, Callable[[Study], list[str]]] = {
    "main": main_table,
    "sweep": sweep_table,
    "length": length_table,
    "cause": cause_table,
}


def signed(study: Study) -> str:
    """Who measured, on what."""
    changed = len(withheld())
    return (
        f"`scripts/fine_r1_embedded.py`: {len(NAMES)} species ({changed} of them never shown to the MLLM), divided anew by "
        f"seeds 0 to {study.seeds - 1} (60 % seen); one picture a seen species for SFT ({SFT.epochs} epochs, rate "
        f"{SFT.learning_rate:g}), four for reinforcement ({POLICY.epochs} epoch, rate {POLICY.learning_rate:g}, "
        f"{sum(POLICY.replies)} replies a prompt, {POLICY.rollout_batch} prompts a step), {TESTS} a species to test, one "
        f"of them with options; all weights of the language model; rationales by the field guide's text, which knows "
        f"the true attributes; view seeds from {TRAIN_SEED:,} and {TEST_SEED:,}; MLLM and encoder `fieldguide`; "
        f"{date.today()}, {platform.machine()} CPU, float32."
    )


if __name__ == "__main__":
    main()
