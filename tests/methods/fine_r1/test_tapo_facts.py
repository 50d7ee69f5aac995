"""What the terms do in expectation, by writing out every reply of a small world: no sampling, no tolerance for luck.

One triplet, V = 4 tokens, replies of one or two tokens. ``theta`` are the logits under the image of the reply, ``phi``
those under the negative image; the second token depends on the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from fgvr.methods.fine_r1.tapo import Terms, bounded_divergence, inter_class_kl, tapo_loss
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.training.token_scores import token_statistics

V = 4
MADE = torch.Generator().manual_seed(3)
REWARDS = torch.randn(V, V, generator=MADE, dtype=torch.float64)
"""Of the reply (first token, second token), standing for its advantage."""


def logits(seed: int) -> tuple[Tensor, Tensor]:
    """Of the first token (V,), and of the second for every first (V, V); leaves with gradient."""
    made = torch.Generator().manual_seed(seed)
    sizes = ((V,), (V, V))
    first, second = (torch.randn(size, generator=made, dtype=torch.float64).requires_grad_() for size in sizes)
    return first, second


def replies(length: int = 2) -> Tensor:
    return torch.tensor(list(product(range(V), repeat=length)))


def along(world: tuple[Tensor, Tensor], said: Tensor) -> Tensor:
    """Logits (N, T, V) that a model of this world has along each reply."""
    first, second = world
    steps = [first.expand(len(said), V), second[said[:, 0]]]
    return torch.stack(steps[: said.shape[1]], dim=1)


def log_probs(world: tuple[Tensor, Tensor], said: Tensor) -> Tensor:
    return along(world, said).log_softmax(2).gather(2, said[..., None]).squeeze(2)


def chances(world: tuple[Tensor, Tensor], said: Tensor) -> Tensor:
    """Of each whole reply, without gradient."""
    return log_probs(world, said).sum(1).exp().detach()


def expected_gradients(world: tuple[Tensor, Tensor], loss: Callable[[Tensor], Tensor], *, by: Tensor) -> Tensor:
    """Σ over all replies of their probability times the gradient of their loss."""
    said = replies()
    parts = zip(chances(world, said), said, strict=True)
    return sum(chance * torch.autograd.grad(loss(one[None]), by)[0] for chance, one in parts)  # type: ignore[return-value]


def terms_of(said: Tensor, theta: tuple[Tensor, Tensor], **given: Tensor) -> Terms:
    new = log_probs(theta, said)
    rewards = given.pop("advantages", torch.zeros(len(said), dtype=torch.float64))
    return Terms(new, given.pop("old", new.detach()), rewards, torch.ones_like(said, dtype=torch.bool), **given)


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p / q).log()).sum()


# --- entropy ----------------------------------------------------------------------------------------------------------


def test_the_released_entropy_term_has_no_expected_gradient_and_the_true_one_has():
    theta = logits(1)
    surrogate = TapoSettings.tapo("official_code", gamma=0, eta1=1, eta2=0)
    true = TapoSettings.tapo(gamma=0, eta1=1, eta2=0, applies_to="all")

    def loss(said: Tensor, one: TapoSettings) -> Tensor:
        entropy = token_statistics(along(theta, said), said)[1]
        return tapo_loss(terms_of(said, theta, entropy=entropy), one, tokens=2)[0]

    for leaf in theta:
        released = expected_gradients(theta, lambda said: loss(said, surrogate), by=leaf)
        corrected = expected_gradients(theta, lambda said: loss(said, true), by=leaf)
        assert float(released.abs().max()) < 1e-9
        assert float(corrected.abs().max()) > 1e-2


def test_minimising_the_true_term_lowers_the_entropy_under_both_images():
    theta, phi, said = logits(1), logits(2), replies(1)
    entropies = [token_statistics(along(world, said), said)[1] for world in (theta, phi)]
    given = {"negative": log_probs(phi, said), "entropy": entropies[0], "negative_entropy": entropies[1]}
    one = TapoSettings.tapo(gamma=0, eta1=1, eta2=1, applies_to="all")
    tapo_loss(terms_of(said, theta, **given), one, tokens=V)[0].backward()
    for (first, _), before in zip((theta, phi), entropies, strict=True):
        after = torch.distributions.Categorical(logits=first.detach() - 0.01 * first.grad).entropy()
        assert float(after) < float(before[0, 0].detach()) - 1e-4


def test_the_released_negative_term_is_a_constant():
    theta, phi, said = logits(1), logits(2), replies()
    with torch.no_grad():
        negative = log_probs(phi, said)
    found = {}
    for eta2 in (0.0, 0.03):
        one = TapoSettings.tapo("official_code", eta2=eta2)
        loss, _ = tapo_loss(terms_of(said, theta, negative=negative), one, tokens=2 * len(said))
        grads = torch.autograd.grad(loss, [*theta, *phi], allow_unused=True)
        found[eta2] = (float(loss.detach()), grads)
    assert found[0.03][0] - found[0.0][0] == pytest.approx(0.03 * float(-negative.mean()))
    assert found[0.03][1][2:] == (None, None)
    for with_it, without in zip(found[0.03][1][:2], found[0.0][1][:2], strict=True):
        assert torch.equal(with_it, without)


@pytest.mark.parametrize("variant", ["paper", "corrected"])
def test_recomputed_negatives_have_gradient(variant):
    theta, phi, said = logits(1), logits(2), replies()
    entropies = [token_statistics(along(world, said), said)[1] for world in (theta, phi)]
    given = {"negative": log_probs(phi, said), "entropy": entropies[0], "negative_entropy": entropies[1]}
    one = TapoSettings.tapo(variant, gamma=0, applies_to="all")
    tapo_loss(terms_of(said, theta, **given), one, tokens=2 * len(said))[0].backward()
    assert all(float(leaf.grad.abs().max()) > 1e-6 for leaf in phi)


def test_the_papers_sign_slip_is_not_followed():
    """With H = log π subtracted, as printed, the sampled token would become less likely; the words say the opposite."""
    theta, said = logits(1), torch.tensor([[2]])
    one = TapoSettings.tapo("paper", gamma=0, eta1=1, eta2=0)
    tapo_loss(terms_of(said, theta), one, tokens=1)[0].backward()
    assert theta[0].grad[2] < 0  # descent raises its logit


# --- the inter-class term ---------------------------------------------------------------------------------------------


def distributions(theta: tuple[Tensor, Tensor], phi: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return theta[0].softmax(0), phi[0].softmax(0)


def test_k3_estimates_the_divergence_and_the_printed_form_something_else():
    theta, phi, said = logits(1), logits(2), replies(1)
    p, q = (one.detach() for one in distributions(theta, phi))
    new, negative = log_probs(theta, said).detach(), log_probs(phi, said).detach()
    estimates = {form: inter_class_kl(new, negative, form=form).squeeze(1) for form in ("k3", "paper")}
    assert all(float(one.max()) < 10 for one in estimates.values())  # no clamp acts
    chi_squared = ((p - q) ** 2 / q).sum()
    assert float((p * estimates["k3"]).sum()) == pytest.approx(float(kl(p, q)), rel=1e-12)
    assert float((p * estimates["paper"]).sum()) == pytest.approx(float(chi_squared - kl(p, q)), rel=1e-12)
    # Over tokens drawn under the negative image the printed form would be right, for the other direction.
    assert float((q * estimates["paper"]).sum()) == pytest.approx(float(kl(q, p)), rel=1e-12)


@pytest.mark.parametrize("form", ["k3", "paper"])
def test_what_the_gradient_of_each_form_is_the_gradient_of(form):
    """On policy, through the sampled tokens' probabilities alone."""
    theta, phi, said = logits(1), logits(2), replies(1)
    p, q = distributions(theta, phi)
    estimate = inter_class_kl(log_probs(theta, said), log_probs(phi, said), form=form).squeeze(1)
    found = torch.autograd.grad((p.detach() * estimate).sum(), [theta[0], phi[0]], retain_graph=True)
    if form == "k3":
        wanted = (kl(q, p), kl(p, q))
    else:
        # By θ half of the gradient of χ². By φ it is (g - 1) with the sign turned, weighted by p: half of χ² as well,
        # for ∂/∂log q of Σ p²/q is -p²/q.
        half = 0.5 * (p**2 / q).sum()
        wanted = (half, 2 * half)
    by_theta = torch.autograd.grad(wanted[0], theta[0], retain_graph=True)[0]
    by_phi = torch.autograd.grad(wanted[1], phi[0])[0]
    torch.testing.assert_close(found[0], by_theta, rtol=1e-10, atol=1e-14)
    if form == "k3":
        torch.testing.assert_close(found[1], by_phi, rtol=1e-10, atol=1e-14)
    else:
        less = torch.autograd.grad((p.detach() * log_probs(phi, said).squeeze(1)).sum(), phi[0])[0]
        torch.testing.assert_close(found[1], by_phi + less, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize(
    "one",
    [
        TapoSettings.tapo("official_code", eta1=0, eta2=0),
        TapoSettings.tapo("paper", eta1=0, eta2=0),
        TapoSettings.tapo(eta1=0, eta2=0, applies_to="all"),
        TapoSettings.tapo(bounded="js", eta1=0, eta2=0, applies_to="all"),
        TapoSettings.tapo(bounded="hinge", eta1=0, eta2=0, applies_to="all"),
    ],
)
def test_an_image_is_not_told_from_itself(one, with_gradient):
    """x_neg = x_*: no divergence and no gradient; but for the hinge whose other side is held fixed."""
    theta, said = logits(1), replies()
    new = log_probs(theta, said)
    terms = Terms(
        log_probs=new,
        old=new.detach(),
        advantages=torch.zeros(len(said), dtype=torch.float64),
        mask=torch.ones_like(said, dtype=torch.bool),
        negative=new if with_gradient else new.detach(),
    )
    loss, sums = tapo_loss(terms, one, tokens=2 * len(said))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-15)
    assert float(sums["kl"]) == float(sums["inter_class"]) == pytest.approx(0, abs=1e-15)
    largest = max(float(grad.abs().max()) for grad in torch.autograd.grad(loss, theta))
    fixed_hinge = one.bounded == "hinge" and not with_gradient
    assert (largest > 1e-4) if fixed_hinge else (largest < 1e-15)


def test_the_js_term_is_the_jensen_shannon_divergence_over_tokens_of_both_images():
    theta, phi, said = logits(1), logits(2), replies(1)
    p, q = (one.detach() for one in distributions(theta, phi))
    middle = (p + q) / 2
    told = bounded_divergence(log_probs(theta, said), log_probs(phi, said), bounded="js").squeeze(1).detach()
    divergence = 0.5 * kl(p, middle) + 0.5 * kl(q, middle)
    assert float((middle * told).sum()) == pytest.approx(float(divergence), rel=1e-12)
    assert 0 < float((p * told).sum()) < math.log(2)


def test_descending_on_k3_or_js_tells_the_images_apart():
    for one in (TapoSettings.tapo(applies_to="all"), TapoSettings.tapo(applies_to="all", bounded="js")):
        theta, phi, said = logits(1), logits(2), replies(1)
        p, q = distributions(theta, phi)
        divergence = inter_class_kl if one.bounded == "none" else _js
        loss = -(p.detach() * divergence(log_probs(theta, said), log_probs(phi, said)).squeeze(1)).sum()
        by_theta, by_phi = torch.autograd.grad(loss, [theta[0], phi[0]])
        with torch.no_grad():
            before = float(kl(p, q))
            assert float(kl((theta[0] - 0.01 * by_theta).softmax(0), q)) > before + 1e-5
            assert float(kl(p, (phi[0] - 0.01 * by_phi).softmax(0))) > before + 1e-5


def _js(new: Tensor, negative: Tensor) -> Tensor:
    return bounded_divergence(new, negative, bounded="js")


def test_the_hinge_has_no_expected_gradient_over_all_replies_below_its_margin():
    theta, phi, said = logits(1), logits(2), replies(1)
    p, _ = distributions(theta, phi)
    new, negative = log_probs(theta, said), log_probs(phi, said)
    values = {margin: bounded_divergence(new, negative, bounded="hinge", margin=margin) for margin in (15.0, 0.1)}
    found = {
        margin: torch.autograd.grad((p.detach() * value.squeeze(1)).sum(), [theta[0], phi[0]], retain_graph=True)
        for margin, value in values.items()
    }
    assert float(found[15.0][0].abs().max()) < 1e-15
    assert float(found[0.1][0].abs().max()) > 1e-2
    by_phi = torch.autograd.grad(kl(*distributions(theta, phi)), phi[0])[0]
    torch.testing.assert_close(found[15.0][1], by_phi, rtol=1e-10, atol=1e-14)


# --- conditioning -----------------------------------------------------------------------------------------------------


def policy_gradient(anchor: tuple[Tensor, Tensor], sampled: tuple[Tensor, Tensor], *, length: int, **changes) -> Tensor:
    """Expected gradient of the loss by the anchor's logits, over replies drawn under the ``sampled`` image."""
    said = replies(length)
    one = TapoSettings.dapo(conditioning="anchor_is", importance_cap=math.inf, **changes)
    if sampled is anchor:
        one = TapoSettings.dapo()
    rewards = REWARDS[said[:, 0], said[:, -1]]
    terms = terms_of(said, anchor, advantages=rewards, behaviour=log_probs(sampled, said).detach())
    leaves = anchor[:length]
    total = [torch.zeros_like(leaf) for leaf in leaves]
    for row, chance in enumerate(chances(sampled, said)):
        fields = {name: None if value is None else value[row : row + 1] for name, value in vars(terms).items()}
        loss, _ = tapo_loss(Terms(**fields), one, tokens=length)
        for place, grad in enumerate(torch.autograd.grad(loss, leaves, retain_graph=True)):
            total[place] += chance * grad
    return torch.cat([part.flatten() for part in total])


@pytest.mark.parametrize("importance", ["token", "sequence"])
def test_importance_weights_make_the_anchors_own_gradient_of_a_one_token_reply(importance):
    anchor, positive = logits(1), logits(5)
    wanted = policy_gradient(anchor, anchor, length=1)
    found = policy_gradient(anchor, positive, length=1, importance=importance)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13)
    assert float(wanted.abs().max()) > 1e-2


def test_of_longer_replies_only_the_weight_of_the_whole_reply_does():
    anchor, positive = logits(1), logits(5)
    wanted = policy_gradient(anchor, anchor, length=2)
    whole = policy_gradient(anchor, positive, length=2, importance="sequence")
    tokens = policy_gradient(anchor, positive, length=2, importance="token")
    torch.testing.assert_close(whole, wanted, rtol=1e-10, atol=1e-13)
    assert float((tokens - wanted).abs().max()) > 1e-2


def test_without_weights_replies_to_the_positive_give_another_gradient():
    """What the paper's text does: log-probabilities under the anchor, replies from the positive image."""
    anchor, positive, said = logits(1), logits(5), replies(1)
    rewards = REWARDS[said[:, 0], said[:, -1]]
    loss = -(chances(positive, said) * rewards * log_probs(anchor, said).squeeze(1)).sum()
    (biased,) = torch.autograd.grad(loss, anchor[0])
    assert float((biased - policy_gradient(anchor, anchor, length=1)).abs().max()) > 1e-2
