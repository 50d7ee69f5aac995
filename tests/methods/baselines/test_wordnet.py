"""ZS-CLIP-WordNet on drawn pictures with a dictionary of a few words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgvr.encoders import load_encoder, text_classifier
from fgvr.errors import InputError
from fgvr.memory.pieces import Pieces
from fgvr.methods.baselines import wordnet as method
from fgvr.methods.baselines.task import Material
from fgvr.wordnet import coverage
from tests.methods.baselines.few_pictures import SPECIES, draw, task, truth
from tests.wordnet_files import BIRDS, Meaning, write_wordnet


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("fieldguide", device="cpu")


def test_the_nearest_noun_and_what_could_be_named(tmp_path: Path, encoder):
    known = [species.name for species in SPECIES[:3]]
    words = [*BIRDS, *(Meaning((name.replace(" ", "_"),)) for name in known)]
    material = Material(wordnet=write_wordnet(tmp_path / "wordnet", words))
    given = task(tmp_path, draw(tmp_path / "pictures"), encoder, material=material)
    found = method.name_images(given, method.Settings())

    texts = text_classifier(encoder, found.vocabulary)
    logits = encoder.logit_scale * (given.test.features @ texts.T).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.names == tuple(found.vocabulary[row] for row in logits.argmax(axis=1))
    np.testing.assert_allclose(found.probabilities, chances.max(axis=1), rtol=1e-4)
    assert coverage([species.name for species in SPECIES], found.vocabulary).found == tuple(known)
    assert found.figures["nouns"] == len(found.vocabulary) == 19 + 11 + 2  # two synonyms, twelve names, one leaf twice
    assert any("not WordNet 3.0" in note for note in found.notes)
    right = [name == truth(item).lower() for name, item in zip(found.names, given.test.items, strict=True)]
    assert sum(right[:9]) >= 5, "of the three species the dictionary knows"
    assert not any(right[9:])


def test_the_nouns_are_encoded_once(tmp_path: Path, encoder, monkeypatch):
    material = Material(wordnet=write_wordnet(tmp_path / "wordnet"))
    given = task(tmp_path, draw(tmp_path / "pictures", per_species=1), encoder, material=material)
    first = method.name_images(given, method.Settings())

    def never(texts):
        raise AssertionError("encoded again")

    monkeypatch.setattr(encoder, "encode_texts", never)
    assert method.name_images(given, method.Settings()) == first
    with pytest.raises(AssertionError, match="again"):
        method.name_images(given, method.Settings(template="{}"))


def test_without_wordnet_the_remedy_is_named(tmp_path: Path, encoder):
    given = task(tmp_path, draw(tmp_path / "pictures", per_species=1), encoder, material=Material(wordnet=tmp_path))
    with pytest.raises(InputError, match="wordnet-base"):
        method.name_images(given, method.Settings())


def test_sums_do_not_depend_on_the_blocks():
    rng = np.random.default_rng(0)
    queries, vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in rng.normal(size=(2, 23, 6)))
    queries, vectors = queries.astype(np.float32), vectors.astype(np.float32)
    pieces = Pieces([vectors[:10], vectors[10:]], dim=6)
    slow = [np.log(sum(np.exp(100.0 * float(query @ vector)) for vector in vectors)) for query in queries]
    for block in (1, 7, 100):
        np.testing.assert_allclose(method.log_partition(queries, pieces, scale=100.0, block=block), slow, rtol=1e-5)
