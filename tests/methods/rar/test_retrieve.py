from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import EncoderError, InputError
from fgvr.memory.search import Exact
from fgvr.methods.rar import retrieve_scores
from fgvr.methods.rar.retrieve import (
    AS_DESCRIBED,
    AS_RELEASED,
    PlainMemory,
    Retriever,
    RetrieveSettings,
    candidates_for,
    class_scores,
    retrieve,
    same_rows,
)
from fgvr.methods.rar.retrieve_settings import resolved, spread


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def plain_scores(queries, vectors, labels, classes, aggregate, temperature, hits=None, exclude=(), leave_out=None):
    """One query, one class, one row at a time."""
    banned = {(int(q), int(r)) for q, r in exclude}
    out = np.full((len(queries), classes), -np.inf)
    for q, query in enumerate(queries):
        rows = [r for r in range(len(vectors)) if (q, r) not in banned]
        rows = sorted(rows, key=lambda r: (-float(query.astype(float) @ vectors[r].astype(float)), r))[:hits]
        for c in range(classes):
            own = [r for r in range(len(vectors)) if labels[r] == c]
            gone = own[leave_out[q] % len(own)] if leave_out is not None and len(own) > 1 else None
            values = [float(query.astype(float) @ vectors[r].astype(float)) for r in own if r in rows and r != gone]
            if not values:
                continue
            if aggregate == "max":
                out[q, c] = max(values)
            elif aggregate == "mean":
                out[q, c] = sum(values) / len(values)
            else:
                out[q, c] = temperature * math.log(sum(math.exp(v / temperature) for v in values))
    return out


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    aggregate=st.sampled_from(("max", "mean", "softmax-sum")),
    way=st.sampled_from(("all", "hits", "exclude", "exclude and hits", "shots", "shots and exclude")),
)
def test_scores_equal_a_loop_over_rows(seed: int, sizes: list[int], aggregate: str, way: str):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors, queries = unit(rng, len(labels), 5), unit(rng, 4, 5)
    more: dict = {}
    if "exclude" in way and len(labels):
        pairs = np.stack([rng.integers(0, 4, 6), rng.integers(0, len(labels), 6)], axis=1)
        more["exclude"] = np.unique(pairs, axis=0)
    if "hits" in way:
        more["hits"] = 3
    if "shots" in way:
        more["leave_out"] = rng.integers(0, 4, 4)
    found = class_scores(queries, vectors, labels, len(sizes), aggregate=aggregate, temperature=0.1, **more)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, plain_scores(queries, vectors, labels, len(sizes), aggregate, 0.1, **more), atol=2e-5
    )


def test_blocks_of_queries_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    memory = PlainMemory.of("abcdef", images=(unit(rng, 40, 8), rng.integers(0, 6, 40)), texts=unit(rng, 6, 8))
    queries, pairs = unit(rng, 23, 8), np.array([[0, 1], [11, 3], [22, 39]])
    rows, labels = memory.images.vectors, memory.images.labels
    whole = class_scores(queries, rows, labels, 6, exclude=pairs), retrieve(queries, memory)
    monkeypatch.setattr(retrieve_scores, "TILE", 130)
    parts = class_scores(queries, rows, labels, 6, exclude=pairs), retrieve(queries, memory)
    np.testing.assert_allclose(whole[0], parts[0], atol=1e-6)
    assert (whole[1].classes == parts[1].classes).all()
    np.testing.assert_allclose(whole[1].log_probs, parts[1].log_probs, atol=1e-5)


def test_any_searcher_finds_the_hits():
    rng = np.random.default_rng(1)
    vectors, queries, labels = unit(rng, 30, 6), unit(rng, 5, 6), rng.integers(0, 7, 30)

    wanted = []

    class Asked(Exact):
        def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            wanted.append(k)
            return super().search(queries, k)

    found = class_scores(queries, vectors, labels, 7, hits=4, searcher=Asked(vectors), exclude=np.array([[2, 5]]))
    np.testing.assert_allclose(found, plain_scores(queries, vectors, labels, 7, "max", 1, 4, [(2, 5)]), atol=1e-6)
    assert wanted == [5], "one more, because one may be excluded"


def test_copies_by_content_hash_are_excluded_together():
    assert same_rows(("a", "b", "a", "", "")).tolist() == [[0, 0], [0, 2], [1, 1], [2, 0], [2, 2], [3, 3], [4, 4]]
    rng = np.random.default_rng(2)
    vectors = unit(rng, 4, 8)
    vectors[2] = vectors[0]
    labels = np.array([0, 1, 1, 0])
    found = class_scores(vectors, vectors, labels, 2, exclude=same_rows(("a", "b", "a", "c")))
    assert found.max() < 0.99, "no image meets itself or its copy"


def test_more_shots_than_one_by_hand():
    """Cosines 0.9 and 0.5 against 0.8: max prefers the first class, mean the second."""
    queries = np.array([[1.0, 0.0]], dtype=np.float32)
    cosines = np.array([0.9, 0.5, 0.8])
    vectors = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 1])
    assert class_scores(queries, vectors, labels, 2, aggregate="max")[0] == pytest.approx([0.9, 0.8])
    assert class_scores(queries, vectors, labels, 2, aggregate="mean")[0] == pytest.approx([0.7, 0.8])
    soft = class_scores(queries, vectors, labels, 2, aggregate="softmax-sum", temperature=0.1)[0]
    assert soft == pytest.approx([0.9 + 0.1 * math.log(1 + math.exp(-4)), 0.8])


def test_a_query_is_pooled_by_hand():
    queries = np.array([[1.0, 0.0]], dtype=np.float32)
    images = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    texts = np.array([[0.0, 1.0], [0.8, 0.6]], dtype=np.float32)
    memory = PlainMemory.of("ab", images=(images, np.arange(2)), texts=texts)
    chosen = RetrieveSettings(image_temperature=0.2, text_temperature=0.4, image_weight=0.5, text_weight=2.0)
    # image logits 5 and 3, text logits 0 and 2: pooled 2.5 - 0 against 1.5 + 4
    found = retrieve(queries, memory, chosen)
    assert found.classes.tolist() == [[1, 0, -1, -1, -1]]
    assert np.exp(found.log_probs[0, 0]) == pytest.approx(1 / (1 + math.exp(2.5 - 5.5)), rel=1e-5)
    assert np.isneginf(found.log_probs[0, 2:]).all()
    assert retrieve(queries, memory, replace(chosen, source="image")).classes[0, 0] == 0
    only = retrieve(queries, memory, replace(chosen, source="text"))
    assert np.exp(only.log_probs[0, 0]) == pytest.approx(1 / (1 + math.exp(-2)), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 8), k=st.integers(1, 9), hits=st.sampled_from([None, 2]))
def test_candidates_are_distinct_sorted_and_probable(seed: int, classes: int, k: int, hits: int | None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 12)
    memory = PlainMemory.of("abcdefgh"[:classes], images=(unit(rng, 12, 4), labels), texts=unit(rng, classes, 4))
    queries = unit(rng, 6, 4)
    found = retrieve(queries, memory, RetrieveSettings(k=k, hits=hits))
    everything = Retriever.of(memory, RetrieveSettings(hits=hits)).log_probs(queries)
    np.testing.assert_allclose(np.exp(everything).sum(axis=1), 1.0, atol=1e-5)
    for row, values, own in zip(found.classes, found.log_probs, everything, strict=True):
        kept = row[row >= 0]
        assert len(kept) == min(k, classes) == len(set(kept.tolist()))
        np.testing.assert_array_equal(values[: len(kept)], own[kept])
        assert kept.tolist() == np.argsort(-own, kind="stable")[: len(kept)].tolist()


def test_equal_classes_come_in_the_order_of_their_indices():
    one = np.array([[1.0, 0.0]], dtype=np.float32)
    memory = PlainMemory.of([str(i) for i in range(400)], images=(np.repeat(one, 400, axis=0), np.arange(400)))
    assert retrieve(one, memory).classes.tolist() == [[0, 1, 2, 3, 4]]
    best = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    images = np.concatenate([np.repeat(best[1:], 200, axis=0), best[:1], np.repeat(best[1:], 199, axis=0)])
    memory = replace(memory, images=replace(memory.images, vectors=images))
    assert retrieve(one, memory).classes.tolist() == [[200, 0, 1, 2, 3]]


def test_released_keeps_duplicates_and_described_does_not():
    cosines = np.array([0.99, 0.98, 0.97, 0.5, 0.4, 0.3])
    images = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)
    memory = PlainMemory.of("abcd", images=(images, np.array([2, 2, 0, 2, 1, 3])))
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    released = retrieve(query, memory, AS_RELEASED)
    assert released.classes.tolist() == [[2, 2, 0, 2, 1]]
    assert released.log_probs[0, 0] == released.log_probs[0, 1] == released.log_probs[0, 3]
    assert retrieve(query, memory, AS_DESCRIBED).classes.tolist() == [[2, 0, 1, 3, -1]]
    assert retrieve(query, memory, replace(AS_RELEASED, k=9)).classes.tolist() == [[2, 2, 0, 2, 1, 3, -1, -1, -1]]
    assert (candidates_for(4), candidates_for(1), candidates_for(16)) == (4, 5, 5)


def test_the_hits_limit_what_the_released_code_can_see():
    """With 100 hits of one class, no other class exists for it; fused, the rest is bounded and not vetoed."""
    near, far = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    images = np.stack([near] * 100 + [far] * 2).astype(np.float32)
    memory = PlainMemory.of("ab", images=(images, np.array([0] * 100 + [1] * 2)), texts=np.eye(2, dtype=np.float32))
    query = near[None].astype(np.float32)
    found = retrieve(query, memory, replace(AS_RELEASED, distinct=True))
    assert found.classes.tolist() == [[0, -1, -1, -1, -1]]
    fused = retrieve(query, memory, RetrieveSettings(hits=100, aggregate="max"))
    assert fused.classes[0, :2].tolist() == [0, 1]
    assert np.isfinite(fused.log_probs[0, 1])


def mixed(rng: np.random.Generator) -> tuple[PlainMemory, np.ndarray, np.ndarray]:
    """20 classes around their texts, images of the first 10 only; queries of all."""
    centres = unit(rng, 20, 16)
    labels = np.repeat(np.arange(10), 4)
    images = centres[labels] + 0.15 * rng.normal(size=(40, 16))
    truth = np.repeat(np.arange(20), 10)
    queries = centres[truth] + 0.15 * rng.normal(size=(200, 16))
    texts = centres + 0.1 * rng.normal(size=(20, 16))
    images, queries, texts = (
        (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (images, queries, texts)
    )
    names = [f"class {i}" for i in range(20)]
    return PlainMemory.of(names, images=(images, labels), texts=texts, logit_scale=10.0), queries, truth


def test_a_class_known_by_name_alone_is_neither_favoured_nor_lost():
    memory, queries, truth = mixed(np.random.default_rng(0))
    chances = np.exp(Retriever.of(memory, RetrieveSettings(image_temperature=0.1)).log_probs(queries))
    right = chances.argmax(axis=1) == truth
    named = truth >= 10
    assert min(right[named].mean(), right[~named].mean()) > 0.9
    assert chances[:, 10:].sum(axis=1).mean() == pytest.approx(0.5, abs=0.1), "half of the queries are of such classes"
    imageless = replace(memory, texts=replace(memory.texts, vectors=memory.texts.vectors[:5], labels=np.arange(5)))
    found = retrieve(queries, imageless, RetrieveSettings(k=20))
    assert (found.sizes == 10).all(), "classes without any row are never candidates"
    assert (found.classes[truth < 10, 0] == truth[truth < 10]).mean() > 0.9


def test_a_class_with_one_side_counts_by_that_side_twice():
    """Three classes; the third has no image. Its pooled log-probability is (w_i + w_t) log p_text."""
    rng = np.random.default_rng(5)
    memory = PlainMemory.of("abc", images=(unit(rng, 2, 4), np.arange(2)), texts=unit(rng, 3, 4))
    chosen = RetrieveSettings(image_temperature=0.3, text_temperature=0.5, image_weight=0.7, text_weight=0.4)
    query = unit(rng, 1, 4)
    image, text = (query @ memory.images.vectors.T)[0] / 0.3, (query @ memory.texts.vectors.T)[0] / 0.5
    image, text = image - np.log(np.exp(image).sum()), text - np.log(np.exp(text).sum())
    pooled = np.array([0.7 * image[0] + 0.4 * text[0], 0.7 * image[1] + 0.4 * text[1], 1.1 * text[2]])
    expected = pooled - np.log(np.exp(pooled).sum())
    np.testing.assert_allclose(Retriever.of(memory, chosen).log_probs(query)[0], expected, atol=1e-5)


def test_several_texts_of_a_class_are_averaged():
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    vectors = np.array([[1, 0], [0, 1], [0.8, 0.6]], dtype=np.float32)
    memory = PlainMemory.of("ab", texts=vectors[:2])
    texts = replace(memory.texts, vectors=vectors, labels=np.array([0, 0, 1]))
    found = retrieve(query, replace(memory, texts=texts), RetrieveSettings(text_temperature=1.0))
    assert found.classes[0, :2].tolist() == [1, 0], "0.8 against the mean of 1 and 0"


def test_one_class_only_is_certain():
    rng = np.random.default_rng(3)
    memory = PlainMemory.of(["only"], images=(unit(rng, 3, 4), np.zeros(3, int)), texts=unit(rng, 1, 4))
    for source in ("image", "text", "fused"):
        found = retrieve(unit(rng, 2, 4), memory, RetrieveSettings(k=3, source=source))
        assert found.classes.tolist() == [[0, -1, -1]] * 2
        assert found.log_probs[:, 0] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_what_a_memory_lacks_is_said():
    rng = np.random.default_rng(4)
    texts_only = PlainMemory.of("ab", texts=unit(rng, 2, 4))
    assert retrieve(unit(rng, 1, 4), texts_only).sizes.tolist() == [2], "fused means what there is"
    with pytest.raises(InputError, match="any image"):
        retrieve(unit(rng, 1, 4), texts_only, AS_RELEASED)
    with pytest.raises(InputError, match="anything"):
        retrieve(unit(rng, 1, 4), PlainMemory.of("ab"))
    with pytest.raises(EncoderError, match="dimensions"):
        retrieve(unit(rng, 1, 5), texts_only)
    assert len(retrieve(np.empty((0, 4), np.float32), texts_only)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"hits": 0},
        {"source": "sound"},
        {"distinct": False},
        {"temperature": 0.0},
        {"image_temperature": -1.0},
        {"image_weight": -0.1},
        {"image_weight": 0.0, "text_weight": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"must be|kept among|not both"):
        RetrieveSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"aggregate": "median"}, {"temperature": 0.0}, {"hits": 1, "leave_out": np.zeros(1)}]
)
def test_scores_refuse_arguments_that_do_not_fit(wrong: dict):
    rng = np.random.default_rng(6)
    with pytest.raises(ValueError, match="must be"):
        class_scores(unit(rng, 1, 3), unit(rng, 2, 3), np.arange(2), 2, **wrong)
    with pytest.raises(ValueError, match="labels"):
        class_scores(unit(rng, 1, 3), unit(rng, 2, 3), np.arange(2), 1)


def test_what_is_not_set_follows_from_the_memory():
    rng = np.random.default_rng(7)
    vectors, labels = unit(rng, 50, 12), np.repeat(np.arange(10), 5)
    memory = PlainMemory.of(
        [str(i) for i in range(10)], images=(vectors, labels), texts=unit(rng, 10, 12), logit_scale=50
    )
    other = (vectors @ vectors.T)[labels[:, None] != labels]
    found = resolved(RetrieveSettings(), memory)
    assert found.image_temperature == pytest.approx(other.std() / 2, rel=1e-4)
    assert found.temperature == pytest.approx(other.std() / 4, rel=1e-4)
    assert found.text_temperature == pytest.approx(0.02)
    assert resolved(replace(found, image_temperature=0.3), memory).image_temperature == 0.3
    assert spread(vectors, np.zeros(50, int)) == 0.1
    assert spread(np.repeat(vectors[:1], 4, axis=0), np.arange(4)) == pytest.approx(1e-3)


def test_a_real_memory_is_retrieved_from():
    from fgvr.memory import Memory

    rng = np.random.default_rng(8)
    memory = Memory.create("none", "f", 6, 30.0)
    images, texts = unit(rng, 6, 6), unit(rng, 3, 6)
    memory.add("image", ["a", "b", "a", "b", "c", "c"], images)
    memory.add("text", ["a", "b", "c"], texts)
    plain = PlainMemory.of("abc", images=(images, np.array([0, 1, 0, 1, 2, 2])), texts=texts, logit_scale=30.0)
    queries = unit(rng, 9, 6)
    one, other = retrieve(queries, memory), retrieve(queries, plain)
    assert (one.classes == other.classes).all()
    np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)
