"""Reduced precision on a CPU: what it gains, and whether the encoder still sees the same.

Protocol. Two encoders: ViT-B/16 at CLIP's size with random weights, and the embedded one. Variants: float32; bfloat16
and float16 weights (``load_encoder(dtype=...)``); float32 weights under ``torch.autocast`` to bfloat16; int8 weights of
all linear layers by ``torch.ao.quantization.quantize_dynamic`` where this build of torch still has it. The forward
passes over the same prepared drawn pictures are timed in turn inside one process (images/s, medians). Agreement with
float32 is that of ``fgvr.encoders.precision`` on the drawn pictures of its check. For the embedded encoder also its
zero-shot accuracy among all names of the guide, on pictures it was not trained on, before and after.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import Timing, in_turn, table, write_section
from benchmarks.embedding import random_vit_b16
from fgvr.encoders import HfDualEncoder, load_encoder, text_classifier
from fgvr.encoders.precision import LEAST_COSINE, LEAST_SHARE, Agreement, check_names, check_pictures, compare_encoders
from fgvr.fieldguide.dataset import EVALUATION_SEEDS
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render

BATCH = 16
PER_SPECIES = 5
FIRST_SEED = EVALUATION_SEEDS + 1000
"""View seeds above those of ``fgvr fieldguide make``; training takes others again."""


def variants(source: str | Path) -> dict[str, HfDualEncoder]:
    """The encoder in every precision to be had here, float32 first."""
    exact = load_encoder(source, device="cpu")
    found = {"float32": exact}
    found |= {
        f"{dtype} weights": load_encoder(source, device="cpu", dtype=dtype, check=False)
        for dtype in ("bfloat16", "float16")
    }
    found["bfloat16 autocast"] = _autocast(exact)
    quantised = _int8(exact)
    return found | ({"int8 linear layers (dynamic)": quantised} if quantised else {})


def _autocast(exact: HfDualEncoder) -> HfDualEncoder:
    """The same weights with every forward pass under ``torch.autocast``."""
    import torch

    changed = copy.copy(exact)
    changed.model = copy.copy(exact.model)
    for name in ("get_image_features", "get_text_features"):
        method = getattr(exact.model, name)

        def under_autocast(*args: Any, _method: Callable[..., Any] = method, **kwargs: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return _method(*args, **kwargs)

        setattr(changed.model, name, under_autocast)
    return changed


def _int8(exact: HfDualEncoder) -> HfDualEncoder | None:
    """Linear layers in int8, or ``None`` where torch has no such thing (any more)."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, which is why fgvr does not offer it
        try:
            from torch.ao import quantization

            quantise: Any = quantization.quantize_dynamic
            changed = copy.copy(exact)
            changed.model = quantise(exact.model, {torch.nn.Linear}, dtype=torch.qint8)
            changed.encode_images([Image.new("RGB", (32, 32))])
        except (ImportError, AttributeError, RuntimeError, NotImplementedError):
            return None
    return changed


@dataclass(frozen=True)
class Row:
    """One variant of one encoder."""

    name: str
    timing: Timing
    pictures: int
    agreement: Agreement
    accuracy: float | None

    def cells(self, encoder: str, base: Timing) -> list[str]:
        """Of the table."""
        found = self.agreement
        return [
            f"{encoder}: {self.name}",
            f"{self.pictures / self.timing.median:.1f}",
            f"{base.median / self.timing.median:.2f}x",
            f"{found.least_cosine:.5f}",
            f"{100 * found.same_picture:.0f} %",
            f"{100 * found.same_name:.0f} %",
            "-" if self.accuracy is None else f"{100 * self.accuracy:.1f} %",
            "no" if found.failures() else "yes",
        ]


def measured(
    source: str | Path, *, pictures: int, repeats: int, shown: Sequence[tuple[int, Image.Image]] = ()
) -> list[Row]:
    """Speed and agreement of every variant; zero-shot accuracy on ``shown`` (species index, picture)."""
    encoders = variants(source)
    exact = encoders["float32"]
    images = check_pictures(exact.image_size)
    ready = [exact.prepare(images[index % len(images)]) for index in range(pictures)]

    def forward(encoder: HfDualEncoder) -> Callable[[], None]:
        def run() -> None:
            for at in range(0, pictures, BATCH):
                encoder.encode_prepared(ready[at : at + BATCH])

        return run

    timed = in_turn({name: forward(encoder) for name, encoder in encoders.items()}, repeats=repeats)
    return [
        Row(
            name,
            timed[name],
            pictures,
            compare_encoders(exact, encoder, images=images, names=check_names()),
            zero_shot(encoder, shown) if shown else None,
        )
        for name, encoder in encoders.items()
    ]


def zero_shot(encoder: HfDualEncoder, shown: Sequence[tuple[int, Image.Image]]) -> float:
    """Share of pictures whose nearest name among all of the guide is their own."""
    names = text_classifier(encoder, [one.name for one in all_species()])
    pictures = [picture for _, picture in shown]
    features = np.concatenate([encoder.encode_images(pictures[at : at + 64]) for at in range(0, len(pictures), 64)])
    truth = np.array([species for species, _ in shown])
    return float(((features @ names.T).argmax(axis=1) == truth).mean())


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="few pictures, nothing written")
    quick = parser.parse_args().quick
    step, each = (9, 1) if quick else (1, PER_SPECIES)
    shown = [
        (index, render(all_species()[index], FIRST_SEED + number, size=192).image)
        for index in range(0, len(all_species()), step)
        for number in range(each)
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="fgvr-bench-") as folder:
        sources: dict[str, tuple[str | Path, int, list[tuple[int, Image.Image]]]] = {
            "ViT-B/16": (random_vit_b16(Path(folder) / "vit"), 4 if quick else 32, []),
            "fieldguide": ("fieldguide", 32 if quick else 256, shown),
        }
        for label, (source, pictures, pictures_shown) in sources.items():
            found = measured(source, pictures=pictures, repeats=1 if quick else 5, shown=pictures_shown)
            rows += [row.cells(label, found[0].timing) for row in found]
    header = ("encoder", "images/s", "speed", "least cosine", "same picture", "same name", "zero-shot", "passes")
    body = f"""
Default: **float32** on a CPU: right without a check, and bfloat16 and float16 gain little or nothing there. `--dtype
bfloat16` (or `float16`) on a CPU compares itself with float32 on drawn pictures when it is loaded and refuses where it
fails: least cosine {LEAST_COSINE}, {100 * LEAST_SHARE:.0f} % of nearest pictures and of nearest names. int8 is measured
but not offered: torch's own dynamic quantisation is deprecated, its successor is another package. Zero-shot accuracy:
{len(shown)} drawn pictures, {len(all_species())} names.

{table(header, rows)}
"""
    print(body)
    if not quick:
        write_section("precision", "Precision", body)


if __name__ == "__main__":
    main()
