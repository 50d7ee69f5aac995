"""The prompt learner's precision: bf16 where it learns if asked, float32 in what it returns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fgvr.encoders import load_encoder
from fgvr.methods.near.proden import proden_loss
from fgvr.methods.near.prompt_learner import PromptLearner
from tests.encoders import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("clip", tmp_path_factory.mktemp("clip"))


def learner(folder: Path, *, autocast: bool | None, chunk: int | None = None) -> PromptLearner:
    tower = load_encoder(folder, device="cpu").prompt_tower()
    return PromptLearner(tower, tiny.NAMES, context_length=4, chunk=chunk, seed=1, autocast=autocast)


def loss_and_gradient(made: PromptLearner) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    features = made()
    assert features.dtype == torch.float32
    loss = proden_loss(10.0 * images @ features.T, torch.eye(len(tiny.NAMES)).repeat(2, 1)[:8])
    assert loss.dtype == torch.float32
    return loss.detach(), torch.autograd.grad(loss, made.context)[0]


@pytest.mark.parametrize("chunk", [None, 2])
def test_bf16_steps_are_close_to_float32(folder: Path, chunk: int | None) -> None:
    loss, gradient = loss_and_gradient(learner(folder, autocast=False, chunk=chunk))
    half_loss, half = loss_and_gradient(learner(folder, autocast=True, chunk=chunk))
    assert float(half_loss) == pytest.approx(float(loss), rel=0.02)
    assert half.dtype == torch.float32
    assert not torch.equal(half, gradient)
    assert float(torch.cosine_similarity(half.flatten(), gradient.flatten(), dim=0)) > 0.995


def test_the_cpu_and_the_finished_classifier_stay_in_float32(folder: Path) -> None:
    plain, half = learner(folder, autocast=None), learner(folder, autocast=True)
    assert torch.equal(loss_and_gradient(plain)[1], loss_and_gradient(learner(folder, autocast=False))[1])
    with torch.no_grad():
        assert torch.equal(plain(), half())
    assert not torch.equal(plain(), half())
