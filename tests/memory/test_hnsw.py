"""HNSW through faiss: measured against exact search, changed like the memory it follows, believed only when whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import EncoderError, MissingExtraError, RunError
from fgvr.memory import Memory, Rows, hnsw, index_file, nearest, recall
from fgvr.memory.hnsw import AS_RELEASED, MOST_REMOVED, Hnsw
from fgvr.memory.reduce import Pq
from fgvr.runs import load_arrays, save_arrays
from tests.memory.vectors import clusters, empty, filled, scattered

faiss = pytest.importorskip("faiss")


def saved(index: Hnsw, path: Path) -> bytes:
    index.save(path)
    return path.read_bytes()


def agrees(index: Hnsw, vectors: np.ndarray, queries: np.ndarray, *, k: int) -> None:
    """Small graphs find everything; the answer is then exact search's, to the bit."""
    for found, expected in zip(index.search(queries, k), nearest(queries, vectors, k=k), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_finds_what_exact_search_finds_and_recall_is_measured():
    memory = empty(32)
    memory.add("image", ["Wren"] * 2000, clusters(2000, 32))
    index, measured = Hnsw.of_rows(memory.images)
    assert measured.k == 5
    assert measured.queries == 200
    assert measured.value > 0.99
    assert measured == recall(index, memory.images.vectors)
    narrow, less = Hnsw.of_rows(memory.images, degree=4, ef_construction=8, ef_search=4)
    assert 0.2 < less.value < measured.value
    narrow.ef_search = 400
    assert recall(narrow, memory.images.vectors).value > less.value
    agrees(index, memory.images.vectors, memory.images.vectors[:50], k=1)


def test_the_released_settings_are_the_papers_64():
    index = Hnsw.build(scattered(100, 16), **AS_RELEASED)
    assert (index.degree, index.ef_search, index.dim) == (64, 16, 16)
    assert AS_RELEASED["ef_construction"] == faiss.IndexHNSWFlat(16, 64).hnsw.efConstruction  # as faiss has it
    assert AS_RELEASED["ef_search"] == faiss.IndexHNSWFlat(16, 64).hnsw.efSearch


def test_an_index_of_the_released_shape_takes_as_many_bytes_as_the_released_file(tmp_path: Path):
    """600 vectors of 512 dimensions, M = 64: 1,545,206 bytes in the authors' file. Nothing is reduced."""
    index = faiss.IndexHNSWFlat(512, 64, faiss.METRIC_INNER_PRODUCT)
    index.add(scattered(600, 512))
    size = len(faiss.serialize_index(index))
    assert abs(size - 1_545_206) < 5_000  # random levels move a few hundred links
    assert size > 600 * 512 * 4


def test_the_same_rows_make_the_same_graph_however_they_lie(tmp_path: Path):
    vectors = clusters(600, 16)
    memory = empty(16)
    for start in (0, 7, 300):
        stop = {0: 7, 7: 300, 300: 600}[start]
        memory.add("image", ["Wren"] * (stop - start), vectors[start:stop])
    first = saved(Hnsw.build(vectors), tmp_path / "a")
    assert saved(Hnsw.build(vectors), tmp_path / "b") == first
    assert saved(Hnsw.of_rows(memory.images)[0], tmp_path / "c") == first


@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(1, 40)), min_size=1, max_size=8),
    st.integers(1, 12),
)
@settings(max_examples=25, deadline=None)
def test_adding_and_removing_keep_the_numbers_of_an_array(seed, changes, k):
    rng = np.random.default_rng(seed)
    vectors = scattered(60, 8, seed=seed)
    index = Hnsw.build(vectors)
    for number, (what, count) in enumerate(changes):
        if what == "add":
            new = scattered(count, 8, seed=seed + number + 1)
            index.add(new)
            vectors = np.concatenate([vectors, new])
        else:
            gone = rng.permutation(len(vectors))[:count]
            index.remove(gone)
            vectors = np.delete(vectors, gone, axis=0)
        assert len(index) == len(vectors)
        assert index.nodes - len(index) <= MOST_REMOVED * index.nodes
        agrees(index, vectors, scattered(6, 8, seed=seed + 100), k=k)


def test_k_rows_are_found_whenever_there_are_k():
    """The nearest are all removed, and the search is far too narrow."""
    vectors = clusters(1200, 16, per=300, spread=0.05)
    query = vectors[:1]
    near = nearest(query, vectors, k=290)[0][0]
    index = Hnsw.build(vectors, degree=4, ef_construction=4, ef_search=1)
    index.remove(near)
    assert index.nodes == 1200  # marked, not rebuilt
    left = np.delete(vectors, near, axis=0)
    found, cosines = index.search(query, 20)
    assert (found >= 0).all()
    assert len({*found[0]}) == 20
    np.testing.assert_allclose(cosines[0], left[found[0]] @ query[0], atol=1e-6)
    found, _ = index.search(query, 1000)
    assert (np.sort(found[0, :910]) == np.arange(910)).all()
    assert (found[0, 910:] == -1).all()


def test_an_empty_index_one_row_and_too_large_a_k():
    index = Hnsw.build(np.empty((0, 8), np.float32))
    found, cosines = index.search(scattered(2), 3)
    assert (found == -1).all()
    assert np.isnan(cosines).all()
    index.add(scattered(1))
    assert index.search(scattered(2), 3)[0].tolist() == [[0, -1, -1]] * 2
    index.remove(np.array([0]))
    assert (index.search(scattered(2), 3)[0] == -1).all()
    assert index.search(scattered(2), 0)[0].shape == (2, 0)


def test_another_dimension_is_refused():
    index = Hnsw.build(scattered(5))
    with pytest.raises(EncoderError, match="dimension"):
        index.add(scattered(2, 9))
    with pytest.raises(EncoderError, match="dimension"):
        index.search(scattered(2, 9), 1)


def test_follows_a_memory_through_changes_and_files(tmp_path: Path):
    memory = filled(per_class=20)
    memory.save(tmp_path / "memory")
    Hnsw.of_rows(memory.images)[0].save(tmp_path / "index")
    for change in (
        lambda m: m.remove("Heron"),
        lambda m: m.add("image", ["Eagle"] * 5, scattered(5, seed=20)),
        lambda m: m.update("image", "Tern", scattered(30, seed=21)),
        lambda m: m.remove("Eagle"),
    ):
        memory = Memory.load(tmp_path / "memory")
        change(memory)
        memory.save(tmp_path / "memory")
        index = Hnsw.load(tmp_path / "index")
        index.follow(memory.images)
        agrees(index, memory.images.vectors, scattered(5, seed=22), k=6)
        index.save(tmp_path / "index")


def test_a_memory_older_than_its_index_is_followed_too():
    memory = filled()
    older = memory.images
    index, _ = Hnsw.of_rows(memory.images)
    memory.update("image", "Wren", scattered(1, seed=4))
    index.follow(memory.images)
    index.follow(older)
    agrees(index, older.vectors, scattered(4, seed=5), k=4)


def test_one_other_vector_under_a_known_id_is_noticed():
    rows = filled(per_class=40).images
    index, _ = Hnsw.of_rows(rows)
    vectors = rows.vectors.copy()
    vectors[77] = scattered(1, seed=9)[0]
    with pytest.raises(RunError, match="another memory"):
        index.follow(Rows(vectors, rows.labels, rows.sources, rows.hashes))


def test_many_queries_are_answered_in_blocks(monkeypatch: pytest.MonkeyPatch):
    vectors, queries = scattered(80), scattered(50, seed=1)
    index = Hnsw.build(vectors)
    monkeypatch.setattr(hnsw, "GATHERED", 40)  # three queries at a time
    agrees(index, vectors, queries, k=4)


def test_another_memorys_rows_are_not_followed():
    index, _ = Hnsw.of_rows(filled().images)
    with pytest.raises(RunError, match="another memory"):
        index.follow(filled(seed=3).images)
    with pytest.raises(RunError, match="another memory"):
        index.follow(empty(9).images)
    index.follow(empty().images)
    assert len(index) == 0


def test_comes_back_as_it_was_and_is_an_ordinary_array_file(tmp_path: Path):
    vectors = clusters(300, 16)
    index = Hnsw.build(vectors, ef_search=48)
    index.remove(np.arange(0, 60, 2))
    first = saved(index, tmp_path / "a.safetensors")
    again = Hnsw.load(tmp_path / "a.safetensors")
    assert saved(again, tmp_path / "b.safetensors") == first
    assert (len(again), again.nodes, again.ef_search) == (270, 300, 48)
    agrees(again, np.delete(vectors, np.arange(0, 60, 2), axis=0), clusters(9, 16, seed=1), k=5)
    arrays, _ = load_arrays(tmp_path / "a.safetensors")  # its checksum is that of save_arrays
    np.testing.assert_array_equal(arrays["index"], faiss.serialize_index(index._index))


def test_the_file_is_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    index = Hnsw.build(clusters(500, 32))
    whole = saved(index, tmp_path / "a")
    monkeypatch.setattr(index_file, "PIECE", 1000)
    assert saved(index, tmp_path / "b") == whole
    assert len(Hnsw.load(tmp_path / "b")) == 500


@pytest.mark.parametrize("at", [0.001, 0.3, 0.6, 0.9, 0.9999])
def test_a_changed_byte_is_refused_before_faiss_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float):
    data = bytearray(saved(Hnsw.build(scattered(200, 8)), tmp_path / "index"))
    length = int.from_bytes(data[:8], "little")
    data[8 + length + int(at * (len(data) - 8 - length))] ^= 1
    (tmp_path / "index").write_bytes(data)
    monkeypatch.setattr(faiss, "read_index", lambda *_: pytest.fail("faiss was shown damaged bytes"))
    with pytest.raises(RunError, match="checksum") as caught:
        Hnsw.load(tmp_path / "index")
    assert "anew" in caught.value.remedy


def test_what_is_no_index_is_refused(tmp_path: Path):
    data = saved(Hnsw.build(scattered(50, 8)), tmp_path / "good")
    (tmp_path / "short").write_bytes(data[:-7])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "noise").write_bytes(b"\xff" * 500)
    save_arrays(tmp_path / "foreign", {"vectors": np.zeros((3, 3), np.float32)})
    faiss.write_index(faiss.IndexFlatIP(8), str(tmp_path / "faiss"))
    lied = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    lied["index"]["shape"] = [10**12]
    text = json.dumps(lied).encode()
    (tmp_path / "lie").write_bytes(len(text).to_bytes(8, "little") + text + data[-1000:])
    for name in ("short", "empty", "noise", "foreign", "faiss", "lie"):
        with pytest.raises(RunError, match="damaged"):
            Hnsw.load(tmp_path / name)
    with pytest.raises(RunError, match="no index here"):
        Hnsw.load(tmp_path / "nowhere")


def test_another_kind_of_faiss_index_under_a_good_checksum_is_refused(tmp_path: Path):
    flat = faiss.IndexFlatIP(8)
    flat.add(scattered(3))
    nodes = {"ids": np.arange(3), "alive": np.ones(3, np.uint8), "settings": np.array([64, 1])}
    index_file.write_index_file(tmp_path / "flat", flat, nodes)
    with pytest.raises(RunError, match="no HNSW"):
        Hnsw.load(tmp_path / "flat")


def test_without_faiss_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Hnsw.build(scattered(5)).save(tmp_path / "index")
    monkeypatch.setitem(sys.modules, "faiss", None)
    for act in (
        lambda: Hnsw.build(scattered(5)),
        lambda: Hnsw.load(tmp_path / "index"),
        lambda: Pq.fit(scattered(5), parts=2),
    ):
        with pytest.raises(MissingExtraError, match=r"pip install 'fgvr\[ann\]'"):
            act()
