from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fgvr.errors import InputError
from fgvr.methods.rar.retrieve import retrieve
from fgvr.methods.rar.vocabulary_free import RELEASED_CHOICES, merged_guesses, name_by_mllm, pseudo_memory
from fgvr.mllm import load_mllm
from fgvr.types import ImageItem

ANGLES = np.deg2rad([0.0, 10.0, 25.0, 90.0])
FEATURES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
GUESSES = [
    ("crow", "raven", "rook"),
    ("raven", "crow", "jackdaw"),
    ("rook", "crow", "raven"),
    ("magpie", "jay", "nutcracker"),
]


@pytest.mark.parametrize("top_number", [1, 2, 3])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_the_distinct_names_do_not_depend_on_what_is_retrieved(top_k: int, top_number: int):
    merged = merged_guesses(FEATURES, GUESSES, top_k=top_k, top_number=top_number)
    assert set(merged) == {name for names in GUESSES for name in names[:top_number]}


def test_guesses_are_merged_as_the_notebook_does():
    """Image by image: its own first names, then its nearest neighbour's; repeats stay."""
    found = merged_guesses(FEATURES, GUESSES, top_k=2, top_number=2)
    assert found == (
        *("crow", "raven", "raven", "crow"),
        *("raven", "crow", "crow", "raven"),
        *("rook", "crow", "raven", "crow"),
        *("magpie", "jay", "rook", "crow"),
    )
    assert merged_guesses(FEATURES, GUESSES, top_k=1, top_number=1) == ("crow", "raven", "rook", "magpie")
    assert len(merged_guesses(FEATURES, GUESSES, top_k=9, top_number=9)) == 4 * 4 * 3, "no more than there is"
    assert set(RELEASED_CHOICES.values()) == {(2, 3), (2, 1), (3, 1), (3, 2)}


@pytest.mark.parametrize("wrong", [{"top_k": 0, "top_number": 1}, {"top_k": 1, "top_number": 0}])
def test_merging_nothing_is_refused(wrong: dict):
    with pytest.raises(ValueError, match="at least 1"):
        merged_guesses(FEATURES, GUESSES, **wrong)
    with pytest.raises(ValueError, match="lists of guesses"):
        merged_guesses(FEATURES, GUESSES[:2], top_k=1, top_number=1)


def recorded(folder: Path, replies: list[str]) -> tuple[list[ImageItem], str]:
    items = [ImageItem(f"{number}.jpg", folder / f"{number}.jpg") for number in range(len(replies))]
    rows = [{"image": item.id, "model": "recorder", "reply": reply} for item, reply in zip(items, replies, strict=True)]
    file = folder / "replies.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return items, f"replay:{file}"


def test_names_of_an_mllm_make_a_memory(tmp_path: Path):
    items, spec = recorded(tmp_path, ["It is a Crow.", "crow", "I'm sorry, I can't identify this.", "Magpie"])
    found = name_by_mllm(items, load_mllm(spec))
    assert sorted(name.lower() for name in found.names) == ["crow", "magpie"]
    assert found.labels[0] == found.labels[1] != found.labels[3]
    assert found.labels[2] == -1
    assert found.labelled.named[2].name is None
    hashes = ("a", "b", "c", "d")
    memory = pseudo_memory(FEATURES, found.labels, found.names, hashes=hashes, logit_scale=10.0)
    assert memory.images.hashes == ("a", "b", "d"), "the unnamed image stays out"
    assert retrieve(FEATURES[3:], memory).classes[0, 0] == found.labels[3]
    texts = np.eye(2, dtype=np.float32)
    assert len(pseudo_memory(FEATURES, found.labels, found.names, texts=texts, logit_scale=10.0).texts.labels) == 2


def test_without_a_single_name_there_is_no_memory(tmp_path: Path):
    items, spec = recorded(tmp_path, ["I'm sorry, I can't identify this."] * 2)
    with pytest.raises(InputError, match="named none"):
        name_by_mllm(items, load_mllm(spec))
    with pytest.raises(InputError, match="no image has a name"):
        pseudo_memory(FEATURES, np.full(4, -1), ("a",), logit_scale=1.0)
