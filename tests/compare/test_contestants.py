"""NeaR and RAR in a comparison are the estimators: the same names on the same small world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fgvr.compare import Collection, Draw
from fgvr.compare.cell import named
from fgvr.compare.collection import drawn
from fgvr.compare.contestants import near as near_contestant
from fgvr.compare.contestants import rar as rar_contestant
from fgvr.compare.method import find
from fgvr.data import load_items
from fgvr.encoders import FeatureStore
from fgvr.methods.near import LITE, NeaR
from fgvr.methods.near.pipeline import FitSettings
from fgvr.methods.near.presets import tunings
from fgvr.methods.rar import RAR, RarSettings
from fgvr.methods.rar.pipeline import as_described
from tests.compare.world import collection, run, witness
from tests.methods.near.world import ProjectionEncoder

DRAW = Draw(shots=2)


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return collection(tmp_path_factory.mktemp("world"), pool=4, test=4)


def support_of(birds: Collection) -> list[Path]:
    return [item.path for item in drawn(birds.pool, DRAW, seed=3)]


def test_near_is_the_estimator(birds: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (row,) = run([birds], ["near:preset=lite+epochs=3"], witness(birds).mllm, out, draw=DRAW, seeds=(3,))
    assert row.status == "done", row.error
    settings = FitSettings(tuning=replace(LITE, epochs=3), folds=0)
    estimator = NeaR(ProjectionEncoder(), witness(birds).mllm, settings=settings, seed=3)
    estimator.fit(load_items(support_of(birds), root=birds.pool[0].path.parents[1]))
    features = FeatureStore(tmp_path / "store").features(birds.test, ProjectionEncoder()).features
    classifier = estimator.classifier
    best = [classifier.names[j] for j in np.asarray(classifier.logits(np.asarray(features))).argmax(axis=1)]
    assert list(named(out, row).values()) == best
    assert row.usage.calls == near_contestant.calls(8, 16, near_contestant.Settings()) == 8


@pytest.mark.parametrize("preset", ["default", "as-described"])
def test_rar_is_the_estimator(birds: Collection, tmp_path: Path, preset: str) -> None:
    out, one = tmp_path / "out", witness(birds)
    spec = f"rar:preset={preset}"
    (row,) = run([birds], [spec], one.mllm, out, draw=DRAW, seeds=(3,))
    assert row.status == "done", row.error
    settings = {"default": RarSettings(), "as-described": as_described()}[preset]
    other = RAR(ProjectionEncoder(), witness(birds).mllm, settings=settings, seed=3)
    other.fit(load_items(support_of(birds), root=birds.pool[0].path.parents[1]), name_by_mllm=True)
    found = other.recognise(birds.test, store=tmp_path / "store").predictions
    assert list(named(out, row).values()) == [prediction.top[0][0] for prediction in found]
    assert row.usage.calls == len(one.asked) <= rar_contestant.calls(8, 16, find(spec).settings)
    assert set(row.extra) == {"share of test images asked about", "weight of the MLLM"}


def test_rar_that_never_asks_is_a_memory(birds: Collection, tmp_path: Path) -> None:
    one = witness(birds)
    (row,) = run([birds], ["rar:asking=never"], one.mllm, tmp_path / "out", draw=DRAW)
    assert row.extra["share of test images asked about"] == 0
    assert {request.stage for request in one.asked} == {"label"} or row.usage.calls <= 16


def test_presets_by_name() -> None:
    assert set(tunings("select")) > {"lite"}
    with pytest.raises(Exception, match="no such preset"):
        tunings("best")


@pytest.mark.parametrize("given", ["folds=1", "folds=-1", "epochs=0", "preset=best"])
def test_settings_of_near_that_make_no_sense(birds: Collection, tmp_path: Path, given: str) -> None:
    one = witness(birds)
    (row,) = run([birds], [f"near:{given}"], one.mllm, tmp_path / "out")
    assert row.status == "failed"
    assert any(word in row.error for word in ("fold", "epoch", "preset"))
