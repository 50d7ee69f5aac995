"""The drawn world, made once: every method asks about the same pictures, and no question is put twice."""

from __future__ import annotations

import pytest

from tests.methods.baselines.drawn import World, draw_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return draw_world(tmp_path_factory.mktemp("drawn"))
