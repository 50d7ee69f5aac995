"""Two super-categories of the drawn world, six species, with the embedded models: what whole runs are tried on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgvr.encoders import FeatureStore, FeatureTable, load_encoder
from fgvr.fieldguide.guide import accepted_names, by_key
from fgvr.fieldguide.render import render
from fgvr.labels import normalise
from fgvr.methods.baselines.task import Naming, Task
from fgvr.mllm import Mllm, Reply, Request, ResponseCache, ScriptedMllm, load_mllm
from fgvr.types import ImageItem
from tests.methods.near.world import ProjectionEncoder, clustered, picture

KEYS = (
    "bird_black_capped_warbler",
    "bird_red_capped_finch",
    "bird_black_capped_kingfisher",
    "fish_kelp_wrasse",
    "fish_barred_perch",
    "fish_tinker_damsel",
)
FIRST_SEED = 901_000_000
"""View seeds from here on are for development: nothing reported is drawn from them."""


@dataclass(frozen=True)
class World:
    """A task and the truth about its test images."""

    task: Task
    truth: tuple[str, ...]
    """Species keys of the test images."""

    def right(self, naming: Naming) -> float:
        """Share of the test images named rightly, in any accepted form."""
        hits = 0
        for name, key in zip(naming.names, self.truth, strict=True):
            accepted = {normalise(one) for one in accepted_names(by_key(key))}
            hits += name is not None and normalise(name) in accepted
        return hits / len(self.truth)


def draw_world(folder: Path, *, shots: int = 3, queries: int = 2, side: int = 112) -> World:
    """Pictures, features, the embedded MLLM and the field guide's language; answers are kept, so nobody asks twice."""
    encoder, store = load_encoder("fieldguide"), FeatureStore(folder / "store")
    items: dict[str, list[ImageItem]] = {"support": [], "test": []}
    truth = []
    for number, key in enumerate(KEYS):
        for index in range(shots + queries):
            split = "support" if index < shots else "test"
            path = folder / split / f"{number * 100 + index}.png"
            path.parent.mkdir(exist_ok=True, parents=True)
            render(by_key(key), FIRST_SEED + 1000 * number + index, size=side).image.save(path)
            items[split].append(ImageItem(f"{split}/{path.name}", path))
            truth += [key] if split == "test" else []
    tables = {split: store.features(found, encoder) for split, found in items.items()}
    cache = ResponseCache(folder / "cache.sqlite")
    task = Task(
        support=tables["support"],
        test=tables["test"],
        encoder=encoder,
        mllm=load_mllm("fieldguide", batch_size=32),
        llm=load_mllm("fieldguide-text"),
        store=store,
        folder=folder / "work",
        asking=lambda: {"cache": cache},
    )
    return World(task, tuple(truth))


class Talk:
    """A scripted model that remembers what it was asked."""

    def __init__(self, script: Callable[[Request], str | Reply | Exception], **options: Any) -> None:
        self.asked: list[Request] = []
        self._script = script
        self.mllm: Mllm = ScriptedMllm(self._remember, **{"batch_size": 50, "local": True, **options})

    def _remember(self, request: Request) -> str | Reply | Exception:
        self.asked.append(request)
        return self._script(request)

    def of(self, stage: str) -> list[Request]:
        return [request for request in self.asked if request.stage == stage]


def vector_task(
    folder: Path, names: Sequence[str], *, mllm: Mllm, llm: Mllm | None = None, shots: int = 2, queries: int = 3
) -> World:
    """Vectors as pictures and an encoder that reads them exactly; ``truth`` holds names, not keys."""
    encoder, store = ProjectionEncoder(gap=0.0), FeatureStore(folder / "store")
    tables: dict[str, FeatureTable] = {}
    truths: dict[str, tuple[str, ...]] = {}
    for split, count in (("support", shots), ("test", queries)):
        features, true = clustered(count, names=names, spread=0.05, seed=len(split))
        items = []
        for number, feature in enumerate(features):
            path = folder / split / f"{number:03d}.png"
            path.parent.mkdir(exist_ok=True, parents=True)
            picture(feature).save(path)
            items.append(ImageItem(f"{split}/{number:03d}.png", path))
        tables[split] = store.features(items, encoder)
        truths[split] = tuple(names[label] for label in true)
    task = Task(tables["support"], tables["test"], encoder, mllm, llm or mllm, store, folder / "work")
    return World(task, truths["test"])


def with_models(world: World, *, mllm: Mllm | None = None, llm: Mllm | None = None) -> Task:
    """The same task, asking other models."""
    return replace(world.task, mllm=mllm or world.task.mllm, llm=llm or world.task.llm)
