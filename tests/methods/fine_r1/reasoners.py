"""Small pictures and scripted teachers for tests of reasoning data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from fgvr.methods.fine_r1.reasoning import ReasoningSettings
from fgvr.methods.fine_r1.reasoning_filters import Rules
from fgvr.mllm import Reply, Request, ScriptedMllm
from fgvr.types import ImageItem

NAMES = ("Red Wren", "Blue Finch", "Green Heron")
SHORT = ReasoningSettings(length="short", rules=Rules(words=(5, 80)), attempts=3)
Script = Callable[[Request], "str | Reply | Exception"]


class Teacher:
    """A scripted model that remembers what it was asked."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.asked: list[Request] = []
        self.script = script
        self.mllm = ScriptedMllm(self._remember, **{"batch_size": 50, "local": True, **options})

    def _remember(self, request: Request) -> str | Reply | Exception:
        self.asked.append(request)
        return self.script(request)

    def of(self, stage: str) -> list[Request]:
        return [request for request in self.asked if request.stage == f"fine-r1:{stage}"]


def pictures(folder: Path, names: tuple[str, ...] = NAMES) -> list[ImageItem]:
    """One picture of each name."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, name in enumerate(names):
        path = folder / f"{number}.png"
        Image.new("RGB", (8, 8), (40 * number, 5, 200)).save(path)
        items.append(ImageItem(f"{number}.png", path, name, (f"{name} (old)",)))
    return items


def told_label(request: Request) -> str:
    found = re.match(r"This is a picture of a (.+?)(?: with the following|\.$)", request.prompt, re.MULTILINE)
    assert found is not None
    return found[1]


def reply(label: str, *, other: str = "Grey Crow", options: str | None = None, prediction: str | None = None) -> str:
    return (
        f"<analysis>The bird has a bright crown.</analysis><options>{options or f'{other}, {label.upper()}'}</options>"
        f"<comparison>The {other} is dull, so this\nis the {label}.</comparison>"
        f"<prediction>{prediction or label}</prediction>"
    )


def good(request: Request) -> str:
    """Captions by the picture's number, and a rationale that passes all filters."""
    if request.stage == "fine-r1:caption":
        return f"The crown is tone{request.images[0].stem}. It has feathers."
    return reply(told_label(request))
