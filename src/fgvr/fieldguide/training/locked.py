"""Second stage of the dual encoder: a new text tower on captions, the image tower locked (LiT, Zhai et al. 2022).

The first stage makes an image tower that sees what matters; its text tower has learned the exact names by heart, which
no model of the web has. Here the text tower starts again and reads captions (``captions.py``) against fixed image
features: it comes to know words better than names, as CLIP does.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoTokenizer, CLIPModel

from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.captions import Writer
from fgvr.fieldguide.training.encoder import SIDE, build_encoder, cosine, save
from fgvr.fieldguide.training.pictures import Pictures, batch_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockedRecipe:
    """What the published text tower was trained with."""

    steps: int = 600
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup: int = 60
    scale: float = 30.0
    """Starting factor from cosine to logit; trained, at most 100."""
    seed: int = 0


DEFAULT_RECIPE = LockedRecipe()


def train_text_tower(
    seen: Sequence[Species],
    pictures: Pictures,
    rows: np.ndarray,
    folder: Path,
    *,
    recipe: LockedRecipe = DEFAULT_RECIPE,
) -> None:
    """Replace the text tower of the encoder in ``folder`` by one trained on captions."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    tokeniser = AutoTokenizer.from_pretrained(folder)
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    fresh = build_encoder(tokeniser)
    model.text_model.load_state_dict(fresh.text_model.state_dict())
    model.text_projection.load_state_dict(fresh.text_projection.state_dict())
    model.logit_scale.data.fill_(math.log(recipe.scale))
    features = image_features(model, pictures, rows, seed=recipe.seed)
    species = pictures.species[rows]
    trained = [*model.text_model.parameters(), *model.text_projection.parameters(), model.logit_scale]
    optimiser = torch.optim.AdamW(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine(step, recipe.warmup, recipe.steps))
    writer, began = Writer(tuple(seen)), time.monotonic()
    model.train()
    for step in range(recipe.steps):
        chosen = rng.integers(len(rows), size=recipe.batch)
        captions = [writer.write(int(species[i]), rng) for i in chosen]
        distinct = list(dict.fromkeys(captions))
        true = torch.from_numpy(writer.truth(distinct)[species[chosen]])
        batch = tokeniser([caption.text for caption in distinct], padding=True, return_tensors="pt")
        text = model.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        logits = model.logit_scale.exp() * features[chosen] @ functional.normalize(text.pooler_output, dim=-1).T
        loss = multi_positive(logits, true) + multi_positive(logits.T, true.T)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % 50 == 0 or step == recipe.steps - 1:
            pace = (step + 1) / (time.monotonic() - began)
            log.info("text tower step %d: loss %.3f (%.1f steps/s)", step, loss, pace)
    save(model, tokeniser, folder)


@torch.no_grad()
def image_features(model: CLIPModel, pictures: Pictures, rows: np.ndarray, *, seed: int) -> torch.Tensor:
    """(len(rows), D) unit norm, each picture seen once through the training augmentation."""
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    blocks = []
    for at in range(0, len(rows), 256):
        pixels = batch_of(pictures, rows[at : at + 256], side=SIDE, generator=generator)
        blocks.append(functional.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1))
    return torch.cat(blocks)


def multi_positive(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Softmax cross-entropy against the uniform distribution over what is true: (A, B) logits and bool, mean over A."""
    target = true.float() / true.sum(dim=1, keepdim=True).clamp(min=1)
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
