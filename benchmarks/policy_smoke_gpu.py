"""One GPU, a Qwen2.5-VL of 3B shape with random weights: tokens a second, memory, and where a step's time goes.

A smoke run, not a training: pictures are noise, rewards are drawn, replies never end. TAPO as corrected, five replies
to the anchor and five to the positive; bfloat16 as ``train_policy`` has it there. ``--tiny`` is the same anywhere with
a model of a few million weights. Nothing is written.

Share of the peak: floating-point operations over the time, over ``--peak`` (dense bfloat16; 989 TFLOP/s for an H100).
Counted are the language model's matrices: 2 operations a weight and token forwards, 4 backwards, 2 of them for LoRA,
whose frozen weights have no gradient; twice, for a reply's own picture and its negative. Attention, the vision tower
and the optimiser are left out: a lower bound.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.common import table
from benchmarks.policy_loop import Sizes, Took, ours
from benchmarks.policy_model import SHAPES, Shape, save_model, tokenizer_of, triplets_in
from benchmarks.policy_step import quiet
from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.tapo import TapoSettings

HEADER = ("weights", "step, s", "replies", "scores", "update", "tokens/s", "peak memory, GiB", "share of peak")
PARTS = ("seconds", "generate", "score", "update")


def operations(shape: Shape, sizes: Sizes, *, prompt: int, full: bool) -> float:
    """Floating-point operations of one step; ``prompt``: tokens, the picture's included."""
    replies = sizes.prompts * sizes.replies
    generation = 2 * (2 * sizes.prompts * prompt + replies * sizes.tokens)
    update = 2 * (6 if full else 4) * replies * (prompt + sizes.tokens)
    return float(shape.weights) * (generation + update)


def now() -> float:
    """Seconds, when all that was given to the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory() -> str:
    """GiB since it was last reset."""
    return f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if torch.cuda.is_available() else "-"


def row(label: str, took: Sequence[Took], *, work: float, peak: float) -> list[str]:
    """One way's line; ``work``: operations of a step, ``peak``: operations a second."""
    middle = {name: statistics.median(getattr(one, name) for one in took) for name in PARTS}
    seconds = middle["seconds"]
    cells = (f"{middle[name]:.2f}" for name in PARTS)
    return [label, *cells, f"{took[0].tokens / seconds:,.0f}", peak_memory(), f"{work / seconds / peak:.2%}"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small model, short replies, one step")
    parser.add_argument("--weights", choices=["lora", "full", "both"], default="both")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--micro", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s")
    given = parser.parse_args()
    shape = SHAPES["tiny" if given.tiny else "3b"]
    sizes = Sizes(2, 4, 8, 4) if given.tiny else Sizes(given.prompts, 10, given.tokens, given.micro)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    with tempfile.TemporaryDirectory() as place, quiet():
        folder = Path(place)
        source = save_model(folder / "model", shape, dtype=torch.bfloat16, device=device)
        triplets = triplets_in(folder, sizes.prompts, side=shape.side)
        said = tokenizer_of(shape)(train_prompt(triplets[0].question, style="short"))["input_ids"]
        for full in {"lora": [False], "full": [True], "both": [False, True]}[given.weights]:
            run = folder / f"run-{full}"
            step = ours(
                source, triplets, sizes, run, objective=TapoSettings.tapo(), full=full, device=device, clock=now
            )
            step()
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            took = [step() for _ in range(1 if given.tiny else given.steps)]
            work = operations(shape, sizes, prompt=shape.picture_tokens + len(said), full=full)
            rows.append(row("all" if full else "LoRA", took, work=work, peak=given.peak * 1e12))
            del step  # with its model
    print(f"{sizes} on {device}; {shape.weights / 1e6:,.0f} M weights, pictures of {shape.picture_tokens} tokens\n")
    print(table(HEADER, rows))


if __name__ == "__main__":
    main()
