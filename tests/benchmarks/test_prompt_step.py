"""The benchmark's padded reference is CLIP's own forward pass, and our step has its gradient."""

from __future__ import annotations

import pytest
import torch
from benchmarks.prompt_step import IdTokenizer, PaddedPrompts, TowerSize

from benchmarks import prompt_step

SMALL = TowerSize(width=64, layers=3, heads=4, positions=77, projection=32)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_step_has_the_padded_gradient_of_coop(dtype: torch.dtype, bound: float, seed: int) -> None:
    assert prompt_step.gradient_difference(24, size=SMALL, dtype=dtype, seed=seed) < bound


def test_the_padded_reference_is_the_forward_pass_of_the_library() -> None:
    model, names = prompt_step.text_model(SMALL), prompt_step.class_names(5)
    words = ["512", "7", "4711", "33"]
    rows = [IdTokenizer()(" ".join([*words, f"{name}."])).input_ids for name in names]
    embedding = model.text_model.embeddings.token_embedding
    found = PaddedPrompts(model, names, context_length=4)(embedding(torch.tensor([int(word) for word in words])))
    for row, feature in zip(rows, found, strict=True):
        own = model(input_ids=torch.tensor([row])).text_embeds[0]
        torch.testing.assert_close(feature, own / own.norm(), atol=1e-6, rtol=0)


def test_names_have_the_stated_lengths() -> None:
    lengths = [len(name.split()) for name in prompt_step.class_names(20_000)]
    for tokens, share in prompt_step.NAME_LENGTHS.items():
        assert lengths.count(tokens) / len(lengths) == pytest.approx(share, abs=0.012)
    assert sum(prompt_step.NAME_LENGTHS.values()) == pytest.approx(1)
