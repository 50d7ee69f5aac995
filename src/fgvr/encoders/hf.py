"""Any CLIP-like ``transformers`` checkpoint as a ``DualEncoder``: CLIP, SigLIP, SigLIP 2, ``VisionTextDualEncoder``.

Nothing is executed from a checkpoint: safetensors only, no remote code. Weights are frozen and in evaluation mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fgvr.encoders.base import PromptTower
from fgvr.encoders.loading import checkpoint_folder, fingerprint, refuse_broken_torchvision
from fgvr.encoders.pixels import plain_preprocessing
from fgvr.encoders.precision import Agreement, require_agreement
from fgvr.encoders.prompt_tokens import UNLIMITED
from fgvr.errors import EncoderError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16", "float64")
REDUCED = ("bfloat16", "float16")

FULL_LENGTH_TEXT = ("siglip_text_model", "siglip2_text_model")
"""Text towers trained on texts padded to full length without a mask, and read at the last position."""

CAUSAL_TEXT = "clip_text_model"


class HfDualEncoder:
    """A loaded dual encoder; made by ``load_encoder``. Attributes as in ``DualEncoder``, and:

    - ``logit_bias``: SigLIP's bias on the logit (sigmoid models), 0 for softmax models;
    - ``device``, ``dtype``: where and in which precision the towers run (features are float32 always);
    - ``accuracy``: how far a reduced precision on a CPU agrees with float32, else ``None``.
    """

    def __init__(
        self, name: str, model: Any, tokenizer: Any, image_processor: Any, *, fingerprint: str, batch_size: int = 256
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.batch_size = batch_size
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._plain = plain_preprocessing(image_processor)
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.accuracy: Agreement | None = None
        self.logit_scale = math.exp(float(model.logit_scale.detach()))
        bias = getattr(model, "logit_bias", None)  # an attribute of sigmoid models only
        self.logit_bias = 0.0 if bias is None else float(bias.detach())
        self.image_size = image_side(image_processor, model.config.vision_config)
        text = model.config.text_config
        self.max_positions = min(int(text.max_position_embeddings), int(min(tokenizer.model_max_length, UNLIMITED)))
        self._text_type: str = text.model_type
        self.dim = self.encode_texts(["a"]).shape[1]

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB images to (N, D) float32, unit norm, in order. One batch: the caller batches."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def prepare(self, image: Image.Image) -> Any:
        """Resize and crop, (H, W, 3) uint8; processors that are not plain (``pixels.py``) do that batch by batch."""
        return image if self._plain is None else self._plain.prepare(image)

    def encode_prepared(self, prepared: Sequence[Any]) -> np.ndarray:
        """What ``prepare`` returned to (N, D) float32, unit norm, in order. One batch; thread-safe."""
        import torch

        if not prepared:
            return np.zeros((0, self.dim), dtype=np.float32)
        if self._plain is None:
            inputs = dict(self.image_processor(images=list(prepared), return_tensors="pt"))
        elif self.device.type == "cpu":
            inputs = {"pixel_values": self._plain.pixel_values(prepared)}
        else:
            inputs = {"pixel_values": self._plain.pixel_values_on(self.device, prepared)}
        inputs = {key: self._placed(value) for key, value in inputs.items()}
        with torch.inference_mode():
            return _unit_rows(self.model.get_image_features(**inputs))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to (N, D) float32, unit norm, in order; batches inside; longer texts are cut at the tower's length."""
        import torch

        batches = [texts[at : at + self.batch_size] for at in range(0, len(texts), self.batch_size)]
        if not batches:
            return np.zeros((0, self.dim), dtype=np.float32)
        with torch.inference_mode():
            return np.concatenate(
                [_unit_rows(self.model.get_text_features(**self._tokenised(batch))) for batch in batches]
            )

    def prompt_tower(self) -> PromptTower:
        """The differentiable text tower: prefix-sharing where the tower is CLIP's causal one, else the generic one."""
        from fgvr.encoders.prompt_tower import CausalPromptTower, GenericPromptTower

        if self._text_type == CAUSAL_TEXT:
            return CausalPromptTower(self.model, self.tokenizer, self.max_positions)
        full_length = self._text_type in FULL_LENGTH_TEXT
        return GenericPromptTower(self.model, self.tokenizer, self.max_positions, pad_to_max=full_length)

    def _tokenised(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        full_length = self._text_type in FULL_LENGTH_TEXT
        inputs = self.tokenizer(
            list(texts),
            padding="max_length" if full_length else "longest",
            truncation=True,
            max_length=self.max_positions,
            return_tensors="pt",
        )
        wanted = ("input_ids",) if full_length else ("input_ids", "attention_mask")
        return {key: inputs[key].to(self.device) for key in wanted}

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, self.dtype) if tensor.is_floating_point() else tensor.to(self.device)


def load_encoder(
    name: str | Path, *, device: str = "auto", dtype: str = "float32", batch_size: int = 256, check: bool = True
) -> HfDualEncoder:
    """Load a dual encoder by name.

    Args:
        name: ``fieldguide`` (the embedded one), a folder, or a Hub id (``org/model``, ``hf-hub:org/model@revision``).
        device: ``auto`` (CUDA where there is one), or as torch writes it.
        dtype: precision of the towers: float32, bfloat16, float16, float64. Part of the fingerprint.
        batch_size: texts per forward pass.
        check: on a CPU, compare bfloat16 and float16 with float32 on drawn pictures first (``precision.py``), which
            loads the model twice and takes seconds; the figures stay in ``accuracy``.

    Raises:
        EncoderError: the checkpoint is missing, unreachable, pickled, incomplete or not a dual encoder; the device is
            not there; the reduced precision fails its check.
    """
    if dtype not in DTYPES:
        raise EncoderError(f"unknown dtype {dtype!r}", remedy=f"Use one of {', '.join(DTYPES)}.")
    refuse_broken_torchvision()
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = checkpoint_folder(str(name))
    encoder = _loaded(folder, str(name), device=device, dtype=dtype, batch_size=batch_size)
    if check and dtype in REDUCED and encoder.device.type == "cpu":
        exact = _loaded(folder, str(name), device=device, dtype="float32", batch_size=batch_size)
        encoder.accuracy = require_agreement(exact, encoder, dtype=dtype)
    return encoder


def _loaded(folder: Path, name: str, *, device: str, dtype: str, batch_size: int) -> HfDualEncoder:
    import torch

    model = _load_model(folder, name, dtype=getattr(torch, dtype))
    tokenizer, image_processor = _load_processors(folder, name)
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch says "not compiled with CUDA" with an AssertionError
        raise EncoderError(
            f"the device cannot be used: {str(error).splitlines()[0]}",
            remedy="Use --device cpu, or a build of torch and a driver that fit the device.",
            device=device,
        ) from error
    return HfDualEncoder(
        name,
        model,
        tokenizer,
        image_processor,
        fingerprint=fingerprint(folder, image_processor.to_dict(), dtype=dtype),
        batch_size=batch_size,
    )


def _load_model(folder: Path, name: str, *, dtype: torch.dtype) -> Any:
    """The frozen model. Every weight must come from the file: ``transformers`` would fill a gap with random numbers."""
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=dtype,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise EncoderError(
            f"transformers cannot load it: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            remedy="Check that the folder is complete and of an architecture transformers knows.",
            encoder=name,
        ) from error
    needed = ("get_image_features", "get_text_features", "logit_scale")
    if not all(callable(getattr(model, part, None)) or part in dict(model.named_parameters()) for part in needed):
        raise EncoderError(
            f"{type(model).__name__} is not a dual encoder",
            remedy="Name a CLIP-like model: CLIP, SigLIP, SigLIP 2 or VisionTextDualEncoder.",
            encoder=name,
        )
    if report["missing_keys"]:
        raise EncoderError(
            "weights are missing from the checkpoint",
            remedy="Download or save it again.",
            encoder=name,
            missing=", ".join(sorted(report["missing_keys"])[:3]),
        )
    return model


def _load_processors(folder: Path, name: str) -> tuple[Any, Any]:
    """Tokenizer and image processor, each by its own class: ``AutoProcessor`` may silently return a bare tokenizer."""
    from transformers import AutoImageProcessor, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        image_processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EncoderError(
            f"its tokenizer or image processor cannot be loaded: {str(error).splitlines()[0]}",
            remedy="The folder must hold tokenizer and preprocessor files beside the weights.",
            encoder=name,
        ) from error
    return tokenizer, image_processor


def image_side(image_processor: Any, vision_config: Any) -> int:
    """Side in pixels of the square the image tower sees, by preprocessing: the crop, else the size.

    SigLIP 2 with native aspect ratios has a budget of patches instead: the side of a square of that many.
    """
    settings = image_processor.to_dict()
    if settings.get("max_num_patches"):
        return round(math.sqrt(settings["max_num_patches"]) * int(settings["patch_size"]))
    for key in ("crop_size", "size"):
        sides = settings.get(key) if key == "size" or settings.get("do_center_crop") else None
        if sides:
            return int(max(value for value in dict(sides).values() if value))
    return int(vision_config.image_size)


def _unit_rows(output: Any) -> np.ndarray:
    """Model output to float32 rows of unit norm. Raises ``EncoderError`` for features that are not finite."""
    import torch

    from fgvr.encoders.prompt_tower import pooled_output

    features = torch.nn.functional.normalize(pooled_output(output).float(), dim=-1)
    if not bool(torch.isfinite(features).all()):
        raise EncoderError("the encoder returned values that are not finite", remedy="Use dtype float32.")
    array: np.ndarray = features.cpu().numpy()
    return array
