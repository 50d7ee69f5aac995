"""Dual encoders in the same table."""

from __future__ import annotations

import pytest

from fgvr.errors import InputError
from fgvr.methods.fine_r1.contrastive import ENSEMBLE, contrastive_rows
from fgvr.methods.fine_r1.evaluation import examine
from fgvr.methods.fine_r1.evaluation_record import comparison
from fgvr.multiple_choice.distractors import Source
from fgvr.types import ImageItem
from tests.multiple_choice.world import NAMES

from .examining import Colours, Texts, asked_about, items_of, knowing, writing

SEEN = NAMES[:2]


@pytest.fixture
def questions(tmp_path):
    return asked_about(tmp_path / "p")


def test_an_encoder_is_scored_on_the_same_questions_and_groups(questions):
    encoder = Colours(wrong=(0, 4))  # pictures 0 and 4, both of the first class, look like the second
    items = items_of(questions)
    rows = contrastive_rows([encoder], closed=questions, open_items=items, names=NAMES, seen=SEEN)
    assert [one.model for one in rows] == ["colours (prompt)", f"colours (ensemble of {len(ENSEMBLE)})"]
    for one in rows:
        for part, key in (("closed", "strict"), ("open", "strict"), ("open", "accepted")):
            assert one.figure(part, key, "seen").value == 0.5
            assert one.figure(part, key, "unseen").value == 1.0
            assert one.figure(part, key, "average").value == 0.75
        assert one.parts["closed"].tokens is None
    mllm = examine(writing(knowing), closed=questions, open_items=items, seen=SEEN)
    headers, lines = comparison([mllm, *rows])
    assert [line[0] for line in lines] == ["scripted", rows[0].model, rows[1].model]
    assert lines[1][headers.index("closed official seen")] == "-"  # nothing was written
    assert mllm.parts["closed"].items == rows[0].parts["closed"].items


def test_every_template_is_asked_and_the_papers_prompt_has_no_full_stop(questions):
    encoder = Colours()
    contrastive_rows([encoder], closed=questions)
    assert encoder.texts[:4] == [f"a photo of a {name}" for name in sorted(NAMES)]
    assert set(encoder.texts[4:]) == {line.replace("{}", name) for line in ENSEMBLE for name in NAMES}


def test_one_row_without_an_ensemble_and_one_for_each_encoder(questions):
    rows = contrastive_rows([Colours(), Colours()], closed=questions, ensemble=())
    assert [one.model for one in rows] == ["colours (prompt)"] * 2


def test_a_picture_that_cannot_be_read_has_no_answer(questions, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    items = [*items_of(questions), ImageItem("broken", broken, "Blue Tit")]
    row = contrastive_rows([Colours()], open_items=items, names=NAMES, ensemble=())[0]
    assert (row.figure("open", "strict").value, row.figure("open", "strict").n) == (1.0, 8)
    assert row.replied == pytest.approx(8 / 9)
    assert [one.id for one in row.set_aside] == ["broken"]


def test_its_own_mistakes_are_named(questions):
    own = Source("nearest", "colours", Colours.fingerprint)
    other = Source("nearest", "other", "0" * 48)
    for source, said in ((own, True), (other, False)):
        row = contrastive_rows([Colours()], closed=questions, source=source)[0]
        assert any("OWN MISTAKES" in line for line in row.protocol) is said


def test_similarity_of_a_chosen_name(questions):
    texts = Texts(**{"blue tit": (1, 0), "boeing 747": (0.8, 0.6), "bird": (0.6, 0.8)})
    items = [item for item in items_of(questions) if item.label == "Blue Tit"]
    wrong = Colours(wrong=(2, 6))
    row = contrastive_rows([wrong], open_items=items, names=NAMES, super_category="bird", sentences=texts)[0]
    assert row.figure("open", "similarity").value == pytest.approx(0.5)


def test_nothing_to_choose_from_is_an_error(questions):
    with pytest.raises(InputError, match="names among names"):
        contrastive_rows([Colours()], open_items=items_of(questions))
    with pytest.raises(InputError, match="nothing to examine"):
        contrastive_rows([Colours()])
