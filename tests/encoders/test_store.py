"""The feature store: what hits, what misses, and what survives."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgvr.encoders import FeatureStore, crop_views, load_encoder
from fgvr.encoders import store as store_module
from fgvr.encoders.base import PreparingEncoder
from fgvr.encoders.hashes import HashMemo
from fgvr.encoders.shards import ShardFolder
from fgvr.encoders.store import in_order
from fgvr.encoders.views import render_view
from fgvr.errors import EncoderError, NoImagesError
from fgvr.images import content_hash
from fgvr.types import ImageItem

from . import tiny
from .stub import ColourEncoder, folder_items


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(7):
        tiny.picture(seed).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def _expected(items: list[ImageItem]) -> np.ndarray:
    return ColourEncoder().encode_images([Image.open(item.path).convert("RGB") for item in items])


def test_features_are_the_encoders_own_in_order(photos: Path, store: FeatureStore) -> None:
    items = folder_items(photos)[::-1]
    table = store.features(items, ColourEncoder(), batch_size=3)
    np.testing.assert_array_equal(table.features, _expected(items))
    assert table.features.dtype == np.float32
    assert table.items == tuple(items)
    assert table.hashes == tuple(content_hash(item.path) for item in items)


def test_a_warm_store_does_not_call_the_encoder(photos: Path, store: FeatureStore) -> None:
    items, seen = folder_items(photos), []
    first = store.features(items, ColourEncoder())
    warm = ColourEncoder()
    again = FeatureStore(store.root).features(items, warm, progress=lambda done, total: seen.append((done, total)))
    assert warm.images == 0
    np.testing.assert_array_equal(again.features, first.features)
    assert seen == [(7, 7)]


def test_a_warm_store_does_not_read_the_files(
    photos: Path, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, read = folder_items(photos), []
    store.features(items, ColourEncoder())
    monkeypatch.setattr("fgvr.encoders.hashes.content_hash", lambda path: read.append(path) or content_hash(path))
    FeatureStore(store.root).features(items, ColourEncoder())
    assert read == []
    FeatureStore(store.root).features(items, ColourEncoder(), verify=True)
    assert len(read) == len(items)


@pytest.mark.parametrize("kind", ["clip", "siglip2"])
def test_work_done_ahead_in_the_decoding_threads_changes_no_bit(
    photos: Path, store: FeatureStore, tmp_path: Path, kind: str
) -> None:
    """``clip`` is prepared by the plain preprocessing, ``siglip2`` by its own processor, batch by batch."""
    encoder = load_encoder(tiny.save(kind, tmp_path / "encoder"), device="cpu")
    assert isinstance(encoder, PreparingEncoder)
    assert not isinstance(ColourEncoder(), PreparingEncoder)
    items, views = folder_items(photos), ("plain", *crop_views(2))
    found = store.features(items, encoder, batch_size=4, threads=3, views=views).features.reshape(21, -1)
    pictures = [
        render_view(Image.open(item.path).convert("RGB"), view, sha256=content_hash(item.path), side=encoder.image_size)
        for item in items
        for view in views
    ]
    expected = [encoder.encode_images(pictures[at : at + 4]) for at in range(0, 21, 4)]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_results_come_in_order_and_few_wait_for_a_slow_consumer() -> None:
    started = []

    def slow_for_even(value: int) -> int:
        started.append(value)
        time.sleep(0.002 * (value % 2 == 0))
        return value

    results = in_order(slow_for_even, range(100), threads=3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.02)
    assert len(started) <= 5 + 2 * 3
    results.close()
    assert len(started) <= 5 + 2 * 3
    assert list(in_order(slow_for_even, range(20), threads=4)) == list(range(20))


def test_a_warm_store_answers_10_000_images_in_under_5_seconds(tmp_path: Path) -> None:
    """It takes a tenth of a second; the files need not even be pictures, since nothing is decoded."""
    items, root, encoder = [], tmp_path / "store", ColourEncoder()
    (tmp_path / "files").mkdir()
    for index in range(10_000):
        path = tmp_path / "files" / str(index)
        path.write_text(str(index))
        items.append(ImageItem(path.name, path))
    hashes = HashMemo(root / "hashes").hashes([item.path for item in items])
    rows = np.random.default_rng(0).standard_normal((10_000, encoder.dim), dtype=np.float32)
    shards = ShardFolder(root / encoder.fingerprint[:16], encoder.dim)
    for at in range(0, 10_000, 1000):
        shards.append([(str(sha256), "plain") for sha256 in hashes[at : at + 1000]], rows[at : at + 1000])
    started = time.perf_counter()
    table = FeatureStore(root).features(items, encoder)
    assert time.perf_counter() - started < 5
    assert encoder.images == 0
    np.testing.assert_array_equal(table.features, rows)


def test_renaming_hits_and_changed_pixels_miss(photos: Path, store: FeatureStore) -> None:
    store.features(folder_items(photos), ColourEncoder())
    (photos / "0.png").rename(photos / "renamed.png")
    tiny.picture(99).save(photos / "1.png")
    encoder = ColourEncoder()
    items = folder_items(photos)
    table = FeatureStore(store.root).features(items, encoder)
    assert encoder.images == 1
    np.testing.assert_array_equal(table.features, _expected(items))


def test_verify_finds_a_change_that_kept_size_and_time(tmp_path: Path, store: FeatureStore) -> None:
    path = tmp_path / "one.bmp"
    Image.new("RGB", (8, 8), (250, 10, 10)).save(path)
    status, items = path.stat(), [ImageItem("one", path)]
    store.features(items, ColourEncoder())
    Image.new("RGB", (8, 8), (10, 10, 250)).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    trusted = store.features(items, ColourEncoder())
    checked = store.features(items, ColourEncoder(), verify=True)
    assert not np.allclose(trusted.features, checked.features)
    np.testing.assert_array_equal(checked.features, _expected(items))


def test_other_preprocessing_misses(photos: Path, store: FeatureStore) -> None:
    store.features(folder_items(photos), ColourEncoder("one"))
    other = ColourEncoder("two")
    store.features(folder_items(photos), other)
    assert other.images == 7


def test_equal_content_is_encoded_once(photos: Path, store: FeatureStore) -> None:
    for copy in range(5):
        shutil.copy(photos / "3.png", photos / f"copy{copy}.png")
    encoder = ColourEncoder()
    table = store.features(folder_items(photos), encoder, batch_size=2)
    assert encoder.images == 7
    assert len(table.items) == 12
    np.testing.assert_array_equal(table.features[3], table.features[-1])


def test_bad_files_are_set_aside_and_none_left_is_an_error(photos: Path, store: FeatureStore) -> None:
    (photos / "0.png").write_bytes(b"<html>")
    (photos / "1.png").write_bytes((photos / "2.png").read_bytes()[:200])
    shutil.copy(photos / "1.png", photos / "twin.png")
    items = [*folder_items(photos), ImageItem("absent", photos / "absent.png")]
    table = store.features(items, ColourEncoder())
    assert [fault.id for fault in table.set_aside] == ["0.png", "1.png", "twin.png", "absent"]
    assert table.set_aside[-1].reason == "missing"
    assert [item.id for item in table.items] == ["2.png", "3.png", "4.png", "5.png", "6.png"]
    with pytest.raises(NoImagesError):
        store.features([items[0], items[-1]], ColourEncoder())


def test_views_are_deterministic_and_kept(photos: Path, store: FeatureStore, tmp_path: Path) -> None:
    items, views = folder_items(photos), ("plain", *crop_views(3))
    table = store.features(items, ColourEncoder(), views=views, batch_size=4)
    assert table.features.shape == (7, 4, 12)
    np.testing.assert_array_equal(table.features[:, 0], _expected(items))
    assert np.abs(table.features[:, 1] - table.features[:, 2]).max() > 1e-3
    elsewhere = FeatureStore(tmp_path / "other").features(items, ColourEncoder(), views=views[::-1])
    np.testing.assert_array_equal(elsewhere.features[:, ::-1], table.features)
    encoder = ColourEncoder()
    more = store.features(items, encoder, views=("plain", *crop_views(4)))
    assert encoder.images == 7  # only the new view
    np.testing.assert_array_equal(more.features[:, :4], table.features)
    assert store.features(items, encoder, views=crop_views(1)).features.shape == (7, 1, 12)


def test_a_crop_keeps_the_promised_share() -> None:
    """On a picture whose red runs 0..1 across and green down, a crop's spread shows how much of each axis it kept."""
    across = np.linspace(0, 255, 200)
    ramp = np.stack(np.broadcast_arrays(across[None, :], across[:, None], np.zeros((1, 1))), axis=-1)
    image = Image.fromarray(ramp.astype(np.uint8))
    shares, flips = [], set()
    for index in range(60):
        crop = np.asarray(render_view(image, f"crop:{index}", sha256="ab", side=32), dtype=float)
        assert crop.shape == (32, 32, 3)
        width, height = (np.ptp(crop[..., channel].mean(axis=1 - axis)) / 255 for channel, axis in ((0, 1), (1, 0)))
        shares.append(width * height)
        flips.add(bool(crop[0, 0, 0] > crop[0, -1, 0]))
    assert min(shares) > 0.42  # 0.5, less what averaging takes off both ends
    assert min(shares) < 0.6
    assert max(shares) > 0.8
    assert flips == {True, False}
    with pytest.raises(ValueError, match="no such view"):
        render_view(image, "swirl", sha256="ab", side=32)
    assert crop_views(2, min_scale=0.08) == ("crop:0@0.08", "crop:1@0.08")


@pytest.mark.parametrize("damage", ["flip a byte", "truncate", "other dimension", "torn companion"])
def test_a_damaged_shard_is_put_away_and_computed_again(
    photos: Path, store: FeatureStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    items = folder_items(photos)
    store.features(items, ColourEncoder())
    (array,) = store.root.glob("*/*.npy")
    companion = array.with_suffix(".json")
    content = bytearray(array.read_bytes())
    if damage == "flip a byte":
        content[-3] ^= 1
        array.write_bytes(content)
    elif damage == "truncate":
        array.write_bytes(content[:-10])
    elif damage == "other dimension":
        companion.write_text(companion.read_text().replace('"dim": 12', '"dim": 13'))
    else:
        companion.write_text(companion.read_text()[:50])
    encoder = ColourEncoder()
    with caplog.at_level(logging.WARNING):
        table = FeatureStore(store.root).features(items, encoder)
    assert encoder.images == 7
    np.testing.assert_array_equal(table.features, _expected(items))
    assert "is damaged and will be computed again" in caplog.text
    assert array.with_suffix(".npy.damaged").exists()


def test_an_encoder_that_breaks_its_word_is_refused(photos: Path, store: FeatureStore) -> None:
    encoder = ColourEncoder()
    encoder.dim = 13
    with pytest.raises(EncoderError, match="shape"):
        store.features(folder_items(photos), encoder)


def test_finished_batches_survive_a_failing_one(photos: Path, store: FeatureStore) -> None:
    class Failing(ColourEncoder):
        def encode_images(self, images: list[Image.Image]) -> np.ndarray:  # type: ignore[override]
            if self.images >= 4:
                raise RuntimeError("out of memory")
            return super().encode_images(images)

    with pytest.raises(RuntimeError, match="out of memory"):
        store.features(folder_items(photos), Failing(), batch_size=1)
    encoder = ColourEncoder()
    store.features(folder_items(photos), encoder)
    assert encoder.images <= 7 - 4 + store_module.BATCHES_IN_FLIGHT


def _run(folder: Path, root: Path, log: Path, *, delay: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "encoders.stub", str(folder), str(root), str(log), str(delay)],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_kill_9_loses_at_most_the_unwritten_shard(photos: Path, tmp_path: Path) -> None:
    root, log = tmp_path / "store", tmp_path / "log"
    for seed in range(7, 40):
        tiny.picture(seed).save(photos / f"{seed}.png")
    for written in (1, 4):
        run = _run(photos, root, log, delay=0.03)
        while run.poll() is None and len(list(root.glob("*/*.json"))) < written:
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    calls = len(log.read_text())
    encoder = ColourEncoder()
    table = FeatureStore(root).features(folder_items(photos), encoder)
    np.testing.assert_array_equal(table.features, _expected(folder_items(photos)))
    assert encoder.images <= 40 - 4 * 3
    repeated = calls + encoder.images - 40
    assert repeated <= 2 * (3 + store_module.BATCHES_IN_FLIGHT + 1)  # per kill: a shard, and what was in flight


def test_two_processes_at_once_agree(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "store"
    runs = [_run(photos, root, tmp_path / f"log{i}", delay=0.01) for i in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    results = [np.load(path) for path in root.glob("result-*.npy")]
    assert len(results) == 2
    np.testing.assert_array_equal(results[0], results[1])
    encoder = ColourEncoder()
    table = FeatureStore(root).features(folder_items(photos), encoder)
    assert encoder.images == 0
    np.testing.assert_array_equal(table.features, results[0])


def test_eight_orientations_give_one_embedding(tmp_path: Path, store: FeatureStore) -> None:
    """The camera held eight ways: pixels turned, EXIF telling how; a real (tiny) encoder sees one picture."""
    upright = tiny.picture(5, width=57, height=41)
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    items = []
    for orientation, method in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        (upright if method is None else upright.transpose(method)).save(path, exif=exif)
        items.append(ImageItem(path.name, path))
    encoder = load_encoder(tiny.save("clip", tmp_path / "clip"), device="cpu")
    table = store.features(items, encoder)
    assert len(set(table.hashes)) == 8
    np.testing.assert_allclose(table.features, np.tile(table.features[:1], (8, 1)), atol=1e-6)
    np.testing.assert_allclose(table.features[:1], encoder.encode_images([upright]), atol=1e-6)
