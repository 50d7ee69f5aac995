"""Where the embedded models lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fgvr.errors import EncoderError


def weights_folder(part: Literal["encoder", "mllm"]) -> Path:
    """Folder of the tiny dual encoder or the tiny MLLM; raises ``EncoderError`` if the package lacks it."""
    folder = Path(__file__).parent / "models" / part
    if not (folder / "model.safetensors").is_file():
        raise EncoderError(
            f"the embedded {part} is not in this installation",
            remedy="Reinstall fgvr, or train it with scripts/train_fieldguide.py.",
            folder=folder,
        )
    return folder
