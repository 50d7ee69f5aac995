"""A step of reinforcement learning: this package's loop against TRL's GRPOTrainer, and what its parts cost and bring.

Protocol. A randomly initialised Qwen2.5-VL (``policy_model``), float32, one thread, AdamW, no gradient checkpointing.
One step: replies to every prompt, rewards, one update in micro-batches. Temperature 1, top-p 0.99; all replies have the
same number of tokens (TRL: ``min_new_tokens``; here: no token ends a reply). Rewards are drawn, every other reply is
right, no prompt is filtered out. All ways take turns in one process; figures are medians of processor time, which on
one thread is that of a machine with nothing else to do. Prompts, pictures, replies a prompt and micro-batches are the
same for all; TRL's prompts are checked to be the same tokens. Every step's pictures are new to it, as in a first epoch.

TRL's step begins with its epoch and ends with the optimiser's step (logging and saving switched off). Without TRL
installed (``pip install trl==1.16.0``) the other ways are measured alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import table, write_section
from benchmarks.policy_loop import Sizes, Took, ours
from benchmarks.policy_model import SHAPES, save_model, triplets_in
from benchmarks.policy_trl import NEEDED, trl_works, trls

LEAVING = "the same, finished replies stay in the batch"


@dataclass
class Way:
    """One way of doing a step, and what its steps took."""

    label: str
    weights: str
    step: Callable[[], Took]
    took: list[Took] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Of ``seconds``, ``generate``, ``score`` or ``update``: seconds for a generated token."""
        return statistics.median(getattr(one, name) / one.tokens for one in self.took)


def ways_in(folder: Path, sizes: Sizes) -> tuple[list[Way], list[Way]]:
    """The ways to compare with TRL and with each other, and those with something switched off."""
    from fgvr.methods.fine_r1.tapo import TapoSettings

    shape = SHAPES["tiny"]
    source = save_model(folder / "model", shape)
    triplets = triplets_in(folder, sizes.prompts, side=shape.side)
    places = (folder / f"run{index}" for index in itertools.count())

    def way(label: str, objective: Any, **options: Any) -> Way:
        weights = "all" if options.get("full") else "LoRA"
        return Way(label, weights, ours(source, triplets, sizes, next(places), objective=objective, **options))

    dapo = TapoSettings.dapo()
    compared = [way("DAPO", dapo), way("DAPO", dapo, full=True)]
    if trl_works():
        theirs = [(full, trls(source, triplets, sizes, next(places), full=full)) for full in (False, True)]
        compared += [Way("TRL 1.16, DAPO", "all" if full else "LoRA", step) for full, step in theirs]
    compared += [
        way("GRPO", TapoSettings.grpo()),
        way("DAPO with positives", TapoSettings.intra_only()),
        way("TAPO, official_code", TapoSettings.tapo("official_code")),
        way("TAPO, paper", TapoSettings.tapo("paper")),
        way("TAPO, corrected", TapoSettings.tapo()),
        way("TAPO, corrected, of all replies", TapoSettings.tapo(applies_to="all")),
    ]
    few = round(shape.vocabulary / (sizes.tokens / 3))
    off = [
        way("picture features computed in every pass", dapo, share=False),
        way("prompts computed for every reply", dapo, prompts_once=False),
        way("replies of a third of the length on average", dapo, ends=few),
        way(LEAVING, dapo, ends=few, leaving=False),
    ]
    return compared, off


def measure(ways: Sequence[Way], *, repeats: int) -> None:
    """One step of every way unmeasured, then ``repeats`` rounds; their order turns."""
    for way in ways:
        way.step()
    for turn in range(repeats):
        order = list(ways) if turn % 2 == 0 else list(ways)[::-1]
        for way in order:
            way.took.append(way.step())


def find(ways: Sequence[Way], label: str, weights: str = "LoRA") -> Way | None:
    """The way of this name."""
    return next((way for way in ways if (way.label, way.weights) == (label, weights)), None)


def cells(way: Way, against: Sequence[Way | None]) -> list[str]:
    """A row: seconds a step, its parts in microseconds a generated token, ratios."""
    seconds = statistics.median(one.seconds for one in way.took)
    parts = [f"{1e6 * way.median(name):,.0f}" for name in ("generate", "score", "update", "seconds")]
    ratios = ["" if one is None else f"{way.median('seconds') / one.median('seconds'):.2f}" for one in against]
    return [way.label, way.weights, f"{seconds:.2f}", *parts, *ratios]


HEADER = ("step", "weights", "seconds", "replies", "scores", "update", "whole")


def report(compared: Sequence[Way], off: Sequence[Way], sizes: Sizes, *, repeats: int) -> str:
    """The section's text."""
    shape = SHAPES["tiny"]
    rows = [
        cells(way, (find(compared, "TRL 1.16, DAPO", way.weights), find(compared, "DAPO", way.weights)))
        for way in compared
    ]
    base = find(compared, "DAPO")
    third = find(off, "replies of a third of the length on average")
    references = {way.label: base for way in off} | {LEAVING: third} | ({} if third is None else {third.label: None})
    others = [cells(way, (references[way.label],)) for way in off]
    missing = "" if trl_works() else f" TRL {NEEDED} was not installed, so nothing is compared with it."
    return "\n\n".join(
        [
            f"{sizes.prompts} prompts, {sizes.replies} replies of {sizes.tokens} tokens to each, micro-batches of "
            f"{sizes.micro}, pictures of {shape.picture_tokens} tokens; a randomly initialised Qwen2.5-VL "
            f"({shape.width} wide, {shape.layers} layers, {shape.vocabulary:,} words), float32, one thread; medians of "
            f"{repeats} steps in turn, processor time. Seconds are those of a step; replies (with rewards), scores "
            "(passes without gradients), update and whole are microseconds a generated token, which is also a learned "
            f"one. Every other reply counts as right.{missing}",
            table((*HEADER, "against TRL", "against DAPO"), rows),
            "The DAPO step with something switched off; the last against the one above it:",
            table((*HEADER, "against the step as it is"), others),
        ]
    )


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, no warnings of libraries."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short replies, one round, writes nothing")
    quick = parser.parse_args().quick
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    sizes, repeats = (Sizes(prompts=2, replies=2, tokens=4, micro=2), 1) if quick else (Sizes(), 5)
    with tempfile.TemporaryDirectory() as place, quiet():
        compared, off = ways_in(Path(place), sizes)
        measure([*compared, *off], repeats=repeats)
    body = report(compared, off, sizes, repeats=repeats)
    print(body)
    if not quick:
        write_section("policy_step", "A step of reinforcement learning", body)


if __name__ == "__main__":
    main()
