"""From a name to the folder a dual encoder is loaded from, and what identifies its features.

A Hub id is resolved to its local snapshot first, so that folder and Hub id take one path and one checkpoint has one
fingerprint wherever it lies. Only safetensors and JSON are read.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from fgvr.errors import EncoderError

FINGERPRINT_VERSION = 1
"""Raised when this package computes features differently from the same weights and preprocessing."""

FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What a checkpoint may consist of; everything else in a Hub repository stays there."""

VOLATILE = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "processor_class"}
"""Configuration keys that change from one saving to the next without changing a feature."""

_digests: dict[tuple[str, int, int], str] = {}


def checkpoint_folder(name: str) -> Path:
    """The local folder of ``fieldguide``, of a folder, or of a Hub id (``org/model``, ``hf-hub:org/model@revision``).

    Raises ``EncoderError`` for a folder that is not there, a Hub id that cannot be had, and weights that are not
    safetensors.
    """
    if name == "fieldguide":
        from fgvr.fieldguide import weights_folder

        folder = Path(weights_folder("encoder"))
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
    else:
        folder = _snapshot(name)
    if not (folder / "config.json").is_file():
        raise EncoderError(
            "the folder holds no config.json", remedy="Name a folder saved with save_pretrained.", encoder=name
        )
    if not weight_files(folder):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = f"only pickle files ({', '.join(pickled)}), which can run code" if pickled else "no weights"
        raise EncoderError(
            f"the checkpoint has {found}",
            remedy="Convert it to safetensors where you trust it, or name a revision that has them (id@refs/pr/N).",
            encoder=name,
        )
    return folder


def _snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    repository, _, revision = name.removeprefix("hf-hub:").partition("@")
    missing = "there is no such folder, and as a Hub id it"
    looks_local = name.startswith((".", "/", "~")) or repository.count("/") > 1 or "\\" in name
    if looks_local and not name.startswith("hf-hub:"):
        raise EncoderError("there is no such folder", remedy="Check the path.", encoder=name)
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(FILES), ignore_patterns=["*/*"]
        )
    except HFValidationError as error:
        raise EncoderError(
            f"{missing} is malformed", remedy="Name a folder or a Hub id such as org/model.", encoder=name
        ) from error
    except (OSError, ValueError) as error:  # offline, not cached, unknown or gated repository
        raise EncoderError(
            f"{missing} cannot be had: {_first_line(error)}",
            remedy="Download it once while online, or name a local folder.",
            encoder=name,
        ) from error
    except Exception as error:
        # huggingface_hub lets its HTTP client's connection errors through, whose base class depends on its version.
        raise EncoderError(
            f"{missing} could not be fetched: {_first_line(error)}",
            remedy="Check the network, or name a local folder.",
            encoder=name,
        ) from error
    return Path(folder)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files ``from_pretrained`` would read, in order; empty when there are none."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return [folder / Path(name).name for name in names]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else []


def fingerprint(folder: Path, preprocessing: dict[str, Any], *, dtype: str) -> str:
    """SHA-256 over weights, configuration, image preprocessing and dtype; the folder's own path has no part in it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    identity = {
        "version": FINGERPRINT_VERSION,
        "weights": [file_digest(path) for path in weight_files(folder)],
        "config": _stable(config),
        "preprocessing": _stable(preprocessing),
        "dtype": dtype,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered for this process by path, size and modification time."""
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def _stable(value: Any) -> Any:
    """Configuration without volatile keys and unset values, at every depth."""
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in VOLATILE and item is not None}
    return [_stable(item) for item in value] if isinstance(value, list | tuple) else value


def refuse_broken_torchvision() -> None:
    """A torchvision that is installed but cannot be imported breaks every ``transformers`` vision model; say so.

    Found by importing it: looking for it is not enough, and absent is fine.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # RuntimeError, ImportError or OSError, by kind of mismatch
        raise EncoderError(
            f"an installed torchvision cannot be imported and breaks transformers: {_first_line(error)}",
            remedy="Remove it (pip uninstall torchvision; fgvr does not need it) or install one that fits your torch.",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
