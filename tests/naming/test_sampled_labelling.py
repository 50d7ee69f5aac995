"""Naming pictures with several replies a call: what is asked, what is kept, what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fgvr.errors import InputError
from fgvr.mllm import Reply, Request
from fgvr.mllm.base import Parameters, Sample
from fgvr.mllm.scripted import ScriptedMllm
from fgvr.naming import label_images, naming_requests
from fgvr.naming.labelling import MAX_TOKENS, PROMPTS
from fgvr.runs import Ledger
from fgvr.types import ImageItem, Usage


@pytest.fixture
def items(tmp_path: Path) -> list[ImageItem]:
    found = []
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
        found.append(ImageItem(name, tmp_path / f"{name}.png"))
    return found


class Drawing:
    """Draws each picture's texts as often as it is asked to; remembers its questions."""

    def __init__(self, **options: bool) -> None:
        self.asked: list[Request] = []
        self.mllm = ScriptedMllm(self._script, local=True, **options)  # type: ignore[arg-type]

    def _script(self, request: Request) -> Reply:
        self.asked.append(request)
        texts = {"a": ["Tern", "Gull"], "b": ["Jay"], "c": ["unknown", "unknown", "Owl"]}.get(
            request.item_id, ["birds"]
        )
        count = request.parameters.samples
        drawn = tuple(Sample((texts * count)[at]) for at in range(count)) if count > 1 else ()
        return Reply("", texts[0], "scripted", Usage(calls=1, output_tokens=count), samples=drawn)


def test_several_replies_are_drawn_from_the_model_itself_and_the_same_ones_again(items: list[ImageItem]):
    for kind in PROMPTS:
        for request in naming_requests(items, prompt=kind, samples=9):  # type: ignore[arg-type]
            assert request.parameters == Parameters(max_tokens=MAX_TOKENS[kind], temperature=1.0, seed=0, samples=9)
        for request in naming_requests(items, prompt=kind, samples=1):  # type: ignore[arg-type]
            assert request.parameters == Parameters(max_tokens=MAX_TOKENS[kind], temperature=0.0, seed=None)


@pytest.mark.parametrize("samples", [0, -1])
def test_no_reply_at_all_is_refused(items: list[ImageItem], samples: int):
    with pytest.raises(InputError, match="one sample at least"):
        naming_requests(items, samples=samples)


def test_names_have_chances_and_every_call_is_one(items: list[ImageItem]):
    drawing = Drawing()
    labelled = label_images(items, drawing.mllm, samples=6)
    assert [(one.name, one.alternatives) for one in labelled.named] == [("Gull", ("Tern",)), ("Jay", ()), (None, ())]
    assert [one.chances for one in labelled.named] == [(0.5, 0.5), (1.0,), ()]
    assert (labelled.usage.calls, labelled.usage.output_tokens) == (3, 18)
    assert {request.parameters.samples for request in drawing.asked} == {6}


def test_the_question_about_the_collection_has_one_answer(items: list[ImageItem]):
    drawing = Drawing()
    labelled = label_images(items, drawing.mllm, prompt="structured", samples=4)
    assert labelled.category == "birds"
    assert [request.parameters.samples for request in drawing.asked if request.stage == "meta"] == [1]
    assert [request.parameters.samples for request in drawing.asked if request.stage != "meta"] == [4] * 3


def test_a_ledger_keeps_all_that_was_drawn(items: list[ImageItem], tmp_path: Path):
    file = tmp_path / "labels.jsonl"
    first = label_images(items, Drawing().mllm, samples=4, ledger=Ledger(file))
    again = Drawing()
    assert label_images(items, again.mllm, samples=4, ledger=Ledger(file)).named == first.named
    assert again.asked == []
    label_images(items, again.mllm, samples=5, ledger=Ledger(file))
    assert len(again.asked) == 3, "another number of replies is another question"


def test_an_mllm_that_draws_nothing_gives_single_names(items: list[ImageItem]):
    labelled = label_images(items, ScriptedMllm(lambda request: "Arctic Tern"), samples=8)
    assert {(one.name, one.alternatives, one.chances) for one in labelled.named} == {("Arctic Tern", (), ())}
