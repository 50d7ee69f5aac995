"""What is killed: whole fits and labellings, each telling which stage it enters. See ``killing.py``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.promises.killing import CONCURRENCY, END, Work

LATENCY = 0.02
"""Seconds of an MLLM call."""
PICTURES = 44
SUPPORT = 30


def make_pictures(folder: Path) -> None:
    """Small photographs, two of them copies of others, and a file that is none."""
    from tests.encoders.tiny import picture

    folder.mkdir()
    for index in range(PICTURES):
        picture(index % 8 * 11 + index // 8).save(folder / f"{index:03d}.png")
    for copy, original in (("copy-a.png", "001.png"), ("copy-b.png", "002.png")):
        (folder / copy).write_bytes((folder / original).read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")


def slow_mllm(folder: Path) -> Any:
    """Answers by file name after ``LATENCY``; every call leaves a line in ``FOLDER/calls.log`` when it arrives."""
    from fgvr.mllm import ScriptedMllm
    from tests.encoders.tiny import NAMES

    def script(request: Any) -> str:
        handle = os.open(folder / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(handle, f"{request.item_id}\n".encode())
        os.close(handle)
        time.sleep(LATENCY)
        if request.stage == "meta":
            return "Animals"
        number = int.from_bytes(request.image_hashes[0].encode()[:4], "big")
        return "I cannot tell." if number % 11 == 0 else f"This is a **{NAMES[number % len(NAMES)]}**."

    return ScriptedMllm(script)


def near_scenario(photographs: Path, encoder: Any, settings: Any, *, prompt: Any) -> Work:
    """``NeaR.fit`` with a run folder, then predictions to a file by the path that ``fgvr predict`` takes."""
    from fgvr.data import load_items, write_predictions
    from fgvr.methods.near import NeaR, estimator
    from fgvr.methods.near.record import write_fit

    class Watched(NeaR):
        enter: Callable[[str], None]

        def _named(self, *args: Any) -> Any:
            self.enter("features")
            return super()._named(*args)

        def _label(self, *args: Any) -> Any:
            self.enter("label")
            found = super()._label(*args)
            self.enter("space")
            return found

    def work(folder: Path, enter: Callable[[str], None]) -> None:
        def writing(*args: Any) -> None:
            enter("save")
            write_fit(*args)

        estimator.write_fit = writing  # in a forked child: nobody else's

        def progress(stage: str, _done: int, _total: int) -> None:
            if stage in ("select", "tune", "calibrate"):
                enter(stage)

        run = folder / "run"
        near = Watched(
            encoder,
            slow_mllm(folder),
            settings=settings,
            prompt=prompt,
            support_size=SUPPORT,
            views=2,
            out=run,
            concurrency=CONCURRENCY,
            progress=progress,
        )
        near.enter = enter
        near.fit(photographs)
        enter("predict")
        ready = NeaR.load(run, encoder=encoder)
        predictions, _ = ready.predict_items(load_items(photographs).items, store=run / "features", batch_size=8)
        write_predictions(folder / "predictions.jsonl", predictions)
        enter(END)

    return work


def label_scenario(photographs: Path) -> Work:
    """What ``fgvr label`` does."""
    from fgvr.cli import label as verb
    from fgvr.data import load_items
    from fgvr.naming import labelling

    def work(folder: Path, enter: Callable[[str], None]) -> None:
        ask, write = labelling.label_images, verb._write

        def asking(*args: Any, **options: Any) -> Any:
            enter("label")
            return ask(*args, **options)

        def writing(*args: Any) -> None:
            enter("write")
            write(*args)

        labelling.label_images, verb._write = asking, writing
        enter("read")
        verb.run_labelling(
            load_items(photographs).items,
            slow_mllm(folder),
            folder / "run",
            question={"text": None, "prompt": "paper"},
            source=str(photographs),
            aside=(),
            budget=None,
            replies=None,
            asking={"concurrency": CONCURRENCY},
        )
        enter(END)

    return work


def scenarios(root: Path) -> dict[str, Work]:
    """The workshop method with views and calibration; a choice among candidates; labelling alone."""
    from dataclasses import replace

    from fgvr.encoders import FeatureStore, load_encoder, store
    from fgvr.methods.near import LITE, RefineSettings, TuneSettings, estimator, tuning
    from fgvr.methods.near.pipeline import FitSettings
    from tests.encoders import tiny

    class SmallBatches(FeatureStore):
        def features(self, *args: Any, **options: Any) -> Any:
            return super().features(*args, **{**options, "batch_size": 8})

    # Small worlds take milliseconds: write often, as big ones do.
    estimator.FeatureStore = SmallBatches  # type: ignore[misc]
    store.SHARD_ROWS = 16
    tuning.CHECKPOINT_SECONDS = 0.0
    photographs = root / "photographs"
    make_pictures(photographs)
    encoder = load_encoder(tiny.save("clip", root / "model"), device="cpu")
    workshop = TuneSettings(epochs=8, context_length=4, batch_size=8)
    candidates = {
        "workshop": replace(workshop, epochs=4),
        "near-style": replace(workshop, epochs=4, refine=RefineSettings(warmup_epochs=1)),
        "lite": replace(LITE, epochs=10),
    }
    return {
        "workshop": near_scenario(photographs, encoder, FitSettings(tuning=workshop, folds=3), prompt="paper"),
        "select": near_scenario(
            photographs, encoder, FitSettings(tuning=candidates, folds=2, filter_labels=True), prompt="structured"
        ),
        "label": label_scenario(photographs),
    }
