"""A whole Fine-R1 run in small: coloured squares, a tiny random LLaVA, a scripted teacher, rewards that vary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.pipeline import Dividing, FineR1Settings, Teaching, fit_fine_r1
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.reasoning import ReasoningSettings
from fgvr.methods.fine_r1.reasoning_filters import Rules
from fgvr.methods.fine_r1.rewards import Reward
from fgvr.methods.fine_r1.settings import sft_settings, trained_weights
from fgvr.mllm import ScriptedMllm
from fgvr.mllm.base import Request
from fgvr.training.rollout import Sampling
from tests.methods.fine_r1.reasoners import reply
from tests.methods.finedefics.fitted import NamedColours, pictures

__all__ = ["NamedColours", "fit", "pictures", "settings", "teaching", "varied"]

UNSEEN = ("puffin",)
SEEN = ("red warbler", "tern", "grey gull")


def teacher(log: list[str] | None = None, *, other: str | None = None, **more: Any) -> ScriptedMllm:
    """Captions, and rationales that pass all filters; notes who was asked about. ``other``: the wrong candidate."""

    def say(request: Request) -> str:
        if log is not None:
            log.append(f"{request.stage} {request.item_id}")
        if request.stage == "fine-r1:caption":
            return f"The crown is tone{request.images[0].stem}. It has feathers."
        found = re.match(r"This is a picture of an? (.+?)(?: with the following|\.$)", request.prompt, re.MULTILINE)
        assert found is not None, request.prompt
        rival = other or next(name for name in SEEN if name != found[1])
        return reply(found[1], other=rival)

    return ScriptedMllm(say, **{"local": True, **more})


def teaching(log: list[str] | None = None, **more: Any) -> Teaching:
    return Teaching(teacher=teacher(log, **more))


def settings(*, full: bool = False, policy: dict[str, Any] | None = None, **more: Any) -> FineR1Settings:
    small = PolicySettings(
        learning_rate=1e-2,
        epochs=1,
        rollout_batch=2,
        mini_rollout=2,
        update_batch=1,
        anchors=1,
        positives=1,
        micro_batch=2,
        sampling=Sampling(max_tokens=6, batch=8),
        dynamic=DynamicSampling(window=(-1.0, 2.0), tries=1),
        checkpoint_every=1,
    )
    given: dict[str, Any] = {
        "style": "short",
        "weights": trained_weights(full=full, rank=2, alpha=4.0),
        "reasoning": ReasoningSettings(length="short", rules=Rules(words=(5, 80)), attempts=2),
        "sft": sft_settings(learning_rate=1e-2, epochs=2, batch_size=2, micro_batch=2, checkpoint_every=1),
        "policy": replace(small, **(policy or {})),
    }
    return FineR1Settings(**{**given, **more})


def by_length(said: str, *_: Any, **__: Any) -> Reward:
    """A reward that varies among the replies of a model that knows no tags."""
    right = float(len(said) % 2)
    return Reward(total=right, accuracy=right, format=1.0, reason="by length")


def constant(value: float) -> Callable[..., Reward]:
    return lambda *_, **__: Reward(total=value, accuracy=value, format=1.0, reason="constant")


@contextmanager
def varied(judge: Callable[..., Reward] | None = by_length) -> Iterator[None]:
    """``judge`` in place of the reward; ``None``: the real one."""
    if judge is None:
        yield
        return
    with patch("fgvr.methods.fine_r1.rollouts.reward", judge):
        yield


def fit(
    images: Path, model: Path, out: Path, *, judge: Callable[..., Reward] | None = by_length, **more: Any
) -> dict[str, Any]:
    given: dict[str, Any] = {
        "mllm": str(model),
        "encoder": NamedColours(),
        "teaching": teaching(),
        "dividing": Dividing(shots=2, unseen=UNSEEN, tests_per_class=1),
        "settings": settings(),
        "super_category": "bird",
        "rotations": False,
    }
    with varied(judge):
        return fit_fine_r1(images, out=out, **{**given, **more})
