"""The recorded-labels script on a miniature of its material, and (opt-in) on the real one."""

from __future__ import annotations

import csv
import json
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import recorded_labels
from recorded import heldout, material, neighbours, page, quality, scores

from fgvr.data.benchmarks import names

CLASSES = ("Black_footed_Albatross", "Artic_Tern", "Cardinal", "Blue_Jay")
SAID = {
    "Black_footed_Albatross": ("Black-footed Albatross", "Black-footed Albatross", "Laysan Albatross"),
    "Artic_Tern": ("Arctic Tern", "Common Tern", "Artic Tern"),
    "Cardinal": ("Northern Cardinal", "Northern Cardinal", "Summer Tanager"),
    "Blue_Jay": ("Blue Jay", "Blue Jay", "Blue Jay"),
}


class WordEncoder:
    """Names to unit vectors by hashed words: enough for cosines that rise with shared words."""

    name = "words"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(out, texts):
            for word in text.lower().replace("-", " ").split() or ["?"]:
                row[zlib.crc32(word.encode()) % 64] += 1
        return out / np.linalg.norm(out, axis=1, keepdims=True)


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
    found = quality.shifted(recording, WordEncoder())
    assert found[0][0] == 0.5
    assert found[-1][0] == found[1][0] == 0
    assert found[0][1] > max(found[-1][1], found[1][1])


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


def test_the_page_is_written_without_machine_paths(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgvr.encoders.sentence.load_sentence_encoder", lambda name: WordEncoder())
    monkeypatch.setattr(recorded_labels, "RECORDINGS", (("cub200", "qwen", "Birds Qwen"),))
    out = tmp_path / "deep" / "page.md"
    options = ["--out", str(out), "--draws", "2", "--runs", "1", "--resamples", "10"]
    assert recorded_labels.main(["--shared", str(shared), *options]) == 0
    text = out.read_text()
    assert "50.0 (47.3, +2.7)" in text  # found, expected, difference
    assert str(tmp_path) not in text
    assert recorded_labels.main(["--shared", str(tmp_path / "none"), *options]) == 1


def test_accepted_and_corrected_tables_name_real_classes() -> None:
    for dataset, corrections in names.CORRECTED.items():
        assert set(names.ACCEPTED) == set(names.CORRECTED)
        for old, new in corrections.items():
            assert old != new, dataset
    assert page.table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|--:|\n| 1 | 2 |"


@pytest.mark.real
@pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED")
@pytest.mark.parametrize(("dataset", "recorder", "title"), material.RECORDINGS)
def test_real_material_meets_the_earlier_figures(dataset: str, recorder: str, title: str) -> None:
    from recorded import expected

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
