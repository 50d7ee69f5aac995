"""An MLLM's names as labels, and triplets mined from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fgvr.errors import InputError, ManifestError
from fgvr.methods.fine_r1.named import named_items, read_named
from fgvr.methods.fine_r1.triplets import mine_triplets
from fgvr.types import ImageItem, NamedImage

ITEMS = [ImageItem(f"{n}.jpg", Path(f"{n}.jpg"), "a label that is forgotten") for n in range(6)]
NAMED = [
    NamedImage("0.jpg", "Grey jay", "Perisoreus canadensis"),
    NamedImage("1.jpg", "gray jays"),
    NamedImage("2.jpg", "Grey jay"),
    NamedImage("3.jpg", "Perisoreus canadensis"),
    NamedImage("4.jpg", "Barn owl"),
    NamedImage("5.jpg", None, status="refused"),
    NamedImage("elsewhere.jpg", "Kite"),
]


def test_spellings_are_one_class_and_count_as_right():
    found = named_items(ITEMS, NAMED)
    assert [item.label for item in found.items] == ["Grey jay"] * 4 + ["Barn owl"]
    assert set(found.items[0].accepted) == {"gray jays", "Perisoreus canadensis"}
    assert found.items[4].accepted == ()
    assert [(one.id, one.reason, one.detail) for one in found.set_aside] == [("5.jpg", "not named", "refused")]


def test_rare_names_are_left_out_where_asked():
    found = named_items(ITEMS, NAMED, fewest=2)
    assert {item.label for item in found.items} == {"Grey jay"}
    assert [(one.id, one.reason) for one in found.set_aside] == [("4.jpg", "rare name"), ("5.jpg", "not named")]
    with pytest.raises(InputError, match="often enough"):
        named_items(ITEMS, NAMED, fewest=9)


def test_nothing_named_is_an_error():
    with pytest.raises(InputError, match="named none"):
        named_items(ITEMS, [])


def test_triplets_of_named_pictures():
    turned = np.deg2rad([0.0, 20, 40, 60, 80])
    features = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    mined = mine_triplets(named_items(ITEMS, NAMED).items, features, super_category="bird", nested_names=True)
    assert [str(one.negative) for one in mined.triplets] == ["4.jpg"] * 4 + ["3.jpg"]
    assert mined.triplets[0].category == "Grey jay"
    assert mined.triplets[0].positive is not None


def test_the_file_of_fgvr_label_is_read(tmp_path):
    rows = [
        {"image": "a/0.jpg", "name": "Grey jay", "scientific": None, "alternatives": ["Jay"], "status": "named"},
        {"image": "a/1.jpg", "name": None, "scientific": None, "alternatives": [], "status": "refused"},
        {"image": 3, "name": "Owl"},
        {"name": "Owl"},
        [1],
        {"image": "a/2.jpg", "name": ["Owl"]},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\nnot json\n\n")
    assert read_named(path) == (
        NamedImage("a/0.jpg", "Grey jay", alternatives=("Jay",)),
        NamedImage("a/1.jpg", None, status="refused"),
    )
    path.write_text("x\n")
    with pytest.raises(ManifestError, match="no answer"):
        read_named(path)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_named(tmp_path / "none.jsonl")
