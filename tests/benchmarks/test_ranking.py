"""The ranking benchmark's model of a given shape does what the benchmark says it times."""

from __future__ import annotations

import pytest
import torch

from benchmarks import ranking

TINY = ranking.SHAPES["tiny"]


def test_the_7b_shape_is_that_of_llava() -> None:
    shape = ranking.SHAPES["7b"]
    assert shape.picture_tokens == 576
    assert (shape.layers, shape.width, shape.inner, shape.vocabulary) == (32, 4096, 11008, 32064)


def test_the_three_modes_run_on_a_tiny_shape() -> None:
    model = ranking.build(TINY, device="cpu", dtype=torch.float32)
    jobs = ranking.shape_jobs(TINY, model, batch=2)
    length = TINY.picture_tokens + ranking.PROMPT_TOKENS["generate"] + ranking.WRITTEN
    assert jobs["generate"]().shape == (2, length)
    assert [row.shape for row in jobs["names"]()] == [(5,), (5,)]
    assert [row.shape for row in jobs["letters"]()] == [(5,), (5,)]


def test_the_table_relates_each_mode_to_generation_at_its_batch() -> None:
    rows = ranking.measure_shape(TINY, device="cpu", batches=(1, 2), repeats=1)
    assert [row[:2] for row in rows] == [[mode, batch] for batch in "12" for mode in ("generate", "names", "letters")]
    assert rows[0][3] == rows[3][3] == "1.0x"
    assert all(float(row[2]) > 0 for row in rows)


@pytest.mark.parametrize("mode", ["names", "letters"])
def test_scoring_and_generation_see_prompts_of_their_own_length(mode: str) -> None:
    model = ranking.build(TINY, device="cpu", dtype=torch.float32)
    given = ranking.inputs_of(TINY, batch=1, text_tokens=ranking.PROMPT_TOKENS[mode], like=model)
    assert given["input_ids"].shape == (1, TINY.picture_tokens + ranking.PROMPT_TOKENS[mode])
    assert int((given["input_ids"] == TINY.vocabulary - 1).sum()) == TINY.picture_tokens
