"""The training code, in miniature: what is taught, and that both models train, save and load with the stock classes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fgvr.encoders import load_encoder
from fgvr.fieldguide.guide import all_species, split_seen_unseen
from fgvr.fieldguide.training import encoder, mllm, texts
from fgvr.fieldguide.training.pictures import TRAIN_SEED, Pictures, batch_of, draw_pictures, only
from fgvr.fieldguide.training.tokenisers import train_tokeniser
from fgvr.mllm import Request, load_mllm
from fgvr.naming.prompts import META_PROMPT, PAPER_PROMPT, structured_prompt

SPECIES = (*all_species()[:6], *all_species()[40:46])
PROMPTS = mllm.Prompts(structured=structured_prompt, meta=META_PROMPT)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Pictures:
    return draw_pictures(SPECIES, per_species=3, size=48, workers=1, cache=tmp_path_factory.mktemp("cache"))


def clear(species):
    return texts.Picture(species, poor=False, plate=False, snapshot=False)


def test_phrases_read_as_english():
    assert texts.attribute_phrase("crown colour", "black") == "black crown"
    assert texts.attribute_phrase("eye stripe", "none") == "no eye stripe"
    assert texts.attribute_phrase("spot count", "seven") == "seven spot"


def test_groups_hold_one_true_text_for_every_species_they_apply_to():
    seen, _ = split_seen_unseen()
    for group in texts.attribute_groups(seen):
        assert len(set(group.texts)) == len(group.texts) > 1
        assert group.target.shape == (len(seen),)
        assert group.target.max() == len(group.texts) - 1
    birds = next(group for group in texts.attribute_groups(seen) if "a bird with black crown." in group.texts)
    for species, target in zip(seen, birds.target, strict=True):
        expected = (
            f"a bird with {texts.attribute_phrase('crown colour', species.attributes['crown colour'])}."
            if species.super_category == "bird"
            else None
        )
        assert (birds.texts[target] if target >= 0 else None) == expected


def test_withheld_species_are_fixed_and_leave_every_super_category_known():
    hidden = texts.withheld()
    assert hidden == texts.withheld()
    assert 0.1 < len(hidden) / len(all_species()) < 0.15
    assert {one.super_category for one in all_species() if one not in hidden} == {
        one.super_category for one in all_species()
    }


def test_manner_of_the_answer_goes_with_the_picture():
    species, rng = SPECIES[0], np.random.default_rng(0)

    def answers(**seen) -> list[str]:
        picture = replace(clear(species), **seen)
        return [texts.naming(picture, rng)[1] for _ in range(200)]

    names = {species.name, *species.synonyms}
    assert set(answers()) <= names
    assert sum(f"({species.scientific})" in answer for answer in answers(plate=True)) > 100
    assert sum(answer not in names for answer in answers(snapshot=True)) > 100
    assert sum(species.name not in answer for answer in answers(poor=True)) > 60


def test_questions_with_options_hold_the_truth():
    rng = np.random.default_rng(1)
    for species in SPECIES:
        prompt, letter = texts.multiple_choice(clear(species), all_species(), rng)
        assert f"{letter}. {species.name} " in prompt
        prompt, order = texts.ranking(clear(species), all_species(), rng)
        assert order.startswith(f"['{species.name}'")
        offered = prompt[prompt.index(":[") + 1 :].removesuffix(".")
        assert sorted(order[2:-2].split("', '")) == sorted(offered[2:-2].split("', '"))


def test_structured_answers_are_json_with_relatives_as_alternatives():
    species = SPECIES[0]
    prompt, answer = texts.structured(
        clear(species), structured_prompt("birds"), all_species(), np.random.default_rng(0)
    )
    said = json.loads(answer)
    assert "birds" in prompt
    assert said["scientific_name"] == species.scientific
    genera = {one.name: one.genus for one in all_species()}
    assert [genera[name] for name in said["alternatives"]] == [species.genus] * 2


def test_the_papers_prompt_is_taught_word_for_word():
    assert PAPER_PROMPT in texts.NAMING_PROMPTS


def test_pictures_come_from_seeds_of_their_own_and_batches_stay_in_range(pictures):
    assert TRAIN_SEED >= 1_000_000_000
    chosen = np.arange(8)
    generator = torch.Generator().manual_seed(0)
    batch = batch_of(pictures, chosen, side=32, generator=generator)
    assert batch.shape == (8, 3, 32, 32)
    assert -1 <= float(batch.min()) < float(batch.max()) <= 1
    again = batch_of(pictures, chosen, side=32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(batch, again)


def test_only_renumbers_the_kept_species(pictures):
    kept, rows = only(pictures, SPECIES, SPECIES[3:5])
    assert rows.tolist() == [9, 10, 11, 12, 13, 14]
    assert kept.species[rows].tolist() == [0, 0, 0, 1, 1, 1]


def test_tokenisers_lose_nothing():
    tokeniser = train_tokeniser(["a black-capped warbler"], vocabulary=300, lowercase=False)
    for text in ("Żółw błotny", "naïve <b>", "Black-capped Warbler (Setavia nigricapilla)"):
        assert tokeniser.decode(tokeniser(text)["input_ids"]) == text
    lower = train_tokeniser(["a black-capped warbler"], vocabulary=300, lowercase=True)
    ids = lower("A Warbler")["input_ids"]
    assert (ids[0], ids[-1]) == (lower.bos_token_id, lower.eos_token_id)


def test_both_models_train_save_and_load_with_the_stock_classes(pictures, tmp_path):
    few = replace(encoder.DEFAULT_RECIPE, steps=2, batch=8)
    encoder.train_encoder(SPECIES, *only(pictures, SPECIES, SPECIES), tmp_path / "encoder", recipe=few)
    loaded = load_encoder(str(tmp_path / "encoder"))
    picture = Image.new("RGB", (130, 100), (200, 30, 30))
    assert loaded.encode_images([picture]).shape == (1, 192)
    assert loaded.encode_texts([SPECIES[0].name]).shape == (1, 192)
    mllm.train_mllm(
        SPECIES,
        *only(pictures, SPECIES, SPECIES),
        tmp_path / "mllm",
        encoder=tmp_path / "encoder",
        prompts=PROMPTS,
        recipe=replace(mllm.DEFAULT_RECIPE, steps=7, batch=6),
    )
    picture.save(tmp_path / "picture.png")
    model = load_mllm(str(tmp_path / "mllm"))
    asked = Request("one", PAPER_PROMPT, (tmp_path / "picture.png",))
    assert model.prompt_text(asked) == mllm.chat(PAPER_PROMPT)
    assert model.answer([asked])[0].usage.output_tokens > 0
    options = model.answer([replace(asked, options=("Warbler", "Finch"))])[0].option_logprobs
    assert np.exp(options).sum() == pytest.approx(1, abs=1e-5)


def test_the_loss_is_on_the_answer_only():
    tokeniser = train_tokeniser(["What is this? Finch"], vocabulary=300, lowercase=False, extra=("<image>",))
    batch = mllm.encode_pairs(tokeniser, [("What is this?", "Finch"), ("What?", "A finch, I think.")])
    for row, answer in zip(batch["labels"], (" Finch", " A finch, I think."), strict=True):
        kept = row[row != -100].tolist()
        assert tokeniser.decode(kept[:-1]) == answer
        assert kept[-1] == tokeniser.eos_token_id
    assert int((batch["input_ids"] == tokeniser.convert_tokens_to_ids("<image>")).sum()) == 2 * mllm.IMAGE_TOKENS
