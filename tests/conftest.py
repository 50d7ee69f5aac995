"""What every test starts from, whatever ran before it in the same process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


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
