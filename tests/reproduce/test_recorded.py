"""The recorded benchmark on a miniature of its material, and (opt-in) on the real one."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.data.benchmarks import names
from fgvr.reproduce.recorded import (
    agreement,
    alignment,
    expected,
    heldout,
    material,
    neighbours,
    quality,
    scores,
    tables,
)
from fgvr.reproduce.recorded.measure import measure
from fgvr.reproduce.recorded.page import page
from tests.reproduce.words import WordEncoder

CLASSES = ("Black_footed_Albatross", "Artic_Tern", "Cardinal", "Blue_Jay")
SAID = {
    "Black_footed_Albatross": ("Black-footed Albatross", "Black-footed Albatross", "Laysan Albatross"),
    "Artic_Tern": ("Arctic Tern", "Common Tern", "Artic Tern"),
    "Cardinal": ("Northern Cardinal", "Northern Cardinal", "Summer Tanager"),
    "Blue_Jay": ("Blue Jay", "Blue Jay", "Blue Jay"),
}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Four classes of three images: features in tight groups by class, replies in another order than the rows."""
    vectors = tmp_path / "data" / "vectors" / "clip_vitb16_support"
    recorded = tmp_path / "data" / "recorded"
    vectors.mkdir(parents=True)
    recorded.mkdir()
    rng = np.random.default_rng(0)
    rows, replies, features = [], [], []
    for number, name in enumerate(CLASSES):
        folder = f"{number:03d}.{name}"
        for i, said in enumerate(SAID[name]):
            file = f"{folder}_{i:04d}.jpg"
            rows.append({"row": len(rows), "class_id": number, "class_dir": folder, "file": file})
            reply = f"The bird in the image is a **{said}**."
            replies.append({"image": f"{folder}/{file}", "model": "m", "reply": reply, "names": [said], "ok": True})
            features.append(np.eye(8)[number] + 0.1 * rng.standard_normal(8))
    matrix = np.array(features) / np.linalg.norm(features, axis=1, keepdims=True)
    np.save(vectors / "cub200_img_vitb16.npy", matrix.astype(np.float16))
    with (vectors / "cub200_rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (vectors / "cub200_classnames.txt").write_text("\n".join(c.replace("_", " ") for c in CLASSES) + "\n")
    lines = [json.dumps(reply) for reply in reversed(replies)]
    (recorded / "cub200.qwen.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def recording(shared: Path) -> material.Recording:
    return material.load_recording(shared, "cub200", "qwen", "Birds Qwen")


def test_replies_join_rows_by_file_name(recording: material.Recording) -> None:
    assert recording.named == tuple(said for name in CLASSES for said in SAID[name])
    assert [found.name for found in recording.read] == list(recording.named)
    assert recording.class_names == ("Black-footed Albatross", "Artic Tern", "Cardinal", "Blue Jay")
    np.testing.assert_allclose(np.linalg.norm(recording.features, axis=1), 1, atol=1e-6)


def test_material_that_does_not_belong_together_is_refused(shared: Path) -> None:
    replies = shared / "data" / "recorded" / "cub200.qwen.jsonl"
    whole = replies.read_text()
    replies.write_text("".join(whole.splitlines(keepends=True)[1:]))
    with pytest.raises(material.MaterialError, match="not of the same images"):
        material.load_recording(shared, "cub200", "qwen", "x")
    replies.write_text(whole)
    rows = shared / "data" / "vectors" / "clip_vitb16_support" / "cub200_rows.csv"
    rows.write_text(rows.read_text().replace(",000.", ",001."))
    with pytest.raises(material.MaterialError):
        material.load_recording(shared, "cub200", "qwen", "x")


def test_class_numbers_off_by_one_are_refused(shared: Path) -> None:
    vectors = shared / "data" / "vectors" / "clip_vitb16_support"
    rows = vectors / "cub200_rows.csv"
    text = rows.read_text()
    for number in range(4):
        text = text.replace(f",{number},00", f",{(number + 1) % 4}~,00")
    rows.write_text(text.replace("~", ""))
    with pytest.raises(material.MaterialError, match="disagree with the folders"):
        material.load_recording(shared, "cub200", "qwen", "x")


def test_quality_by_hand(recording: material.Recording) -> None:
    found = quality.quality(recording, WordEncoder(), reading="authors", resamples=20, seed=0)
    # Listed: 2 albatrosses, the one "Artic Tern", no cardinal, 3 jays. Corrected: "Arctic Tern" instead.
    assert found.exact.value == pytest.approx(6 / 12)
    assert found.corrected.value == pytest.approx(6 / 12)
    assert found.accepted.value == pytest.approx(9 / 12)
    # Matched clusters: albatross 2, one tern name 1, Northern Cardinal 2, jay 3.
    assert found.cacc.value == pytest.approx(8 / 12)
    # "Black-footed" is one word for CaSED's sIOU and restored in the listed name, so both variants agree on it.
    assert found.siou_cased.value == pytest.approx((1 + 1 + 1 / 3 + 1 / 3 + 1 / 3 + 1 + 1 / 2 + 1 / 2 + 0 + 3) / 12)
    assert (found.raw, found.labels, found.images, found.answered) == (8, 8, 12, 12)
    assert found.hit == pytest.approx(3 / 4)
    assert found.hit_accepted == pytest.approx(1)
    assert found.precision == pytest.approx(3 / 8)
    # "Cardinal" stands in "Northern Cardinal" as a whole word.
    assert quality.mentioned(recording) == (pytest.approx(8 / 12), pytest.approx(9 / 12))


def test_shifted_keys_show(recording: material.Recording) -> None:
    before, own, after = alignment.shifted(recording, WordEncoder())
    assert (before.shift, own.shift, after.shift) == (-1, 0, 1)
    assert own.exact == 0.5
    assert before.exact == after.exact == 0
    assert own.sacc > max(before.sacc, after.sacc)
    alignment.refuse_shifted(recording, (before, own, after))


@pytest.mark.parametrize(("by", "words"), [(1, "the class after"), (-1, "the class before")])
def test_a_recording_with_keys_off_by_one_is_refused(recording: material.Recording, by: int, words: str) -> None:
    """As two published recordings are: each image's reply stands under the class before (or after) its own."""
    named = np.roll(np.array(recording.named).reshape(4, 3), -by, axis=0).reshape(-1)
    off = replace(recording, named=tuple(named.tolist()))
    with pytest.raises(material.MaterialError, match=f"fit {words} better") as caught:
        alignment.refuse_shifted(off, alignment.shifted(off, WordEncoder()))
    assert "--allow-shift" in caught.value.remedy


def test_measuring_refuses_a_shifted_recording_unless_allowed(one: Path) -> None:
    replies = one / "data" / "recorded" / "cub200.qwen.jsonl"
    entries = [json.loads(line) for line in replies.read_text().splitlines()]
    said = [entry["names"] for entry in sorted(entries, key=lambda entry: entry["image"])]
    for entry, names_of_another in zip(sorted(entries, key=lambda entry: entry["image"]), said[3:] + said[:3]):
        entry["names"] = names_of_another
    replies.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    options = {"draws": 1, "runs": 1, "resamples": 5, "classifier": False}
    with pytest.raises(material.MaterialError, match="the class after"):
        measure(material.load_recordings(one), WordEncoder(), **options)
    found = measure(material.load_recordings(one), WordEncoder(), allow_shift=True, **options)
    assert found.shifts["Birds Qwen"][2].exact > found.shifts["Birds Qwen"][1].exact


def test_coverage_by_hand(recording: material.Recording) -> None:
    labels, pairs = neighbours.label_scores(recording, WordEncoder())
    alone = neighbours.coverage_at(recording, labels, pairs, k=1, draws=2, resamples=10, seed=0)
    assert alone.listed.value == alone.random_listed.value == 0.5
    assert alone.size == 1
    # Neighbours are of the class: with k = 3 each image sees all three labels of its class.
    three = neighbours.coverage_at(recording, labels, pairs, k=3, draws=4, resamples=10, seed=0)
    assert three.listed.value == pytest.approx(9 / 12)
    assert three.accepted.value == 1
    assert three.gain.value == pytest.approx(0.75 - three.random_listed.value)
    assert three.size == pytest.approx((2 + 3 + 2 + 1) / 4)
    assert three.random_size == 3
    found = neighbours.neighbours(recording, labels, pairs[0])
    assert found.nearest == found.k3 == 1


def test_folds_hold_out_one_image_of_every_class() -> None:
    classes = np.repeat(np.arange(5), 3)
    fold = heldout.folds(classes, seed=3)
    for number in range(5):
        assert sorted(fold[classes == number]) == [0, 1, 2]
    assert (fold != heldout.folds(classes, seed=4)).any()


def test_prototypes_and_propagation() -> None:
    features = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    weights = np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    expected = np.array([[1, 0], [0.6, 1.8] / np.hypot(0.6, 1.8)])
    np.testing.assert_allclose(heldout.prototypes(features, weights), expected, atol=1e-6)
    query = np.array([[0.8, 0.6]], dtype=np.float32)
    assert heldout.propagate(features, np.array([0, 1, 1]), query, k=1)[0] == 1  # cosine 0.96 against 0.8
    assert heldout.propagate(features, np.array([0, 1, 0]), query, k=3)[0] == 0
    assert heldout.propagate(features, np.array([0, 1, 2]), query, k=3)[0] == 2  # single votes: the nearest


def test_held_out_answers_never_see_the_held_out_label(recording: material.Recording) -> None:
    methods = {m.name: m for m in heldout.held_out(recording, WordEncoder(), runs=2, resamples=10, seed=0)}
    assert methods[heldout.DIRECT].answers == (recording.named,)
    assert len(methods["PRODEN, k=3 random"].answers) == 2
    own = methods["prototypes, own label"]
    jays = [answer for answer, c in zip(own.answers[0], recording.classes) if c == 3]
    assert jays == ["Blue Jay"] * 3
    # "Summer Tanager" is said of one image only, so its own fold cannot answer it.
    assert own.answers[0][recording.named.index("Summer Tanager")] != "Summer Tanager"
    first = heldout.held_out(recording, WordEncoder(), runs=2, resamples=10, seed=0)
    assert {m.name: m.answers for m in first} == {name: m.answers for name, m in methods.items()}


def test_class_interval_is_wider_than_one_over_images() -> None:
    classes = np.repeat(np.arange(20), 3)
    values = np.repeat(np.arange(20) % 2, 3).astype(float)
    found = scores.class_interval(values, classes, resamples=500)
    assert found.value == 0.5
    assert found.high - found.low > 1.5 * 2 * 1.96 * 0.5 / np.sqrt(60)


def test_listed_names() -> None:
    assert names.listed_name("000.AM_General_Hummer_SUV_2000", "2000 AM General Hummer SUV", "cars196") == (
        "AM General Hummer SUV 2000"
    )
    assert names.accepted_names("Acura RL Sedan 2012", "cars196")[-1] == "Acura RL Sedan"
    assert names.listed_name("004.Shih_Tzu", "Shih Tzu", "dogs120") == "Shih-Tzu"
    assert names.listed_name("085.Cyclamen_", "cyclamen", "flowers102") == "Cyclamen"


@pytest.fixture
def one(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only the miniature's recording is looked for."""
    monkeypatch.setattr(material, "RECORDINGS", (("cub200", "qwen", "Birds Qwen"),))
    return shared


def test_the_page_names_its_encoders_under_every_table_and_no_machine_path(one: Path) -> None:
    found = measure(material.load_recordings(one), WordEncoder(), draws=2, runs=1, resamples=10)
    text = page(found)
    assert "50.0 (47.3, +2.7)" in text  # found, expected, difference
    assert str(one) not in text
    under = tables.under("words")
    assert "CLIP ViT-B/16" in under
    blocks = text.split("\n\n")
    measured = [i for i, block in enumerate(blocks) if block.startswith("|")]
    assert len(measured) >= 8
    for i in measured:
        assert under in blocks[i + 1 : i + 5], blocks[i][:80]
    json.dumps(found.as_dict(), allow_nan=False)


def test_without_the_classifier_the_page_says_so(one: Path) -> None:
    found = measure(material.load_recordings(one), WordEncoder(), draws=1, runs=1, resamples=5, classifier=False)
    assert "--no-classifier" in page(found)
    assert not found.methods


def test_missing_and_damaged_material_is_told(one: Path, tmp_path: Path) -> None:
    with pytest.raises(material.MaterialError) as caught:
        material.load_recordings(tmp_path / "none")
    assert "--shared" in caught.value.remedy
    replies = one / "data" / "recorded" / "cub200.qwen.jsonl"
    for wrong in ("", "{}\n", "not json\n", "[1]\n"):
        replies.write_text(wrong)
        with pytest.raises(material.MaterialError, match="no recording"):
            material.load_recordings(one)


# --- agreement


def other(recording: material.Recording, **said: str) -> material.Recording:
    """A second MLLM: the first's names, but for the images given as ``i0="..."``."""
    named = list(recording.named)
    for key, name in said.items():
        named[int(key[1:])] = name
    return replace(recording, title="Birds Gemini", named=tuple(named))


def test_two_mllms_by_hand(recording: material.Recording) -> None:
    # Right as recorded: 0, 1, 3, 5, 6, 7, 9, 10, 11. Now 0 becomes wrong, 2 right, 9 another spelling of itself.
    second = other(recording, i0="Sooty Albatross", i2="black-footed albatross", i9="BLUE JAY")
    pair = agreement.pair_of(recording, second, resamples=10)
    assert pair.agreed == pytest.approx(10 / 12)
    assert pair.right_agreed.value == pytest.approx(8 / 10)
    assert [interval.value for interval in pair.right_disagreed] == [pytest.approx(1 / 2), pytest.approx(1 / 2)]
    assert pair.either == pytest.approx(10 / 12)
    assert pair.listed_either == pytest.approx(7 / 12)
    assert pair.listed_agreed == pytest.approx(5 / 10)


def test_unnamed_images_never_agree(recording: material.Recording) -> None:
    silent = replace(recording, named=(None,) * 12)
    assert not agreement.agree(silent, silent).any()
    assert np.isnan(agreement.pair_of(silent, silent, resamples=5).listed_agreed)


def test_recordings_of_other_images_are_not_compared(recording: material.Recording) -> None:
    with pytest.raises(material.MaterialError, match="same images"):
        agreement.agree(recording, replace(recording, images=recording.images[::-1]))


def test_signs_by_hand(recording: material.Recording) -> None:
    """Features are tight by class, so an image's neighbours are the two others of its class."""
    same, cosine, votes = agreement.neighbour_signs(replace(recording, features=_tight()))
    # Albatrosses 0, 1 alike (2 is Laysan), terns all different, cardinals 6, 7 alike, jays all.
    assert same.tolist() == [True, True, False, False, False, False, True, True, False, True, True, True]
    assert votes.tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 0, 2, 2, 2]
    assert (cosine > 0.99).all()
    nearest = agreement.signs(replace(recording, features=_tight()))[0]
    assert nearest.name == agreement.NEAREST
    assert (nearest.share, nearest.right_with, nearest.right_without) == (
        pytest.approx(7 / 12),
        1.0,
        pytest.approx(2 / 5),
    )
    # Surest half: six of the seven images with the sign, all right.
    assert nearest.at == (1.0, 1.0, 1.0)
    # Risk 0 for seven images, 3/12 for the five others, which enter together.
    assert nearest.aurc == pytest.approx(5 * (3 / 12) / 12)


def _tight() -> np.ndarray:
    """Within a class 0 and 1 are nearest to each other, 2 is nearest to 1 (by a little)."""
    rows = []
    for number in range(4):
        for tilt in (0.0, 0.02, 0.05):
            row = np.zeros(8)
            row[number], row[4 + number] = np.cos(tilt), np.sin(tilt)
            rows.append(row)
    return np.array(rows, dtype=np.float32)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30))
def test_accuracy_of_the_surest_is_the_mean_over_orders_of_ties(rows: list[tuple[float, bool]]) -> None:
    sure, right = (np.array(column, dtype=float) for column in zip(*rows))
    assert agreement.accuracy_of_surest(sure, right, 1.0) == pytest.approx(right.mean())
    count = max(1, round(0.4 * len(rows)))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(400):
        order = rng.permutation(len(rows))
        draws.append(right[order[np.argsort(-sure[order], kind="stable")[:count]]].mean())
    assert agreement.accuracy_of_surest(sure, right, 0.4) == pytest.approx(np.mean(draws), abs=0.12)


def test_second_opinions_by_hand(recording: material.Recording) -> None:
    first = replace(recording, features=_tight())
    second = other(first, i2="Black-footed Albatross", i8="Northern Cardinal", i4="Sandwich Tern")
    order = agreement.doubt_order(first)
    # Doubtful: images whose nearest carries another label: 2, 3, 4, 5, 8.
    assert set(order[:5].tolist()) == {2, 3, 4, 5, 8}
    curve = {
        (one.rule, one.share): one
        for one in agreement.second_opinions(first, second, shares=(0.0, 5 / 12, 1.0), resamples=20)
    }
    assert curve["replace", 0.0].accuracy.value == pytest.approx(9 / 12)
    assert curve["replace", 5 / 12].accuracy.value == pytest.approx(11 / 12)  # 2 and 8 mended, 4 wrong before and after
    assert curve["replace", 1.0].accuracy.value == pytest.approx(11 / 12)
    # Random: 5/12 of the gain of 2/12.
    assert curve["replace", 5 / 12].gain.value == pytest.approx(2 / 12 * (1 - 5 / 12))
    assert curve["replace", 1.0].gain.value == pytest.approx(0)
    # Two of three: 1 says Black-footed Albatross, 7 Northern Cardinal.
    assert curve["vote", 5 / 12].accuracy.value == pytest.approx(11 / 12)


def test_a_second_mllm_that_says_the_same_changes_nothing(recording: material.Recording) -> None:
    for one in agreement.second_opinions(recording, other(recording), resamples=5):
        assert one.accuracy.value == pytest.approx(0.75)
        assert one.gain.value == pytest.approx(0)


def test_accepted_and_corrected_tables_name_real_classes() -> None:
    for dataset, corrections in names.CORRECTED.items():
        assert set(names.ACCEPTED) == set(names.CORRECTED)
        for old, new in corrections.items():
            assert old != new, dataset
    assert tables.table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|--:|\n| 1 | 2 |"


@pytest.mark.real
@pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED")
@pytest.mark.parametrize(("dataset", "recorder", "title"), material.RECORDINGS)
def test_real_material_meets_the_earlier_figures(dataset: str, recorder: str, title: str) -> None:
    found = material.load_recording(Path(os.environ["FGVR_SHARED"]), dataset, recorder, title)
    for table in (names.CORRECTED[dataset], names.ACCEPTED[dataset]):
        assert not set(table) - set(found.class_names), "an entry for a class that does not exist"
    labels, pairs = neighbours.label_scores(found, WordEncoder())
    for k, (near, _, _) in expected.COVERAGE[title].items():
        one = neighbours.coverage_at(found, labels, pairs, k=k, draws=1, resamples=5, seed=0)
        assert one.listed.value == pytest.approx(near, abs=1e-3)
    purity = neighbours.neighbours(found, labels, pairs[0])
    assert (purity.k3, purity.mutual) == pytest.approx(
        (expected.NEIGHBOURS[title][0], expected.NEIGHBOURS[title][2]), abs=1e-3
    )


@pytest.mark.real
@pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED")
def test_real_agreement_meets_the_earlier_figures() -> None:
    shared = Path(os.environ["FGVR_SHARED"])
    pair = [material.load_recording(shared, *which) for which in material.RECORDINGS[:2]]
    found = agreement.pair_of(*pair, resamples=5)
    known = expected.AGREEMENT[found.titles]
    assert (found.agreed, found.listed_agreed, found.listed_either) == pytest.approx(known, abs=1e-3)
    for recording in pair:
        alignment.refuse_shifted(recording, alignment.shifted(recording, WordEncoder()))
