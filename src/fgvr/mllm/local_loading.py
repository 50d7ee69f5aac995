"""Loading a local image-text-to-text model, with the adapters trained on it, and its generation settings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgvr.errors import InputError, MllmError
from fgvr.mllm.adapters import with_adapter


def load_model(folder: Path, *, device: str, dtype: str, adapters: Sequence[Path] = (), merge: bool = True) -> Any:
    """The model of a folder on its device, in inference mode, with ``adapters`` on it in their order.

    ``merge``: the last adapter's weights are added into the model's, which then runs at its own speed (in float32 the
    same to rounding; the others always are). Raises MllmError, or InputError for an unknown dtype.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    automatic = "bfloat16" if where.startswith("cuda") else "float32"
    kind = getattr(torch, automatic if dtype == "auto" else dtype, None)
    if not isinstance(kind, torch.dtype):
        raise InputError("no such dtype", remedy="Use float32, bfloat16 or float16.", dtype=dtype)
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=kind, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise MllmError(
            "the model cannot be loaded",
            remedy="It must be an image-text-to-text model that transformers knows, with safetensors weights.",
            folder=folder,
            reason=str(error)[:300],
        ) from error
    for index, adapter in enumerate(adapters):
        tuned = with_adapter(model, adapter)
        model = tuned.merge_and_unload() if merge or index < len(adapters) - 1 else tuned
    return model.to(where).eval()


def plain_generation(model: Any, tokenizer: Any) -> Any:
    """The model's generation config made greedy: what is left of it are its special tokens and penalties."""
    config = copy.deepcopy(model.generation_config)
    config.do_sample, config.num_beams = False, 1
    config.temperature, config.top_p, config.top_k = 1.0, 1.0, 50
    config.max_length = None
    if config.eos_token_id is None:
        config.eos_token_id = tokenizer.eos_token_id
    if config.eos_token_id is None:
        raise MllmError("the model has no end token", remedy="Set eos_token_id in its generation_config.json.")
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    return config
