"""Where a local model's files are, and a digest that tells whether they changed. Only safetensors are ever fetched."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fgvr.errors import MllmError

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
_WHOLE = 2 * 2**30
"""Up to this many bytes of weights are hashed whole; beyond, samples (below) stand for the rest."""
_SAMPLES = 64
_SAMPLE_BYTES = 2**20


def model_folder(source: str) -> tuple[Path, str]:
    """Folder of ``source`` (a folder, or a Hub id to be fetched) and its revision (digest, or the Hub's commit).

    Raises MllmError when there is nothing there, or no safetensors weights.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        _require_safetensors(folder)
        return folder, digest(folder)
    if folder.exists() or source.count("/") > 1 or source.startswith((".", "/", "~")):
        raise MllmError("no such model folder", remedy="Give a folder or a Hub id like org/name.", model=source)
    fetched = _fetch(source)
    _require_safetensors(fetched)
    return fetched, fetched.name


def _fetch(source: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=list(_FILES)))
    except Exception as error:  # the Hub client raises its own and its HTTP library's errors
        raise MllmError(
            "the model cannot be fetched from the Hub",
            remedy="Check the id and the network, or give a local folder.",
            model=source,
            reason=f"{type(error).__name__}: {str(error)[:200]}",
        ) from error


def _require_safetensors(folder: Path) -> None:
    if not any(folder.glob("*.safetensors")):
        raise MllmError(
            "no safetensors weights",
            remedy="Pickled weights (.bin, .pt) are refused: convert them to safetensors.",
            folder=folder,
        )


def digest(folder: Path) -> str:
    """First 16 hex digits of a SHA-256 over all model files: names, sizes and contents.

    Weights beyond 2 GiB together are sampled: header and 64 evenly spaced MiB of each file. A change confined to the
    gaps would go unseen; training changes every tensor.
    """
    files = sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()})
    sampled = sum(path.stat().st_size for path in files) > _WHOLE
    total = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        total.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
        total.update(_content_digest(path, size, sampled=sampled and path.suffix == ".safetensors"))
    return total.hexdigest()[:16]


def _content_digest(path: Path, size: int, *, sampled: bool) -> bytes:
    with path.open("rb") as file:
        if not sampled or size <= _SAMPLES * _SAMPLE_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        content = hashlib.sha256()
        for index in range(_SAMPLES):
            file.seek(index * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            content.update(file.read(_SAMPLE_BYTES))
        return content.digest()
