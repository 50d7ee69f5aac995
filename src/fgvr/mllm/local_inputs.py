"""Which requests a local model can answer in one batch, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fgvr.mllm.base import Request
from fgvr.mllm.options import are_letters

if TYPE_CHECKING:
    from PIL import Image


def alike(requests: Sequence[Request]) -> list[list[int]]:
    """Rows that can share a batch: same parameters, kind of question and number of pictures."""
    groups: dict[object, list[int]] = {}
    for row, request in enumerate(requests):
        kind = (bool(request.options), are_letters(request.options))
        groups.setdefault((request.parameters, kind, len(request.images)), []).append(row)
    return list(groups.values())


def pictures_of(request: Request, max_side: int) -> list[Image.Image]:
    """Pictures of a request, none larger than ``max_side`` pixels. Raises ``ImageError``."""
    from fgvr import images

    return [shrunk(images.decode(path, side=max_side).image, max_side) for path in request.images]


def shrunk(picture: Image.Image, max_side: int) -> Image.Image:
    """``picture`` with a longer side of at most ``max_side`` pixels."""
    from PIL import Image

    scale = max_side / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)
