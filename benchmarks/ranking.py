"""Ranking five candidates: option scoring against a written order.

Protocol. *Embedded* (default): drawn pictures of 96 x 96 pixels on disk, five names of relatives each, through
``fgvr.methods.rar.rank`` without cache or ledger: reading, preprocessing, the model and the reading of replies are all
inside. ``generate`` is the paper's prompt and a greedy order in writing; ``names`` scores five names after one naming
question; ``letters`` five letters after a lettered list. Batch sizes and modes are timed in turn; figures are medians.
The model is tiny (5 M parameters) and writes lists of about 25 tokens.

*Shape* (``--shape 7b``): random weights of the shape of LLaVA-1.5-7B (Llama 32 x 4096, CLIP ViT-L/14 at 336 pixels, 576
picture tokens), built on the device, bfloat16 there. Pictures are noise and texts random tokens: 120 of the ranking
prompt with 50 written (five names of 8 tokens and the signs between them), 20 of a naming question with five options of
8 tokens, 70 of a lettered list. Random weights take the time of trained ones; what they say means nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import Timing, in_turn, table, write_section
from fgvr.fieldguide import weights_folder
from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import render
from fgvr.fieldguide.training.texts import relatives
from fgvr.images import content_hash
from fgvr.methods.rar.rank import Ranked, RankSettings, rank
from fgvr.mllm.local import LocalMllm
from fgvr.mllm.local_scoring import next_token_logprobs, option_logprobs
from fgvr.types import ImageItem

BATCHES = (1, 64)
MODES = {
    "generate": RankSettings(mode="generate"),
    "names": RankSettings(ask="names"),
    "letters": RankSettings(ask="letters"),
}
HEADER = ("mode", "batch", "pictures/s", "against generate at this batch", "time (range)", "tokens in", "tokens out")
SHAPE_HEADER = ("mode", "batch", "pictures/s", "against generate at this batch", "time (range)")
OPTIONS, OPTION_TOKENS = 5, 8
PROMPT_TOKENS = {"generate": 120, "names": 20, "letters": 70}
WRITTEN = 50


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaVA-like model."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    side: int
    patch: int

    @property
    def picture_tokens(self) -> int:
        """Of one picture in the language model."""
        return (self.side // self.patch) ** 2


SHAPES = {
    "7b": Shape(4096, 32, 32, 11008, 32064, 1024, 24, 16, 336, 14),
    "tiny": Shape(64, 2, 4, 96, 512, 32, 2, 4, 56, 14),
}


def questions(folder: Path, count: int) -> tuple[list[ImageItem], list[list[str]]]:
    """``count`` drawn pictures and five candidates of each: the species and its four closest relatives."""
    species, items, names = all_species(), [], []
    for index in range(count):
        one = species[index * 37 % len(species)]
        path = folder / f"{index}.png"
        render(one, index, size=96).image.save(path)
        items.append(ImageItem(str(index), path))
        names.append([near.name for near in (one, *relatives(one, species)[: OPTIONS - 1])])
    return items, names


def measure(*, pictures: int, repeats: int) -> list[list[str]]:
    """One row a mode and batch size, on the embedded model."""
    mllm = LocalMllm(str(weights_folder("mllm")), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        items, names = questions(Path(folder), pictures)
        hashes = [content_hash(item.path) for item in items]

        def run(settings: RankSettings, batch: int) -> Ranked:
            mllm.batch_size = batch
            return rank(items, names, mllm, settings=settings, hashes=hashes)

        jobs = {(mode, batch): partial(run, MODES[mode], batch) for batch in BATCHES for mode in MODES}
        used = {mode: run(MODES[mode], BATCHES[-1]).answers.usage for mode in MODES}
        timings = in_turn({f"{mode} {batch}": job for (mode, batch), job in jobs.items()}, repeats=repeats, warmup=0)
    rows = rows_of(list(jobs), timings, pictures)
    return [
        [*row, f"{used[row[0]].input_tokens / pictures:.0f}", f"{used[row[0]].output_tokens / pictures:.0f}"]
        for row in rows
    ]


def rows_of(jobs: list[tuple[str, int]], timings: dict[str, Timing], pictures: int | None) -> list[list[str]]:
    """Mode, batch, throughput, ratio and time; ``pictures`` a job, default its batch."""
    rows = []
    for mode, batch in jobs:
        taken, written = timings[f"{mode} {batch}"], timings[f"generate {batch}"]
        rate = (pictures or batch) / taken.median
        rows.append([mode, str(batch), f"{rate:.1f}", f"{written.median / taken.median:.1f}x", str(taken)])
    return rows


def build(shape: Shape, *, device: str, dtype: torch.dtype) -> Any:
    """A LLaVA of this shape with random weights, made where it stays."""
    import transformers as tf

    vision = tf.CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=4 * shape.vision_width,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=shape.side,
        patch_size=shape.patch,
    )
    text = tf.LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=4096,
    )
    config = tf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=shape.vocabulary - 1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return tf.LlavaForConditionalGeneration(config).to(device).eval()
    finally:
        torch.set_default_dtype(before)


def inputs_of(shape: Shape, *, batch: int, text_tokens: int, like: Any) -> dict[str, torch.Tensor]:
    """A batch of noise pictures, each before ``text_tokens`` random tokens."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.full((batch, shape.picture_tokens), shape.vocabulary - 1)
    text = torch.randint(10, shape.vocabulary - 10, (batch, text_tokens), generator=generator)
    ids = torch.cat([picture, text], dim=1)
    pixels = torch.randn(batch, 3, shape.side, shape.side, generator=generator)
    return {
        "input_ids": ids.to(like.device),
        "attention_mask": torch.ones_like(ids).to(like.device),
        "pixel_values": pixels.to(like.device, like.dtype),
    }


def shape_jobs(shape: Shape, model: Any, *, batch: int) -> dict[str, Callable[[], Any]]:
    """The three modes on one batch, each ending when the device has finished."""
    given = {
        mode: inputs_of(shape, batch=batch, text_tokens=count, like=model) for mode, count in PROMPT_TOKENS.items()
    }
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(10, shape.vocabulary - 10, (batch, OPTIONS, OPTION_TOKENS), generator=generator).tolist()
    letters = [[row[0] for row in each] for each in tokens]

    def generate() -> Any:
        return model.generate(
            **given["generate"], do_sample=False, min_new_tokens=WRITTEN, max_new_tokens=WRITTEN, pad_token_id=0
        )

    def names() -> Any:
        return option_logprobs(model, given["names"], tokens, ends=[2])

    def by_letter() -> Any:
        return next_token_logprobs(model, given["letters"], letters)

    return {
        mode: partial(_finished, job, model.device.type)
        for mode, job in (("generate", generate), ("names", names), ("letters", by_letter))
    }


def _finished(job: Callable[[], Any], device: str) -> Any:
    with torch.inference_mode():
        result = job()
    if device == "cuda":
        torch.cuda.synchronize()
    return result


def measure_shape(shape: Shape, *, device: str, batches: tuple[int, ...], repeats: int) -> list[list[str]]:
    """One row a mode and batch size, random weights."""
    model = build(shape, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    rows = []
    for batch in batches:
        jobs = shape_jobs(shape, model, batch=batch)
        timings = in_turn({f"{mode} {batch}": job for mode, job in jobs.items()}, repeats=repeats)
        rows += rows_of([(mode, batch) for mode in jobs], timings, None)
    return rows


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few pictures, nothing written")
    parser.add_argument("--shape", choices=SHAPES, help="random weights of this shape instead of the embedded model")
    parser.add_argument("--device", default="cpu", help="for --shape: cpu or cuda")
    options = parser.parse_args()
    quick = options.quick
    if options.shape:
        batches = (2,) if quick else (1, 8, 32)
        found = measure_shape(SHAPES[options.shape], device=options.device, batches=batches, repeats=1 if quick else 5)
        shown, name, title = table(SHAPE_HEADER, found), "ranking_7b", "Ranking with a model of 7B shape"
        where = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
        note = f"Shape {options.shape}, random weights, {where}; a picture is one image with five candidates.\n\n"
    else:
        pictures = 32 if quick else 128
        shown = table(HEADER, measure(pictures=pictures, repeats=1 if quick else 3))
        name, title = "ranking", "Ranking: option scoring against a written order"
        note = f"{pictures} pictures a round, five candidates each; float32 on the CPU. Tokens are means a picture.\n\n"
    print(shown)
    if not quick:
        write_section(name, title, note + shown)


if __name__ == "__main__":
    main()
