"""Log-probabilities and true entropies: equal to the plain formulas, in memory that does not grow with them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fgvr.errors import InputError
from fgvr.training.token_scores import full_entropy, head_statistics, token_log_probs, token_statistics


def world(
    rows: int = 3, length: int = 7, vocabulary: int = 11, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, length, vocabulary, generator=made, dtype=torch.float64)
    tokens = torch.randint(0, vocabulary, (rows, length), generator=made)
    return logits.to(dtype).requires_grad_(), tokens


def plain(logits: Tensor, tokens: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    logs = (logits / temperature).log_softmax(2)
    return logs.gather(2, tokens[..., None]).squeeze(2), -(logs.exp() * logs).sum(2)


def gradient(found: tuple[Tensor, Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """Of a sum in which every value has its own weight."""
    made = torch.Generator().manual_seed(1)
    weights = [torch.randn(one.shape, generator=made, dtype=torch.float64).to(one.dtype) for one in found]
    return list(torch.autograd.grad(sum((w * one).sum() for w, one in zip(weights, found, strict=True)), leaves))


@pytest.mark.parametrize("chunk", [1, 4, 6, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_are_those_of_the_plain_formula(chunk, temperature):
    logits, tokens = world()
    found = token_statistics(logits, tokens, temperature=temperature, chunk=chunk)
    expected = plain(logits, tokens, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient(found, [logits]), gradient(expected, [logits]), rtol=1e-10, atol=1e-13)


def test_gradients_are_the_differences():
    logits, tokens = world(2, 3, 5)
    assert torch.autograd.gradcheck(lambda given: token_statistics(given, tokens, temperature=1.3, chunk=3), (logits,))
    assert torch.autograd.gradcheck(lambda given: token_log_probs(given, tokens, chunk=2), (logits,))
    assert torch.autograd.gradcheck(lambda given: full_entropy(given, chunk=2), (logits,))


def test_either_half_alone_is_the_same():
    logits, tokens = world()
    both = token_statistics(logits, tokens)
    assert torch.equal(token_log_probs(logits, tokens), both[0])
    assert torch.equal(full_entropy(logits), both[1])
    log_probs, none = token_statistics(logits, tokens, entropy=False)
    assert none is None
    (found,) = torch.autograd.grad(log_probs.sum(), logits)
    (expected,) = torch.autograd.grad(plain(logits, tokens)[0].sum(), logits)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_by_hand():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [1 / 3] * 3]]))
    log_probs, entropy = token_statistics(logits, torch.tensor([[1, 0]]))
    assert log_probs.tolist()[0] == pytest.approx([math.log(0.25), math.log(1 / 3)])
    assert entropy.tolist()[0] == pytest.approx([1.5 * math.log(2), math.log(3)])


@pytest.mark.parametrize("weights", [None, "frozen"])
def test_from_hidden_states_they_are_the_same_with_gradients_of_the_head_too(weights):
    made = torch.Generator().manual_seed(2)
    hidden = torch.randn(3, 7, 4, generator=made, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(4, 11, dtype=torch.float64)
    if weights == "frozen":
        head.requires_grad_(False)
    _, tokens = world()
    leaves = [hidden, *(one for one in head.parameters() if one.requires_grad)]
    found = head_statistics(hidden, head, tokens, temperature=0.8, chunk=6)
    expected = plain(head(hidden), tokens, 0.8)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradient(found, leaves), gradient(expected, leaves), rtol=1e-10, atol=1e-13)
    assert head_statistics(hidden, head, tokens, entropy=False)[1] is None


def test_tokens_that_are_ruled_out_and_extreme_logits_stay_finite():
    logits, tokens = world(2, 3, 6)
    hard = logits.detach().clone()
    hard[0, 0, 1:] = -math.inf
    hard[0, 1] *= 1e4
    hard[1, 2, :3] = -math.inf
    tokens[0, 0], tokens[1, 2] = 0, 4
    hard.requires_grad_()
    log_probs, entropy = token_statistics(hard, tokens)
    assert (float(log_probs[0, 0].detach()), float(entropy[0, 0].detach())) == (0.0, 0.0)
    kept = plain(hard.detach()[1:, 2:, 3:], tokens[1:, 2:] - 3)[1]
    assert float(entropy[1, 2].detach()) == pytest.approx(float(kept))
    assert all(bool(grad.isfinite().all()) for grad in gradient((log_probs, entropy), [hard]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_logits_are_worked_off_in_float32(dtype):
    logits, tokens = world(dtype=dtype)
    found = token_statistics(logits, tokens, chunk=5)
    expected = plain(logits.double(), tokens)
    assert found[0].dtype == found[1].dtype == torch.float32
    torch.testing.assert_close([one.double() for one in found], list(expected), rtol=1e-5, atol=1e-5)
    (grad,) = gradient(found, [logits])
    assert grad.dtype == dtype
    torch.testing.assert_close(grad.double(), gradient(expected, [logits])[0].double(), rtol=2e-2, atol=1e-2)


def test_views_of_longer_logits_are_not_copied_and_nothing_is_kept_without_gradient():
    logits, tokens = world(3, 8)
    shifted = logits[:, :-1]
    expected = plain(shifted, tokens[:, 1:])
    torch.testing.assert_close(token_statistics(shifted, tokens[:, 1:], chunk=4), expected, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        assert not token_log_probs(logits, tokens).requires_grad


class Made(TorchDispatchMode):
    """Which memory operations ask for: numbers it holds, by its address."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = {one.untyped_storage().data_ptr() for one in args if isinstance(one, Tensor)}
        for one in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(one, Tensor) and (at := one.untyped_storage().data_ptr()) not in given:
                self.sizes[at] = max(self.sizes.get(at, 0), one.numel())
        return made

    def beyond(self, numbers: int) -> int:
        return sum(size > numbers for size in self.sizes.values())


def test_memory_is_bounded_by_the_chunk():
    """Forward: nothing larger than a chunk. Kept: the logits alone. Backward: the gradient of the logits besides."""
    rows, length, vocabulary, chunk = 4, 32, 50, 8
    logits, tokens = world(rows, length, vocabulary)
    kept: list[Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one)
    with hooks, Made() as forward:
        found = token_statistics(logits, tokens, chunk=chunk)
    assert forward.beyond(chunk * vocabulary) == 0 < forward.beyond(chunk * vocabulary - 1)
    assert {one.data_ptr() for one in kept if one.numel() > rows * length} == {logits.data_ptr()}
    with Made() as backward:
        gradient(found, [logits])
    assert backward.beyond(chunk * vocabulary) == 1


def test_from_hidden_states_the_logits_are_never_all_there():
    rows, length, width, vocabulary, chunk = 4, 32, 3, 50, 8
    hidden = torch.randn(rows, length, width, requires_grad=True)
    head = torch.nn.Linear(width, vocabulary)
    tokens = torch.zeros(rows, length, dtype=torch.long)
    kept: list[Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one)
    with hooks, Made() as forward:
        found = head_statistics(hidden, head, tokens, chunk=chunk)
    assert max(one.numel() for one in kept) <= rows * length * width
    with Made() as backward:
        gradient(found, [hidden])
    assert forward.beyond(chunk * vocabulary) == backward.beyond(chunk * vocabulary) == 0


def test_bad_input_is_refused():
    logits, tokens = world()
    with pytest.raises(InputError, match="do not fit"):
        token_statistics(logits, tokens[:, 1:])
    with pytest.raises(InputError, match="do not fit"):
        head_statistics(logits, torch.nn.Identity(), tokens[:, 1:])
    for changes in ({"temperature": 0.0}, {"temperature": math.nan}, {"chunk": 0}):
        with pytest.raises(InputError):
            token_statistics(logits, tokens, **changes)


def test_no_tokens_give_empty_tensors():
    logits, tokens = torch.zeros(2, 0, 5, requires_grad=True), torch.zeros(2, 0, dtype=torch.long)
    assert [one.shape for one in token_statistics(logits, tokens)] == [(2, 0), (2, 0)]
    assert [one.shape for one in head_statistics(logits, torch.nn.Identity(), tokens)] == [(2, 0), (2, 0)]
