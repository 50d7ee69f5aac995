"""Growth of the whole NeaR run: wall time and memory by support images n, labels C and test images T.

Protocol: photograph-like JPEGs of 112 pixels (smooth noise, seed 0), the embedded encoder, an MLLM that answers at once
with one of C names (labelling by a real one is n calls, see the scheduler), a run folder with ledger, feature store and
checkpoints, CoOp's released schedule (50 epochs of minibatches of 32, so n / 32 text passes an epoch) or the full-batch
one (60 steps), three-fold calibration, then prediction of T images. One of n, C and T grows, the others stay. Each run
in a fresh process, models loaded before the clock starts; memory is the growth of its peak from then on. Exponent: the
slope of log time against log size over the rows shown, of the stage that should grow and of the whole.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.common import Measured, in_fresh_process, table, write_section

BASE = {"support": 400, "labels": 50, "test": 400}
GROWING = {
    ("support", "full"): (100, 400, 1600),
    ("support", "released"): (100, 200, 400),
    ("labels", "full"): (25, 100, 400),
    ("test", "full"): (400, 1600, 6400),
}
STAGES = {"support": ("features", "label", "tune", "calibrate"), "labels": ("tune", "calibrate"), "test": ("predict",)}


def draw(folder: Path, count: int) -> None:
    """``count`` smooth random pictures: JPEGs that cost what photographs of this size cost."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 256, size=(14, 14, 3), dtype=np.uint8))
        small.resize((112, 112), Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg", quality=90)


def whole_run(pictures: str, support: int, labels: int, test: int, schedule: str) -> dict[str, float]:
    """Seconds of each stage of one fit and prediction."""
    from fgvr import NeaR
    from fgvr.methods.near.pipeline import FitSettings
    from fgvr.methods.near.settings import FAST, TuneSettings
    from fgvr.mllm import ScriptedMllm
    from fgvr.types import ImageItem

    spent: dict[str, float] = defaultdict(float)
    last = time.perf_counter()

    def progress(stage: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[stage] += now - last
        last = now

    paths = sorted(Path(pictures).iterdir())
    items = [ImageItem(path.name, path) for path in paths]
    with tempfile.TemporaryDirectory() as scratch:
        tuning = FAST if schedule == "full" else TuneSettings()
        mllm = ScriptedMllm(lambda request: f"spotted {int(request.item_id[:5]) % labels:03d} warbler")
        near = NeaR(_encoder(), mllm, settings=FitSettings(tuning=tuning), out=Path(scratch) / "run", progress=progress)
        near.fit(items[:support])
        spent["calibrate"] += time.perf_counter() - last
        near.progress = None
        started = time.perf_counter()
        predicted = near.predict(items[support : support + test])
        spent["predict"] = time.perf_counter() - started
    assert len(predicted) == test
    assert near.classifier is not None
    assert len(near.classifier.names) == labels
    return dict(spent)


def _encoder() -> object:
    """The embedded encoder, loaded once a process."""
    global _loaded
    if _loaded is None:
        from fgvr.encoders import load_encoder

        _loaded = load_encoder("fieldguide")
    return _loaded


_loaded: object = None


def _prepare() -> None:
    """Load the model and make every lazy import happen."""
    with tempfile.TemporaryDirectory() as scratch:
        draw(Path(scratch) / "p", 12)
        whole_run(str(Path(scratch) / "p"), 8, 4, 4, "full")


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Least-squares slope of log seconds against log size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def rows_of(pictures: str, what: str, schedule: str, sizes: tuple[int, ...]) -> list[tuple[object, ...]]:
    """The rows of one growing quantity, exponents last."""
    rows: list[tuple[object, ...]] = []
    stage, whole = [], []
    for size in sizes:
        setting = {**BASE, what: size}
        ran: Measured = in_fresh_process(whole_run, pictures, *setting.values(), schedule, prepare=_prepare)
        stage.append(sum(ran.result.get(name, 0.0) for name in STAGES[what]))
        whole.append(sum(ran.result.values()))
        numbers = [f"{value:,}" for value in setting.values()]
        rows.append((*numbers, schedule, f"{stage[-1]:.2f} s", f"{whole[-1]:.2f} s", f"{ran.growth_mib:.0f}"))
        print(rows[-1], flush=True)
    slopes = (f"**{exponent(list(sizes), stage):.2f}**", f"**{exponent(list(sizes), whole):.2f}**")
    rows.append((f"*exponent in {what}*", "", "", schedule, *slopes, ""))
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    quick = parser.parse_args().quick
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        pictures = Path(scratch) / "pictures"
        most = max(max(sizes) for sizes in GROWING.values())
        draw(pictures, 1000 if quick else most + BASE["support"])
        for (what, schedule), sizes in GROWING.items():
            rows += rows_of(str(pictures), what, schedule, sizes[:2] if quick else sizes)
    header = ("support n", "labels C", "test T", "schedule", "the stages that grow", "whole run", "memory, MiB")
    text = (__doc__ or "").split("Protocol: ")[1]
    stages = "; ".join(f"{what}: {', '.join(names)}" for what, names in STAGES.items())
    body = f"{text}\nStages that grow: {stages}.\n\n{table(header, rows)}"
    print(body)
    if not quick:
        write_section("growth", "Growth of a whole run", body)


if __name__ == "__main__":
    main()
