"""A randomly initialised Qwen2.5-VL of any size with a tokenizer of made-up words, and triplets of made-up pictures.

Random weights take the time of trained ones. With weights this small the next token is nearly drawn evenly from the
vocabulary, so that a reply ends with the probability that the share of ending tokens gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPECIAL = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
CHAT = (
    "{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2.5-VL."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    inner: int
    vocabulary: int
    vision_width: int
    vision_layers: int
    vision_inner: int
    side: int
    """Of the pictures, pixels; every 28 x 28 of them are a token."""
    tied: bool = False
    """The output layer is the embedding."""

    @property
    def picture_tokens(self) -> int:
        """Of one picture."""
        return (self.side // 28) ** 2

    @property
    def weights(self) -> int:
        """Of the language model's matrices, the output layer included."""
        head = self.width // self.heads
        attention = self.width * head * (2 * self.heads + 2 * self.key_value_heads)
        return self.layers * (attention + 3 * self.width * self.inner) + self.vocabulary * self.width


SHAPES = {
    "tiny": Shape(256, 4, 4, 2, 768, 2048, 128, 4, 256, side=168),
    "3b": Shape(2048, 36, 16, 2, 11008, 151936, 1280, 32, 3420, side=448, tied=True),
}


def config_of(shape: Shape, ids: dict[str, int]) -> Any:
    """The model's configuration; ``ids``: of the special tokens."""
    from transformers import Qwen2_5_VLConfig

    half = shape.width // shape.heads // 2
    sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    text = {
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "intermediate_size": shape.inner,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": shape.tied,
        "rope_parameters": {"rope_type": "default", "mrope_section": sections, "rope_theta": 1e6},
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 1,
    }
    every = shape.vision_layers // 4
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "intermediate_size": shape.vision_inner,
        "num_heads": shape.vision_width // (80 if shape.vision_width % 80 == 0 else 32),
        "out_hidden_size": shape.width,
        "fullatt_block_indexes": list(range(every - 1, shape.vision_layers, every)),
    }
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    found = dict(zip(names, (ids[one] for one in SPECIAL), strict=True))
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=shape.tied, **found)


def tokenizer_of(shape: Shape) -> Any:
    """Words of letters and numbers, as many as the vocabulary has places."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    first = ["<unk>", "<pad>", "<s>", "</s>", *SPECIAL]
    words = [*first, *(f"w{index}" for index in range(shape.vocabulary - len(first)))]
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, extra_special_tokens=list(SPECIAL), **marks)


def save_model(folder: Path, shape: Shape, *, dtype: Any = None, device: str = "cpu") -> Path:
    """Write an ordinary model folder; returns it."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessorPil

    from fgvr.mllm.image_only_processor import _image_only_class

    words = tokenizer_of(shape)
    config = config_of(shape, dict(zip(SPECIAL, words.convert_tokens_to_ids(list(SPECIAL)), strict=True)))
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype or default)
    try:
        with torch.device(device):
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(default)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 3, 1
    pixels = shape.side**2
    pictures = Qwen2VLImageProcessorPil(min_pixels=pixels, max_pixels=pixels)
    processor = _image_only_class("qwen2_5_vl")(image_processor=pictures, tokenizer=words, chat_template=CHAT)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in folder.glob("*.json"):
        if path.name != "tokenizer.json":
            stock = path.read_text().replace(type(processor).__name__, "Qwen2_5_VLProcessor")
            path.write_text(stock)
    return folder


def triplets_in(folder: Path, count: int, *, side: int) -> list[Any]:
    """Triplets of three pictures of noise each."""
    import numpy as np
    from PIL import Image

    from fgvr.methods.fine_r1.triplets import Triplet

    def picture(name: str, seed: int) -> Path:
        path = folder / f"{name}.png"
        noise = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        return path

    found = []
    for index in range(count):
        pictures = (picture(f"{kind}{index}", 3 * index + place) for place, kind in enumerate("apn"))
        anchor, positive, negative = pictures
        found.append(Triplet(str(index), anchor, f"w{index}", "Which kind is this?", positive, negative, "other"))
    return found
