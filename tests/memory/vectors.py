"""Small vectors for the memory's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fgvr.memory import Memory


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def scattered(count: int, dim: int = 8, *, seed: int = 0) -> np.ndarray:
    """(N, D) unit vectors."""
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def clusters(count: int, dim: int = 32, *, per: int = 10, spread: float = 0.7, seed: int = 0) -> np.ndarray:
    """(N, D) unit vectors about N / per centres, shuffled."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, count // per), dim))
    return unit(centres[rng.integers(len(centres), size=count)] + spread * rng.normal(size=(count, dim)))


def empty(dim: int = 8) -> Memory:
    return Memory.create("stub", "f" * 64, dim, 30.0)


def filled(*, per_class: int = 3, dim: int = 8, seed: int = 0) -> Memory:
    """Three classes with images and a text each."""
    memory = empty(dim)
    names = [name for name in ("Wren", "Heron", "Tern") for _ in range(per_class)]
    memory.add("image", names, scattered(len(names), dim, seed=seed), sources=[f"{i}.jpg" for i in range(len(names))])
    memory.add("text", ["Wren", "Heron", "Tern"], scattered(3, dim, seed=seed + 1), sources=["a", "b", "c"])
    return memory


def content(memory: Memory) -> dict[str, object]:
    """All that a memory says, comparable with ``==``."""
    rows = {
        kind: [
            (memory.names[label], source, digest, vector.tobytes(), int(number))
            for label, source, digest, vector, number in zip(
                held.labels, held.sources, held.hashes, held.vectors, held.ids, strict=True
            )
        ]
        for kind, held in (("image", memory.images), ("text", memory.texts))
    }
    space = (memory.encoder, memory.fingerprint, memory.dim, memory.logit_scale)
    return {"space": space, "version": memory.version, "names": memory.names, **rows}


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, but for the lock."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}
