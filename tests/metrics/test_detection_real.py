"""AP on real annotations, crowds and overlapping boxes included, against pycocotools."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fgvr.data.boxes import read_boxes
from fgvr.data.boxes_results import objects_of
from fgvr.metrics.detection import SIZES, Detections, average_precision
from tests.metrics.test_detection import coco_ap

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED"),
]


def test_coco_photographs():
    boxes = read_boxes(Path(os.environ["FGVR_SHARED"]) / "data/photos/coco52/instances_bbox.json")
    objects, rng = objects_of(boxes), np.random.default_rng(0)
    assert (len(objects), int(objects.crowd.sum()), boxes.set_aside) == (559, 7, ())
    categories = [category.id for category in boxes.categories]
    row = np.repeat(np.flatnonzero(~objects.crowd), 4)
    right = rng.random(len(row)) < 0.3
    category = np.where(right, objects.category[row], rng.choice(categories, len(row)))
    score = np.round(rng.random(len(row)) + right, 2)  # with ties
    found = Detections(objects.image[row], objects.box[row], category, score, row)
    ours = average_precision(objects, found, categories=categories)
    expected = coco_ap(objects, found, categories, [1.0])
    for size in SIZES:
        np.testing.assert_allclose(ours.per_category[size], expected[size], atol=1e-6)
    assert 0.2 < ours.mean() < 0.9
