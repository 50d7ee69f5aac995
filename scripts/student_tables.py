"""Scores the student's study and writes docs/results_student.md and docs/student_curves.svg.

python scripts/student_tables.py --shared DIR --work build/student
"""

from __future__ import annotations

import argparse
import platform
from datetime import date
from pathlib import Path

import numpy as np
from student_curves import curves
from student_methods import ABLATIONS, CURVE, EIGHT, ONE
from student_scores import FIGURES, TITLES, Estimate, Scorer, estimate
from student_study import ABLATED, ABLATED_DRAWS, BOUNDS, DEVELOPED, DRAWS, MORE, PHOTO_SEEDS, SHARES, worlds
from student_worlds import POOL_SEED, REPLIES

from fgvr.runs import Ledger, write_text

GROUPS = {
    "drawn": "drawn species",
    MORE: "drawn species, eight crops",
    DEVELOPED: "drawn species (development)",
    "pets37": "pets37 (development)",
    "cub832": "cub832",
    "grocery81": "grocery81",
}
TEACHER = "direct MLLM"


def main() -> None:
    """Read all cells, write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results_student.md"))
    options = parser.parse_args()
    scorer = Scorer(options.shared, options.work)
    present = [world for world in worlds() if scorer.sample(world, "student", 1.0) is not None]
    lines = [*header(), *passing(scorer, present), *costs(options.work)]
    for world in present:
        lines += curve(scorer, world)
    lines += bounds(scorer, present)
    ablated = [world for world in present if world not in (MORE, DEVELOPED)]
    for share in ABLATED:
        lines += ablations(scorer, ablated, share)
    write_text(options.out, "\n".join(lines) + "\n")
    write_text(options.out.parent / "student_curves.svg", curves(scorer, present))
    print(f"{options.out}: {len(present)} worlds")


def title(world: str) -> str:
    """As the page calls it."""
    return GROUPS.get(world, f"recorded {world}" if "." in world else world)


def header() -> list[str]:
    """What holds for every table."""
    return [
        "# The student against its teacher",
        "",
        "Written by `scripts/student_study.py` and `scripts/student_tables.py`; "
        + f"{date.today()}, {platform.machine()}",
        "CPU, float32. *Share* is the share of the pool that the teacher was asked about; the student then names test",
        "photographs that are not in the pool, without a call. `direct MLLM` asks about that share of the *test*",
        "photographs, and the others have no name, which counts as wrong; its last column is the teacher. Accuracy counts",
        "accepted synonyms; sACC is all-MiniLM-L6-v2's. In brackets 95 % intervals.",
        "",
        f"- *Drawn species*: 136 drawn species, 2,992 pool and 1,360 test pictures, {DRAWS} draws of the pool (t interval over",
        "  draws); encoder and MLLM `fieldguide`, the paper's question.",
        f"  The student draws {max(REPLIES)} replies in each call; a call is a call however many replies it draws, and what",
        "  they cost in tokens stands below the first table. With eight crops instead of four: student and teacher only.",
        "- *pets37, cub832*: half of each class's photographs is the pool (185 and 461), the rest is test; *grocery81*: its own",
        f"  lists (1,134 and 810). {PHOTO_SEEDS} seeds of choosing and training; bootstrap over test images. Encoder `photo_dual_encoder`",
        "  (not CLIP). Teachers: recordings of small specialist classifiers, and a noise model for grocery81: *not MLLMs*. The",
        "  recordings on pets37 and cub832 give up to five names with scores, which the student takes for several replies.",
        "- *Recorded*: real replies of Qwen2.5-VL-72B and Gemini-2.5-Flash, real CLIP ViT-B/16 image vectors, no text tower and",
        "  no views; each third of the three images a class is held out once, the other two thirds are the pool; bootstrap over",
        "  classes. One test image a class and third: cACC is then generous to fragmented names, the teacher's most of all.",
        "- The defaults were chosen on other drawn species (another pool, other test pictures) and on pets37. Several replies a",
        "  call were added after the figures with one reply had been seen on all sets; that they are used, how, and how many",
        "  was decided on the two development sets, and nothing was changed after their figures below were seen. Rows that tune through a text tower have one seed on photographs.",
        "",
        "![Curves](student_curves.svg)",
    ]


def passing(scorer: Scorer, present: list[str]) -> list[str]:
    """Where the student passes the teacher and NeaR."""
    lines = [
        "",
        "## The share of calls at which the student is as good as the teacher",
        "",
        "First share with a mean difference of at least zero; in brackets the first with an interval above zero. `-`: none.",
        "",
        "| set | teacher cACC / sACC / accuracy | "
        + " | ".join(TITLES[figure] for figure in FIGURES)
        + " | ahead of NeaR at 5 %: cACC, accuracy |",
        "|---|---|" + "---|" * (len(FIGURES) + 1),
    ]
    for world in present:
        teacher = scorer.sample(world, TEACHER, 1.0)
        assert teacher is not None
        cells = [" / ".join(f"{estimate(teacher, figure).value:.1f}" for figure in FIGURES)]
        for figure in FIGURES:
            differences = {
                share: _difference(scorer, world, "student", share, TEACHER, 1.0, figure) for share in SHARES
            }
            level = next((f"{share:.0%}" for share, one in differences.items() if one and one.value >= 0), "-")
            sure = next((f"{share:.0%}" for share, one in differences.items() if one and one.low > 0), "-")
            cells.append(f"{level} ({sure})")
        if scorer.sample(world, "NeaR", 0.05) is None:
            lines.append(f"| {title(world)} | {' | '.join(cells)} | |")
            continue
        ahead = [_difference(scorer, world, "student", 0.05, "NeaR", 0.05, figure) for figure in ("cacc", "exact")]
        cells.append(", ".join(one.signed if one else "" for one in ahead))
        lines.append(f"| {title(world)} | {' | '.join(cells)} |")
    return lines


def _difference(
    scorer: Scorer, world: str, one: str, share: float, other: str, other_share: float, figure: str
) -> Estimate | None:
    first, second = scorer.sample(world, one, share), scorer.sample(world, other, other_share)
    return None if first is None or second is None else estimate(first, figure, second)


def costs(work: Path) -> list[str]:
    """Tokens of a call about a drawn picture, with one reply and with several, by the ledgers of the first pool."""
    lines = [
        "",
        "A call of the embedded MLLM, in tokens (its pictures are small; a service counts several hundred a picture, and a",
        "written token at several times the price of one read):",
        "",
        "| replies a call | read | written |",
        "|---|---|---|",
    ]
    for replies, ledger in ((1, "paper"), (max(REPLIES), "drawn")):
        usage = [
            line["answer"]["usage"]
            for line in Ledger(work / f"replies_pool{POOL_SEED}_{ledger}.jsonl").records()
            if line.get("kind") == "answer"
        ]
        read, written = (float(np.mean([one[key] for one in usage])) for key in ("input_tokens", "output_tokens"))
        lines.append(f"| {replies} | {read:.0f} | {written:.0f} |")
    return lines


def curve(scorer: Scorer, world: str) -> list[str]:
    """One world's curves as tables."""
    lines = ["", f"## {title(world)[0].upper()}{title(world)[1:]}"]
    for figure in FIGURES:
        lines += ["", f"| {TITLES[figure]} | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |"]
        lines.append("|---|" + "---|" * len(SHARES))
        for method in CURVE:
            samples = [scorer.sample(world, method, share) for share in SHARES]
            cells = ["" if sample is None else str(estimate(sample, figure)) for sample in samples]
            if any(cells):
                lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def bounds(scorer: Scorer, present: list[str]) -> list[str]:
    """What bounds the student."""
    lines = [
        "",
        "## What bounds it",
        "",
        "cACC / accuracy. *True labels*: the student told the truth about the whole pool (what the features allow). *Right*",
        "*labels only*: told what the teacher gets right, and nothing else (names it never gives are lost). *Usual name*: every",
        "class under the name the teacher gives it most often, no other error (what the names allow). All use the truth.",
        "",
        "| set | teacher | student, all calls | " + " | ".join(BOUNDS) + " |",
        "|---|---|---|---|---|---|",
    ]
    for world in present:
        if scorer.sample(world, BOUNDS[0], 1.0) is None:
            continue
        cells = []
        for method in (TEACHER, "student", *BOUNDS):
            sample = scorer.sample(world, method, 1.0)
            figures = ("cacc", "exact")
            cells.append("" if sample is None else " / ".join(f"{estimate(sample, one).value:.1f}" for one in figures))
        lines.append(f"| {title(world)} | {' | '.join(cells)} |")
    return lines


def ablations(scorer: Scorer, present: list[str], share: float) -> list[str]:
    """Differences from the default, part by part."""
    lines = [
        "",
        f"## Every part's ablation, at {share:.0%} of the calls",
        "",
        "Points of cACC and of accuracy against the default student (negative: the part helps); on drawn species over",
        f"{ABLATED_DRAWS} of the draws, the prompt head alone on one, at 10 % only.",
    ]
    for figure in ("cacc", "exact"):
        lines += ["", f"| {TITLES[figure]} | " + " | ".join(title(world) for world in present) + " |"]
        lines.append("|---|" + "---|" * len(present))
        for part in (*(one.removeprefix("student, ") for one in (ONE, EIGHT)), *ABLATIONS):
            found = [
                _difference(scorer, world, f"student, {part}", share, "student", share, figure) for world in present
            ]
            if any(found):
                lines.append(f"| {part} | {' | '.join('' if one is None else one.signed for one in found)} |")
        levels = [scorer.sample(world, "student", share) for world in present]
        shown = ["" if one is None else f"{100 * float(np.mean(one.values[figure])):.1f}" for one in levels]
        lines.append(f"| *default* | {' | '.join(shown)} |")
    return lines


if __name__ == "__main__":
    main()
