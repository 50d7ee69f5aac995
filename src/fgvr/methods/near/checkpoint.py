"""Where tuning stands, on disk: everything the next epoch depends on, so that going on is bit-exact.

One safetensors file, written atomically and checked on reading; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgvr.errors import RunError
from fgvr.runs import load_arrays, save_arrays


@dataclass(frozen=True)
class Checkpoint:
    """The state of a tuning run between two epochs."""

    identity: Mapping[str, Any]
    """JSON-like; what must be equal for the checkpoint to belong to this run."""
    tensors: Mapping[str, Tensor]
    """Parameters (``head.*``), weights, targets."""
    optimiser: Mapping[int, Mapping[str, Tensor]]
    """Momentum buffers and moments by parameter slot."""
    progress: Mapping[str, Any]
    """JSON-like: epoch, generator state, trace."""

    def save(self, path: Path) -> None:
        """Replace ``path`` whole. Raises ``RunError`` (disk)."""
        flat = dict(self.tensors)
        for slot, state in self.optimiser.items():
            flat |= {f"optimiser.{slot}.{key}": value for key, value in state.items() if value is not None}
        arrays = {name: torch.as_tensor(value).detach().cpu().numpy() for name, value in flat.items()}
        save_arrays(path, arrays, metadata={"tuning": json.dumps({"identity": self.identity, **self.progress})})

    @classmethod
    def load(cls, path: Path, *, identity: Mapping[str, Any], device: torch.device) -> Checkpoint:
        """Read it back. Raises ``RunError`` for a damaged file, or one whose identity differs."""
        arrays, metadata = load_arrays(path)
        try:
            progress = json.loads(metadata["tuning"])
            stored = progress.pop("identity")
        except (KeyError, ValueError) as error:
            raise RunError("this is no tuning checkpoint", remedy="Delete it.", file=str(path)) from error
        if stored != json.loads(json.dumps(identity)):
            remedy = "Choose another folder, or delete the checkpoint."
            raise RunError("the checkpoint belongs to other data or settings", remedy=remedy, file=str(path))
        tensors = {name: torch.as_tensor(value, device=device) for name, value in arrays.items()}
        optimiser: dict[int, dict[str, Tensor]] = {}
        for name in [name for name in tensors if name.startswith("optimiser.")]:
            _, slot, key = name.split(".", 2)
            optimiser.setdefault(int(slot), {})[key] = tensors.pop(name)
        return cls(identity, tensors, optimiser, progress)
