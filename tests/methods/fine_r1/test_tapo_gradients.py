"""The objective's gradient: against differences of the loops, and derived by hand, term by term."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fgvr.methods.fine_r1.tapo import Terms, bounded_divergence, inter_class_kl, policy_terms, tapo_loss
from fgvr.methods.fine_r1.tapo_settings import TapoSettings

from . import tapo_reference as reference
from .tapo_reference import as_lists, made_up
from .test_tapo import VARIANTS, name_of, sliced

LEARNED = ("log_probs", "negative", "entropy", "negative_entropy")
"""Tensors that may carry gradient."""
TOKENS = 17


def gradients(terms: Terms, one: TapoSettings, *, tokens: int = TOKENS) -> dict[str, torch.Tensor]:
    """Of the loss, by every tensor that may carry one; zeros where the loss does not use it."""
    leaves = {name: getattr(terms, name).clone().requires_grad_() for name in LEARNED}
    loss, _ = tapo_loss(replace(terms, **leaves), one, tokens=tokens, replies=len(terms.mask))
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves, found, leaves.values(), strict=True)
    return {name: torch.zeros_like(leaf) if grad is None else grad for name, grad, leaf in pairs}


def differences(terms: Terms, one: TapoSettings, name: str, step: float = 1e-6) -> torch.Tensor:
    """Central differences of the loops' loss, entry by entry."""
    lists, found = as_lists(terms), torch.zeros_like(getattr(terms, name))
    for row, at in torch.nonzero(terms.mask).tolist():
        sides = []
        for sign in (1, -1):
            lists[name][row][at] += sign * step
            sides.append(reference.loss(lists, one, tokens=TOKENS, replies=len(terms.mask)))
            lists[name][row][at] -= sign * step
        found[row, at] = (sides[0] - sides[1]) / (2 * step)
    return found


@pytest.mark.parametrize("one", VARIANTS, ids=name_of)
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_are_the_differences_of_the_loops(one, seed):
    terms = made_up(seed)
    for name, found in gradients(terms, one).items():
        torch.testing.assert_close(found, differences(terms, one, name), rtol=1e-5, atol=1e-8)
    assert gradients(terms, one)["log_probs"].abs().sum() > 0


SINGLE_TERMS = {
    "kl": TapoSettings.tapo("official_code", gamma=0.5, eta1=0, eta2=0),
    "printed kl": TapoSettings.tapo("paper", gamma=0.5, eta1=0, eta2=0),
    "hinge": TapoSettings.tapo(bounded="hinge", gamma=0.5, eta1=0, eta2=0, applies_to="all"),
    "js": TapoSettings.tapo(bounded="js", gamma=0.5, eta1=0, eta2=0, applies_to="all"),
    "surrogate entropy": TapoSettings.tapo("official_code", gamma=0, eta1=0.5, eta2=0),
    "negative surrogate": TapoSettings.tapo("paper", gamma=0, eta1=0, eta2=0.5),
    "true entropy": TapoSettings.tapo(gamma=0, eta1=0.5, eta2=0, applies_to="all"),
    "negative true entropy": TapoSettings.tapo(gamma=0, eta1=0, eta2=0.5, applies_to="all"),
    "reference": TapoSettings.dapo(kl_ref=0.5),
    "policy": TapoSettings.dapo(),
}


def by_hand(name: str, terms: Terms) -> dict[str, torch.Tensor]:
    """Gradient of one term of weight 0.5, in units of 1 / tokens; what is not named is 0."""
    d = (terms.negative - terms.log_probs).clamp(-20, 20)
    inside = lambda value: (value < 10).double()  # noqa: E731  past the bound the estimate is flat
    half = 0.5 * torch.ones_like(d)
    if name == "kl":
        slope = 0.5 * (1 - d.exp()) * inside(d.exp() - d - 1)
        return {"log_probs": -slope, "negative": slope}
    if name == "printed kl":
        slope = 0.5 * ((-d).exp() - 1) * inside((-d).exp() + d - 1)
        return {"log_probs": -slope, "negative": slope}
    if name == "hinge":
        slope = 0.5 * (-d < 1.0).double()
        return {"log_probs": -slope, "negative": slope}
    if name == "js":
        slope = 0.5 * -d / (2 + d.exp() + (-d).exp())  # r σ(r) σ(-r)
        return {"log_probs": -slope, "negative": slope}
    if name == "reference":
        gap = terms.reference - terms.log_probs
        return {"log_probs": 0.5 * (1 - gap.exp())}
    if name == "policy":
        return {}
    places = {"surrogate entropy": ("log_probs", -half), "negative surrogate": ("negative", -half)}
    places |= {"true entropy": ("entropy", half), "negative true entropy": ("negative_entropy", half)}
    return dict([places[name]])


def policy_by_hand(terms: Terms) -> torch.Tensor:
    """-A ρ, and 0 where a clip acts."""
    ratio = (terms.log_probs - terms.old).exp()
    advantage = terms.advantages[:, None]
    rising = (advantage > 0) & (ratio <= 1.28)
    falling = (advantage < 0) & (ratio >= 0.8) & (ratio <= 3)
    return -advantage * ratio * (rising | falling)


@pytest.mark.parametrize("name", SINGLE_TERMS)
def test_each_term_has_the_gradient_derived_by_hand(name):
    terms = made_up(6, replies=20)
    assert (inter_class_kl(terms.log_probs, terms.negative) == 10).any()
    expected = {key: torch.zeros_like(terms.log_probs) for key in LEARNED} | by_hand(name, terms)
    expected["log_probs"] = expected["log_probs"] + policy_by_hand(terms)
    for key, found in gradients(terms, SINGLE_TERMS[name]).items():
        torch.testing.assert_close(found, expected[key] * terms.mask / TOKENS, rtol=1e-10, atol=1e-14)


def test_the_divergence_pushes_a_token_down_where_the_negative_image_likes_it_more():
    """d/dlogπ of -γ k3 is γ (e^d - 1): within γ where the anchor likes the token more, larger else, until e^d - d - 1
    passes 10 (d = 2.6)."""
    new = torch.full((1, 3), -3.0, dtype=torch.float64, requires_grad=True)
    d = torch.tensor([[-8.0, 0.0, 2.0]], dtype=torch.float64)
    (-0.01 * inter_class_kl(new, new.detach() + d)).sum().backward()
    assert new.grad.tolist()[0] == pytest.approx([0.01 * (math.exp(x) - 1) for x in (-8, 0, 2)], abs=1e-15)
    assert abs(new.grad[0, 0]) <= 0.01 < new.grad[0, 2]


@pytest.mark.parametrize(("bounded", "most"), [("hinge", 1.0), ("js", 0.22387)])
def test_bounded_terms_have_bounded_values_and_slopes(bounded, most):
    r = torch.linspace(-30, 30, 6001, dtype=torch.float64)[None].requires_grad_()
    value = bounded_divergence(r, torch.zeros_like(r), bounded=bounded, margin=1.0)
    (slope,) = torch.autograd.grad(value.sum(), r)
    assert float(slope.abs().max()) == pytest.approx(most, abs=1e-4)
    highest = 1.0 if bounded == "hinge" else math.log(2)
    assert float(value.detach().min()) >= -20
    assert float(value.detach().max()) == pytest.approx(highest, abs=1e-6)
    assert (slope[r > 20] == 0).all()
    if bounded == "js":
        assert float(value.detach().min()) >= -1e-15
        torch.testing.assert_close(value, value.flip(1), rtol=0, atol=1e-14)
        assert (slope[(r > 0.01) & (r < 19)] > 0).all()
        assert (slope[(r < -0.01) & (r > -19)] < 0).all()
    else:
        assert (slope >= 0).all()


@pytest.mark.parametrize("one", VARIANTS, ids=name_of)
def test_the_gradients_of_micro_batches_add_up(one):
    terms = made_up(8, replies=7)
    leaf = terms.log_probs.clone().requires_grad_()
    tapo_loss(replace(terms, log_probs=leaf), one, tokens=TOKENS, replies=7)[0].backward()
    for size in (1, 2, 3):
        again = terms.log_probs.clone().requires_grad_()
        for at in range(0, 7, size):
            part = sliced(replace(terms, log_probs=again), slice(at, at + size))
            tapo_loss(part, one, tokens=TOKENS, replies=7)[0].backward()
        torch.testing.assert_close(again.grad, leaf.grad, rtol=1e-12, atol=1e-15)


def test_the_first_step_is_the_policy_gradient():
    """With ρ = 1 the gradient of the loss is minus the mean of A ∇ log π, by whatever parameters."""
    made = torch.Generator().manual_seed(0)
    features = torch.randn(6, 5, 3, generator=made, dtype=torch.float64)
    weights = torch.randn(3, generator=made, dtype=torch.float64, requires_grad=True)
    log_probs = torch.nn.functional.logsigmoid(features @ weights)
    terms = replace(made_up(9), log_probs=log_probs, old=log_probs.detach())
    tokens = int(terms.mask.sum())
    loss, sums = tapo_loss(terms, TapoSettings.dapo(), tokens=tokens)
    (found,) = torch.autograd.grad(loss, weights, retain_graph=True)
    expected = torch.zeros_like(weights)
    for row, at in torch.nonzero(terms.mask).tolist():
        expected -= terms.advantages[row] * torch.autograd.grad(log_probs[row, at], weights, retain_graph=True)[0]
    torch.testing.assert_close(found, expected / tokens, rtol=1e-12, atol=1e-15)
    assert int(sums["clipped"]) == 0


def test_old_weights_advantages_reference_and_importance_get_no_gradient():
    terms = made_up(0)
    fixed = ("old", "advantages", "reference", "behaviour")
    leaves = {name: getattr(terms, name).clone().requires_grad_() for name in fixed}
    new = terms.log_probs.clone().requires_grad_()
    one = TapoSettings.tapo(conditioning="anchor_is", kl_ref=0.1)
    tapo_loss(replace(terms, log_probs=new, **leaves), one, tokens=5)[0].backward()
    assert new.grad is not None
    assert all(leaf.grad is None for leaf in leaves.values())


def test_equal_probabilities_have_the_full_gradient_although_two_branches_tie():
    new = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    policy_terms(new, torch.zeros(1, 1), torch.tensor([2.0])).loss.sum().backward()
    assert new.grad.tolist() == [[-2.0]]
