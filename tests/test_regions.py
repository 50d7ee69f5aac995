"""Windows by hand, pixels inside and outside the box, and what holds for every box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgvr.errors import InputError
from fgvr.regions import CropPolicy, crop, crop_window, uniform_policy


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class TestWindow:
    @pytest.mark.parametrize(
        ("box", "size", "scale", "expected"),
        [
            ((40, 40, 60, 60), (100, 100), 1.0, (40, 40, 60, 60)),
            ((40, 40, 60, 50), (100, 100), 1.0, (40, 35, 60, 55)),  # a square about the centre
            ((40, 40, 60, 60), (100, 100), 2.0, (30, 30, 70, 70)),
            ((0, 40, 20, 60), (100, 100), 2.0, (0, 30, 40, 70)),  # shifted inside
            ((80, 90, 100, 100), (100, 100), 2.0, (60, 60, 100, 100)),
            ((10, 10, 90, 20), (100, 30), 1.0, (10, -25, 90, 55)),  # higher than the picture: over all of it
            ((0, 0, 100, 30), (100, 30), 2.0, (-50, -85, 150, 115)),  # larger on both sides
            ((10, 2, 90, 4), (100, 30), 1.0, (10, -37, 90, 43)),
            ((60, 0, 160, 20), (200, 60), 0.8, (70, -20, 150, 60)),  # moved as little as covers the picture
            ((3.2, 4.1, 3.6, 4.3), (100, 100), 1.0, (2.9, 3.7, 3.9, 4.7)),  # at least a pixel
        ],
    )
    def test_by_hand(self, box: Any, size: Any, scale: float, expected: Any):
        assert crop_window(box, size, scale=scale) == pytest.approx(expected)

    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(1, 500),
        st.integers(1, 500),
        st.floats(1, 5),
        *(st.floats(0, 1, exclude_max=True) for _ in range(4)),
    )
    def test_square_and_inside_or_over_all_and_around_the_box(
        self, width: int, height: int, scale: float, a: float, b: float, c: float, d: float
    ):
        x0, x1 = sorted((a * width, c * width))
        y0, y1 = sorted((b * height, d * height))
        box = (x0, y0, min(width, x1 + 0.01), min(height, y1 + 0.01))
        left, top, right, bottom = crop_window(box, (width, height), scale=scale)
        assert right - left == pytest.approx(bottom - top)
        for low, high, length in ((left, right, width), (top, bottom, height)):
            inside = low >= -1e-6 and high <= length + 1e-6
            over_all = low <= 1e-6 and high >= length - 1e-6
            assert inside or over_all
        assert left <= box[0] + 1e-6
        assert top <= box[1] + 1e-6
        assert right >= box[2] - 1e-6
        assert bottom >= box[3] - 1e-6


class TestCrop:
    def test_at_scale_one_a_square_box_is_just_its_pixels(self):
        image = noise(64, 64)
        found = crop(image, (16, 8, 48, 40), uniform_policy(1.0, side=32))
        assert np.array_equal(found, image.crop((16, 8, 48, 40)))

    def test_inside_unchanged_outside_blurred(self):
        image, box = noise(128, 128), (48, 40, 80, 72)
        plain = np.asarray(crop(image, box, uniform_policy(2.0, blur_sigma=0, side=64)), dtype=float)
        blurred = np.asarray(crop(image, box, uniform_policy(2.0, side=64)), dtype=float)
        assert np.array_equal(plain, np.asarray(image.crop((32, 24, 96, 88))))  # nothing to resample
        inside = np.zeros((64, 64), dtype=bool)
        inside[16:48, 16:48] = True
        assert np.array_equal(plain[inside], blurred[inside])
        assert blurred[~inside].std() < 0.5 * plain[~inside].std()
        assert (np.abs(plain - blurred).max(axis=2) > 0)[~inside].mean() > 0.98

    def test_the_boundary_of_a_box_between_pixels_is_rounded_outwards(self):
        image, box = noise(128, 128), (48.5, 40.5, 79.5, 71.5)
        plain = np.asarray(crop(image, box, uniform_policy(64 / 31, blur_sigma=0, side=64)))
        blurred = np.asarray(crop(image, box, uniform_policy(64 / 31, side=64)))
        same = (plain == blurred).all(axis=2)
        assert same[16:48, 16:48].all()
        assert not same[15, 16:48].all()
        assert not same[48, 16:48].all()

    def test_a_stronger_blur_is_smoother(self):
        image, box = noise(128, 128), (56, 56, 72, 72)

        def roughness(sigma: float) -> float:
            pixels = np.asarray(crop(image, box, uniform_policy(4.0, blur_sigma=sigma, side=64)), dtype=float)
            return float(np.abs(np.diff(pixels[:20], axis=1)).mean())

        values = [roughness(sigma) for sigma in (0.0, 0.01, 0.03, 0.1)]
        assert values == sorted(values, reverse=True)

    def test_beyond_the_picture_its_edge_is_repeated(self):
        image = noise(40, 20)
        found = np.asarray(crop(image, (0, 0, 40, 20), uniform_policy(1.0, blur_sigma=0, side=40)))
        pixels = np.asarray(image)
        assert np.array_equal(found[10:30], pixels)
        assert (found[:10] == pixels[0]).all()
        assert (found[30:] == pixels[-1]).all()

    def test_a_crop_is_resized_as_the_paper_says_bicubic(self):
        image = noise(64, 64)
        found = crop(image, (0, 0, 64, 64), uniform_policy(1.0, side=24))
        assert np.array_equal(found, image.resize((24, 24), Image.Resampling.BICUBIC))

    def test_a_long_thin_picture_costs_no_memory(self):
        found = crop(noise(20_000, 3), (0, 0, 20_000, 3), uniform_policy(3.0, side=32))
        assert found.size == (32, 32)

    @settings(max_examples=150, deadline=None)
    @given(
        st.integers(1, 60),
        st.integers(1, 60),
        st.floats(0.2, 4),
        *(st.floats(0, 1, exclude_max=True) for _ in range(4)),
    )
    def test_every_box_gives_a_picture(
        self, width: int, height: int, scale: float, a: float, b: float, c: float, d: float
    ):
        x0, x1 = sorted((a * width, c * width))
        y0, y1 = sorted((b * height, d * height))
        box = (x0, y0, min(width, x1 + 1e-3), min(height, y1 + 1e-3))
        found = crop(noise(width, height), box, uniform_policy(scale, side=16))
        assert (found.size, found.mode) == ((16, 16), "RGB")


class TestPolicy:
    def test_the_specifications_values(self):
        policy = CropPolicy()
        assert (policy.scale(1023), policy.scale(1024), policy.scale(9215), policy.scale(9216)) == (2.6, 1.6, 1.6, 1.0)
        assert (policy.blur_sigma, policy.side) == (0.03, 224)

    def test_the_area_may_be_another_than_the_boxs(self):
        image, policy = noise(100, 100), CropPolicy(blur_sigma=0, side=32)
        small = crop(image, (40, 40, 60, 60), policy)
        assert np.array_equal(small, crop(image, (40, 40, 60, 60), uniform_policy(2.6, blur_sigma=0, side=32)))
        told = crop(image, (40, 40, 60, 60), policy, area=10_000)
        assert np.array_equal(told, crop(image, (40, 40, 60, 60), uniform_policy(1.0, blur_sigma=0, side=32)))

    def test_the_digest_is_of_every_setting(self):
        others = [{"small": 2.0}, {"medium": 2.0}, {"large": 2.0}, {"blur_sigma": 0.0}, {"side": 96}]
        others += [{"medium_from": 1.0}, {"large_from": 1e5}]
        assert len({CropPolicy().digest, *(CropPolicy(**one).digest for one in others)}) == len(others) + 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"small": 0},
            {"large": float("nan")},
            {"blur_sigma": -1},
            {"blur_sigma": float("inf")},
            {"side": 0},
            {"medium_from": 9e9},
        ],
    )
    def test_values_that_make_no_crop(self, wrong: dict[str, Any]):
        with pytest.raises(InputError):
            CropPolicy(**wrong)
