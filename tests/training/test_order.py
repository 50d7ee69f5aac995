"""Order and rate: every row once an epoch, the same for the same seed; the schedule's corners by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.training import TrainingRow
from fgvr.training.order import epoch_batches, rate_factor, shares, step_seed


def rows_of(lengths: list[int], pictures: list[int] | None = None) -> list[TrainingRow]:
    counts = pictures or [1] * len(lengths)
    return [
        TrainingRow(f"r{i}", tuple(Path(f"{n}.jpg") for n in range(count)), "x" * length, "y")
        for i, (length, count) in enumerate(zip(lengths, counts, strict=True))
    ]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=80), st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_every_row_comes_once_an_epoch(lengths, size, epoch, by_length):
    rows = rows_of(lengths)
    batches = epoch_batches(rows, batch_size=size, seed=1, epoch=epoch, by_length=by_length)
    assert sorted(i for batch in batches for i in batch) == list(range(len(rows)))
    assert len(batches) == -(-len(rows) // size)
    assert all(len(batch) <= size for batch in batches)
    assert batches == epoch_batches(rows, batch_size=size, seed=1, epoch=epoch, by_length=by_length)


def test_epochs_and_seeds_differ_and_lengths_lie_together():
    rows = rows_of([i % 40 + 1 for i in range(160)])
    orders = {
        str(epoch_batches(rows, batch_size=8, seed=seed, epoch=epoch, by_length=True))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4

    def waste(by_length: bool) -> int:
        batches = epoch_batches(rows, batch_size=8, seed=0, epoch=0, by_length=by_length)
        return sum(max(len(rows[i].prompt) for i in batch) - len(rows[j].prompt) for batch in batches for j in batch)

    assert waste(True) * 3 < waste(False)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 3))
def test_shares_hold_every_row_once_and_are_equally_many(pictures, micro, processes):
    rows = rows_of([1] * len(pictures), pictures)
    parts = shares(rows, micro=micro, processes=processes)
    assert len(parts) == processes
    assert len({len(part) for part in parts}) == 1
    assert sorted(row.id for part in parts for batch in part for row in batch) == sorted(row.id for row in rows)
    for part in parts:
        for batch in part:
            assert len(batch) <= micro
            assert len({len(row.images) for row in batch}) <= 1


def test_the_rate_warms_up_and_falls():
    cosine = [rate_factor(step, total=12, warmup=2, schedule="cosine") for step in range(12)]
    assert cosine[:3] == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]
    assert cosine[7] == pytest.approx(0.5)
    assert sorted(cosine[2:], reverse=True) == cosine[2:]
    assert 0 < cosine[-1] < 0.03
    assert [rate_factor(step, total=12, warmup=0, schedule="constant") for step in (0, 11)] == [1.0, 1.0]


def test_every_step_of_every_process_has_its_own_seed():
    seeds = {step_seed(seed, step, process) for seed in range(3) for step in range(50) for process in range(3)}
    assert len(seeds) == 450
