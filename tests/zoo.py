"""Odd and broken image files, made on the spot.

``make_zoo(folder)`` returns (path, expectation) pairs: a reason code where the decoder must refuse, else the
``Expected`` size and colour. Every readable animal is a picture of one colour, except where the colour is ``None``.
"""

from __future__ import annotations

import io
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


def tiff(
    width: int, height: int, *, further: list[tuple[int, int, int, int]] | None = None, following: int = 0
) -> bytes:
    """A grey TIFF of 64 bytes of pixels; ``further`` tags are (tag, type, count, value)."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 300)]
    tags = sorted([*tags, (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 64), *(further or [])])
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)
    return head.ljust(300, b"\0") + bytes([128]) * 64


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
    icc = png_chunk(b"iCCP", b"icc\0\0" + b"junk" * 30)
    _write(folder / "icc-junk.png", _with_chunk((folder / "is-png.jpg").read_bytes(), icc))
    red.save(folder / "icc-junk.jpg", icc_profile=b"junk" * 100)
    pages = [Image.new("1", (8, 8), 1) for _ in range(300)]
    pages[0].save(folder / "many-pages.tif", save_all=True, append_images=pages[1:])
    claims = [(270, 2, 2**32 - 1, 100), (700, 1, 2**32 - 16, 100)]  # a description and an XMP packet of 4 GB
    _write(folder / "hostile-tags.tif", tiff(8, 8, further=claims))
    _write(folder / "endless-pages.tif", tiff(8, 8, following=8))
    odd = ["broken-exif.jpg", "icc-junk.png", "icc-junk.jpg"]
    pages_of_8 = [("many-pages.tif", WHITE), ("hostile-tags.tif", GREY), ("endless-pages.tif", GREY)]
    return [
        *animals,
        *((folder / name, Expected(size, RED)) for name in odd),
        *((folder / name, Expected((8, 8), colour)) for name, colour in pages_of_8),
        *_oddly_named(folder, (folder / "plain.jpg").read_bytes()),
    ]


def _oddly_named(folder: Path, jpeg: bytes) -> list[tuple[Path, str | Expected]]:
    """Copies of one good picture under names that hurt whoever prints, parses or stores them."""
    names = [
        *(
            "twin.jpg",
            "a" * 251 + ".jpg",
            "CON.jpg",
            "NUL.jpg",
            "dots. . .jpg",
            "=1+1.jpg",
            "-rf.jpg",
            "~.jpg",
            "%s%n.jpg",
        ),
        *(
            "<img src=x onerror=alert(1)>.jpg",
            "'\"; rm -rf $HOME; #.jpg",
            "{{7*7}}.jpg",
            'comma, quote".jpg',
            "..jpg.jpg",
        ),
        *(
            "line\nbreak.jpg",
            "\x1b[2J\x1b]0;owned\x07.jpg",
            "\u202egpj.exe.jpg",
            "caf\udce9.jpg",
            "a\\b.jpg",
            "tab\tand\rreturn.jpg",
        ),
    ]
    for name in names:
        _write(folder / name, jpeg)
    return [(folder / name, Expected((40, 30), RED)) for name in names]


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
        ("many-texts.png", _with_chunk(png, _chunk_of_text(1_000_000) * 70), "too much metadata"),
        (
            "icc-bomb.png",
            _with_chunk(png, png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(4_000_000)))),
            "too much metadata",
        ),
        ("progressive-cut.jpg", _progressive(256)[:40_000], "truncated"),
        ("no-frames.gif", b"GIF89a" + struct.pack("<HH", 40, 30) + b"\0\0\0;", "not an image"),
        ("no-size.png", png_header(0, 0) + png_chunk(b"IDAT", zlib.compress(b"")), "not an image"),
        ("huge-header.ppm", b"P6 60000 60000 255\n", "too many pixels"),
        ("huge-header.tif", tiff(60_000, 60_000), "too many pixels"),
        ("huge-frame.gif", _gif_frame(60_000), "too many pixels"),
        ("icon.ico", _icon(12_000), "not an image"),
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


def _with_chunk(png: bytes, chunk: bytes) -> bytes:
    return png[:33] + chunk + png[33:]


def _chunk_of_text(length: int) -> bytes:
    return png_chunk(b"zTXt", b"note\0\0" + zlib.compress(b"a" * length))


def _progressive(side: int) -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    target = io.BytesIO()
    Image.fromarray(noise).save(target, "JPEG", progressive=True, quality=95)
    return target.getvalue()


def _gif_frame(side: int) -> bytes:
    """A small screen with one frame far larger than it."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HH", 8, 8) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame


def _icon(side: int) -> bytes:
    """An icon that says 16 x 16 and holds a PNG of ``side`` x ``side``."""
    inner = png_header(side, side) + png_chunk(b"IDAT", zlib.compress(b""))
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
