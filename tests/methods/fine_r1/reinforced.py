"""A tiny world for reinforcement: pictures of one colour each, triplets of them, and engines that read a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.monitor import MonitorSettings, Rule
from fgvr.methods.fine_r1.policy import PolicyTrained, train_policy
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.rewards import Reward
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.mllm.local import LocalMllm
from fgvr.training import Lora, prepare_model
from fgvr.training.lora import trainable
from fgvr.training.rollout import Sampled, Sampling
from fgvr.training.sights import Sight

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}
SILENT = MonitorSettings(**{rule.name: Rule(0.0, 0) for rule in fields(MonitorSettings) if rule.name != "window"})
"""No rule at all."""
KEEP_ALL = DynamicSampling(window=(-1.0, 2.0))
SETTINGS = PolicySettings(
    learning_rate=2e-2,
    epochs=4,
    rollout_batch=2,
    mini_rollout=2,
    update_batch=1,
    anchors=3,
    positives=3,
    micro_batch=4,
    sampling=Sampling(max_tokens=2),
    objective=TapoSettings.tapo(),
    dynamic=DynamicSampling(tries=3),
    style="short",
    thinking=False,
    weight_decay=0.0,
    checkpoint_every=1,
)
"""Of the four triplets: two prompts a step, each an update, eight steps."""


def triplets_of(folder: Path, each: int = 2) -> list[Triplet]:
    """``each`` pictures a colour, each with the next one as positive and one of the other colour as negative."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, colour in COLOURS.items():
        for index in range(each):
            paths[name, index] = folder / f"{name}{index}.png"
            Image.new("RGB", (40, 40), tuple(max(0, part - 12 * index) for part in colour)).save(paths[name, index])
    other = {"red": "blue", "blue": "red"}
    return [
        Triplet(
            id=f"{name}{index}",
            anchor=path,
            category=name,
            question="what bird is this ?",
            positive=paths[name, (index + 1) % each],
            negative=paths[other[name], index],
            negative_category=other[name],
        )
        for (name, index), path in paths.items()
    ]


def first_word(reply: str, truth: str, **_: Any) -> Reward:
    """A reward in place of the real one: the first word is the name."""
    right = float(reply.split()[:1] == [truth])
    return Reward(right, right, 1.0, "" if right else "wrong name")


class Scripted:
    """An engine that writes what ``script`` says of (picture, place among its replies); notes what it was asked."""

    def __init__(self, script: Callable[[Path, int], tuple[str, Sequence[int]]]) -> None:
        self.script = script
        self.asked: list[list[tuple[str, int]]] = []

    def __call__(self, asked: Sequence[Sight], counts: Sequence[int], how: Sampling, seed: int) -> list[list[Sampled]]:
        self.asked.append([(one.picture.stem, count) for one, count in zip(asked, counts, strict=True)])
        return [
            [Sampled(tuple(tokens), text, True) for text, tokens in (self.script(one.picture, i) for i in range(count))]
            for one, count in zip(asked, counts, strict=True)
        ]


def fresh(base: Path, *, dropout: float = 0.0, init: str = "uniform") -> tuple[LocalMllm, Any]:
    mllm = LocalMllm(str(base))
    return mllm, prepare_model(mllm, Lora(rank=4, alpha=4, dropout=dropout, init=init), seed=0)


def run(
    base: Path, triplets: Sequence[Triplet], place: Path, *, settings: PolicySettings = SETTINGS, dropout: float = 0.0,
    **more: Any,
) -> tuple[PolicyTrained, dict[str, torch.Tensor]]:  # fmt: skip
    """A training, unwatched unless ``more`` says how, and the weights it made."""
    mllm, model = fresh(base, dropout=dropout)
    done = train_policy(mllm, model, triplets, settings=settings, folder=place, seed=5, **{"monitor": SILENT, **more})
    return done, {name: weight.detach().clone() for name, weight in trainable(model).items()}


def with_objective(settings: PolicySettings = SETTINGS, **changes: Any) -> PolicySettings:
    return replace(settings, objective=replace(settings.objective, **changes))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
