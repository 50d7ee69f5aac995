"""Dynamic sampling: the window, the progress of a batch, its limits, the released rule beside ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError, RunError
from fgvr.methods.fine_r1.dynamic import UNLIMITED, Collection, DynamicSampling, goes_on, keeps, taken

WRONG, RIGHT, MIXED = [0.0] * 10, [1.0] * 10, [1.0] * 3 + [0.0] * 7
GROUPS = st.lists(st.sampled_from(["wrong", "right", "mixed", "none"]), min_size=1, max_size=6)
RULES = st.builds(
    DynamicSampling,
    tries=st.integers(1, 5),
    when_none=st.sampled_from(["skip", "keep_all"]),
)


def _scored(kinds, start=0):
    groups = {"wrong": WRONG, "right": RIGHT, "mixed": MIXED, "none": []}
    return [(f"p{start + place}", groups[kind]) for place, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [
        (WRONG, False),
        (RIGHT, False),
        (MIXED, True),
        ([1.0] + [0.0] * 9, True),
        ([0.0] + [1.0] * 9, True),
        ([1.0] + [0.0] * 99, False),  # a mean of 0.01 lies on the open bound
        ([0.0] + [1.0] * 99, False),
        ([1.0] + [0.0] * 98, True),
        ([1.0], False),
        ([], False),
    ],
)
def test_the_window_is_open(accuracies, kept):
    assert keeps(accuracies) is kept


def test_another_window():
    assert keeps(WRONG, window=(-0.1, 0.5))
    assert not keeps(MIXED, window=(0.3, 0.99))
    assert keeps(MIXED, window=(0.29, 0.31))


def test_one_batch_by_hand():
    rule, progress = DynamicSampling(tries=3), Collection(wanted=3)
    assert goes_on(progress, rule)
    progress, chosen = taken(progress, _scored(["wrong", "mixed", "right", "none"]), rule)
    assert chosen == (1,)
    assert (progress.kept, progress.missing, progress.asked) == (((0, "p1"),), 2, 4)
    assert (progress.too_hard, progress.too_easy, progress.filtered) == (2, 1, 0.75)
    assert progress.noted() == {"filtered": 0.75, "retries": 0.0}
    assert goes_on(progress, rule)
    progress, chosen = taken(progress, _scored(["mixed"] * 4, start=4), rule)
    assert chosen == (0, 1)
    assert progress.kept == ((0, "p1"), (1, "p4"), (1, "p5"))
    assert (progress.surplus, progress.filtered, progress.missing) == (2, 3 / 8, 0)
    assert progress.noted()["retries"] == 1
    assert not goes_on(progress, rule)


def test_a_batch_that_keeps_none_is_skipped_here_and_kept_by_the_released_rule():
    scored = _scored(["wrong", "right", "wrong"])
    ours, chosen = taken(Collection(2), scored, DynamicSampling())
    assert chosen == ()
    assert ours.empty
    assert ours.filtered == 1
    released, chosen = taken(Collection(2), scored, DynamicSampling(tries=UNLIMITED, when_none="keep_all"))
    assert chosen == (0, 1)
    assert not released.empty
    assert (released.kept_anyway, released.surplus, released.filtered) == (2, 1, 0)
    one_fits, chosen = taken(Collection(9), _scored(["wrong", "mixed"]), DynamicSampling(when_none="keep_all"))
    assert chosen == (1,)
    assert one_fits.kept_anyway == 0


def test_at_the_limit_it_goes_on_with_what_there_is_or_says_that_there_is_nothing():
    rule, nothing = DynamicSampling(tries=2), Collection(4)
    for _ in range(2):
        assert goes_on(nothing, rule)
        nothing, _ = taken(nothing, _scored(["wrong", "right"]), rule)
    assert not goes_on(nothing, rule)
    assert nothing.empty
    some, _ = taken(Collection(4), _scored(["mixed"]), DynamicSampling(tries=1))
    assert not goes_on(some, DynamicSampling(tries=1))
    assert not some.empty
    assert not Collection(4).empty  # nothing was asked yet


def test_the_same_prompt_may_come_again_in_a_later_try():
    rule, progress = DynamicSampling(), Collection(3)
    for _ in range(2):
        progress, _ = taken(progress, _scored(["mixed"]), rule)
    assert progress.kept == ((0, "p0"), (1, "p0"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": (0.5, 0.5)},
        {"window": (0.9, 0.1)},
        {"window": (float("nan"), 1)},
        {"tries": 0},
        {"tries": -2},
        {"tries": UNLIMITED},
        {"when_none": "raise"},
    ],
)
def test_rules_that_cannot_be(wrong):
    with pytest.raises(InputError):
        DynamicSampling(**wrong)


def test_batches_that_cannot_be():
    with pytest.raises(InputError):
        Collection(0)
    with pytest.raises(InputError):
        taken(Collection(1), [], DynamicSampling())


@pytest.mark.parametrize(
    "state",
    [{}, {"wanted": 2}, {**Collection(2).as_dict(), "kept": 5}, {**Collection(2).as_dict(), "tries": "many"},
     {**Collection(2).as_dict(), "kept": [[1]]}],
)  # fmt: skip
def test_a_state_of_another_kind_is_no_state(state):
    with pytest.raises(RunError, match="cannot be read"):
        Collection.from_dict(state)


@given(st.lists(GROUPS, min_size=1, max_size=8), st.integers(1, 6), RULES)
def test_what_always_holds(batches, wanted, rule):
    progress, kept = Collection(wanted), []
    for number, kinds in enumerate(batches):
        if not goes_on(progress, rule):
            break
        scored = _scored(kinds, start=10 * number)
        before = progress
        progress, chosen = taken(progress, scored, rule)
        assert taken(before, scored, rule) == (progress, chosen)
        kept += [(number, scored[place][0]) for place in chosen]
        progress = Collection.from_dict(json.loads(json.dumps(progress.as_dict())))
    assert list(progress.kept) == kept == sorted(kept)
    assert len(kept) <= wanted
    assert progress.tries <= rule.tries
    assert progress.too_hard + progress.too_easy + len(kept) + progress.surplus == progress.asked
    assert 0 <= progress.filtered <= 1
    assert not goes_on(progress, rule) or len(batches) == progress.tries
    if rule.when_none == "keep_all":
        assert kept


@given(st.lists(GROUPS, min_size=1, max_size=4))
def test_only_mixed_prompts_are_kept_when_others_are_skipped(batches):
    progress, mixed = Collection(1000), 0
    for kinds in batches:
        progress, chosen = taken(progress, _scored(kinds), DynamicSampling())
        assert [kinds[place] for place in chosen] == ["mixed"] * len(chosen)
        mixed += kinds.count("mixed")
    assert len(progress.kept) == mixed
