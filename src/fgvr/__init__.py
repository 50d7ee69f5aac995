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
    from fgvr.methods.rar import RAR as RAR
    from fgvr.methods.student import Student as Student

__version__ = "0.1.0"
__all__ = [
    "RAR",
    "ImageItem",
    "NamedImage",
    "NeaR",
    "Prediction",
    "SetAside",
    "Student",
    "Usage",
    "__version__",
    "errors",
    "load",
]


def load(folder: str | os.PathLike[str], *, encoder: Any = None, mllm: Any = None) -> NeaR | RAR | Student:
    """A saved classifier or recogniser, or the run folder of a finished fit, of whichever method.

    ``encoder`` replaces the stored name (moved folder); ``mllm``: for a RAR run, which retrieves only without one.
    Raises ``RunError`` for a missing or damaged one.
    """
    from pathlib import Path

    from fgvr.methods.near import NeaR
    from fgvr.methods.rar import RAR
    from fgvr.methods.rar.recogniser import SETTINGS
    from fgvr.methods.student import Student, is_student

    if (Path(folder) / SETTINGS).exists():
        return RAR.load(folder, mllm, encoder=encoder)
    if is_student(folder):
        return Student.load(folder, encoder=encoder)
    return NeaR.load(folder, encoder=encoder)


def __getattr__(name: str) -> Any:
    """The methods, imported when first asked for."""
    if name == "NeaR":
        from fgvr.methods.near import NeaR

        return NeaR
    if name == "RAR":
        from fgvr.methods.rar import RAR

        return RAR
    if name == "Student":
        from fgvr.methods.student import Student

        return Student
    raise AttributeError(f"module 'fgvr' has no attribute {name!r}")
