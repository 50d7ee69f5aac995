"""Which images are left out, what is asked about them, and that they do not help themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.memory import Memory
from fgvr.methods.rar.calibration import LEAST, leave_out, shuffled, unlabelled, with_truth
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.retrieve import RetrieveSettings, retrieve
from tests.methods.near.world import DIM, clustered, unit

PLAIN = RetrieveSettings(k=3, source="image")


def memory_of(counts: list[int], *, seed: int = 0, spread: float = 0.3) -> Memory:
    """A memory with so many scattered images a class."""
    names = [f"class {label}" for label, count in enumerate(counts) for _ in range(count)]
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(len(counts), DIM)), counts, axis=0)
    memory = Memory.create("projection", "f", DIM, 30.0)
    features = unit(centres + spread * rng.normal(size=centres.shape))
    memory.add("image", names, features, sources=names, hashes=[f"hash {i}" for i in range(len(names))])
    return memory


def test_the_truth_takes_the_last_slot_with_what_was_left_over() -> None:
    chances = np.log([[0.5, 0.3], [0.5, 0.3], [0.6, 1.0]])
    chances[2, 1] = -np.inf
    given = Candidates(np.array([[4, 2], [4, 2], [4, -1]]), chances)
    found = with_truth(given, np.array([2, 7, 9]))
    np.testing.assert_array_equal(found.classes, [[4, 2], [4, 7], [4, 9]])
    np.testing.assert_allclose(np.exp(found.log_probs), [[0.5, 0.3], [0.5, 0.5], [0.6, 0.4]], rtol=1e-6)
    np.testing.assert_array_equal(given.classes, [[4, 2], [4, 2], [4, -1]])


def test_a_truth_that_retrieval_left_nothing_for_still_has_a_number() -> None:
    found = with_truth(Candidates(np.array([[4, 2]]), np.log([[1.0, 1e-9]])), np.array([0]))
    assert np.exp(found.log_probs[0, 1]) == pytest.approx(1e-6, rel=1e-3)


@given(st.integers(0, 2**31))
def test_shuffling_keeps_pairs_and_padding(seed: int) -> None:
    classes = np.array([[5, 1, 3], [2, 8, -1], [6, -1, -1]])
    given = Candidates(classes, np.where(classes >= 0, -np.abs(classes) / 10, -np.inf))
    found = shuffled(given, seed=seed)
    for before, after, chance in zip(classes, found.classes, found.log_probs, strict=True):
        assert sorted(before) == sorted(after)
        np.testing.assert_allclose(chance, np.where(after >= 0, -np.abs(after) / 10, -np.inf), rtol=1e-6)


def test_shuffling_leaves_no_favourite_place() -> None:
    classes = np.tile(np.arange(4), (4000, 1))
    found = shuffled(Candidates(classes, np.full(classes.shape, np.log(0.25))), seed=0)
    share = (found.classes == 3).mean(axis=0)
    np.testing.assert_allclose(share, 0.25, atol=0.03)


def test_the_nearest_other_image_is_another_one() -> None:
    memory = memory_of([3, 4, 2, 5], spread=0.8)
    out = leave_out(memory, PLAIN, most=100)
    np.testing.assert_array_equal(out.truth, memory.images.labels)
    vectors = memory.images.vectors
    for row in range(len(vectors)):
        others = [float(vectors[row] @ vectors[other]) for other in range(len(vectors)) if other != row]
        assert out.cosines[row] == pytest.approx(max(others), abs=1e-6)


def test_an_outlier_cannot_find_itself() -> None:
    """An image of class a amid those of class b: with itself in the memory it would be right."""
    rng = np.random.default_rng(0)
    one, two = unit(rng.normal(size=(2, DIM)))
    vectors = unit(np.stack([one, one, two, two, two, two]) + 0.01 * rng.normal(size=(6, DIM)))
    memory = Memory.create("projection", "f", DIM, 30.0)
    memory.add("image", ["a", "a", "a", "b", "b", "b"], vectors, hashes=list("123456"))
    settings = RetrieveSettings(k=2, source="image", aggregate="max")
    out = leave_out(memory, settings, most=10)
    assert (out.candidates.classes[:3, 0] == out.truth[:3]).tolist() == [True, True, False]
    assert retrieve(vectors[2:3], memory, settings).classes[0, 0] == 0


def test_copies_of_an_image_do_not_help_it() -> None:
    memory = memory_of([3, 3])
    memory.add("image", ["class 1"], memory.images.vectors[:1].copy(), hashes=["hash 0"])  # also under another name
    out = leave_out(memory, PLAIN, most=10)
    assert np.nanmax(out.cosines) < 1 - 1e-4
    assert out.hashes.count("hash 0") == 2


def test_one_image_a_class_is_judged_with_the_truth_in_the_set() -> None:
    memory = memory_of([1] * 6)
    out = leave_out(memory, PLAIN, most=10)
    assert out.basis == "truth in set"
    assert out.candidates.contains(out.truth).all()
    assert len({tuple(row).index(true) for row, true in zip(out.candidates.classes, out.truth, strict=True)}) > 1


def test_a_class_or_two_with_more_images_do_not_decide_for_all() -> None:
    """Three images with others left are too few to learn from, all are enough; where not, three are what there is."""
    assert leave_out(memory_of([3] + [1] * LEAST), PLAIN, most=100).basis == "truth in set"
    assert leave_out(memory_of([3, 1, 1]), PLAIN, most=100).basis == "leave-one-out"
    enough = leave_out(memory_of([LEAST] + [1] * LEAST), PLAIN, most=100)
    assert (enough.basis, len(enough.truth)) == ("leave-one-out", LEAST)


def test_names_of_an_mllm_are_no_truth() -> None:
    out = leave_out(memory_of([3, 3]), PLAIN, most=10, labelled=False)
    assert out.basis == "agreement"
    assert (out.truth == -1).all()


def test_so_many_are_drawn_by_the_seed() -> None:
    memory = memory_of([5, 5, 5])
    drawn = [leave_out(memory, PLAIN, most=6, seed=seed).hashes for seed in (0, 0, 1)]
    assert len(drawn[0]) == len(set(drawn[0])) == 6
    assert drawn[0] == drawn[1] != drawn[2]


def test_unlabelled_pictures_ask_the_whole_memory() -> None:
    memory = memory_of([2, 2, 2])
    features, _ = clustered(1, seed=3)
    hashes = [f"other {i}" for i in range(len(features))]
    out = unlabelled(memory, PLAIN, features, hashes, most=7, seed=2)
    assert (len(out.hashes), out.basis) == (7, "agreement")
    assert (out.truth == -1).all()
    assert np.isnan(out.cosines).all()
    rows = [hashes.index(one) for one in out.hashes]
    np.testing.assert_array_equal(out.candidates.classes, retrieve(features[rows], memory, PLAIN).classes)
