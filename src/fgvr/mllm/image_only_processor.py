"""Processors that never ask for video.

In transformers 5.x the stock processors of Qwen2-VL, Qwen2.5-VL, Qwen3-VL and SmolVLM insist on a video processor, and
that one on torchvision. ``ProcessorMixin`` learns from the signature of ``__init__`` which parts to load, so a subclass
without ``video_processor`` in its signature loads pictures and text only. This leans on transformers' internals and is
therefore kept in this one file; where torchvision really imports, the stock processor is used.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fgvr.errors import MllmError

_QWEN = {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
_SMOL = {"smolvlm": "SmolVLMProcessor"}


def load_processor(folder: Path) -> Any:
    """The processor of a model folder: pictures and text to tensors. Raises MllmError when there is none."""
    from transformers import AutoProcessor

    kind = model_type(folder)
    try:
        if kind in {**_QWEN, **_SMOL} and not torchvision_works():
            # The automatic choice of image classes would look for the video class by the stock name: PIL is named.
            processor = _image_only_class(kind).from_pretrained(folder, backend="pil")
        else:
            processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise MllmError(
            "the model's processor cannot be loaded",
            remedy="The folder needs the processor and tokenizer files that belong to the model.",
            folder=folder,
            reason=str(error)[:300],
        ) from error
    # For an unknown processor class transformers silently returns the bare tokenizer.
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise MllmError("the folder has no processor for pictures", remedy="Use a vision model.", folder=folder)
    return processor


def model_type(folder: Path) -> str:
    """``model_type`` of the folder's config.json. Raises MllmError when there is none."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MllmError("no readable config.json", remedy="Give a transformers model folder.", folder=folder) from error


@cache
def torchvision_works() -> bool:
    """True when torchvision is installed and imports (a broken copy is worse than none)."""
    try:
        import torchvision  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except Exception:
        return False
    return True


@cache
def _image_only_class(kind: str) -> Any:
    import transformers

    if kind in _SMOL:
        return _image_only_smolvlm(getattr(transformers, _SMOL[kind]))
    return _image_only_qwen(getattr(transformers, _QWEN[kind]))


def _image_only_qwen(stock: Any) -> Any:
    from transformers import ProcessorMixin

    def __init__(
        self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any
    ) -> None:
        for name, default in (
            ("image_token", "<|image_pad|>"),
            ("video_token", "<|video_pad|>"),
            ("vision_start_token", "<|vision_start|>"),
            ("vision_end_token", "<|vision_end|>"),
        ):
            token = getattr(tokenizer, name, None) or default
            setattr(self, name, token)
            setattr(self, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return type(f"ImageOnly{stock.__name__}", (stock,), {"__init__": __init__})


def _image_only_smolvlm(stock: Any) -> Any:
    from transformers import ProcessorMixin

    def __init__(
        self: Any,
        image_processor: Any = None,
        tokenizer: Any = None,
        image_seq_len: int = 169,
        chat_template: Any = None,
        **_: Any,
    ) -> None:
        for name, default in (
            ("fake_image_token", "<fake_token_around_image>"),
            ("image_token", "<image>"),
            ("end_of_utterance_token", "<end_of_utterance>"),
            ("global_image_token", "<global-img>"),
            ("video_token", "<video>"),
        ):
            setattr(self, name, getattr(tokenizer, name, None) or default)
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.image_seq_len = image_seq_len
        # The stock __call__ and chat template reach for the video processor even when there is no video.
        self.video_processor = None
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return type(
        f"ImageOnly{stock.__name__}",
        (stock,),
        {"__init__": __init__, "apply_chat_template": ProcessorMixin.apply_chat_template},
    )
