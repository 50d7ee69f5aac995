"""The objective's value: against loops, by hand, cut into micro-batches, at the edges; and against TRL."""

from __future__ import annotations

import importlib.util
import math
from collections import defaultdict
from dataclasses import fields, replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.methods.fine_r1.tapo import (
    Terms,
    bounded_divergence,
    group_advantages,
    importance_weights,
    inter_class_kl,
    policy_terms,
    tapo_loss,
)
from fgvr.methods.fine_r1.tapo_settings import TapoSettings

from . import tapo_reference as reference
from .tapo_reference import as_lists, made_up

VARIANTS = [
    TapoSettings.tapo("official_code"),
    TapoSettings.tapo("paper"),
    TapoSettings.tapo("corrected"),
    TapoSettings.tapo("corrected", bounded="hinge", margin=0.7),
    TapoSettings.tapo("corrected", bounded="js"),
    TapoSettings.tapo("corrected", conditioning="anchor_is"),
    TapoSettings.tapo("corrected", conditioning="anchor_is", importance="sequence", importance_cap=1.3),
    TapoSettings.tapo("official_code", kl_ref=0.1, kl_bound=0.5),
    TapoSettings.inter_only("official_code", gamma=0.3),
    TapoSettings.intra_only(),
    TapoSettings.dapo(dual=None),
    TapoSettings.grpo(),
]


def name_of(one: TapoSettings) -> str:
    plain = TapoSettings()
    return ",".join(str(getattr(one, f.name)) for f in fields(one) if getattr(one, f.name) != getattr(plain, f.name))


def sliced(terms: Terms, rows: slice) -> Terms:
    return Terms(**{name: None if value is None else value[rows] for name, value in vars(terms).items()})


# --- against loops ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", VARIANTS, ids=name_of)
@pytest.mark.parametrize("applies_to", ["all", "correct", "answer", "correct_answer"])
def test_the_loss_is_that_of_the_loops(one, applies_to):
    one = replace(one, applies_to=applies_to)
    for seed, normalisation in product(range(3), ("global", "sequence", "micro_batch_mean")):
        terms, wanted = made_up(seed), replace(one, normalisation=normalisation)
        loss, _ = tapo_loss(terms, wanted, tokens=77, replies=11)
        expected = reference.loss(as_lists(terms), wanted, tokens=77, replies=11)
        assert float(loss) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_the_made_up_terms_reach_every_clip_and_bound():
    terms = made_up(0, replies=40)
    policy = policy_terms(terms.log_probs, terms.old, terms.advantages)
    ratio = (terms.log_probs - terms.old).exp()
    falling = (terms.advantages < 0)[:, None]
    assert (falling & (ratio > 3)).any()
    assert (falling & (ratio < 0.8)).any()
    assert (~falling & (ratio > 1.28)).any()
    assert not policy.clipped.all()
    assert (inter_class_kl(terms.log_probs, terms.negative) == 10).any()


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.9, 1.0]), st.integers(-3, 3)), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_advantages_are_those_of_the_loops_in_any_order_of_groups(replies):
    rewards, groups = zip(*replies, strict=True)
    found = group_advantages(torch.tensor(rewards, dtype=torch.float64), torch.tensor(groups))
    assert found.tolist() == pytest.approx(reference.advantages(rewards, groups), rel=1e-9, abs=1e-12)


def test_the_sums_are_those_of_the_loops():
    terms, one = made_up(3), TapoSettings.tapo(kl_ref=0.1)
    _, sums = tapo_loss(terms, one, tokens=50)
    lists = as_lists(terms)
    real = [(row, at) for row, at in product(range(6), range(5)) if lists["mask"][row][at]]

    def total(name, other):
        return sum(reference.k3(lists["log_probs"][row][at], lists[other][row][at]) for row, at in real), sums[name]

    for expected, got in (total("kl", "negative"), total("reference_kl", "reference")):
        assert float(got) == pytest.approx(expected, rel=1e-12)
    assert float(sums["entropy"]) == pytest.approx(sum(lists["entropy"][row][at] for row, at in real))
    clipped = sum(
        reference.is_clipped(lists["log_probs"][r][t], lists["old"][r][t], lists["advantages"][r], 0.2, 0.28, 3.0)
        for r, t in real
    )
    assert int(sums["clipped"]) == clipped > 0
    assert int(sums["tokens"]) == len(real)
    assert int(sums["applied"]) == sum(lists["correct"][row] for row, _ in real) < len(real)
    assert not any(value.requires_grad for value in sums.values())


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_advantages_by_hand():
    # Mean 0.37; squares 3 * 0.63^2 + 7 * 0.27^2 = 1.701; variance 1.701 / 9 = 0.189; deviation 0.434741.
    rewards = torch.tensor([1.0] * 3 + [0.1] * 7, dtype=torch.float64)
    found = group_advantages(rewards, torch.zeros(10, dtype=torch.long))
    assert found.tolist() == pytest.approx([1.449134] * 3 + [-0.621057] * 7, abs=2e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_without_variance_and_of_one_reply_give_exactly_zero(dtype):
    rewards = torch.tensor([0.1] * 10 + [0.7] + [1.0, 0.0], dtype=dtype)
    groups = torch.tensor([4] * 10 + [9] + [-2, -2])
    found = group_advantages(rewards, groups)
    assert found.dtype == dtype
    assert found[:11].tolist() == [0.0] * 11
    assert found[11:].tolist() == pytest.approx([2**-0.5, -(2**-0.5)], rel=1e-5)


def test_the_biased_deviation_is_a_choice_and_no_replies_give_no_advantages():
    rewards, groups = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    assert group_advantages(rewards, groups, correction=0, eps=0.0).tolist() == [1.0, -1.0]
    assert group_advantages(rewards[:0], groups[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.2, 2.0, -2.4, False),  # above 1 + low, within the higher clip
        (1.5, 2.0, -2.56, True),  # 1.28 * 2
        (0.5, 2.0, -1.0, False),
        (0.5, -1.0, 0.8, True),
        (2.0, -1.0, 2.0, False),
        (3.5, -1.0, 3.0, True),  # the dual clip
        (3.5, 0.0, 0.0, False),
    ],
)
def test_the_clips_by_hand(ratio, advantage, expected, clipped):
    new, old = torch.tensor([[math.log(ratio)]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    found = policy_terms(new, old, torch.tensor([advantage]))
    assert float(found.loss) == pytest.approx(expected)
    assert bool(found.clipped) is clipped
    unbounded = policy_terms(new, old, torch.tensor([advantage]), dual=None)
    assert float(unbounded.loss) == pytest.approx(3.5 if ratio == 3.5 and advantage else expected)


def test_the_divergences_by_hand():
    new, other = torch.tensor([[math.log(0.5)] * 2]), torch.tensor([[math.log(0.25), math.log(0.5)]])
    expected = {"k3": 0.5 + math.log(2) - 1, "paper": 2 - math.log(2) - 1}
    for form, value in expected.items():
        assert inter_class_kl(new, other, form=form).tolist()[0] == pytest.approx([value, 0.0], abs=1e-6)
    # r = log 2: the posterior is 2/3 against 1/3.
    told = math.log(2) + (2 / 3) * math.log(2 / 3) + (1 / 3) * math.log(1 / 3)
    assert bounded_divergence(new, other, bounded="js").tolist()[0] == pytest.approx([told, 0.0], abs=1e-6)
    assert bounded_divergence(new, other, bounded="hinge", margin=0.5).tolist()[0] == pytest.approx([0.5, 0.0])
    assert bounded_divergence(new, other, bounded="hinge", margin=5).tolist()[0] == pytest.approx([math.log(2), 0.0])


def test_importance_weights_by_hand():
    old = torch.log(torch.tensor([[0.5, 0.3], [0.2, 0.9]]))
    behaviour = torch.log(torch.tensor([[0.5, 0.1], [0.4, 0.1]]))
    mask = torch.tensor([[True, True], [True, False]])
    found = importance_weights(old, behaviour, mask, cap=2.5)
    assert found[mask].tolist() == pytest.approx([1.0, 2.5, 0.5])
    whole = importance_weights(old, behaviour, mask, cap=math.inf, per="sequence")
    assert whole[mask].tolist() == pytest.approx([3.0, 3.0, 0.5])


def test_the_weight_of_a_long_reply_stays_finite_without_a_cap():
    old, behaviour = torch.zeros(2, 500), torch.tensor([[-1.0], [1.0]]).expand(2, 500)
    found = importance_weights(old, behaviour, torch.ones(2, 500, dtype=torch.bool), cap=math.inf, per="sequence")
    assert found[:, 0].tolist() == pytest.approx([math.exp(20), math.exp(-20)])


@pytest.mark.parametrize("one", [TapoSettings.tapo("paper"), TapoSettings.tapo(bounded="js"), TapoSettings.tapo()])
def test_the_log_tells_the_same_divergence_of_every_objective(one):
    terms = made_up(3)
    sums = tapo_loss(terms, one, tokens=50)[1]
    estimate = inter_class_kl(terms.log_probs, terms.negative)[terms.mask].sum()
    assert float(sums["entropy"]) == pytest.approx(float(terms.entropy[terms.mask].sum()))
    assert float(sums["kl"]) == pytest.approx(float(estimate))
    assert (float(sums["inter_class"]) == pytest.approx(float(estimate))) is (one == TapoSettings.tapo())


# --- cut and padded ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", VARIANTS, ids=name_of)
def test_micro_batches_add_up_to_the_whole(one):
    terms = made_up(5, replies=8)
    tokens = int(terms.mask.sum())
    whole, sums = tapo_loss(terms, one, tokens=tokens, replies=8)
    for size in (1, 3, 5):
        cut = [sliced(terms, slice(at, at + size)) for at in range(0, 8, size)]
        parts = [tapo_loss(part, one, tokens=tokens, replies=8) for part in cut]
        assert float(sum(loss for loss, _ in parts)) == pytest.approx(float(whole), rel=1e-12)
        for name, value in sums.items():
            assert float(sum(told[name] for _, told in parts)) == pytest.approx(float(value), rel=1e-12)


def test_the_released_normalisation_depends_on_the_cut_and_ours_does_not():
    terms, one = made_up(5, replies=8), TapoSettings.tapo("official_code", normalisation="micro_batch_mean")
    assert len({int(row.sum()) for row in terms.mask}) > 1

    def mean_of_means(size):
        cut = [sliced(terms, slice(at, at + size)) for at in range(0, 8, size)]
        return float(sum(tapo_loss(part, one, tokens=1, micro_batches=len(cut))[0] for part in cut))

    whole, _ = tapo_loss(terms, replace(one, normalisation="global"), tokens=int(terms.mask.sum()))
    assert mean_of_means(8) == pytest.approx(float(whole))
    pairs = [as_lists(sliced(terms, slice(at, at + 2))) for at in range(0, 8, 2)]
    expected = sum(reference.loss(pair, one, tokens=1) for pair in pairs) / len(pairs)
    assert mean_of_means(2) == pytest.approx(expected, rel=1e-12)
    assert abs(expected - float(whole)) > 1e-3


@pytest.mark.parametrize("one", VARIANTS, ids=name_of)
def test_nothing_in_the_padding_reaches_value_or_gradient(one):
    terms = made_up(2)
    values = dict(vars(terms))
    for name, value in values.items():
        if value is not None and value.ndim == 2 and value.is_floating_point():
            values[name] = value.masked_fill(~terms.mask, math.nan)
    values["log_probs"] = values["log_probs"].requires_grad_()
    values["negative"] = values["negative"].requires_grad_()
    loss, sums = tapo_loss(Terms(**values), one, tokens=9, replies=3)
    plain, plain_sums = tapo_loss(terms, one, tokens=9, replies=3)
    assert float(loss.detach()) == float(plain)
    assert {name: float(value) for name, value in sums.items()} == {
        name: float(value) for name, value in plain_sums.items()
    }
    loss.backward()
    assert values["log_probs"].grad.isfinite().all()
    assert (values["log_probs"].grad[~terms.mask] == 0).all()


def test_replies_without_a_negative_image_have_no_term_of_it():
    terms, has = made_up(4), torch.tensor([True, False, True, True, False, False])
    one = TapoSettings.tapo("official_code")
    spoiled = terms.negative.masked_fill(~has[:, None], math.nan)
    terms = replace(terms, negative=spoiled, negative_entropy=None, has_negative=has)
    loss, sums = tapo_loss(terms, one, tokens=30)
    assert float(loss) == pytest.approx(reference.loss(as_lists(terms), one, tokens=30), rel=1e-12)
    assert int(sums["negative_tokens"]) == int(terms.mask[has].sum()) < int(sums["tokens"])
    estimate = inter_class_kl(terms.log_probs, spoiled)[has][terms.mask[has]].sum()
    assert float(sums["kl"]) == float(sums["inter_class"]) == pytest.approx(float(estimate))
    assert float(sums["negative_entropy"]) == pytest.approx(float(-spoiled[has][terms.mask[has]].sum()))


@pytest.mark.parametrize("one", VARIANTS, ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_extreme_log_probabilities_stay_finite(one, dtype):
    extremes = torch.tensor([-1e4, -50.0, -1e-6, 0.0], dtype=dtype)
    pairs = torch.cartesian_prod(extremes, extremes, extremes)
    new, old, negative = (pairs[:, at, None].clone() for at in range(3))
    new.requires_grad_()
    negative.requires_grad_()
    rows = len(pairs)
    terms = Terms(
        log_probs=new,
        old=old,
        advantages=torch.linspace(-3, 3, rows),
        mask=torch.ones(rows, 1, dtype=torch.bool),
        negative=negative,
        entropy=torch.ones(rows, 1),
        negative_entropy=torch.ones(rows, 1),
        reference=negative.detach(),
        behaviour=negative.detach(),
        correct=torch.ones(rows, dtype=torch.bool),
    )
    loss, sums = tapo_loss(terms, one, tokens=rows, replies=rows)
    loss.backward()
    assert loss.isfinite()
    assert new.grad.isfinite().all()
    assert negative.grad is None or negative.grad.isfinite().all()
    assert all(value.isfinite() for value in sums.values())
    assert float(sums["kl"]) <= 10 * rows


# --- GRPO, DAPO and TRL -----------------------------------------------------------------------------------------------


def trl_per_token(terms: Terms, *, low: float, high: float, beta: float = 0.0) -> torch.Tensor:
    """-min(ρ A, clip(ρ) A) + beta * k3: what TRL documents for its losses ``grpo`` and ``dapo``."""
    ratio = torch.exp(terms.log_probs - terms.old)
    advantage = terms.advantages.unsqueeze(1)
    found = -torch.min(ratio * advantage, torch.clamp(ratio, 1 - low, 1 + high) * advantage)
    gap = terms.reference - terms.log_probs
    return found + beta * (torch.exp(gap) - gap - 1)


def test_dapo_and_grpo_are_the_documented_losses_of_trl():
    for seed in range(5):
        terms = made_up(seed)
        mask, tokens = terms.mask, int(terms.mask.sum())
        dapo, _ = tapo_loss(terms, TapoSettings.dapo(dual=None), tokens=tokens)
        expected = (trl_per_token(terms, low=0.2, high=0.28) * mask).sum() / tokens
        assert float(dapo) == pytest.approx(float(expected), rel=1e-12)
        grpo, _ = tapo_loss(terms, TapoSettings.grpo(kl_bound=math.inf), tokens=tokens, replies=6)
        rows = trl_per_token(terms, low=0.2, high=0.2, beta=0.04) * mask
        assert float(grpo) == pytest.approx(float((rows.sum(1) / mask.sum(1)).mean()), rel=1e-12)


def test_dapo_is_tapo_with_its_terms_off():
    terms = made_up(1)
    off = TapoSettings.tapo("official_code", gamma=0, eta1=0, eta2=0)
    for one in (TapoSettings.dapo(), TapoSettings.intra_only(), off):
        assert not one.needs_negative
        loss, _ = tapo_loss(terms, one, tokens=20)
        bare = Terms(terms.log_probs, terms.old, terms.advantages, terms.mask)
        assert float(loss) == float(tapo_loss(bare, one, tokens=20)[0])
        assert float(loss) == float(tapo_loss(terms, TapoSettings.dapo(), tokens=20)[0])


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("loss_type", "one"), [("dapo", TapoSettings.dapo(dual=None)), ("grpo", TapoSettings.grpo(kl_bound=math.inf))]
)
def test_trl_itself_gives_the_same_loss_and_gradient(loss_type, one):
    import trl

    if not trl.__version__.startswith("1.16."):
        pytest.skip("a private method of TRL, known from version 1.16")
    terms = made_up(7)
    theirs, ours = (terms.log_probs.clone().requires_grad_() for _ in range(2))
    tokens = terms.mask.sum()
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (theirs, terms.entropy, None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=one.kl_ref,
        loss_type=loss_type,
        epsilon_low=one.low,
        epsilon_high=one.high,
        args=SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False),
        use_vllm=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        accelerator=SimpleNamespace(num_processes=1, reduce=lambda x, **_: x, gather=lambda x: x),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    given_ids = torch.zeros(terms.mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": given_ids,
        "prompt_mask": torch.ones_like(given_ids),
        "completion_ids": given_ids,
        "completion_mask": terms.mask.long(),
        "advantages": terms.advantages,
        "old_per_token_logps": terms.old,
        "ref_per_token_logps": terms.reference,
        "num_items_in_batch": tokens,
    }
    expected = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
    loss, _ = tapo_loss(replace(terms, log_probs=ours), one, tokens=int(tokens), replies=len(terms.mask))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    expected.backward()
    loss.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-15)


# --- settings and bad input -------------------------------------------------------------------------------------------


def test_what_each_objective_needs():
    needs = ("negative", "entropy", "negative_entropy", "reference", "behaviour", "correct", "answer")
    expected = {
        TapoSettings.tapo(): {"negative", "entropy", "negative_entropy", "correct"},
        TapoSettings.tapo("official_code"): {"negative"},
        TapoSettings.tapo("paper"): {"negative"},
        TapoSettings.tapo(applies_to="correct_answer", conditioning="anchor_is", eta1=0): {
            *("negative", "negative_entropy", "correct", "answer", "behaviour"),
        },
        TapoSettings.dapo(): set(),
        TapoSettings.grpo(): {"reference"},
        TapoSettings.inter_only("official_code"): {"negative"},
    }
    for one, wanted in expected.items():
        assert {name for name in needs if getattr(one, f"needs_{name}")} == wanted
    assert TapoSettings.tapo().negative_needs_gradient
    assert TapoSettings.tapo("paper").negative_needs_gradient
    assert not TapoSettings.tapo("official_code").negative_needs_gradient
    assert not TapoSettings.dapo().negative_needs_gradient


def test_the_named_objectives():
    assert TapoSettings() == TapoSettings.tapo()
    assert TapoSettings.tapo().conditioning == "own"
    assert TapoSettings.tapo("paper").conditioning == "anchor"
    assert TapoSettings.tapo("official_code").applies_to == TapoSettings.tapo("paper").applies_to == "all"
    joined = {
        one: one.intra
        for one in (
            TapoSettings.tapo(),
            TapoSettings.intra_only(),
            TapoSettings.inter_only(),
            TapoSettings.dapo(),
            TapoSettings.grpo(),
        )
    }
    assert list(joined.values()) == [True, True, False, False, False]
    grpo = TapoSettings.grpo(kl_ref=0.0)
    assert (grpo.low, grpo.high, grpo.dual, grpo.kl_ref, grpo.normalisation) == (0.2, 0.2, None, 0.0, "sequence")


@pytest.mark.parametrize(
    "changes",
    [
        {"gamma": -0.1},
        {"eta1": math.nan},
        {"low": 1.5},
        {"high": -0.1},
        {"dual": 0.5},
        {"dual": 1.1},
        {"margin": 0.0},
        {"kl_bound": math.nan},
        {"importance_cap": 0.0},
        {"applies_to": "wrong"},
        {"conditioning": "positive"},
        {"normalisation": "token"},
        {"bounded": "kl"},
        {"importance": "group"},
        {"variant": "official_code", "bounded": "js"},
        {"variant": "released"},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(InputError):
        TapoSettings(**changes).check()


def test_missing_and_misshapen_tensors_are_named():
    terms = made_up(0)
    with pytest.raises(InputError, match="entropy, negative_entropy"):
        tapo_loss(replace(terms, entropy=None, negative_entropy=None), TapoSettings.tapo(), tokens=5)
    with pytest.raises(InputError, match="old does not fit"):
        tapo_loss(replace(terms, old=terms.old[:, :2]), TapoSettings.dapo(), tokens=5)
    with pytest.raises(InputError, match="advantages does not fit"):
        tapo_loss(replace(terms, advantages=terms.old), TapoSettings.dapo(), tokens=5)
    with pytest.raises(InputError, match="no tokens"):
        tapo_loss(terms, TapoSettings.dapo(), tokens=0)
    with pytest.raises(InputError, match="number of replies"):
        tapo_loss(terms, TapoSettings.grpo(), tokens=5)


def test_rewards_that_cannot_be_compared_are_refused():
    with pytest.raises(InputError, match="finite"):
        group_advantages(torch.tensor([1.0, math.nan]), torch.tensor([0, 0]))
    with pytest.raises(InputError, match="do not fit"):
        group_advantages(torch.tensor([1.0, 0.0]), torch.tensor([0]))
