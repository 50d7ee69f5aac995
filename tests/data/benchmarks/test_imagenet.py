"""ImageNet: three layouts, two lists of validation labels, names that no two classes share."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.data.benchmarks import imagenet, recognise
from fgvr.errors import InputError, ManifestError, NoImagesError
from tests.data.benchmarks.writing import images, kinds, shown, text

TENCH, CRANE, KIT_FOX, MACHINE = "n01440764", "n02012849", "n02119789", "n03126707"
MAPPING = (f"{TENCH} tench, Tinca tinca", f"{CRANE} crane", f"{KIT_FOX} kit fox, Vulpes macrotis", f"{MACHINE} crane")


def train(root, below="train"):
    images(root, [f"{below}/{synset}/{synset}_{n}.JPEG" for synset in (TENCH, CRANE, KIT_FOX) for n in (1, 2)])


def flat(root, below="val", count=4):
    images(root, [f"{below}/ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, count + 1)])


def meta_mat(file):
    """As the kit has it: leaves and an inner node, numbered otherwise than the synsets sort."""
    from scipy.io import savemat

    rows = [
        (1, KIT_FOX, "kit fox, Vulpes macrotis", 0),
        (2, MACHINE, "crane", 0),
        (3, TENCH, "tench, Tinca tinca", 0),
        (4, CRANE, "crane", 0),
        (5, "n00001740", "entity", 3),
    ]
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"synsets": np.array(rows, dtype=fields).reshape(-1, 1)})


def test_class_folders_and_the_mapping_of_kaggle(tmp_path):
    text(tmp_path, "LOC_synset_mapping.txt", *MAPPING)
    train(tmp_path)
    images(tmp_path, [f"val/{CRANE}/a.JPEG", f"val/{MACHINE}/b.JPEG"])
    found = imagenet.read(tmp_path)
    assert found.classes == ("tench", "crane (bird)", "kit fox", "construction crane")
    assert shown(found)[-2:] == [
        (f"val/{CRANE}/a.JPEG", "crane (bird)", "test"),
        (f"val/{MACHINE}/b.JPEG", "construction crane", "test"),
    ]
    assert found.items[0].accepted == ("Tinca tinca",)
    assert found.items[-1].accepted == ()  # "crane" alone would be right for both
    assert sum(item.split == "train" for item in found.items) == 6
    assert imagenet.read(tmp_path, split="coop").items == found.items
    with pytest.raises(InputError, match="random"):
        imagenet.read(tmp_path, split="random")
    original = imagenet.read(tmp_path, original_names=True)
    assert original.classes == ("tench", "crane", "kit fox", "crane")
    assert "two classes share a name" in kinds(original)


def test_flat_validation_images_with_kaggles_solution(tmp_path):
    text(tmp_path, "LOC_synset_mapping.txt", *MAPPING)
    below = "ILSVRC/Data/CLS-LOC"
    flat(tmp_path, f"{below}/val", 3)
    text(
        tmp_path,
        "LOC_val_solution.csv",
        "ImageId,PredictionString",
        f"ILSVRC2012_val_00000002,{KIT_FOX} 85 1 499 272 ",
        f"ILSVRC2012_val_00000001,{TENCH} 1 2 3 4 {TENCH} 5 6 7 8 ",
        f"ILSVRC2012_val_00000003,{CRANE} 1 2 3 4",
    )
    found = imagenet.read(tmp_path)
    assert [(item.id, item.label) for item in found.items] == [
        (f"{below}/val/ILSVRC2012_val_00000001.JPEG", "tench"),
        (f"{below}/val/ILSVRC2012_val_00000002.JPEG", "kit fox"),
        (f"{below}/val/ILSVRC2012_val_00000003.JPEG", "crane (bird)"),
    ]
    missing = next(problem for problem in found.problems if problem.kind == "missing split")
    assert (missing.detail, missing.serious) == ("there is no train folder", False)
    assert not any("train" in problem.detail for problem in found.problems if problem.kind == "wrong count")


def test_the_kits_own_numbers_are_translated(tmp_path):
    """Line n of the ground truth is an ILSVRC2012_ID, which is not the place of the synset among the sorted ones."""
    kit = "ILSVRC2012_devkit_t12/data"
    meta_mat(tmp_path / kit / "meta.mat")
    text(tmp_path, f"{kit}/ILSVRC2012_validation_ground_truth.txt", "3", "1", "4", "2")
    flat(tmp_path)
    found = imagenet.read(tmp_path)
    assert [item.label for item in found.items] == ["tench", "kit fox", "crane (bird)", "construction crane"]
    assert found.classes == ("tench", "crane (bird)", "kit fox", "construction crane")


def test_clips_names_are_preferred_and_lemmas_accepted(tmp_path):
    text(tmp_path, "classnames.txt", f"{TENCH} tench fish", f"{KIT_FOX} missile", f"{MACHINE} missile")
    text(tmp_path, "LOC_synset_mapping.txt", f"{TENCH} tench, Tinca tinca", f"{KIT_FOX} rocket", f"{MACHINE} missile")
    images(tmp_path, [f"images/val/{synset}/1.JPEG" for synset in (TENCH, KIT_FOX, MACHINE)])
    found = imagenet.read(tmp_path)
    assert found.classes == ("tench fish", "missile", "construction crane")
    assert found.items[0].accepted == ("tench", "Tinca tinca")


def test_shared_names_fall_back_on_a_lemma_of_their_own():
    lemmas = {
        "n02113186": ("Cardigan", "Cardigan Welsh corgi"),
        "n02963159": ("cardigan",),
        "n03710637": ("maillot",),
        "n03710721": ("maillot", "tank suit"),
    }
    names = imagenet.class_names(sorted(lemmas), {}, lemmas)
    assert [entry.name for entry in names] == ["Cardigan Welsh corgi", "cardigan", "maillot", "tank suit"]
    assert [entry.listed for entry in names] == ["Cardigan", "cardigan", "maillot", "maillot"]


def test_of_two_classes_only_the_corrected_one_changes():
    curated = {"n04355933": "sunglasses", "n04356056": "sunglasses"}
    lemmas = {"n04355933": ("sunglass",), "n04356056": ("sunglasses", "dark glasses", "shades")}
    names = imagenet.class_names(sorted(lemmas), curated, lemmas)
    assert [entry.name for entry in names] == ["sunglass", "sunglasses"]


def test_folders_that_are_no_class_are_told(tmp_path):
    text(tmp_path, "LOC_synset_mapping.txt", *MAPPING)
    images(tmp_path, [f"val/{TENCH}/1.JPEG", "val/n99999999/1.JPEG"])
    found = imagenet.read(tmp_path)
    assert [item.label for item in found.items] == ["tench"]
    assert any("n99999999" in problem.detail for problem in found.problems)


def test_pictures_are_never_opened(tmp_path, monkeypatch):
    text(tmp_path, "LOC_synset_mapping.txt", *MAPPING)
    train(tmp_path)
    for picture in tmp_path.rglob("*.JPEG"):
        picture.write_bytes(b"not a picture")
    assert len(imagenet.read(tmp_path).items) == 6


def flat_without_labels(root):
    text(root, "LOC_synset_mapping.txt", *MAPPING)
    flat(root)


def kit_without_meta(root):
    flat_without_labels(root)
    text(root, "ILSVRC2012_validation_ground_truth.txt", "1", "2", "3", "4")


def cut_meta(root):
    kit_without_meta(root)
    meta_mat(root / "meta.mat")
    (root / "meta.mat").write_bytes((root / "meta.mat").read_bytes()[:200])


def number_too_large(root):
    flat_without_labels(root)
    meta_mat(root / "meta.mat")
    text(root, "ILSVRC2012_validation_ground_truth.txt", "1", "2", "3", "1001")


def solution_without_synset(root):
    flat_without_labels(root)
    text(root, "LOC_val_solution.csv", "ImageId,PredictionString", "ILSVRC2012_val_00000001,tench")


def solution_lacks_images(root):
    flat_without_labels(root)
    text(root, "LOC_val_solution.csv", "ImageId,PredictionString", f"ILSVRC2012_val_00000001,{TENCH}")


def no_names(root):
    images(root, [f"val/{TENCH}/1.JPEG"])


def damaged_names(root):
    no_names(root)
    text(root, "LOC_synset_mapping.txt", *MAPPING, "tench")


def neither_part(root):
    text(root, "LOC_synset_mapping.txt", *MAPPING)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (flat_without_labels, "their labels are missing"),
        (kit_without_meta, "their labels are missing"),
        (cut_meta, "meta.mat"),
        (number_too_large, "line=4"),
        (solution_without_synset, "line=2"),
        (solution_lacks_images, "ILSVRC2012_val_00000002.JPEG"),
        (no_names, "LOC_synset_mapping.txt"),
        (damaged_names, "line=5"),
        (neither_part, "neither train nor val"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, build, said: str):
    build(tmp_path)
    with pytest.raises(ManifestError) as raised:
        imagenet.read(tmp_path)
    assert said in str(raised.value)
    assert raised.value.remedy


def test_empty_folders_are_an_error(tmp_path):
    text(tmp_path, "LOC_synset_mapping.txt", *MAPPING)
    (tmp_path / "train" / TENCH).mkdir(parents=True)
    with pytest.raises(NoImagesError):
        imagenet.read(tmp_path)


@pytest.mark.parametrize("below", ["", "images/", "ILSVRC/Data/CLS-LOC/"])
@pytest.mark.parametrize("first", [f"train/{TENCH}/1.JPEG", f"val/{TENCH}/1.JPEG", "val/ILSVRC2012_val_00000001.JPEG"])
def test_every_layout_is_recognised(tmp_path, below: str, first: str):
    images(tmp_path, [below + first])
    assert recognise(tmp_path) == "imagenet"
