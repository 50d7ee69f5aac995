"""A small world for RAR end to end: drawn vectors as pictures, an exact encoder, MLLMs of known worth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fgvr.mllm import Reply, Request, ScriptedMllm
from fgvr.types import ImageItem, Usage
from tests.methods.near.world import NAMES, clustered, picture

CLASSES = NAMES[:8]
SPREAD = 0.45
"""Of pictures round their class: one shot left out, retrieval names about half of them."""
Worth = Literal["knows", "guesses", "lies", "mumbles"]


def draw(folder: Path, shots: int, *, names: Sequence[str] = CLASSES, seed: int = 1, spread: float = SPREAD) -> Path:
    """``FOLDER/CLASS/NUMBER.png``: so many pictures of every class."""
    features, true = clustered(shots, names=names, spread=spread, seed=seed)
    for number, (feature, label) in enumerate(zip(features, true, strict=True)):
        place = folder / names[label]
        place.mkdir(parents=True, exist_ok=True)
        picture(feature).save(place / f"{number:03d}.png")
    return folder


def flat(folder: Path, target: Path) -> Path:
    """The same pictures in one folder without class folders: nothing tells their labels."""
    target.mkdir()
    for file in folder.rglob("*.png"):
        (target / f"{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}.png").write_bytes(file.read_bytes())
    return target


def truths(*folders: Path) -> dict[str, str]:
    """The class of every picture below class folders, by content hash."""
    files = [file for folder in folders for file in folder.rglob("*.png")]
    return {hashlib.sha256(file.read_bytes()).hexdigest(): file.parent.name for file in files}


class Witness:
    """A scripted MLLM of known worth that remembers what it was asked.

    ``knows`` is sure of the true name; ``guesses`` prefers a name at random; ``lies`` is sure of a wrong one;
    ``mumbles`` finds all alike. Every answer takes ``tokens`` input tokens.
    """

    def __init__(
        self,
        truth: dict[str, str],
        worth: Worth = "knows",
        *,
        name: str = "witness",
        tokens: int = 1,
        **options: object,
    ) -> None:
        self.truth, self.worth, self.usage = truth, worth, Usage(calls=1, input_tokens=tokens)
        self.asked: list[Request] = []
        self.mllm = ScriptedMllm(self._script, name=name, **options)  # type: ignore[arg-type]

    def _script(self, request: Request) -> Reply:
        self.asked.append(request)
        true = self.truth.get(request.image_hashes[0], "")
        if not request.options:
            said = f"This is a **{true}**." if request.stage == "label" else str([true])
            return Reply("", said, self.mllm.name, self.usage)
        scores = self._scores(request, true)
        top = max(scores)
        total = top + math.log(sum(math.exp(score - top) for score in scores))
        return Reply("", "", self.mllm.name, self.usage, option_logprobs=tuple(s - total for s in scores))

    def _scores(self, request: Request, true: str) -> list[float]:
        if self.worth == "mumbles":
            return [0.0] * len(request.options)
        at = request.options.index(true) if true in request.options else -1
        if self.worth == "guesses" or at < 0:
            seed = int(request.image_hashes[0][:8], 16)
            at = int(np.random.default_rng(seed).integers(len(request.options)))
        elif self.worth == "lies":
            at = (at + 1) % len(request.options)
        return [3.0 if place == at else 0.0 for place in range(len(request.options))]


def right(predictions: Sequence[object], items: Sequence[ImageItem]) -> float:
    """Share of images whose best name is the true one, whatever is reported as unknown."""
    label = {item.id: item.label for item in items}
    return float(np.mean([p.top[0][0] == label[p.item_id] for p in predictions]))  # type: ignore[attr-defined]
