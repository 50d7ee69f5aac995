"""Photographs to features: how near the feature store comes to decoding alone and to the encoder's forward pass alone.

Protocol. Photo-like JPEGs are drawn from a seed: shapes, gradients and fine noise at the sizes of the web and of
telephones (500 x 375, 1024 x 768, 4000 x 3000; three quarters small, an eighth each of the others), quality 85. Inside
one process, in turn, three times: (a) *decoding*: read, hash, decode, resize, crop, in as many threads as there are
cores; (b) *forward*: the encoder on the prepared pictures, batches of 32, no decoding; (c) *end to end*: ``FeatureStore
.features`` into a fresh store. Reported: images/s, (c) as a share of the slower of (a) and (b), and as a share of what
shared cores allow. On a CPU decoding and forward need the same cores, so that no program can do better than
1 / (1/a + 1/b) when both keep all cores busy alone; on an accelerator the bound is the slower one.

Encoders: ViT-B/16 at CLIP's size with random weights (speed does not depend on the values), and the embedded one.

Warm store: 10,000 files, features known; one call in a new process, with everything it reads (hash memo, shard
checksums, file times), imports apart.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.common import in_fresh_process, in_turn, table, write_section
from fgvr.encoders import FeatureStore, load_encoder
from fgvr.encoders.store import MOST_THREADS, in_order
from fgvr.images import available_cpus, decode
from fgvr.types import ImageItem

SIZES = ((500, 375), (1024, 768), (500, 375), (500, 375), (500, 375), (4000, 3000), (500, 375), (500, 375))
BATCH = 32
WARM_FILES, WARM_LIMIT = 10_000, 5.0


def photograph(seed: int, width: int, height: int) -> Image.Image:
    """Large smooth areas, hard edges, and fine grain: what a JPEG decoder meets in a photograph."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, radius = (int(draw.integers(0, most)) for most in (width, height, width // 8))
        pen.ellipse((x, y, x + radius, y + 0.7 * radius), fill=tuple(int(v) for v in draw.integers(0, 256, 3)))
    grain = draw.integers(-12, 13, (height, width, 1), dtype=np.int16)
    return Image.fromarray(np.clip(np.asarray(picture, dtype=np.int16) + grain, 0, 255).astype(np.uint8))


def photographs(folder: Path, count: int) -> list[ImageItem]:
    """``count`` JPEG files in the mixture of ``SIZES``, no two alike."""
    folder.mkdir(parents=True)
    items = []
    for index in range(count):
        path = folder / f"{index:05d}.jpg"
        photograph(index, *SIZES[index % len(SIZES)]).save(path, quality=85)
        items.append(ImageItem(path.name, path))
    return items


def random_vit_b16(folder: Path) -> Path:
    """A checkpoint of CLIP ViT-B/16's shape with random weights and a tokenizer of a few words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    text = {"vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = CLIPConfig(text_config=text, vision_config=vision | {"patch_size": 16}, projection_dim=512)
    CLIPModel(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[BOS]": 1, "[EOS]": 2, "a": 3}, unk_token="[PAD]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", model_max_length=77).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Rates:
    """Images/s of the parts and of the whole."""

    decoding: float
    forward: float
    whole: float

    @property
    def slower(self) -> float:
        """Of decoding and forward."""
        return min(self.decoding, self.forward)

    @property
    def shared(self) -> float:
        """What cores that must do both one after the other allow."""
        return 1 / (1 / self.decoding + 1 / self.forward)

    def cells(self, name: str, count: int) -> list[str]:
        """Of the table."""
        shares = (f"{100 * self.whole / bound:.0f} %" for bound in (self.slower, self.shared))
        return [name, str(count), *(f"{rate:.1f}" for rate in (self.decoding, self.forward, self.whole)), *shares]


def rates(items: Sequence[ImageItem], encoder: Any, scratch: Path, *, repeats: int) -> Rates:
    """Decoding alone, forward alone, and both through a fresh store, in turn."""
    threads = min(MOST_THREADS, available_cpus())
    side = encoder.image_size

    def prepared(item: ImageItem) -> Any:
        return encoder.prepare(decode(item.path, side=side).image)

    def decoding() -> list[Any]:
        return list(in_order(prepared, items, threads=threads))

    ready = decoding()

    def forward() -> None:
        for at in range(0, len(ready), BATCH):
            encoder.encode_prepared(ready[at : at + BATCH])

    def whole() -> None:
        FeatureStore(scratch / "store").features(items, encoder, batch_size=BATCH)
        shutil.rmtree(scratch / "store")

    timed = in_turn({"decoding": decoding, "forward": forward, "whole": whole}, repeats=repeats, warmup=1)
    return Rates(*(len(items) / timed[name].median for name in ("decoding", "forward", "whole")))


@dataclass(frozen=True)
class Known:
    """What the store needs of an encoder whose features it has."""

    name: str = "known"
    fingerprint: str = "0" * 64
    dim: int = 512
    logit_scale: float = 100.0
    image_size: int = 224

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Quick stand-in features of a fixed kind; never called on a warm store."""
        small = np.stack([np.asarray(image.resize((16, 11)), dtype=np.float32).ravel()[: self.dim] for image in images])
        rows: np.ndarray = (small + 1) / np.linalg.norm(small + 1, axis=1, keepdims=True)
        return rows


def small_files(folder: Path, count: int) -> list[ImageItem]:
    """``count`` little PNG files, no two alike."""
    folder.mkdir(parents=True)
    items = []
    for index in range(count):
        path = folder / f"{index:05d}.png"
        Image.fromarray(np.frombuffer(index.to_bytes(4, "big") * 12, np.uint8).reshape(4, 4, 3)).save(path)
        items.append(ImageItem(path.name, path))
    return items


def warm_call(photos: str, store: str) -> int:
    """One call on a store that knows every row; returns how many there were."""
    items = [ImageItem(path.name, path) for path in sorted(Path(photos).iterdir())]
    return len(FeatureStore(store).features(items, Known()).items)  # type: ignore[arg-type]


def warm_seconds(scratch: Path, count: int) -> float:
    """Seconds of the first call in a new process on ``count`` files whose features are known."""
    items = small_files(scratch / "small", count)
    FeatureStore(scratch / "warm").features(items, Known())  # type: ignore[arg-type]
    measured = in_fresh_process(warm_call, str(scratch / "small"), str(scratch / "warm"), prepare=_imports)
    assert measured.result == count
    return float(measured.seconds)


def _imports() -> None:
    import fgvr.encoders.store  # noqa: F401


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="few pictures, nothing written")
    parser.add_argument("--device", default="cpu", help="of the encoders")
    parser.add_argument("--dtype", default="float32", help="of the encoders")
    options = parser.parse_args()
    quick = options.quick
    plan: dict[str, tuple[Callable[[Path], str | Path], int]] = {
        "ViT-B/16, random": (random_vit_b16, 8 if quick else 96),
        "fieldguide": (lambda _: "fieldguide", 64 if quick else 256),
    }
    rows = []
    with tempfile.TemporaryDirectory(prefix="fgvr-bench-") as name:
        scratch = Path(name)
        items = photographs(scratch / "photographs", max(count for _, count in plan.values()))
        for number, (label, (source, count)) in enumerate(plan.items()):
            encoder = load_encoder(source(scratch / f"encoder{number}"), device=options.device, dtype=options.dtype)
            rows.append(rates(items[:count], encoder, scratch, repeats=1 if quick else 3).cells(label, count))
        seconds = warm_seconds(scratch, 500 if quick else WARM_FILES)
    header = ("encoder", "images", "decoding /s", "forward /s", "end to end /s", "of the slower", "of shared cores")
    body = f"""
End to end through the feature store, against decoding alone and the forward pass alone (images/s; {options.device},
{options.dtype}; {available_cpus()} cores). Where the two share the cores, no program can beat the last column's bound.

{table(header, rows)}

Warm store, {WARM_FILES:,} images, first call of a new process: **{seconds:.2f} s** (limit {WARM_LIMIT:.0f} s).
"""
    print(body)
    if not quick:
        write_section("embedding", "Embedding", body)


if __name__ == "__main__":
    main()
