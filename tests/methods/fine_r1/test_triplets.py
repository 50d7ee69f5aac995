"""Mined triplets against plain loops, their rules one by one, and what holds for any pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgvr.errors import InputError
from fgvr.methods.fine_r1 import nearest
from fgvr.methods.fine_r1.masking import blackened
from fgvr.methods.fine_r1.triplets import Masking, Triplet, mine_triplets
from fgvr.types import ImageItem


def picture(id_: str, label: str | None, accepted: tuple[str, ...] = ()) -> ImageItem:
    return ImageItem(id_, Path(id_), label, accepted)


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    drawn = rng.normal(size=shape)
    return (drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)).astype(np.float32)


def angles(*degrees: float) -> np.ndarray:
    turned = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def world(seed: int = 0, classes: int = 6, size: int = 7, width: int = 5) -> tuple[list[ImageItem], np.ndarray]:
    items = [picture(f"{c}/{n}.jpg", f"class {'abcdefgh'[c]}") for c in range(classes) for n in range(size)]
    return items, unit(np.random.default_rng(seed), len(items), width)


def by_anchor(mined) -> dict[str, Triplet]:
    return {one.id: one for one in mined.triplets}


def slow_negatives(items, features, used, *, texts=None, kinds=None):
    """The rule as one would say it: every pair, float64, ties to the smaller id."""
    rows = [row for row, item in enumerate(items) if item.id in used]
    vectors = features.astype(np.float64)
    found = {}
    for anchor in rows:
        others = [
            row
            for row in rows
            if items[row].label != items[anchor].label
            and (kinds is None or kinds[items[row].label] == kinds[items[anchor].label])
        ]
        if texts is not None:
            score = {label: np.sum(vectors[anchor] * texts[label].astype(np.float64)) for label in texts}
            best = min({items[row].label for row in others}, key=lambda label: (-score[label], label))
            others = [row for row in others if items[row].label == best]
        cosine = {row: np.sum(vectors[row] * vectors[anchor]) for row in others}
        found[items[anchor].id] = str(items[min(others, key=lambda row: (-cosine[row], items[row].id))].path)
    return found


@pytest.mark.parametrize("tile", [1, 100, 2**24])
@pytest.mark.parametrize("shots", [2, 4, None])
@pytest.mark.parametrize("how", ["image-image", "image-text", "within kinds"])
def test_negatives_are_what_plain_loops_find(tile, shots, how, monkeypatch):
    monkeypatch.setattr(nearest, "_TILE", tile)
    items, features = world()
    labels = sorted({item.label for item in items})
    texts = dict(zip(labels, unit(np.random.default_rng(1), len(labels), 5), strict=True))
    kinds = {label: "bird" if number < 3 else "dog" for number, label in enumerate(labels)}
    given = {
        "image-image": {},
        "image-text": {"similarity": "image-text", "text_features": texts},
        "within kinds": {"super_category": kinds},
    }[how]
    mined = mine_triplets(items, features, shots=shots, **given)
    used = {one.id for one in mined.triplets}
    assert Counter(one.category for one in mined.triplets) == dict.fromkeys(labels, shots or 7)
    wanted = slow_negatives(
        items,
        features,
        used,
        texts=texts if how == "image-text" else None,
        kinds=kinds if how == "within kinds" else None,
    )
    assert {one.id: str(one.negative) for one in mined.triplets} == wanted
    row = {item.id: number for number, item in enumerate(items)}
    for one in mined.triplets:
        cosine = np.sum(features[row[one.id]].astype(np.float64) * features[row[str(one.negative)]])
        assert one.similarity == cosine
        assert one.negative_category == items[row[str(one.negative)]].label


def test_a_hand_computed_world():
    items = [picture("a1", "robin"), picture("a2", "robin"), picture("b1", "wren"), picture("c1", "owl")]
    mined = by_anchor(mine_triplets(items, angles(0, 80, 50, 120), super_category="bird"))
    assert {key: str(one.negative) for key, one in mined.items()} == {"a1": "b1", "a2": "b1", "b1": "a2", "c1": "a2"}
    assert {key: one.positive and str(one.positive) for key, one in mined.items()} == {
        "a1": "a2",
        "a2": "a1",
        "b1": None,
        "c1": None,
    }
    assert mined["a2"].similarity == pytest.approx(np.cos(np.deg2rad(30)))
    assert mined["b1"].negative_category == "robin"
    assert mined["a1"].super_category == "bird"
    assert "bird" in mined["a1"].question


def test_a_class_of_one_picture_has_no_positive_and_that_is_noted():
    items = [picture("a1", "robin"), picture("b1", "wren"), picture("b2", "wren")]
    mined = mine_triplets(items, angles(0, 10, 50))
    assert by_anchor(mined)["a1"].positive is None
    assert mined.notes == ("1 of 3 triplets have no positive: their class has no other picture.",)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(12)), st.sampled_from(["hard", "random"]))
def test_the_order_of_the_input_changes_nothing(seed, order, negatives):
    rng = np.random.default_rng(seed)
    items = [picture(f"{n}.jpg", f"class {rng.integers(3)}") for n in range(11)] + [picture("z.jpg", "class x")]
    features = unit(rng, 12, 3)
    mined = mine_triplets(items, features, seed=seed, shots=3, negatives=negatives)
    again = mine_triplets([items[i] for i in order], features[order], seed=seed, shots=3, negatives=negatives)
    assert mined == again


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(["shots", "all"]))
def test_what_holds_for_any_triplet(seed, shots, positives):
    rng = np.random.default_rng(seed)
    items = [picture(f"{n}", f"class {n % 2 if n < 2 else rng.integers(4)}") for n in range(20)]
    excluded = {item.id for item in items[5:8]}
    mined = mine_triplets(items, unit(rng, 20, 4), shots=shots, exclude=excluded, positives=positives, seed=seed)
    label = {item.id: item.label for item in items}
    anchors = {one.id for one in mined.triplets}
    assert max(Counter(label[id_] for id_ in anchors).values()) <= shots
    for one in mined.triplets:
        named = {one.id, str(one.negative), *([str(one.positive)] if one.positive else [])}
        assert not named & excluded
        assert label[str(one.negative)] != label[one.id] == one.category
        assert str(one.negative) in anchors
        if one.positive:
            assert label[str(one.positive)] == one.category
            assert str(one.positive) != one.id
            assert positives == "all" or str(one.positive) in anchors


def test_positives_differ_by_seed_and_cover_the_class():
    items, features = world(classes=2, size=6)
    met = {
        str(by_anchor(mine_triplets(items, features, shots=None, seed=seed))["0/0.jpg"].positive) for seed in range(60)
    }
    assert met == {f"0/{n}.jpg" for n in range(1, 6)}


def test_ties_go_to_the_smaller_id():
    items = [picture("a", "robin"), picture("b9", "wren"), picture("b1", "owl"), picture("b5", "kite")]
    mined = mine_triplets(items, angles(0, 30, 30, -30))
    assert str(by_anchor(mined)["a"].negative) == "b1"


class TestNames:
    def test_another_spelling_is_the_same_class_and_counts_as_right(self):
        items = [picture("a", "Grey_Jays"), picture("b", "gray jay"), picture("c", "Owl")]
        mined = by_anchor(mine_triplets(items, angles(0, 1, 60)))
        assert str(mined["a"].negative) == "c"
        assert str(mined["a"].positive) == "b"
        assert mined["a"].accepted == ("gray jay",)
        assert mined["a"].category == "Grey_Jays"

    def test_a_class_whose_name_is_accepted_is_no_negative(self):
        items = [picture("a", "cougar", ("puma",)), picture("b", "Puma"), picture("c", "lynx")]
        mined = by_anchor(mine_triplets(items, angles(0, 5, 60)))
        assert (str(mined["a"].negative), str(mined["b"].negative)) == ("c", "c")

    def test_a_name_that_many_accept_does_not_make_them_one(self):
        items = [picture("a", "beagle", ("dog",)), picture("b", "poodle", ("dog",)), picture("c", "dog")]
        mined = by_anchor(mine_triplets(items, angles(0, 5, 1)))
        assert str(mined["a"].negative) == "b"
        assert mined["c"].negative is None

    def test_no_other_class_at_all_is_noted(self):
        items = [picture("a", "cougar", ("puma",)), picture("b", "puma")]
        mined = mine_triplets(items, angles(0, 30))
        assert [one.negative for one in mined.triplets] == [None, None]
        assert "2 of 2 triplets have no negative: no class is known to be another one." in mined.notes

    def test_nested_names_are_apart_where_asked(self):
        items = [picture("a", "yellow warbler"), picture("b", "Warbler"), picture("c", "song sparrow")]
        features = angles(0, 5, 60)
        assert str(by_anchor(mine_triplets(items, features))["a"].negative) == "b"
        assert str(by_anchor(mine_triplets(items, features, nested_names=True))["a"].negative) == "c"


class TestCopies:
    def test_a_copy_under_another_name_is_no_negative(self):
        items = [picture("a", "robin"), picture("b", "wren"), picture("c", "owl"), picture("d", "robin")]
        mined = by_anchor(mine_triplets(items, angles(0, 0, 40, 90)))
        assert str(mined["a"].negative) == "c"
        texts = dict(zip(("robin", "wren", "owl"), angles(90, 0, 45), strict=True))
        by_text = mine_triplets(items, angles(0, 0, 40, 90), similarity="image-text", text_features=texts)
        assert str(by_anchor(by_text)["a"].negative) == "c"
        for seed in range(20):
            drawn = mine_triplets(items, angles(0, 0, 40, 90), negatives="random", seed=seed)
            assert str(by_anchor(drawn)["a"].negative) in ("c", "None")

    def test_a_copy_in_the_class_is_no_positive(self):
        items = [picture("a", "robin"), picture("b", "robin"), picture("c", "robin"), picture("d", "owl")]
        for seed in range(10):
            mined = by_anchor(mine_triplets(items, angles(0, 0, 30, 60), seed=seed))
            assert str(mined["a"].positive) == "c"


def test_a_class_alone_in_its_super_category_takes_from_all_and_that_is_noted():
    items = [picture("a", "robin"), picture("b", "wren"), picture("c", "poodle"), picture("d", "fern")]
    kinds = {"Robins": "bird", "wren": "bird", "poodle": "dog"}
    mined = mine_triplets(items, angles(0, 90, 10, 84), super_category=kinds)
    negatives = {key: str(one.negative) for key, one in by_anchor(mined).items()}
    assert negatives == {"a": "b", "b": "a", "c": "a", "d": "b"}  # a fern's kind is not known: any picture will do
    assert "1 classes are alone in their super-category, such as poodle: their negatives are of others." in mined.notes
    assert by_anchor(mined)["d"].super_category == ""
    assert "object" in by_anchor(mined)["d"].question


def test_random_negatives_are_drawn_evenly_among_classes():
    items = [picture("a", "robin"), *(picture(f"b{n}", "wren") for n in range(4)), picture("c", "owl")]
    features = angles(0, 20, 30, 40, 50, 170)
    drawn = Counter(
        by_anchor(mine_triplets(items, features, negatives="random", seed=seed))["a"].negative_category
        for seed in range(200)
    )
    assert set(drawn) == {"wren", "owl"}
    assert 70 < drawn["wren"] < 130


class TestMasked:
    def test_the_share_of_black_patches_and_their_place(self):
        grey = np.full((140, 150, 3), 7, np.uint8)
        masked = blackened(grey, share=0.6, seed=3)
        assert masked.shape == grey.shape
        whole = masked[:140, :140].reshape(10, 14, 10, 14, 3).transpose(0, 2, 1, 3, 4).reshape(100, -1)
        assert {tuple(sorted(set(patch.tolist()))) for patch in whole} == {(0,), (7,)}
        assert 45 <= sum(patch.max() == 0 for patch in whole) <= 75
        assert (grey == 7).all()
        assert not blackened(grey, share=1.0).any()

    def test_the_files_are_written_once_and_named_by_content(self, tmp_path):
        items = [ImageItem(name, tmp_path / name, label) for name, label in (("a.png", "robin"), ("b.png", "wren"))]
        for number, item in enumerate(items):
            Image.new("RGB", (60, 40), (200, 90, 100 + number)).save(item.path)
        masking = Masking(tmp_path / "masked")
        mined = mine_triplets(items, angles(0, 40), negatives="masked", masking=masking)
        first = by_anchor(mined)["a.png"]
        assert first.negative.parent == masking.folder
        assert (first.negative_category, first.similarity) == ("", None)
        with Image.open(first.negative) as opened:
            assert opened.size == (60, 40)
            black = (np.asarray(opened) == 0).all(axis=2).mean()
        assert 0.2 < black < 0.95
        written = first.negative.stat().st_mtime_ns
        assert mine_triplets(items, angles(0, 40), negatives="masked", masking=masking) == mined
        assert first.negative.stat().st_mtime_ns == written
        other = mine_triplets(items, angles(0, 40), negatives="masked", masking=masking, seed=1)
        assert by_anchor(other)["a.png"].negative != first.negative

    def test_a_broken_picture_is_set_aside(self, tmp_path):
        items = [ImageItem(name, tmp_path / name, label) for name, label in (("a.png", "robin"), ("b.png", "wren"))]
        Image.new("RGB", (60, 40)).save(items[0].path)
        items[1].path.write_bytes(b"no picture")
        mined = mine_triplets(items, angles(0, 40), negatives="masked", masking=Masking(tmp_path / "masked"))
        assert [one.id for one in mined.triplets] == ["a.png"]
        assert [(one.id, one.reason) for one in mined.set_aside] == [("b.png", "not an image")]

    def test_large_pictures_are_shrunk_first(self, tmp_path):
        path = tmp_path / "large.png"
        Image.new("RGB", (2000, 1000), (9, 9, 9)).save(path)
        from fgvr.methods.fine_r1.masking import MAX_PIXELS, write_masked

        with Image.open(write_masked(path, tmp_path / "masked", id="large")) as opened:
            assert opened.width * opened.height <= MAX_PIXELS
            assert opened.width / opened.height == pytest.approx(2, abs=0.01)


class TestBadInput:
    def test_pictures_without_a_name_are_set_aside(self):
        items = [picture("a", "robin"), picture("b", None), picture("c", "  "), picture("d", "owl")]
        mined = mine_triplets(items, angles(0, 10, 20, 30))
        assert [one.id for one in mined.triplets] == ["a", "d"]
        assert [(one.id, one.reason) for one in mined.set_aside] == [("b", "no name"), ("c", "no name")]

    @pytest.mark.parametrize("labels", [("robin", "Robins", "ROBIN"), (None, None, None), ("robin", None, "")])
    def test_fewer_than_two_classes_are_an_error(self, labels):
        items = [picture(str(number), label) for number, label in enumerate(labels)]
        with pytest.raises(InputError, match="another class"):
            mine_triplets(items, angles(0, 10, 20))

    def test_excluding_all_pictures_of_a_class_may_leave_one_class(self):
        items = [picture("a", "robin"), picture("b", "owl")]
        with pytest.raises(InputError, match="another class"):
            mine_triplets(items, angles(0, 10), exclude=["b"])

    @pytest.mark.parametrize(
        "features",
        [angles(0), angles(0, 1, 2), 2 * angles(0, 1), np.full((2, 2), np.nan), np.zeros((2, 2)), np.ones(2)],
    )
    def test_features_that_do_not_fit(self, features):
        with pytest.raises(InputError, match="features"):
            mine_triplets([picture("a", "robin"), picture("b", "owl")], features)

    @pytest.mark.parametrize(
        "options",
        [
            {"shots": 0},
            {"positives": "none"},
            {"negatives": "easy"},
            {"similarity": "text"},
            {"negatives": "masked"},
            {"masking": Masking(Path("x"))},
            {"negatives": "masked", "masking": Masking(Path("x"), share=0.0)},
            {"negatives": "masked", "masking": Masking(Path("x"), patch=0)},
            {"similarity": "image-text"},
            {"similarity": "image-text", "text_features": {"robin": angles(0)[0]}},
            {"similarity": "image-text", "text_features": {"robin": np.ones(3), "owl": np.ones(3)}},
            {"similarity": "image-text", "text_features": {"robin": np.ones(2), "owl": np.ones(2)}},
        ],
    )
    def test_unknown_options_and_missing_parts(self, options):
        with pytest.raises(InputError):
            mine_triplets([picture("a", "robin"), picture("b", "owl")], angles(0, 40), **options)

    def test_an_id_twice(self):
        with pytest.raises(InputError, match="same id"):
            mine_triplets([picture("a", "robin"), picture("a", "owl")], angles(0, 10))
