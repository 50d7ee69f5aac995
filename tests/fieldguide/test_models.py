"""The embedded models as shipped: small, loadable with the stock classes, and about as good as their card says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import transformers

import fgvr
from fgvr.data import load_items
from fgvr.encoders import load_encoder, text_classifier
from fgvr.fieldguide.dataset import make
from fgvr.fieldguide.guide import accepted_names, all_species, split_seen_unseen
from fgvr.fieldguide.render import render
from fgvr.fieldguide.training.texts import withheld
from fgvr.fieldguide.weights import weights_folder
from fgvr.labels import normalise, parse_reply
from fgvr.methods.near import TuneSettings
from fgvr.methods.near.pipeline import FitSettings
from fgvr.mllm import Parameters, Request, load_mllm
from fgvr.naming.prompts import META_PROMPT, PAPER_PROMPT, category_of

FIRST_SEED = 950_000_000
SPECIES = all_species()


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("fieldguide")


@pytest.fixture(scope="module")
def mllm():
    return load_mllm("fieldguide")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    paths = []
    for number, species in enumerate(SPECIES):
        path = folder / f"{number:03d}.jpg"
        render(species, FIRST_SEED, size=128).image.save(path, quality=92)
        paths.append(path)
    return paths


def test_together_they_stay_under_25_megabytes_and_hold_no_pickle():
    files = [path for part in ("encoder", "mllm") for path in weights_folder(part).iterdir()]
    assert sum(path.stat().st_size for path in files) < 25_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jinja"}


def test_they_are_genuine_transformers_models():
    kinds = {
        part: json.loads((weights_folder(part) / "config.json").read_text())["architectures"]
        for part in ("encoder", "mllm")
    }
    assert kinds == {"encoder": ["CLIPModel"], "mllm": ["LlavaForConditionalGeneration"]}
    processor = transformers.AutoProcessor.from_pretrained(weights_folder("mllm"))
    assert type(processor).__name__ == "LlavaProcessor"


def test_they_were_taught_what_the_guide_says():
    taught = {
        part: set(json.loads((weights_folder(part) / "training.json").read_text())["species_taught"])
        for part in ("encoder", "mllm")
    }
    assert taught["encoder"] == {one.key for one in split_seen_unseen()[0]}
    assert taught["mllm"] == {one.key for one in SPECIES} - {one.key for one in withheld()}


def test_the_encoder_knows_the_seen_species_and_generalises_to_unseen_names(encoder):
    seen_keys = {one.key for one in split_seen_unseen()[0]}
    images = [render(one, FIRST_SEED + i, size=128).image for one in SPECIES for i in range(2)]
    labels = np.repeat(np.arange(len(SPECIES)), 2)
    features = np.concatenate([encoder.encode_images(images[at : at + 64]) for at in range(0, len(images), 64)])
    right = (features @ text_classifier(encoder, [one.name for one in SPECIES]).T).argmax(1) == labels
    seen = np.array([one.key in seen_keys for one in SPECIES])[labels]
    assert right[seen].mean() > 0.4
    assert right[~seen].mean() > 10 / len(SPECIES)


def test_the_mllm_names_most_taught_species_and_not_the_withheld_ones(mllm, drawn):
    requests = [Request(str(path), PAPER_PROMPT, (path,), parameters=Parameters(max_tokens=48)) for path in drawn]
    hidden = {one.key for one in withheld()}
    right, known = [], []
    for at in range(0, len(requests), 32):
        for species, reply in zip(SPECIES[at : at + 32], mllm.answer(requests[at : at + 32]), strict=True):
            name = parse_reply(reply.text).name or ""
            right.append(normalise(name) in {normalise(form) for form in accepted_names(species)})
            known.append(species.key not in hidden)
    right, known = np.array(right), np.array(known)
    assert right[known].mean() > 0.4
    assert right[~known].mean() < 0.2


def test_the_mllm_answers_about_a_collection_and_scores_options(mllm, drawn):
    birds = Request("birds", META_PROMPT, tuple(drawn[:3]), parameters=Parameters(max_tokens=16))
    assert category_of(mllm.answer([birds])[0].text) == "birds"
    flower = next(i for i, one in enumerate(SPECIES) if one.super_category == "flower")
    options = (SPECIES[flower].name, SPECIES[0].name, SPECIES[-1].name)
    scored = mllm.answer([Request("one", PAPER_PROMPT, (drawn[flower],), options=options)])[0].option_logprobs
    assert int(np.argmax(scored)) == 0


def test_near_learns_a_small_world_from_the_mllm_alone(tmp_path, encoder, mllm):
    """The whole job: no true label is read before the last lines."""
    few = [one for one in SPECIES if one.super_category in ("beetle", "fish")][:24]
    manifest = make(
        tmp_path / "world", size=128, support_per_species=3, test_per_species=3, scenes=0, species=few, workers=1
    )
    settings = FitSettings(tuning=TuneSettings(epochs=10), folds=0)
    near = fgvr.NeaR(encoder, mllm, settings=settings, out=tmp_path / "run")
    near.fit(load_items(manifest, split="support"))
    near.save(tmp_path / "saved")
    test = load_items(manifest, split="test")
    found = fgvr.load(tmp_path / "saved").predict(test)
    truth = {item.id: {normalise(name) for name in (item.label, *item.accepted)} for item in test.items}
    assert [one.item_id for one in found] == [item.id for item in test.items]
    assert np.mean([normalise(one.top[0][0]) in truth[one.item_id] for one in found]) > 0.35
