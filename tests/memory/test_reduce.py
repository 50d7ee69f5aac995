"""Real reduction: PCA against an independent SVD, product quantisation against its definition, and what both cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fgvr.errors import EncoderError, InputError, RunError
from fgvr.memory import Exact, recall
from fgvr.memory.pieces import Pieces
from fgvr.memory.reduce import Pca, PcaSearch, Pq, fit_pca
from tests.memory.vectors import clusters, scattered, unit


def flat_world(count: int = 400, *, inside: int = 6, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Vectors that lie near a space of few dimensions, away from the origin."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    within = rng.normal(size=(count, inside)) * np.linspace(3, 1, inside)
    return unit(within @ basis[:inside] + 2 * basis[inside] + 0.01 * rng.normal(size=(count, dim)))


def test_pca_is_that_of_the_singular_value_decomposition():
    vectors = flat_world()
    pca = fit_pca(vectors, dim=5)
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    for found, expected in zip(pca.directions, directions[:5], strict=True):
        assert abs(abs(found @ expected) - 1) < 1e-5
        assert found[np.abs(found).argmax()] > 0
    assert pca.kept == pytest.approx((values[:5] ** 2).sum() / (values**2).sum(), abs=1e-6)
    flat = centred @ pca.directions.T
    np.testing.assert_allclose(pca.apply(vectors), flat / np.linalg.norm(flat, axis=1, keepdims=True), atol=1e-5)


def test_pca_does_not_depend_on_pieces_and_comes_back(tmp_path: Path):
    vectors = flat_world()
    pca = fit_pca(vectors, dim=4)
    parts = fit_pca(Pieces([vectors[:1], vectors[1:250], vectors[250:]], dim=24), dim=4)
    np.testing.assert_allclose(parts.directions, pca.directions, atol=1e-5)
    pca.save(tmp_path / "pca")
    again = Pca.load(tmp_path / "pca")
    np.testing.assert_array_equal(again.apply(vectors), pca.apply(vectors))
    assert again.kept == pca.kept


def test_recall_of_pca_grows_with_the_dimensions_kept():
    vectors = flat_world()
    values = [recall(PcaSearch(fit_pca(vectors, dim=dim), vectors), vectors).value for dim in (1, 3, 6)]
    assert values == sorted(values)
    assert values[0] < 0.4
    assert values[-1] > 0.85
    found, cosines = PcaSearch(fit_pca(vectors, dim=3), vectors).search(vectors[:2], 3)
    assert found[:, 0].tolist() == [0, 1]
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-6)


def test_pca_refuses_what_cannot_be():
    for dim in (0, 25, 400):
        with pytest.raises(InputError, match="cannot be found"):
            fit_pca(flat_world(), dim=dim)
    with pytest.raises(InputError, match="cannot be found"):
        fit_pca(flat_world(3), dim=3)
    with pytest.raises(EncoderError, match="another dimension"):
        fit_pca(flat_world(), dim=3).apply(scattered(2, 9))
    same = np.repeat(scattered(1, 8), 5, axis=0)
    np.testing.assert_allclose(np.linalg.norm(fit_pca(same, dim=2).apply(same), axis=1), 1)


def test_quantised_cosines_are_those_with_the_nearest_centres():
    pytest.importorskip("faiss")
    vectors, queries = clusters(700, 16), scattered(5, 16, seed=3)
    pq = Pq.fit(vectors, parts=4)
    assert pq.centres.shape == (4, 256, 4)
    assert pq.codes.shape == (700, 4)
    cut = vectors.reshape(-1, 4, 4)
    distances = ((cut[:, :, None] - pq.centres[None]) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(pq.codes, distances.argmin(axis=-1))
    rebuilt = pq.centres[np.arange(4), pq.codes].reshape(700, 16)
    found, cosines = pq.search(queries, 6)
    expected = np.sort(queries @ rebuilt.T, axis=1)[:, ::-1][:, :6]
    np.testing.assert_allclose(cosines, expected, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(queries @ rebuilt.T, found, axis=1), expected, atol=1e-5)


def test_recall_of_quantisation_grows_with_the_bytes_kept():
    pytest.importorskip("faiss")
    vectors = clusters(1500, 32)
    values = [recall(Pq.fit(vectors, parts=parts), vectors).value for parts in (2, 8, 32)]
    assert values == sorted(values)
    assert values[0] < 0.7 < 0.9 < values[-1]


def test_quantisation_is_repeatable_grows_and_comes_back(tmp_path: Path):
    pytest.importorskip("faiss")
    vectors = clusters(500, 16)
    pq = Pq.fit(vectors[:300], parts=8, seed=1)
    np.testing.assert_array_equal(pq.centres, Pq.fit(vectors[:300], parts=8, seed=1).centres)
    pq.add(vectors[300:])
    assert len(pq) == 500
    pq.save(tmp_path / "pq")
    again = Pq.load(tmp_path / "pq")
    for one, other in zip(pq.search(vectors[:9], 4), again.search(vectors[:9], 4), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RunError, match="no stored reduction of this kind"):
        Pca.load(tmp_path / "pq")


def test_quantisation_of_few_vectors_and_of_what_does_not_divide():
    pytest.importorskip("faiss")
    few = scattered(3)
    pq = Pq.fit(few, parts=4)
    assert pq.search(few, 1)[0].tolist() == [[0], [1], [2]]
    found, cosines = pq.search(few[:1], 5)
    assert (found[0, 3:] == -1).all()
    assert np.isnan(cosines[0, 3:]).all()
    assert pq.search(few, 0)[0].shape == (3, 0)
    for parts, vectors in ((3, few), (0, few), (4, few[:0])):
        with pytest.raises(InputError, match="cannot be quantised"):
            Pq.fit(vectors, parts=parts)
    with pytest.raises(EncoderError, match="different dimensions"):
        pq.search(scattered(1, 9), 1)
    assert recall(Exact(few), few, k=1).value == 1.0
