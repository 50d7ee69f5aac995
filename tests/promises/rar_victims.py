"""RAR fits and predictions that are killed: ``python -m tests.promises.rar_victims FOLDER KILLS SEED``.

As ``killing.py`` (forked children, real SIGKILL), with two scenarios: one runs to its end, one is stopped by a spending
cap. ``FOLDER/killed.json`` says where the kills landed; judging is left to the test.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.promises.killing import CONCURRENCY, END, Work, attempt, finish

LATENCY = 0.02
"""Seconds of an MLLM call."""
TOKENS, DOLLARS = 1000, 1000e-6
"""Input tokens of a call, and their price."""
CAP = 0.038
STAGES = ("features", "calibrate", "save", "predict")
CAPPED = "capped"
OPEN = "open"


def scenario(photographs: Path, queries: Path, *, cap: float | None) -> Work:
    """``RAR.fit`` with a run folder, then predictions to a file."""
    from fgvr.data import load_items, write_predictions
    from fgvr.methods.rar import RAR, RarSettings, estimator
    from fgvr.methods.rar.record import write_fit
    from fgvr.mllm import Price
    from tests.methods.near.world import ProjectionEncoder
    from tests.methods.rar.world import Witness, truths

    truth = truths(photographs, queries)

    class Logged(Witness):
        folder: Path

        def _script(self, request: Any) -> Any:
            handle = os.open(self.folder / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.write(handle, f"{request.item_id}\n".encode())
            os.close(handle)
            time.sleep(LATENCY)
            return super()._script(request)

    def work(folder: Path, enter: Callable[[str], None]) -> None:
        witness = Logged(truth, tokens=TOKENS)
        witness.folder = folder
        begun = ["features"]

        def progress(stage: str, _done: int, _total: int) -> None:
            if begun[0] != "predict":
                enter("calibrate" if stage == "rank" else "features")

        def writing(run: Any, fit: Any) -> None:
            enter("save")
            write_fit(run, fit)

        estimator.write_fit = writing  # type: ignore[attr-defined]
        options: dict[str, Any] = {"prices": {"witness": Price(1.0, 1.0)}, "budget": cap, "concurrency": CONCURRENCY}
        settings = RarSettings() if cap is None else RarSettings(weight=1.5)
        rar = RAR(
            ProjectionEncoder(), witness.mllm, settings=settings, out=folder / "run", progress=progress, **options
        )
        enter("features")
        rar.fit(photographs)
        begun[0] = "predict"
        enter("predict")
        loaded = RAR.load(folder / "run", witness.mllm, encoder=ProjectionEncoder(), **options)
        found = loaded.recognise(load_items(queries).items, store=folder / "run" / "features", batch_size=8)
        write_predictions(folder / "predictions.jsonl", found.predictions)
        (folder / "stopped").write_text(str(found.stopped))
        enter(END)

    return work


def execute(scenarios: dict[str, Work], root: Path, *, kills: int, seed: int) -> list[dict[str, Any]]:
    """Undisturbed runs, then ``kills`` kills, every stage of every scenario in turn."""
    rng, runs = random.Random(seed), []
    seconds = {}
    for name, work in scenarios.items():
        (root / f"{name}-reference").mkdir()
        entered = finish(work, root / f"{name}-reference")
        ends = [at for _, at in entered[1:]]
        seconds[name] = {stage: end - at for (stage, at), end in zip(entered, ends)}
    done = 0
    for number in range(4 * kills):
        name = list(scenarios)[number % len(scenarios)]
        folder = root / f"{name}-{number:03d}"
        folder.mkdir()
        landed = []
        for turn in range(rng.randint(2, 4)):
            stages = [stage for stage in STAGES if stage in seconds[name]]
            stage = stages[(number // len(scenarios) + turn) % len(stages)]
            hit = attempt(scenarios[name], folder, stage=stage, delay=rng.random() * seconds[name][stage])
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

    from fgvr.encoders import store
    from tests.methods.rar.world import draw

    torch.set_num_threads(1)
    store.SHARD_ROWS = 16  # small worlds take milliseconds: write often, as big ones do
    photographs, queries = draw(root / "photographs", 3), draw(root / "queries", 4, seed=9)
    worlds = {name: scenario(photographs, queries, cap=cap) for name, cap in ((OPEN, None), (CAPPED, CAP))}
    (root / "killed.json").write_text(json.dumps(execute(worlds, root, kills=kills, seed=seed)))


if __name__ == "__main__":
    main()
