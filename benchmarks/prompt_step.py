"""One step of prompt tuning at ViT-B/16 text size: ours against CoOp's released code, in time, memory and gradient.

Protocol. A CLIP text tower of the size of ViT-B/16 (12 layers, 512 wide, 8 heads, 77 positions, 49,408 tokens) with the
library's random initialisation; speed does not depend on the weights' values. Sixteen context vectors, a batch of 32
cached image features, three candidate labels an image. One step is: features of all C names, PRODEN's loss, the
gradient of the context, one SGD step. Weights are frozen, float32 throughout.

Names are lists of token ids, since no CLIP vocabulary comes with the repository: 2 to 9 tokens, shares
``NAME_LENGTHS`` (mean 4.4; "black footed albatross" has 4), and a full stop.

The reference is CoOp's ``PromptLearner`` and ``TextEncoder`` written anew on the modules of ``transformers``: every
prompt padded to 77 tokens, (C, 77, 512) put together whole, nothing shared. Its attention is
``scaled_dot_product_attention``, which is faster and smaller than what CoOp had in 2022.

Time: in turn, medians. At C = 800 the padded step needs more memory than most machines have; there it is measured
as four slices of 200 classes, forward and backward each, which is less than it would cost whole. Memory: growth of the
peak over one step in a fresh process at two C; the slope is per class. Gradients: both in float32 and both in float64.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import in_fresh_process, in_turn, table, write_section
from fgvr.encoders.prompt_tower import CausalPromptTower
from fgvr.methods.near.proden import proden_loss

CONTEXT, IMAGES, CANDIDATES, SCALE = 16, 32, 3, 100.0
START, END, STOP, ARTICLE, WORDS = 49406, 49407, 269, 320, 49000
NAME_LENGTHS = {2: 0.12, 3: 0.22, 4: 0.24, 5: 0.18, 6: 0.11, 7: 0.07, 8: 0.04, 9: 0.02}
"""Share of names by their number of tokens: an assumption in the manner of fine-grained names."""
SLICE = 200
"""Classes the padded step takes at once; above it, slices."""
FASTER, SMALLER, EXACT = 10.0, 6.0, 1e-5
"""What the step has to reach against the padded one."""

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TowerSize:
    """Sizes of a CLIP text tower; the defaults are ViT-B/16's."""

    width: int = 512
    layers: int = 12
    heads: int = 8
    positions: int = 77
    projection: int = 512


def text_model(size: TowerSize | None = None, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A frozen ``CLIPTextModelWithProjection`` of random weights."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    size = size or TowerSize()
    config = CLIPTextConfig(
        vocab_size=END + 1,
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.positions,
        projection_dim=size.projection,
        bos_token_id=START,
        eos_token_id=END,
        pad_token_id=END,
    )
    torch.manual_seed(seed)
    return CLIPTextModelWithProjection(config).to(dtype).eval().requires_grad_(False)


class IdTokenizer:
    """Texts are already ids ("a 812 4006."): what a tower asks of a tokenizer, without a vocabulary."""

    pad_token_id, unk_token_id, model_max_length, padding_side = END, END, 77, "right"

    def __call__(self, text: str, *, add_special_tokens: bool = True, **_options: object) -> SimpleNamespace:
        """Ids of a text; "a" and the full stop have CLIP's."""
        words = text.replace(".", " .").split()
        ids = [{"a": ARTICLE, ".": STOP}.get(word) or int(word) for word in words]
        return SimpleNamespace(input_ids=[START, *ids, END] if add_special_tokens else ids)


def class_names(number: int, *, seed: int = 0, length: int | None = None) -> list[str]:
    """Names of ``NAME_LENGTHS`` tokens, or all of one ``length``, as texts for ``IdTokenizer``."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice(list(NAME_LENGTHS), size=number, p=list(NAME_LENGTHS.values()))
    sizes = lengths if length is None else np.full(number, length)
    return [" ".join(map(str, rng.integers(1000, WORDS, n))) for n in sizes]


class PaddedPrompts:
    """CoOp's ``PromptLearner`` and ``TextEncoder``: every class at the full length, nothing shared."""

    def __init__(self, model: Any, names: Sequence[str], *, context_length: int = CONTEXT) -> None:
        self._model = model
        text = model.text_model
        positions = text.embeddings.position_embedding.weight
        holder = [ARTICLE] * context_length
        rows = [IdTokenizer()(f"{' '.join(['a'] * len(holder))} {name}.").input_ids for name in names]
        self._end = torch.tensor([len(row) - 1 for row in rows])
        padded = torch.tensor([[*row, *[0] * (len(positions) - len(row))] for row in rows])
        embedded = text.embeddings.token_embedding(padded)
        self._prefix, self._suffix = embedded[:, :1], embedded[:, 1 + context_length :].clone()
        self._positions = positions

    def __call__(self, context: Tensor) -> Tensor:
        """Context (M, E) to text features (C, D), unit norm."""
        text, number = self._model.text_model, len(self._end)
        middle = context.to(self._positions.dtype).expand(number, -1, -1)
        prompts = torch.cat([self._prefix, middle, self._suffix], dim=1) + self._positions
        hidden = text.encoder(inputs_embeds=prompts, is_causal=True).last_hidden_state
        pooled = text.final_layer_norm(hidden)[torch.arange(number), self._end]
        features = self._model.text_projection(pooled)
        return features / features.norm(dim=-1, keepdim=True)  # type: ignore[no-any-return]


def shared_prompts(model: Any, names: Sequence[str]) -> CausalPromptTower:
    """Our tower with these names, a function of the context."""
    tower = CausalPromptTower(model, IdTokenizer(), model.config.max_position_embeddings)
    tower.set_names(names)
    return tower


def start_context(width: int, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """CoOp's random start."""
    noise = torch.randn(CONTEXT, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (0.02 * noise).to(dtype).requires_grad_()


def image_batch(labels: int, dim: int, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (32, D), unit norm, and candidate weights (32, C)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(IMAGES, dim, generator=generator, dtype=torch.float64)
    weights = torch.zeros(IMAGES, labels, dtype=torch.float64)
    chosen = torch.rand(IMAGES, labels, generator=generator).argsort(dim=1)[:, :CANDIDATES]
    weights.scatter_(1, chosen, 1.0 / CANDIDATES)
    return torch.nn.functional.normalize(images, dim=-1).to(dtype), weights.to(dtype)


def gradient(features: Features, context: Tensor, images: Tensor, weights: Tensor) -> Tensor:
    """Of PRODEN's loss, in the context."""
    loss = proden_loss(SCALE * images @ features(context).T, weights)
    return torch.autograd.grad(loss, context)[0]


def step(features: Features, context: Tensor, images: Tensor, weights: Tensor) -> None:
    """One step of plain SGD on the context."""
    found = gradient(features, context, images, weights)
    with torch.no_grad():
        context -= 0.002 * found


def relative_difference(value: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the norm of the reference."""
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def gradient_difference(
    labels: int, *, size: TowerSize | None = None, dtype: torch.dtype = torch.float32, seed: int = 0
) -> float:
    """How far our gradient is from the padded one's, relative."""
    size = size or TowerSize()
    model, names = text_model(size, dtype=dtype, seed=seed), class_names(labels, seed=seed)
    images, weights = image_batch(labels, size.projection, dtype=dtype, seed=seed)
    context = start_context(size.width, dtype=dtype, seed=seed)
    ours = gradient(shared_prompts(model, names), context, images, weights)
    return relative_difference(ours, gradient(PaddedPrompts(model, names), context, images, weights))


def time_steps(labels: int, *, repeats: int, warmup: int = 0) -> list[object]:
    """A row of the table: seconds of the padded step and of ours, and their ratio."""
    model, names = text_model(), class_names(labels)
    pieces = [names[at : at + SLICE] for at in range(0, labels, SLICE)]
    padded = [PaddedPrompts(model, piece) for piece in pieces]
    batches = [image_batch(len(piece), 512) for piece in pieces]
    ours, batch, context = shared_prompts(model, names), image_batch(labels, 512), start_context(512)
    one_block = shared_prompts(model, class_names(labels, length=max(NAME_LENGTHS)))

    def padded_step() -> None:
        for features, part in zip(padded, batches, strict=True):
            step(features, context, *part)

    timings = in_turn(
        {
            "padded": padded_step,
            "block": partial(step, one_block, context, *batch),
            "ours": partial(step, ours, context, *batch),
        },
        repeats=repeats,
        warmup=warmup,
    )
    ratio = timings["padded"].median / timings["ours"].median
    slices = f", {len(pieces)} slices" if len(pieces) > 1 else ""
    return [labels, f"{timings['padded']}{slices}", timings["block"], timings["ours"], f"{ratio:.1f}x"]


def one_step(kind: str, labels: int) -> None:
    """A single step, everything built on the way; for its memory."""
    model, names = text_model(), class_names(labels)
    features = PaddedPrompts(model, names) if kind == "padded" else shared_prompts(model, names)
    step(features, start_context(512), *image_batch(labels, 512))


def warm() -> None:
    """What a process does once, whatever the number of classes: imports, weights, buffers of the libraries."""
    one_step("ours", 8)


def mib_per_class(kind: str, few: int, many: int) -> float:
    """Slope of the peak over the number of classes."""
    growth = [in_fresh_process(one_step, kind, labels, prepare=warm).growth_mib for labels in (few, many)]
    return float(growth[1] - growth[0]) / (many - few)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few classes, few repetitions, writes nothing")
    quick = parser.parse_args().quick
    labels = 16 if quick else 64
    exact = {dtype: gradient_difference(labels, dtype=dtype) for dtype in (torch.float32, torch.float64)}
    rows = [time_steps(labels, repeats=3 if quick else 5, warmup=1)]
    if not quick:
        rows += [time_steps(200, repeats=3), time_steps(800, repeats=3)]
    padded, ours = mib_per_class("padded", 16, 32 if quick else 144), mib_per_class("ours", 200, 400 if quick else 800)
    body = report(rows, padded=padded, ours=ours, exact=exact, labels=labels)
    print(body)
    if max(exact.values()) > EXACT:
        raise SystemExit("the gradients differ")
    if not quick:
        write_section("prompt_step", "A step of prompt tuning", body)


def report(
    rows: list[list[object]], *, padded: float, ours: float, exact: dict[torch.dtype, float], labels: int
) -> str:
    """The section's text."""
    header = ["C", "padded to 77 (CoOp)", "ours, names padded to the longest", "ours, packed", "faster"]
    shares = ", ".join(f"{tokens}: {share:.0%}" for tokens, share in NAME_LENGTHS.items())
    return "\n\n".join(
        [
            "Seconds of one step (32 images, 16 context vectors, CLIP ViT-B/16 text size, random weights, float32): "
            "features of all C names, loss, gradient of the context, update. Medians (range), taken in turn. "
            f"At C = 800 the padded step runs as {800 // SLICE} slices, a lower bound of its cost.",
            table(header, rows),
            f"Memory of a step, slope over C: **{padded:.1f} MiB per class padded, {ours:.2f} ours: "
            f"{padded / ours:.1f}x less** (wanted: {SMALLER:.0f}x; wanted speed: {FASTER:.0f}x).",
            f"Difference of the gradients at C = {labels}, relative: {exact[torch.float32]:.1e} in float32, "
            f"{exact[torch.float64]:.1e} in float64 (wanted: {EXACT:.0e}).",
            f"Names by number of tokens, without the full stop: {shares}.",
        ]
    )


if __name__ == "__main__":
    main()
