"""A small world for comparisons: drawn vectors as pictures, an exact encoder, a scripted MLLM, methods in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fgvr.compare import Collection, Draw, Row, Terms, compare
from fgvr.data import load_items
from fgvr.mllm import Price
from tests.methods.near.world import ProjectionEncoder
from tests.methods.rar.world import CLASSES, Witness, draw, truths

FEW = CLASSES[:4]
TOKENS, DOLLARS = 1000, 1000e-6
"""Input tokens of a call, and their price."""
PRICES = {"witness": Price(1.0, 1.0)}


def collection(root: Path, name: str = "birds", *, pool: int = 3, test: int = 2, seed: int = 1) -> Collection:
    """Four classes, ``pool`` and ``test`` pictures of each, under ``ROOT/NAME``."""
    sides = {"pool": pool, "test": test}
    for number, (side, each) in enumerate(sides.items()):
        draw(root / name / side, each, names=FEW, seed=10 * seed + number)
    found = {side: load_items(root / name / side).items for side in sides}
    return Collection(name, *(tuple(replace(i, id=f"{side}/{i.id}") for i in found[side]) for side in sides))


def witness(*collections: Collection, **options: Any) -> Witness:
    """An MLLM that knows the true name of every picture of the collections."""
    folders = {item.path.parents[1] for one in collections for item in (*one.pool, *one.test)}
    return Witness(truths(*folders), tokens=TOKENS, **options)


def terms(mllm: Any, **more: Any) -> Terms:
    """Terms of a comparison with an exact encoder and a price of $0.001 a question."""
    asking = {"prices": PRICES, "concurrency": 1, **more.pop("asking", {})}
    return Terms(ProjectionEncoder(), mllm, asking=asking, resamples=more.pop("resamples", 20), **more)


def run(collections: Sequence[Collection], methods: Sequence[str], mllm: Any, out: Path, **more: Any) -> list[Row]:
    """A comparison; what ``compare`` does not take goes to the terms."""
    own = {key: more.pop(key) for key in ("draw", "seeds", "told", "force") if key in more}
    return compare(collections, methods, terms=terms(mllm, **more), out=out, **{"draw": Draw(shots=2), **own})


PREFACE = """
from dataclasses import dataclass
from fgvr.methods.baselines.task import Naming
from fgvr.mllm import Parameters, Request

TITLE = "mine"


@dataclass(frozen=True)
class Settings:
    a: int = 1


def asked(task, items, prompt, **parameters):
    requests = [Request(i.id, prompt, (i.path,), parameters=Parameters(20, **parameters)) for i in items]
    return task.ask(requests)


def name_images(task, settings):
    n = len(task.test.items)
"""


def method(folder: Path, name: str, body: str) -> str:
    """A user's own method ``FOLDER/NAME.py``; ``body``: the lines of ``name_images`` (``n`` test images)."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(PREFACE + lines)
    return str(folder / f"{name}.py")


ASKS = """
found = asked(task, task.test.items, "{prompt}")
return Naming(tuple(found.replies[i.id].text if i.id in found.replies else None for i in task.test.items))
"""


def asker(folder: Path, name: str, prompt: str = "What is this?") -> str:
    """A method that asks the MLLM about every test image."""
    return method(folder, name, ASKS.format(prompt=prompt))
