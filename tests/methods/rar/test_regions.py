"""Boxes to results: one decode a picture, features kept, the 300 rule, what ranking does to scores."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import fgvr.methods.rar.regions_features as regions_features
from fgvr.data.boxes import Box, Boxes, Category, Picture, locate, read_boxes
from fgvr.data.boxes_results import detections_of, objects_of
from fgvr.errors import EncoderError, InputError, NoImagesError
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.regions import (
    candidates,
    classes_a_box,
    crops,
    region_features,
    results_of,
    text_memory,
    with_head,
)
from fgvr.metrics.detection import average_precision
from fgvr.regions import CropPolicy, crop, uniform_policy
from tests.encoders.stub import ColourEncoder

POLICY, TIGHT = CropPolicy(side=16), uniform_policy(1.0, side=16)
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (250, 250, 250)}


class NamedColours(ColourEncoder):
    """Knows the colours by name, too."""

    logit_scale = 50.0

    def encode_texts(self, texts: Any) -> np.ndarray:
        words = [next((COLOURS[word] for word in COLOURS if word in text), (0, 0, 0)) for text in texts]
        rows = np.stack([np.tile(np.array(colour, dtype=np.float32) + 1, 4) for colour in words])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def world(folder: Path, *, pictures: int = 3, each: int = 4, size: int = 96) -> Boxes:
    """Pictures with a row of coloured squares on grey, as COCO JSON."""
    (folder / "images").mkdir(parents=True)
    names = list(COLOURS)
    images, annotations = [], []
    for number in range(pictures):
        image = Image.new("RGB", (size, size), (90, 90, 90))
        for place in range(each):
            which = (number + place) % len(names)
            box = (place * size // each, 10 + number, size // each - 4, size // each - 4)
            image.paste(COLOURS[names[which]], (box[0], box[1], box[0] + box[2], box[1] + box[3]))
            row = {"id": len(annotations) + 1, "image_id": number + 1, "category_id": 10 * which, "bbox": list(box)}
            annotations.append(row)
        image.save(folder / "images" / f"{number}.png")
        images.append({"id": number + 1, "file_name": f"{number}.png", "width": size, "height": size})
    categories = [{"id": 10 * index, "name": name} for index, name in enumerate(names)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return read_boxes(folder / "annotations.json")


def features_of(folder: Path, boxes: Boxes, encoder: ColourEncoder, **more: Any) -> regions_features.RegionTable:
    items, _ = locate(boxes, folder / "images")
    return region_features(boxes, items, encoder, more.pop("policy", POLICY), **more)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was decoded."""
    counts: Counter[str] = Counter()
    real = regions_features.decode_or_set_aside

    def counting(item: Any, **options: Any) -> Any:
        counts[item.id] += 1
        return real(item, **options)

    monkeypatch.setattr(regions_features, "decode_or_set_aside", counting)
    return counts


class TestFeatures:
    def test_one_decode_a_picture_however_many_boxes(self, tmp_path: Path, decoded: Counter[str]):
        boxes = world(tmp_path, pictures=3, each=8)
        table = features_of(tmp_path, boxes, NamedColours(), batch_size=5, crop_folder=tmp_path / "crops")
        assert decoded == {"0.png": 1, "1.png": 1, "2.png": 1}
        assert len(table.boxes) == len({item.path for item in table.crops}) == 24
        assert [item.id for item in table.crops[:2]] == ["annotation 1", "annotation 2"]

    @pytest.mark.parametrize("threads", [1, 4])
    def test_they_are_those_of_the_crops(self, tmp_path: Path, threads: int):
        boxes, encoder = world(tmp_path), NamedColours()
        table = features_of(tmp_path, boxes, encoder, batch_size=5, threads=threads)
        for box, row in zip(table.boxes, table.features, strict=True):
            with Image.open(tmp_path / "images" / f"{box.image - 1}.png") as image:
                expected = encoder.encode_images([crop(image, box.corners, POLICY)])[0]
            assert np.array_equal(row, expected)

    def test_finished_ones_are_not_computed_again(self, tmp_path: Path, decoded: Counter[str]):
        boxes, encoder = world(tmp_path), NamedColours()
        options: dict[str, Any] = {"store": tmp_path / "store", "crop_folder": tmp_path / "crops"}
        first = features_of(tmp_path, boxes, encoder, **options)
        again = features_of(tmp_path, boxes, encoder, **options)
        assert np.array_equal(first.features, again.features)
        assert first.crops == again.crops
        assert (encoder.images, sum(decoded.values())) == (12, 3)
        # One crop lost: only its picture is read again.
        first.crops[0].path.unlink()
        features_of(tmp_path, boxes, encoder, **options)
        assert first.crops[0].path.stat().st_size > 0
        assert (encoder.images, sum(decoded.values())) == (13, 4)

    def test_a_killed_run_keeps_what_was_finished(self, tmp_path: Path):
        class Dying(NamedColours):
            def encode_images(self, images: Any) -> np.ndarray:
                if self.images >= 8:
                    raise KeyboardInterrupt
                return super().encode_images(images)

        boxes = world(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            features_of(tmp_path, boxes, Dying(), store=tmp_path / "store", batch_size=4, threads=1)
        encoder = NamedColours()
        features_of(tmp_path, boxes, encoder, store=tmp_path / "store", batch_size=4)
        assert encoder.images == 4

    @pytest.mark.parametrize(
        "other", [{"policy": uniform_policy(1.0, side=16)}, {"encoder": NamedColours("another")}, {"moved": True}]
    )
    def test_another_policy_encoder_or_box_is_computed(self, tmp_path: Path, other: dict[str, Any]):
        boxes = world(tmp_path)
        features_of(tmp_path, boxes, NamedColours(), store=tmp_path / "store")
        if other.pop("moved", False):
            moved = tuple(Box(b.id, b.image, b.category, (b.bbox[0] + 1, *b.bbox[1:]), b.area) for b in boxes.boxes)
            boxes = Boxes(boxes.pictures, moved, boxes.categories)
        encoder = other.pop("encoder", NamedColours())
        features_of(tmp_path, boxes, encoder, store=tmp_path / "store", **other)
        assert encoder.images == 12

    def test_bad_pictures_are_set_aside_with_their_boxes(self, tmp_path: Path):
        boxes = world(tmp_path)
        (tmp_path / "images" / "0.png").write_bytes(b"no picture")
        Image.new("RGB", (96, 50)).save(tmp_path / "images" / "1.png")
        table = features_of(tmp_path, boxes, NamedColours())
        assert {box.image for box in table.boxes} == {3}
        assert [(one.id, one.reason) for one in table.set_aside] == [
            ("0.png", "not an image"),
            *((f"annotation {number}", "other size") for number in (5, 6, 7, 8)),
        ]
        assert "4 boxes" in table.set_aside[0].detail

    def test_a_reduced_copy_gives_the_same_crops(self, tmp_path: Path):
        boxes = world(tmp_path)
        with Image.open(tmp_path / "images" / "0.png") as image:
            image.resize((48, 48), Image.Resampling.BOX).save(tmp_path / "images" / "0.png")
        table = features_of(tmp_path, boxes, NamedColours(), policy=TIGHT)
        found = candidates(table.features, text_memory(NamedColours(), boxes.categories), k=1)
        assert [boxes.categories[i].id for i in found.classes[:, 0]] == [box.category for box in table.boxes]

    def test_without_a_stated_size_a_box_outside_the_file_is_set_aside(self, tmp_path: Path):
        world(tmp_path)
        pictures = {1: Picture(1, ("0.png",))}
        rows = (Box(1, 1, 0, (0, 0, 9, 9), 81), Box(2, 1, 0, (96, 0, 9, 9), 81), Box(3, 1, 0, (90, 90, 50, 50), 2500))
        boxes = Boxes(pictures, rows, (Category(0, "red"),))
        table = features_of(tmp_path, boxes, NamedColours())
        assert [box.id for box in table.boxes] == [1, 3]
        assert [one.reason for one in table.set_aside] == ["outside image"]

    def test_crowds_are_left_out(self, tmp_path: Path):
        boxes = world(tmp_path)
        first, *rest = boxes.boxes
        crowd = Box(first.id, first.image, first.category, first.bbox, first.area, crowd=True)
        table = features_of(tmp_path, Boxes(boxes.pictures, (crowd, *rest), boxes.categories), NamedColours())
        assert len(table.boxes) == 11

    def test_nothing_left_is_an_error(self, tmp_path: Path):
        boxes = world(tmp_path)
        for file in (tmp_path / "images").iterdir():
            file.write_bytes(b"")
        with pytest.raises(NoImagesError):
            features_of(tmp_path, boxes, NamedColours())

    def test_an_encoder_that_returns_nonsense(self, tmp_path: Path):
        class Broken(NamedColours):
            def encode_images(self, images: Any) -> np.ndarray:
                return np.full((len(images), 12), np.nan, dtype=np.float32)

        boxes = world(tmp_path)
        with pytest.raises(EncoderError, match="not finite"):
            features_of(tmp_path, boxes, Broken())

    def test_crops_of_one_picture(self):
        image = Image.effect_noise((64, 64), 50).convert("RGB")
        boxes = [(0, 0, 20, 20), (30, 30, 60, 50)]
        for found, box in zip(crops(image, boxes, POLICY), boxes, strict=True):
            assert np.array_equal(found, crop(image, box, POLICY))


class TestResults:
    def test_the_colours_are_found(self, tmp_path: Path):
        boxes, encoder = world(tmp_path), NamedColours()
        table = features_of(tmp_path, boxes, encoder, policy=TIGHT)
        results = results_of(table.boxes, table.features, text_memory(encoder, boxes.categories), boxes.categories)
        assert len(results) == 12 * 4
        numbers = [category.id for category in boxes.categories]
        found = average_precision(objects_of(boxes), detections_of(results, boxes), categories=numbers)
        assert found.mean() == pytest.approx(1)
        assert np.bincount(results.row, weights=results.score) == pytest.approx(np.ones(12), abs=1e-5)

    def test_the_300_rule(self):
        boxes = [Box(number, image, 0, (0, 0, 9, 9), 81) for number, image in enumerate([1] * 7 + [2] * 400 + [3])]
        room = classes_a_box(boxes)
        assert (room[:7] == 42).all()
        assert (room[7:407] == 1).all()
        assert room[407] == 300
        assert classes_a_box(boxes, most_classes=10)[[0, 7, 407]].tolist() == [10, 1, 10]
        assert classes_a_box(boxes, most_detections=20)[[0, 7, 407]].tolist() == [2, 1, 20]
        with pytest.raises(InputError):
            classes_a_box(boxes, most_classes=0)

    def test_no_more_detections_than_there_is_room_for(self, tmp_path: Path):
        boxes, encoder = world(tmp_path, pictures=2, each=4), NamedColours()
        table = features_of(tmp_path, boxes, encoder)
        memory = text_memory(encoder, boxes.categories)
        results = results_of(table.boxes, table.features, memory, boxes.categories, most_detections=8)
        assert np.bincount(results.row).tolist() == [2] * 8
        full = results_of(table.boxes, table.features, memory, boxes.categories)
        best = [np.flatnonzero(full.row == row)[:2] for row in range(8)]
        assert results.category.tolist() == full.category[np.concatenate(best)].tolist()

    def test_one_class_and_k_larger_than_the_classes(self, tmp_path: Path):
        boxes, encoder = world(tmp_path), NamedColours()
        table = features_of(tmp_path, boxes, encoder)
        one = boxes.categories[:1]
        results = results_of(table.boxes, table.features, text_memory(encoder, one), one)
        assert results.score == pytest.approx(np.ones(12))
        assert candidates(table.features, text_memory(encoder, boxes.categories), k=99).k == 4

    def test_no_class_is_an_error(self):
        with pytest.raises(InputError, match="no class"):
            text_memory(NamedColours(), ())
        with pytest.raises(InputError, match="template"):
            text_memory(NamedColours(), [Category(1, "red")], templates=["a photo"])

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**31))
    def test_a_head_replaces_the_first_and_the_row_stays_sorted(self, k: int, n: int, seed: int):
        rng = np.random.default_rng(seed)
        n = max(k, n)
        log_probs = -np.sort(rng.random((3, n)), axis=1).astype(np.float32)
        classes = np.stack([rng.permutation(20)[:n] for _ in range(3)])
        head = Candidates(classes[:, :k][:, ::-1], log_probs[:, :k] - 0.1)
        found = with_head(Candidates(classes, log_probs), head)
        assert (np.sort(found.classes) == np.sort(classes)).all()
        assert (np.diff(found.log_probs, axis=1) <= 0).all()
