"""Annotation files: what is read, what is set aside and why, where the pictures are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data.boxes import Box, Boxes, Category, corners_in_file, locate, read_boxes, read_names
from fgvr.data.boxes_results import (
    Results,
    detections_of,
    federation_of,
    objects_of,
    read_results,
    write_results,
)
from fgvr.errors import FgvrError, ManifestError, NoImagesError
from fgvr.metrics.detection import average_precision

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}
CLASS = {"id": 7, "name": "chair"}
BOX = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 30], "area": 450.5}


def written(folder: Path, **parts: Any) -> Path:
    file = folder / "annotations.json"
    content = {"images": [IMAGE], "annotations": [BOX], "categories": [CLASS]} | parts
    file.write_text(json.dumps(content))
    return file


def reasons(boxes: Boxes) -> list[tuple[str, str]]:
    return [(aside.id, aside.reason) for aside in boxes.set_aside]


class TestReading:
    def test_coco(self, tmp_path: Path):
        crowd = BOX | {"id": 2, "iscrowd": 1, "segmentation": {"counts": [1, 2]}}
        del crowd["area"]
        boxes = read_boxes(written(tmp_path, annotations=[crowd, BOX]))
        assert boxes.boxes == (
            Box(1, 1, 7, (10, 10, 20, 30), 450.5),
            Box(2, 1, 7, (10, 10, 20, 30), 600, crowd=True),
        )
        assert boxes.boxes[0].corners == (10, 10, 30, 40)
        assert boxes.categories == (Category(7, "chair"),)
        assert boxes.pictures[1].size == (100, 50)
        assert not boxes.set_aside

    def test_lvis(self, tmp_path: Path):
        image = {
            "id": 1,
            "coco_url": "http://images.cocodataset.org/train2017/000000391895.jpg",
            "height": 50,
            "width": 100,
            "neg_category_ids": [9, 8],
            "not_exhaustive_category_ids": [7],
        }
        category = {"id": 7, "name": "aerosol_can", "frequency": "r", "synonyms": ["aerosol_can", "spray_can"]}
        boxes = read_boxes(written(tmp_path, images=[image], categories=[category]))
        assert boxes.pictures[1].files == ("train2017/000000391895.jpg", "000000391895.jpg")
        assert boxes.categories[0] == Category(7, "aerosol_can", "r", ("aerosol_can", "spray_can"))
        federation = federation_of(boxes)
        assert federation.negative.tolist() == [[1, 9], [1, 8]]
        assert federation.not_exhaustive.tolist() == [[1, 7]]

    def test_v3det(self, tmp_path: Path):
        image = IMAGE | {"file_name": "images/n00005787/21_58.jpg"}
        category = CLASS | {"supercategory": "x", "name_zh": "椅子", "cat_info": "to sit on", "novel": False}
        boxes = read_boxes(written(tmp_path, images=[image], categories=[category]))
        assert boxes.pictures[1].files == ("images/n00005787/21_58.jpg",)

    def test_a_box_over_the_edge_is_kept_as_written(self, tmp_path: Path):
        boxes = read_boxes(written(tmp_path, annotations=[BOX | {"bbox": [90, -5, 40, 30]}]))
        assert boxes.boxes[0].bbox == (90, -5, 40, 30)
        assert corners_in_file(boxes.boxes[0].corners, (100, 50), (100, 50)) == (90, 0, 100, 25)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"bbox": [100, 10, 20, 30]}, "outside image"),
            ({"bbox": [-30, 10, 20, 30]}, "outside image"),
            ({"bbox": [10, 10, 0, 30]}, "no area"),
            ({"bbox": [10, 10, 20, -1]}, "no area"),
            ({"bbox": [float("nan"), 10, 20, 30]}, "bad row"),
            ({"bbox": [10, 10, float("inf"), 30]}, "bad row"),
            ({"bbox": [10, 10, 10**400, 30]}, "bad row"),
            ({"bbox": [10, 10, "20", 30]}, "bad row"),
            ({"bbox": [10, 10, True, 30]}, "bad row"),
            ({"bbox": [10, 10, 20]}, "bad row"),
            ({"bbox": None}, "bad row"),
            ({"image_id": 99}, "unknown image"),
            ({"image_id": None}, "bad row"),
            ({"image_id": {}}, "bad row"),
            ({"category_id": 99}, "unknown category"),
            ({"category_id": "chair"}, "bad row"),
            ({"id": 1}, "duplicate"),
            ({"id": 2**70}, "bad row"),
            ({"id": 1.5}, "bad row"),
        ],
    )
    def test_a_bad_box_is_set_aside_and_the_rest_goes_on(self, tmp_path: Path, change: dict[str, Any], reason: str):
        boxes = read_boxes(written(tmp_path, annotations=[BOX, BOX | {"id": 2} | change]))
        assert [box.id for box in boxes.boxes] == [1]
        assert [why for _, why in reasons(boxes)] == [reason]

    def test_rows_that_are_no_objects(self, tmp_path: Path):
        file = written(tmp_path, images=[None, IMAGE], annotations=[3, BOX, []], categories=["x", CLASS, {"id": 1}])
        boxes = read_boxes(file)
        assert len(boxes.boxes) == 1
        assert reasons(boxes) == [
            ("category (row 1)", "bad row"),
            ("category 1", "bad row"),
            ("image (row 1)", "bad row"),
            ("annotation (row 1)", "bad row"),
            ("annotation (row 3)", "bad row"),
        ]

    def test_duplicate_pictures_and_classes_keep_the_first(self, tmp_path: Path):
        file = written(tmp_path, images=[IMAGE, IMAGE | {"file_name": "b.jpg"}], categories=[CLASS, CLASS])
        boxes = read_boxes(file)
        assert boxes.pictures[1].files == ("a.jpg",)
        assert reasons(boxes) == [("category 7", "duplicate"), ("image 1", "duplicate")]

    def test_boxes_without_a_class_are_there_to_be_named(self, tmp_path: Path):
        bare = {"id": 1, "image_id": 1, "bbox": [1, 1, 5, 5]}
        boxes = read_boxes(written(tmp_path, annotations=[bare], categories=[]), categories=[Category(1, "x")])
        assert boxes.boxes[0].category is None
        with pytest.raises(ManifestError, match="no box has a known category"):
            objects_of(boxes)

    def test_with_other_classes_a_box_of_another_category_has_no_truth(self, tmp_path: Path):
        rows = [BOX, BOX | {"id": 2, "category_id": 1}]
        boxes = read_boxes(written(tmp_path, annotations=rows), categories=[Category(1, "x")])
        assert [box.category for box in boxes.boxes] == [None, 1]
        assert not boxes.set_aside

    @pytest.mark.parametrize(
        ("parts", "error", "message"),
        [
            ({"annotations": []}, NoImagesError, "no usable box"),
            ({"categories": []}, ManifestError, "no category"),
            ({"categories": None}, ManifestError, "no category"),
            ({"annotations": {}}, ManifestError, "no list annotations"),
            ({"images": None}, ManifestError, "no list images"),
            ({"images": []}, NoImagesError, "unknown image"),
        ],
    )
    def test_nothing_usable_is_an_error(
        self, tmp_path: Path, parts: dict[str, Any], error: type[FgvrError], message: str
    ):
        with pytest.raises(error, match=message):
            read_boxes(written(tmp_path, **parts))

    @pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\x00", '{"images": 1e999}', "9" * 5000])
    def test_what_is_no_annotation_file_is_an_error(self, tmp_path: Path, text: str):
        file = tmp_path / "broken.json"
        file.write_text(text)
        with pytest.raises(ManifestError):
            read_boxes(file)
        with pytest.raises(ManifestError):
            read_boxes(tmp_path / "nowhere.json")

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.recursive(
                st.none() | st.booleans() | st.integers(-3, 8) | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=4)
                    | st.dictionaries(
                        st.sampled_from(
                            ["id", "image_id", "category_id", "bbox", "area", "file_name", "name", "width"]
                        ),
                        inner,
                        max_size=6,
                    )
                ),
                max_leaves=12,
            ),
            max_size=5,
        )
    )
    def test_no_content_stops_the_reader(self, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]):
        folder = tmp_path_factory.mktemp("any")
        for part in ("images", "annotations", "categories"):
            base = {"images": [IMAGE], "annotations": [BOX], "categories": [CLASS]}[part]
            boxes = read_boxes(written(folder, **{part: [*base, *rows]}))
            assert len(boxes.boxes) >= 1


class TestPlaces:
    def place(self, folder: Path, *names: str) -> Path:
        for name in names:
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        (folder / "images").mkdir(exist_ok=True)
        return folder / "images"

    def test_file_name_then_url(self, tmp_path: Path):
        url = "http://images.cocodataset.org/val2017/b.jpg"
        images = [IMAGE | {"file_name": "sub/a.jpg"}, {"id": 2, "file_name": "not-there.jpg", "coco_url": url}]
        file = written(tmp_path, images=images, annotations=[BOX, BOX | {"id": 2, "image_id": 2}])
        items, aside = locate(read_boxes(file), self.place(tmp_path, "sub/a.jpg", "b.jpg"))
        assert [items[1].id, items[2].id] == ["sub/a.jpg", "b.jpg"]
        assert not aside

    @pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "images/../../secret.jpg", "a\0b.jpg", "no.jpg"])
    def test_nothing_outside_the_folder_is_named(self, tmp_path: Path, name: str):
        (tmp_path / "secret.jpg").write_bytes(b"x")
        images = [IMAGE, {"id": 2, "file_name": name}]
        file = written(tmp_path, images=images, annotations=[BOX, BOX | {"id": 2, "image_id": 2}])
        items, aside = locate(read_boxes(file), self.place(tmp_path, "a.jpg"))
        assert list(items) == [1]
        assert [one.reason for one in aside] in (["outside root"], ["bad row"], ["missing"])

    def test_a_link_out_of_the_folder_is_not_followed(self, tmp_path: Path):
        folder = self.place(tmp_path)
        (tmp_path / "secret.jpg").write_bytes(b"x")
        (folder / "a.jpg").symlink_to(tmp_path / "secret.jpg")
        with pytest.raises(NoImagesError, match="outside root"):
            locate(read_boxes(written(tmp_path)), folder)

    def test_no_folder_or_no_picture(self, tmp_path: Path):
        boxes = read_boxes(written(tmp_path))
        with pytest.raises(ManifestError, match="no such image folder"):
            locate(boxes, tmp_path / "nowhere")
        with pytest.raises(NoImagesError, match="1 boxes"):
            locate(boxes, self.place(tmp_path))


class TestSizes:
    def test_a_reduced_copy_scales_the_box(self):
        assert corners_in_file((10, 20, 30, 40), (100, 50), (50, 25)) == (5, 10, 15, 20)
        # Rounded sides of a real reduction: 577 x 384 of 640 x 426.
        assert corners_in_file((0, 0, 640, 426), (640, 426), (577, 384)) == pytest.approx((0, 0, 577, 384))

    @pytest.mark.parametrize("size", [(50, 100), (100, 100), (97, 50)])
    def test_another_picture_is_refused(self, size: tuple[int, int]):
        with pytest.raises(ValueError, match="pixels"):
            corners_in_file((10, 20, 30, 40), (100, 50), size)

    def test_without_a_stated_size_the_file_clips(self):
        assert corners_in_file((10, 20, 300, 40), None, (100, 30)) == (10, 20, 100, 30)
        assert corners_in_file((100, 20, 300, 40), None, (100, 30)) is None


class TestNames:
    def test_by_line_or_with_ids(self, tmp_path: Path):
        file = tmp_path / "names.txt"
        file.write_text("\ufeffcat\n\nstop sign\n")
        assert read_names(file) == (Category(1, "cat"), Category(2, "stop sign"))
        file.write_text("3\tcat\n90\tdog\n")
        assert read_names(file) == (Category(3, "cat"), Category(90, "dog"))

    @pytest.mark.parametrize("text", ["", " \n", "3\tcat\n3\tdog\n"])
    def test_unusable(self, tmp_path: Path, text: str):
        file = tmp_path / "names.txt"
        file.write_text(text)
        with pytest.raises(ManifestError):
            read_names(file)
        with pytest.raises(ManifestError):
            read_names(tmp_path / "nowhere.txt")


class TestResults:
    def boxes(self, folder: Path) -> Boxes:
        twin = BOX | {"id": 2, "category_id": 8}
        return read_boxes(written(folder, annotations=[BOX, twin], categories=[CLASS, {"id": 8, "name": "table"}]))

    def results(self, boxes: Boxes) -> Results:
        return Results(boxes.boxes, np.array([0, 0, 1]), np.array([7, 8, 8]), np.array([0.75, 0.25, 0.5]))

    def test_there_and_back(self, tmp_path: Path):
        boxes = self.boxes(tmp_path)
        results = self.results(boxes)
        write_results(tmp_path / "results.json", results)
        rows = json.loads((tmp_path / "results.json").read_text())
        assert rows[0] == {
            "image_id": 1,
            "category_id": 7,
            "bbox": [10, 10, 20, 30],
            "score": 0.75,
            "annotation_id": 1,
        }
        found, aside = read_results(tmp_path / "results.json", boxes)
        direct = detections_of(results, boxes)
        for name in ("image", "box", "category", "score", "annotation"):
            np.testing.assert_array_equal(getattr(found, name), getattr(direct, name))
        assert not aside
        assert average_precision(objects_of(boxes), found, categories=(7, 8)).mean() == pytest.approx(1)

    def test_no_results(self, tmp_path: Path):
        boxes = self.boxes(tmp_path)
        none = np.zeros(0, dtype=np.int64)
        write_results(tmp_path / "results.json", Results(boxes.boxes, none, none, none.astype(float)))
        found, _ = read_results(tmp_path / "results.json", boxes)
        assert len(found) == 0
        assert average_precision(objects_of(boxes), found, categories=(7, 8)).mean() == 0

    def test_rounded_coordinates_are_mended_by_the_annotation(self, tmp_path: Path):
        boxes = self.boxes(tmp_path)
        row = {"image_id": 1, "category_id": 7, "bbox": [10.1, 10, 20, 30], "score": 1, "annotation_id": 1}
        file = tmp_path / "results.json"
        file.write_text(json.dumps([row, {key: row[key] for key in row if key != "annotation_id"}]))
        found, aside = read_results(file, boxes)
        assert found.box[:, 0].tolist() == [10, 10.1]
        assert found.annotation is not None
        assert found.annotation.tolist() == [0, -1]
        assert not aside

    @pytest.mark.parametrize(
        "change",
        [
            {"image_id": "1"},
            {"image_id": 99},
            {"category_id": None},
            {"bbox": [1, 2, 3]},
            {"bbox": [1, 2, 3, float("nan")]},
            {"score": float("inf")},
            {"score": "1"},
        ],
    )
    def test_bad_rows_are_set_aside(self, tmp_path: Path, change: dict[str, Any]):
        row = {"image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 30], "score": 1}
        file = tmp_path / "results.json"
        file.write_text(json.dumps([row | change, row, 5]))
        found, aside = read_results(file, self.boxes(tmp_path))
        assert len(found) == 1
        assert [one.id for one in aside] == ["result 1", "result 3"]

    @pytest.mark.parametrize("text", ["{}", "[", ""])
    def test_no_results_file(self, tmp_path: Path, text: str):
        file = tmp_path / "results.json"
        file.write_text(text)
        with pytest.raises(ManifestError):
            read_results(file, self.boxes(tmp_path))
