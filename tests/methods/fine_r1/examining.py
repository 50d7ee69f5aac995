"""Questions about pictures of nothing in particular, and models whose answers are known beforehand."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fgvr.data.benchmarks.questions import Question
from fgvr.mllm import Request, ScriptedMllm
from fgvr.types import ImageItem
from tests.multiple_choice.world import NAMES, pictures

Say = Callable[[Request, list[str]], str]


def asked_about(folder: Path, count: int = 8, *, text: str = "What bird is this?") -> list[Question]:
    """Questions with the truth first, as the released files have them."""
    return [
        Question(item.id, (str(item.label), *(n for n in NAMES if n != item.label)), 0, text, path=item.path)
        for item in pictures(folder, count)
    ]


def options_of(request: Request) -> list[str]:
    """What the paper's prompt lists; nothing where it lists nothing."""
    found = re.search(r"options provided in (\[.*?\]), output", request.prompt)
    return list(ast.literal_eval(found[1])) if found else []


def truth_of(request: Request) -> str | None:
    """What the picture's file name tells; ``None`` for a blank picture or none."""
    if not request.images or "_" not in request.images[0].stem:
        return None
    return request.images[0].stem.split("_", 1)[1].replace("_", " ")


def tagged(name: str, thinking: str = "a thought") -> str:
    """A reply in the asked form."""
    return f"<think>{thinking}</think> <answer>{name}</answer>"


def writing(say: Say, **more: object) -> ScriptedMllm:
    """Writes ``say(request, options)``; notes what it was asked in ``.asked``."""
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return say(request, options_of(request))

    model = ScriptedMllm(script, local=True, **more)  # type: ignore[arg-type]
    model.asked = asked  # type: ignore[attr-defined]
    return model


def knowing(request: Request, options: list[str]) -> str:
    """The truth; the first option where there is none to know."""
    return tagged(truth_of(request) or options[0])


class Texts:
    """A sentence encoder of given vectors; any other text has a vector of its own, orthogonal to those."""

    name = "toy"

    def __init__(self, **vectors: tuple[float, ...]) -> None:
        self.vectors = {text.replace("_", " "): np.array(vector) for text, vector in vectors.items()}
        self.asked: list[str] = []

    def encode(self, texts):
        self.asked += texts
        rows = [np.append(self.vectors.get(text, np.zeros(2)), float(text not in self.vectors)) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


class Colours:
    """A dual encoder that tells pictures by their red channel: number ``n`` shows ``names[n % len(names)]``."""

    name, fingerprint, dim, logit_scale, image_size = "colours", "c0ffee" * 8, 5, 10.0, 8

    def __init__(self, names: tuple[str, ...] = NAMES, *, wrong: tuple[int, ...] = ()) -> None:
        self.names, self.wrong = names, wrong
        self.texts: list[str] = []

    def encode_images(self, images: list[Image.Image]) -> np.ndarray:
        numbers = [np.asarray(image)[0, 0, 0] for image in images]
        return np.stack([np.eye(self.dim)[(n + (n in self.wrong)) % len(self.names)] for n in numbers]).astype(
            "float32"
        )

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        rows = [next((at for at, name in enumerate(self.names) if name in text), self.dim - 1) for text in texts]
        return np.eye(self.dim, dtype=np.float32)[rows]

    def prompt_tower(self):
        raise NotImplementedError


def items_of(questions: list[Question], *, accepted: tuple[str, ...] = ()) -> list[ImageItem]:
    """The same pictures as open items."""
    return [ImageItem(one.id, one.path, one.truth, accepted) for one in questions if one.path is not None]
