"""What is the same for every method of a comparison, and what makes two comparisons the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgvr.compare.collection import Draw
from fgvr.encoders.base import DualEncoder
from fgvr.methods.baselines.task import Material
from fgvr.mllm.base import Mllm


@dataclass(frozen=True)
class Terms:
    """What is the same for every method of a comparison."""

    encoder: DualEncoder
    mllm: Mllm
    llm: Mllm | None = None
    """For steps of pure text; ``None``: the MLLM."""
    material: Material = field(default_factory=Material)
    sentence_encoder: Any = None
    """For sACC; ``None`` leaves it out."""
    budget: float | None = None
    """US dollars for everything together, over all sessions."""
    budget_each: float | None = None
    """US dollars that one method on one draw may take, counted as if it ran alone."""
    asking: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of ``ask_all``: concurrency, prices, retry_failed, ..."""
    store: Path | None = None
    """Folder of the shared feature store; inside the comparison by default."""
    allow_leaks: bool = False
    resamples: int = 1000

    @property
    def reasoner(self) -> Mllm:
        """Who answers questions of pure text."""
        return self.llm or self.mllm


def identity_of(terms: Terms, draw: Draw) -> dict[str, Any]:
    """What makes two comparisons the same one; methods, collections and seeds may be added."""
    llm = terms.reasoner
    return {
        "method": "compare",
        "encoder": terms.encoder.fingerprint,
        "mllm": {"name": terms.mllm.name, "revision": terms.mllm.revision},
        "llm": {"name": llm.name, "revision": llm.revision},
        "draw": vars(draw),
    }


def material_identity(material: Material) -> dict[str, Any]:
    """What makes the further material of two cells the same: paths, sizes and times of files, the voter."""
    files = {"captions": material.captions, "wordnet": material.wordnet}
    found: dict[str, Any] = {key: None if path is None else [str(path), *_version(path)] for key, path in files.items()}
    return {**found, "voter": None if material.voter is None else material.voter.fingerprint}


def _version(path: Path) -> list[int]:
    """Of a file its size and time; of a folder, or what is not there, nothing."""
    try:
        state = path.expanduser().stat()
    except OSError:
        return []
    return [state.st_size, state.st_mtime_ns] if path.expanduser().is_file() else []
