"""AP with given boxes: by hand, against pycocotools, against a slow reading of LVIS's rules."""

from __future__ import annotations

import contextlib
import io
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.metrics.detection import (
    RECALLS,
    SIZES,
    Detections,
    Federation,
    Objects,
    average_precision,
    best_of_each_image,
    interpolated_precision,
)
from fgvr.metrics.detection_accuracy import NOT_THERE, UNANSWERED, accuracy, accuracy_by_group, coverage, true_ranks

Rows = list[tuple[Any, ...]]


def objects(rows: Rows) -> Objects:
    """(image, box, category[, area[, crowd]]) each."""
    full = [(*row, row[1][2] * row[1][3], False) if len(row) == 3 else row for row in rows]
    full = [(*row, False) if len(row) == 4 else row for row in full]
    image, box, category, area, crowd = zip(*full, strict=True)
    return Objects(
        np.array(image), np.array(box, dtype=float), np.array(category), np.array(area, dtype=float), np.array(crowd)
    )


def detections(rows: Rows) -> Detections:
    """(image, box, category, score) each."""
    if not rows:
        return Detections(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    image, box, category, score = zip(*rows, strict=True)
    return Detections(np.array(image), np.array(box, dtype=float), np.array(category), np.array(score, dtype=float))


A, B, C = (0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10)


def ap(truth: Rows, found: Rows, **more: Any) -> float:
    return average_precision(objects(truth), detections(found), categories=(1, 2), **more).mean()


class TestByHand:
    def test_all_right_is_one_and_nothing_found_is_zero(self):
        assert ap([(1, A, 1), (1, B, 2)], [(1, A, 1, 0.9), (1, B, 2, 0.1)]) == pytest.approx(1)
        assert ap([(1, A, 1)], []) == 0

    def test_one_wrong_before_one_right(self):
        # Precision 1/2 at recall 1, so 1/2 at every recall.
        assert ap([(1, A, 1), (1, B, 2)], [(1, B, 1, 0.9), (1, A, 1, 0.8), (1, B, 2, 0.7)]) == pytest.approx(0.75)

    def test_half_found(self):
        # Recall 0 to 0.5 (51 of 101 points) at precision 1, nothing beyond.
        assert ap([(1, A, 1), (1, B, 1)], [(1, A, 1, 0.9)]) == pytest.approx(51 / 101)

    def test_another_box_of_the_class_does_not_count_however_much_it_overlaps(self):
        near = (0.001, 0, 10, 10)
        assert ap([(1, A, 1), (1, near, 2)], [(1, near, 1, 0.9)]) == 0

    def test_identical_boxes_are_matched_one_to_one(self):
        truth: Rows = [(1, A, 1), (1, A, 1)]
        assert ap(truth, [(1, A, 1, 0.9), (1, A, 1, 0.8)]) == pytest.approx(1)
        assert ap(truth, [(1, A, 1, 0.9)]) == pytest.approx(51 / 101)
        one: Rows = [(1, A, 1), (2, A, 1)]
        # right, wrong (the object was found before), right: precision 1 up to recall 1/2, then 2/3.
        found: Rows = [(1, A, 1, 0.9), (1, A, 1, 0.8), (2, A, 1, 0.7)]
        assert ap(one, found) == pytest.approx((51 + 50 * 2 / 3) / 101)

    def test_a_class_without_an_object_has_no_ap(self):
        result = average_precision(objects([(1, A, 1)]), detections([(1, A, 2, 0.9)]), categories=(1, 2))
        assert np.isnan(result.per_category["all"][1])
        assert result.objects.tolist() == [1, 0]
        assert np.isnan(result.mean("large"))

    def test_only_the_best_of_an_image_count(self):
        truth: Rows = [(1, A, 1)]
        found: Rows = [(1, A, 2, 0.9), (1, A, 1, 0.8)]
        assert ap(truth, found, max_detections=2) == pytest.approx(1)
        assert ap(truth, found, max_detections=1) == 0

    def test_ties_go_to_the_earlier_detection(self):
        tied = detections([(1, A, 1, 0.5), (1, A, 2, 0.5), (2, A, 1, 0.5), (1, A, 3, 0.5)])
        assert best_of_each_image(tied, 2).tolist() == [0, 1, 2]

    def test_a_crowd_is_neither_found_nor_missed(self):
        truth: Rows = [(1, A, 1), (1, (20, 0, 30, 10), 1, 300, True)]
        assert ap(truth, [(1, (22, 1, 5, 5), 1, 0.9), (1, A, 1, 0.8)]) == pytest.approx(1)
        assert ap(truth, [(1, (22, 1, 5, 15), 1, 0.9), (1, A, 1, 0.8)]) == pytest.approx(0.5)

    def test_sizes(self):
        small, large = (0, 0, 10, 10), (0, 0, 100, 100)
        truth = objects([(1, small, 1), (2, large, 1)])
        found = detections([(2, large, 1, 0.9), (1, small, 2, 0.8)])
        result = average_precision(truth, found, categories=(1, 2))
        assert result.mean("small") == 0
        assert result.mean("large") == pytest.approx(1)
        assert np.isnan(result.mean("medium"))

    @pytest.mark.parametrize("wrong", [{"categories": ()}, {"categories": (1, 1)}])
    def test_classes_must_be_given_once(self, wrong: dict[str, Any]):
        with pytest.raises(ValueError, match="categories"):
            average_precision(objects([(1, A, 1)]), detections([]), **wrong)

    def test_scores_must_be_numbers(self):
        with pytest.raises(ValueError, match="finite"):
            ap([(1, A, 1)], [(1, A, 1, float("nan"))])

    def test_a_truth_of_crowds_alone_is_none(self):
        with pytest.raises(ValueError, match="no object"):
            ap([(1, A, 1, 9.0, True)], [])


class TestFederated:
    TRUTH: ClassVar[Rows] = [(1, A, 1), (2, A, 2)]

    def test_what_nobody_looked_for_costs_nothing(self):
        found: Rows = [(2, A, 1, 0.9), (1, A, 1, 0.8), (2, A, 2, 0.7)]
        assert ap(self.TRUTH, found) == pytest.approx(0.75)
        assert ap(self.TRUTH, found, federation=Federation()) == pytest.approx(1)

    def test_what_is_known_to_be_absent_costs(self):
        found: Rows = [(2, A, 1, 0.9), (1, A, 1, 0.8), (2, A, 2, 0.7)]
        assert ap(self.TRUTH, found, federation=Federation(negative=np.array([[2, 1]]))) == pytest.approx(0.75)

    def test_what_is_not_fully_annotated_costs_nothing_more(self):
        truth: Rows = [(1, A, 1), (1, B, 2)]
        found: Rows = [(1, B, 1, 0.9), (1, A, 1, 0.8), (1, B, 2, 0.7)]
        assert ap(truth, found, federation=Federation()) == pytest.approx(0.75)
        assert ap(truth, found, federation=Federation(not_exhaustive=np.array([[1, 1]]))) == pytest.approx(1)

    def test_by_frequency(self):
        found: Rows = [(1, A, 1, 0.8)]
        result = average_precision(objects(self.TRUTH), detections(found), categories=(1, 2, 3))
        groups = result.by_frequency({1: "r", 2: "f", 3: "c"})
        assert (groups["r"], groups["f"]) == (pytest.approx(1), 0)
        assert np.isnan(groups["c"])


def coco_ap(truth: Objects, found: Detections, categories: list[int], thresholds: list[float]) -> dict[str, np.ndarray]:
    """AP by size and class with pycocotools; NaN where it has none."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = sorted({*truth.image.tolist(), *found.image.tolist()})
    data = COCO()
    data.dataset = {
        "info": {},
        "images": [{"id": number, "width": 10_000, "height": 10_000} for number in images],
        "categories": [{"id": number, "name": str(number)} for number in categories],
        "annotations": [
            {
                "id": index + 1,  # pycocotools takes id 0 for "not matched"
                "image_id": int(truth.image[index]),
                "category_id": int(truth.category[index]),
                "bbox": truth.box[index].tolist(),
                "area": float(truth.area[index]),
                "iscrowd": int(truth.crowd[index]),
            }
            for index in range(len(truth))
        ],
    }
    rows = [
        {"image_id": int(image), "category_id": int(category), "bbox": box.tolist(), "score": float(score)}
        for image, category, box, score in zip(found.image, found.category, found.box, found.score, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        judge = COCOeval(data, data.loadRes(rows), "bbox")
        judge.params.iouThrs = np.array(thresholds)
        judge.params.maxDets = [300]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"]  # thresholds, recalls, classes, areas, limits
    per_class = precision[..., 0].mean(axis=(0, 1))
    per_class[precision[0, 0, :, :, 0] < 0] = np.nan
    return {name: per_class[:, index] for index, name in enumerate(judge.params.areaRngLbl)}


def random_case(seed: int, *, overlapping: bool) -> tuple[Objects, Detections]:
    """Pictures of several boxes (some identical, some crowds, areas of masks), tied scores, wrong boxes of any size."""
    rng = np.random.default_rng(seed)
    truth: Rows = []
    found: Rows = []
    for image in rng.permutation(np.arange(3, 3 + rng.integers(2, 9))).tolist():
        for number in range(rng.integers(1, 8)):
            side = float(rng.choice([20.25, 31.0, 32.0, 60.5, 96.0, 150.75]))
            place = (float(rng.integers(0, 40)), 3.5) if overlapping else (200.0 * number, 0.0)
            box = (*place, side, side)
            for _ in range(rng.choice([1, 1, 2])):
                crowd = bool(overlapping and rng.random() < 0.1)
                truth.append((image, box, int(rng.integers(1, 5)), side**2 * float(rng.choice([1.0, 0.6])), crowd))
            for _ in range(rng.integers(0, 6)):
                found.append((image, box, int(rng.integers(1, 6)), float(rng.integers(0, 8)) / 8))
    return objects([*truth, (3, (900.0, 900.0, 50.0, 50.0), 1, 2500.0, False)]), detections(found or [(3, A, 1, 0.5)])


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("overlapping", [False, True])
def test_it_is_cocos_ap(seed: int, overlapping: bool):
    """At IoU 1 whatever the boxes are; at all of COCO's thresholds where no two of a picture overlap by half."""
    truth, found = random_case(seed, overlapping=overlapping)
    categories = [1, 2, 3, 4, 5]
    thresholds = [1.0] if overlapping else [*np.linspace(0.5, 0.95, 10), 1.0]
    expected = coco_ap(truth, found, categories, thresholds)
    ours = average_precision(truth, found, categories=categories)
    for size in SIZES:
        np.testing.assert_allclose(ours.per_category[size], expected[size], atol=1e-6, err_msg=size)


def slow_federated(truth: Objects, found: Detections, federation: Federation, category: int, most: int) -> float:
    """LVIS's rules read aloud, one detection at a time; boxes compared by their coordinates."""
    kept = []
    for image in sorted(set(found.image.tolist())):
        here = [i for i in range(len(found)) if found.image[i] == image]
        here.sort(key=lambda i: -found.score[i])  # stable
        kept += here[:most]
    positive = {(int(i), int(c)) for i, c in zip(truth.image, truth.category, strict=True)}
    negative = {(int(i), int(c)) for i, c in federation.negative}
    loose = {(int(i), int(c)) for i, c in federation.not_exhaustive}
    kept = [i for i in kept if found.category[i] == category and (int(found.image[i]), category) in positive | negative]
    kept.sort(key=lambda i: -found.score[i])
    free = [g for g in range(len(truth)) if truth.category[g] == category]
    total, right, wrong = len(free), [], []
    for i in kept:
        mine = [g for g in free if truth.image[g] == found.image[i] and (truth.box[g] == found.box[i]).all()]
        if mine:
            free.remove(mine[0])
            right.append(True)
            wrong.append(False)
        elif (int(found.image[i]), category) not in loose:
            right.append(False)
            wrong.append(True)
    precisions = [sum(right[: n + 1]) / (n + 1) for n in range(len(right))]
    recalls = [sum(right[: n + 1]) / total for n in range(len(right))]
    return float(
        np.mean([max((p for p, r in zip(precisions, recalls, strict=True) if r >= at), default=0.0) for at in RECALLS])
    )


@pytest.mark.parametrize("seed", range(20))
def test_federated_rules_are_those_of_lvis(seed: int):
    truth, found = random_case(seed, overlapping=True)
    truth = Objects(truth.image, truth.box, truth.category, truth.area, np.zeros(len(truth), dtype=bool))
    rng = np.random.default_rng(seed)
    pairs = np.stack([rng.integers(3, 12, 12), rng.integers(1, 6, 12)], axis=1)
    federation = Federation(negative=pairs[:8], not_exhaustive=pairs[6:])
    ours = average_precision(truth, found, categories=(1, 2, 3, 4, 5), federation=federation, max_detections=9)
    for index, category in enumerate((1, 2, 3, 4)):
        if ours.objects[index]:
            expected = slow_federated(truth, found, federation, category, 9)
            assert ours.per_category["all"][index] == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 10))
def test_ap_lies_between_0_and_1_and_grows_when_a_wrong_one_is_removed(right: list[bool], missed: int):
    hits = np.array(right)
    total = max(1, int(hits.sum()) + missed)
    value = interpolated_precision(hits, ~hits, total)
    assert 0 <= value <= 1 + 1e-12
    if not hits.all():
        kept = np.delete(hits, int(np.flatnonzero(~hits)[0]))
        assert interpolated_precision(kept, ~kept, total) >= value - 1e-12


class TestAccuracy:
    def test_by_hand(self):
        truth = objects([(1, A, 1), (1, B, 1), (2, A, 2), (2, C, 2), (2, B, 3, 50.0, True)])
        found = detections(
            [(1, A, 1, 0.5), (1, A, 2, 0.4), (1, B, 2, 0.9), (1, B, 1, 0.8), (2, A, 1, 0.9), (2, B, 3, 1)]
        )
        ranks = true_ranks(truth, found)
        assert ranks.tolist() == [0, 1, NOT_THERE, UNANSWERED, UNANSWERED]
        assert coverage(ranks, truth) == pytest.approx(3 / 4)
        one = accuracy(ranks, truth.category, ks=(1, 2))
        assert (one.boxes, one.classes) == (3, 2)
        assert one.micro == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3)}
        assert one.macro == {1: pytest.approx(0.25), 2: pytest.approx(0.5)}

    def test_identical_boxes_are_told_apart_by_annotation(self):
        truth = objects([(1, A, 1), (1, A, 2)])
        found = detections([(1, A, 1, 0.9), (1, A, 2, 0.8), (1, A, 1, 0.9), (1, A, 2, 0.8)])
        told = Detections(found.image, found.box, found.category, found.score, np.array([0, 0, 1, 1]))
        assert true_ranks(truth, told).tolist() == [0, 1]

    def test_groups(self):
        truth = objects([(1, A, 1), (1, (0, 0, 50, 50), 2)])
        ranks = np.array([0, NOT_THERE])
        groups = accuracy_by_group(ranks, truth, frequency={1: "r", 2: "f"})
        assert groups["small"].micro[1] == groups["rare"].micro[1] == 1
        assert groups["medium"].micro[5] == groups["frequent"].micro[5] == 0
        assert groups["common"].boxes == groups["large"].boxes == 0
        assert np.isnan(groups["large"].micro[1])

    @pytest.mark.parametrize("seed", range(5))
    def test_ranks_against_a_slow_reading(self, seed: int):
        truth, found = random_case(seed, overlapping=True)
        ranks = true_ranks(truth, found)
        for index in range(len(truth)):
            mine = [
                i
                for i in range(len(found))
                if found.image[i] == truth.image[index] and (found.box[i] == truth.box[index]).all()
            ]
            mine.sort(key=lambda i: -found.score[i])
            names = [int(found.category[i]) for i in mine]
            own = int(truth.category[index])
            expected = UNANSWERED if not mine or truth.crowd[index] else names.index(own) if own in names else NOT_THERE
            assert ranks[index] == expected


def test_many_boxes_take_seconds():
    rng = np.random.default_rng(0)
    count, classes, each = 20_000, 1_203, 10
    image = np.arange(count) // 12
    box = np.stack(
        [rng.integers(0, 500, count), rng.integers(0, 500, count), *rng.integers(5, 200, (2, count))], axis=1
    )
    category = rng.integers(1, classes + 1, count)
    truth = Objects(
        image, box.astype(float), category, box[:, 2] * box[:, 3].astype(float), np.zeros(count, dtype=bool)
    )
    rows = np.repeat(np.arange(count), each)
    found = Detections(
        image[rows], truth.box[rows], rng.integers(1, classes + 1, count * each), rng.random(count * each), rows
    )
    import time

    began = time.process_time()
    average_precision(truth, found, categories=range(1, classes + 1))
    true_ranks(truth, found)
    assert time.process_time() - began < 20
