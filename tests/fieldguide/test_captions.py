"""The drawn world's caption database: true, seeded, and not the captions the encoder was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgvr.fieldguide.captions import TRAINING_SEED, field_guide_captions, write_captions
from fgvr.fieldguide.guide import accepted_names, all_species, split_seen_unseen
from fgvr.fieldguide.training.captions import Writer
from fgvr.fieldguide.training.locked import DEFAULT_RECIPE


def test_equal_seeds_write_equal_captions():
    assert field_guide_captions(200) == field_guide_captions(200)
    assert field_guide_captions(200)[:50] == field_guide_captions(50)
    assert field_guide_captions(200) != field_guide_captions(200, seed=2)


def test_the_trainings_captions_are_not_for_sale():
    assert DEFAULT_RECIPE.seed == TRAINING_SEED
    with pytest.raises(ValueError, match="training"):
        field_guide_captions(10, seed=TRAINING_SEED)
    with pytest.raises(ValueError, match="at least one"):
        field_guide_captions(0)


def test_every_species_is_written_about_seen_or_not():
    species = all_species()
    captions = field_guide_captions(40 * len(species))
    named = {one.key for one in species if {*accepted_names(one)} & {*captions}}
    assert len(named) > 0.95 * len(species)
    assert named & {one.key for one in split_seen_unseen()[1]}
    exact = np.mean([caption in {name for one in species for name in accepted_names(one)} for caption in captions])
    assert 0.25 < exact < 0.35, "some are a name, most are not"


def test_a_caption_is_true_of_the_species_whose_turn_it_was():
    species = all_species()[:6]
    rng = np.random.default_rng(5)
    writer = Writer(species)
    written = [writer.write(number % 6, rng) for number in range(60)]
    assert field_guide_captions(60, seed=5, species=species) == tuple(caption.text for caption in written)
    true = writer.truth(written)
    assert all(true[number % 6, number] for number in range(60))


def test_the_file_has_one_caption_a_line(tmp_path: Path):
    file = tmp_path / "captions.txt"
    assert write_captions(file, 30, seed=3) == 30
    assert tuple(file.read_text("utf-8").splitlines()) == field_guide_captions(30, seed=3)
