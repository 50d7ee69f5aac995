"""The only decoder: a file becomes an upright RGB picture with a content hash, or an ``ImageError`` with a reason code.

What is read, and how: the first frame of an animation; transparency composited on white; 16-bit grey scaled to 8 bits
(not clipped); CMYK by Pillow's plain conversion (embedded colour profiles are ignored, as CLIP's own pipeline does);
EXIF orientation applied. Only formats with a signature are tried: Pillow would hand an EPS file to Ghostscript. Icons
(ICO) are not: Pillow decodes them while it opens them, before any limit could be checked.

Reason codes (stable, for tallies): ``missing``, ``not a file``, ``symlink loop``, ``no permission``, ``empty``,
``too large``, ``not an image``, ``too many pixels``, ``too small``, ``too much metadata``, ``truncated``,
``unreadable``. ``fgvr.data`` adds ``outside root``, ``duplicate``, ``bad row`` and ``url``.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import stat
import threading
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from fgvr.colours import to_rgb
from fgvr.errors import ImageError, NoImagesError
from fgvr.types import ImageItem, SetAside

T = TypeVar("T")

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI")
_PILLOW = r"PIL\."
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Room left for the antialiased resize after the cheap reduction; the value of Pillow's own ``thumbnail``.
_REDUCING_GAP = 2
# Pictures above this are decoded one at a time, so that peak memory does not grow with the number of threads.
_LARGE_PIXELS = 32_000_000
_one_large_at_a_time = threading.Lock()
# A pipe would block for ever; what it is can be asked once it is open.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True)
class Limits:
    """What is checked before any pixel is decoded.

    A ``max_pixels`` above twice ``PIL.Image.MAX_IMAGE_PIXELS`` (178 million) has no effect: Pillow refuses earlier.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 120_000_000
    min_side: int = 1


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Decoded:
    """One readable picture."""

    image: Image.Image
    """RGB, upright; possibly smaller than the original when ``side`` was given."""
    sha256: str
    """Of the file's bytes, hexadecimal."""
    width: int
    """Of the upright original, in pixels."""
    height: int


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal. Raises ``ImageError`` (``missing``, ``no permission``, ...)."""
    digest = hashlib.sha256()
    with closing(_open_regular(Path(path))) as file:
        while block := _reading(file, 2**20, Path(path)):
            digest.update(block)
    return digest.hexdigest()


def decode(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, side: int | None = None) -> Decoded:
    """Read, hash and decode one file; its bytes are read once.

    ``side``: the caller will shrink the picture so that its shorter side is ``side`` pixels. Large pictures are then
    reduced cheaply (JPEG by DCT scaling, others by box averaging) to no less than twice that, aspect kept.
    Raises ``ImageError`` for every fault of the file, whatever Pillow raised.
    """
    path = Path(path)
    data = _read_bytes(path, limits)
    _mute_pillow_warnings()
    try:
        image, size = _decode_bytes(data, limits, side)
    except ImageError as error:
        error.context.setdefault("file", str(path))
        raise
    except Exception as error:
        raise _explained(error, path) from error
    return Decoded(image, hashlib.sha256(data).hexdigest(), *size)


def decode_all(
    items: Iterable[ImageItem],
    *,
    threads: int | None = None,
    side: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[tuple[ImageItem, Decoded | SetAside]]:
    """Decode in threads and yield in the order of ``items``; a bad item yields its ``SetAside`` and never raises.

    At most ``2 * threads`` pictures are held at a time, however slow the consumer is. ``threads`` defaults to the
    processors this process may use, at most 8.
    """
    workers = threads or min(8, available_cpus())
    waiting: deque[tuple[ImageItem, Future[Decoded | SetAside]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fgvr-decode")
    try:
        for item in items:
            if len(waiting) >= 2 * workers:
                done, future = waiting.popleft()
                yield done, future.result()
            waiting.append((item, pool.submit(decode_or_set_aside, item, limits=limits, side=side)))
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def decode_or_set_aside(
    item: ImageItem, *, limits: Limits = DEFAULT_LIMITS, side: int | None = None
) -> Decoded | SetAside:
    """``decode`` with the fault as a value."""
    try:
        return decode(item.path, limits=limits, side=side)
    except ImageError as error:
        return SetAside(item.id, str(item.path), error.reason, error.message)


def require_some(good: Sequence[T], *, set_aside: Sequence[SetAside] = (), source: object = "") -> Sequence[T]:
    """``good`` itself; ``NoImagesError`` with a tally of reasons when it is empty."""
    if good:
        return good
    tally = ", ".join(f"{reason}: {count}" for reason, count in Counter(s.reason for s in set_aside).most_common())
    first = f"; first: {set_aside[0].id} ({set_aside[0].detail})" if set_aside else ""
    raise NoImagesError(
        "no usable image was left",
        remedy="Check the input path and the reasons above.",
        **({"source": str(source)} if str(source) else {}),
        set_aside=f"{len(set_aside)} [{tally}]{first}" if set_aside else 0,
    )


def encode_jpeg(image: Image.Image, *, max_side: int = 1024, quality: int = 90) -> bytes:
    """RGB picture to JPEG bytes, its longer side at most ``max_side`` pixels (never enlarged), without metadata."""
    target = io.BytesIO()
    _shrunk(image, max_side).save(target, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return target.getvalue()


def thumbnail_data_uri(image: Image.Image, side: int = 160) -> str:
    """``data:image/jpeg;base64,...`` of the picture shrunk to ``side`` pixels, for self-contained pages."""
    data = encode_jpeg(image, max_side=side, quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def available_cpus() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- bytes ------------------------------------------------------------------------------------------------------------


def _open_regular(path: Path) -> io.FileIO:
    try:
        file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | _NO_WAIT))
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise _explained_open(error, path) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ImageError("this is not a regular file", reason="not a file", file=str(path))
    return file


def _reading(file: io.FileIO, count: int, path: Path) -> bytes:
    try:
        return file.read(count)
    except OSError as error:
        raise ImageError(f"reading failed: {error.strerror}", reason="unreadable", file=str(path)) from error


def _read_bytes(path: Path, limits: Limits) -> bytes:
    with closing(_open_regular(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ImageError("the file has no bytes", reason="empty", file=str(path))
        if size > limits.max_bytes:
            message = f"the file has {size:,} bytes; the limit is {limits.max_bytes:,}"
            raise ImageError(message, reason="too large", file=str(path))
        blocks, left = [], limits.max_bytes
        while left and (block := _reading(file, min(left, size + 1), path)):
            blocks.append(block)
            left -= len(block)
    return b"".join(blocks)


def _explained_open(error: OSError | ValueError, path: Path) -> ImageError:
    code = getattr(error, "errno", None)
    reasons = {
        errno.ENOENT: "missing",
        errno.ENOTDIR: "missing",
        errno.ENAMETOOLONG: "missing",
        errno.EISDIR: "not a file",
        errno.ENXIO: "not a file",
        errno.ELOOP: "symlink loop",
        errno.EACCES: "no permission",
        errno.EPERM: "no permission",
    }
    reason = reasons.get(code, "unreadable") if isinstance(code, int) else "unreadable"
    return ImageError(getattr(error, "strerror", None) or str(error), reason=reason, file=str(path))


# --- pixels -----------------------------------------------------------------------------------------------------------


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF is missing from some builds of Pillow


def _mute_pillow_warnings() -> None:
    """Silence what Pillow's own modules warn of (odd EXIF, bombs below its limit): our checks decide, not a filter.

    ``warnings.catch_warnings`` is not thread-safe; one filter, added once and never removed, is.
    """
    if not any(
        module is not None and getattr(module, "pattern", module) == _PILLOW for _, _, _, module, _ in warnings.filters
    ):
        warnings.filterwarnings("ignore", module=_PILLOW)


def _decode_bytes(data: bytes, limits: Limits, side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Upright RGB picture, and (width, height) of the upright original."""
    with Image.open(io.BytesIO(data), formats=_formats()) as opened:
        width, height = opened.size
        _check_size(width, height, limits)
        if width * height <= _LARGE_PIXELS:
            return _pixels(opened, side)
        # glibc keeps what a thread has freed for that thread: eight threads would keep eight large pictures' worth.
        with _one_large_at_a_time, ThreadPoolExecutor(1) as alone:
            return alone.submit(_pixels, opened, side).result()


def _pixels(opened: Image.Image, side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    size = opened.size
    if side is not None:
        opened.draft(None, (_REDUCING_GAP * side, _REDUCING_GAP * side))
    opened.load()
    reported = opened.size if opened.format == "TIFF" else size  # Pillow turns TIFFs itself
    image = _reduced(to_rgb(_reduced(opened, side)), side)  # some modes can be averaged only as RGB
    turn = _UPRIGHT.get(_orientation(opened))
    opened.close()
    if turn is not None:
        image = image.transpose(turn)
        if turn in (_UPRIGHT[5], _UPRIGHT[6], _UPRIGHT[7], _UPRIGHT[8]):
            reported = (reported[1], reported[0])
    return image, reported


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        message = f"{width:,} x {height:,} pixels; the limit is {limits.max_pixels:,} pixels"
        raise ImageError(message, reason="too many pixels")
    if min(width, height) < limits.min_side:
        message = f"{width:,} x {height:,} pixels; the shorter side must have at least {limits.min_side}"
        raise ImageError(message, reason="too small")


def _reduced(image: Image.Image, side: int | None) -> Image.Image:
    factor = min(image.size) // (_REDUCING_GAP * side) if side else 1
    if factor < 2 or image.mode not in ("L", "RGB", "CMYK", "LA", "RGBA") or "transparency" in image.info:
        return image
    # ``reduce`` averages premultiplied where there is an alpha channel, so transparent pixels lend no colour.
    return image.reduce(factor)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
        return int(value) if isinstance(value, (int, float)) else 1
    except Exception:  # EXIF is an arbitrary user-made structure; a broken one says nothing about the pixels
        return 1


def _explained(error: Exception, path: Path) -> ImageError:
    text = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        message = "the bytes are of no image format that can be read (HEIC, RAW and SVG must be converted first)"
        return ImageError(message, reason="not an image", file=str(path))
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageError(text, reason="too many pixels", file=str(path))
    lower = text.lower()
    if isinstance(error, ValueError) and ("too large" in lower or "too much memory" in lower):
        return ImageError(text, reason="too much metadata", file=str(path))  # PNG text bombs
    truncated = isinstance(error, EOFError) or any(word in lower for word in ("truncated", "end of file"))
    return ImageError(text, reason="truncated" if truncated else "unreadable", file=str(path))


def _shrunk(image: Image.Image, max_side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= max_side:
        return image
    width, height = (max(1, round(length * max_side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
