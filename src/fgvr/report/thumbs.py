"""Thumbnails within a budget of bytes: each file decoded once, a bad file shown as a placeholder, the rest counted."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fgvr.errors import ImageError
from fgvr.images import decode, thumbnail_data_uri

logger = logging.getLogger(__name__)

_SAFE = re.compile(r"data:image/(?:jpeg|png|webp|gif|avif);base64,[A-Za-z0-9+/=]+")
OBLONG = 1.5
"""Longer over shorter side up to which a thumbnail's shorter side has its full length."""

Thumbnail = Callable[[Path], "str | None"]
"""From a picture's path to its data URI; ``None`` where there is no picture to show."""


@dataclass
class Thumbnails:
    """Hands out data URIs until ``budget`` bytes are spent."""

    make: Thumbnail
    budget: int
    unreadable: int = 0
    _seen: dict[Path, str | None] = field(default_factory=dict)

    def get(self, path: Path | None) -> str | None:
        """A data URI; ``""`` for a picture that cannot be shown (placeholder); ``None`` when the budget is spent."""
        if self.budget <= 0:
            return None
        if path is None:
            return ""
        if path not in self._seen:
            self._seen[path] = self._made(path)
        uri = self._seen[path]
        self.budget -= len(uri or "") + 1
        return uri or ""

    def spend(self, count: int) -> None:
        """Charge bytes of text that come with a picture."""
        self.budget -= count

    def _made(self, path: Path) -> str | None:
        uri = self.make(path)
        if uri is not None and _SAFE.fullmatch(uri):
            return uri
        self.unreadable += 1
        return None


def decoded_thumbnail(side: int) -> Thumbnail:
    """Decode a file and shrink it to about ``side`` pixels; ``None`` for a bad one."""

    def make(path: Path) -> str | None:
        try:
            image = decode(path, side=side).image
        except ImageError as error:
            logger.warning("no thumbnail: %s", error)
            return None
        # Shown cropped to a square: an oblong picture needs a longer side to fill it sharply.
        oblong = max(image.size) / max(1, min(image.size))
        return thumbnail_data_uri(image, round(side * min(OBLONG, oblong)))

    return make
