"""Tiny random dual encoders with tiny tokenizers, saved like real checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipModel,
    VisionTextDualEncoderModel,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

TEXT = "a photo of the grey red great fox wren black capped forked tailed warbler apple cat in on - . , s"
WORDS = TEXT.split()
NAMES = ["fox", "Great grey_fox", "black-capped forked-tailed warbler", "Wren", "apple", "grey cat"]
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
}
VISION = TOWER | {"image_size": 32, "patch_size": 8}
KINDS = ("clip", "clip-legacy", "siglip", "siglip2", "bert")


def tokenizer(*, start: str | None, end: str, length: int) -> PreTrainedTokenizerFast:
    """Word-level tokenizer with the layout of the family; the end token has the highest id, as in CLIP."""
    specials = ["[PAD]", "[UNK]", *([start] if start else [])]
    vocabulary = {word: index for index, word in enumerate([*specials, *WORDS, end])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}" if start else f"$A {end}",
        special_tokens=[(token, vocabulary[token]) for token in (start, end) if token],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token=start,
        eos_token=end,
        model_max_length=length,
    )


def letter_tokenizer(length: int, *, padding_side: str = "right") -> Siglip2Tokenizer:
    """SigLIP 2's own class (lower case, space as a token) over single letters."""
    symbols = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz.,-'"]
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    made = Siglip2Tokenizer(vocabulary, [], model_max_length=length, padding_side=padding_side)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    return made


def save(kind: str, folder: Path, *, seed: int = 0, layers: int = 3) -> Path:
    """Write a checkpoint of one of ``KINDS``; weights scaled up so that context and position matter."""
    torch.manual_seed(seed)
    length = {"siglip": 12, "siglip2": 64, "bert": 40}.get(kind, 24)
    start = {"siglip": None, "bert": "[CLS]"}.get(kind, "<start>")
    end = "[SEP]" if kind == "bert" else "<end>"
    words = letter_tokenizer(length) if kind == "siglip2" else tokenizer(start=start, end=end, length=length)
    text = TOWER | {"num_hidden_layers": layers, "vocab_size": len(words), "max_position_embeddings": length}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 2 if kind == "clip-legacy" else len(words) - 1}
    model, processor = _model(kind, text)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embedding" in name:
                weight.normal_(0, 0.5)
            elif weight.dim() > 1:
                weight.normal_(0, 1.5 * weight[0].numel() ** -0.5)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _model(kind: str, text: dict[str, int]) -> tuple[torch.nn.Module, object]:
    side = {"height": 32, "width": 32}
    if kind in ("clip", "clip-legacy"):
        config = CLIPConfig(text_config=text | {"projection_dim": 16}, vision_config=VISION, projection_dim=16)
        return CLIPModel(config), CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size=side)
    if kind == "siglip":
        return SiglipModel(
            SiglipConfig(text_config=text | {"projection_size": 32}, vision_config=VISION)
        ), SiglipImageProcessorPil(size=side)
    if kind == "siglip2":
        vision = TOWER | {"patch_size": 8, "num_patches": 16}
        return Siglip2Model(
            Siglip2Config(text_config=text | {"projection_size": 32}, vision_config=vision)
        ), Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    vision_model = CLIPVisionModel(CLIPVisionConfig(**VISION))
    model = VisionTextDualEncoderModel(vision_model=vision_model, text_model=BertModel(BertConfig(**text)))
    return model, CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side)


def picture(seed: int, *, width: int = 48, height: int = 40) -> Image.Image:
    """A smooth random picture: noise would change with every resize."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
