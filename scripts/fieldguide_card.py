"""Measure the field guide's two models and write their model card.

    python scripts/fieldguide_card.py

Pictures drawn from view seeds that neither training nor ``fgvr fieldguide make`` uses. Encoder: zero-shot top-1 among
all names and 1-NN, for seen and unseen species. MLLM: the paper's prompt, greedy; every reply by kind of error.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np

from fgvr.encoders import load_encoder, text_classifier
from fgvr.fieldguide.guide import accepted_names, all_species, split_seen_unseen
from fgvr.fieldguide.render import render
from fgvr.fieldguide.species import Species
from fgvr.fieldguide.training.texts import withheld
from fgvr.fieldguide.weights import weights_folder
from fgvr.labels import normalise, parse_reply
from fgvr.metrics import bootstrap_mean
from fgvr.mllm import Parameters, Request, load_mllm
from fgvr.naming.prompts import PAPER_PROMPT
from fgvr.runs import write_text

FIRST_SEED, PER_SPECIES, SIZE = 900_000_000, 10, 192
KINDS = (
    "right (common name)",
    "right (synonym)",
    "right (scientific name)",
    "genus only",
    "sibling of the same genus",
    "other species of the super-category",
    "other super-category",
    "invented name",
    "no name",
)


def main() -> None:
    """Draw, measure, write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("src/fgvr/fieldguide/models/README.md"))
    options = parser.parse_args()
    species = all_species()
    with tempfile.TemporaryDirectory() as folder:
        shown = [(one, FIRST_SEED + i) for one in species for i in range(PER_SPECIES)]
        paths = [Path(folder) / f"{n:05d}.jpg" for n in range(len(shown))]
        images = [render(one, seed, size=SIZE).image for one, seed in shown]
        for image, path in zip(images, paths, strict=True):
            image.save(path, quality=92)
        labels = np.repeat(np.arange(len(species)), PER_SPECIES)
        encoder_rows = measure_encoder(species, images, labels)
        mllm_rows, seconds = measure_mllm(species, paths, labels)
    write_text(options.out, card(encoder_rows, mllm_rows, seconds))
    print(options.out.read_text(encoding="utf-8"))


def percent(scores: np.ndarray) -> str:
    """Mean with its bootstrap interval, in per cent."""
    return bootstrap_mean(scores.astype(float)).percent()


def measure_encoder(species: tuple[Species, ...], images: list, labels: np.ndarray) -> list[str]:  # type: ignore[type-arg]
    """Table rows: zero-shot among all names, among the names of the super-category, and 1-NN leave-one-out."""
    encoder = load_encoder("fieldguide")
    blocks = [encoder.encode_images(images[at : at + 64]) for at in range(0, len(images), 64)]
    features = np.concatenate(blocks)
    text = text_classifier(encoder, [one.name for one in species])
    scores = features @ text.T
    kind = np.array([one.super_category for one in species])
    within = np.where(kind[labels][:, None] == kind[None, :], scores, -np.inf)
    nearest = features @ features.T
    np.fill_diagonal(nearest, -np.inf)
    seen_keys = {one.key for one in split_seen_unseen()[0]}
    seen = np.array([one.key in seen_keys for one in species])[labels]
    unseen_only = np.where(np.array([one.key in seen_keys for one in species])[None, :], -np.inf, scores)
    figures = {
        f"zero-shot top-1 among all {len(species)} names": scores.argmax(1) == labels,
        "zero-shot top-1 among the super-category's names": within.argmax(1) == labels,
        "zero-shot top-5 among all names": (np.argsort(-scores, 1)[:, :5] == labels[:, None]).any(1),
        "nearest other picture is of the same species": labels[nearest.argmax(1)] == labels,
    }
    rows = [f"| {name} | {percent(hit[seen])} | {percent(hit[~seen])} |" for name, hit in figures.items()]
    novel = percent((unseen_only.argmax(1) == labels)[~seen])
    rows.append(f"| zero-shot top-1 among the {int((~seen).sum()) // PER_SPECIES} unseen names only | - | {novel} |")
    return rows


def measure_mllm(species: tuple[Species, ...], paths: list[Path], labels: np.ndarray) -> tuple[list[str], float]:
    """Table rows by kind of answer for taught and withheld species, and seconds an image."""
    mllm = load_mllm("fieldguide", batch_size=64)
    replies = []
    for at in range(0, len(paths), 64):
        batch = [
            Request(str(path), PAPER_PROMPT, (path,), parameters=Parameters(max_tokens=48))
            for path in paths[at : at + 64]
        ]
        replies += mllm.answer(batch)
    kinds = np.array([kind_of(reply.text, species[label], species) for reply, label in zip(replies, labels)])
    hidden = {one.key for one in withheld()}
    withheld_rows = np.array([one.key in hidden for one in species])[labels]
    taught, other = Counter(kinds[~withheld_rows].tolist()), Counter(kinds[withheld_rows].tolist())
    rows = [
        f"| {kind} | {taught[kind] / max(1, taught.total()):.1%} | {other[kind] / max(1, other.total()):.1%} |"
        for kind in KINDS
    ]
    right = np.isin(kinds, KINDS[:3])
    rows.append(f"| **right in any form** | {percent(right[~withheld_rows])} | {percent(right[withheld_rows])} |")
    return rows, sum(reply.usage.seconds for reply in replies) / len(replies)


def kind_of(text: str, truth: Species, species: tuple[Species, ...]) -> str:
    """Which of ``KINDS`` a reply is."""
    name = parse_reply(text).name
    if name is None:
        return KINDS[8]
    said = normalise(name)
    forms = [normalise(form) for form in accepted_names(truth)]
    if said in forms:
        return KINDS[0] if said == forms[0] else KINDS[2] if said == forms[-1] else KINDS[1]
    if said in {normalise(truth.genus), f"some kind of {normalise(truth.genus)}"}:
        return KINDS[3]
    owners = [one for one in species if said in {normalise(form) for form in (*accepted_names(one), one.genus)}]
    if not owners:
        return KINDS[7]
    if any((one.super_category, one.genus) == (truth.super_category, truth.genus) for one in owners):
        return KINDS[4]
    return KINDS[5] if any(one.super_category == truth.super_category for one in owners) else KINDS[6]


def card(encoder_rows: list[str], mllm_rows: list[str], seconds: float) -> str:
    """The model card as Markdown."""
    made = {part: json.loads((weights_folder(part) / "training.json").read_text()) for part in ("encoder", "mllm")}
    size = {part: (weights_folder(part) / "model.safetensors").stat().st_size / 1e6 for part in ("encoder", "mllm")}
    lines = [
        "# The field guide's models: a tiny dual encoder and a tiny MLLM",
        "",
        "For demonstration and tests only: they know drawn organisms and nothing of photographs.",
        "Written by `scripts/fieldguide_card.py`; trained by `scripts/train_fieldguide.py`.",
        "",
        "| | encoder | mllm |",
        "|---|---|---|",
        "| class | `CLIPModel` (causal text tower) | `LlavaForConditionalGeneration` |",
        f"| file | {size['encoder']:.1f} MB, float16 | {size['mllm']:.1f} MB, float16 |",
        f"| species taught | {len(made['encoder']['species_taught'])} | {len(made['mllm']['species_taught'])} |",
        f"| training | {minutes(made['encoder'])} | {minutes(made['mllm'])} |",
        f"| steps x batch | {steps(made['encoder'])} | {steps(made['mllm'])} |",
        "",
        "The encoder is trained in two stages: pictures against exact names and attributes, then a fresh text tower on",
        "captions with the image tower locked (`training/encoder.py`, `training/locked.py`). The MLLM's vision tower starts",
        f"from the encoder's. Training pictures: {made['encoder']['pictures_per_species']} a species at",
        f"{made['encoder']['picture_size']} pixels; two threads of a shared machine. Test pictures: {PER_SPECIES} a species at",
        f"{SIZE} pixels, JPEG, view seeds from {FIRST_SEED}, never trained on. 95 % bootstrap intervals over pictures.",
        f"Measured {date.today()} on {platform.machine()}, CPU, float32.",
        "",
        "## Dual encoder",
        "",
        "Prompt `a photo of a {}.`; seen species were trained on, unseen ones share words and attributes only.",
        "",
        "| | seen species | unseen species |",
        "|---|---|---|",
        *encoder_rows,
        "",
        "## MLLM",
        "",
        f"Prompt `{PAPER_PROMPT}`, greedy, {seconds * 1000:.0f} ms an image in batches of 64. Withheld species",
        "were never shown to it. Its errors come from its training: poor pictures were labelled by genus, plates with scientific",
        "names, snapshots with chatter.",
        "",
        "| answer | taught species | withheld species |",
        "|---|---|---|",
        *mllm_rows,
        "",
    ]
    return "\n".join(lines)


PARTS = ("images", "texts", "mllm")


def steps(made: dict) -> str:  # type: ignore[type-arg]
    """``2200 x 128, 600 x 256``."""
    return ", ".join(f"{made[p]['recipe']['steps']} x {made[p]['recipe']['batch']}" for p in PARTS if p in made)


def minutes(made: dict) -> str:  # type: ignore[type-arg]
    """``36.2 + 5.1 min, seed 0``."""
    spent = " + ".join(str(made[part]["minutes"]) for part in PARTS if part in made)
    return f"{spent} min, seed {next(made[p]['recipe']['seed'] for p in PARTS if p in made)}"


if __name__ == "__main__":
    main()
