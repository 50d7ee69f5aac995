"""An encoder of colour statistics: fast, exact to reason about, and it counts what it is asked."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fgvr.encoders import FeatureStore
from fgvr.types import ImageItem


class ColourEncoder:
    """Mean colour of each quadrant, (N, 12), unit norm."""

    name, dim, logit_scale, image_size = "colour", 12, 1.0, 16

    def __init__(self, fingerprint: str = "colour", *, delay: float = 0.0, log: Path | None = None) -> None:
        self.fingerprint = hashlib.sha256(fingerprint.encode()).hexdigest()
        self.delay, self.log = delay, log
        self.images = 0
        self._lock = threading.Lock()

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        time.sleep(self.delay)
        with self._lock:
            self.images += len(images)
            if self.log is not None:
                with self.log.open("a") as file:
                    file.write("x" * len(images))
        small = [np.asarray(image.resize((2, 2), Image.Resampling.BOX), dtype=np.float32) for image in images]
        rows = np.stack([pixels.reshape(-1) + 1 for pixels in small])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        raise NotImplementedError

    def prompt_tower(self) -> object:
        raise NotImplementedError


def folder_items(folder: Path) -> list[ImageItem]:
    return [ImageItem(path.name, path) for path in sorted(folder.iterdir())]


def main() -> None:
    """Used by the fault tests: encode FOLDER into STORE slowly, one image a batch, a shard every few rows."""
    import fgvr.encoders.store as store

    folder, root, log, delay = sys.argv[1:]
    store.SHARD_ROWS = 3
    encoder = ColourEncoder(delay=float(delay), log=Path(log))
    table = FeatureStore(root).features(folder_items(Path(folder)), encoder, batch_size=1)  # type: ignore[arg-type]
    np.save(Path(root) / f"result-{os.getpid()}.npy", table.features)


if __name__ == "__main__":
    main()
