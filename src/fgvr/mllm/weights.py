"""Where a local model's files are, and a digest that tells whether they changed. Only safetensors are ever fetched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fgvr.errors import FgvrError, MllmError
from fgvr.mllm import adapters

_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
_WHOLE = 2 * 2**30
"""Up to this many bytes of weights are hashed whole; beyond, samples (below) stand for the rest."""
_SAMPLES = 64
_SAMPLE_BYTES = 2**20


@dataclass(frozen=True)
class ModelFiles:
    """A model as it lies on disk: a base and the adapters trained on it, innermost first."""

    base: Path
    adapters: tuple[Path, ...]
    revision: str
    """Of base and adapters together."""


def model_files(source: str) -> ModelFiles:
    """Base folder, adapters and revision of a folder (a model, or an adapter on one) or Hub id.

    An adapter's base may itself be an adapter. Raises MllmError as ``model_folder`` does, and when an adapter's base is
    not the one it was trained on.
    """
    stack: list[Path] = []
    while adapters.is_adapter(folder := Path(source).expanduser()):
        if len(stack) == adapters.MOST_STACKED:
            raise MllmError("too many adapters on one another", remedy="Merge some of them.", folder=folder)
        stack.insert(0, folder)
        source = adapters.base_of(folder)
        if source == adapters.FIELDGUIDE:
            source = str(_embedded())
    base, revision = model_folder(source)
    content = digest(base) if stack else ""  # a Hub model's revision also changes with its README
    for adapter in stack:
        noted = adapters.base_digest(adapter)
        if noted is not None and noted != content:
            remedy = "Restore that base, or train the adapter again."
            raise MllmError("the adapter was trained on other weights", remedy=remedy, folder=adapter, base=source)
        revision, content = _on_top(revision, adapter), _on_top(content, adapter)
    return ModelFiles(base, tuple(stack), revision)


def content_digest(files: ModelFiles) -> str:
    """Digest of all files of base and adapters: the same for a Hub model and its copy in a folder."""
    content = digest(files.base)
    for adapter in files.adapters:
        content = _on_top(content, adapter)
    return content


def _on_top(below: str, adapter: Path) -> str:
    return hashlib.sha256(f"{below}\0{digest(adapter)}".encode()).hexdigest()[:16]


def _embedded() -> Path:
    from fgvr.fieldguide import weights_folder

    try:
        return weights_folder("mllm")
    except FgvrError as error:
        raise MllmError(error.message, remedy=error.remedy) from error


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
