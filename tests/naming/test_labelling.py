"""Naming pictures with each kind of question."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fgvr.errors import InputError
from fgvr.mllm import Request
from fgvr.mllm.scripted import ScriptedMllm
from fgvr.naming import label_images, naming_requests
from fgvr.naming.labelling import MAX_TOKENS, PROMPTS
from fgvr.naming.prompts import PAPER_PROMPT, reasoned_prompt, structured_prompt
from fgvr.types import ImageItem


@pytest.fixture
def items(tmp_path: Path) -> list[ImageItem]:
    found = []
    for name, colour in (("a", "red"), ("b", "green"), ("c", "blue"), ("d", "white")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
        found.append(ImageItem(name, tmp_path / f"{name}.png"))
    return found


@pytest.mark.parametrize(
    ("kind", "prompt", "room"),
    [
        ("paper", PAPER_PROMPT, 64),
        ("structured", structured_prompt(None), 200),
        ("reasoned", reasoned_prompt(), 2048),
        ("reasoned-short", reasoned_prompt(short=True), 256),
    ],
)
def test_every_kind_has_its_question_and_its_room(items: list[ImageItem], kind, prompt: str, room: int):
    requests = naming_requests(items, prompt=kind)
    assert {(request.prompt, request.parameters.max_tokens) for request in requests} == {(prompt, room)}
    own = naming_requests(items, prompt=kind, text="Which tern is this?")
    assert {(request.prompt, request.parameters.max_tokens) for request in own} == {("Which tern is this?", room)}
    assert set(PROMPTS) == set(MAX_TOKENS)


def test_an_unknown_kind_is_refused_with_the_known_ones(items: list[ImageItem]):
    with pytest.raises(InputError, match="paper, structured, reasoned, reasoned-short"):
        naming_requests(items, prompt="reasoning")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["reasoned", "reasoned-short"])
def test_a_reasoning_models_replies_are_named_by_their_answers(items: list[ImageItem], kind):
    replies = {
        "a": "<think>A Common Tern has a black tip.</think> <answer>Arctic Tern</answer>",
        "b": "<think>It is a Sandwich Tern, and",
        "c": "<think>Little Tern?</think><answer>unknown</answer>",
        "d": "This is a Black Tern.",
    }
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return replies[request.item_id]

    labelled = label_images(items, ScriptedMllm(script, local=True), prompt=kind)
    assert [(one.name, one.status) for one in labelled.named] == [
        ("Arctic Tern", "named"),
        (None, "unparsed"),
        (None, "refused"),
        ("Black Tern", "named"),
    ]
    assert labelled.named[1].note == "tags: cut off"
    assert [one.reply for one in labelled.named] == list(replies.values())
    assert len(asked) == 4, "no question about the collection: a tuned model would answer it in tags"
