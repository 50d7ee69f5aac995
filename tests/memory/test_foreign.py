"""Vectors of other software: a miniature of the layout here, the real ones where they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fgvr.errors import EncoderError, ManifestError
from fgvr.memory import Memory, nearest
from fgvr.memory.foreign import read_image_vectors, read_text_vectors
from fgvr.memory.hnsw import Hnsw
from tests.memory.vectors import content, scattered

NAMES = ("black_swan", "Grey Heron", "tern")


def images(folder: Path) -> tuple[Path, Path, Path]:
    """Six vectors of half precision, two a class."""
    np.save(folder / "birds_img.npy", scattered(6, 16).astype(np.float16))
    lines = [f'{row},{row // 2},{row // 2:03d}.x,"{row}, {row}.jpg"' for row in range(6)]
    (folder / "birds_rows.csv").write_text("\n".join(["row,class_id,class_dir,file", *lines, ""]))
    (folder / "birds_classnames.txt").write_text("\n".join([*NAMES, ""]))
    return folder / "birds_img.npy", folder / "birds_rows.csv", folder / "birds_classnames.txt"


def texts(folder: Path) -> tuple[Path, Path]:
    """Three text vectors of norm 10, with LVIS's kind of table."""
    np.save(folder / "texts.npy", 10 * scattered(3, 16, seed=1))
    table = [{"id": 3 - i, "name": name, "frequency": "c"} for i, name in enumerate(reversed(NAMES))]
    (folder / "categories.json").write_text(json.dumps(table))
    return folder / "texts.npy", folder / "categories.json"


def test_images_become_a_memory(tmp_path: Path):
    memory = read_image_vectors(*images(tmp_path), encoder="org/clip-b16")
    assert memory.names == ("black swan", "Grey Heron", "tern")
    assert memory.images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert memory.images.sources[4] == "4, 4.jpg"
    assert (memory.encoder, memory.dim, memory.logit_scale) == ("org/clip-b16", 16, 100.0)
    np.testing.assert_allclose(memory.images.vectors, scattered(6, 16), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(memory.images.vectors, axis=1), 1, atol=1e-6)
    memory.save(tmp_path / "memory")
    assert content(Memory.load(tmp_path / "memory")) == content(memory)


def test_texts_become_a_memory_in_the_order_of_their_ids(tmp_path: Path):
    memory = read_text_vectors(*texts(tmp_path), encoder="org/clip-b32", template="a {}")
    assert memory.names == ("black swan", "Grey Heron", "tern")
    assert memory.texts.sources == ("a black swan", "a Grey Heron", "a tern")
    np.testing.assert_allclose(memory.texts.vectors, scattered(3, 16, seed=1), atol=1e-6)


def test_memories_declared_alike_merge_and_others_are_refused(tmp_path: Path):
    made = images(tmp_path)
    memory = read_image_vectors(*made, encoder="org/clip-b16")
    assert memory.merge(read_text_vectors(*texts(tmp_path), encoder="org/clip-b16")) == 3
    assert memory.texts.labels.tolist() == [0, 1, 2]
    with pytest.raises(EncoderError, match="another encoder; their vectors cannot be compared"):
        memory.merge(read_text_vectors(*texts(tmp_path), encoder="org/clip-b32"))
    with pytest.raises(EncoderError, match="other weights"):
        memory.merge(read_image_vectors(*made, encoder="org/clip-b16", fingerprint="f" * 64))


def test_files_that_do_not_fit_are_refused(tmp_path: Path):
    vectors, rows, names = images(tmp_path)
    good = {path: path.read_bytes() for path in (vectors, rows, names)}

    def npy(array: np.ndarray) -> bytes:
        np.save(tmp_path / "other.npy", array, allow_pickle=True)
        return (tmp_path / "other.npy").read_bytes()

    table = good[rows].decode()
    faults = [
        (vectors, npy(np.array([{}], dtype=object)), "cannot be read"),
        (vectors, npy(np.zeros(5)), "no matrix"),
        (vectors, npy(np.zeros((6, 4), np.int64)), "no matrix"),
        (vectors, npy(np.zeros((0, 16))), "no matrix"),
        (vectors, npy(scattered(5, 16)), "no vector or no class name"),
        (vectors, b"not numpy", "cannot be read"),
        (vectors, good[vectors][:-20], "cannot be read"),
        (rows, b"row,class_id\n0,0\n", "lacks the columns file"),
        (rows, b"row,class_id,file\n", "no rows"),
        (rows, table.replace("5,2,", "5,3,").encode(), "no vector or no class name"),
        (rows, table.replace("5,2,", "-1,2,").encode(), "no vector or no class name"),
        (rows, table.replace("5,2,", "five,2,").encode(), "cannot be read"),
        (rows, b"\xff\xfe\x00", "cannot be read"),
        (names, b"", "no names"),
        (names, b"black swan\nblack_swan\ntern\n", "comes twice"),
        (names, b"\xff", "cannot be read"),
    ]
    for path, damaged, message in faults:
        path.write_bytes(damaged)
        with pytest.raises(ManifestError, match=message) as caught:
            read_image_vectors(vectors, rows, names, encoder="x")
        assert caught.value.remedy
        path.write_bytes(good[path])
    read_image_vectors(vectors, rows, names, encoder="x")
    for fault in (np.zeros((6, 16)), np.full((6, 16), np.nan)):
        vectors.write_bytes(npy(fault))
        with pytest.raises(EncoderError, match="zero or not finite"):
            read_image_vectors(vectors, rows, names, encoder="x")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_image_vectors(tmp_path / "nowhere.npy", rows, names, encoder="x")
    texts(tmp_path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    with pytest.raises(ManifestError, match="3 vectors for 2 names"):
        read_text_vectors(tmp_path / "texts.npy", tmp_path / "two.txt", encoder="x")
    for damaged in ("{", "[1]", '[{"name": "x"}]', '{"name": 1}'):
        (tmp_path / "c.json").write_text(damaged)
        with pytest.raises(ManifestError, match="names cannot be read"):
            read_text_vectors(tmp_path / "texts.npy", tmp_path / "c.json", encoder="x")


CLASSES = {"cub200": 200, "pets37": 37, "flowers102": 102, "cars196": 196, "dogs120": 120}


@pytest.mark.real
@pytest.mark.skipif("FGVR_SHARED" not in os.environ, reason="needs FGVR_SHARED")
def test_the_vectors_that_rar_released_are_a_memory_and_those_of_another_clip_are_refused(tmp_path: Path):
    vectors = Path(os.environ["FGVR_SHARED"]) / "data" / "vectors"
    pytest.importorskip("faiss")
    support, lvis = vectors / "clip_vitb16_support", vectors / "clip_vitb32_lvis_text"
    table = (lvis / "lvis1203_text_vitb32_fp16.npy", lvis / "lvis_v1_categories.json")
    texts = read_text_vectors(*table, encoder="openai/clip-vit-base-patch32", template="a {}")
    assert len(texts.names) == len(texts.texts) == 1203
    for name, classes in CLASSES.items():
        files = (support / f"{name}_{part}" for part in ("img_vitb16.npy", "rows.csv", "classnames.txt"))
        memory = read_image_vectors(*files, encoder="openai/clip-vit-base-patch16")
        assert (len(memory.names), len(memory.images), memory.dim) == (classes, 3 * classes, 512)
        assert (memory.counts("image") == 3).all()
        memory.save(tmp_path / name)
        again = Memory.load(tmp_path / name, verify=True)
        assert content(again) == content(memory)
        found, _ = nearest(again.images.vectors, again.images.vectors, k=1)
        assert (found[:, 0] == np.arange(3 * classes)).all()
        index, measured = Hnsw.of_rows(again.images, ef_search=16, degree=64)
        assert measured.value == 1.0  # at their sizes a graph finds everything
        assert len(index) == 3 * classes
        assert texts.dim == again.dim  # nothing but the declared encoder tells them apart
        with pytest.raises(EncoderError, match="cannot be compared"):
            again.merge(texts)
