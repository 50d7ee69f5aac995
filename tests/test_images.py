"""The decoder: every odd file read right or refused with a reason, within bounds."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fgvr.images as images
from fgvr.errors import ImageError, NoImagesError
from fgvr.images import Decoded, Limits, content_hash, decode, decode_all, encode_jpeg, require_some, thumbnail_data_uri
from fgvr.types import ImageItem, SetAside
from tests.zoo import Expected, make_zoo, png_chunk, png_header, quadrants


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str | Expected]]:
    return make_zoo(tmp_path_factory.mktemp("zoo"))


def test_the_zoo_is_large_and_mixed(zoo):
    assert len(zoo) >= 45
    assert sum(isinstance(e, str) for _, e in zoo) >= 18


def test_every_animal_is_read_right_or_refused_with_its_reason(zoo):
    wrong = []
    for path, expected in zoo:
        try:
            decoded = decode(path)
        except ImageError as error:
            if error.reason != expected or str(path) not in str(error):
                wrong.append((path.name, expected, error.reason, str(error)))
            continue
        if not isinstance(expected, Expected) or decoded.image.mode != "RGB" or decoded.image.size != expected.size:
            wrong.append((path.name, expected, decoded.image))
        elif expected.colour is not None:
            off = np.abs(np.asarray(decoded.image).astype(int) - np.array(expected.colour)).max()
            if off > 6:
                wrong.append((path.name, expected, f"off by {off}"))
    assert not wrong


def test_the_zoo_in_threads_keeps_order_and_never_raises(zoo):
    items = [ImageItem(str(n), path) for n, (path, _) in enumerate(zoo)]
    results = list(decode_all(items, threads=4))
    assert [item.id for item, _ in results] == [item.id for item in items]
    for (_, result), (_, expected) in zip(results, zoo, strict=True):
        assert isinstance(result, Decoded) if isinstance(expected, Expected) else result.reason == expected


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_eight_orientations_decode_to_the_same_pixels(tmp_path, suffix):
    upright = quadrants()
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, turn in inverse.items():
        stored = upright if turn is None else upright.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{suffix}"
        options = (
            {"quality": 95, "subsampling": 0} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
        )
        stored.save(path, exif=exif, **options)
        decoded = decode(path)
        assert (decoded.width, decoded.height) == decoded.image.size == upright.size
        difference = np.abs(np.asarray(decoded.image).astype(int) - np.asarray(upright))
        # JPEG rounds differently when turned; every quarter must still be where it belongs.
        assert difference.max() <= (40 if suffix == "jpg" else 0), orientation
        assert difference.mean() < 1.5


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    grey = np.asarray(decode(tmp_path / "ramp.png").image)[0, :, 0]
    assert np.array_equal(grey, np.arange(256))


def test_hash_is_of_the_file_bytes_and_bytes_are_read_once(tmp_path, monkeypatch):
    quadrants().save(tmp_path / "a.png")
    expected = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    opened = []
    original = images._open_regular
    monkeypatch.setattr(images, "_open_regular", lambda path: opened.append(path) or original(path))
    assert decode(tmp_path / "a.png").sha256 == expected
    assert len(opened) == 1
    assert content_hash(tmp_path / "a.png") == expected


@pytest.mark.parametrize("name", ["big.jpg", "big.png", "big.webp"])
def test_large_files_are_reduced_but_not_below_twice_the_side(tmp_path, name):
    quadrants(1500, 1000).save(tmp_path / name)
    decoded = decode(tmp_path / name, side=60)
    assert (decoded.width, decoded.height) == (1500, 1000)
    width, height = decoded.image.size
    assert 120 <= height <= 260
    assert width / height == pytest.approx(1.5, rel=0.02)
    assert decode(tmp_path / name).image.size == (1500, 1000)
    assert decode(tmp_path / name, side=900).image.size == (1500, 1000)
    whole = np.asarray(decode(tmp_path / name).image.resize((90, 60))).astype(int)
    reduced = np.asarray(decoded.image.resize((90, 60))).astype(int)
    assert np.abs(whole - reduced).mean() < 1.5


def test_limits_are_the_callers(tmp_path):
    quadrants(48, 32).save(tmp_path / "a.png")
    size = (tmp_path / "a.png").stat().st_size
    assert decode(tmp_path / "a.png", limits=Limits(max_bytes=size, max_pixels=48 * 32, min_side=32))
    for limits, reason in (
        (Limits(max_bytes=size - 1), "too large"),
        (Limits(max_pixels=48 * 32 - 1), "too many pixels"),
        (Limits(min_side=33), "too small"),
    ):
        with pytest.raises(ImageError) as caught:
            decode(tmp_path / "a.png", limits=limits)
        assert caught.value.reason == reason


def test_pillows_global_limit_and_filters_are_left_alone(tmp_path):
    """100 megapixels lie above Pillow's warning and below our limit; warnings are errors in this suite."""
    rows = zlib_rows(10_000, 10_000)
    (tmp_path / "large.png").write_bytes(
        png_header(10_000, 10_000) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    )
    before = Image.MAX_IMAGE_PIXELS
    decoded = decode(tmp_path / "large.png", side=100)
    assert (decoded.width, decoded.height) == (10_000, 10_000)
    assert min(decoded.image.size) >= 200
    assert before == Image.MAX_IMAGE_PIXELS


def zlib_rows(width: int, height: int) -> bytes:
    import zlib

    packer, row = zlib.compressobj(1), bytes(1 + 3 * width)
    return b"".join(packer.compress(row) for _ in range(height)) + packer.flush()


def test_memory_stays_bounded_for_a_header_of_60000_by_60000(tmp_path):
    (tmp_path / "huge.png").write_bytes(png_header(60_000, 60_000) + png_chunk(b"IDAT", b"x" * 100))
    script = f"""
import resource
from fgvr.errors import ImageError
from fgvr.images import decode
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
try: decode({str(tmp_path / "none.png")!r})
except ImageError: pass
before = peak()
for _ in range(5):
    try: decode({str(tmp_path / "huge.png")!r})
    except ImageError as error: print(error.reason)
assert peak() - before < 40, (before, peak())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:5] == ["too many pixels"] * 5


def test_lookahead_is_bounded_and_abandoning_the_iterator_stops_the_threads(tmp_path):
    quadrants().save(tmp_path / "a.png")
    taken = []

    def items():
        for n in range(1000):
            taken.append(n)
            yield ImageItem(str(n), tmp_path / "a.png")

    results = decode_all(items(), threads=3)
    next(results)
    assert len(taken) <= 7
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("fgvr-decode")]


def test_decoding_in_many_threads_equals_decoding_in_one(zoo):
    readable = [path for path, expected in zoo if isinstance(expected, Expected)] * 4
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: decode(path).image.tobytes(), readable))
    assert together == [decode(path).image.tobytes() for path in readable]


def test_no_usable_image_is_an_error_that_tallies_the_reasons():
    aside = [SetAside("a", "a", "truncated"), SetAside("b", "b", "truncated"), SetAside("c", "c", "empty")]
    with pytest.raises(NoImagesError, match=r"truncated: 2, empty: 1"):
        require_some([], set_aside=aside, source="photos")
    assert require_some([1], set_aside=aside) == [1]


def test_jpeg_for_services_is_bounded_and_carries_no_metadata(tmp_path):
    image = quadrants(300, 200)
    data = encode_jpeg(image, max_side=90, quality=85)
    with Image.open(io.BytesIO(data)) as again:
        assert again.size == (90, 60)
        assert not again.getexif()
    assert encode_jpeg(image, max_side=90, quality=85) == data
    with Image.open(io.BytesIO(encode_jpeg(image, max_side=5000, quality=95))) as again:
        assert again.size == (300, 200)
    head, body = thumbnail_data_uri(image, 32).split(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as again:
        assert again.size == (32, 21)
