"""The memory's rules, against a plain list of rows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import EncoderError, FgvrError, InputError
from fgvr.memory import Memory, nearest, nearest_others
from tests.memory.vectors import content, empty, filled, scattered


def test_names_come_in_order_of_first_appearance_and_labels_point_at_them():
    memory = empty()
    assert memory.add("image", ["Tern", "Wren", "Tern"], scattered(3), sources=["a", "b", "c"]) == 3
    assert memory.add("text", ["Heron", "Wren"], scattered(2, seed=1)) == 2
    assert memory.names == ("Tern", "Wren", "Heron")
    assert memory.images.labels.tolist() == [0, 1, 0]
    assert memory.texts.labels.tolist() == [2, 1]
    assert memory.images.sources == ("a", "b", "c")
    assert memory.counts("image").tolist() == [2, 1, 0]
    assert memory.version == 2
    np.testing.assert_array_equal(memory.images.vectors, scattered(3))  # unit vectors are kept bit for bit
    assert repr(memory) == "Memory(stub, 8-d, 3 classes, 3 images, 2 texts, version 2)"


def test_the_same_content_is_kept_once_a_class_and_kind():
    memory = empty()
    vectors = scattered(3)
    added = memory.add("image", ["Wren", "Wren", "Tern"], vectors, hashes=["x", "x", "x"])
    assert added == 2
    assert memory.add("image", ["Wren", "Tern"], vectors[1:], hashes=["x", "x"]) == 0
    assert memory.version == 1  # nothing changed
    assert memory.add("text", ["Wren"], vectors[:1], hashes=["x"]) == 1
    assert memory.images.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(memory.images.vectors, vectors[[0, 2]])


def test_without_hashes_the_vector_itself_is_the_content():
    memory = empty()
    assert memory.add("image", ["Wren"] * 4, scattered(2)[[0, 1, 0, 1]]) == 2
    assert len({*memory.images.hashes}) == 2


def test_removing_closes_the_gap_and_forgets_both_kinds():
    memory = filled()
    heron = memory.images.vectors[3:6].copy()
    memory.remove("Wren")
    assert memory.names == ("Heron", "Tern")
    assert memory.images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert memory.texts.labels.tolist() == [0, 1]
    assert memory.images.ids.tolist() == [3, 4, 5, 6, 7, 8]
    np.testing.assert_array_equal(memory.images.vectors[:3], heron)
    memory.add("image", ["Wren"], scattered(1, seed=9))
    assert memory.names == ("Heron", "Tern", "Wren")
    assert memory.images.ids[-1] == 12  # never used before


def test_update_replaces_one_kind_and_is_one_change():
    memory = filled()
    memory.update("image", "Heron", scattered(2, seed=5), sources=["new", "newer"])
    assert memory.version == 3
    assert memory.images.sources == ("0.jpg", "1.jpg", "2.jpg", "6.jpg", "7.jpg", "8.jpg", "new", "newer")
    assert memory.images.labels.tolist() == [0, 0, 0, 2, 2, 2, 1, 1]
    assert memory.texts.labels.tolist() == [0, 1, 2]


def test_a_class_lives_as_long_as_it_has_a_row():
    memory = filled()
    memory.update("image", "Heron", np.empty((0, 8)))
    assert memory.names == ("Wren", "Heron", "Tern")
    assert memory.counts("image").tolist() == [3, 0, 3]
    memory.update("text", "Heron", np.empty((0, 8)))
    assert memory.names == ("Wren", "Tern")
    assert memory.images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert memory.texts.labels.tolist() == [0, 1]


def test_renaming():
    memory = filled()
    memory.rename("Wren", "Winter Wren")
    assert memory.names == ("Winter Wren", "Heron", "Tern")
    assert memory.version == 3
    memory.rename("Tern", "Tern")
    assert memory.version == 3
    with pytest.raises(InputError, match="already has a class"):
        memory.rename("Tern", "Heron")
    with pytest.raises(InputError, match="no class of this name"):
        memory.rename("Eagle", "Harpy")


@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        (scattered(2, 7), "another dimension"),
        (scattered(2)[0], "another dimension"),
        (np.full((2, 8), np.nan), "finite values"),
        (np.array([[np.inf] + [0.0] * 7] * 2), "finite values"),
        (np.zeros((2, 8)), "unit norm"),
        (1.01 * scattered(2), "unit norm"),
    ],
)
def test_vectors_that_do_not_belong_are_refused_and_nothing_changes(vectors, error):
    memory = filled()
    before = content(memory)
    for act in (
        lambda: memory.add("image", ["Wren", "New"], vectors),
        lambda: memory.update("image", "Wren", vectors),
    ):
        with pytest.raises(EncoderError, match=error) as caught:
            act()
        assert caught.value.remedy
        assert content(memory) == before


def test_half_precision_is_forgiven_and_renormalised():
    memory = empty()
    rough = scattered(50).astype(np.float16).astype(np.float32)
    memory.add("image", ["Wren"] * 50, rough)
    norms = np.linalg.norm(memory.images.vectors.astype(np.float64), axis=1)
    np.testing.assert_allclose(norms, 1, atol=2e-7)
    assert np.abs(memory.images.vectors - rough).max() < 1e-3


def test_misuse_is_an_input_error():
    memory = filled()
    for act in (
        lambda: memory.add("image", ["Wren"], scattered(2)),
        lambda: memory.add("image", ["Wren"], scattered(1), sources=["a", "b"]),
        lambda: memory.add("image", [" "], scattered(1)),
        lambda: memory.add("image", [None], scattered(1)),
        lambda: memory.add("sound", ["Wren"], scattered(1)),
        lambda: memory.remove("Eagle"),
        lambda: memory.update("text", "Eagle", scattered(1)),
        lambda: memory.rename("Wren", ""),
    ):
        with pytest.raises(InputError) as caught:
            act()
        assert caught.value.remedy


def test_an_empty_memory_one_class_and_too_large_a_k():
    memory = empty()
    indices, cosines = nearest(scattered(2), memory.images.vectors, k=3)
    assert (indices == -1).all()
    assert np.isnan(cosines).all()
    memory.add("image", ["Wren"], scattered(1))
    assert nearest(scattered(2), memory.images.vectors, k=3)[0].tolist() == [[0, -1, -1]] * 2
    memory.remove("Wren")
    assert memory.names == ()
    assert len(memory.images) == 0


def test_another_encoder_dimension_or_preprocessing_is_refused():
    @dataclass
    class Encoder:
        name: str = "stub"
        fingerprint: str = "f" * 64
        dim: int = 8

    memory = filled()
    memory.check_encoder(Encoder())
    memory.check_encoder(Encoder(name="/elsewhere/stub"))  # the same files in another place
    for encoder, message in (
        (Encoder("other", "a" * 64), "another encoder"),
        (Encoder(fingerprint="a" * 64), "other weights, preprocessing or precision"),
        (Encoder(dim=16), "8 dimensions, this encoder makes 16"),
    ):
        with pytest.raises(EncoderError, match=message) as caught:
            memory.check_encoder(encoder)
        assert "memory was made with" in caught.value.remedy
        stranger = Memory.create(encoder.name, encoder.fingerprint, encoder.dim, 1.0)
        with pytest.raises(EncoderError, match=message):
            memory.merge(stranger)


def test_merging_adds_what_is_new():
    memory, other = filled(), filled(seed=7)
    other.rename("Tern", "Eagle")
    shared = memory.images.vectors[:2].copy()
    other.add("image", ["Wren", "Wren"], shared, sources=["x", "y"])
    assert memory.merge(other) == 9 + 3
    assert memory.names == ("Wren", "Heron", "Tern", "Eagle")
    assert memory.counts("image").tolist() == [6, 6, 3, 3]


def test_importing_is_light():
    modules = "fgvr.memory, fgvr.memory.hnsw, fgvr.memory.reduce, fgvr.memory.foreign, fgvr.cli.memory"
    script = f"import sys, {modules}; print(sorted({{'torch', 'transformers', 'scipy', 'faiss'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_neighbours_among_the_rows_of_a_mapped_memory(tmp_path):
    memory = filled(per_class=10)
    expected = nearest_others(memory.images.vectors, k=3)
    memory.save(tmp_path)
    for found, wanted in zip(nearest_others(Memory.load(tmp_path).images.vectors, k=3), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


NAMES = ("Wren", "Heron", "Tern", "Swift")
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "update", "rename"]),
        st.sampled_from(["image", "text"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.integers(0, 3),
    ),
    max_size=12,
)


@given(CHANGES)
@settings(max_examples=120, deadline=None)
def test_any_sequence_of_changes_agrees_with_a_plain_list(changes):
    memory, names, rows, version = empty(), [], {"image": [], "text": []}, 0
    for number, (what, kind, name, other, count) in enumerate(changes):
        vectors = scattered(count, seed=number)
        labels = [name, other, name][:count]
        before = content(memory)
        try:
            if what == "add":
                memory.add(kind, labels, vectors)
            elif what == "remove":
                memory.remove(name)
            elif what == "update":
                memory.update(kind, name, vectors)
            else:
                memory.rename(name, other)
        except FgvrError:
            assert content(memory) == before
            assert what != "add"
            assert name not in names or (what == "rename" and other in names)
            continue
        if what == "add":
            rows[kind] += list(zip(labels, vectors))
            version += count > 0
            names += [label for label in dict.fromkeys(labels) if label not in names]
        elif what == "rename":
            version += name != other
            names = [other if one == name else one for one in names]
            rows = {k: [(other if n == name else n, v) for n, v in held] for k, held in rows.items()}
        else:
            kinds = ("image", "text") if what == "remove" else (kind,)
            for gone in kinds:
                rows[gone] = [(n, v) for n, v in rows[gone] if n != name]
            rows[kind] += [(name, vector) for vector in vectors] if what == "update" else []
            version += 1
        used = {n for held in rows.values() for n, _ in held}
        names = [one for one in names if one in used]
        assert memory.names == tuple(names)
        assert memory.version == version
        for k, held in (("image", memory.images), ("text", memory.texts)):
            assert [memory.names[label] for label in held.labels] == [n for n, _ in rows[k]]
            expected = np.array([v for _, v in rows[k]], dtype=np.float32).reshape(-1, 8)
            np.testing.assert_array_equal(held.vectors, expected)
            assert (np.diff(held.ids) > 0).all()
