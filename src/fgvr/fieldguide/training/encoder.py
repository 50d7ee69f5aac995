"""The tiny dual encoder: a genuine CLIP, trained on the seen species only.

Loss: every picture against the names of all seen species (one random caption each, softmax over species), and, through
the same text tower, against each group of texts that exclude one another (super-category, genus, every attribute).
The groups are what grounds the words that compositional names are made of, so names of unseen species mean something.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.pictures import Pictures, batch_of
from fgvr.fieldguide.training.texts import NAME_TEMPLATES, Group, attribute_groups, name_texts
from fgvr.fieldguide.training.tokenisers import train_tokeniser

log = logging.getLogger(__name__)
SIDE, PATCH = 96, 16


@dataclass(frozen=True)
class EncoderRecipe:
    """What the published weights were trained with."""

    steps: int = 2200
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 150
    group_weight: float = 1.0
    group_share: float = 0.4
    """Share of the groups asked about in one step; all of them would cost as much as the pictures."""
    seed: int = 0


DEFAULT_RECIPE = EncoderRecipe()


def build_encoder(tokeniser: Any) -> CLIPModel:
    """A CLIP of about 5 million parameters: 6 x 192 vision on 36 patches of 96 px, causal 4 x 192 text, 192-d space."""
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokeniser),
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 48,
            "bos_token_id": tokeniser.bos_token_id,
            "eos_token_id": tokeniser.eos_token_id,
            "pad_token_id": tokeniser.pad_token_id,
        },
        vision_config={
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        projection_dim=192,
    )
    return CLIPModel(config)


def image_processor() -> CLIPImageProcessorPil:
    """Shorter side to 96 (bicubic), centre crop, [-1, 1]."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def encoder_texts(seen: Sequence[Species]) -> list[str]:
    """Everything the encoder's tokeniser is trained on."""
    groups = [text for group in attribute_groups(seen) for text in group.texts]
    names = [name for one in seen for name in (one.name, *one.synonyms, one.scientific)]
    return groups + [template.format(name) for name in names for template in NAME_TEMPLATES]


def train_encoder(
    seen: Sequence[Species],
    pictures: Pictures,
    rows: np.ndarray,
    folder: Path,
    *,
    recipe: EncoderRecipe = DEFAULT_RECIPE,
) -> None:
    """Train on the ``rows`` of ``pictures``; save model, tokeniser and image processor (safetensors, float16)."""
    torch.manual_seed(recipe.seed)
    rng, generator = np.random.default_rng(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    tokeniser = train_tokeniser(encoder_texts(seen), vocabulary=1500, lowercase=True)
    model = build_encoder(tokeniser)
    groups = attribute_groups(seen)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, recipe.warmup, recipe.steps))
    began = time.monotonic()
    model.train()
    for step in range(recipe.steps):
        chosen = rng.choice(rows, size=recipe.batch)
        pixels = batch_of(pictures, chosen, side=SIDE, generator=generator)
        species = torch.from_numpy(pictures.species[chosen])
        asked = [group for group in groups if rng.random() < recipe.group_share] or list(groups[:1])
        names, phrases = contrast(model, tokeniser, pixels, species, name_texts(seen, rng), asked)
        optimiser.zero_grad()
        torch.autograd.backward(names + recipe.group_weight * phrases)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % 50 == 0 or step == recipe.steps - 1:
            pace = (step + 1) * recipe.batch / (time.monotonic() - began)
            log.info("encoder step %d: names %.3f phrases %.3f (%.0f images/s)", step, names, phrases, pace)
    save(model, tokeniser, folder)


def contrast(
    model: CLIPModel,
    tokeniser: Any,
    pixels: torch.Tensor,
    species: torch.Tensor,
    names: list[str],
    groups: Sequence[Group],
) -> tuple[torch.Tensor, torch.Tensor]:
    """(name loss, mean group loss); ``pixels`` (B, 3, S, S), ``species`` (B,) int into ``names``."""
    phrases = [text for group in groups for text in group.texts]
    batch = tokeniser(names + phrases, padding=True, return_tensors="pt")
    text = model.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    image = model.get_image_features(pixel_values=pixels)
    text, image = (functional.normalize(out.pooler_output, dim=-1) for out in (text, image))
    logits = model.logit_scale.exp() * image @ text.T
    name_loss = functional.cross_entropy(logits[:, : len(names)], species, label_smoothing=0.05)
    losses, start = [], len(names)
    for group in groups:
        target = torch.from_numpy(group.target)[species]
        if bool((target >= 0).any()):
            part = logits[:, start : start + len(group.texts)]
            losses.append(functional.cross_entropy(part, target, ignore_index=-1))
        start += len(group.texts)
    return name_loss, torch.stack(losses).mean()


def cosine(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then cosine to 1 % of the rate."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def save(model: CLIPModel, tokeniser: Any, folder: Path) -> None:
    """Write a folder that ``AutoModel`` and ``AutoProcessor`` read; half precision keeps the package small."""
    model.eval().half().save_pretrained(folder, safe_serialization=True)
    CLIPProcessor(image_processor=image_processor(), tokenizer=tokeniser).save_pretrained(folder)
