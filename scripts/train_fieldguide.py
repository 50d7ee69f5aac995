"""Train the field guide's two models from nothing: drawings, dual encoder (two stages), MLLM.

    python scripts/train_fieldguide.py --out src/fgvr/fieldguide/models --cache build/pictures

Everything follows from the seed; under two hours on two CPU cores. ``--only`` trains one part: ``images`` the encoder's
first stage, ``texts`` its second (text tower, image tower locked), ``mllm`` the MLLM, which starts from the encoder's
vision tower; what a part builds on must then exist in ``--out``.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from fgvr.fieldguide.guide import all_species, split_seen_unseen
from fgvr.fieldguide.training import encoder, locked, mllm
from fgvr.fieldguide.training.pictures import draw_pictures, only
from fgvr.fieldguide.training.texts import withheld
from fgvr.naming.prompts import META_PROMPT, structured_prompt

PER_SPECIES, SIZE = 300, 112


def main() -> None:
    """Parse the arguments and train what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", choices=("images", "texts", "mllm"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="shorten a trial run")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    species = all_species()
    pictures = draw_pictures(species, per_species=PER_SPECIES, size=SIZE, workers=2, cache=options.cache)
    steps = {} if options.steps is None else {"steps": options.steps}
    seen, _ = split_seen_unseen()
    folder = options.out / "encoder"
    if options.only in (None, "images"):
        recipe = replace(encoder.DEFAULT_RECIPE, seed=options.seed, **steps)
        began = time.monotonic()
        encoder.train_encoder(seen, *only(pictures, species, seen), folder, recipe=recipe)
        note(folder, "images", asdict(recipe), [one.key for one in seen], began)
    if options.only in (None, "texts"):
        recipe_texts = replace(locked.DEFAULT_RECIPE, seed=options.seed, **steps)
        began = time.monotonic()
        locked.train_text_tower(seen, *only(pictures, species, seen), folder, recipe=recipe_texts)
        note(folder, "texts", asdict(recipe_texts), [one.key for one in seen], began)
    if options.only in (None, "mllm"):
        hidden = withheld()
        known = [one for one in species if one not in hidden]
        recipe_mllm = replace(mllm.DEFAULT_RECIPE, seed=options.seed, **steps)
        prompts = mllm.Prompts(structured=structured_prompt, meta=META_PROMPT)
        began = time.monotonic()
        mllm.train_mllm(
            known,
            *only(pictures, species, known),
            options.out / "mllm",
            encoder=folder,
            prompts=prompts,
            recipe=recipe_mllm,
        )
        note(options.out / "mllm", "mllm", asdict(recipe_mllm), [one.key for one in known], began)


def note(folder: Path, part: str, recipe: dict[str, object], taught: list[str], began: float) -> None:
    """Leave recipe, species and training time of one part beside the weights."""
    file = folder / "training.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    record |= {"pictures_per_species": PER_SPECIES, "picture_size": SIZE, "species_taught": taught}
    record[part] = {
        "recipe": recipe,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "threads": torch.get_num_threads(),
    }
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
