from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.encoders.tiny import save

from .world import done, draw, record


class World(NamedTuple):
    photographs: Path
    recording: Path
    encoder: Path

    def fit(self, run: Path, *more: object) -> tuple[object, ...]:
        """The arguments of a small, quick fit."""
        names = ("--encoder", self.encoder, "--mllm", f"replay:{self.recording}")
        return ("fit", "near", self.photographs, "--out", run, *names, "--preset", "lite", "--epochs", 3, *more)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("world")
    photographs = draw(root / "photographs")
    return World(photographs, record(photographs, root / "replies.jsonl"), save("clip", root / "encoder"))


@pytest.fixture(scope="session")
def fitted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on half of the photographs."""
    run = tmp_path_factory.mktemp("fitted") / "run"
    done(*world.fit(run, "--support", 12))
    return run
