"""fgvr: fine-grained visual recognition with multimodal LLMs.

The library in three lines::

    near = fgvr.NeaR(encoder="openai/clip-vit-base-patch16", mllm="openai:gpt-4o").fit("photos/")
    near.save("birds")
    for prediction in fgvr.load("birds").predict("new_photos/"): print(prediction.name, prediction.probability)

Importing this package is cheap; torch is imported when something needs it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fgvr import errors as errors
from fgvr.types import ImageItem as ImageItem
from fgvr.types import NamedImage as NamedImage
from fgvr.types import Prediction as Prediction
from fgvr.types import SetAside as SetAside
from fgvr.types import Usage as Usage

if TYPE_CHECKING:
    from fgvr.methods.near import NeaR as NeaR

__version__ = "0.1.0"
__all__ = ["ImageItem", "NamedImage", "NeaR", "Prediction", "SetAside", "Usage", "__version__", "errors", "load"]


def load(folder: str | os.PathLike[str], *, encoder: Any = None) -> NeaR:
    """A saved classifier, or the run folder of a finished fit; ``encoder`` replaces the stored name (moved folder).

    Raises ``RunError`` for a missing or damaged classifier.
    """
    from fgvr.methods.near import NeaR

    return NeaR.load(folder, encoder=encoder)


def __getattr__(name: str) -> Any:
    """``NeaR``, imported when first asked for."""
    if name == "NeaR":
        from fgvr.methods.near import NeaR

        return NeaR
    raise AttributeError(f"module 'fgvr' has no attribute {name!r}")
