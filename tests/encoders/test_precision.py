"""The accuracy check of reduced precision: figures by hand, and what ``load_encoder`` does with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fgvr.encoders import hf, load_encoder
from fgvr.encoders.precision import Agreement, agreement, compare_encoders
from fgvr.errors import EncoderError

from . import tiny


def _unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_figures_by_hand() -> None:
    """Three pictures in the plane; the fast variant turns the third one towards the other name."""
    exact, fast = _unit([[1, 0], [0.9, 0.1], [0, 1]]), _unit([[1, 0], [0.9, 0.1], [1, 0.5]])
    names = _unit([[1, 0.2], [0.1, 1]])
    found = agreement(exact, fast, exact_names=names, fast_names=names)
    assert found.least_cosine == pytest.approx(0.5 / 1.25**0.5)
    assert found.largest_difference == pytest.approx(1 / 1.25**0.5)
    # The first two are each other's nearest in both; the third's nearest was, and still is, the second.
    assert found.same_picture == 1
    assert found.same_name == pytest.approx(2 / 3)
    assert [failure.split()[0] for failure in found.failures()] == ["least", "same"]
    assert found.as_dict()["passes"] is False


def test_the_same_features_pass_and_ties_do_not_count() -> None:
    exact = _unit([[1, 0, 0], [1, 0.01, 0], [1, 0, 0.0101], [0, 1, 0]])
    assert agreement(exact, exact).failures() == []
    fast = _unit([[1, 0, 0], [1, 0.0102, 0], [1, 0, 0.01], [0, 1, 0]])  # the nearest of the first changes, by a hair
    assert agreement(exact, fast).same_picture == 1


def test_values_that_are_not_numbers_fail() -> None:
    exact = np.eye(3, dtype=np.float32)
    assert agreement(exact, np.full((3, 3), np.nan, dtype=np.float32)).failures()
    nothing = Agreement(float("nan"), 0.0, 1.0, 1.0, 3, 0)
    assert len(nothing.failures()) == 1


def test_a_reduced_precision_is_checked_on_a_cpu_and_its_figures_kept(tmp_path: Path) -> None:
    folder = tiny.save("clip", tmp_path)
    encoder = load_encoder(folder, device="cpu", dtype="bfloat16")
    assert encoder.accuracy is not None
    assert 0.995 < encoder.accuracy.least_cosine < 1
    assert load_encoder(folder, device="cpu").accuracy is None
    assert load_encoder(folder, device="cpu", dtype="bfloat16", check=False).accuracy is None


def test_a_bad_build_is_refused_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real loss of precision: the weights of the fast variant are rounded to three bits."""
    whole = hf._load_model

    def rounded(folder: Path, name: str, *, dtype: torch.dtype) -> torch.nn.Module:
        model = whole(folder, name, dtype=dtype)
        if dtype == torch.bfloat16:
            with torch.no_grad():
                for weight in model.vision_model.parameters():
                    step = weight.abs().max() / 3 if weight.dim() > 1 else 0
                    weight.copy_((weight / step).round() * step if step else weight)
        return model

    monkeypatch.setattr(hf, "_load_model", rounded)
    with pytest.raises(EncoderError, match=r"bfloat16 on this machine fails.*least cosine 0\.\d+ \(at least 0.995\)"):
        load_encoder(tiny.save("clip", tmp_path), device="cpu", dtype="bfloat16")


def test_two_encoders_are_compared_on_pictures_and_names(tmp_path: Path) -> None:
    one, other = (load_encoder(tiny.save("clip", tmp_path / str(seed), seed=seed), device="cpu") for seed in (0, 1))
    images = [tiny.picture(seed) for seed in range(4)]
    assert compare_encoders(one, one, images=images, names=tiny.NAMES).failures() == []
    assert compare_encoders(one, other, images=images, names=tiny.NAMES).least_cosine < 0.9


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(EncoderError, match="device cannot be used"):
        load_encoder(tiny.save("clip", tmp_path), device="cuda")
