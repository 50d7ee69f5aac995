"""fgvr: fine-grained visual recognition with multimodal LLMs.

The library in three lines::

    near = fgvr.NeaR(encoder="openai/clip-vit-base-patch16", mllm="openai:gpt-4o").fit("photos/")
    near.save("birds")
    for prediction in fgvr.load("birds").predict("new_photos/"): print(prediction.name, prediction.probability)

Importing this package is cheap; torch is imported when something needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fgvr import errors as errors
from fgvr.types import ImageItem as ImageItem
from fgvr.types import NamedImage as NamedImage
from fgvr.types import Prediction as Prediction
from fgvr.types import SetAside as SetAside
from fgvr.types import Usage as Usage

if TYPE_CHECKING:
    from fgvr.methods.near import NeaR as NeaR
    from fgvr.methods.near import load as load

__version__ = "0.1.0"
__all__ = ["ImageItem", "NamedImage", "NeaR", "Prediction", "SetAside", "Usage", "__version__", "errors", "load"]


def __getattr__(name: str) -> Any:
    """``NeaR`` and ``load``, imported when first asked for."""
    if name in ("NeaR", "load"):
        from fgvr.methods import near

        return getattr(near, name)
    raise AttributeError(f"module 'fgvr' has no attribute {name!r}")
