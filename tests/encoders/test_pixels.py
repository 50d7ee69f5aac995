"""The plain preprocessing gives the processor's own values, bit for bit, or is not used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from fgvr.encoders.pixels import plain_preprocessing

PLAIN: dict[str, Any] = {
    "clip": CLIPImageProcessorPil(),
    "clip, crop below the size": CLIPImageProcessorPil(
        size={"shortest_edge": 36}, crop_size={"height": 31, "width": 28}
    ),
    "clip, bilinear": CLIPImageProcessorPil(resample=2, size={"shortest_edge": 32}, crop_size=32),
    "clip, not normalised": CLIPImageProcessorPil(do_normalize=False, size={"shortest_edge": 32}, crop_size=32),
    "clip, not rescaled": CLIPImageProcessorPil(do_rescale=False, size={"shortest_edge": 32}, crop_size=32),
    "clip, squeezed": CLIPImageProcessorPil(size={"height": 40, "width": 40}, crop_size=32),
    "siglip": SiglipImageProcessorPil(),
    "siglip, not square": SiglipImageProcessorPil(size={"height": 24, "width": 40}),
}
OTHER: dict[str, Any] = {
    "native aspect ratios": Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16),
    "a black border": CLIPImageProcessorPil(size={"shortest_edge": 30}, crop_size=32),
    "pictures of many shapes": CLIPImageProcessorPil(do_center_crop=False),
    "not resized": CLIPImageProcessorPil(do_resize=False),
    "a bound on the longer side": CLIPImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 40}, crop_size=32),
    "padded": CLIPImageProcessorPil(do_pad=True, pad_size={"height": 300, "width": 300}),
}


def _noise(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=12, deadline=None)
@given(width=st.integers(1, 500), height=st.integers(1, 500), seed=st.integers(0, 2**32))
def test_values_equal_the_processors_bit_for_bit(name: str, width: int, height: int, seed: int) -> None:
    if max(width, height) > 40 * min(width, height):
        width = height
    image, plain = _noise(width, height, seed), plain_preprocessing(PLAIN[name])
    assert plain is not None
    expected = PLAIN[name](images=[image, image.rotate(180)], return_tensors="pt")["pixel_values"]
    found = plain.pixel_values([plain.prepare(image), plain.prepare(image.rotate(180))])
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_the_look_up_made_for_accelerators_gives_the_same_values() -> None:
    plain = plain_preprocessing(PLAIN["clip, bilinear"])
    assert plain is not None
    prepared = [plain.prepare(_noise(50, 40, seed)) for seed in range(3)]
    assert torch.equal(plain.pixel_values_on(torch.device("cpu"), prepared), plain.pixel_values(prepared))


@pytest.mark.parametrize("name", OTHER)
def test_a_processor_of_another_kind_goes_its_own_way(name: str) -> None:
    assert plain_preprocessing(OTHER[name]) is None


def test_a_processor_that_computes_something_else_is_not_believed() -> None:
    """As a later version of ``transformers`` might: same settings, another result."""

    class Shifted(CLIPImageProcessorPil):
        def center_crop(self, image: np.ndarray, size: Any, **kwargs: Any) -> np.ndarray:
            return super().center_crop(np.roll(image, 1, axis=-1), size, **kwargs)

    class Dimmed(CLIPImageProcessorPil):
        def normalize(self, image: np.ndarray, mean: Any, std: Any, **kwargs: Any) -> np.ndarray:
            return super().normalize(image * image.mean(), mean, std, **kwargs)

    class Bare(CLIPImageProcessorPil):
        def __call__(self, images: Any, **_: Any) -> Any:
            raise TypeError("no options")

    for kind in (Shifted, Dimmed, Bare):
        assert plain_preprocessing(kind(size={"shortest_edge": 32}, crop_size=32)) is None
