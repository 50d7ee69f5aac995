"""Finished folds are kept, and whatever was kept or not, the cosines are the same to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fgvr.methods.near import tuning
from fgvr.methods.near.cross_fit import cross_fit
from fgvr.methods.near.durable import inputs_digest
from fgvr.methods.near.select import select
from fgvr.methods.near.settings import LITE, RefineSettings, SetSettings, TuneSettings

from .world import NAMES, GatedTower, clustered, noisy

FAST = TuneSettings(epochs=4, context_length=4)
CANDIDATES = {
    "workshop": FAST,
    "near-style": replace(FAST, refine=RefineSettings(warmup_epochs=1)),
    "lite": replace(LITE, epochs=5),
}


class Killed(Exception):
    """Stands in for SIGKILL, which tests/promises sends."""


class Support:
    """A support set with all that cross-fitting is given."""

    def __init__(self) -> None:
        features, true = clustered(3, seed=1)
        tower = GatedTower()
        tower.set_names(NAMES)
        self.features = np.stack([features, np.roll(features, 1, axis=1)], axis=1)
        self.labels = noisy(true, share=0.3, classes=len(NAMES), seed=2)
        self.options = {"text_features": tower(torch.zeros(1, 6)).numpy(), "logit_scale": 30.0}

    def cross_fit(self, settings=FAST, **options):
        given = (self.features, self.labels, GatedTower(), NAMES, settings)
        return cross_fit(*given, **{**self.options, **options})

    def select(self, **options):
        given = (self.features, self.labels, GatedTower(), NAMES)
        return select(*given, candidates=CANDIDATES, folds=2, **self.options, **options)


@pytest.fixture(scope="module")
def support():
    return Support()


@pytest.fixture
def tuned(monkeypatch):
    """Counts the epochs of every tuning; raises when ``left`` more have been run."""
    counted = {"tunings": 0, "epochs": 0, "left": None}
    tune = tuning.tune

    def counting(*args, **options):
        def progress(_epoch, _total):
            counted["epochs"] += 1
            if counted["left"] is not None:
                counted["left"] -= 1
                if counted["left"] <= 0:
                    raise Killed

        counted["tunings"] += 1
        return tune(*args, progress=progress, **options)

    monkeypatch.setattr(tuning, "tune", counting)
    return counted


def test_a_folder_changes_nothing_and_is_not_computed_from_twice(support, tuned, tmp_path):
    plain = support.cross_fit()
    np.testing.assert_array_equal(plain, support.cross_fit(folder=tmp_path))
    assert len(list(tmp_path.iterdir())) == 3, "one file a fold, and no checkpoint of a tuning that is over"
    assert tuned["tunings"] == 6
    np.testing.assert_array_equal(plain, support.cross_fit(folder=tmp_path))
    assert tuned["tunings"] == 6


def test_a_choice_interrupted_after_any_epoch_repeats_no_finished_fold_and_comes_out_the_same(
    support, tuned, tmp_path, monkeypatch
):
    monkeypatch.setattr(tuning, "CHECKPOINT_SECONDS", 0.0)
    whole = support.select()
    epochs = tuned["epochs"]
    assert epochs == 2 * (4 + 4 + 5)
    tuned["epochs"], kills = 0, 0
    while True:
        tuned["left"] = 3
        try:
            found = support.select(folder=tmp_path)
            break
        except Killed:
            kills += 1
    # An epoch counts as lost when the interruption comes before it was written: the last of each attempt.
    assert kills >= 8
    assert tuned["epochs"] == epochs + kills
    assert found.to_dict() == whole.to_dict()
    np.testing.assert_array_equal(found.cosines, whole.cosines)


def test_other_inputs_have_other_files(support, tmp_path):
    support.cross_fit(folder=tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    others = [
        support.cross_fit(replace(FAST, epochs=3), folder=tmp_path / "a"),
        support.cross_fit(sets=SetSettings(k=2), folder=tmp_path / "b"),
        support.cross_fit(logit_scale=20.0, folder=tmp_path / "c"),
        support.cross_fit(text_features=support.options["text_features"][:, ::-1], folder=tmp_path / "d"),
    ]
    for index, cosines in enumerate(others):
        assert cosines.shape == (60, 20)
        assert not files & {path.name for path in (tmp_path / "abcd"[index]).iterdir()}


def test_a_damaged_or_foreign_file_is_put_away_and_the_fold_computed_again(support, tuned, tmp_path):
    plain = support.cross_fit(folder=tmp_path)
    first, second, _ = sorted(tmp_path.iterdir())
    first.write_bytes(second.read_bytes())  # another fold's
    second.write_bytes(second.read_bytes()[:-1])
    np.testing.assert_array_equal(plain, support.cross_fit(folder=tmp_path))
    assert tuned["tunings"] == 5
    assert len(list(tmp_path.glob("*.damaged"))) == 2


def test_a_damaged_checkpoint_inside_a_fold_is_put_away(support, tuned, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "CHECKPOINT_SECONDS", 0.0)
    plain = support.cross_fit()
    tuned["left"] = 3
    with pytest.raises(Killed):
        support.cross_fit(folder=tmp_path)
    (checkpoint,) = tmp_path.glob("*.tuning.safetensors")
    checkpoint.write_bytes(b"\0" * 100)
    tuned["left"] = None
    np.testing.assert_array_equal(plain, support.cross_fit(folder=tmp_path))
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_the_digest_tells_every_input_apart():
    values = np.arange(6, dtype=np.float32)
    given = [
        (values,),
        (values.reshape(2, 3),),
        (values.view(np.int32),),
        (values.astype(np.float64),),
        (values[:3], values[3:]),
        (values.tolist(),),
        ([values.tolist()],),
        ({"a": 1},),
        ({"a": 1.5},),
        (),
    ]
    assert len({inputs_digest(*parts) for parts in given}) == len(given)
    assert inputs_digest({"a": 1, "b": 2}) == inputs_digest({"b": 2, "a": 1})
    assert inputs_digest(values[::2]) == inputs_digest(values[::2].copy())
