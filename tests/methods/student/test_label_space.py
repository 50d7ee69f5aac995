import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.errors import InputError
from fgvr.methods.student.label_space import best_names, drop_unsupported, label_space, reindexed
from fgvr.methods.student.opinions import joined
from fgvr.methods.student.settings import LabelSpaceSettings
from tests.methods.student.test_merging import LABELS, NAMES, TOGETHER, clouds, one_hot, opinions_of

MANY = ["Beagle", "Boxer", "Pug", "Lynx"]
TOLD = np.array([0] * 10 + [1] * 10 + [2] * 10 + [3])
"""Ten images of three breeds each, and one that was called a lynx."""


def overruled(labels: np.ndarray, names: int, image: int, by: int) -> csr_matrix:
    """Evidence that believes all labels but one."""
    soft = one_hot(labels, names).tolil()
    soft[image] = 0
    soft[image, labels[image]], soft[image, by] = 0.3, 0.6
    return soft.tocsr()


def test_a_name_that_nothing_supports_is_dropped_with_the_reason() -> None:
    features = clouds([0] * 10 + [1] * 10 + [2] * 10 + [0])
    found = drop_unsupported(MANY, opinions_of(TOLD), features, overruled(TOLD, 4, 30, by=0))
    assert found.names == ("Beagle", "Boxer", "Pug")
    assert found.mapping.tolist() == [0, 1, 2, -1]
    (gone,) = found.dropped
    assert (gone.name, gone.rows) == ("Lynx", (30,))
    assert "neighbours are mostly 'Beagle'" in gone.reason
    assert found.rare == ()


def test_a_supported_name_stays_however_few_its_images() -> None:
    features = clouds([0] * 10 + [1] * 10 + [2] * 10 + [0])
    assert drop_unsupported(MANY, opinions_of(TOLD), features, one_hot(TOLD, 4)).dropped == ()


def test_a_rare_class_far_from_all_others_stays() -> None:
    features = clouds([0] * 10 + [1] * 10 + [2] * 10 + [7])
    found = drop_unsupported(MANY, opinions_of(TOLD), features, overruled(TOLD, 4, 30, by=0))
    (rare,) = found.rare
    assert (rare.name, rare.row) == ("Lynx", 30)
    assert "far from all others" in rare.reason
    assert found.names == tuple(MANY)
    assert found.dropped == ()


def test_a_rare_class_whose_neighbours_do_not_agree_stays() -> None:
    features = np.eye(8, dtype=np.float32)[[0] * 10 + [1] * 10 + [2] * 10 + [0]]
    features[30] = [0.5**0.5, 0.5**0.5, 0, 0, 0, 0, 0, 0]
    features[:2], features[10:12] = [0.8, 0.6, 0, 0, 0, 0, 0, 0], [0.6, 0.8, 0, 0, 0, 0, 0, 0]
    soft = overruled(TOLD, 4, 30, by=0)
    found = drop_unsupported(MANY, opinions_of(TOLD), features, soft, far_share=0.0, neighbours=4)
    assert [one.name for one in found.rare] == ["Lynx"]
    assert "do not agree" in found.rare[0].reason


def test_where_all_names_have_few_images_none_is_dropped() -> None:
    labels = np.array([0] * 3 + [1] * 3 + [2] * 3 + [3])
    features = clouds([0] * 3 + [1] * 3 + [2] * 3 + [0])
    soft = overruled(labels, 4, 9, by=0)
    assert drop_unsupported(MANY, opinions_of(labels), features, soft).dropped == ()
    strict = drop_unsupported(MANY, opinions_of(labels), features, soft, few=0, neighbours=3, far_share=0.0)
    assert [one.name for one in strict.dropped] == ["Lynx"]


def test_a_name_that_was_only_an_alternative_is_dropped() -> None:
    features = clouds([0] * 10 + [1] * 10 + [2] * 11)
    labels = np.array([0] * 10 + [1] * 10 + [2] * 11)
    (gone,) = drop_unsupported(MANY, opinions_of(labels), features, one_hot(labels, 4)).dropped
    assert gone.name == "Lynx"
    assert gone.reason == "no image was given this name first"
    assert gone.rows == ()


def test_a_second_opinion_is_no_neighbour_of_its_own_image() -> None:
    features = clouds([0] * 10 + [1] * 10 + [2] * 10 + [7])
    first = opinions_of(TOLD)
    again = replace(first.where(TOLD == 3), labels=np.array([0]), source=np.array([1]))
    both = joined([again, first])
    found = drop_unsupported(MANY, both, features, overruled(TOLD, 4, 30, by=0))
    assert [one.name for one in found.rare] == ["Lynx"]


def test_without_any_evidence_there_is_no_label_space() -> None:
    with pytest.raises(InputError, match="no image supports any name"):
        drop_unsupported(MANY, opinions_of(TOLD), clouds([0] * 31), csr_matrix((31, 4), dtype=np.float32))


def test_best_names_counts_all_that_are_equal() -> None:
    soft = csr_matrix(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.2]], np.float32))
    rows, columns = best_names(soft)
    assert sorted(zip(rows.tolist(), columns.tolist())) == [(0, 0), (0, 1), (2, 2)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_reindexing_against_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    soft = rng.random((6, 5)) * (rng.random((6, 5)) < 0.5)
    mapping = rng.integers(-1, 3, 5)
    mapping[rng.integers(5)] = 2
    expected = np.zeros((6, 3))
    for row in range(6):
        for name in range(5):
            if mapping[name] >= 0:
                expected[row, mapping[name]] += soft[row, name]
        if expected[row].sum() > 0:
            expected[row] *= soft[row].sum() / expected[row].sum()
    found = reindexed(csr_matrix(soft.astype(np.float32)), mapping)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
    assert found.dtype == np.float32


def test_merging_comes_before_dropping_and_all_is_told() -> None:
    """Two names that mean the same support each other: the merged one has an image that is called so best."""
    labels = np.array(LABELS)
    features, similarity = clouds(TOGETHER, seed=1), np.eye(5, dtype=np.float32)
    found = label_space(NAMES, opinions_of(labels), features, one_hot(labels, 5), similarity=similarity)
    assert found.names == ("Siamese cat", "Beagle", "Boxer", "Pug")
    assert found.mapping.tolist() == [0, 0, 1, 2, 3]
    assert [(stage.stage, stage.names) for stage in found.curve.stages] == [
        ("teacher", 5),
        ("merged", 4),
        ("kept", 4),
    ]
    told = json.loads(json.dumps(found.to_dict()))
    assert told["merges"][0]["raw"] == "Siamese"
    assert told["mapping"] == [0, 0, 1, 2, 3]


def test_each_part_has_its_switch() -> None:
    labels = np.array([*LABELS, 4])
    names, similarity = [*NAMES[:4], "Pug", "Lynx"], np.eye(6, dtype=np.float32)
    labels[-1] = 5
    features, soft = clouds([*TOGETHER, 0], seed=1), overruled(labels, 6, 32, by=0)

    def size(**switches: bool) -> int:
        how = LabelSpaceSettings(**switches)
        return len(label_space(names, opinions_of(labels), features, soft, similarity=similarity, settings=how).names)

    assert size(merge_by_images=False, drop=False) == 6
    assert size(merge_by_images=True, drop=False) == 5
    assert size(merge_by_images=False, drop=True) == 5
    assert size(merge_by_images=True, drop=True) == 4
