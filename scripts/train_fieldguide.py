"""Train the field guide's two models from nothing: drawings, dual encoder, MLLM.

    python scripts/train_fieldguide.py --out src/fgvr/fieldguide/models --cache build/pictures

Everything follows from the seed; under two hours on two CPU cores. ``--only encoder`` or ``--only mllm`` trains one
(the MLLM starts from the encoder's vision tower, which must then exist in ``--out``).
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
from fgvr.fieldguide.training import encoder, mllm
from fgvr.fieldguide.training.pictures import draw_pictures, only
from fgvr.fieldguide.training.texts import withheld
from fgvr.methods.near.prompts import META_PROMPT, structured_prompt

PER_SPECIES, SIZE = 300, 112


def main() -> None:
    """Parse the arguments and train what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", choices=("encoder", "mllm"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="shorten a trial run")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    species = all_species()
    pictures = draw_pictures(species, per_species=PER_SPECIES, size=SIZE, workers=2, cache=options.cache)
    steps = {} if options.steps is None else {"steps": options.steps}
    if options.only != "mllm":
        seen, _ = split_seen_unseen()
        recipe = replace(encoder.DEFAULT_RECIPE, seed=options.seed, **steps)
        began = time.monotonic()
        encoder.train_encoder(seen, *only(pictures, species, seen), options.out / "encoder", recipe=recipe)
        note(options.out / "encoder", asdict(recipe), [one.key for one in seen], began)
    if options.only != "encoder":
        hidden = withheld()
        known = [one for one in species if one not in hidden]
        recipe_mllm = replace(mllm.DEFAULT_RECIPE, seed=options.seed, **steps)
        prompts = mllm.Prompts(structured=structured_prompt, meta=META_PROMPT)
        began = time.monotonic()
        mllm.train_mllm(
            known,
            *only(pictures, species, known),
            options.out / "mllm",
            encoder=options.out / "encoder",
            prompts=prompts,
            recipe=recipe_mllm,
        )
        note(options.out / "mllm", asdict(recipe_mllm), [one.key for one in known], began)


def note(folder: Path, recipe: dict[str, object], taught: list[str], began: float) -> None:
    """Leave recipe, species and training time beside the weights."""
    record = {
        "recipe": recipe,
        "pictures_per_species": PER_SPECIES,
        "picture_size": SIZE,
        "species_taught": taught,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "threads": torch.get_num_threads(),
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
