"""faiss, the optional package (extra ``ann``)."""

from __future__ import annotations

from typing import Any

from fgvr.errors import MissingExtraError


def load_faiss() -> Any:
    """The module, untyped: its stubs lack what is made at run time. Raises ``MissingExtraError``."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", extra="ann") from error
    return faiss
