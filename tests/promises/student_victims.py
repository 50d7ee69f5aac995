"""Students that are killed while they learn: ``python -m tests.promises.student_victims FOLDER KILLS SEED``.

As ``rar_victims.py`` (forked children, real SIGKILL): one scenario asks all it may and again where it doubts, the other
is stopped by a spending cap. ``FOLDER/killed.json`` says where the kills landed; judging is left to the test.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.promises import rar_victims
from tests.promises.killing import CONCURRENCY, END, Work

LATENCY = 0.02
"""Seconds of an MLLM call."""
TOKENS, DOLLARS = 1000, 1000e-6
"""Input tokens of a call, and their price."""
LABELS = 40
CAP = 0.02
STAGES = ("features", "label", "second", "learn", "save")
OPEN, CAPPED = "open", "capped"


def teacher(folder: Path, truth: dict[str, str]) -> Any:
    """Right about four pictures in five; every call leaves a line in ``FOLDER/calls.log`` when it arrives."""
    from fgvr.mllm import Reply, ScriptedMllm
    from fgvr.types import Usage

    names = sorted(set(truth.values()))

    def script(request: Any) -> Reply:
        handle = os.open(folder / "calls.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(handle, f"{request.item_id}\n".encode())
        os.close(handle)
        time.sleep(LATENCY)
        number = int.from_bytes(f"{request.item_id}{request.prompt}".encode()[-9:], "big")
        name = truth[request.item_id] if number % 5 else names[number % len(names)]
        return Reply("", f"This is a **{name}**.", "teacher", Usage(calls=1, input_tokens=TOKENS))

    return ScriptedMllm(script, name="teacher")


def scenario(photographs: Path, truth: dict[str, str], *, cap: float | None) -> Work:
    """``Student.fit`` with a run folder."""
    from dataclasses import replace

    from fgvr.methods.student import HeadSettings, SecondOpinionSettings, SelfTrainingSettings, Student, StudentSettings
    from fgvr.methods.student import estimator as module
    from fgvr.methods.student.record import write_fit
    from fgvr.mllm import Price
    from tests.methods.near.world import ProjectionEncoder

    settings = replace(
        StudentSettings(),
        heads=HeadSettings(heads=("prototypes",), text_shares=(0.3,), folds=2),
        self_training=SelfTrainingSettings(rounds=1),
        second_opinion=SecondOpinionSettings(0.25),
    )

    def work(folder: Path, enter: Callable[[str], None]) -> None:
        def writing(*args: Any) -> None:
            enter("save")
            write_fit(*args)

        def progress(stage: str, _done: int, _total: int) -> None:
            enter(stage if stage in STAGES else "learn")

        module.write_fit = writing  # type: ignore[attr-defined]  # in a forked child: nobody else's
        Student(
            ProjectionEncoder(),
            teacher(folder, truth),
            settings=settings,
            labels=LABELS,
            views=1,
            out=folder / "run",
            budget=cap,
            prices={"teacher": Price(1.0, 1.0)},
            concurrency=CONCURRENCY,
            progress=progress,
        ).fit(photographs)
        enter(END)

    return work


def draw(folder: Path) -> dict[str, str]:
    """Sixty pictures of five kinds; returns their names by item."""
    from tests.methods.near.world import NAMES, clustered, picture

    folder.mkdir()
    features, true = clustered(12, names=NAMES[:5], seed=1)
    for index, feature in enumerate(features):
        picture(feature).save(folder / f"{index:03d}.png")
    return {f"{index:03d}.png": NAMES[label] for index, label in enumerate(true)}


def main() -> None:
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import scipy.sparse  # once, before the children
    import torch

    import fgvr.methods.student.pipeline
    from fgvr.encoders import store

    assert scipy.sparse
    assert fgvr.methods.student.pipeline
    torch.set_num_threads(1)
    store.SHARD_ROWS = 16  # small worlds take milliseconds: write often, as big ones do
    rar_victims.STAGES = STAGES  # type: ignore[assignment]
    truth = draw(root / "photographs")
    worlds = {name: scenario(root / "photographs", truth, cap=cap) for name, cap in ((OPEN, None), (CAPPED, CAP))}
    (root / "killed.json").write_text(json.dumps(rar_victims.execute(worlds, root, kills=kills, seed=seed)))


if __name__ == "__main__":
    main()
