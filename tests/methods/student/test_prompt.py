"""The prompt head is NeaR's tuning on soft labels: the same numbers on hard ones, and it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from fgvr.methods.near import no_sets, tune
from fgvr.methods.near.calibrate import log_likelihood
from fgvr.methods.near.settings import FAST
from fgvr.methods.student.prompt import as_candidates, prompt_head
from tests.methods.near.world import NAMES, ProjectionEncoder, clustered, noisy

C = len(NAMES)


def hard(labels: np.ndarray) -> csr_matrix:
    rows = np.eye(C, dtype=np.float32)[labels] * (labels >= 0)[:, None]
    return csr_matrix(rows)


@pytest.fixture(scope="module")
def world():
    features, true = clustered(4, seed=1)
    return features, noisy(true, share=0.2, classes=C, seed=2), true


def test_soft_labels_become_candidate_sets_with_their_weights():
    soft = csr_matrix(np.array([[0.2, 0.0, 0.5], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32))
    sets = as_candidates(soft)
    assert [sets[row].tolist() for row in range(3)] == [[0, 2], [], [1]]
    np.testing.assert_array_equal(sets.weights(3), soft.toarray())
    again = csr_matrix((np.array([0.5, 0.2, 0.0]), np.array([2, 0, 1]), np.array([0, 3, 3, 3])), shape=(3, 3))
    assert as_candidates(again)[0].tolist() == [0, 2]  # stored zeros and unsorted rows make no difference
    assert again.nnz == 3  # and what was given is left alone


def test_on_hard_labels_it_is_nears_tuning(world):
    features, labels, _ = world
    labels = np.where(np.arange(len(labels)) % 5 == 0, -1, labels)
    encoder = ProjectionEncoder()
    head = prompt_head(features, hard(labels), NAMES, encoder, epochs=4, seed=3)
    settings = replace(FAST, epochs=4)
    tuned = tune(features[labels >= 0], no_sets(labels[labels >= 0]), encoder.prompt_tower(), settings,
                 names=NAMES, logit_scale=30.0, seed=3)  # fmt: skip
    np.testing.assert_allclose(head.weights, 30.0 * tuned.text_features, rtol=1e-4, atol=1e-4)
    assert not head.bias.any()


def test_soft_labels_stay_the_targets_and_weigh_images(world):
    """One step from the first context: Adam's first step is the sign of the gradient, here written out."""
    features, labels, _ = world
    rng = np.random.default_rng(0)
    soft = rng.random((len(features), C)) * (rng.random((len(features), C)) < 0.2) / C
    soft = (soft + 0.5 * np.eye(C)[labels]).astype(np.float32)
    encoder = ProjectionEncoder()
    head = prompt_head(features, csr_matrix(soft), NAMES, encoder, epochs=2, learning_rate=0.05)
    tower = encoder.prompt_tower()
    tower.set_names(NAMES)
    context = tower.initial_context(16, words="a photo of a", seed=0).requires_grad_()
    optimiser = torch.optim.AdamW([context], lr=0.05, weight_decay=0.0)
    for rate in (1e-5, 0.05):  # CoOp's warm-up epoch, then the schedule's start
        for group in optimiser.param_groups:
            group["lr"] = rate
        log_p = (30.0 * torch.as_tensor(features) @ tower(context).T).log_softmax(dim=1)
        optimiser.zero_grad()
        (-(torch.as_tensor(soft) * log_p).sum() / len(features)).backward()
        optimiser.step()
    np.testing.assert_allclose(head.weights, 30.0 * tower(context).detach().numpy(), rtol=1e-3, atol=1e-2)


def test_it_learns_what_the_tower_misunderstands(world):
    features, _, true = world
    encoder = ProjectionEncoder(gap=0.6)
    first, last = (prompt_head(features, hard(true), NAMES, encoder, epochs=epochs) for epochs in (1, 60))
    before, after = (log_likelihood(head.logits(features), hard(true).toarray(), 1.0) for head in (first, last))
    assert after > before + 0.5


def test_a_bound_on_images_takes_the_surest_and_the_seed_fixes_all(world):
    features, labels, _ = world
    encoder = ProjectionEncoder()
    sure = np.where(np.arange(len(labels)) % 2, 1.0, 0.1).astype(np.float32)
    soft = hard(labels).multiply(sure[:, None]).tocsr()
    one, again = (prompt_head(features, soft, NAMES, encoder, epochs=3, most=10).weights for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, prompt_head(features, soft, NAMES, encoder, epochs=3).weights)


def test_what_does_not_fit_is_refused(world):
    features, labels, _ = world
    with pytest.raises(ValueError, match="names do not fit"):
        prompt_head(features, hard(labels), NAMES[1:], ProjectionEncoder())
    with pytest.raises(ValueError, match="no image has a label"):
        prompt_head(features, 0 * hard(labels), NAMES, ProjectionEncoder())
