import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student import merging, name_images
from fgvr.methods.student.merging import (
    Merged,
    agreeing_pairs,
    merge_by_images,
    name_agreement,
)
from fgvr.methods.student.name_images import Images, distance, images_of, rival_margin
from fgvr.methods.student.opinions import Opinions


def opinions_of(labels: np.ndarray) -> Opinions:
    labels = np.asarray(labels)
    count = len(labels)
    return Opinions(
        np.arange(count), labels, np.full(count, np.nan, np.float32), ((),) * count, np.zeros(count, np.int64)
    )


def clouds(places: list[int], *, spread: float = 0.15, seed: int = 0, dimensions: int = 24) -> np.ndarray:
    """One image a place: near the unit vector of its number, features of unit norm."""
    rng = np.random.default_rng(seed)
    found = np.eye(dimensions)[places] + spread * rng.standard_normal((len(places), dimensions))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def one_hot(labels: np.ndarray, names: int) -> csr_matrix:
    return csr_matrix((np.ones(len(labels), np.float32), (np.arange(len(labels)), labels)), (len(labels), names))


def merged(names: list[str], labels: list[int], places: list[int], similarity: np.ndarray | None = None) -> Merged:
    told = opinions_of(np.array(labels))
    alike = np.eye(len(names), dtype=np.float32) if similarity is None else similarity
    return merge_by_images(names, told, clouds(places, seed=1), one_hot(told.labels, len(names)), similarity=alike)


NAMES = ["Siamese", "Siamese cat", "Beagle", "Boxer", "Pug"]
LABELS = [0] * 6 + [1] * 8 + [2] * 6 + [3] * 6 + [4] * 6
TOGETHER = [0] * 14 + [2] * 6 + [3] * 6 + [4] * 6
APART = [0] * 6 + [1] * 8 + [2] * 6 + [3] * 6 + [4] * 6


def test_names_and_images_that_both_agree_become_one() -> None:
    found = merged(NAMES, LABELS, TOGETHER)
    assert found.names == ("Siamese cat", "Beagle", "Boxer", "Pug")
    assert found.mapping.tolist() == [0, 0, 1, 2, 3]
    (pair,) = found.merges
    assert (pair.raw, pair.into) == ("Siamese", "Siamese cat")
    assert pair.image_similarity == pytest.approx(1.0, abs=0.1)
    assert "continues" in pair.reason


def test_names_alone_are_not_enough() -> None:
    assert merged(NAMES, LABELS, APART).merges == ()


def test_images_alone_are_not_enough() -> None:
    assert merged(["Tabby", "Siamese cat", *NAMES[2:]], LABELS, TOGETHER).merges == ()


def test_siblings_never_become_one_however_alike_their_words() -> None:
    names = ["Black-capped Warbler", "Red-capped Warbler", *NAMES[2:]]
    assert merged(names, LABELS, TOGETHER, np.ones((5, 5), np.float32)).merges == ()


def test_an_encoder_may_call_names_without_a_common_word_alike() -> None:
    similarity = np.eye(5, dtype=np.float32)
    similarity[0, 1] = similarity[1, 0] = 0.9
    (pair,) = merged(["Moggy", "House cat", *NAMES[2:]], LABELS, TOGETHER, similarity).merges
    assert (pair.raw, pair.into, pair.name_similarity) == ("Moggy", "House cat", pytest.approx(0.9))


def test_few_images_show_nothing() -> None:
    """Two images each that look the same: no test could tell them apart, so none says that they are one."""
    labels = [0] * 2 + [1] * 2 + [2] * 6 + [3] * 6 + [4] * 6
    assert merged(NAMES, labels, [0] * 4 + [2] * 6 + [3] * 6 + [4] * 6).merges == ()


def test_a_kind_goes_to_its_only_finer_name_even_if_it_has_more_images() -> None:
    names = ["Warbler", "Black-capped Warbler", *NAMES[2:]]
    labels = [0] * 9 + [1] * 5 + [2] * 6 + [3] * 6 + [4] * 6
    (pair,) = merged(names, labels, TOGETHER).merges
    assert (pair.raw, pair.into) == ("Warbler", "Black-capped Warbler")


def test_a_kind_that_may_be_two_things_stays() -> None:
    names = ["Warbler", "Black-capped Warbler", "Tolland Warbler", "Boxer", "Pug"]
    labels = [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6 + [4] * 6
    assert merged(names, labels, [0] * 18 + [3] * 6 + [4] * 6).merges == ()


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(5)), st.integers(0, 3))
def test_the_order_of_the_names_does_not_matter(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = [0] * 14 + [int(place) for place in rng.integers(0, 4, 18)]
    told, features = np.array(LABELS), clouds(places, seed=seed)
    plain = merge_by_images(
        NAMES, opinions_of(told), features, one_hot(told, 5), similarity=np.eye(5, dtype=np.float32)
    )
    turned = np.argsort(order)[told]
    other = merge_by_images(
        [NAMES[at] for at in order], opinions_of(turned), features, one_hot(turned, 5), similarity=np.eye(5)
    )
    assert [other.names[at] for at in other.mapping[turned]] == [plain.names[at] for at in plain.mapping[told]]
    assert {(pair.raw, pair.into) for pair in plain.merges} == {(pair.raw, pair.into) for pair in other.merges}


def test_name_agreement() -> None:
    assert name_agreement("Siamese", "siamese cat") == name_agreement("Siamese cat", "Siamese") == "continued"
    assert name_agreement("Warbler", "Black-capped Warbler") == "coarser"
    assert name_agreement("Spotted Lily", "White-petalled Spotted Lily") is None
    assert name_agreement("Beagle", "Boxer") is None
    assert name_agreement("Pug", "Pug") is None


def test_different_numbers_never_agree() -> None:
    assert agreeing_pairs(["Boeing 737", "Boeing 737 800", "Boeing"], np.ones((3, 3))) == []


def images(rows: list[int], weights: list[float] | None = None) -> Images:
    return Images(np.array(rows), np.array([1.0] * len(rows) if weights is None else weights))


def test_the_distance_against_loops() -> None:
    features = clouds([0] * 5 + [0, 1, 1, 1], spread=0.3)
    one, other = images([0, 1, 2, 3, 4], [1, 0.5, 1, 0.2, 0.9]), images([5, 6, 7, 8], [0.4, 1, 1, 0.7])

    def mean(first: Images, second: Images) -> float:
        top = bottom = 0.0
        for i, v in zip(first.rows, first.weights):
            for j, w in zip(second.rows, second.weights):
                if i != j:
                    top += v * w * float(features[i] @ features[j])
                    bottom += v * w
        return top / bottom

    found = distance(features, one, other)
    assert found is not None
    assert found.squared == pytest.approx(mean(one, one) + mean(other, other) - 2 * mean(one, other), abs=1e-6)
    assert found.cosine == pytest.approx(mean(one, other) / np.sqrt(mean(one, one) * mean(other, other)), abs=1e-6)


def test_the_distance_has_no_bias_and_an_honest_error() -> None:
    """Of one cloud in two names, whatever their sizes: on average 0, and about as far from it as the error says."""
    found = []
    for seed in range(60):
        parts = distance(clouds([0] * 15, seed=seed), images([0, 1, 2]), images(list(range(3, 15))), seed=seed)
        assert parts is not None
        found.append((parts.squared, parts.error))
    squared, error = np.array(found).T
    assert abs(squared.mean()) < 2.5 * squared.std() / np.sqrt(len(squared))
    assert 0.6 < squared.std() / error.mean() < 1.6


def test_the_margin_is_what_different_neighbours_show() -> None:
    features = clouds([0] * 5 + [1] * 5 + [2] * 5, spread=0.0)
    names = [images([0, 1, 2, 3, 4]), images([5, 6, 7, 8, 9]), images([10, 11, 12, 13, 14]), images([])]
    assert rival_margin(features, names) == pytest.approx(2.0)
    assert rival_margin(features, names[:1]) == 0.0
    assert rival_margin(features, names[:2], same=[(0, 1)]) == 0.0


def test_only_the_weightiest_images_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_images, "MOST", 2)
    soft = csr_matrix(np.array([[0.2], [0.9], [0.0], [0.9]], np.float32))
    (found,) = images_of(opinions_of(np.zeros(4, np.int64)), soft, 1)
    assert found.rows.tolist() == [1, 3]


@given(st.lists(st.lists(st.sampled_from(["red", "grey", "owl", "tern"]), max_size=3).map(" ".join), max_size=8))
@settings(deadline=None)
def test_names_that_contain_each_other_are_looked_up_as_pairs_would_be_compared(names: list[str]) -> None:
    found = merging.containing(names)
    every = {(one, other) for other in range(len(names)) for one in range(other)}
    agreeing = {pair for pair in every if merging.name_agreement(names[pair[0]], names[pair[1]])}
    assert found == agreeing
