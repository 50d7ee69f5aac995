"""FOCI's and Fine-R1's questions, and FOCI's results: good rows, bad rows, and pictures under the right folder only."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data.benchmarks.coop import by_folder
from fgvr.data.benchmarks.fine_r1 import COUNTS, read_fine_r1, shared_classes
from fgvr.data.benchmarks.foci import TEST_IMAGES, read_foci, read_results
from fgvr.data.benchmarks.questions import Question, located, shuffled
from fgvr.errors import FgvrError, ManifestError, NoImagesError
from tests.data.benchmarks.writing import images

KEYS = st.sampled_from(
    ["image", "options", "groundtruth", "predictions", "predicted", "predicted_raw", "correct", "metrics", "accuracy",
     "config", "train", "val", "test", "image_path", "ground_truth", "question"]
) | st.text(max_size=3)  # fmt: skip
NAMES = ["Laysan_Albatross", "Sooty_Albatross", "Pomarine_Jaeger", "Black_footed_Albatross"]


def foci_row(image: str, truth: str = NAMES[0]) -> dict[str, object]:
    return {"image": image, "options": [truth, *(name for name in NAMES if name != truth)], "groundtruth": truth}


def foci_file(folder: Path, content: object, name: str = "bird-200-ViT-L-14-laion2b_s32b_b82k-4.json") -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


def fine_r1_file(folder: Path, *rows: object, name: str = "bird_seen.jsonl") -> Path:
    (folder / name).write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return folder / name


def fine_r1_row(image: str, truth: str = "Bengal", **changed: object) -> dict[str, object]:
    options = [truth, *(name for name in ("Bengal", "Sphynx", "Siamese") if name != truth)]
    row = {"image_path": image, "question": "What kind of pet is this?", "options": options, "ground_truth": truth}
    return {**row, **changed}


# --- FOCI -------------------------------------------------------------------------------------------------------------


def test_foci_questions(tmp_path):
    file = foci_file(
        tmp_path,
        {
            NAMES[0]: [foci_row("images/002.Laysan_Albatross/a.jpg"), foci_row("images/002.Laysan_Albatross/b.jpg")],
            NAMES[3]: [foci_row("images/001.Black_footed_Albatross/c.jpg", NAMES[3])],
        },
    )
    found = read_foci(file)
    assert [asked.id for asked in found.questions] == [
        "images/002.Laysan_Albatross/a.jpg",
        "images/002.Laysan_Albatross/b.jpg",
        "images/001.Black_footed_Albatross/c.jpg",
    ]
    first = found.questions[0]
    assert (first.truth, first.answer, first.seen, first.path, first.text) == (NAMES[0], 0, None, None, "")
    assert first.names == ("Laysan Albatross", "Sooty Albatross", "Pomarine Jaeger", "Black footed Albatross")
    assert found.set_aside == ()
    assert any("3 questions" in note and "5794" in note for note in found.notes)
    assert any("first option in every row" in note for note in found.notes)


BAD_ROWS = [
    ("a row", "not a JSON object"),
    ({**foci_row("x.jpg"), "options": "ABCD"}, "not a list of two or more"),
    ({**foci_row("x.jpg"), "options": [NAMES[0]]}, "not a list of two or more"),
    ({**foci_row("x.jpg"), "options": [NAMES[0], 3]}, "an option is not a text"),
    ({**foci_row("x.jpg"), "options": [NAMES[0], NAMES[1], NAMES[1]]}, "listed twice"),
    ({**foci_row("x.jpg"), "options": NAMES[1:]}, "not among the options"),
    ({**foci_row("x.jpg"), "image": ""}, "image is not a text"),
    ({**foci_row("x.jpg"), "groundtruth": None}, "groundtruth is not a text"),
    (foci_row("x.jpg", NAMES[1]), "the true name is 'Sooty_Albatross'"),
]


@pytest.mark.parametrize(("row", "said"), BAD_ROWS)
def test_a_bad_row_is_set_aside_with_its_number(tmp_path, row: object, said: str):
    found = read_foci(foci_file(tmp_path, {NAMES[0]: [foci_row("a.jpg"), row], "Sooty_Albatross": 7}))
    assert [asked.id for asked in found.questions] == ["a.jpg"]
    bad, not_a_list = found.set_aside
    assert bad.reason == not_a_list.reason == "bad row"
    assert "row 2" in bad.detail
    assert said in bad.detail
    with pytest.raises(ManifestError, match="no usable question"):
        read_foci(foci_file(tmp_path, {NAMES[0]: [row]}))


def test_a_picture_asked_about_twice_is_asked_about_once(tmp_path):
    found = read_foci(foci_file(tmp_path, {NAMES[0]: [foci_row("a.jpg"), foci_row("a.jpg")]}))
    assert len(found.questions) == 1
    assert found.set_aside[0].reason == "duplicate"


@pytest.mark.parametrize("content", ["{", "[1]", "[" * 100_000, "{}", ""])
def test_a_file_of_something_else_is_an_error(tmp_path, content: str):
    file = tmp_path / "bird.json"
    file.write_text(content)
    with pytest.raises(ManifestError) as raised:
        read_foci(file)
    assert raised.value.context["file"] == str(file)
    with pytest.raises(ManifestError):
        read_results(file)
    with pytest.raises(ManifestError):
        read_foci(tmp_path / "no such file.json")


# --- results ----------------------------------------------------------------------------------------------------------


def results_file(folder: Path, rows: list[object], accuracy: float = 0.5) -> Path:
    config = {"model": "some/model", "prompt_query": "Which of these birds is shown in the image?", "task": "mc"}
    content = {"metrics": {"generation_failures": 0, "accuracy": accuracy}, "predictions": rows, "config": config}
    return foci_file(folder, content, "bird-200--model.json")


def result(image: str, predicted: str, raw: str, truth: str = NAMES[3]) -> dict[str, object]:
    return {"image": image, "predicted": predicted, "predicted_raw": raw, "correct": truth, "options": NAMES}


def test_results_keep_the_order_asked_and_count_again(tmp_path):
    rows = [
        result("a.jpg", NAMES[3], "D"),
        result("b.jpg", NAMES[1], "Boeing", truth=NAMES[0]),
        result("c.jpg", "NA ### none of them", "none of them"),
        {"image": "d.jpg"},
    ]
    found = read_results(results_file(tmp_path, rows, accuracy=0.4796))
    assert [(each.question.answer, each.chosen, each.reply) for each in found.answers] == [
        (3, 3, "D"),
        (0, 1, "Boeing"),
        (3, None, "none of them"),
    ]
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.unread == pytest.approx(1 / 3)
    assert (found.model, found.query) == ("some/model", "Which of these birds is shown in the image?")
    assert "row 4" in found.set_aside[0].detail
    assert "0.4796" in found.notes[0]
    assert "0.3333" in found.notes[0]
    assert read_results(results_file(tmp_path, rows[:1], accuracy=1.0)).notes == ()
    with pytest.raises(ManifestError, match="no usable answer"):
        read_results(results_file(tmp_path, rows[3:]))


# --- Fine-R1 ----------------------------------------------------------------------------------------------------------


def test_fine_r1_questions_know_whether_their_class_was_seen(tmp_path):
    rows = [fine_r1_row("/data/somebody/pet/images/Bengal_1.jpg"), "not json", fine_r1_row("x.jpg", question=None)]
    found = read_fine_r1(fine_r1_file(tmp_path, *rows, name="pet_unseen.jsonl"))
    (asked,) = found.questions
    assert (asked.truth, asked.seen, asked.text) == ("Bengal", False, "What kind of pet is this?")
    assert [aside.id for aside in found.set_aside] == ["row 2", "row 3"]
    assert any("published are 1493 on 15" in note for note in found.notes)
    assert read_fine_r1(fine_r1_file(tmp_path, rows[0], name="pet_seen.jsonl")).questions[0].seen is True
    other = fine_r1_file(tmp_path, rows[0], name="mine.jsonl")
    assert read_fine_r1(other, seen=True).questions[0].seen is True
    with pytest.raises(ManifestError, match="neither seen nor unseen"):
        read_fine_r1(other)
    with pytest.raises(ManifestError, match="no usable question"):
        read_fine_r1(fine_r1_file(tmp_path, "[]", name="pet_seen.jsonl"))


def test_classes_asked_about_in_both_files_are_found(tmp_path):
    seen = read_fine_r1(fine_r1_file(tmp_path, fine_r1_row("a.jpg"), fine_r1_row("b.jpg", "Sphynx")))
    unseen = read_fine_r1(fine_r1_file(tmp_path, fine_r1_row("c.jpg", "sphynx"), name="bird_unseen.jsonl"))
    assert shared_classes(seen, unseen) == ("sphynx",)
    assert shared_classes(seen, read_fine_r1(fine_r1_file(tmp_path, fine_r1_row("d.jpg", "Siamese")))) == ()


def test_the_published_sizes_agree_with_each_other():
    for name, parts in COUNTS.items():
        assert parts["seen"][1] + parts["unseen"][1] == TEST_IMAGES[name]
    assert sum(TEST_IMAGES[name] for name in COUNTS) == 35_566
    assert sum(parts["seen"][0] for parts in COUNTS.values()) == 452


# --- pictures ---------------------------------------------------------------------------------------------------------


def asking(*paths: str):
    return {NAMES[0]: [foci_row(path) for path in paths]}


def test_pictures_are_found_by_the_ends_of_their_paths(tmp_path):
    images(tmp_path, ["CUB/images/002.Laysan_Albatross/a.jpg", "CUB/images/003.Sooty/a.jpg", "CUB/lists.jpg"])
    file = foci_file(tmp_path, asking("/data/x/002.Laysan_Albatross/a.jpg", "images/002.Laysan_Albatross/gone.jpg"))
    found = read_foci(file, images=tmp_path / "CUB")
    (asked,) = found.questions
    assert asked.path == (tmp_path / "CUB/images/002.Laysan_Albatross/a.jpg").resolve()
    assert [(aside.id, aside.reason) for aside in found.set_aside] == [
        ("images/002.Laysan_Albatross/gone.jpg", "missing")
    ]
    assert not any("file name alone" in note for note in found.notes)


def test_the_cars_that_share_their_names_are_never_guessed(tmp_path):
    """Train and test of Stanford Cars both hold 00001.jpg; FOCI's file writes images/00001.jpg."""
    images(tmp_path, ["cars_train/00001.jpg", "cars_test/00001.jpg"])
    file = foci_file(tmp_path, asking("images/00001.jpg"), "car-196-x-4.json")
    with pytest.raises(NoImagesError, match="test pictures"):
        read_foci(file, images=tmp_path)
    (tmp_path / "cars_train" / "00001.jpg").unlink()
    with pytest.raises(NoImagesError):  # the only one of this name, but in a folder the file does not name
        read_foci(file, images=tmp_path)
    found = read_foci(file, images=tmp_path / "cars_test")
    assert found.questions[0].path == (tmp_path / "cars_test/00001.jpg").resolve()
    assert any("file name alone" in note for note in found.notes)
    named = read_fine_r1(
        fine_r1_file(tmp_path, fine_r1_row("/data/stanford-cars/cars_test/00001.jpg")), images=tmp_path
    )
    assert named.questions[0].path == (tmp_path / "cars_test/00001.jpg").resolve()


def test_equally_good_pictures_are_ambiguous_and_links_out_are_not_taken(tmp_path):
    images(tmp_path, ["root/one/images/a.jpg", "root/two/images/a.jpg", "root/images/b.jpg", "away/c.jpg"])
    os.symlink(tmp_path / "away" / "c.jpg", tmp_path / "root" / "images" / "c.jpg")
    file = foci_file(tmp_path, asking("images/a.jpg", "images/b.jpg", "images/c.jpg"))
    found = read_foci(file, images=tmp_path / "root")
    assert [asked.id for asked in found.questions] == ["images/b.jpg"]
    assert [(aside.id, aside.reason) for aside in found.set_aside] == [
        ("images/a.jpg", "ambiguous"),
        ("images/c.jpg", "missing"),
    ]
    with pytest.raises(NoImagesError):
        located(replace(found, questions=(Question("z.jpg", ("a", "b"), 0),)), tmp_path / "root")


# --- whatever a file holds --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 99) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_no_content_escapes_as_another_error(content: object):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bird_seen.jsonl"
        file.write_text(json.dumps(content))
        for read in (read_foci, read_results, read_fine_r1):
            with contextlib.suppress(FgvrError):
                read(file)
        (Path(folder) / "split_zhou_EuroSAT.json").write_text(json.dumps(content))
        with contextlib.suppress(FgvrError):
            by_folder(Path(folder), "eurosat")


# --- order ------------------------------------------------------------------------------------------------------------


@given(
    options=st.lists(st.text(min_size=1), min_size=2, max_size=6, unique=True),
    seed=st.integers(0, 99),
    image=st.text(min_size=1),
    data=st.data(),
)
def test_shuffling_keeps_the_truth_and_repeats_itself(options, seed: int, image: str, data):
    asked = Question(image, tuple(options), data.draw(st.integers(0, len(options) - 1)))
    mixed = shuffled(asked, seed=seed)
    assert sorted(mixed.options) == sorted(asked.options)
    assert mixed.truth == asked.truth
    assert mixed == shuffled(asked, seed=seed)
    assert mixed.truth == shuffled(mixed, seed=seed + 1).truth


def test_shuffling_puts_the_truth_everywhere():
    places = [shuffled(Question(f"{n}.jpg", ("a", "b", "c", "d"), 0), seed=0).answer for n in range(4000)]
    assert all(abs(places.count(place) - 1000) < 120 for place in range(4))  # four standard deviations
