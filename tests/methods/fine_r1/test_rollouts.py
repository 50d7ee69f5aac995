"""A step's replies by a scripted engine: who is asked, what is kept, where the order goes on, what bad pictures do."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from fgvr.errors import NoImagesError
from fgvr.methods.fine_r1.dynamic import DynamicSampling
from fgvr.methods.fine_r1.rollouts import Collected, collect, order
from fgvr.training.rollout import Sampled

from .reinforced import KEEP_ALL, SETTINGS, Scripted, triplets_of, with_objective

ASK = replace(SETTINGS, rollout_batch=3, mini_rollout=2, dynamic=DynamicSampling(tries=4))


@pytest.fixture
def triplets(tmp_path):
    return triplets_of(tmp_path / "pictures", each=3)


def answering(right: dict[str, int], *, otherwise: int = 0) -> Scripted:
    """Of each picture's replies, so many are right."""

    def script(picture: Path, place: int) -> tuple[str, tuple[int, ...]]:
        name = picture.stem[:-1] if place < right.get(picture.stem, otherwise) else "tern"
        return f"<answer>{name}</answer>", (10, 11, 3)

    return Scripted(script)


def gathered(triplets, engine, settings=ASK, *, position=0, step=0, **more) -> Collected:
    return collect(triplets, engine, settings, seed=1, step=step, position=position, **more)


def ids(groups) -> list[tuple[int, str]]:
    return [(tried, group[0].triplet.id) for tried, group in groups]


def test_every_epoch_has_an_order_of_its_own_and_every_position_goes_on_in_it():
    whole = list(islice(order(5, seed=3, position=0), 20))
    assert all(sorted(whole[at : at + 5]) == list(range(5)) for at in range(0, 20, 5))
    assert len({tuple(whole[at : at + 5]) for at in range(0, 20, 5)}) > 1
    for position in range(15):
        assert list(islice(order(5, seed=3, position=position), 5)) == whole[position : position + 5]
    assert list(islice(order(5, seed=4, position=0), 20)) != whole


def test_what_teaches_is_kept_and_the_rest_is_replaced(triplets):
    named = [triplets[i].id for i in islice(order(6, seed=1, position=0), 12)]
    # The first two teach nothing (all wrong, all right), of the next two one does, then both.
    right = {named[1]: 6, named[2]: 1, named[4]: 2, named[5]: 2}
    alone = [replace(one, positive=None) for one in triplets]
    found = gathered(alone, answering(right))
    assert ids(found.kept) == [(1, named[2]), (2, named[4]), (2, named[5])]
    assert ids(found.others) == [(0, named[0]), (0, named[1]), (1, named[3])]
    assert found.position == 6
    progress = found.progress
    assert (progress.tries, progress.asked, progress.too_hard, progress.too_easy, progress.surplus) == (3, 6, 2, 1, 0)
    surplus = gathered(alone, answering(right), replace(ASK, rollout_batch=2))
    assert ids(surplus.kept) == [(1, named[2]), (2, named[4])]
    assert ids(surplus.others)[-1] == (2, named[5])
    assert surplus.progress.surplus == 1
    assert len(found.replies) == 36 == sum(map(len, found.groups))


def test_tries_are_limited_and_the_released_rule_keeps_all(triplets):
    engine = answering({})
    found = gathered(triplets, engine)
    assert found.kept == []
    assert found.progress.empty
    assert (found.progress.tries, len(engine.asked), found.position) == (4, 4, 8)
    released = replace(ASK, dynamic=DynamicSampling(tries=-1, when_none="keep_all"))
    found = gathered(triplets, answering({}), released)
    assert [tried for tried, _ in found.kept] == [0, 0, 1]
    assert (found.progress.kept_anyway, found.progress.surplus, found.position) == (3, 1, 4)


def test_a_step_goes_on_where_the_last_one_stopped_across_epochs(triplets):
    named = [triplets[i].id for i in islice(order(6, seed=1, position=0), 30)]
    read, position = [], 0
    for step in range(4):
        found = gathered(
            triplets, answering({}, otherwise=1), replace(ASK, mini_rollout=3), position=position, step=step
        )
        read += [name for _, name in ids(found.kept)]
        position = found.position
    assert read == named[:12]
    again = gathered(triplets, answering({}, otherwise=1), replace(ASK, mini_rollout=3), position=9, step=3)
    assert [name for _, name in ids(again.kept)] == named[9:12]


@pytest.mark.parametrize(("anchors", "positives"), [(10, 0), (8, 2), (5, 5), (2, 8), (0, 10)])
def test_the_sweep_of_replies_to_anchor_and_positive(triplets, anchors, positives):
    settings = replace(ASK, rollout_batch=1, mini_rollout=1, anchors=anchors, positives=positives, dynamic=KEEP_ALL)
    engine = answering({}, otherwise=1)
    ((_, group),) = gathered(triplets, engine, settings).kept
    one = group[0].triplet
    assert [reply.source for reply in group] == ["anchor"] * anchors + ["positive"] * positives
    assert [reply.picture for reply in group] == [one.anchor] * anchors + [one.positive] * positives
    asked = dict(engine.asked[0])
    assert asked.get(one.anchor.stem, 0) == anchors
    assert asked.get(one.positive.stem, 0) == positives
    engine = answering({}, otherwise=1)
    ((_, group),) = gathered(triplets, engine, with_objective(settings, intra=False)).kept
    assert engine.asked == [[(one.anchor.stem, 10)]]
    assert {reply.source for reply in group} == {"anchor"}


def test_a_triplet_without_positive_or_negative_takes_part(triplets):
    bare = [replace(one, positive=None, negative=None, negative_category="") for one in triplets]
    engine = answering({}, otherwise=1)
    found = gathered(bare, engine)
    assert {count for asked in engine.asked for _, count in asked} == {6}
    lines = [one.record(step=1, attempt=0, advantage=0.5, kept=True) for one in found.replies]
    assert {(line["source"], line["negative"], line["negative_category"]) for line in lines} == {("anchor", "", "")}


def test_pictures_that_cannot_be_read_are_left_out_in_the_middle_of_an_epoch(triplets):
    named = [triplets[i] for i in islice(order(6, seed=1, position=0), 6)]
    broken = {named[1].anchor, named[3].anchor}
    engine = answering({}, otherwise=1)
    found = gathered(triplets, engine, readable=lambda path: path not in broken)
    expected = [one for one in named if one.anchor not in broken][:3]
    assert [name for _, name in ids(found.kept)] == [one.id for one in expected]
    assert not {path.stem for path in broken} & {name for asked in engine.asked for name, _ in asked}
    for _, group in found.kept:
        one, pair = group[0].triplet, group[0].triplet.positive not in broken
        assert [reply.source for reply in group] == (["anchor"] * 3 + ["positive"] * 3 if pair else ["anchor"] * 6)
        assert one.anchor not in broken


def test_one_readable_anchor_is_enough_and_none_is_an_error(triplets):
    good = triplets[2].anchor
    found = gathered(triplets, answering({}, otherwise=1), readable=lambda path: path == good)
    assert {name for _, name in ids(found.kept)} == {triplets[2].id}
    assert len(found.kept) == 3
    with pytest.raises(NoImagesError, match="not one anchor"):
        gathered(triplets, answering({}), readable=lambda _: False)


def test_processes_share_the_prompts_and_see_the_same_groups(triplets):
    settings = replace(ASK, rollout_batch=4, mini_rollout=3)
    alone = gathered(triplets, answering({}, otherwise=1), settings)
    barrier, slots = threading.Barrier(2, timeout=60), [None, None]
    found, engines = [None, None], [answering({}, otherwise=1) for _ in range(2)]

    def process(rank: int) -> None:
        def gather(mine):
            slots[rank] = mine
            barrier.wait()
            every = list(slots)
            barrier.wait()
            return every

        found[rank] = gathered(triplets, engines[rank], settings, rank=rank, size=2, gather=gather)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == alone
    assert [[len(asked) for asked in engine.asked] for engine in engines] == [[4, 4], [2, 2]]


def test_seeds_differ_between_tries_steps_and_processes(triplets):
    seeds = []

    def engine(asked, counts, how, seed):
        seeds.append(seed)
        return answering({})(asked, counts, how, seed)

    for step, rank in ((0, 0), (1, 0), (0, 1)):
        gathered(triplets, engine, step=step, rank=rank, size=2, gather=lambda mine: [mine, mine])
    assert len(set(seeds)) == len(seeds) == 12


def test_a_report_of_how_far_it_is(triplets):
    told = []
    gathered(triplets, answering({}, otherwise=1), report=lambda kept, wanted: told.append((kept, wanted)))
    assert told == [(2, 3), (3, 3)]


def test_replies_that_never_end_have_no_answer(triplets):
    def engine(asked, counts, how, seed):
        return [[Sampled((10,) * 4, "the bird is a", False)] * count for count in counts]

    found = gathered(triplets, engine)
    assert not found.kept
    assert {(one.reward.accuracy, one.reward.total, one.sampled.ended) for one in found.replies} == {(0.0, 0.0, False)}
    assert all(one.reward.reason for one in found.replies)
