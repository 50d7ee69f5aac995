"""Odd and broken image files, made on the spot.

``make_zoo(folder)`` returns (path, expectation) pairs: a reason code where the decoder must refuse, else the
``Expected`` size and colour. Every readable animal is a picture of one colour, except where the colour is ``None``.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

RED, GREY, WHITE = (200, 30, 40), (128, 128, 128), (255, 255, 255)


@dataclass(frozen=True)
class Expected:
    """A readable file: (width, height), and its colour (to within 6 levels) if it has only one."""

    size: tuple[int, int]
    colour: tuple[int, int, int] | None = None


def make_zoo(folder: Path) -> list[tuple[Path, str | Expected]]:
    """Write all animals into ``folder`` and say what must become of each."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*_readable(folder), *_broken(folder), *_not_files(folder)]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk with its length and CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """Signature and IHDR of an 8-bit RGB PNG."""
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def quadrants(width: int = 48, height: int = 32) -> Image.Image:
    """An RGB picture without symmetry: four coloured quarters."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 220, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 220)
    pixels[height // 2 :, width // 2 :] = (220, 220, 20)
    return Image.fromarray(pixels)


def _readable(folder: Path) -> list[tuple[Path, str | Expected]]:
    red, size = Image.new("RGB", (40, 30), RED), (40, 30)
    palette = red.quantize(4)
    clear_palette = palette.copy()
    cmyk = red.convert("CMYK")
    deep = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16))
    frames = [Image.new("RGB", size, WHITE), Image.new("RGB", size, (0, 0, 0))]
    saves: list[tuple[str, Image.Image, dict[str, object], Expected]] = [
        ("plain.jpg", red, {}, Expected(size, RED)),
        ("UPPER.JPG", red, {"format": "JPEG"}, Expected(size, RED)),
        ("progressive.jpg", red, {"progressive": True}, Expected(size, RED)),
        ("grey.jpg", Image.new("L", size, 128), {}, Expected(size, GREY)),
        ("cmyk.jpg", cmyk, {}, Expected(size, RED)),
        ("cmyk.tif", cmyk, {}, Expected(size, RED)),
        ("ycbcr.tif", red.convert("YCbCr"), {}, Expected(size, RED)),
        ("lab.tif", Image.new("LAB", size, (128, 0, 0)), {}, Expected(size)),
        ("palette.png", palette, {}, Expected(size, RED)),
        ("palette-clear.png", clear_palette, {"transparency": bytes([0] * 4)}, Expected(size, WHITE)),
        ("palette.gif", palette, {}, Expected(size, RED)),
        ("alpha.png", Image.new("RGBA", size, (0, 0, 0, 0)), {}, Expected(size, WHITE)),
        ("half-alpha.png", Image.new("RGBA", size, (0, 0, 0, 127)), {}, Expected(size, GREY)),
        ("grey-alpha.png", Image.new("LA", size, (0, 0)), {}, Expected(size, WHITE)),
        ("colour-key.png", red, {"transparency": RED}, Expected(size, WHITE)),
        ("deep.png", deep, {}, Expected(size, GREY)),
        ("deep.tif", deep, {}, Expected(size, GREY)),
        ("deep.pgm", deep, {"format": "PPM"}, Expected(size, GREY)),
        ("float.tif", Image.new("F", size, 0.5), {}, Expected(size, GREY)),
        ("one-bit.png", Image.new("1", size, 1), {}, Expected(size, WHITE)),
        ("one-bit.tif", Image.new("1", size, 1), {}, Expected(size, WHITE)),
        ("animated.gif", frames[0], {"save_all": True, "append_images": frames[1:]}, Expected(size, WHITE)),
        ("animated.png", frames[0], {"save_all": True, "append_images": frames[1:]}, Expected(size, WHITE)),
        ("animated.webp", frames[0], {"save_all": True, "append_images": frames[1:]}, Expected(size, WHITE)),
        ("pages.tif", frames[0], {"save_all": True, "append_images": frames[1:]}, Expected(size, WHITE)),
        ("stereo.mpo", frames[0], {"save_all": True, "append_images": frames[1:]}, Expected(size, WHITE)),
        ("plain.webp", red, {"lossless": True}, Expected(size, RED)),
        ("plain.bmp", red, {}, Expected(size, RED)),
        ("is-png.jpg", red, {"format": "PNG"}, Expected(size, RED)),
        ("is-jpg.png", red, {"format": "JPEG"}, Expected(size, RED)),
        ("one-pixel.png", Image.new("RGB", (1, 1), RED), {}, Expected((1, 1), RED)),
        ("one-row.png", Image.new("RGB", (5000, 1), RED), {}, Expected((5000, 1), RED)),
    ]
    for name, image, options, _ in saves:
        image.save(folder / name, **options)
    animals: list[tuple[Path, str | Expected]] = [(folder / name, expected) for name, _, _, expected in saves]
    _write(
        folder / "broken-exif.jpg", _with_app1((folder / "plain.jpg").read_bytes(), b"Exif\0\0II*\0\xff\xff\xff\xff")
    )
    return [*animals, (folder / "broken-exif.jpg", Expected(size, RED))]


def _broken(folder: Path) -> list[tuple[Path, str | Expected]]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    noise.save(folder / "noise.jpg")
    noise.save(folder / "noise.png")
    jpeg, png = (folder / "noise.jpg").read_bytes(), (folder / "noise.png").read_bytes()
    bomb = png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * 4_000_000))
    files: list[tuple[str, bytes, str]] = [
        ("empty.jpg", b"", "empty"),
        ("zeros.jpg", bytes(1000), "not an image"),
        ("page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not an image"),
        ("text.png", b"not a picture", "not an image"),
        ("drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not an image"),
        ("truncated.jpg", jpeg[: len(jpeg) // 2], "truncated"),
        ("truncated.png", png[: len(png) // 2], "truncated"),
        ("stub.jpg", jpeg[:3], "not an image"),
        ("huge-header.png", png_header(60_000, 60_000) + png_chunk(b"IDAT", zlib.compress(b"")), "too many pixels"),
        ("wide-header.png", png_header(13_000, 13_000) + png_chunk(b"IDAT", zlib.compress(b"")), "too many pixels"),
        ("text-bomb.png", png_header(8, 8) + bomb + png[33:], "too much metadata"),
        ("bad-crc.png", png[:29] + b"\0\0\0\0" + png[33:], "not an image"),
        ("bad-data.png", png_header(64, 64) + png_chunk(b"IDAT", b"junk" * 50) + png_chunk(b"IEND", b""), "unreadable"),
    ]
    for name, data, _ in files:
        _write(folder / name, data)
    return [(folder / name, reason) for name, _, reason in files]


def _not_files(folder: Path) -> list[tuple[Path, str | Expected]]:
    (folder / "folder.jpg").mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop-a.jpg").symlink_to(folder / "loop-b.jpg")
    (folder / "loop-b.jpg").symlink_to(folder / "loop-a.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    animals: list[tuple[Path, str | Expected]] = [
        (folder / "folder.jpg", "not a file"),
        (folder / "pipe.jpg", "not a file"),
        (folder / "loop-a.jpg", "symlink loop"),
        (folder / "dangling.jpg", "missing"),
        (folder / "absent.jpg", "missing"),
        (folder / "plain.jpg" / "below.jpg", "missing"),
    ]
    if os.geteuid() != 0:  # permissions do not hold for root
        _write(folder / "locked.jpg", b"x")
        (folder / "locked.jpg").chmod(0)
        animals.append((folder / "locked.jpg", "no permission"))
    return animals


def _with_app1(jpeg: bytes, payload: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
