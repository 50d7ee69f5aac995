"""Tiny files in the places where published data sets keep theirs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from fgvr.data.benchmarks.base import Benchmark


def jpeg(shade: int = 0, side: int = 4) -> bytes:
    """A readable JPEG; ``shade`` makes it another picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (shade * 37 % 256, shade * 91 % 256, shade * 7 % 256)).save(buffer, "JPEG")
    return buffer.getvalue()


def images(root: Path, names: Iterable[str]) -> None:
    """One small JPEG per relative path."""
    for shade, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(shade))


def text(root: Path, name: str, *lines: str) -> Path:
    """A list, one line each."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return root / name


def coop_split(root: Path, name: str, **parts: list[tuple[str, int, str]]) -> Path:
    """A ``split_zhou_*.json``."""
    (root / name).write_text(json.dumps({part: parts.get(part, []) for part in ("train", "val", "test")}))
    return root / name


def shown(found: Benchmark) -> list[tuple[str, str | None, str | None]]:
    """(id, label, split) of each item."""
    return [(item.id, item.label, item.split) for item in found.items]


def kinds(found: Benchmark) -> list[str]:
    """The problems' codes."""
    return [problem.kind for problem in found.problems]
