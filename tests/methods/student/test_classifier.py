"""A mixture kept as one matrix and a few keys: the same function, on disk and back, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgvr
from fgvr.errors import EncoderError, RunError
from fgvr.methods.near import Classifier
from fgvr.methods.near.calibrate import Calibration
from fgvr.methods.student.classifier import StudentClassifier, collapsed, is_student
from fgvr.methods.student.heads import CacheHead, LinearHead, Mixture

NAMES = ("Wren", "Finch", "Heron")


def unit(values):
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def heads(rng, names=3, dim=5):
    def linear():
        return LinearHead(rng.normal(size=(names, dim)).astype(np.float32), rng.normal(size=names).astype(np.float32))

    def cache(sharpness):
        keys = unit(rng.normal(size=(4, dim)))
        return CacheHead(keys, rng.random((4, names)).astype(np.float32), sharpness)

    return {"a": linear(), "b": linear(), "c": cache(3.0), "d": cache(7.0), "unused": linear()}


def mixture(rng):
    return Mixture(heads(rng), {"a": 0.7, "b": 1.9, "c": 0.4, "d": 2.5})


def classifier(rng, **changes):
    support = unit(rng.normal(size=(6, 5)))
    made = StudentClassifier(
        NAMES,
        mixture(rng),
        "an encoder",
        "f" * 64,
        views=2,
        calibration=Calibration(1.5, 0.4, -1.0, 0.3, "cross-fit"),
        support=support,
        notes={"seed": 3},
    )
    return replace(made, **changes)


@given(st.integers(0, 10_000))
def test_collapsed_is_the_same_function_with_one_linear_head(seed):
    rng = np.random.default_rng(seed)
    whole = mixture(rng)
    flat = collapsed(whole)
    features = unit(rng.normal(size=(7, 5)))
    one_by_one = sum(weight * whole.heads[name].logits(features) for name, weight in whole.weights.items())
    np.testing.assert_allclose(flat.logits(features), one_by_one, rtol=1e-4, atol=1e-4)
    assert sorted(flat.heads) == ["c", "d", "linear"]
    assert collapsed(flat).heads["linear"].weights.shape == (3, 5)


def test_heads_without_weight_are_gone_and_none_at_all_is_refused():
    parts = heads(np.random.default_rng(0))
    assert list(collapsed(Mixture(parts, {"a": 1.0, "b": 0.0})).heads) == ["linear"]
    np.testing.assert_array_equal(collapsed(Mixture(parts, {"a": 2.0})).heads["linear"].bias, 2 * parts["a"].bias)
    assert list(collapsed(Mixture(parts, {"c": 0.5})).heads) == ["c"]
    with pytest.raises(ValueError, match="needs a head"):
        collapsed(Mixture(parts, {"a": 0.0}))


def test_a_name_that_one_head_rules_out_stays_ruled_out():
    open_, shut = LinearHead(np.ones((2, 2), np.float32), np.zeros(2, np.float32)), np.array([0.0, -np.inf])
    shutter = LinearHead(np.zeros((2, 2), np.float32), shut.astype(np.float32))
    found = collapsed(Mixture({"open": open_, "shut": shutter}, {"open": 1.0, "shut": 0.1}))
    assert found.logits(unit(np.ones((1, 2))))[0, 1] == -np.inf


def test_saved_and_loaded_predicts_the_same(tmp_path):
    rng = np.random.default_rng(1)
    one = classifier(rng)
    one.save(tmp_path / "c")
    two = StudentClassifier.load(tmp_path / "c")
    features = unit(rng.normal(size=(9, 5)))
    np.testing.assert_allclose(two.logits(features), one.logits(features), rtol=1e-5, atol=1e-5)
    ids = [str(i) for i in range(9)]
    for a, b in zip(one.predict(features, ids, top_k=2), two.predict(features, ids, top_k=2), strict=True):
        assert (a.item_id, a.name, a.unknown) == (b.item_id, b.name, b.unknown)
        assert a.probability == pytest.approx(b.probability, abs=1e-5)
    assert (two.views, two.notes, two.calibration, two.names) == (2, {"seed": 3}, one.calibration, NAMES)
    two.save(tmp_path / "again")
    assert (tmp_path / "again" / "classifier.safetensors").read_bytes() == (
        tmp_path / "c" / "classifier.safetensors"
    ).read_bytes()


def test_predictions_by_hand():
    """Two names, temperature 2: logits (2, 0) are probabilities (e/(e+1), 1/(e+1))."""
    head = Mixture({"x": LinearHead(np.array([[2, 0], [0, 0]], np.float32), np.zeros(2, np.float32))}, {"x": 1.0})
    support = np.array([[1, 0]], np.float32)
    made = StudentClassifier(("A", "B"), head, "e", "f", calibration=Calibration(2.0, 0.6, -1.0, 0.5), support=support)
    sure, doubtful, strange = made.predict(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32), ["s", "d", "x"])
    assert sure.probability == pytest.approx(np.e / (np.e + 1))
    assert (sure.name, sure.unknown) == ("A", False)
    assert [name for name, _ in sure.top] == ["A", "B"]
    assert not doubtful.unknown  # exp(.6) / (1 + exp(.6)) = 0.646 and cosine 0.6
    assert (strange.name, strange.unknown, strange.top[0][0]) == ("unknown", True, "A")
    assert made.predict(np.empty((0, 2), np.float32), []) == []
    unsure = replace(made, calibration=Calibration(2.0, 0.7, -1.0, -1.0))
    assert unsure.unknown(np.array([[1, 0], [0.6, 0.8]], np.float32)).tolist() == [False, True]
    everything = replace(made, support=None, calibration=Calibration())
    assert not everything.unknown(np.array([[-1, 0]], np.float32)).any()


def test_features_of_another_width_are_refused():
    made = classifier(np.random.default_rng(0))
    with pytest.raises(EncoderError, match="do not fit"):
        made.logits(np.ones((1, 4), np.float32))
    with pytest.raises(ValueError, match="1 features for 2"):
        made.predict(np.ones((1, 5), np.float32), ["a", "b"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m.update(names=["Wren", "Finch", "Tern"]),
        lambda m: m.update(views=0),
        lambda m: m["calibration"].update(probability_floor=0.0),
        lambda m: m["caches"].pop(),
        lambda m: m["caches"][0].update(sharpness=1.0),
        lambda m: m.pop("encoder"),
        lambda m: m.update(format=99),
        lambda m: m.update(method="near"),
    ],
    ids=["name", "views", "floor", "cache", "sharpness", "encoder", "format", "method"],
)
def test_a_changed_manifest_is_refused(tmp_path, damage):
    classifier(np.random.default_rng(0)).save(tmp_path)
    manifest = json.loads((tmp_path / "classifier.json").read_text())
    damage(manifest)
    (tmp_path / "classifier.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError):
        StudentClassifier.load(tmp_path)


@pytest.mark.parametrize("file", ["classifier.json", "classifier.safetensors"])
def test_missing_cut_and_changed_files_are_refused(tmp_path, file):
    classifier(np.random.default_rng(0)).save(tmp_path)
    whole = (tmp_path / file).read_bytes()
    broken = bytearray(whole)
    broken[len(whole) * 3 // 4 if file.endswith("tensors") else 5] ^= 1
    for bytes_ in (whole[: len(whole) // 2], b"", b"[]", bytes(broken)):
        (tmp_path / file).write_bytes(bytes_)
        with pytest.raises(RunError):
            StudentClassifier.load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(RunError):
        StudentClassifier.load(tmp_path)


def test_each_method_reads_its_own(tmp_path):
    classifier(np.random.default_rng(0)).save(tmp_path / "student")
    Classifier(("A",), np.ones((1, 5), np.float32), "e", "f", 1.0).save(tmp_path / "near")
    assert is_student(tmp_path / "student")
    assert not is_student(tmp_path / "near")
    assert not is_student(tmp_path / "nothing")
    assert isinstance(fgvr.load(tmp_path / "student", encoder="e"), fgvr.Student)
    assert isinstance(fgvr.load(tmp_path / "near", encoder="e"), fgvr.NeaR)
    with pytest.raises(RunError, match="another method"):
        fgvr.Student.load(tmp_path / "near")
    with pytest.raises(RunError):
        fgvr.NeaR.load(tmp_path / "student")
