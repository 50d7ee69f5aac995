"""What every test starts from, whatever ran before it in the same process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples on every run; FGVR_FUZZ=1 draws new ones each time.
settings.register_profile("fgvr", derandomize=not os.environ.get("FGVR_FUZZ"))
settings.load_profile("fgvr")


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """The command line sends fgvr's log to standard error, and only there; a test must not pass that on."""
    logger = logging.getLogger("fgvr")
    before = (logger.propagate, logger.level, list(logger.handlers), logging.root.manager.disable)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
    yield
    logger.propagate, logger.level, logger.handlers[:] = before[0], before[1], before[2]
    logging.disable(before[3])
