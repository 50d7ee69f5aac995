"""What the MLLM's word is worth: by class, and in all."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fuse import fuse
from fgvr.methods.rar.fuse_numerics import log_softmax
from fgvr.methods.rar.worth import PRIOR, likeliest, recognition, weigh

CLASSES = 12
UNKNOWN = 4
"""Classes 0-3: the MLLM gives their relatives' names, 4-7, with full confidence."""


def candidates(scores: np.ndarray, k: int = 4) -> Candidates:
    order = np.argsort(-scores, axis=1)[:, :k]
    return Candidates(order, np.take_along_axis(log_softmax(scores), order, axis=1))


def world(count: int, rng: np.random.Generator, *, knows: bool = True) -> tuple[Candidates, np.ndarray, np.ndarray]:
    """Candidates, what the MLLM says of them, true classes."""
    truth = rng.integers(0, CLASSES, count)
    seen = rng.normal(size=(count, CLASSES))
    seen[np.arange(count), truth] += 2.0
    relative = np.arange(CLASSES)
    relative[:UNKNOWN] = np.arange(UNKNOWN, 2 * UNKNOWN)
    seen[np.arange(count), relative[truth]] += 1.0  # relatives look alike
    found = candidates(seen)
    heard = rng.normal(size=(count, CLASSES))
    if knows:
        heard[np.arange(count), relative[truth]] += 5.0
    return found, log_softmax(np.take_along_axis(heard, found.classes, axis=1)), truth


def named(found: Candidates, scores: np.ndarray) -> np.ndarray:
    return np.take_along_axis(found.classes, scores.argmax(axis=1)[:, None], axis=1)[:, 0]


def test_recognition_by_hand() -> None:
    found = Candidates([[0, 1], [1, 0], [1, 2]], np.log([[0.6, 0.3], [0.5, 0.4], [0.7, 0.2]]))
    said = np.log([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    truth = np.array([0, 0, 3])  # the third is not among its candidates and teaches nothing
    rates, without = recognition(found, said, truth, 4)
    mean = (0.9 + 0.8) / 2
    assert rates == pytest.approx([(PRIOR * mean + 1.7) / (PRIOR + 2), mean, mean, mean])
    # Image 0 has class 0 first and is left out of its rate; the others have class 1, which nobody was asked about.
    assert without == pytest.approx([(PRIOR * mean + 0.8) / (PRIOR + 1), mean, mean])


def test_one_image_that_goes_wholly_wrong_finds_a_class_out() -> None:
    for k in (3, 4, 5):
        found = Candidates(np.tile(np.arange(k), (k, 1)), np.tile(np.log(np.full(k, 1 / k)), (k, 1)))
        said = np.log(np.where(np.eye(k), 0.95, 0.05 / (k - 1)))
        said[0] = np.roll(said[0], 1)  # of class 0 it says class 1
        rates, _ = recognition(found, said, np.arange(k), k)
        assert rates[0] <= 1 / k < rates[1:].min()


@pytest.mark.parametrize("seed", range(5))
def test_no_class_that_is_found_out_ends_worse_than_retrieved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, said, truth = world(600, rng)
    worth = weigh(found, said, truth, basis="leave-one-out", num_classes=CLASSES)
    assert worth.weight.weight > 0
    assert worth.known is not None
    assert not worth.known[:UNKNOWN].any()
    assert worth.known[UNKNOWN:].all()
    new, heard, true = world(3000, rng)
    heard = np.where(worth.hears(new)[:, None], heard, np.nan)
    answer = named(new, fuse(new.log_probs, heard, worth.weight.weight, temperature=worth.weight.temperature))
    alone = likeliest(new)
    lacking = true < UNKNOWN
    assert (answer[lacking] == true[lacking]).mean() >= (alone[lacking] == true[lacking]).mean()
    assert (answer == true).mean() > (alone == true).mean() + 0.02


def test_an_mllm_that_says_anything_is_not_heard() -> None:
    found, said, truth = world(600, np.random.default_rng(0), knows=False)
    assert weigh(found, said, truth, basis="leave-one-out", num_classes=CLASSES).weight.weight == 0


def test_without_labels_every_class_is_heard() -> None:
    found, said, _ = world(600, np.random.default_rng(0))
    worth = weigh(found, said, np.full(600, -1), basis="agreement", num_classes=CLASSES)
    assert worth.known is None
    assert worth.hears(found).all()
    assert worth.weight.weight > 0


def test_rows_without_an_answer_teach_nothing() -> None:
    found, said, truth = world(300, np.random.default_rng(1))
    silent = np.vstack([said, np.full((50, 4), np.nan)])
    more = Candidates(
        np.vstack([found.classes, found.classes[:50]]), np.vstack([found.log_probs, found.log_probs[:50]])
    )
    rates, _ = recognition(found, said, truth, CLASSES)
    assert recognition(more, silent, np.concatenate([truth, truth[:50]]), CLASSES)[0] == pytest.approx(rates)
