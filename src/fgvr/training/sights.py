"""Prompts with a picture as model inputs, made once and used many times: by generation, by every pass of the update.

Reinforcement learning shows the same few pictures again and again: a prompt's picture to all its replies, when they are
sampled, when the old policy scores them and when the new one does; and it shows one reply several pictures (its own,
the anchor's, the negative's).

1. *Every picture with its own prompt.* Token ids, positions and grids are made anew for each picture. The released code
   makes them once, from the anchor, and warps the other pictures to the anchor's size.
2. *Frozen picture features are computed once* and given to the model as ``mm_encoder_outputs``, within ``memory``
   bytes. Where the vision tower or the connector is trained, or a model keeps more than one feature map a picture
   (Qwen3-VL), the pixels go through the model in every pass.
3. *A picture that cannot be read* is noted in ``set_aside`` the first time, and its prompts are left out. One that was
   read stays, within ``memory`` bytes, so that a file which goes away between sampling and update stops nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fgvr import images
from fgvr.errors import ImageError
from fgvr.mllm.base import Request
from fgvr.mllm.representations import without_output_layer
from fgvr.types import SetAside

if TYPE_CHECKING:
    from PIL import Image

    from fgvr.mllm.local import LocalMllm

_PER_TOKEN = ("input_ids", "mm_token_type_ids", "token_type_ids")
_PIXELS = ("pixel_values", "pixel_attention_mask", "image_sizes")
_LANGUAGE = ("language_model", "text_model", "lm_head", "model.layers")
SEVERAL_MAPS = frozenset({"qwen3_vl", "qwen3_vl_moe"})
"""Model types whose picture features are more than one tensor a picture."""


@dataclass(frozen=True)
class Sight:
    """One question about one picture."""

    prompt: str
    """As in ``Request.prompt``: without picture marks and without the chat template."""
    picture: Path


@dataclass(frozen=True)
class _Encoded:
    """A sight as tensors: ``tokens`` (T,) each by name, ``fixed`` with a leading axis of one, ``features`` (F, D)."""

    tokens: Mapping[str, torch.Tensor]
    fixed: Mapping[str, torch.Tensor]
    features: torch.Tensor | None


class Sights:
    """Model inputs of sights for the model of a ``LocalMllm``.

    Args:
        memory: bytes of picture features that are kept, and of decoded pictures; the oldest go first.
        share: compute frozen features once; default where the model allows it.
    """

    def __init__(self, mllm: LocalMllm, *, memory: int = 2 << 30, share: bool | None = None) -> None:
        self.mllm = mllm
        self.share = frozen_pictures(mllm.model) if share is None else share
        self.set_aside: dict[Path, SetAside] = {}
        self._memory = memory
        self._kept: dict[Sight, _Encoded] = {}
        self._features: dict[Path, torch.Tensor] = {}
        self._pictures: dict[Path, Image.Image] = {}

    def readable(self, picture: Path) -> bool:
        """Whether a picture can be decoded; the first time it cannot, why is noted."""
        if picture in self._features or picture in self._pictures:
            return True
        if picture in self.set_aside:
            return False
        try:
            self._decoded(picture)
        except ImageError as error:
            self.set_aside[picture] = SetAside(picture.name, str(picture), error.reason, error.message)
            return False
        return True

    def inputs(
        self, sights: Sequence[Sight], replies: Sequence[Sequence[int]] = (), *, padding_side: str = "right"
    ) -> tuple[dict[str, Any], list[int]]:
        """Model inputs of B sights, each with its reply's token ids behind it; and the B prompts' lengths in tokens.

        Without ``replies`` the prompts alone. Raises ``ImageError`` for a picture that cannot be read.
        """
        tails = replies or [()] * len(sights)
        if not self.share:
            return self._whole(sights, tails, padding_side)
        rows = self._encoded(sights)
        starts = [len(row.tokens["input_ids"]) for row in rows]
        inputs: dict[str, Any] = {name: self._padded(rows, name, tails, padding_side) for name in rows[0].tokens}
        inputs["attention_mask"] = self._mask(starts, tails, padding_side)
        for name in rows[0].fixed:
            inputs[name] = torch.cat([row.fixed[name] for row in rows])
        inputs["mm_encoder_outputs"] = {"image": _output([row.features for row in rows])}
        return inputs, starts

    # --- parts --------------------------------------------------------------------------------------------------------

    def _whole(
        self, sights: Sequence[Sight], tails: Sequence[Sequence[int]], side: str
    ) -> tuple[dict[str, Any], list[int]]:
        """The processor's own tensors, pixels included."""
        batch = self._processed(sights)
        real = batch["attention_mask"].bool()
        starts = [int(row.sum()) for row in real]
        inputs: dict[str, Any] = {name: value for name, value in batch.items() if name not in _PER_TOKEN}
        for name in _PER_TOKEN:
            if name in batch:
                rows = [_Encoded({name: row[keep]}, {}, None) for row, keep in zip(batch[name], real, strict=True)]
                inputs[name] = self._padded(rows, name, tails, side)
        inputs["attention_mask"] = self._mask(starts, tails, side)
        return inputs, starts

    def _encoded(self, sights: Sequence[Sight]) -> list[_Encoded]:
        """Each sight once; a picture not known yet goes through the vision tower, alone."""
        missing = [one for one in dict.fromkeys(sights) if one not in self._kept or one.picture not in self._features]
        for sight in missing:
            batch = self._processed([sight])
            real = batch["attention_mask"][0].bool()
            if sight.picture not in self._features:
                self._features[sight.picture] = self._looked(batch)
                self._pictures.pop(sight.picture, None)
            self._kept[sight] = _Encoded(
                {name: batch[name][0][real] for name in _PER_TOKEN if name in batch},
                {name: value for name, value in batch.items() if name == "image_grid_thw"},
                self._features[sight.picture],
            )
        found = [self._kept[sight] for sight in sights]
        self._forget()
        return found

    def _looked(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(F, D) features of the one picture of a batch, as in inference whatever the mode."""
        inner = without_output_layer(self.mllm.model)
        named = {name: batch[name] for name in (*_PIXELS, "image_grid_thw") if name in batch}
        training = inner.training
        inner.eval()
        with torch.no_grad():
            found = inner.get_image_features(**named, return_dict=True).pooler_output
        inner.train(training)
        features: torch.Tensor = found if isinstance(found, torch.Tensor) else torch.cat(list(found))
        return features.reshape(-1, features.shape[-1])

    def _processed(self, sights: Sequence[Sight]) -> dict[str, torch.Tensor]:
        """What the processor makes of prompts and pictures, on the model's device."""
        model = self.mllm.model
        prompts = [self.mllm.prompt_text(Request("", one.prompt, (one.picture,))) for one in sights]
        pictures = [[self._decoded(one.picture)] for one in sights]
        batch = self.mllm.processor(text=prompts, images=pictures, padding=True, return_tensors="pt").to(model.device)
        return {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in batch.items()}

    def _decoded(self, picture: Path) -> Image.Image:
        from fgvr.mllm.local_inputs import shrunk

        if picture not in self._pictures:
            side = self.mllm.max_side
            self._pictures[picture] = shrunk(images.decode(picture, side=side).image, side)
            held = sum(3 * one.width * one.height for one in self._pictures.values())
            while held > self._memory and len(self._pictures) > 1:
                oldest = self._pictures.pop(next(iter(self._pictures)))
                held -= 3 * oldest.width * oldest.height
        return self._pictures[picture]

    def _padded(self, rows: Sequence[_Encoded], name: str, tails: Sequence[Sequence[int]], side: str) -> torch.Tensor:
        from torch.nn.utils.rnn import pad_sequence

        ids = name == "input_ids"
        ends = [tail if ids else [0] * len(tail) for tail in tails]
        lines = [
            torch.cat([row.tokens[name], row.tokens[name].new_tensor(list(end))])
            for row, end in zip(rows, ends, strict=True)
        ]
        fill = int(self.mllm.processor.tokenizer.pad_token_id) if ids else 0
        return pad_sequence(lines, True, fill, padding_side=side)

    def _mask(self, starts: Sequence[int], tails: Sequence[Sequence[int]], side: str) -> torch.Tensor:
        from torch.nn.utils.rnn import pad_sequence

        device = self.mllm.model.device
        lines = [torch.ones(n + len(tail), dtype=torch.long) for n, tail in zip(starts, tails, strict=True)]
        return pad_sequence(lines, True, 0, padding_side=side).to(device)

    def _forget(self) -> None:
        """Keep to ``memory``: the oldest pictures go, and what was made with them."""
        held = sum(one.numel() * one.element_size() for one in self._features.values())
        while held > self._memory and len(self._features) > 1:
            oldest = next(iter(self._features))
            gone = self._features.pop(oldest)
            held -= gone.numel() * gone.element_size()
            for sight in [one for one in self._kept if one.picture == oldest]:
                del self._kept[sight]


def frozen_pictures(model: Any) -> bool:
    """Whether nothing between pixels and language model is trained, and features are one tensor a picture."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if inner.config.model_type in SEVERAL_MAPS:
        return False
    trained = [name for name, weight in inner.named_parameters() if weight.requires_grad]
    return all(any(part in name for part in _LANGUAGE) for name in trained)


def _output(features: Sequence[torch.Tensor | None]) -> Any:
    """What ``get_image_features`` would have returned for these pictures, in order."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    found = [one for one in features if one is not None]
    return BaseModelOutputWithPooling(pooler_output=found)
