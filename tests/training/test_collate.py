"""Batches: the text a model sees in use, loss on the answer alone, the same whatever the padding and model."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from fgvr.errors import InputError
from fgvr.mllm import Request
from fgvr.mllm.local import LocalMllm
from fgvr.training import Collator, TrainingRow, answer_nll
from tests.mllm.test_local import MODELS

from .world import training_rows


@pytest.fixture(scope="module", params=MODELS)
def mllm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalMllm:
    logging.disable(logging.WARNING)
    return LocalMllm(str(MODELS[request.param](tmp_path_factory.mktemp(request.param))), batch_size=4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingRow]:
    return training_rows(tmp_path_factory.mktemp("pictures"), 3)


def nll_one_by_one(mllm: LocalMllm, row: TrainingRow) -> float:
    """Token by token through the whole model, on the inputs of *inference*; float64 softmax; then the end token."""
    inputs = mllm._inputs([Request("x", row.prompt, row.images)])
    answer = [*mllm.processor.tokenizer(row.answer, add_special_tokens=False)["input_ids"], 3]
    total = 0.0
    for count, token in enumerate(answer):
        now = dict(inputs)
        before = torch.tensor([answer[:count]], dtype=torch.long)
        for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
            if key in now:
                fill = before if key == "input_ids" else torch.full_like(before, key == "attention_mask")
                now[key] = torch.cat([now[key], fill], dim=1)
        with torch.inference_mode():
            logits = mllm.model(**now, use_cache=False).logits
        total -= torch.log_softmax(logits[0, -1].double(), dim=-1)[token].item()
    return total


def test_the_loss_is_that_of_the_answer_as_asked_in_use(mllm, rows):
    batch = Collator(mllm)(rows)
    with torch.no_grad():
        found = answer_nll(mllm.model, batch).sum(dim=1)
    assert found.tolist() == pytest.approx([nll_one_by_one(mllm, row) for row in rows], abs=2e-4)


def test_padding_side_and_company_change_nothing(mllm, rows):
    with torch.no_grad():
        right, left = (
            answer_nll(mllm.model, Collator(mllm, padding_side=side)(rows)).sum(dim=1) for side in ("right", "left")
        )
        alone = [answer_nll(mllm.model, Collator(mllm)([row])).sum() for row in rows]
    assert right.tolist() == pytest.approx(left.tolist(), abs=1e-4)
    assert right.tolist() == pytest.approx([float(one) for one in alone], abs=1e-4)


def test_labels_are_the_answer_and_its_end_and_nothing_else(mllm, rows):
    batch = Collator(mllm)(rows)
    tokenizer = mllm.processor.tokenizer
    for row, ids, labels, mask in zip(rows, batch.inputs["input_ids"], batch.labels, batch.inputs["attention_mask"]):
        kept = labels[labels != -100]
        assert tokenizer.decode(kept) == f"{row.answer} </s>"
        assert torch.equal(ids[labels != -100], kept)
        last = int(mask.sum()) - 1
        assert int(ids[last]) == 3  # right-padded: the row's last real token is the end
        assert labels[last] == 3
        assert not (labels[last + 1 :] != -100).any()
    assert batch.answer_tokens == sum(len(row.answer.split()) + 1 for row in rows)


def test_bad_and_long_rows_are_left_out_and_nothing_at_all_becomes_a_blank(mllm, rows, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"<html>")
    bad = replace(rows[0], id="bad", images=(tmp_path / "bad.png",))
    batch = Collator(mllm)([bad, *rows])
    assert batch.rows == tuple(rows)
    assert [(one.id, one.reason) for one in batch.set_aside] == [("bad", "not an image")]
    assert torch.equal(batch.labels, Collator(mllm)(rows).labels)
    widest = Collator(mllm, max_tokens=10_000)([rows[0]]).labels.shape[1]
    long = replace(rows[0], id="long", answer=" ".join(["tern"] * 50))
    short = Collator(mllm, max_tokens=widest)([long, rows[0]])
    assert [(one.id, one.reason) for one in short.set_aside] == [("long", "too long")]
    assert short.rows == (rows[0],)
    for nothing in (Collator(mllm)([bad]), Collator(mllm)([]), Collator(mllm, max_tokens=3)(rows)):
        assert nothing.rows == ()
        assert nothing.answer_tokens == 0
        with torch.no_grad():
            assert float(answer_nll(mllm.model, nothing).sum()) == 0


def test_an_answer_cannot_forge_control_tokens(mllm, rows):
    token = mllm.processor.image_token
    batch = Collator(mllm)([replace(rows[0], answer=f"tern {token} </s> gull")])
    assert mllm.processor.tokenizer.decode(batch.labels[batch.labels != -100]) == "tern gull </s>"


def test_several_pictures_and_none(mllm, rows):
    two = replace(rows[0], images=(rows[0].images[0], rows[1].images[0]))
    none = replace(rows[0], images=())
    for row in (two, none):
        with torch.no_grad():
            assert float(answer_nll(mllm.model, Collator(mllm)([row])).sum()) > 0


def test_only_two_padding_sides(mllm):
    with pytest.raises(InputError, match="left or right"):
        Collator(mllm, padding_side="both")
