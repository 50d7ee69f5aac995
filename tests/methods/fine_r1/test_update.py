"""The update: which pictures, which passes, which gradients; where micro-batches are cut changes nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fgvr.methods.fine_r1 import update as updating
from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.rewards import Reward
from fgvr.methods.fine_r1.rollouts import Reply
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.methods.fine_r1.update import Fixed, Learned, Micro, Update, answer_places, learned, share_of, updates
from fgvr.training.distributed import make_accelerator
from fgvr.training.log_probs import reply_scores
from fgvr.training.lora import trainable
from fgvr.training.rollout import Sampled
from fgvr.training.sights import Sight, Sights
from tests.mllm import tiny_models

from .reinforced import SETTINGS, fresh, triplets_of

TOKENS = [(10, 11, 3), (12,), (13, 14, 15, 16, 3), (10, 3), (11, 12, 13, 3), (14, 3), (16,)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def triplets(tmp_path_factory):
    return triplets_of(tmp_path_factory.mktemp("pictures"))


def replies(triplets) -> list[Reply]:
    """Seven, of four triplets, by turns to anchor and positive; every other one is right."""
    return [
        Reply(
            triplets[i % 4],
            "positive" if i % 3 == 1 else "anchor",
            Sampled(tokens, "", True),
            Reward(float(i % 2), float(i % 2), 1.0),
        )
        for i, tokens in enumerate(TOKENS)
    ]


def rows(triplets) -> list[Learned]:
    return [Learned(one, 0.9 - 0.4 * i) for i, one in enumerate(replies(triplets))]


def an_update(base: Path, objective: TapoSettings, *, init: str = "gaussian", moved: float = 0.0):
    """An update and its model, B moved away from zero by ``moved``."""
    mllm, model = fresh(base, init=init)
    made = torch.Generator().manual_seed(3)
    for name, weight in trainable(model).items():
        if "lora_B" in name:
            weight.data += moved * torch.randn(weight.shape, generator=made)
    settings = replace(SETTINGS, objective=objective)
    accelerator = make_accelerator(precision="no")
    return Update(model, Sights(mllm), accelerator, settings, without_adapter=model.disable_adapter), model


def gradients(update: Update, model, given: list[Learned], *, micro: int, several: bool = False):
    share = share_of(given, micro=micro)
    fixed = [update.fixed(one, several=several) for one in share.micros]
    sums = update(share, fixed)
    found = {name: weight.grad.clone() for name, weight in trainable(model).items() if weight.grad is not None}
    model.zero_grad()
    return sums, found


OBJECTIVES = {
    "corrected": TapoSettings.tapo(gamma=0.5, eta1=0.4, eta2=0.3),
    "released": TapoSettings.tapo("official_code", gamma=0.5, eta1=0.4, eta2=0.3),
    "paper": TapoSettings.tapo("paper", gamma=0.5),
    "grpo": TapoSettings.grpo(kl_ref=0.5),
    "anchor_is": TapoSettings.tapo(conditioning="anchor_is", applies_to="all", gamma=0.5),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_where_micro_batches_are_cut_changes_rounding_only(base, triplets, name):
    update, model = an_update(base, OBJECTIVES[name], moved=0.05)
    bare = [replace(one, negative=None) if i == 1 else one for i, one in enumerate(triplets)]
    whole_sums, whole = gradients(update, model, rows(bare), micro=7)
    assert any(bool(grad.abs().max() > 1e-3) for grad in whole.values())
    for micro in (1, 2, 3):
        sums, found = gradients(update, model, rows(bare), micro=micro)
        assert sums == pytest.approx(whole_sums, rel=1e-4, abs=1e-4)
        for at, grad in whole.items():
            torch.testing.assert_close(found[at], grad, rtol=1e-3, atol=2e-5)


def test_the_first_update_is_the_policy_gradient(base, triplets):
    """ρ is 1: the gradient is that of -mean(A log π) over all tokens, each reply under its own picture."""
    update, model = an_update(base, TapoSettings.dapo(), moved=0.05)
    given = rows(triplets)
    expected = {}
    for several in (False, True):
        sums, found = gradients(update, model, given, micro=3, several=several)
        assert sums["clipped"] == 0
        tokens = sum(map(len, TOKENS))
        assert sums["tokens"] == tokens
        asked = [Sight(train_prompt(one.reply.triplet.question, style="short", thinking=False), one.reply.picture)
                 for one in given]  # fmt: skip
        scores = reply_scores(model, Sights(update.sights.mllm), asked, TOKENS)
        advantages = torch.tensor([one.advantage for one in given])
        (-(scores.log_probs * advantages[:, None]).sum() / tokens).backward()
        expected = {name: weight.grad.clone() for name, weight in trainable(model).items()}
        model.zero_grad()
        for name, grad in expected.items():
            torch.testing.assert_close(found[name], grad, rtol=1e-3, atol=1e-5)
    assert any(bool(grad.abs().max() > 1e-3) for grad in expected.values())


def test_old_log_probabilities_clip_a_second_update(base, triplets):
    update, model = an_update(base, TapoSettings.dapo(), moved=0.05)
    share = share_of(rows(triplets), micro=4)
    fixed = [update.fixed(one, several=True) for one in share.micros]
    with torch.no_grad():
        for name, weight in trainable(model).items():
            weight += 0.3 if "lora_B" in name else 0.0
    assert update(share, fixed)["clipped"] > 0
    unknown = [replace(one, old=None) for one in fixed]
    assert update(share, unknown)["clipped"] == 0


class Passes:
    """In place of ``reply_scores``: which pictures were asked about, and whether with gradient."""

    def __init__(self, monkeypatch) -> None:
        self.seen: list[tuple[list[str], bool, bool]] = []
        real = updating.reply_scores

        def noted(model, sights, asked, replies, **how):
            self.seen.append(([one.picture.stem for one in asked], torch.is_grad_enabled(), how["entropy"]))
            return real(model, sights, asked, replies, **how)

        monkeypatch.setattr(updating, "reply_scores", noted)


ANCHORS = ["red0", "red1", "blue0"]
OWN = ["red0", "red0", "blue0"]  # the second one's is its positive
NEGATIVES = ["blue0", "blue1", "red0"]


@pytest.mark.parametrize(
    ("objective", "several", "expected"),
    [
        (TapoSettings.dapo(), False, [(OWN, True, False)]),
        (TapoSettings.dapo(), True, [(OWN, False, False), (OWN, True, False)]),
        (TapoSettings.tapo(), False, [(OWN, True, True), (NEGATIVES, True, True)]),
        (TapoSettings.tapo("official_code"), False, [(NEGATIVES, False, False), (OWN, True, False)]),
        (TapoSettings.tapo("paper"), False, [(ANCHORS, True, False), (NEGATIVES, True, False)]),
        (
            TapoSettings.dapo(conditioning="anchor_is", intra=True),
            True,
            [(ANCHORS, False, False), (OWN, False, False), (ANCHORS, True, False)],
        ),
        (TapoSettings.grpo(), False, [(OWN, False, False), (OWN, True, False)]),
    ],
    ids=["dapo", "several updates", "corrected", "released", "paper", "importance", "grpo"],
)
def test_each_variant_makes_its_passes_under_its_pictures(base, triplets, monkeypatch, objective, several, expected):
    update, model = an_update(base, objective)
    passes = Passes(monkeypatch)
    share = share_of([Learned(one, 1.0) for one in replies(triplets)[:3]], micro=3)
    order = [TOKENS.index(one.reply.sampled.tokens) for one in share.micros[0].rows]
    fixed = [update.fixed(one, several=several) for one in share.micros]
    update(share, fixed)
    assert passes.seen == [([names[at] for at in order], graded, entropy) for names, graded, entropy in expected]
    for value in vars(fixed[0]).values():
        assert value is None or not value.requires_grad
    model.zero_grad()


def test_the_reference_is_the_model_without_its_adapter(base, triplets):
    update, model = an_update(base, TapoSettings.grpo())
    sums, _ = gradients(update, model, rows(triplets), micro=4)
    assert sums["reference_kl"] == 0  # before the first update they are one
    with torch.no_grad():
        for name, weight in trainable(model).items():
            weight += 0.1 if "lora_B" in name else 0.0
    moved, _ = gradients(update, model, rows(triplets), micro=4)
    assert moved["reference_kl"] > 0.01


def test_a_negative_that_is_the_own_picture_teaches_nothing(base, triplets):
    itself = [replace(one, negative=one.anchor, positive=one.anchor) for one in triplets]
    terms = TapoSettings.tapo(gamma=0.7, eta1=0.0, eta2=0.0, applies_to="all")
    update, model = an_update(base, terms, moved=0.05)
    sums, found = gradients(update, model, rows(itself), micro=4)
    assert sums["kl"] == pytest.approx(0, abs=1e-6)
    assert sums["negative_tokens"] == sums["tokens"]
    plain, other = an_update(base, TapoSettings.dapo(), moved=0.05)
    _, expected = gradients(plain, other, rows(itself), micro=4)
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-5)


def test_replies_without_a_readable_negative_have_no_such_term(base, triplets, tmp_path):
    terms = TapoSettings.tapo(gamma=0.7, eta1=0.0, eta2=0.3, applies_to="all")
    update, model = an_update(base, terms, moved=0.05)
    without = [replace(one, negative=None if i else tmp_path / "gone.png") for i, one in enumerate(triplets)]
    sums, found = gradients(update, model, rows(without), micro=2)
    assert (sums["negative_tokens"], sums["kl"]) == (0, 0)
    assert list(update.sights.set_aside) == [tmp_path / "gone.png"]
    plain, other = an_update(base, TapoSettings.dapo(), moved=0.05)
    _, expected = gradients(plain, other, rows(without), micro=2)
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-5)
    some = [replace(one, negative=None) if i == 0 else one for i, one in enumerate(triplets)]
    sums, _ = gradients(update, model, rows(some), micro=2)  # first and fifth reply are of the first triplet
    assert sums["negative_tokens"] == sums["tokens"] - len(TOKENS[0]) - len(TOKENS[4])


def test_which_pictures_and_which_negatives(base, triplets):
    own, _ = an_update(base, TapoSettings.tapo())
    one = replies(triplets)[1]
    assert own.policy_picture(one) == one.triplet.positive
    assert own.negative_picture(one) == one.triplet.negative
    assert own.negative_picture(replace(one, triplet=replace(one.triplet, negative=None))) == one.triplet.positive
    anchor, _ = an_update(base, TapoSettings.tapo("paper"))
    assert anchor.policy_picture(one) == one.triplet.anchor


def test_terms_of_answers_reach_the_answers_tokens_only(base, triplets, monkeypatch):
    words = {10: "<answer>", 11: " red", 12: "</answer>", 3: ""}
    update, _ = an_update(base, TapoSettings.tapo(applies_to="answer"))
    update.decode = lambda token: words.get(token, "?")
    tokens = ((10, 11, 11, 12, 3), (13, 14))
    micro = Micro(tuple(Learned(replace(one, sampled=Sampled(said, "", True)), 1.0)
                        for one, said in zip(replies(triplets), tokens, strict=False)))  # fmt: skip
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    assert update._answers(micro, mask).tolist() == [[False, True, True, False, False], [False] * 5]
    share = share_of(micro.rows, micro=2)
    assert update(share, [Fixed(None, None, None, None, None)])["applied"] == 2


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["<think>", "a", "</think>", "<answer>", "red", " tern", "</answer>", ""], [4, 5]),
        (["<", "answer", ">", "red", "</", "answer", ">"], [3]),
        (["<ans", "wer>r", "ed</", "answer>"], [1, 2]),
        (["<answer>red</answer>"], [0]),
        (["<answer>", "</answer>"], []),
        (["<answer>", "red"], []),
        (["</answer>", "red", "<answer>"], []),
        (["red"], []),
        ([], []),
        (["<answer>", "a", "</answer>", "<answer>", "b", "</answer>"], [1]),
        (["<answer>", "", "a", "</answer>"], [2]),
    ],
)
def test_places_of_the_answer(pieces, expected):
    assert list(answer_places(pieces)) == expected


def test_advantages_by_hand(triplets):
    """Rewards [1, 1, 1, .1 x 7]: mean 0.37, unbiased deviation sqrt(1.701 / 9)."""
    one = replies(triplets)[0]
    group = tuple(replace(one, reward=Reward(1.0 if i < 3 else 0.1, 0.0, 1.0)) for i in range(10))
    even = tuple(replace(one, reward=Reward(0.1, 0.0, 1.0)) for _ in range(4))
    found = learned([group, even])
    deviation = (1.701 / 9) ** 0.5
    assert [each.advantage for each in found[0]] == pytest.approx(
        [0.63 / deviation] * 3 + [-0.27 / deviation] * 7, rel=1e-5
    )
    assert [each.advantage for each in found[1]] == [0.0] * 4
    assert [each.reply for each in found[0]] == list(group)
    assert learned([]) == []


def test_updates_and_shares(triplets):
    given = rows(triplets)
    assert updates([given[:2], given[2:3], given[3:]], 2) == [given[:3], given[3:]]
    assert updates([], 2) == []
    whole = share_of(given, micro=2)
    lengths = [[len(one.reply.sampled.tokens) for one in micro.rows] for micro in whole.micros]
    assert lengths == [[1, 1], [2, 2], [3, 4], [5]]
    assert (whole.tokens, whole.replies, whole.passes) == (18, 7, 4)
    for size in (2, 3, 5):
        shares = [share_of(given, micro=2, rank=rank, size=size) for rank in range(size)]
        assert len({len(share.micros) for share in shares}) == 1
        real = [one for share in shares for micro in share.micros if micro.real for one in micro.rows]
        assert sorted(map(id, real)) == sorted(map(id, given))
        assert {(share.tokens, share.replies, share.passes) for share in shares} == {(18, 7, 4)}


def test_shares_of_several_processes_add_up_and_stand_ins_count_nothing(base, triplets):
    update, model = an_update(base, OBJECTIVES["corrected"], moved=0.05)
    given = rows(triplets)
    sums, whole = gradients(update, model, given, micro=3)
    parts = [share_of(given, micro=3, rank=rank, size=2) for rank in range(2)]
    assert [micro.real for share in parts for micro in share.micros] == [True, True, True, False]
    added = [update(share, [update.fixed(one, several=False) for one in share.micros]) for share in parts]
    assert added[0].keys() == added[1].keys()
    assert {name: added[0][name] + added[1][name] for name in sums} == pytest.approx(sums, rel=1e-4, abs=1e-4)
    for name, weight in trainable(model).items():
        torch.testing.assert_close(weight.grad, whole[name], rtol=1e-3, atol=2e-5)
