"""Comparisons that are killed: ``python -m tests.promises.compare_victims FOLDER KILLS SEED``.

As ``killing.py`` (forked children, real SIGKILL), with two scenarios: one runs to its end, one is stopped by a spending
cap. ``FOLDER/killed.json`` says where the kills landed; judging is left to the test.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.promises.killing import CONCURRENCY, END, Work, attempt, finish

LATENCY = 0.01
"""Seconds of an MLLM call."""
TOKENS, DOLLARS = 1000, 1000e-6
"""Input tokens of a call, and their price."""
CAP = 0.025
METHODS = ("direct", "knn", "rar")
SEEDS = (0, 1)
CAPPED, OPEN = "capped", "open"


def scenario(world: Path, *, cap: float | None) -> Work:
    """A comparison of four methods on two draws of two collections, with its tables and its page."""
    from fgvr.compare import Draw, Terms, compare
    from fgvr.compare.output import Output
    from fgvr.mllm import Price
    from tests.compare.world import collection, witness
    from tests.methods.near.world import ProjectionEncoder

    collections = [collection(world, name, seed=seed) for seed, name in enumerate(("birds", "fish"))]
    known = witness(*collections)

    def work(folder: Path, enter: Callable[[str], None]) -> None:
        def asked(request: Any) -> Any:
            handle = os.open(folder / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.write(handle, f"{request.stage} {request.item_id}\n".encode())
            os.close(handle)
            time.sleep(LATENCY)
            return script(request)

        script, mllm = known.mllm.script, type(known.mllm)(known.mllm.script, name="witness")
        mllm.script = asked
        asking = {"prices": {"witness": Price(1.0, 1.0)}, "concurrency": CONCURRENCY}
        terms = Terms(ProjectionEncoder(), mllm, budget=cap, asking=asking, resamples=5)
        out, draw = folder / "run", Draw(shots=2)
        output = Output(out, collections, terms, draw, METHODS[0])
        done: list[Any] = []

        def told(row: Any) -> None:
            done.append(row)
            output.write_tables(done)
            enter(f"after {len(done)}")

        rows = compare(collections, METHODS, terms=terms, out=out, draw=draw, seeds=SEEDS, told=told)
        output.write_page(rows)
        enter(END)

    return work


def execute(scenarios: dict[str, Work], root: Path, *, kills: int, seed: int) -> list[dict[str, Any]]:
    """Undisturbed runs, then ``kills`` kills at random moments of the whole."""
    rng, runs = random.Random(seed), []
    seconds = {}
    for name, work in scenarios.items():
        (root / f"{name}-reference").mkdir()
        seconds[name] = finish(work, root / f"{name}-reference")[-1][1]
    done = 0
    for number in range(4 * kills):
        name = list(scenarios)[number % len(scenarios)]
        folder = root / f"{name}-{number:03d}"
        folder.mkdir()
        landed = []
        for _ in range(rng.randint(2, 4)):
            left = seconds[name] * (1 - len(landed) / 6)  # what was finished before is only read
            hit = attempt(scenarios[name], folder, stage="start", delay=rng.random() * left)
            if hit is None:
                break
            landed.append(hit)
        finish(scenarios[name], folder)
        runs.append({"scenario": name, "folder": str(folder), "landed": landed})
        done += len(landed)
        if done >= kills:
            return runs
    raise RuntimeError(f"only {done} of {kills} kills met a living child")


def main() -> None:
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import torch

    from fgvr.compare.method import find
    from fgvr.encoders import store

    torch.set_num_threads(1)
    for name in ("scipy.stats", "scipy.optimize", "fgvr.compare.output"):
        importlib.import_module(name)  # once, not in every child
    assert all(map(find, METHODS))
    store.SHARD_ROWS = 8  # small worlds take milliseconds: write often, as big ones do
    worlds = {name: scenario(root / f"world-{name}", cap=cap) for name, cap in ((OPEN, None), (CAPPED, CAP))}
    (root / "killed.json").write_text(json.dumps(execute(worlds, root, kills=kills, seed=seed)))


if __name__ == "__main__":
    main()
